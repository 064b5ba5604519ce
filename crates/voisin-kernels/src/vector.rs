//! Distances between single vectors.
//!
//! Four accumulators of sixteen lanes, added in a fixed tree: v3 and v4 give the same bits.

use crate::{Isa, isa};

const LANES: usize = 16;

/// Sum of aᵢ·bᵢ.
///
/// # Panics
/// If the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { dot_v4(a, b) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { dot_v3(a, b) },
        _ => fold(a, b, |s, x, y| s + x * y),
    }
}

/// Sum of (aᵢ − bᵢ)².
///
/// # Panics
/// If the lengths differ.
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { l2_by_hand(a, b) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { l2_v3(a, b) },
        _ => fold(a, b, |s, x, y| s + (x - y) * (x - y)),
    }
}

/// Dot products of one query with each of `out.len()` rows.
///
/// # Panics
/// If `rows` is not `out.len()` rows of the query's length.
pub fn dots(query: &[f32], rows: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), query.len() * out.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { dots_v4(query, rows, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { dots_v3(query, rows, out) },
        _ => each(query, rows, out, |a, b| fold(a, b, |s, x, y| s + x * y)),
    }
}

/// Squared L2 distances of one query to each of `out.len()` rows.
///
/// # Panics
/// If `rows` is not `out.len()` rows of the query's length.
pub fn l2_squareds(query: &[f32], rows: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), query.len() * out.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { l2s_v4(query, rows, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { l2s_v3(query, rows, out) },
        _ => each(query, rows, out, |a, b| fold(a, b, |s, x, y| s + (x - y) * (x - y))),
    }
}

/// Squared norm of each of `out.len()` rows.
///
/// # Panics
/// If `rows` is not a whole number of values a row.
pub fn norms_squared(rows: &[f32], out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    assert_eq!(rows.len() % out.len(), 0);
    let d = rows.len() / out.len();
    for (o, r) in out.iter_mut().zip(rows.chunks_exact(d.max(1))) {
        *o = dot(r, r);
    }
}

/// Sum of aᵢ·bᵢ in f64: products of two f32 are exact, the sum is rounded in f64.
///
/// # Panics
/// If the lengths differ.
pub fn dot_f64(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { dot64_v4(a, b) },
        _ => fold_f64(a, b, |x, y| x * y),
    }
}

/// Sum of (aᵢ − bᵢ)² in f64.
///
/// # Panics
/// If the lengths differ.
pub fn l2_squared_f64(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { l264_v4(a, b) },
        _ => fold_f64(a, b, |x, y| (x - y) * (x - y)),
    }
}

/// Squared distance of `q` to the sum, rounded to f32, of `c` and some words one after the other, in f64; the same bits on every
/// instruction set and however the words are cut.
///
/// # Panics
/// If the lengths differ, or a word but the last has a length that is no multiple of 32.
pub fn l2_squared_to_sum_f64(q: &[f32], words: &[&[f32]], c: &[f32]) -> f64 {
    assert!(q.len() == c.len() && q.len() == words.iter().map(|w| w.len()).sum::<usize>());
    assert!(words.iter().rev().skip(1).all(|w| w.len().is_multiple_of(32)));
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { to_sum_v4(q, words, c) },
        _ => to_sum(q, words, c),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn to_sum_v4(q: &[f32], words: &[&[f32]], c: &[f32]) -> f64 {
    to_sum(q, words, c)
}

#[inline(always)]
fn to_sum(q: &[f32], words: &[&[f32]], c: &[f32]) -> f64 {
    let (mut acc, mut at) = ([0.0f64; 32], 0);
    for b in words {
        let part = at..at + b.len();
        at = part.end;
        let (q32, q_tail) = q[part.clone()].as_chunks::<32>();
        let (b32, b_tail) = b.as_chunks::<32>();
        let (c32, c_tail) = c[part].as_chunks::<32>();
        for ((x, y), z) in q32.iter().zip(b32).zip(c32) {
            for l in 0..32 {
                let e = x[l] as f64 - (y[l] + z[l]) as f64;
                acc[l] += e * e;
            }
        }
        for (l, ((&x, &y), &z)) in q_tail.iter().zip(b_tail).zip(c_tail).enumerate() {
            let e = x as f64 - (y + z) as f64;
            acc[l] += e * e;
        }
    }
    tree(acc)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn dot64_v4(a: &[f32], b: &[f32]) -> f64 {
    fold_f64(a, b, |x, y| x * y)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn l264_v4(a: &[f32], b: &[f32]) -> f64 {
    fold_f64(a, b, |x, y| (x - y) * (x - y))
}

/// Products and sums apart (no FMA), so that every level gives the same bits: results of exact search depend on them.
#[inline(always)]
fn fold_f64(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut acc = [0.0f64; 32];
    let (a32, a_tail) = a.as_chunks::<32>();
    let (b32, b_tail) = b.as_chunks::<32>();
    for (x, y) in a32.iter().zip(b32) {
        for l in 0..32 {
            acc[l] += term(x[l] as f64, y[l] as f64);
        }
    }
    for (l, (&x, &y)) in a_tail.iter().zip(b_tail).enumerate() {
        acc[l] += term(x as f64, y as f64);
    }
    tree(acc)
}

#[inline(always)]
fn tree(mut acc: [f64; 32]) -> f64 {
    let mut width = 16;
    while width > 0 {
        for l in 0..width {
            acc[l] += acc[l + width];
        }
        width /= 2;
    }
    acc[0]
}

#[inline(always)]
fn each(query: &[f32], rows: &[f32], out: &mut [f32], f: impl Fn(&[f32], &[f32]) -> f32) {
    for (o, r) in out.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
        *o = f(query, r);
    }
}

/// The one body: `step` folds a pair into an accumulator.
#[inline(always)]
fn fold(a: &[f32], b: &[f32], step: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut acc = [[0.0f32; LANES]; 4];
    let (a4, a_rest) = a.as_chunks::<{ LANES * 4 }>();
    let (b4, b_rest) = b.as_chunks::<{ LANES * 4 }>();
    for (x, y) in a4.iter().zip(b4) {
        for j in 0..4 {
            for l in 0..LANES {
                acc[j][l] = step(acc[j][l], x[j * LANES + l], y[j * LANES + l]);
            }
        }
    }
    let (a1, a_tail) = a_rest.as_chunks::<LANES>();
    let (b1, b_tail) = b_rest.as_chunks::<LANES>();
    for (j, (x, y)) in a1.iter().zip(b1).enumerate() {
        for l in 0..LANES {
            acc[j][l] = step(acc[j][l], x[l], y[l]);
        }
    }
    let mut lanes = [0.0f32; LANES];
    for l in 0..LANES {
        lanes[l] = (acc[0][l] + acc[1][l]) + (acc[2][l] + acc[3][l]);
    }
    for (l, (&x, &y)) in a_tail.iter().zip(b_tail).enumerate() {
        lanes[l] = step(lanes[l], x, y);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `fold` by hand, with the same bits: the compiler makes gathers of it where it stands alone, an order of magnitude slower.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn l2_by_hand(a: &[f32], b: &[f32]) -> f32 {
    use std::arch::x86_64::*;
    let b = &b[..a.len()];
    let step = |acc: __m512, at: usize| {
        // SAFETY: callers stay sixteen values off the end.
        let d = unsafe { _mm512_sub_ps(_mm512_loadu_ps(a.as_ptr().add(at)), _mm512_loadu_ps(b.as_ptr().add(at))) };
        _mm512_fmadd_ps(d, d, acc)
    };
    let mut acc = [_mm512_setzero_ps(); 4];
    let chunks = a.len() / LANES;
    for c in (0..chunks / 4 * 4).step_by(4) {
        for (j, acc) in acc.iter_mut().enumerate() {
            *acc = step(*acc, (c + j) * LANES);
        }
    }
    for (acc, c) in acc.iter_mut().zip(chunks / 4 * 4..chunks) {
        *acc = step(*acc, c * LANES);
    }
    let mut lanes = _mm512_add_ps(_mm512_add_ps(acc[0], acc[1]), _mm512_add_ps(acc[2], acc[3]));
    let rest = a.len() % LANES;
    if rest > 0 {
        let mask = (1u16 << rest) - 1;
        let at = chunks * LANES;
        // SAFETY: only the lanes of the mask are read, which are there.
        let (x, y) =
            unsafe { (_mm512_maskz_loadu_ps(mask, a.as_ptr().add(at)), _mm512_maskz_loadu_ps(mask, b.as_ptr().add(at))) };
        let d = _mm512_sub_ps(x, y);
        lanes = _mm512_mask3_fmadd_ps(d, d, lanes, mask);
    }
    let eight = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps::<1>(lanes));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

macro_rules! level {
    ($features:literal, $dot:ident, $l2:ident, $dots:ident, $l2s:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $dot(a: &[f32], b: &[f32]) -> f32 {
            fold(a, b, |s, x, y| x.mul_add(y, s))
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $l2(a: &[f32], b: &[f32]) -> f32 {
            fold(a, b, |s, x, y| (x - y).mul_add(x - y, s))
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $dots(query: &[f32], rows: &[f32], out: &mut [f32]) {
            for (o, r) in out.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
                *o = $dot(query, r);
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $l2s(query: &[f32], rows: &[f32], out: &mut [f32]) {
            for (o, r) in out.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
                *o = $l2(query, r);
            }
        }
    };
}
level!("avx512f,avx512bw,avx512dq,avx512vl,fma", dot_v4, l2_v4, dots_v4, l2s_v4);
level!("avx2,fma", dot_v3, l2_v3, dots_v3, l2s_v3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_inputs_are_exact_on_every_length_and_alignment() {
        let a: Vec<f32> = (0..200).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
        let b: Vec<f32> = (0..200).map(|i| (i * 5 % 19) as f32 - 9.0).collect();
        for len in 0..=131 {
            for shift in 0..3 {
                let (x, y) = (&a[shift..shift + len], &b[2 * shift..2 * shift + len]);
                let want: f32 = x.iter().zip(y).map(|(p, q)| p * q).sum();
                let want2: f32 = x.iter().zip(y).map(|(p, q)| (p - q) * (p - q)).sum();
                assert_eq!(dot(x, y), want);
                assert_eq!(l2_squared(x, y), want2);
                assert_eq!((dot_f64(x, y), l2_squared_f64(x, y)), (want as f64, want2 as f64));
                assert_eq!(fold(x, y, |s, p, q| s + p * q), want);
                #[cfg(target_arch = "x86_64")]
                if isa() >= Isa::V3 {
                    // SAFETY: the level was detected.
                    unsafe {
                        assert_eq!(dot_v3(x, y), want);
                        assert_eq!(l2_v3(x, y), want2);
                    }
                }
            }
        }
    }

    #[test]
    fn many_rows_are_the_single_rows() {
        let d = 37;
        let q: Vec<f32> = (0..d).map(|i| (i as f32).sin()).collect();
        let rows: Vec<f32> = (0..d * 9).map(|i| (i as f32 * 0.3).cos()).collect();
        let (mut ip, mut l2, mut nn) = ([0.0; 9], [0.0; 9], [0.0; 9]);
        dots(&q, &rows, &mut ip);
        l2_squareds(&q, &rows, &mut l2);
        norms_squared(&rows, &mut nn);
        #[cfg(target_arch = "x86_64")]
        for len in (0..=rows.len() / 2).filter(|_| isa() == Isa::V4) {
            let (a, b) = (&rows[..len], &rows[rows.len() / 2..][..len]);
            // SAFETY: the level was detected.
            unsafe { assert_eq!(l2_by_hand(a, b).to_bits(), l2_v3(a, b).to_bits()) };
        }
        for (i, r) in rows.chunks(d).enumerate() {
            assert_eq!((ip[i], l2[i], nn[i]), (dot(&q, r), l2_squared(&q, r), dot(r, r)));
        }
    }

    #[test]
    fn a_row_of_words_is_as_far_as_the_row_however_it_is_cut() {
        let value = |i: usize, a: usize, m: usize| (i * a % m) as f32 / 8.0 - 3.0;
        let each = |a, m| (0..200).map(|i| value(i, a, m)).collect::<Vec<f32>>();
        let (q, b, c) = (each(7, 53), each(11, 61), each(5, 47));
        for len in [1, 32, 77, 200] {
            let sum: Vec<f32> = b.iter().zip(&c).map(|(x, y)| x + y).collect();
            let (q, whole) = (&q[..len], l2_squared_f64(&q[..len], &sum[..len]));
            for cut in [32, 64, 200] {
                let words: Vec<&[f32]> = b[..len].chunks(cut).collect();
                assert_eq!(l2_squared_to_sum_f64(q, &words, &c[..len]), whole, "values are whole eighths");
                assert_eq!(to_sum(q, &words, &c[..len]).to_bits(), whole.to_bits());
            }
        }
    }
}
