//! Bytes of an image file to RGB pixels as a person sees them: turned as EXIF says, transparency over white.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

/// Pixels that an image may have; larger ones are refused before they are decoded.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Bytes that an image file may have.
pub const MAX_FILE: u64 = 256 << 20;
/// Bytes that a decoder may allocate: four channels of 16 bits for the largest image, and as much again for its work.
const MAX_ALLOC: u64 = MAX_PIXELS * 16;

/// A decoded image: `rgb` holds `height` rows of `width` pixels of three bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue of every pixel, row by row.
    pub rgb: Vec<u8>,
}

/// Why an image cannot be read, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Reads and decodes a file; one of more than [`MAX_FILE`] bytes is refused before it is read.
///
/// # Errors
/// [`Unreadable`], as [`decode`]; what the system says.
pub fn read(path: &Path) -> Result<Picture, Unreadable> {
    let system = |e: std::io::Error| Unreadable(e.to_string());
    let len = std::fs::metadata(path).map_err(system)?.len();
    if len > MAX_FILE {
        return Err(Unreadable(format!("{len} bytes where at most {MAX_FILE} are read")));
    }
    decode(&std::fs::read(path).map_err(system)?)
}

/// Decodes PNG, JPEG, WebP, GIF (first frame) and BMP, told apart by content and not by name. Palettes, grey and 16 bits
/// become 8 bits of RGB, transparency is laid over white, and the image is turned as its EXIF orientation says.
///
/// Cost: a few ns a pixel, and three to seven bytes of memory each.
///
/// # Errors
/// [`Unreadable`] for another format, damaged or truncated data, and more than [`MAX_PIXELS`] pixels.
pub fn decode(bytes: &[u8]) -> Result<Picture, Unreadable> {
    let mut decoder = open(bytes)?;
    // damaged EXIF data are no reason to do without the image
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    let (width, height) = (image.width(), image.height());
    let rgb = if image.color().has_alpha() { over_white(image.into_rgba8().as_raw()) } else { image.into_rgb8().into_raw() };
    Ok(Picture { width, height, rgb })
}

/// Width and height of an image as [`decode`] gives it, from the head of the file alone.
///
/// # Errors
/// As [`decode`], but for damage behind the head.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), Unreadable> {
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let turned = decoder.orientation().is_ok_and(|o| {
        matches!(o, Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH)
    });
    Ok(if turned { (height, width) } else { (width, height) })
}

/// A decoder of what the bytes are, its pixels counted.
fn open(bytes: &[u8]) -> Result<impl ImageDecoder, Unreadable> {
    if bytes.is_empty() {
        return Err(Unreadable("the file is empty".into()));
    }
    let format = image::guess_format(bytes)
        .ok()
        .filter(|f| matches!(f, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP | ImageFormat::Gif | ImageFormat::Bmp));
    let format = format.ok_or_else(|| Unreadable("not a PNG, JPEG, WebP, GIF or BMP image".into()))?;
    if format == ImageFormat::Jpeg && is_cut(bytes) {
        return Err(Unreadable("a JPEG that is cut short: its end is missing".into()));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(Unreadable(format!("{width} x {height} pixels where 1 to {MAX_PIXELS} are read")));
    }
    Ok(decoder)
}

/// Whether a JPEG ends before its end mark, where the decoder would fill what is missing with grey. Walks from mark to mark (ITU
/// T.81, B.1.1): segments say their length, in a scan 0xFF is followed by 0 or a restart mark. What comes after the end, such as
/// the film of a moving photograph, is not looked at.
fn is_cut(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        match bytes.get(at..at + 2) {
            None => return true,
            Some([0xFF, 0xD9]) => return false,
            Some([0xFF, 0xFF]) => at += 1,
            Some([0xFF, 0x01 | 0xD0..=0xD7]) => at += 2,
            Some([0xFF, mark]) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return true };
                let scan = *mark == 0xDA;
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if scan {
                    let in_scan = |w: &[u8]| w[0] != 0xFF || matches!(w[1], 0 | 0xD0..=0xD7);
                    let Some(next) = bytes.get(at..).and_then(|rest| rest.windows(2).position(|w| !in_scan(w))) else {
                        return true;
                    };
                    at += next;
                }
            }
            // no mark where one has to be: the decoder says what it makes of it
            Some(_) => return false,
        }
    }
}

fn unreadable(e: ImageError) -> Unreadable {
    let text = e.to_string();
    Unreadable(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn over_white(rgba: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for p in rgba.chunks_exact(4) {
        let alpha = u32::from(p[3]);
        rgb.extend([p[0], p[1], p[2]].map(|c| ((u32::from(c) * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_that_is_cut_short_is_refused_and_one_with_a_tail_is_not() {
        for name in ["grey/grey.jpg", "colour/b.jpg", "turned/6.jpg"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images").join(name);
            let bytes = std::fs::read(&path).unwrap();
            assert!(decode(&bytes).is_ok(), "{name}");
            for keep in [bytes.len() - 1, bytes.len() - 2, bytes.len() * 9 / 10, bytes.len() / 2] {
                assert!(decode(&bytes[..keep]).is_err(), "{name}: {keep} bytes");
            }
            let film = [&bytes[..], b"\xFF\xDA\x00\x08 a film, say"].concat();
            assert!(decode(&film).is_ok(), "{name}");
            (0..bytes.len()).for_each(|keep| assert!(is_cut(&bytes[..keep]) || keep < 2, "{name}: {keep} bytes"));
        }
    }
}
