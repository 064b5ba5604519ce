//! Scalar codes: a number a dimension in 16, 8 or 4 bits, made, read back, and multiplied with a query as they are.
//!
//! x ≈ low + step · c with c in 0..=255 or 0..=15, or a half float. Four bits: the low half of byte i is dimension 2i, the
//! high half dimension 2i + 1, and the last half is 0 if d is odd. Making and reading back never fuse a product with a sum,
//! so that every instruction set gives the same bytes and bits.

mod dots;
pub use dots::{ScalarQuery, scalar_dots};

use crate::{Isa, f16_to_f32, f32_to_f16, isa};

/// Values that pass through a buffer at once.
const BLOCK: usize = 64;
const LANES: usize = 16;
/// Adding 1.5 · 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Bits a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarBits {
    /// Half floats, little-endian.
    F16,
    /// 0..=255.
    Eight,
    /// 0..=15, two a byte.
    Four,
}

impl ScalarBits {
    /// Bytes of a row of `d` values: 2d, d, ⌈d / 2⌉.
    pub fn row_bytes(self, d: usize) -> usize {
        match self {
            ScalarBits::F16 => 2 * d,
            ScalarBits::Eight => d,
            ScalarBits::Four => d.div_ceil(2),
        }
    }

    /// The largest code; 0 for half floats.
    pub fn levels(self) -> u8 {
        match self {
            ScalarBits::F16 => 0,
            ScalarBits::Eight => 255,
            ScalarBits::Four => 15,
        }
    }
}

/// What encoding and decoding need beside the rows.
#[derive(Clone, Copy, Debug)]
pub struct ScalarGrid<'a> {
    /// Bits a dimension.
    pub bits: ScalarBits,
    /// Values a row.
    pub d: usize,
    /// Values of code 0, one a dimension; not read for half floats.
    pub low: &'a [f32],
    /// Distances between codes.
    pub step: &'a [f32],
    /// 1 / step, or 0 where the step is 0.
    pub inverse: &'a [f32],
}

impl ScalarGrid<'_> {
    fn check(&self, values: usize, bytes: usize) {
        assert!(self.d > 0 && values.is_multiple_of(self.d), "{values} values are no rows of {}", self.d);
        assert_eq!(values / self.d * self.bits.row_bytes(self.d), bytes, "a code a row");
        let ranges = if self.bits == ScalarBits::F16 { 0 } else { self.d };
        assert!(self.low.len() >= ranges && self.step.len() >= ranges && self.inverse.len() >= ranges, "a range a dimension");
    }
}

/// Encodes rows on this thread: the nearest code, ends clamped; half floats to the nearest, too large becomes infinite.
///
/// Same bytes on every instruction set.
///
/// # Panics
/// If lengths do not fit.
pub fn scalar_encode(grid: &ScalarGrid<'_>, rows: &[f32], out: &mut [u8]) {
    grid.check(rows.len(), out.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { encode_v4(grid, rows, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { encode_v3(grid, rows, out) },
        _ => encode_body(grid, rows, out),
    }
}

/// Decodes rows on this thread; same bits on every instruction set.
///
/// # Panics
/// If lengths do not fit.
pub fn scalar_decode(grid: &ScalarGrid<'_>, codes: &[u8], out: &mut [f32]) {
    grid.check(out.len(), codes.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { decode_v4(grid, codes, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { decode_v3(grid, codes, out) },
        _ => decode_body(grid, codes, out),
    }
}

#[inline(always)]
fn encode_body(grid: &ScalarGrid<'_>, rows: &[f32], out: &mut [u8]) {
    let (d, top) = (grid.d, grid.bits.levels() as f32);
    match grid.bits {
        ScalarBits::F16 => {
            let mut half = [0; BLOCK];
            for (x, o) in rows.chunks(BLOCK).zip(out.chunks_mut(2 * BLOCK)) {
                f32_to_f16(x, &mut half[..x.len()]);
                o.as_chunks_mut::<2>().0.iter_mut().zip(half).for_each(|(o, h)| *o = h.to_le_bytes());
            }
        }
        ScalarBits::Eight => {
            for (x, o) in rows.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
                codes_of(x, &grid.low[..d], &grid.inverse[..d], top, o);
            }
        }
        ScalarBits::Four => {
            for (x, o) in rows.chunks_exact(d).zip(out.chunks_exact_mut(d.div_ceil(2))) {
                let ranges = grid.low[..d].chunks(BLOCK).zip(grid.inverse[..d].chunks(BLOCK));
                for ((x, o), (low, inverse)) in x.chunks(BLOCK).zip(o.chunks_mut(BLOCK / 2)).zip(ranges) {
                    let mut codes = [0u8; BLOCK];
                    codes_of(x, low, inverse, top, &mut codes[..x.len()]);
                    for (o, c) in o.iter_mut().zip(codes.as_chunks::<2>().0) {
                        *o = c[0] | c[1] << 4;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn codes_of(x: &[f32], low: &[f32], inverse: &[f32], top: f32, out: &mut [u8]) {
    for ((o, &x), (&low, &inverse)) in out.iter_mut().zip(x).zip(low.iter().zip(inverse)) {
        let t = (x - low) * inverse;
        // one instruction each, and NaN becomes 0
        let t = if t > 0.0 { t } else { 0.0 };
        let t = if t < top { t } else { top };
        *o = (t + ROUND).to_bits() as u8;
    }
}

#[inline(always)]
fn decode_body(grid: &ScalarGrid<'_>, codes: &[u8], out: &mut [f32]) {
    let d = grid.d;
    match grid.bits {
        ScalarBits::F16 => {
            let mut half = [0; BLOCK];
            for (c, o) in codes.chunks(2 * BLOCK).zip(out.chunks_mut(BLOCK)) {
                half.iter_mut().zip(c.as_chunks::<2>().0).for_each(|(h, &c)| *h = u16::from_le_bytes(c));
                f16_to_f32(&half[..o.len()], o);
            }
        }
        ScalarBits::Eight => {
            for (c, o) in codes.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
                values_of(c, &grid.low[..d], &grid.step[..d], o);
            }
        }
        ScalarBits::Four => {
            for (c, o) in codes.chunks_exact(d.div_ceil(2)).zip(out.chunks_exact_mut(d)) {
                let ranges = grid.low[..d].chunks(BLOCK).zip(grid.step[..d].chunks(BLOCK));
                for ((c, o), (low, step)) in c.chunks(BLOCK / 2).zip(o.chunks_mut(BLOCK)).zip(ranges) {
                    let mut codes = [0u8; BLOCK];
                    for (two, &c) in codes.as_chunks_mut::<2>().0.iter_mut().zip(c) {
                        *two = [c & 15, c >> 4];
                    }
                    values_of(&codes[..o.len()], low, step, o);
                }
            }
        }
    }
}

#[inline(always)]
fn values_of(codes: &[u8], low: &[f32], step: &[f32], out: &mut [f32]) {
    for ((o, &c), (&low, &step)) in out.iter_mut().zip(codes).zip(low.iter().zip(step)) {
        *o = step * c as f32 + low;
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! level {
    ($features:literal, $encode:ident, $decode:ident) => {
        #[target_feature(enable = $features)]
        fn $encode(grid: &ScalarGrid<'_>, rows: &[f32], out: &mut [u8]) {
            encode_body(grid, rows, out);
        }
        #[target_feature(enable = $features)]
        fn $decode(grid: &ScalarGrid<'_>, codes: &[u8], out: &mut [f32]) {
            decode_body(grid, codes, out);
        }
    };
}
#[cfg(target_arch = "x86_64")]
level!("avx512f,avx512bw,avx512dq,avx512vl,fma", encode_v4, decode_v4);
#[cfg(target_arch = "x86_64")]
level!("avx2,fma", encode_v3, decode_v3);

#[cfg(test)]
mod tests;
