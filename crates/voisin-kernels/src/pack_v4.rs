//! Packing with AVX-512: 16 x 16 words are transposed in registers, pairs of bf16 are rounded and interleaved there.

use crate::View;
use crate::panels::{Layout, pack_body};
use std::arch::x86_64::*;

/// Packs f32 words.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn single(v: View<'_>, first: usize, width: usize, panel: &mut [f32]) {
    // SAFETY: the mask keeps to the slice, which holds `lanes` values.
    let load = |x: &[f32]| unsafe { _mm512_maskz_loadu_ps(mask(x.len()), x.as_ptr()) };
    let rows = width.min(v.rows() - first);
    if v.along_rows(first, 0, rows).is_some() {
        for (s, line) in panel.chunks_exact_mut(width).enumerate() {
            fetch(v, first, s + AHEAD);
            for (at, lanes) in groups(width) {
                let valid = lanes.min(rows.saturating_sub(at));
                store(&mut line[at..at + lanes], load(v.along_rows(first + at.min(rows), s, valid).expect("contiguous")));
            }
        }
        return;
    }
    let whole = v.cols() / 16;
    for (block, lines) in panel.chunks_exact_mut(width * 16).enumerate().take(whole) {
        for (at, lanes) in groups(width) {
            let mut x = [_mm512_setzero_ps(); 16];
            for (r, x) in x.iter_mut().enumerate().take(lanes.min(rows.saturating_sub(at))) {
                *x = load(v.along_cols(first + at + r, block * 16, 16).expect("contiguous"));
            }
            put(lines, width, at, lanes, transpose(x));
        }
    }
    if whole * 16 < v.cols() {
        pack_body(v.starting_at(whole * 16), first, width, Layout::Single, &mut panel[whole * 16 * width..]);
    }
}

/// Packs pairs of bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) fn pairs(v: View<'_>, first: usize, width: usize, panel: &mut [f32]) {
    // SAFETY: the mask keeps to the slice.
    let load = |x: &[f32]| unsafe { _mm512_maskz_loadu_ps(mask(x.len()), x.as_ptr()) };
    // SAFETY: 32 bf16 are 512 bits.
    let round = |low, high| unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
    let rows = width.min(v.rows() - first);
    if v.along_rows(first, 0, rows).is_some() {
        let zip = zip_halves();
        for (s, line) in panel.chunks_exact_mut(width).enumerate() {
            fetch(v, first, 2 * s + AHEAD);
            fetch(v, first, 2 * s + 1 + AHEAD);
            for (at, lanes) in groups(width) {
                let valid = lanes.min(rows.saturating_sub(at));
                let row = |p: usize| load(v.along_rows(first + at.min(rows), p, valid).expect("contiguous"));
                let high = if 2 * s + 1 < v.cols() { row(2 * s + 1) } else { _mm512_setzero_ps() };
                let words = _mm512_permutexvar_epi16(zip, round(row(2 * s), high));
                store(&mut line[at..at + lanes], _mm512_castsi512_ps(words));
            }
        }
        return;
    }
    let whole = v.cols() / 32;
    for (block, lines) in panel.chunks_exact_mut(width * 16).enumerate().take(whole) {
        for (at, lanes) in groups(width) {
            let mut x = [_mm512_setzero_ps(); 16];
            for (r, x) in x.iter_mut().enumerate().take(lanes.min(rows.saturating_sub(at))) {
                let row = v.along_cols(first + at + r, block * 32, 32).expect("contiguous");
                *x = _mm512_castsi512_ps(round(load(&row[..16]), load(&row[16..])));
            }
            put(lines, width, at, lanes, transpose(x));
        }
    }
    if whole * 32 < v.cols() {
        pack_body(v.starting_at(whole * 32), first, width, Layout::Pairs, &mut panel[whole * 16 * width..]);
    }
}

/// Groups of at most 16 lanes of a panel: where they begin and how many they are.
fn groups(width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..width).step_by(16).map(move |at| (at, 16.min(width - at)))
}

/// Columns to ask the memory for in advance: they are a stride apart, which the processor does not foresee.
const AHEAD: usize = 12;

/// Asks for the two cache lines of a column from row `first` on.
#[target_feature(enable = "avx512f")]
fn fetch(v: View<'_>, first: usize, column: usize) {
    if column < v.cols()
        && let Some(x) = v.along_rows(first, column, 1)
    {
        let p = x.as_ptr().cast::<i8>();
        _mm_prefetch::<_MM_HINT_T0>(p);
        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(64));
    }
}

fn mask(lanes: usize) -> u16 {
    ((1u32 << lanes) - 1) as u16
}

/// Order that interleaves the lower and upper sixteen 16-bit values.
#[target_feature(enable = "avx512f,avx512bw")]
fn zip_halves() -> __m512i {
    let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
    // SAFETY: 32 values of 16 bits are 512 bits.
    unsafe { _mm512_loadu_si512(order.as_ptr().cast()) }
}

/// Writes 16 or 12 lanes, the widths of the tiles; masked stores are several times slower on some processors.
#[target_feature(enable = "avx512f,avx512dq")]
fn store(to: &mut [f32], x: __m512) {
    let p = to.as_mut_ptr();
    match to.len() {
        // SAFETY: 16 values.
        16 => unsafe { _mm512_storeu_ps(p, x) },
        // SAFETY: 8 and 4 values.
        12 => unsafe {
            _mm256_storeu_ps(p, _mm512_castps512_ps256(x));
            _mm_storeu_ps(p.add(8), _mm512_extractf32x4_ps::<2>(x));
        },
        // SAFETY: the mask keeps to the slice.
        lanes => unsafe { _mm512_mask_storeu_ps(p, mask(lanes.min(16)), x) },
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn put(lines: &mut [f32], width: usize, at: usize, lanes: usize, x: [__m512; 16]) {
    for (line, x) in lines.chunks_exact_mut(width).zip(x) {
        store(&mut line[at..at + lanes], x);
    }
}

/// Transposes 16 x 16 words.
#[target_feature(enable = "avx512f,avx512dq")]
fn transpose(r: [__m512; 16]) -> [__m512; 16] {
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut u = t;
    for i in (0..16).step_by(4) {
        u[i] = low(t[i], t[i + 2]);
        u[i + 1] = high(t[i], t[i + 2]);
        u[i + 2] = low(t[i + 1], t[i + 3]);
        u[i + 3] = high(t[i + 1], t[i + 3]);
    }
    let mut out = u;
    for j in 0..4 {
        let even = |a: usize, b: usize| _mm512_shuffle_f32x4::<0x88>(u[a], u[b]);
        let odd = |a: usize, b: usize| _mm512_shuffle_f32x4::<0xdd>(u[a], u[b]);
        let (a0, a1) = (even(j, 4 + j), odd(j, 4 + j));
        let (b0, b1) = (even(8 + j, 12 + j), odd(8 + j, 12 + j));
        out[j] = _mm512_shuffle_f32x4::<0x88>(a0, b0);
        out[8 + j] = _mm512_shuffle_f32x4::<0xdd>(a0, b0);
        out[4 + j] = _mm512_shuffle_f32x4::<0x88>(a1, b1);
        out[12 + j] = _mm512_shuffle_f32x4::<0xdd>(a1, b1);
    }
    out
}

#[target_feature(enable = "avx512f")]
fn low(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

#[target_feature(enable = "avx512f")]
fn high(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}
