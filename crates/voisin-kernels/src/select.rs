//! The smallest of many values: a limit that few are within, and which these are.

// "not above" keeps NaN, "at most" would lose it
#![allow(clippy::neg_cmp_op_on_partial_ord)]

use crate::{Isa, isa};

const LANES: usize = 16;

/// A value that at least `keep` of `values` are within, and usually not many more; infinite if there are not as many.
///
/// Cost: a pass over the values, and a dozen over the minima of strided groups of them. NaN does not count.
pub fn limit_of_smallest(values: &[f32], keep: usize, scratch: &mut Vec<f32>) -> f32 {
    if keep >= values.len() {
        return f32::INFINITY;
    }
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { limit_v4(values, keep, scratch) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { limit_v3(values, keep, scratch) },
        _ => limit_body(values, keep, scratch),
    }
}

/// Appends the index of every value that is not above `limit` (so NaN is kept), ascending.
pub fn not_above(values: &[f32], limit: f32, out: &mut Vec<u32>) {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { not_above_v4(values, limit, out) },
        _ => not_above_body(values, 0, limit, out),
    }
}

#[allow(clippy::neg_cmp_op_on_partial_ord)]
fn not_above_body(values: &[f32], first: usize, limit: f32, out: &mut Vec<u32>) {
    out.extend(values.iter().enumerate().filter(|(_, v)| !(**v > limit)).map(|(i, _)| (first + i) as u32));
}

#[inline(always)]
fn limit_body(values: &[f32], keep: usize, scratch: &mut Vec<f32>) -> f32 {
    // every group has one value within the limit at least, so `keep` groups suffice
    let tall = (values.len() / (4 * keep.max(1))).clamp(1, 16);
    scratch.clear();
    let (chunks, tail) = values.as_chunks::<LANES>();
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut note = |m: &[f32; LANES]| {
        for l in 0..LANES {
            low[l] = if m[l] < low[l] { m[l] } else { low[l] };
            high[l] = if m[l] > high[l] && m[l] < f32::INFINITY { m[l] } else { high[l] };
        }
    };
    for block in chunks.chunks(tall) {
        let mut m = [f32::INFINITY; LANES];
        for v in block {
            for l in 0..LANES {
                m[l] = if v[l] < m[l] { v[l] } else { m[l] };
            }
        }
        note(&m);
        scratch.extend_from_slice(&m);
    }
    let mut m = [f32::INFINITY; LANES];
    for (m, &v) in m.iter_mut().zip(tail) {
        *m = if v < *m { v } else { *m };
    }
    note(&m);
    scratch.extend_from_slice(&m);
    let mut low = low.iter().fold(f32::INFINITY, |a, &b| a.min(b));
    let mut high = high.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let within = |limit: f32| {
        let mut count = [0u32; LANES];
        for m in scratch.as_chunks::<LANES>().0 {
            for l in 0..LANES {
                count[l] += (m[l] <= limit) as u32;
            }
        }
        count.iter().sum::<u32>() as usize
    };
    if within(high) < keep {
        return f32::INFINITY;
    }
    for _ in 0..16 {
        let middle = low + (high - low) * 0.5;
        let count = within(middle);
        if count < keep {
            low = middle;
        } else {
            high = middle;
            if count <= keep + keep / 8 {
                break;
            }
        }
    }
    high
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn limit_v4(values: &[f32], keep: usize, scratch: &mut Vec<f32>) -> f32 {
    limit_body(values, keep, scratch)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn limit_v3(values: &[f32], keep: usize, scratch: &mut Vec<f32>) -> f32 {
    limit_body(values, keep, scratch)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn not_above_v4(values: &[f32], limit: f32, out: &mut Vec<u32>) {
    use std::arch::x86_64::*;
    let (chunks, tail) = values.as_chunks::<LANES>();
    let limits = _mm512_set1_ps(limit);
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (c, v) in chunks.iter().enumerate() {
        // SAFETY: sixteen values.
        let v = unsafe { _mm512_loadu_ps(v.as_ptr()) };
        let mask = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(v, limits);
        if mask != 0 {
            let at = _mm512_add_epi32(lanes, _mm512_set1_epi32((c * LANES) as i32));
            out.reserve(LANES);
            // SAFETY: room for sixteen more was reserved; the first of them are written before they count.
            unsafe {
                _mm512_storeu_si512(out.as_mut_ptr().add(out.len()).cast(), _mm512_maskz_compress_epi32(mask, at));
                out.set_len(out.len() + mask.count_ones() as usize);
            }
        }
    }
    not_above_body(tail, chunks.len() * LANES, limit, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_limit_holds_enough_and_the_choice_is_the_definition(
            v in proptest::collection::vec(prop_oneof![8 => -1e3f32..1e3, 1 => Just(f32::INFINITY), 1 => Just(f32::NAN)], 0..600),
            keep in 1usize..100,
        ) {
            let limit = limit_of_smallest(&v, keep, &mut Vec::new());
            prop_assert!(limit == f32::INFINITY || v.iter().filter(|x| **x <= limit).count() >= keep);
            let mut got = Vec::new();
            not_above(&v, limit, &mut got);
            let want: Vec<u32> = (0..v.len() as u32).filter(|&i| v[i as usize] <= limit || v[i as usize].is_nan()).collect();
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn few_more_than_asked_for_are_within() {
        let v: Vec<f32> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        for keep in [1, 8, 64, 500] {
            let limit = limit_of_smallest(&v, keep, &mut Vec::new());
            assert!(v.iter().filter(|x| **x <= limit).count() <= 2 * keep + 4, "{keep}");
        }
    }
}
