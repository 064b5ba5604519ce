//! Products of a query with rows that stay coded: what is stored is widened in registers.

use super::{BLOCK, LANES, ScalarBits};
use crate::{Isa, f16_to_f32, isa};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// How far before their use rows are asked for, in bytes.
const AHEAD: usize = 4096;

/// 64 values of a query, in the order in which a block of codes gives them.
type Lines = [[f32; LANES]; 4];

/// A query laid out for [`scalar_dots`].
#[derive(Clone, Debug)]
pub struct ScalarQuery {
    bits: ScalarBits,
    d: usize,
    /// One a block of 64 dimensions; where d is no multiple, the last belongs to the last 64 dimensions of a row and is 0
    /// where the block before it has been, so that no load leaves the row.
    blocks: Vec<Lines>,
    bias: f32,
}

impl ScalarQuery {
    /// `scaled` is q times the step, dimension by dimension (q itself for half floats); `bias` is <q, low> (0 for these).
    ///
    /// # Panics
    /// If `scaled` is empty.
    pub fn new(bits: ScalarBits, scaled: &[f32], bias: f32) -> ScalarQuery {
        assert!(!scaled.is_empty(), "a query has dimensions");
        let d = scaled.len();
        let whole = d / BLOCK;
        let mut blocks = vec![[[0.0; LANES]; 4]; d.div_ceil(BLOCK)];
        // bytes that two dimensions share are not cut
        let last = d.next_multiple_of(2).saturating_sub(BLOCK);
        let last = if bits == ScalarBits::Four { last } else { d.saturating_sub(BLOCK) };
        for (i, &x) in scaled.iter().enumerate() {
            let (block, at) = if i < whole * BLOCK { (i / BLOCK, i % BLOCK) } else { (whole, i - last) };
            match bits {
                // sixteen even dimensions, then sixteen odd ones
                ScalarBits::Four => blocks[block][at / 32 * 2 + at % 2][at % 32 / 2] = x,
                _ => blocks[block][at / LANES][at % LANES] = x,
            }
        }
        ScalarQuery { bits, d, blocks, bias }
    }

    /// Bound of the relative error of [`scalar_dots`]: |out − <q, x̃>| <= slack · |q| · (|x̃| + |low|), where x̃ is what
    /// [`crate::scalar_decode`] gives and norms are Euclidean.
    ///
    /// γ of the ⌈d / 64⌉ + 12 roundings that a term goes through (Higham, "Accuracy and Stability of Numerical Algorithms",
    /// §3.1), with those of `scaled`, `bias` and x̃; twice over. Values whose squares overflow or vanish in f32 are excepted.
    pub fn slack(d: usize) -> f32 {
        (d as f32 / BLOCK as f32 + 16.0) * f32::EPSILON
    }
}

/// Products of a query with each of `out.len()` coded rows, without decoding them to memory; one thread.
///
/// An element depends on its row alone, not on how many there are; v3 and v4 give the same bits. For the error see
/// [`ScalarQuery::slack`].
///
/// # Panics
/// If `codes` is not `out.len()` rows.
pub fn scalar_dots(query: &ScalarQuery, codes: &[u8], out: &mut [f32]) {
    assert_eq!(codes.len(), out.len() * query.bits.row_bytes(query.d), "a code a row");
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { dots_v4(query, codes, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { dots_v3(query, codes, out) },
        _ => dots_portable(query, codes, out),
    }
}

// Plain loops here and below: a function of the standard library that takes a closure may be left as a call, and is then
// compiled without the instruction set of its caller.
#[inline(always)]
fn eight(codes: &[u8; BLOCK]) -> Lines {
    let mut x = [[0.0; LANES]; 4];
    for j in 0..4 {
        for l in 0..LANES {
            x[j][l] = codes[j * LANES + l] as i32 as f32;
        }
    }
    x
}

#[inline(always)]
fn four(codes: &[u8; BLOCK / 2]) -> Lines {
    let mut x = [[0.0; LANES]; 4];
    for j in 0..2 {
        for l in 0..LANES {
            let two = codes[j * LANES + l];
            x[2 * j][l] = (two & 15) as i32 as f32;
            x[2 * j + 1][l] = (two >> 4) as i32 as f32;
        }
    }
    x
}

#[inline(always)]
fn halves(codes: &[u8; 2 * BLOCK]) -> Lines {
    let mut half = [0; BLOCK];
    for (h, &c) in half.iter_mut().zip(codes.as_chunks::<2>().0) {
        *h = u16::from_le_bytes(c);
    }
    let mut x = [[0.0; LANES]; 4];
    f16_to_f32(&half, x.as_flattened_mut());
    x
}

/// R rows at once share what is loaded of the query; N bytes are a block.
#[inline(always)]
fn each<const N: usize, const R: usize>(
    query: &ScalarQuery,
    codes: &[u8],
    out: &mut [f32],
    load: impl Fn(&[u8; N]) -> Lines + Copy,
    step: impl Fn(f32, f32, f32) -> f32 + Copy,
    total: impl Fn(&Lines) -> f32 + Copy,
) {
    let bytes = query.bits.row_bytes(query.d);
    let (many, rest) = out.as_chunks_mut::<R>();
    let (many_codes, rest_codes) = codes.split_at(many.len() * R * bytes);
    for (o, c) in many.iter_mut().zip(many_codes.chunks_exact(R * bytes)) {
        ahead(c);
        let mut rows: [&[u8]; R] = [&[]; R];
        for r in 0..R {
            rows[r] = &c[r * bytes..(r + 1) * bytes];
        }
        *o = product::<N, R>(&query.blocks, rows, load, step, total);
        for o in o {
            *o += query.bias;
        }
    }
    for (o, c) in rest.iter_mut().zip(rest_codes.chunks_exact(bytes)) {
        *o = product::<N, 1>(&query.blocks, [c], load, step, total)[0] + query.bias;
    }
}

/// Asks for the rows that come some time after these: the processor's own prefetching stops at the ends of pages.
#[inline(always)]
fn ahead(rows: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..rows.len()).step_by(64) {
        // SAFETY: a prefetch reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(rows.as_ptr().wrapping_add(AHEAD + line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = rows;
}

#[inline(always)]
fn product<const N: usize, const R: usize>(
    blocks: &[Lines],
    rows: [&[u8]; R],
    load: impl Fn(&[u8; N]) -> Lines + Copy,
    step: impl Fn(f32, f32, f32) -> f32 + Copy,
    total: impl Fn(&Lines) -> f32 + Copy,
) -> [f32; R] {
    let mut acc = [[[0.0f32; LANES]; 4]; R];
    let mut codes: [&[[u8; N]]; R] = [&[]; R];
    for r in 0..R {
        codes[r] = rows[r].as_chunks::<N>().0;
    }
    let whole = rows[0].len() / N;
    for (b, q) in blocks[..whole].iter().enumerate() {
        for r in 0..R {
            add(&mut acc[r], load(&codes[r][b]), q, step);
        }
    }
    match blocks.get(whole) {
        Some(q) if whole > 0 => {
            for r in 0..R {
                add(&mut acc[r], load(rows[r].last_chunk().expect("a row of several blocks")), q, step);
            }
        }
        Some(q) => {
            for r in 0..R {
                let mut padded = [0; N];
                padded[..rows[r].len()].copy_from_slice(rows[r]);
                add(&mut acc[r], load(&padded), q, step);
            }
        }
        None => {}
    }
    let mut sums = [0.0; R];
    for r in 0..R {
        sums[r] = total(&acc[r]);
    }
    sums
}

#[inline(always)]
fn add(acc: &mut Lines, x: Lines, q: &Lines, step: impl Fn(f32, f32, f32) -> f32) {
    for j in 0..4 {
        for l in 0..LANES {
            acc[j][l] = step(acc[j][l], x[j][l], q[j][l]);
        }
    }
}

#[inline(always)]
fn total(acc: &Lines) -> f32 {
    let mut sums = [0.0; LANES];
    for l in 0..LANES {
        sums[l] = (acc[0][l] + acc[1][l]) + (acc[2][l] + acc[3][l]);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            sums[l] += sums[l + width];
        }
        width /= 2;
    }
    sums[0]
}

pub(super) fn dots_portable(query: &ScalarQuery, codes: &[u8], out: &mut [f32]) {
    let step = |s: f32, x: f32, q: f32| s + x * q;
    match query.bits {
        ScalarBits::Eight => each::<_, 1>(query, codes, out, eight, step, total),
        ScalarBits::Four => each::<_, 1>(query, codes, out, four, step, total),
        ScalarBits::F16 => each::<_, 1>(query, codes, out, halves, step, total),
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! level {
    ($features:literal, $rows:literal, $dots:ident, $total:ident, $halves:expr) => {
        #[target_feature(enable = $features)]
        pub(super) fn $dots(query: &ScalarQuery, codes: &[u8], out: &mut [f32]) {
            let step = |s: f32, x: f32, q: f32| x.mul_add(q, s);
            let total = |acc: &Lines| $total(acc);
            match query.bits {
                ScalarBits::Eight => each::<_, $rows>(query, codes, out, eight, step, total),
                ScalarBits::Four => each::<_, $rows>(query, codes, out, four, step, total),
                ScalarBits::F16 => each::<_, $rows>(query, codes, out, $halves, step, total),
            }
        }
    };
}

// the order of [`total`]; left to itself, the compiler spends more on adding four rows up than on their products
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn total_8(low: __m256, high: __m256) -> f32 {
    let eight = _mm256_add_ps(low, high);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn total_v4(acc: &Lines) -> f32 {
    // SAFETY: each array holds the sixteen values that are loaded.
    let (a, b, c, d) = unsafe {
        (
            _mm512_loadu_ps(acc[0].as_ptr()),
            _mm512_loadu_ps(acc[1].as_ptr()),
            _mm512_loadu_ps(acc[2].as_ptr()),
            _mm512_loadu_ps(acc[3].as_ptr()),
        )
    };
    let sum = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
    total_8(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps::<1>(sum))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn total_v3(acc: &Lines) -> f32 {
    let mut halves = [_mm256_setzero_ps(); 2];
    for (i, h) in halves.iter_mut().enumerate() {
        // SAFETY: each array holds the eight values that are loaded from 0 or 8 on.
        let (a, b, c, d) = unsafe {
            (
                _mm256_loadu_ps(acc[0][8 * i..].as_ptr()),
                _mm256_loadu_ps(acc[1][8 * i..].as_ptr()),
                _mm256_loadu_ps(acc[2][8 * i..].as_ptr()),
                _mm256_loadu_ps(acc[3][8 * i..].as_ptr()),
            )
        };
        *h = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    }
    total_8(halves[0], halves[1])
}

#[cfg(target_arch = "x86_64")]
level!("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c", 4, dots_v4, total_v4, |codes: &[u8; 2 * BLOCK]| {
    let mut x: Lines = [[0.0; LANES]; 4];
    for (x, codes) in x.iter_mut().zip(codes.as_chunks::<32>().0) {
        // SAFETY: 32 bytes are read from 32, 64 written to 64.
        unsafe { _mm512_storeu_ps(x.as_mut_ptr(), _mm512_cvtph_ps(_mm256_loadu_si256(codes.as_ptr().cast()))) };
    }
    x
});
#[cfg(target_arch = "x86_64")]
level!("avx2,fma,f16c", 1, dots_v3, total_v3, |codes: &[u8; 2 * BLOCK]| {
    let mut x: Lines = [[0.0; LANES]; 4];
    for (x, codes) in x.as_flattened_mut().as_chunks_mut::<8>().0.iter_mut().zip(codes.as_chunks::<16>().0) {
        // SAFETY: 16 bytes are read from 16, 32 written to 32.
        unsafe { _mm256_storeu_ps(x.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(codes.as_ptr().cast()))) };
    }
    x
});
