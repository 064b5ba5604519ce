//! Ranges of scalar codes: where code 0 stands and how far codes are apart.
//!
//! The squared error of a uniform quantiser as a function of its range has many shallow minima (values that crowd at one
//! end, as zeros do, want a code of their own), so several ranges are tried and the best is improved in the manner of
//! Lloyd: with the codes held, the least squares line through (code, value) gives a better low and step.

use crate::Vectors;
use rayon::prelude::*;

/// Values of a dimension that ranges are compared on.
const SAMPLE: usize = 1 << 14;
/// Dimensions that are gathered at once: a line of the cache.
const TOGETHER: usize = 16;
/// Values beyond it are cut off, so that no range overflows.
const END: f64 = 1e38;
/// Parts of the whole range that are tried.
const PARTS: [f64; 8] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];
/// Improvements of the best.
const STEPS: usize = 6;
const LANES: usize = 16;
/// Values summed in f32 before they are added in f64.
const CHUNK: usize = 512;

/// `count` ranges (low, step) for codes 0..=top: one a dimension, one for all, or none.
pub(super) fn ranges(rows: Vectors<'_>, top: u8, count: usize) -> Vec<(f32, f32)> {
    let d = rows.d();
    let fits = |part: &[f32]| part.iter().all(|&x| x >= 0.0 && x <= top as f32 && x as u8 as f32 == x);
    if count == 0 || rows.n() == 0 || rows.data().par_chunks(1 << 16).all(fits) {
        return vec![(0.0, if rows.n() == 0 { 0.0 } else { 1.0 }); count];
    }
    if count == 1 {
        let ends = rows.data().par_chunks(1 << 16).map(ends).reduce(|| NONE, join);
        // a stride that shares no factor with d passes through all dimensions
        let stride = (rows.data().len() / (4 * SAMPLE)).max(1);
        let stride = (stride..).find(|&s| gcd(s, d) == 1).unwrap_or(1);
        let values: Vec<f32> = rows.data().iter().step_by(stride).copied().collect();
        return vec![range(&values, ends, rows.n(), top)];
    }
    let groups: Vec<usize> = (0..d).step_by(TOGETHER).collect();
    groups.par_iter().flat_map_iter(|&from| group(rows, from..(from + TOGETHER).min(d), top)).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Ranges of some neighbouring dimensions.
fn group(rows: Vectors<'_>, dims: std::ops::Range<usize>, top: u8) -> Vec<(f32, f32)> {
    let mut ends = vec![NONE; dims.len()];
    let mut values = vec![Vec::new(); dims.len()];
    let stride = rows.n().div_ceil(SAMPLE);
    for (i, row) in rows.iter().enumerate() {
        for (e, &x) in ends.iter_mut().zip(&row[dims.clone()]) {
            *e = (e.0.min(x), e.1.max(x));
        }
        if i % stride == 0 {
            values.iter_mut().zip(&row[dims.clone()]).for_each(|(v, &x)| v.push(x));
        }
    }
    values.iter().zip(ends).map(|(v, e)| range(v, e, rows.n(), top)).collect()
}

const NONE: (f32, f32) = (f32::INFINITY, f32::NEG_INFINITY);

fn ends(values: &[f32]) -> (f32, f32) {
    values.iter().fold(NONE, |e, &x| (e.0.min(x), e.1.max(x)))
}

fn join(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (a.0.min(b.0), a.1.max(b.1))
}

/// The range for values of which `values` are some, `ends` the smallest and largest; `n` rows were seen.
fn range(values: &[f32], ends: (f32, f32), n: usize, top: u8) -> (f32, f32) {
    let (low, high) = ((ends.0 as f64).clamp(-END, END), (ends.1 as f64).clamp(-END, END));
    let width = high - low;
    if width < (top as f64 + 1.0) * 2.0 * f32::MIN_POSITIVE as f64 {
        return ((low + width / 2.0) as f32, 0.0);
    }
    let unit: Vec<f32> = values.iter().map(|&x| (((x as f64).clamp(-END, END) - low) / width) as f32).collect();
    let (from, step) = unit_range(&unit, n, top as f64);
    // rounding may not take the last code out of f32
    ((low + width * from) as f32, ((width * step) as f32).max(f32::MIN_POSITIVE))
}

/// The range for values from 0 to 1.
fn unit_range(values: &[f32], n: usize, top: f64) -> (f64, f64) {
    // cells of equal width from end to end
    let step = 1.0 / (top + 1.0);
    let whole = (step / 2.0, step);
    let first = Fit::of(values, whole, top);
    let mut best = (first.error, whole);
    let mut keep = |error: f64, range: (f64, f64)| {
        if error < best.0 {
            best = (error, range);
        }
        best
    };
    let mut at = whole;
    for s in PARTS {
        let step = s / (top + 1.0);
        for range in [(first.mean * (1.0 - s) + step / 2.0, step), (0.0, s / top), (1.0 - s, s / top)] {
            at = keep(Fit::of(values, range, top).error, range).1;
        }
    }
    for _ in 0..STEPS {
        let fit = Fit::of(values, at, top);
        keep(fit.error, at);
        match fit.line() {
            Some(better) => at = better,
            None => break,
        }
    }
    let (error, found) = keep(Fit::of(values, at, top).error, at);
    if top <= 15.0 {
        return found;
    }
    // what is beyond the ends of a narrower range has a large error: not for a few per cent, and the fewer rows were seen,
    // the more of it the others have
    let unseen = 400.0 / n as f64;
    widen(if error > (0.9 - unseen) * first.error { whole } else { found }, unseen.min(0.1), top)
}

/// Leaves room for rows that surpass the ends of a small sample, but not below an end that values crowd at.
fn widen((low, step): (f64, f64), part: f64, top: f64) -> (f64, f64) {
    let down = if low < step / 4.0 { 0.0 } else { part / 2.0 * step * top };
    (low - down, step * (1.0 + part))
}

/// What a pass over the values finds.
struct Fit {
    error: f64,
    mean: f64,
    code: f64,
    code_squared: f64,
    code_value: f64,
}

impl Fit {
    fn of(values: &[f32], (low, step): (f64, f64), top: f64) -> Fit {
        let (low, step, inverse, top) = (low as f32, step as f32, (1.0 / step) as f32, top as f32);
        let mut sums = [0.0f64; 5];
        for chunk in values.chunks(CHUNK) {
            let mut acc = [[0.0f32; LANES]; 5];
            let (lines, tail) = chunk.as_chunks::<LANES>();
            lines.iter().for_each(|x| add(&mut acc, x, low, step, inverse, top));
            for (s, a) in sums.iter_mut().zip(acc) {
                *s += a.iter().map(|&x| x as f64).sum::<f64>();
            }
            for &x in tail {
                let mut one = [[0.0f32; LANES]; 5];
                add(&mut one, &[x; LANES], low, step, inverse, top);
                sums.iter_mut().zip(one).for_each(|(s, a)| *s += a[0] as f64);
            }
        }
        let n = values.len().max(1) as f64;
        let [error, value, code, code_squared, code_value] = sums.map(|s| s / n);
        Fit { error, mean: value, code, code_squared, code_value }
    }

    /// The line of least squares through (code, value); `None` where all codes are one.
    fn line(&self) -> Option<(f64, f64)> {
        let variance = self.code_squared - self.code * self.code;
        let step = (self.code_value - self.code * self.mean) / variance;
        (variance > 1e-6 && step > 1e-9).then_some((self.mean - step * self.code, step))
    }
}

/// Error, value, code, code², code · value of a line of values.
#[inline(always)]
fn add(acc: &mut [[f32; LANES]; 5], x: &[f32; LANES], low: f32, step: f32, inverse: f32, top: f32) {
    const ROUND: f32 = 12_582_912.0;
    for l in 0..LANES {
        let t = (x[l] - low) * inverse;
        let t = if t > 0.0 { t } else { 0.0 };
        let c = ((if t < top { t } else { top }) + ROUND) - ROUND;
        let e = x[l] - (step * c + low);
        acc[0][l] += e * e;
        acc[1][l] += x[l];
        acc[2][l] += c;
        acc[3][l] += c * c;
        acc[4][l] += c * x[l];
    }
}
