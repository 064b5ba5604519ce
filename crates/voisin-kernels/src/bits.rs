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
    signed_body(row, scale, bits, codes, centred);
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
                3 | 4 => {
                    v4::tiles::<2>(&queries[..2], &right.bytes, right.words, out, ldc);
                    let rest = &mut out[2 * ldc..];
                    match queries.len() {
                        3 => v4::tiles::<1>(&queries[2..], &right.bytes, right.words, rest, ldc),
                        _ => v4::tiles::<2>(&queries[2..], &right.bytes, right.words, rest, ldc),
                    }
                }
                5 => {
                    v4::tiles::<4>(&queries[..4], &right.bytes, right.words, out, ldc);
                    v4::tiles::<1>(&queries[4..], &right.bytes, right.words, &mut out[4 * ldc..], ldc);
                }
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
mod v4 {
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
        let lanes =
            |a: __m512i, b: __m512i| _mm512_add_epi32(_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
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
    pub(super) unsafe fn tiles<const M: usize>(
        queries: &[&[i8]],
        panels: &[[u8; 64]],
        words: usize,
        out: &mut [i32],
        ldc: usize,
    ) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(n: usize, seed: u32) -> Vec<u8> {
        (0..n as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn plain(codes: &[u8], q: &[i8]) -> i32 {
        codes.iter().zip(q).map(|(&c, &q)| c as i32 * q as i32).sum()
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_codes(words in 1usize..5, n in 0usize..40, bits in 1usize..9, m in 1usize..9, seed in 0u32..999) {
            let d = words * WORD;
            let codes: Vec<u8> = bytes(n * d, seed).iter().map(|c| c >> (8 - bits)).collect();
            let queries: Vec<Vec<i8>> = (0..m).map(|i| bytes(d, seed + 77 + i as u32).iter().map(|&c| (c as i8).max(-127)).collect()).collect();
            let (mut top, mut rest) = (vec![0; n * words], vec![0; n * (words * (bits - 1) + 1)]);
            let stride = words * (bits - 1) + 1;
            for (i, row) in codes.chunks_exact(d).enumerate() {
                let high: Vec<u8> = row.iter().map(|c| c >> (bits - 1)).collect();
                planes_pack(&high, 1, &mut top[i * words..(i + 1) * words]);
                if bits > 1 {
                    let low: Vec<u8> = row.iter().map(|c| c & ((1 << (bits - 1)) - 1)).collect();
                    planes_pack(&low, bits - 1, &mut rest[i * stride..][..words * (bits - 1)]);
                    let mut one = Vec::new();
                    planes_dots(&rest, stride, bits - 1, &ByteRow::new(queries[0].clone()), [i as u32].into_iter(), &mut one);
                    prop_assert_eq!(one[0], plain(&low, &queries[0]));
                    prop_assert_eq!(dot_body(&rest[i * stride..][..words * (bits - 1)], bits - 1, &queries[0]), plain(&low, &queries[0]));
                }
            }
            let mut out = vec![0; n];
            let first = ByteRow::new(queries[0].clone());
            plane_dots(&top, &first, &mut out);
            let mut again = Vec::new();
            planes_dots(&top, words, 1, &first, 0..n as u32, &mut again);
            prop_assert_eq!(&out, &again);
            for (i, row) in codes.chunks_exact(d).enumerate() {
                let high: Vec<u8> = row.iter().map(|c| c >> (bits - 1)).collect();
                prop_assert_eq!(out[i], plain(&high, &queries[0]));
                prop_assert_eq!(dot_body(&top[i * words..(i + 1) * words], 1, &queries[0]), plain(&high, &queries[0]));
            }
            if CodePanels::available() {
                let mut panels = CodePanels::default();
                panels.fill(&top, &rest, stride, bits, n, words);
                let ldc = n.next_multiple_of(32);
                let mut out = vec![0; m * ldc];
                let queries: Vec<&[i8]> = queries.iter().map(|q| &q[..]).collect();
                code_tiles(&queries, &panels, &mut out, ldc);
                for (i, q) in queries.iter().enumerate() {
                    for (j, row) in codes.chunks_exact(d).enumerate() {
                        prop_assert_eq!(out[i * ldc + j], plain(row, q));
                    }
                }
            }
        }
    }
}
