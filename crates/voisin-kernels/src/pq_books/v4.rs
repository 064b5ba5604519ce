//! Tables on AVX-512, by hand: what the compiler makes of the plain loops for eight queries at a time varies with what stands around
//! them, from 5 to 150 µs a query (d = 2048, 8 parts of 256 codewords).

use super::{Books, LANES};
use std::arch::x86_64::*;

/// At most [`Books::TOGETHER`] queries.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(super) fn products(b: &Books, queries: &[f32], factor: f32, out: &mut [f32]) {
    match queries.len() / b.d() {
        1 => some::<1, 4>(b, queries, factor, out),
        2 => some::<2, 4>(b, queries, factor, out),
        3 => some::<3, 4>(b, queries, factor, out),
        4 => some::<4, 4>(b, queries, factor, out),
        5 => some::<5, 2>(b, queries, factor, out),
        6 => some::<6, 2>(b, queries, factor, out),
        7 => some::<7, 2>(b, queries, factor, out),
        8 => some::<8, 2>(b, queries, factor, out),
        n => unreachable!("{n} queries at a time"),
    }
}

/// Q queries, N lines of codewords at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn some<const Q: usize, const N: usize>(b: &Books, queries: &[f32], factor: f32, out: &mut [f32]) {
    let (d, k, sub, size) = (b.d(), b.k, b.sub, b.m * b.k);
    for j in 0..b.m {
        let book = &b.turned.as_slice()[j * sub * k..(j + 1) * sub * k];
        let mut each: [&[f32]; Q] = [&[]; Q];
        for (i, q) in each.iter_mut().enumerate() {
            *q = &queries[i * d + j * sub..][..sub];
        }
        let mut c = 0;
        while c + N * LANES <= k {
            lines::<Q, N>(&book[c..], k, &each, factor, &mut out[j * k + c..], size);
            c += N * LANES;
        }
        while c < k {
            lines::<Q, 1>(&book[c..], k, &each, factor, &mut out[j * k + c..], size);
            c += LANES;
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn lines<const Q: usize, const N: usize>(book: &[f32], k: usize, q: &[&[f32]; Q], factor: f32, out: &mut [f32], size: usize) {
    let (sub, wide) = (q[0].len(), N * LANES);
    assert!(sub > 0 && book.len() >= (sub - 1) * k + wide && out.len() >= (Q - 1) * size + wide);
    assert!(q.iter().all(|q| q.len() == sub));
    let mut acc = [[_mm512_setzero_ps(); N]; Q];
    for t in 0..sub {
        let mut words = [_mm512_setzero_ps(); N];
        for (n, w) in words.iter_mut().enumerate() {
            // SAFETY: t·k + wide values are there, as asserted.
            *w = unsafe { _mm512_loadu_ps(book.as_ptr().add(t * k + n * LANES)) };
        }
        for i in 0..Q {
            // SAFETY: every query has `sub` values, as asserted.
            let x = _mm512_set1_ps(unsafe { *q[i].get_unchecked(t) });
            for n in 0..N {
                acc[i][n] = _mm512_fmadd_ps(x, words[n], acc[i][n]);
            }
        }
    }
    let factor = _mm512_set1_ps(factor);
    for (i, sums) in acc.iter().enumerate() {
        for (n, sum) in sums.iter().enumerate() {
            // SAFETY: i·size + wide values are there, as asserted.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * size + n * LANES), _mm512_mul_ps(factor, *sum)) };
        }
    }
}
