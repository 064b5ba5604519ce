//! Planes and panels on AVX-512 with products of bytes.

use super::{COLUMNS, WORD};
use std::arch::x86_64::*;
use std::ops::Range;

/// Sums of the lanes of sixteen accumulators, in their order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sums(a: [__m512i; 16]) -> __m512i {
    let pair = |a: __m512i, b: __m512i| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let quad = |a: __m512i, b: __m512i| _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let four: [__m512i; 4] = std::array::from_fn(|i| quad(pair(a[4 * i], a[4 * i + 1]), pair(a[4 * i + 2], a[4 * i + 3])));
    let lanes = |a: __m512i, b: __m512i| _mm512_add_epi32(_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
    lanes(lanes(four[0], four[1]), lanes(four[2], four[3]))
}

/// Bit l / 2 in every byte of 32-bit lane l.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn lane_bits() -> __m512i {
    let pair = |b: i32| i64::from_le_bytes([1u8 << b; 8]);
    _mm512_setr_epi64(pair(0), pair(1), pair(2), pair(3), pair(4), pair(5), pair(6), pair(7))
}

/// Lane l divided by 2^(l / 2), which its terms are multiples of.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unscaled(acc: __m512i) -> __m512i {
    _mm512_srav_epi32(acc, _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7))
}

/// `acc` plus the products of the set bits of a word with 64 bytes in spread order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn add_word(acc: __m512i, word: u64, q: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(acc, _mm512_and_si512(_mm512_set1_epi64(word as i64), lane_bits()), q)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn plane_dots(rows: &[u64], q: &[i8], out: &mut [i32]) {
    match q.len() / WORD {
        1 => plane_dots_of::<1>(rows, q, out),
        2 => plane_dots_of::<2>(rows, q, out),
        6 => plane_dots_of::<6>(rows, q, out),
        12 => plane_dots_of::<12>(rows, q, out),
        _ => plane_dots_of::<0>(rows, q, out),
    }
}

/// W: words a row where they are known, 0 elsewhere.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn plane_dots_of<const W: usize>(rows: &[u64], q: &[i8], out: &mut [i32]) {
    let words = if W > 0 { W } else { q.len() / WORD };
    let (whole, rest) = out.as_chunks_mut::<16>();
    let first_of_rest = whole.len() * 16 * words;
    for (rows, out) in rows.chunks_exact(16 * words).zip(whole) {
        let mut acc = [_mm512_setzero_si512(); 16];
        for w in 0..words {
            // SAFETY: w is a word of q, which has 64 values each, and of each of the sixteen rows.
            unsafe {
                let q = _mm512_loadu_si512(q.as_ptr().add(w * WORD).cast());
                for (i, a) in acc.iter_mut().enumerate() {
                    *a = add_word(*a, *rows.as_ptr().add(i * words + w), q);
                }
            }
        }
        for a in &mut acc {
            *a = unscaled(*a);
        }
        // SAFETY: out has sixteen values.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums(acc)) };
    }
    for (row, o) in rows[first_of_rest..].chunks_exact(words).zip(rest) {
        *o = one::<1>(row, q);
    }
}

/// The codes of 64 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn codes(planes: &[u64]) -> __m512i {
    let mut code = _mm512_setzero_si512();
    for (b, &plane) in planes.iter().enumerate() {
        let bit = _mm512_set1_epi8((1u8 << b) as i8);
        code = _mm512_mask_add_epi8(code, plane, code, bit);
    }
    code
}

/// A row of B planes with bytes in spread order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn one<const B: usize>(row: &[u64], q: &[i8]) -> i32 {
    let mut acc = [_mm512_setzero_si512(); B];
    for (planes, q) in row.as_chunks::<B>().0.iter().zip(q.as_chunks::<WORD>().0) {
        // SAFETY: q has 64 values.
        let q = unsafe { _mm512_loadu_si512(q.as_ptr().cast()) };
        for (acc, &plane) in acc.iter_mut().zip(planes) {
            *acc = add_word(*acc, plane, q);
        }
    }
    let mut total = _mm512_setzero_si512();
    for acc in acc.iter().rev() {
        total = _mm512_add_epi32(_mm512_slli_epi32::<1>(total), unscaled(*acc));
    }
    _mm512_reduce_add_epi32(total)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn some<'a, const B: usize>(rows: impl Iterator<Item = &'a [u64]>, q: &[i8], out: &mut Vec<i32>) {
    for row in rows {
        out.push(one::<B>(row, q));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn pack(codes: &[u8], bits: usize, row: &mut [u64]) {
    for (planes, codes) in row.chunks_exact_mut(bits).zip(codes.as_chunks::<WORD>().0) {
        // SAFETY: there are 64 codes.
        let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
        for (b, plane) in planes.iter_mut().enumerate() {
            *plane = _mm512_test_epi8_mask(codes, _mm512_set1_epi8((1u8 << b) as i8));
        }
    }
}

/// Sixteen rows of dwords become sixteen columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn transpose(r: [__m512i; 16]) -> [__m512i; 16] {
    let mut a = [_mm512_setzero_si512(); 16];
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..4 {
        let at = 4 * i;
        b[at] = _mm512_unpacklo_epi64(a[at], a[at + 2]);
        b[at + 1] = _mm512_unpackhi_epi64(a[at], a[at + 2]);
        b[at + 2] = _mm512_unpacklo_epi64(a[at + 1], a[at + 3]);
        b[at + 3] = _mm512_unpackhi_epi64(a[at + 1], a[at + 3]);
    }
    // b[4 i + c]: column 4 l + c of rows 4 i .. 4 i + 4 in 128-bit lane l
    let mut out = a;
    for c in 0..4 {
        let (x, y) = (_mm512_shuffle_i32x4::<0x88>(b[c], b[4 + c]), _mm512_shuffle_i32x4::<0xdd>(b[c], b[4 + c]));
        let (z, w) = (_mm512_shuffle_i32x4::<0x88>(b[8 + c], b[12 + c]), _mm512_shuffle_i32x4::<0xdd>(b[8 + c], b[12 + c]));
        out[c] = _mm512_shuffle_i32x4::<0x88>(x, z);
        out[8 + c] = _mm512_shuffle_i32x4::<0xdd>(x, z);
        out[4 + c] = _mm512_shuffle_i32x4::<0x88>(y, w);
        out[12 + c] = _mm512_shuffle_i32x4::<0xdd>(y, w);
    }
    out
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn unpack(
    top: &[u64],
    rest: &[u64],
    stride: usize,
    bits: usize,
    rows: Range<usize>,
    words: usize,
    panel: &mut [[u8; 64]],
) {
    let high = _mm512_set1_epi8((1u8 << (bits - 1)) as i8);
    for (w, panel) in panel.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let mut lines = [_mm512_setzero_si512(); COLUMNS];
        for (line, r) in lines.iter_mut().zip(rows.clone()) {
            let low = &rest[r * stride + w * (bits - 1)..][..bits - 1];
            *line = _mm512_add_epi8(codes(low), _mm512_maskz_mov_epi8(top[r * words + w], high));
        }
        for (to, line) in panel.iter_mut().zip(transpose(lines)) {
            // SAFETY: `to` has 64 bytes.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), line) };
        }
    }
}

/// # Safety
/// `queries` are M rows of 64 * words values; `panels` are pairs of panels of 16 * words lines; `out` has M rows of ldc
/// values, and ldc is at least 16 for every panel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn tiles<const M: usize>(queries: &[&[i8]], panels: &[[u8; 64]], words: usize, out: &mut [i32], ldc: usize) {
    let q: [*const i32; M] = std::array::from_fn(|i| queries[i].as_ptr().cast());
    let lines = words * 16;
    for (p, pair) in panels.chunks_exact(2 * lines).enumerate() {
        let mut acc = [[_mm512_setzero_si512(); 2]; M];
        let (left, right) = pair.split_at(lines);
        for (g, (a, b)) in left.iter().zip(right).enumerate() {
            // SAFETY: g is one of 16 * words groups of four values.
            unsafe {
                let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let s = _mm512_set1_epi32(q[i].add(g).read_unaligned());
                    acc[0] = _mm512_dpbusd_epi32(acc[0], a, s);
                    acc[1] = _mm512_dpbusd_epi32(acc[1], b, s);
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            // SAFETY: the caller vouches for the room.
            unsafe {
                let to = out.as_mut_ptr().add(i * ldc + p * 2 * COLUMNS);
                _mm512_storeu_si512(to.cast(), acc[0]);
                _mm512_storeu_si512(to.add(COLUMNS).cast(), acc[1]);
            }
        }
    }
}
