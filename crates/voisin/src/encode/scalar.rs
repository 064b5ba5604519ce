//! Scalar codes: a number a dimension, by itself; half floats, 8 or 4 bits.
//!
//! Code c of dimension j stands for low[j] + step[j] · c, the middle of its cell. Codes are independent of their
//! neighbours, so a row is read back alone. Four bits: the low half of byte i is dimension 2i, the high half dimension
//! 2i + 1, as FAISS stores them.
//!
//! FAISS takes the floor of (x − vmin) / vdiff · 255 (or 15) and reads c + ½ back: the same codes as low = vmin + step / 2,
//! step = vdiff / 255 here, but for values within a rounding of a boundary between cells.

use crate::{Matrix, ScalarKind, Vectors};
use rayon::prelude::*;
use voisin_kernels::{ScalarBits, ScalarGrid, ScalarQuery, max_abs, scalar_decode, scalar_encode};

mod fit;
#[cfg(test)]
mod tests;

/// From this magnitude on a value rounds to an infinite half float.
const HALF_END: f32 = 65_520.0;
/// Rows that a thread encodes at once.
const ROWS: usize = 256;
/// The same where they are copied first: few enough to stay in the cache.
const FEW: usize = 32;

/// A trained scalar code of d dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    kind: ScalarKind,
    d: usize,
    /// One a dimension, also where all are alike; empty for half floats.
    low: Vec<f32>,
    /// 0 for a dimension that has one value; never so small that 1 / step overflows.
    step: Vec<f32>,
    inverse: Vec<f32>,
}

fn bits(kind: ScalarKind) -> ScalarBits {
    match kind {
        ScalarKind::F16 => ScalarBits::F16,
        ScalarKind::Sq8 | ScalarKind::Sq8Uniform => ScalarBits::Eight,
        ScalarKind::Sq4 | ScalarKind::Sq4Uniform => ScalarBits::Four,
    }
}

/// Different ranges a code of `d` dimensions keeps.
fn ranges(kind: ScalarKind, d: usize) -> usize {
    match kind {
        ScalarKind::F16 => 0,
        ScalarKind::Sq8 | ScalarKind::Sq4 => d,
        ScalarKind::Sq8Uniform | ScalarKind::Sq4Uniform => 1,
    }
}

impl Scalar {
    /// Chooses ranges by a sample of rows, in parallel; the same on any number of threads.
    ///
    /// 8 bits: from the smallest to the largest value, a little wider if the sample is small, narrower only where that
    /// saves a tenth of the squared error (more if the sample is small). 4 bits: the range of the least squared error that
    /// was found. A sample of integers that codes can hold is kept without error. Values beyond ±1e38 are cut off.
    pub(crate) fn train(kind: ScalarKind, rows: Vectors<'_>) -> Scalar {
        let found = fit::ranges(rows, bits(kind).levels(), ranges(kind, rows.d()));
        Scalar::new(kind, rows.d(), &found)
    }

    fn new(kind: ScalarKind, d: usize, found: &[(f32, f32)]) -> Scalar {
        let all: Vec<(f32, f32)> = if found.len() == 1 { vec![found[0]; d] } else { found.to_vec() };
        Scalar {
            kind,
            d,
            low: all.iter().map(|r| r.0).collect(),
            step: all.iter().map(|r| r.1).collect(),
            inverse: all.iter().map(|r| if r.1 > 0.0 { 1.0 / r.1 } else { 0.0 }).collect(),
        }
    }

    /// Rebuilds a code of `d` dimensions from what [`Scalar::parts`] gave; anything else is an error text.
    pub(crate) fn from_parts(kind: ScalarKind, d: usize, parts: &[f32]) -> Result<Scalar, String> {
        let n = ranges(kind, d);
        if d == 0 || parts.len() != 2 * n {
            return Err(format!("{} numbers of ranges where {} of {d} dimensions has {}", parts.len(), kind.word(), 2 * n));
        }
        let found: Vec<(f32, f32)> = parts[..n].iter().copied().zip(parts[n..].iter().copied()).collect();
        let top = bits(kind).levels() as f32;
        let good = |&(low, step): &(f32, f32)| {
            (step == 0.0 || step >= f32::MIN_POSITIVE)
                && (step * top).is_finite()
                && low.is_finite()
                && (low + step * top).is_finite()
        };
        match found.iter().position(|r| !good(r)) {
            Some(i) => Err(format!("range {i} begins at {} in steps of {}", found[i].0, found[i].1)),
            None => Ok(Scalar::new(kind, d, &found)),
        }
    }

    /// All that was trained: the lows, then the steps, of each dimension or of all.
    pub(crate) fn parts(&self) -> Vec<f32> {
        let n = ranges(self.kind, self.d);
        [&self.low[..n], &self.step[..n]].concat()
    }

    /// Bytes of a code: 2d, d or ⌈d / 2⌉.
    pub(crate) fn row_bytes(&self) -> usize {
        bits(self.kind).row_bytes(self.d)
    }

    fn grid(&self) -> ScalarGrid<'_> {
        ScalarGrid { bits: bits(self.kind), d: self.d, low: &self.low, step: &self.step, inverse: &self.inverse }
    }

    /// Codes of n rows into `out` (n x [`Scalar::row_bytes`]), in parallel: the nearest, ends clamped. Same bytes on any
    /// number of threads and every instruction set.
    ///
    /// # Errors
    /// The first row (counted here) with a value beyond the largest half float, where codes are these.
    pub(crate) fn encode(&self, rows: Vectors<'_>, out: &mut [u8]) -> Result<(), (usize, String)> {
        assert_eq!(rows.d(), self.d, "rows of the code's dimensions");
        if self.kind == ScalarKind::F16 {
            let large = |part: &[f32]| max_abs(part) >= HALF_END;
            let part = rows.data().par_chunks(ROWS * self.d).position_first(large);
            let within = part.map_or(rows.n()..rows.n(), |p| p * ROWS..rows.n());
            if let Some(row) = within.into_iter().find(|&i| large(rows.row(i))) {
                let what = format!("a value of magnitude {}; half floats (F16) end at 65504", max_abs(rows.row(row)));
                return Err((row, what));
            }
        }
        let bytes = self.row_bytes();
        assert_eq!(out.len(), rows.n() * bytes, "a code a row");
        let parts = rows.data().par_chunks(ROWS * self.d).zip(out.par_chunks_mut(ROWS * bytes));
        parts.for_each(|(x, o)| scalar_encode(&self.grid(), x, o));
        Ok(())
    }

    /// As [`Scalar::encode`], of what is left of rows when the centres of their lists are taken off; without a copy of all of
    /// them where values have no end.
    pub(crate) fn encode_relative(
        &self,
        rows: Vectors<'_>,
        lists: &[u32],
        centres: Option<&Matrix>,
        out: &mut [u8],
    ) -> Result<(), (usize, String)> {
        let Some(centres) = centres else { return self.encode(rows, out) };
        if self.kind == ScalarKind::F16 {
            return self.encode(Vectors::new(&super::less(rows, lists, Some(centres)), self.d), out);
        }
        let (d, bytes) = (self.d, self.row_bytes());
        assert_eq!((rows.d(), out.len()), (d, rows.n() * bytes), "a code a row");
        let parts = rows.data().par_chunks(FEW * d).zip(lists.par_chunks(FEW)).zip(out.par_chunks_mut(FEW * bytes));
        parts.with_min_len(8).for_each_init(
            || vec![0.0; FEW * d],
            |line, ((x, lists), o)| {
                for ((row, to), &list) in x.chunks_exact(d).zip(line.chunks_exact_mut(d)).zip(lists) {
                    to.iter_mut().zip(row).zip(centres.row(list as usize)).for_each(|((t, x), c)| *t = x - c);
                }
                scalar_encode(&self.grid(), &line[..x.len()], o);
            },
        );
        Ok(())
    }

    /// Rows from n codes, on this thread; the same bits on every instruction set.
    pub(crate) fn decode(&self, codes: &[u8], out: &mut [f32]) {
        scalar_decode(&self.grid(), codes, out);
    }

    /// A query ready for [`voisin_kernels::scalar_dots`], which gives <q, x̃> within [`Scalar::margin`].
    pub(crate) fn query(&self, q: &[f32]) -> ScalarQuery {
        assert_eq!(q.len(), self.d, "a query of the code's dimensions");
        if self.kind == ScalarKind::F16 {
            return ScalarQuery::new(ScalarBits::F16, q, 0.0);
        }
        let scaled: Vec<f32> = q.iter().zip(&self.step).map(|(q, s)| q * s).collect();
        ScalarQuery::new(bits(self.kind), &scaled, voisin_kernels::dot_f64(q, &self.low) as f32)
    }

    /// |low|, rounded up: how far codes are from the origin, which the products' error grows with. 0 for half floats.
    pub(crate) fn low_norm(&self) -> f32 {
        (voisin_kernels::dot_f64(&self.low, &self.low).sqrt() * (1.0 + 1e-6)) as f32
    }

    /// How far `scalar_dots` may be from <q, x̃> for |q| <= `norm` and |x̃| <= `reach`.
    pub(crate) fn margin(&self, norm: f32, reach: f32) -> f32 {
        ScalarQuery::slack(self.d) * norm * (reach + self.low_norm()) + 1e-30
    }
}
