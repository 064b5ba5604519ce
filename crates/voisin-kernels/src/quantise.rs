//! Rounding a row to 8 bits, with its error kept.

use crate::{Isa, isa};
use rayon::prelude::*;

/// Relative slack for the f32 operations on rows of d values: sums over d / 16 steps, and the few that make a key.
pub(crate) fn slack(d: usize) -> f32 {
    (16.0 + d as f32 / 8.0) * f32::EPSILON
}

/// Whether all values are integers in 0..=255.
pub fn are_bytes(values: &[f32]) -> bool {
    values.par_chunks(1 << 16).all(|c| c.iter().fold(true, |ok, &x| ok & (x as u8 as f32 == x)))
}

/// A rounded row: x ≈ scale · code.
pub(crate) struct Quantised {
    pub(crate) scale: f32,
    pub(crate) error: f32,
    pub(crate) norm_squared: f32,
    pub(crate) sum: i32,
}

/// Rounds a row to multiples of its largest value / 127; the error is rounded up.
#[inline(always)]
fn quantise_body(x: &[f32], codes: &mut [i8]) -> Quantised {
    let top = crate::facts::top(x);
    let scale = if top > 1e-30 { top / 127.0 } else { 1.0 };
    let inverse = 1.0 / scale;
    for (c, &v) in codes.iter_mut().zip(x) {
        // adding 1.5 · 2^23 rounds to the nearest integer and leaves it in the low bits; a cast would test for NaN
        *c = ((v * inverse + 12_582_912.0).to_bits() as i32).wrapping_sub(0x4b40_0000) as i8;
    }
    let mut lanes = [[0.0f32; 16]; 2];
    let mut sums = [0i32; 16];
    let (xs, xt) = x.as_chunks::<16>();
    let (cs, ct) = codes.as_chunks::<16>();
    for (v, c) in xs.iter().zip(cs) {
        for l in 0..16 {
            let e = v[l] - scale * c[l] as f32;
            lanes[0][l] += e * e;
            lanes[1][l] += v[l] * v[l];
            sums[l] += c[l] as i32;
        }
    }
    let [mut error, mut norm] = lanes.map(|l| l.iter().sum::<f32>());
    let mut sum: i32 = sums.iter().sum();
    for (&v, &c) in xt.iter().zip(ct) {
        let e = v - scale * c as f32;
        error += e * e;
        norm += v * v;
        sum += c as i32;
    }
    // e itself carries the rounding of scale · c (at most |v| 2^-23 each), the sums a few ulps
    let rounding = norm.sqrt() * 4.0 * f32::EPSILON;
    Quantised { scale, error: error.sqrt() * (1.0 + slack(x.len())) + rounding, norm_squared: norm, sum }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn quantise_v4(x: &[f32], codes: &mut [i8]) -> Quantised {
    quantise_body(x, codes)
}

/// Rounds a row and hands every code to `put`.
pub(crate) fn quantise(x: &[f32], mut put: impl FnMut(usize, i16)) -> Quantised {
    thread_local!(static CODES: std::cell::RefCell<Vec<i8>> = const { std::cell::RefCell::new(Vec::new()) });
    CODES.with_borrow_mut(|codes| {
        codes.clear();
        codes.resize(x.len(), 0);
        let q = match isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level was detected on this processor.
            Isa::V4 => unsafe { quantise_v4(x, codes) },
            _ => quantise_body(x, codes),
        };
        codes.iter().enumerate().for_each(|(i, &c)| put(i, c as i16));
        q
    })
}
