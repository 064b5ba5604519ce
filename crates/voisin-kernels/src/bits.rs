//! Rows of few bits a value times rows of bytes: the arithmetic of RaBitQ codes.
//!
//! A plane is one bit of every value of a row, 64 values a word (value j is bit j % 64 of word j / 64). Sums are integers, the
//! same on every processor.

use crate::{Isa, isa};

/// Values a word.
pub const WORD: usize = 64;

/// A row of bytes that planes are multiplied with.
///
/// AVX-512 reads a word into all lanes and masks it: 32-bit lane l then holds bit l / 2 of four of its bytes, so the row is kept a
/// second time in that order.
#[derive(Clone, Debug, Default)]
pub struct ByteRow {
    plain: Vec<i8>,
    spread: Vec<i8>,
}

impl ByteRow {
    /// Takes the bytes of a row.
    ///
    /// # Panics
    /// If they are no whole number of words.
    pub fn new(plain: Vec<i8>) -> ByteRow {
        check(&plain);
        let spread = plain.chunks_exact(WORD).flat_map(|word| (0..WORD).map(|p| word[value_of(p)])).collect();
        ByteRow { plain, spread }
    }

    /// The bytes as they were given.
    pub fn bytes(&self) -> &[i8] {
        &self.plain
    }
}

/// Which value of a word byte `p` of a masked register stands for.
fn value_of(p: usize) -> usize {
    let (lane, byte) = (p / 4, p % 4);
    (lane % 2 * 4 + byte) * 8 + lane / 2
}

/// Whether AVX-512 with products of bytes is there.
#[cfg(target_arch = "x86_64")]
fn vnni() -> bool {
    isa() == Isa::V4 && is_x86_feature_detected!("avx512vnni")
}

/// For every row of one plane, the sum of `q` where its bits are set.
///
/// `rows` is `out.len()` rows of `q.len() / 64` words. Cost: one pass over the rows; three instructions a word.
///
/// # Panics
/// If `q` is not a whole number of words, or `rows` is not `out.len()` rows.
pub fn plane_dots(rows: &[u64], q: &ByteRow, out: &mut [i32]) {
    let words = check(&q.plain);
    assert_eq!(rows.len(), words * out.len());
    #[cfg(target_arch = "x86_64")]
    if vnni() {
        // SAFETY: the instructions were detected; the assert bounds the rows.
        return unsafe { v4::plane_dots(rows, &q.spread, out) };
    }
    for (row, o) in rows.chunks_exact(words).zip(out) {
        *o = by_level(row, 1, &q.plain);
    }
}

/// Sums of code times q over some rows of `bits` planes, one for each of `which`, appended to `out`: row i begins at
/// `rows[i * stride]`, and word w of plane b (0 is the lowest bit) is its word `w * bits + b`.
///
/// # Panics
/// If `bits` is not 1 to 8 or a row lies beyond `rows`.
pub fn planes_dots(rows: &[u64], stride: usize, bits: usize, q: &ByteRow, which: impl Iterator<Item = u32>, out: &mut Vec<i32>) {
    let words = check(&q.plain);
    assert!((1..=8).contains(&bits));
    let row = |i: u32| &rows[i as usize * stride..][..words * bits];
    #[cfg(target_arch = "x86_64")]
    if vnni() {
        // SAFETY: the instructions were detected; the rows are words * bits long.
        return unsafe {
            match bits {
                1 => v4::some::<1>(which.map(row), &q.spread, out),
                2 => v4::some::<2>(which.map(row), &q.spread, out),
                3 => v4::some::<3>(which.map(row), &q.spread, out),
                4 => v4::some::<4>(which.map(row), &q.spread, out),
                5 => v4::some::<5>(which.map(row), &q.spread, out),
                6 => v4::some::<6>(which.map(row), &q.spread, out),
                7 => v4::some::<7>(which.map(row), &q.spread, out),
                _ => v4::some::<8>(which.map(row), &q.spread, out),
            }
        };
    }
    out.extend(which.map(|i| by_level(row(i), bits, &q.plain)));
}

fn check(q: &[i8]) -> usize {
    assert!(!q.is_empty() && q.len().is_multiple_of(WORD), "whole words of values");
    q.len() / WORD
}

fn by_level(row: &[u64], bits: usize, q: &[i8]) -> i32 {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 | Isa::V3 => unsafe { dot_v3(row, bits, q) },
        _ => dot_body(row, bits, q),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_v3(row: &[u64], bits: usize, q: &[i8]) -> i32 {
    dot_body(row, bits, q)
}

#[inline(always)]
fn dot_body(row: &[u64], bits: usize, q: &[i8]) -> i32 {
    let mut sum = 0i32;
    let mut codes = [0u8; WORD];
    for (planes, q) in row.chunks_exact(bits).zip(q.chunks_exact(WORD)) {
        codes.fill(0);
        for (b, plane) in planes.iter().enumerate() {
            for (byte, codes) in plane.to_le_bytes().iter().zip(codes.as_chunks_mut::<8>().0) {
                for (j, c) in codes.iter_mut().enumerate() {
                    *c |= (byte >> j & 1) << b;
                }
            }
        }
        sum += codes.iter().zip(q).map(|(&c, &q)| c as i32 * q as i32).sum::<i32>();
    }
    sum
}

/// Packs codes of `bits` bits, 64 a word and plane, as [`planes_dots`] reads them.
///
/// # Panics
/// If `codes` is not a whole number of words or `row` not `bits` words for every 64 codes.
pub fn planes_pack(codes: &[u8], bits: usize, row: &mut [u64]) {
    assert!((1..=8).contains(&bits) && codes.len().is_multiple_of(WORD) && row.len() * WORD == codes.len() * bits);
    #[cfg(target_arch = "x86_64")]
    if isa() == Isa::V4 {
        // SAFETY: the level was detected on this processor; the assert bounds both sides.
        return unsafe { v4::pack(codes, bits, row) };
    }
    for (planes, codes) in row.chunks_exact_mut(bits).zip(codes.chunks_exact(WORD)) {
        for (b, plane) in planes.iter_mut().enumerate() {
            *plane = codes.iter().enumerate().fold(0, |w, (j, &c)| w | ((c >> b & 1) as u64) << j);
        }
    }
}

/// Codes of `bits` bits of the values of a row times `scale`: the sign on top, then the magnitude cut to a whole number, counted
/// from the origin outwards on either side. `centred` gets the codes less the middle of their range, as values.
///
/// # Panics
/// If the slices differ in length or `bits` is not 1 to 8.
pub fn signed_codes(row: &[f32], scale: f32, bits: usize, codes: &mut [u8], centred: &mut [f32]) {
    assert!((1..=8).contains(&bits) && row.len() == codes.len() && row.len() == centred.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { signed_v4(row, scale, bits, codes, centred) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { signed_v3(row, scale, bits, codes, centred) },
        _ => signed_body(row, scale, bits, codes, centred),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn signed_v4(row: &[f32], scale: f32, bits: usize, codes: &mut [u8], centred: &mut [f32]) {
    use std::arch::x86_64::*;
    let (rows, tail) = row.as_chunks::<16>();
    let (all, code_tail) = codes.as_chunks_mut::<16>();
    let (values, value_tail) = centred.as_chunks_mut::<16>();
    let half = 1i32 << (bits - 1);
    let (scales, top) = (_mm512_set1_ps(scale), _mm512_set1_ps((half - 1) as f32));
    let (above, below) = (_mm512_set1_epi32(half), _mm512_set1_epi32(half - 1));
    let middle = _mm512_set1_ps(half as f32 - 0.5);
    for ((row, code), x) in rows.iter().zip(all).zip(values) {
        // SAFETY: 16 values.
        let v = unsafe { _mm512_loadu_ps(row.as_ptr()) };
        let k = _mm512_cvttps_epi32(_mm512_min_ps(_mm512_mul_ps(_mm512_abs_ps(v), scales), top));
        let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, _mm512_setzero_ps());
        let c = _mm512_mask_add_epi32(_mm512_sub_epi32(below, k), positive, above, k);
        // SAFETY: 16 codes and 16 values.
        unsafe {
            _mm_storeu_si128(code.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(c));
            _mm512_storeu_ps(x.as_mut_ptr(), _mm512_sub_ps(_mm512_cvtepi32_ps(c), middle));
        }
    }
    signed_body(tail, scale, bits, code_tail, value_tail);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn signed_v3(row: &[f32], scale: f32, bits: usize, codes: &mut [u8], centred: &mut [f32]) {
    signed_body(row, scale, bits, codes, centred);
}

#[inline(always)]
fn signed_body(row: &[f32], scale: f32, bits: usize, codes: &mut [u8], centred: &mut [f32]) {
    let (half, top) = ((1i32 << (bits - 1)), ((1i32 << (bits - 1)) - 1) as f32);
    let middle = half as f32 - 0.5;
    for ((&v, code), x) in row.iter().zip(codes).zip(centred) {
        let k = (v.abs() * scale).min(top) as i32;
        let c = if v > 0.0 { half + k } else { half - 1 - k };
        *code = c as u8;
        *x = c as f32 - middle;
    }
}

/// Queries and rows a tile of [`code_tiles`].
pub const TILE_QUERIES: usize = 8;
const COLUMNS: usize = 16;

/// Rows of planes unpacked to bytes, four values of sixteen rows together: the right side of a product.
#[derive(Debug, Default)]
pub struct CodePanels {
    bytes: Vec<[u8; 64]>,
    n: usize,
    words: usize,
}

impl CodePanels {
    /// Whether this processor multiplies panels; elsewhere rows are multiplied one by one.
    pub fn available() -> bool {
        #[cfg(target_arch = "x86_64")]
        return vnni();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Unpacks `n` rows of `words` words a plane: the highest plane of row i is `top[i * words..]`, the `bits - 1` lower ones
    /// stand at `rest[i * stride..]` as in [`planes_dots`].
    ///
    /// # Panics
    /// Without [`CodePanels::available`], or if a side is too short.
    pub fn fill(&mut self, top: &[u64], rest: &[u64], stride: usize, bits: usize, n: usize, words: usize) {
        assert!(CodePanels::available(), "this processor has no products of bytes");
        assert!((1..=8).contains(&bits) && top.len() >= n * words && stride >= words * (bits - 1));
        assert!(n == 0 || rest.len() >= (n - 1) * stride + words * (bits - 1));
        (self.n, self.words) = (n, words);
        // whole pairs of panels, so that tiles need no edge
        self.bytes.resize(n.div_ceil(2 * COLUMNS) * 2 * words * 16, [0; 64]);
        #[cfg(target_arch = "x86_64")]
        for (p, panel) in self.bytes.chunks_exact_mut(words * 16).enumerate() {
            // SAFETY: the instructions were detected, the asserts bound both sides.
            unsafe { v4::unpack(top, rest, stride, bits, p * COLUMNS..n.min((p + 1) * COLUMNS), words, panel) };
        }
    }

    /// Rows unpacked.
    pub fn n(&self) -> usize {
        self.n
    }
}

/// Products of up to [`TILE_QUERIES`] queries with all rows of the panels: `out[i * ldc + j]` for query i and row j.
///
/// # Panics
/// If there are no or too many queries, their length is not that of the rows, or `out` is too small (`ldc` is at least the
/// number of rows rounded up to 32).
pub fn code_tiles(queries: &[&[i8]], right: &CodePanels, out: &mut [i32], ldc: usize) {
    assert!((1..=TILE_QUERIES).contains(&queries.len()) && queries.iter().all(|q| q.len() == right.words * WORD));
    assert!(ldc >= right.n.next_multiple_of(2 * COLUMNS) && out.len() >= queries.len() * ldc);
    #[cfg(target_arch = "x86_64")]
    {
        assert!(CodePanels::available());
        // SAFETY: the instructions were detected, the asserts bound all sides.
        unsafe {
            match queries.len() {
                1 => v4::tiles::<1>(queries, &right.bytes, right.words, out, ldc),
                2 => v4::tiles::<2>(queries, &right.bytes, right.words, out, ldc),
                3 => v4::tiles::<3>(queries, &right.bytes, right.words, out, ldc),
                4 => v4::tiles::<4>(queries, &right.bytes, right.words, out, ldc),
                5 => v4::tiles::<5>(queries, &right.bytes, right.words, out, ldc),
                6 => v4::tiles::<6>(queries, &right.bytes, right.words, out, ldc),
                7 => v4::tiles::<7>(queries, &right.bytes, right.words, out, ldc),
                _ => v4::tiles::<8>(queries, &right.bytes, right.words, out, ldc),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = out;
}

/// Asks for the cache lines of `bytes`, to be read soon.
pub fn prefetch<T>(bytes: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let (start, len) = (bytes.as_ptr().cast::<i8>(), size_of_val(bytes));
        for at in (0..len).step_by(64) {
            // SAFETY: a prefetch has no effect but on caches; the address is within the slice.
            unsafe { _mm_prefetch(start.add(at), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

#[cfg(target_arch = "x86_64")]
mod v4;

#[cfg(test)]
mod tests;
