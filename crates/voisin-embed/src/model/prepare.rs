//! Pixels as a model wants them: resized, cropped, scaled. Sizes and rounding follow Pillow and torchvision, so that a model
//! sees what it was trained on.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::{MAX_PIXELS, Picture};

/// How an image becomes the size that a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// It stays as it is.
    None,
    /// To so many pixels along its shorter side; the other in proportion.
    Shortest(u32),
    /// To this height and width, whatever its shape.
    Exact([u32; 2]),
}

/// A height and a width: `224`, `224x160`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub [u32; 2]);

/// What stands between pixels when an image is resized; all but `nearest` are widened where it shrinks, as Pillow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The pixel that is nearest.
    Nearest,
    /// A box.
    Box,
    /// A triangle (two pixels wide).
    Bilinear,
    /// A raised cosine (two pixels wide).
    Hamming,
    /// A cubic with a = -0.5 (four pixels wide).
    Bicubic,
    /// A windowed sinc (six pixels wide).
    Lanczos,
}

/// The order of values that a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Colour by colour.
    Nchw,
    /// Pixel by pixel.
    Nhwc,
}

/// Everything that happens to an image before it is given to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparation {
    /// Its size.
    pub resize: Resize,
    /// How it is resized.
    pub filter: Filter,
    /// Height and width of the middle that is kept; black is laid around what is smaller.
    pub crop: Option<[u32; 2]>,
    /// Whether half a pixel at the left and upper edge goes to the even side (torchvision) or is dropped (transformers).
    pub even: bool,
    /// What a byte is multiplied by.
    pub rescale: f32,
    /// Subtracted from red, green, blue.
    pub mean: [f32; 3],
    /// What they are divided by then.
    pub std: [f32; 3],
    /// Blue first.
    pub bgr: bool,
    /// Their order.
    pub layout: Layout,
}

macro_rules! words {
    ($type:ident, $what:literal, $($name:literal = $value:ident),+) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $($type::$value => $name),+ })
            }
        }
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                match s.to_ascii_lowercase().as_str() {
                    $($name => Ok($type::$value),)+
                    _ => Err(format!("{} is one of {}", $what, [$($name),+].join(", "))),
                }
            }
        }
    };
}
pub(crate) use words;

words!(Filter, "the filter", "nearest" = Nearest, "box" = Box, "bilinear" = Bilinear, "hamming" = Hamming, "bicubic" = Bicubic, "lanczos" = Lanczos);
words!(Layout, "the layout", "nchw" = Nchw, "nhwc" = Nhwc);

/// The largest side that a model may ask for.
pub(crate) const MAX_SIDE: u32 = 8192;

fn side(s: &str) -> Result<u32, String> {
    let side = s.trim().parse().map_err(|_| format!("`{s}` is no number of pixels"))?;
    if (1..=MAX_SIDE).contains(&side) { Ok(side) } else { Err(format!("1 to {MAX_SIDE} pixels")) }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(s: &str) -> Result<Size, String> {
        match s.split_once('x') {
            Some((h, w)) => Ok(Size([side(h)?, side(w)?])),
            None => side(s).map(|n| Size([n, n])),
        }
    }
}

impl FromStr for Resize {
    type Err = String;
    fn from_str(s: &str) -> Result<Resize, String> {
        match s {
            "none" => Ok(Resize::None),
            s if s.contains('x') => Ok(Resize::Exact(s.parse::<Size>()?.0)),
            s => Ok(Resize::Shortest(side(s)?)),
        }
    }
}

impl Display for Preparation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.resize {
            Resize::None => f.write_str("as it is")?,
            Resize::Shortest(n) => write!(f, "shortest {n} {}", self.filter)?,
            Resize::Exact([h, w]) => write!(f, "{h}x{w} {}", self.filter)?,
        }
        if let Some([h, w]) = self.crop {
            write!(f, ", crop {h}x{w}{}", if self.even { "" } else { " down" })?;
        }
        let three = |values: [f32; 3]| values.map(|v| v.to_string()).join(" ");
        write!(f, ", x {}, mean {}, std {}, ", self.rescale, three(self.mean), three(self.std))?;
        if self.bgr {
            f.write_str("bgr ")?;
        }
        f.write_str(match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        })
    }
}

impl Preparation {
    /// Height and width that all images come out with, where they do.
    pub fn size(&self) -> Option<[u32; 2]> {
        self.crop.or(match self.resize {
            Resize::Exact(size) => Some(size),
            _ => None,
        })
    }

    /// Height and width that an image comes out with.
    fn size_of(&self, picture: &Picture) -> [u32; 2] {
        self.crop.unwrap_or_else(|| resized(self.resize, picture))
    }

    /// Appends the values of an image to `out` and says its height and width.
    ///
    /// Cost: what resizing takes (under a millisecond for a photograph of 640 pixels), and 3 ns a value.
    ///
    /// # Errors
    /// More than [`MAX_PIXELS`] pixels would come out.
    pub fn values(&self, picture: &Picture, out: &mut Vec<f32>) -> Result<[usize; 2], String> {
        let size = self.size_of(picture);
        let pixels = u64::from(size[0]) * u64::from(size[1]);
        if pixels > MAX_PIXELS {
            return Err(format!("{} x {} pixels would be given to the model, {MAX_PIXELS} at most", size[1], size[0]));
        }
        let rgb = window(picture, resized(self.resize, picture), size, self.filter, self.even);
        let tables: [[f32; 256]; 3] = std::array::from_fn(|c| {
            std::array::from_fn(|v| (v as f32 * self.rescale - self.mean[c]) / self.std[c])
        });
        let order = if self.bgr { [2, 1, 0] } else { [0, 1, 2] };
        match self.layout {
            // mean and std stand in the order of the values that the model gets
            Layout::Nchw => (0..3).for_each(|c| out.extend(rgb.chunks_exact(3).map(|p| tables[c][usize::from(p[order[c]])]))),
            Layout::Nhwc => out.extend(rgb.chunks_exact(3).flat_map(|p| (0..3).map(|c| tables[c][usize::from(p[order[c]])]))),
        }
        Ok(size.map(|n| n as usize))
    }
}

fn resized(resize: Resize, picture: &Picture) -> [u32; 2] {
    let (w, h) = (picture.width, picture.height);
    let long = |n: u32, long: u32, short: u32| u32::try_from(u64::from(n) * u64::from(long) / u64::from(short)).unwrap_or(u32::MAX);
    match resize {
        Resize::None => [h, w],
        Resize::Exact(size) => size,
        Resize::Shortest(n) if w <= h => [long(n, h, w), n],
        Resize::Shortest(n) => [n, long(n, w, h)],
    }
}

/// Where the window of one side lies in the resized image, and what is computed for it.
struct Axis {
    /// Pixels of the window that lie left of the image.
    before: u32,
    /// Pixels of the image in the window.
    inside: u32,
    /// First pixel that is computed, and how many.
    from: u32,
    count: u32,
    /// Pixels computed left of the window.
    skip: u32,
    /// The same in the source.
    source: (f64, f64),
}

/// `n` pixels become `m`, of which a window of `w` is wanted.
fn axis(n: u32, m: u32, w: u32, support: f64, even: bool) -> Axis {
    let gap = m.abs_diff(w);
    // half of an odd gap: Python's round() goes to the even side
    let half = if even { gap / 2 + u32::from(gap % 4 == 3) } else { gap / 2 };
    let (start, before) = if m >= w { (half, 0) } else { (0, if even { gap / 2 } else { gap.div_ceil(2) }) };
    let inside = m.min(w);
    let scale = f64::from(n) / f64::from(m);
    // what lies beyond this has no weight in the window
    let margin = (support / scale.min(1.0)).ceil() as u32 + 1;
    let from = start.saturating_sub(margin);
    let count = start.saturating_add(inside).saturating_add(margin).min(m) - from;
    let left = f64::from(from) * scale;
    let width = if count == m { f64::from(n) } else { (f64::from(count) * scale).min(f64::from(n) - left) };
    Axis { before, inside, from, count, skip: start - from, source: (left, width) }
}

/// The middle of `size` of an image that is resized to `whole`: height, width. Only what is wanted is computed.
fn window(picture: &Picture, whole: [u32; 2], size: [u32; 2], filter: Filter, even: bool) -> Vec<u8> {
    let same = whole == [picture.height, picture.width];
    let support = match filter {
        Filter::Nearest | Filter::Box => 1.0,
        Filter::Bilinear | Filter::Hamming => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    };
    let y = axis(picture.height, whole[0], size[0], support, even);
    let x = axis(picture.width, whole[1], size[1], support, even);
    let computed;
    let (pixels, row, top, left) = if same {
        (picture.rgb.as_slice(), picture.width, y.from + y.skip, x.from + x.skip)
    } else {
        computed = shrink(picture, &y, &x, filter);
        (computed.as_slice(), x.count, y.skip, x.skip)
    };
    let [row, top, left] = [row, top, left].map(|n| n as usize * 3);
    let width = size[1] as usize * 3;
    let (before, inside) = (x.before as usize * 3, x.inside as usize * 3);
    let mut out = vec![0; size[0] as usize * width];
    for i in 0..y.inside as usize {
        let from = (top / 3 + i) * row + left;
        let to = (y.before as usize + i) * width + before;
        out[to..to + inside].copy_from_slice(&pixels[from..from + inside]);
    }
    out
}

fn shrink(picture: &Picture, y: &Axis, x: &Axis, filter: Filter) -> Vec<u8> {
    let source = ImageRef::new(picture.width, picture.height, &picture.rgb, PixelType::U8x3).expect("three bytes a pixel");
    let mut out = Image::new(x.count, y.count, PixelType::U8x3);
    let algorithm = match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Box => ResizeAlg::Convolution(FilterType::Box),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Hamming => ResizeAlg::Convolution(FilterType::Hamming),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
    };
    let options = ResizeOptions::new().resize_alg(algorithm).crop(x.source.0, y.source.0, x.source.1, y.source.1);
    Resizer::new().resize(&source, &mut out, &options).expect("both are 8-bit RGB, and the window lies in the source");
    out.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        let rgb = (0..width * height * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        Picture { width, height, rgb }
    }

    #[test]
    fn a_window_is_the_middle_of_the_whole() {
        for (w, h, whole, size) in [
            (97, 64, [40, 60], [31, 32]),
            (20, 31, [77, 50], [33, 50]),
            (300, 1, [64, 19200], [64, 64]),
            (9, 9, [9, 9], [4, 5]),
        ] {
            let p = picture(w, h);
            for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                let all = window(&p, whole, whole, filter, true);
                let part = window(&p, whole, size, filter, true);
                let round = |gap: u32| (f64::from(gap) / 2.0).round_ties_even() as usize;
                let [top, left] = [round(whole[0] - size[0]), round(whole[1] - size[1])];
                let worst = (0..size[0] as usize * size[1] as usize * 3).map(|i| {
                    let (y, x) = (i / (size[1] as usize * 3), i % (size[1] as usize * 3));
                    all[(top + y) * whole[1] as usize * 3 + left * 3 + x].abs_diff(part[i])
                });
                assert!(worst.max().unwrap() <= 1, "{w} x {h} {filter}");
            }
        }
    }

    #[test]
    fn what_is_smaller_is_laid_on_black() {
        let p = Picture { width: 2, height: 1, rgb: vec![9; 6] };
        let out = window(&p, [1, 2], [3, 5], Filter::Bilinear, true);
        let at: Vec<usize> = (0..15).filter(|i| out[i * 3] == 9).collect();
        assert_eq!(at, [7, 8], "torchvision pads (5 - 2) // 2 on the left: {out:?}");
    }

    #[test]
    fn sizes_are_those_of_torchvision() {
        for ((w, h), n, expected) in [((640, 427), 256, [256, 383]), ((3, 1000), 7, [2333, 7]), ((5, 5), 3, [3, 3])] {
            assert_eq!(resized(Resize::Shortest(n), &picture(w, h)), expected);
        }
        let p = Preparation {
            resize: Resize::Shortest(8192),
            filter: Filter::Bilinear,
            crop: None,
            even: true,
            rescale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            bgr: false,
            layout: Layout::Nchw,
        };
        assert!(p.values(&picture(60_000, 1), &mut vec![]).is_err());
    }
}
