//! A descriptor that needs no weights: for look-alikes (the same icon in another size, another photograph of a series), not
//! for what an image means.
//!
//! The image is shrunk to 64 x 64 (triangle filter, sides apart), then four blocks follow each other, all at unit length:
//!
//! | block | values | weight |
//! |---|---|---|
//! | colour layout: means of lightness and two opponent colours in 8 x 8 cells | 192 | [`LAYOUT`] |
//! | colours: histogram of 6 x 6 x 6 with linear weights, as square roots | 216 | [`COLOURS`] |
//! | gradients: 8 orientations in 4 x 4 cells (after Dalal and Triggs, CVPR 2005), as square roots | 128 | [`GRADIENTS`] |
//! | texture: uniform local binary patterns (Ojala et al., PAMI 2002) in 3 x 3 cells, as square roots | 531 | [`TEXTURE`] |
//!
//! Square roots make L2 of histograms the Hellinger distance. Weights are of squared distances; they were chosen by
//! precision@10 on icons and photographs. Only sums, products, quotients and square roots occur, in a fixed order, so
//! that every machine finds the same bits.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::Picture;

/// Values of a descriptor.
pub const DIM: usize = 192 + BINS * BINS * BINS + 128 + 9 * PATTERNS;
/// Name and version: vectors can only be compared if these are equal.
pub const MADE_BY: &str = "voisin descriptor 1";

const LAYOUT: f32 = 1.0;
const COLOURS: f32 = 0.5;
const GRADIENTS: f32 = 1.0;
const TEXTURE: f32 = 5.0;

/// Side of the image that is described.
const SIDE: usize = 64;
/// Steps of each colour axis.
const BINS: usize = 6;
/// Uniform patterns of eight neighbours, and one for all others.
const PATTERNS: usize = 59;
/// A neighbour counts as lighter from this difference on, in thousandths of a level.
const LIGHTER: i32 = 1000;

type Small = [[u8; 3]];

/// The descriptor of an image: [`DIM`] values of unit length, so that L2 and cosine rank alike.
///
/// Cost: about 0.3 ms for an icon, 2 ms for a photograph of 640 pixels, decoding included.
pub fn describe(picture: &Picture) -> Vec<f32> {
    let small = shrink(picture);
    let mut out = Vec::with_capacity(DIM);
    layout(&small, &mut out);
    colours(&small, &mut out);
    let luma: Vec<i32> = small.iter().map(|&[r, g, b]| 299 * i32::from(r) + 587 * i32::from(g) + 114 * i32::from(b)).collect();
    gradients(&luma, &mut out);
    texture(&luma, &mut out);
    let norm = out.iter().map(|x| x * x).sum::<f32>().sqrt();
    out.iter_mut().for_each(|x| *x /= norm);
    out
}

fn shrink(picture: &Picture) -> Vec<[u8; 3]> {
    let source = ImageRef::new(picture.width, picture.height, &picture.rgb, PixelType::U8x3);
    let source = source.expect("three bytes a pixel");
    let mut small = Image::new(SIDE as u32, SIDE as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut small, &options).expect("both are 8-bit RGB");
    small.buffer().as_chunks::<3>().0.to_vec()
}

/// Lightness 0 to 1, red against green and yellow against blue -1 to 1.
fn opponent(&[r, g, b]: &[u8; 3]) -> [f32; 3] {
    let [r, g, b] = [r, g, b].map(|c| f32::from(c) / 255.0);
    [(r + g + b) / 3.0, r - g, (r + g - 2.0 * b) / 2.0]
}

fn layout(small: &Small, out: &mut Vec<f32>) {
    const CELLS: usize = 8;
    let side = SIDE / CELLS;
    let mut sums = [[0f32; 3]; CELLS * CELLS];
    for (i, pixel) in small.iter().enumerate() {
        let cell = &mut sums[i / SIDE / side * CELLS + i % SIDE / side];
        opponent(pixel).iter().zip(cell).for_each(|(x, sum)| *sum += x);
    }
    let scale = LAYOUT.sqrt() / 8.0; // the root of 64 cells
    let n = (side * side) as f32;
    out.extend(sums.iter().flat_map(|[l, a, b]| [l / n - 0.5, a / n, b / n]).map(|x| x * scale));
}

fn colours(small: &Small, out: &mut Vec<f32>) {
    let mut sums = [0f32; BINS * BINS * BINS];
    for pixel in small {
        let [l, a, b] = opponent(pixel);
        // most colours are pale: the opponent axes are stretched
        let axes = [l, (a * 0.8 + 0.5).clamp(0.0, 1.0), (b * 0.8 + 0.5).clamp(0.0, 1.0)];
        let at = axes.map(|x| {
            let t = x * (BINS - 1) as f32;
            let i = (t as usize).min(BINS - 2);
            (i, t - i as f32)
        });
        for corner in 0..8 {
            let (mut bin, mut weight) = (0, 1.0);
            for (axis, (i, f)) in at.iter().enumerate() {
                let upper = corner >> axis & 1;
                bin = bin * BINS + i + upper;
                weight *= if upper == 1 { *f } else { 1.0 - f };
            }
            sums[bin] += weight;
        }
    }
    let scale = COLOURS.sqrt() / SIDE as f32;
    out.extend(sums.iter().map(|s| s.max(0.0).sqrt() * scale));
}

/// Cosine and sine of twice the eight orientations.
const TURNS: [[f32; 2]; 8] = {
    const H: f32 = std::f32::consts::FRAC_1_SQRT_2;
    [[1.0, 0.0], [H, H], [0.0, 1.0], [-H, H], [-1.0, 0.0], [-H, -H], [0.0, -1.0], [H, -H]]
};

fn gradients(luma: &[i32], out: &mut Vec<f32>) {
    const CELLS: usize = 4;
    let side = SIDE / CELLS;
    let mut sums = [[0f32; 8]; CELLS * CELLS];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let i = y * SIDE + x;
            let dx = if x == 0 || x == SIDE - 1 { 0 } else { luma[i + 1] - luma[i - 1] };
            let dy = if y == 0 || y == SIDE - 1 { 0 } else { luma[i + SIDE] - luma[i - SIDE] };
            if dx == 0 && dy == 0 {
                continue;
            }
            let (dx, dy) = (dx as f32 / 1000.0, dy as f32 / 1000.0);
            let squared = dx * dx + dy * dy;
            // an edge and its opposite are the same: angles are doubled; cos^2 of their difference is the weight of a bin
            let (cos, sin, length) = ((dx * dx - dy * dy) / squared, 2.0 * dx * dy / squared, squared.sqrt());
            let cell = &mut sums[y / side * CELLS + x / side];
            for (sum, [c, s]) in cell.iter_mut().zip(TURNS) {
                let near = (cos * c + sin * s).max(0.0);
                *sum += length * near * near;
            }
        }
    }
    let total: f32 = sums.iter().flatten().sum();
    let scale = if total > 0.0 { (GRADIENTS / total).sqrt() } else { 0.0 };
    out.extend(sums.iter().flatten().map(|s| s.sqrt() * scale));
}

/// Number of each pattern of eight neighbours: those that change at most twice around come first, in their order.
const PATTERN_OF: [u8; 256] = {
    let mut table = [PATTERNS as u8 - 1; 256];
    let (mut code, mut next) = (0usize, 0);
    while code < 256 {
        if (code as u8 ^ (code as u8).rotate_left(1)).count_ones() <= 2 {
            table[code] = next;
            next += 1;
        }
        code += 1;
    }
    table
};

fn texture(luma: &[i32], out: &mut Vec<f32>) {
    const CELLS: usize = 3;
    const INNER: usize = SIDE - 2;
    const AROUND: [usize; 8] = [0, 1, 2, SIDE + 2, 2 * SIDE + 2, 2 * SIDE + 1, 2 * SIDE, SIDE]; // from the upper left corner
    let mut counts = [[0u32; PATTERNS]; CELLS * CELLS];
    for y in 0..INNER {
        for x in 0..INNER {
            let corner = y * SIDE + x;
            let limit = luma[corner + SIDE + 1] + LIGHTER;
            let mut code = 0;
            for (bit, step) in AROUND.iter().enumerate() {
                code |= usize::from(luma[corner + step] > limit) << bit;
            }
            counts[y * CELLS / INNER * CELLS + x * CELLS / INNER][usize::from(PATTERN_OF[code])] += 1;
        }
    }
    let scale = TEXTURE.sqrt() / INNER as f32;
    out.extend(counts.iter().flatten().map(|&c| (c as f32).sqrt() * scale));
}
