//! Reading a row of a product tile: which columns are near enough, which is the nearest.
//!
//! The key of column j is `bias[j] + scale * dots[j]` (squared L2 without the query's norm: bias = |x|², scale = −2;
//! inner product: bias = 0, scale = −1).

use crate::{Isa, isa};

/// Appends (column, key) of every column whose key is at most `limit`; columns in ascending order.
///
/// # Panics
/// If the lengths differ.
pub fn below(dots: &[f32], bias: &[f32], scale: f32, limit: f32, out: &mut Vec<(u32, f32)>) {
    assert_eq!(dots.len(), bias.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { below_v4(dots, bias, scale, limit, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { below_v3(dots, bias, scale, limit, out) },
        _ => below_body(dots, bias, limit, out, |d, b| b + scale * d),
    }
}

/// The column with the smallest key and the key; the smaller column wins a tie. `(u32::MAX, inf)` without columns.
///
/// # Panics
/// If the lengths differ.
pub fn argmin(dots: &[f32], bias: &[f32], scale: f32) -> (u32, f32) {
    assert_eq!(dots.len(), bias.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { argmin_v4(dots, bias, scale) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { argmin_v3(dots, bias, scale) },
        _ => argmin_body(dots, bias, |d, b| b + scale * d),
    }
}

const LANES: usize = 16;

#[inline(always)]
fn below_body(dots: &[f32], bias: &[f32], limit: f32, out: &mut Vec<(u32, f32)>, key: impl Fn(f32, f32) -> f32) {
    let (d, d_tail) = dots.as_chunks::<LANES>();
    let (b, b_tail) = bias.as_chunks::<LANES>();
    for (c, (d, b)) in d.iter().zip(b).enumerate() {
        let mut keys = [0.0; LANES];
        for l in 0..LANES {
            keys[l] = key(d[l], b[l]);
        }
        if keys.iter().fold(false, |any, &k| any | (k <= limit)) {
            out.extend(keys.iter().enumerate().filter(|(_, k)| **k <= limit).map(|(l, &k)| ((c * LANES + l) as u32, k)));
        }
    }
    let done = d.len() * LANES;
    for (l, (&d, &b)) in d_tail.iter().zip(b_tail).enumerate() {
        let k = key(d, b);
        if k <= limit {
            out.push(((done + l) as u32, k));
        }
    }
}

#[inline(always)]
fn argmin_body(dots: &[f32], bias: &[f32], key: impl Fn(f32, f32) -> f32) -> (u32, f32) {
    let mut best = [f32::INFINITY; LANES];
    let mut at = [u32::MAX; LANES];
    let (d, d_tail) = dots.as_chunks::<LANES>();
    let (b, b_tail) = bias.as_chunks::<LANES>();
    for (c, (d, b)) in d.iter().zip(b).enumerate() {
        for l in 0..LANES {
            let k = key(d[l], b[l]);
            let nearer = k < best[l];
            best[l] = if nearer { k } else { best[l] };
            at[l] = if nearer { c as u32 } else { at[l] };
        }
    }
    let mut result = (u32::MAX, f32::INFINITY);
    for l in 0..LANES {
        if at[l] != u32::MAX {
            let column = at[l] * LANES as u32 + l as u32;
            if best[l] < result.1 || (best[l] == result.1 && column < result.0) {
                result = (column, best[l]);
            }
        }
    }
    let done = d.len() * LANES;
    for (l, (&d, &b)) in d_tail.iter().zip(b_tail).enumerate() {
        let k = key(d, b);
        if k < result.1 {
            result = ((done + l) as u32, k);
        }
    }
    result
}

macro_rules! level {
    ($features:literal, $below:ident, $argmin:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $below(dots: &[f32], bias: &[f32], scale: f32, limit: f32, out: &mut Vec<(u32, f32)>) {
            below_body(dots, bias, limit, out, |d, b| d.mul_add(scale, b));
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $argmin(dots: &[f32], bias: &[f32], scale: f32) -> (u32, f32) {
            argmin_body(dots, bias, |d, b| d.mul_add(scale, b))
        }
    };
}
level!("avx512f,avx512bw,avx512dq,avx512vl,fma", below_v4, argmin_v4);
level!("avx2,fma", below_v3, argmin_v3);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agree_with_the_definition(keys in proptest::collection::vec(-50i8..50, 0..200), limit in -60i8..60) {
            let dots: Vec<f32> = keys.iter().map(|&k| k as f32).collect();
            let bias: Vec<f32> = keys.iter().enumerate().map(|(i, _)| (i % 7) as f32).collect();
            let all: Vec<f32> = dots.iter().zip(&bias).map(|(d, b)| b - 2.0 * d).collect();
            let mut got = Vec::new();
            below(&dots, &bias, -2.0, limit as f32, &mut got);
            let want: Vec<(u32, f32)> = all.iter().enumerate().filter(|(_, k)| **k <= limit as f32).map(|(i, &k)| (i as u32, k)).collect();
            prop_assert_eq!(got, want);
            let mut first = (u32::MAX, f32::INFINITY);
            for (i, &k) in all.iter().enumerate() { if k < first.1 { first = (i as u32, k); } }
            prop_assert_eq!(argmin(&dots, &bias, -2.0), first);
        }
    }
}
