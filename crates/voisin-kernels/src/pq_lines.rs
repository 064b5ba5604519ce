//! Tables of one query in whole numbers, as the scans of product codes want them.
//!
//! The values of part j become `round((t − min_j) / step)` with one step for all parts, the largest range of a part over 255
//! (4-bit codes) or 65,535 (8-bit codes). A sum over m parts is then wrong by at most m/2 steps. Whole numbers may be added
//! in any order, so every instruction set gives the same sums.

use crate::{Isa, isa};

/// 64 bytes on a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// A query's tables for the scans; reused from query to query.
#[derive(Clone, Default)]
pub struct Tables {
    /// 4 bits: a line for four parts. 8 bits with `vpermi2b`: four lines of low bytes and four of high bytes for one part.
    lines: Vec<Line>,
    /// 8 bits elsewhere: 256 values a part.
    words: Vec<u16>,
    /// Smallest value of each part.
    lows: Vec<f32>,
    bits: u32,
    m: usize,
    scale: f32,
    offset: f32,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tables({} parts of {} bits, step {})", self.m, self.bits, self.scale)
    }
}

/// Whether bytes can be looked up in tables of 64 and 128 bytes, and four of them added.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_vbmi() -> bool {
    isa() == Isa::V4 && is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn has_vbmi() -> bool {
    false
}

/// The f32 `i` of a slice of bytes.
#[inline(always)]
pub(crate) fn add_at(adds: &[u8], i: usize) -> f32 {
    f32::from_le_bytes(adds[4 * i..4 * i + 4].try_into().expect("four bytes"))
}

impl Tables {
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn words(&self) -> &[u16] {
        &self.words
    }

    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }

    /// Number of parts.
    pub fn m(&self) -> usize {
        self.m
    }

    /// What one unit of a sum is worth: sums are wrong by at most m/2 of these.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// What a sum of zero is worth.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// Takes the tables of a 4-bit code, m x 16 values.
    ///
    /// # Panics
    /// If the length is no multiple of 16.
    pub fn fill4(&mut self, values: &[f32]) {
        self.begin(values, 4, 16);
        self.words.clear();
        self.lines.clear();
        self.lines.resize(self.m.div_ceil(4), Line([0; 64]));
        self.fill(values, false);
    }

    /// Takes the tables of an 8-bit code, m x 256 values.
    ///
    /// # Panics
    /// If the length is no multiple of 256.
    pub fn fill8(&mut self, values: &[f32]) {
        self.fill8_as(values, has_vbmi());
    }

    pub(crate) fn fill8_as(&mut self, values: &[f32], lines: bool) {
        self.begin(values, 8, 256);
        self.lines.clear();
        self.words.clear();
        if lines {
            self.lines.resize(self.m * 8, Line([0; 64]));
        } else {
            self.words.resize(self.m * 256, 0);
        }
        self.fill(values, lines);
    }

    fn begin(&mut self, values: &[f32], bits: u32, k: usize) {
        assert!(values.len().is_multiple_of(k));
        self.m = values.len() / k;
        self.bits = bits;
        self.lows.resize(self.m, 0.0);
    }

    fn fill(&mut self, values: &[f32], lines: bool) {
        match isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level was detected on this processor.
            Isa::V4 => unsafe { fill_v4(self, values, lines) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::V3 => unsafe { fill_v3(self, values, lines) },
            _ => fill_body(self, values, lines),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn fill_v4(t: &mut Tables, values: &[f32], lines: bool) {
    fill_body(t, values, lines);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_v3(t: &mut Tables, values: &[f32], lines: bool) {
    fill_body(t, values, lines);
}

#[inline(always)]
fn fill_body(t: &mut Tables, values: &[f32], lines: bool) {
    if t.bits == 4 {
        let inverse = measure::<16>(t, values, 255.0);
        let to = t.lines.iter_mut().flat_map(|l| l.0.as_chunks_mut::<16>().0);
        for ((to, values), &low) in to.zip(values.as_chunks::<16>().0).zip(&t.lows) {
            for i in 0..16 {
                to[i] = whole(values[i], low, inverse, 255.0) as u8;
            }
        }
        return;
    }
    let inverse = measure::<256>(t, values, 65_535.0);
    for (j, (values, &low)) in values.as_chunks::<256>().0.iter().zip(&t.lows).enumerate() {
        for (l, values) in values.as_chunks::<64>().0.iter().enumerate() {
            let mut words = [0u16; 64];
            for i in 0..64 {
                words[i] = whole(values[i], low, inverse, 65_535.0) as u16;
            }
            if lines {
                t.lines[j * 8 + l].0.iter_mut().zip(&words).for_each(|(b, &w)| *b = w as u8);
                t.lines[j * 8 + 4 + l].0.iter_mut().zip(&words).for_each(|(b, &w)| *b = (w >> 8) as u8);
            } else {
                t.words[j * 256 + l * 64..][..64].copy_from_slice(&words);
            }
        }
    }
}

/// Sets the smallest values, offset and step; returns one over the step.
#[inline(always)]
fn measure<const K: usize>(t: &mut Tables, values: &[f32], top: f32) -> f32 {
    let (mut range, mut offset) = (0.0f32, 0.0f64);
    for (values, to) in values.as_chunks::<K>().0.iter().zip(&mut t.lows) {
        let (low, high) = bounds(values);
        range = if high - low > range { high - low } else { range };
        offset += low as f64;
        *to = low;
    }
    t.offset = offset as f32;
    t.scale = range / top;
    // a step too small for its inverse is as good as none
    if t.scale >= f32::MIN_POSITIVE && range.is_finite() {
        return 1.0 / t.scale;
    }
    t.scale = 0.0;
    0.0
}

/// Smallest and largest value.
#[inline(always)]
fn bounds<const K: usize>(values: &[f32; K]) -> (f32, f32) {
    let chunks = values.as_chunks::<16>().0;
    let (mut low, mut high) = (chunks[0], chunks[0]);
    for v in &chunks[1..] {
        for l in 0..16 {
            low[l] = if v[l] < low[l] { v[l] } else { low[l] };
            high[l] = if v[l] > high[l] { v[l] } else { high[l] };
        }
    }
    let mut width = 8;
    while width > 0 {
        for l in 0..width {
            low[l] = if low[l + width] < low[l] { low[l + width] } else { low[l] };
            high[l] = if high[l + width] > high[l] { high[l + width] } else { high[l] };
        }
        width /= 2;
    }
    (low[0], high[0])
}

/// The nearest whole number of 0..=top.
#[inline(always)]
fn whole(v: f32, low: f32, inverse: f32, top: f32) -> i32 {
    let x = (v - low) * inverse + 0.5;
    let x = if x > 0.0 { x } else { 0.0 };
    let x = if x < top { x } else { top };
    // SAFETY: x lies in 0..=top and is not NaN.
    unsafe { x.to_int_unchecked::<i32>() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_is_wrong_by_half_a_step(m in 1usize..9, spread in -20i32..20, seed in 0u32..999) {
            let s = 2f32.powi(spread);
            let values = |n: usize| (0..n as u32).map(|i| s * (((i * 7 + seed) as f32).sin() + (i / 256) as f32)).collect::<Vec<f32>>();
            let slack = |t: &Tables| 0.5 * t.scale() * 1.01 + 1e-5 * s * (m as f32 + 2.0);
            let (four, eight) = (values(m * 16), values(m * 256));
            let mut t = Tables::default();
            t.fill4(&four);
            let low = |v: &[f32]| v.iter().copied().fold(f32::INFINITY, f32::min);
            for (i, &v) in four.iter().enumerate() {
                let whole = t.lines()[i / 64].0[i % 64] as f32;
                let back = low(&four[i / 16 * 16..][..16]) + t.scale() * whole;
                prop_assert!((back - v).abs() <= slack(&t));
            }
            let mut wide = Tables::default();
            t.fill8_as(&eight, false);
            wide.fill8_as(&eight, true);
            prop_assert_eq!((t.scale(), t.offset()), (wide.scale(), wide.offset()));
            for (i, &v) in eight.iter().enumerate() {
                let back = low(&eight[i / 256 * 256..][..256]) + t.scale() * t.words()[i] as f32;
                prop_assert!((back - v).abs() <= slack(&t));
                let (part, c) = (i / 256 * 8 + i % 256 / 64, i % 64);
                let both = wide.lines()[part].0[c] as u16 | (wide.lines()[part + 4].0[c] as u16) << 8;
                prop_assert_eq!(both, t.words()[i]);
            }
        }
    }

    #[test]
    fn tables_without_a_range_are_zero() {
        for odd in [0.0, 7.5, f32::INFINITY, f32::NAN, 1e-45] {
            let mut t = Tables::default();
            t.fill4(&[odd; 48]);
            assert!(t.scale() == 0.0 && t.lines().iter().all(|l| l.0 == [0; 64]));
            t.fill8(&[odd; 512]);
            assert!(t.scale() == 0.0);
        }
    }
}
