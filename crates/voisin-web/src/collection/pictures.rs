//! The images of a collection: found by row, never by a path that somebody sends, and never outside their folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::ImageFormat;
use image::codecs::jpeg::JpegEncoder;
use voisin::StringIds;
use voisin_embed::{MAX_FILE, Picture};

use crate::{Kind, WebError};

/// Bytes of thumbnails that are kept.
const KEPT: usize = 64 << 20;
/// Sides that thumbnails are made with: a request gets the largest that is not above what it asks for, so that few are kept.
const SIDES: [u32; 9] = [32, 64, 96, 128, 192, 256, 384, 512, 1024];
/// Quality of the JPEG: artefacts do not show at the size of a thumbnail.
const QUALITY: u8 = 85;

/// Where images lie, and thumbnails that were made.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    /// With every link followed.
    root: PathBuf,
    /// Path from the root by row; empty where a row has no image.
    paths: StringIds,
    kept: Mutex<Kept>,
}

impl Pictures {
    /// `paths` are relative to `root`, one a row.
    pub fn new(root: &Path, paths: StringIds) -> Result<Pictures, WebError> {
        let root = root.canonicalize().map_err(|e| voisin::Error::io(root, e))?;
        Ok(Pictures { root, paths, kept: Mutex::default() })
    }

    /// The path of a row's image within the folder.
    pub fn path(&self, row: usize) -> Option<&str> {
        (row < self.paths.len()).then(|| self.paths.get(row)).filter(|p| !p.is_empty())
    }

    /// Rows with an image.
    pub fn count(&self) -> usize {
        self.paths.iter().filter(|p| !p.is_empty()).count()
    }

    /// The file of a row's image. Looked at anew for every request: a link may have been put in its place since.
    fn file(&self, row: usize, id: &str) -> Result<(PathBuf, std::fs::Metadata), WebError> {
        let none = || WebError::new(Kind::NotFound, format!("there is no image of {id}"));
        let path = self.root.join(self.path(row).ok_or_else(none)?);
        let path = path.canonicalize().map_err(|_| none())?;
        let meta = path.metadata().map_err(|_| none())?;
        if !path.starts_with(&self.root) || !meta.is_file() {
            return Err(none());
        }
        Ok((path, meta))
    }

    /// The bytes of a row's image and their content type.
    pub fn bytes(&self, row: usize, id: &str) -> Result<(Vec<u8>, &'static str), WebError> {
        let (path, meta) = self.file(row, id)?;
        if meta.len() > MAX_FILE {
            let what = format!("the image of {id} has {} bytes, where at most {MAX_FILE} are served", meta.len());
            return Err(WebError::new(Kind::TooLarge, what));
        }
        let bytes = std::fs::read(path).map_err(|e| WebError::new(Kind::NotFound, format!("the image of {id}: {e}")))?;
        let kind = content_type(&bytes).ok_or_else(|| {
            WebError::new(Kind::Unreadable, format!("the file of {id} is no PNG, JPEG, WebP, GIF or BMP image"))
        })?;
        Ok((bytes, kind))
    }

    /// A JPEG of a row's image, at most `side` pixels wide and high.
    pub fn thumbnail(&self, row: usize, id: &str, side: u32) -> Result<Arc<Vec<u8>>, WebError> {
        let side = SIDES.iter().rev().copied().find(|s| *s <= side).unwrap_or(SIDES[0]);
        let (path, meta) = self.file(row, id)?;
        let stamp = (meta.len(), meta.modified().ok());
        if let Some(made) = self.kept().get((row, side), stamp) {
            return Ok(made);
        }
        let picture =
            voisin_embed::read(&path).map_err(|e| WebError::new(Kind::Unreadable, format!("the image of {id}: {e}")))?;
        let made = Arc::new(small_jpeg(picture, side)?);
        self.kept().put((row, side), stamp, made.clone());
        Ok(made)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What the first bytes say; nothing for what a browser would run (SVG, HTML) or what is not decoded here.
fn content_type(bytes: &[u8]) -> Option<&'static str> {
    Some(match image::guess_format(bytes).ok()? {
        ImageFormat::Png => "image/png",
        ImageFormat::Jpeg => "image/jpeg",
        ImageFormat::WebP => "image/webp",
        ImageFormat::Gif => "image/gif",
        ImageFormat::Bmp => "image/bmp",
        _ => return None,
    })
}

/// A JPEG of a picture, at most `side` pixels wide and high.
pub(super) fn small_jpeg(picture: Picture, side: u32) -> Result<Vec<u8>, WebError> {
    jpeg(&shrink(picture, side))
}

fn shrink(picture: Picture, side: u32) -> Picture {
    let (w, h) = (picture.width, picture.height);
    let longer = w.max(h);
    if longer <= side {
        return picture;
    }
    let scaled = |x: u32| ((u64::from(x) * u64::from(side) + u64::from(longer) / 2) / u64::from(longer)).max(1) as u32;
    let (width, height) = (scaled(w), scaled(h));
    let source = ImageRef::new(w, h, &picture.rgb, PixelType::U8x3).expect("three bytes a pixel");
    let mut small = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&source, &mut small, &options).expect("both are 8-bit RGB");
    Picture { width, height, rgb: small.into_vec() }
}

fn jpeg(p: &Picture) -> Result<Vec<u8>, WebError> {
    let mut out = Vec::new();
    let done = JpegEncoder::new_with_quality(&mut out, QUALITY).encode(&p.rgb, p.width, p.height, image::ExtendedColorType::Rgb8);
    done.map_err(|e| WebError::new(Kind::Unreadable, format!("a thumbnail of {} x {} pixels: {e}", p.width, p.height)))?;
    Ok(out)
}

type Key = (usize, u32);
/// Length and time of the file that a thumbnail was made of.
type Stamp = (u64, Option<SystemTime>);

/// Thumbnails, the least recently used of which go first.
#[derive(Debug, Default)]
struct Kept {
    all: HashMap<Key, (u64, Stamp, Arc<Vec<u8>>)>,
    by_use: BTreeMap<u64, Key>,
    bytes: usize,
    clock: u64,
}

impl Kept {
    fn get(&mut self, key: Key, stamp: Stamp) -> Option<Arc<Vec<u8>>> {
        let (used, of, made) = self.all.get_mut(&key)?;
        if *of != stamp {
            return None;
        }
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, key);
        Some(made.clone())
    }

    fn put(&mut self, key: Key, stamp: Stamp, made: Arc<Vec<u8>>) {
        self.drop(key);
        self.clock += 1;
        self.bytes += made.len();
        self.by_use.insert(self.clock, key);
        self.all.insert(key, (self.clock, stamp, made));
        while self.bytes > KEPT
            && let Some((_, &oldest)) = self.by_use.first_key_value()
        {
            self.drop(oldest);
        }
    }

    fn drop(&mut self, key: Key) {
        if let Some((used, _, made)) = self.all.remove(&key) {
            self.by_use.remove(&used);
            self.bytes -= made.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut kept = Kept::default();
        let stamp = (1, None);
        let half = Arc::new(vec![0; KEPT / 2]);
        kept.put((0, 64), stamp, half.clone());
        kept.put((1, 64), stamp, half.clone());
        assert!(kept.get((0, 64), stamp).is_some());
        kept.put((2, 64), stamp, half.clone());
        assert!(kept.get((1, 64), stamp).is_none() && kept.get((0, 64), stamp).is_some());
        assert!(kept.get((2, 64), (2, None)).is_none(), "the file has changed");
        kept.put((2, 64), stamp, Arc::new(vec![0; KEPT + 1]));
        assert_eq!((kept.bytes, kept.all.len(), kept.by_use.len()), (0, 0, 0));
    }

    #[test]
    fn only_what_is_decoded_has_a_type() {
        assert_eq!(content_type(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(content_type(b"\xff\xd8\xff\xe0...."), Some("image/jpeg"));
        for other in [&b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"[..], b"<!DOCTYPE html>", b"", b"II*\0", b"%PDF-1.5"] {
            assert_eq!(content_type(other), None);
        }
    }

    #[test]
    fn sides_keep_their_proportion() {
        let picture = |w: u32, h: u32| Picture { width: w, height: h, rgb: vec![7; (w * h * 3) as usize] };
        let small = |w, h, side| {
            let p = shrink(picture(w, h), side);
            (p.width, p.height)
        };
        assert_eq!((small(100, 50, 64), small(50, 100, 64), small(20, 10, 64)), ((64, 32), (32, 64), (20, 10)));
        assert_eq!(small(1000, 1, 64), (64, 1));
    }
}
