//! Scans of 4-bit product codes with tables in registers.
//!
//! 32 vectors make a block. Four parts of it are one line of 64 bytes: byte 4 v + p holds the code of vector v (low half) and
//! of vector v + 16 (high half) for part p. A line of tables has the 16 values of those four parts, one table after the
//! other, so the number of the part beside the code is the place in the line: one `vpermb` looks up all 64, one `vpdpbusd`
//! adds the four parts of each vector. AVX2 has neither; it turns a line into one part a 16-byte half first (`vpshufb`
//! then, as André, Kermarrec & Le Scouarnec, "Cache locality is not enough", VLDB 2015). After the lines of a block come its
//! 32 `add` values.
//!
//! A sum is an exact integer on every level; the key is `base + (add + scale · sum)`, rounded at each step.

use crate::pq_lines::{Line, Tables, add_at};
use crate::{Isa, isa};

/// Vectors a block.
pub const BLOCK4: usize = 32;

/// Bytes of a block of 32 vectors of m parts, their `add` values included.
pub fn block4_bytes(m: usize) -> usize {
    m.div_ceil(4) * 64 + BLOCK4 * 4
}

/// Keys of the first n vectors of a run of blocks, of several queries: query i's to `out[i * n..]`.
///
/// `base[i]` is added to every key of query i. The codes are read once for four queries; keys are those of a query alone.
///
/// # Panics
/// If a length does not fit or tables are of another code.
pub fn pq4_keys(run: &[u8], n: usize, tables: &[&Tables], base: &[f32], out: &mut [f32]) {
    let Some(first) = tables.first() else { return };
    let lines = first.lines().len();
    let block = lines * 64 + BLOCK4 * 4;
    assert!(tables.iter().all(|t| t.bits() == 4 && t.lines().len() == lines), "tables of one code");
    assert!(run.len() == n.div_ceil(BLOCK4) * block && base.len() == tables.len() && out.len() == n * tables.len());
    if n == 0 {
        return;
    }
    let run = Run { bytes: run, lines, n };
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features were detected.
        Isa::V4 if crate::pq_lines::has_vbmi() => unsafe { vbmi::scan(run, tables, base, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 | Isa::V3 => unsafe { avx2::scan(run, tables, base, out) },
        _ => scan_portable(run, tables, base, out),
    }
}

#[derive(Clone, Copy)]
struct Run<'a> {
    bytes: &'a [u8],
    lines: usize,
    n: usize,
}

impl<'a> Run<'a> {
    /// Lines and `add` values of block b.
    #[inline(always)]
    fn block(self, b: usize) -> (&'a [u8], &'a [u8]) {
        let size = self.lines * 64 + BLOCK4 * 4;
        self.bytes[b * size..(b + 1) * size].split_at(self.lines * 64)
    }

    fn blocks(self) -> usize {
        self.n.div_ceil(BLOCK4)
    }
}

/// Keys of a block from its sums; what is beyond the run is left out.
#[inline(always)]
fn keys(sums: &[i32; BLOCK4], adds: &[u8], table: &Tables, base: f32, out: &mut [f32]) {
    let (scale, base) = (table.scale(), base + table.offset());
    let mut keys = [0.0; BLOCK4];
    for v in 0..BLOCK4 {
        keys[v] = base + (add_at(adds, v) + scale * sums[v] as f32);
    }
    let n = out.len().min(BLOCK4);
    out[..n].copy_from_slice(&keys[..n]);
}

fn scan_portable(run: Run<'_>, tables: &[&Tables], base: &[f32], out: &mut [f32]) {
    for ((table, &base), out) in tables.iter().zip(base).zip(out.chunks_exact_mut(run.n)) {
        for (b, out) in out.chunks_mut(BLOCK4).enumerate() {
            let (codes, adds) = run.block(b);
            let mut sums = [0i32; BLOCK4];
            for (codes, Line(table)) in codes.as_chunks::<64>().0.iter().zip(table.lines()) {
                for v in 0..16 {
                    for p in 0..4 {
                        let code = codes[4 * v + p];
                        sums[v] += table[16 * p + (code & 15) as usize] as i32;
                        sums[v + 16] += table[16 * p + (code >> 4) as usize] as i32;
                    }
                }
            }
            keys(&sums, adds, table, base, out);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vbmi {
    use super::*;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    pub(super) fn scan(run: Run<'_>, tables: &[&Tables], base: &[f32], out: &mut [f32]) {
        let mut done = 0;
        while done < tables.len() {
            let (t, g, o) = (&tables[done..], &base[done..], &mut out[done * run.n..]);
            done += match t.len() {
                1 => several::<1, 4>(run, t, g, o),
                2 | 3 => several::<2, 2>(run, t, g, o),
                _ => several::<4, 1>(run, t, g, o),
            };
        }
    }

    /// Q queries, B blocks at a time; returns Q.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn several<const Q: usize, const B: usize>(run: Run<'_>, tables: &[&Tables], base: &[f32], out: &mut [f32]) -> usize {
        let tables: [&Tables; Q] = std::array::from_fn(|q| tables[q]);
        let mut b = 0;
        while b < run.blocks() {
            if b + B <= run.blocks() {
                blocks::<Q, B>(run, b, tables, base, out);
                b += B;
            } else {
                blocks::<Q, 1>(run, b, tables, base, out);
                b += 1;
            }
        }
        Q
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn blocks<const Q: usize, const B: usize>(run: Run<'_>, first: usize, tables: [&Tables; Q], base: &[f32], out: &mut [f32]) {
        let part = _mm512_set1_epi32(0x3020_1000);
        let (low, ones) = (_mm512_set1_epi8(15), _mm512_set1_epi8(1));
        let each: [(&[u8], &[u8]); B] = std::array::from_fn(|b| run.block(first + b));
        let ahead = B * (run.lines * 64 + BLOCK4 * 4);
        let codes: [&[[u8; 64]]; B] = std::array::from_fn(|b| &each[b].0.as_chunks::<64>().0[..run.lines]);
        let lines: [&[Line]; Q] = std::array::from_fn(|q| &tables[q].lines()[..run.lines]);
        let mut acc = [[[_mm512_setzero_si512(); 2]; B]; Q];
        for g in 0..run.lines {
            // SAFETY: lines are 64 bytes each.
            let table: [__m512i; Q] = std::array::from_fn(|q| unsafe { _mm512_load_si512(lines[q][g].0.as_ptr().cast()) });
            for b in 0..B {
                // SAFETY: as above.
                let c = unsafe { _mm512_loadu_si512(codes[b][g].as_ptr().cast()) };
                // a hint that may point beyond the run
                _mm_prefetch::<_MM_HINT_T0>(codes[b][g].as_ptr().wrapping_add(ahead).cast());
                // (c & 15) | part
                let even = _mm512_ternarylogic_epi32::<0xF8>(part, c, low);
                let odd = _mm512_ternarylogic_epi32::<0xF8>(part, _mm512_srli_epi16::<4>(c), low);
                for q in 0..Q {
                    acc[q][b][0] = _mm512_dpbusd_epi32(acc[q][b][0], _mm512_permutexvar_epi8(even, table[q]), ones);
                    acc[q][b][1] = _mm512_dpbusd_epi32(acc[q][b][1], _mm512_permutexvar_epi8(odd, table[q]), ones);
                }
            }
        }
        for (q, acc) in acc.iter().enumerate() {
            let (scale, base) = (_mm512_set1_ps(tables[q].scale()), _mm512_set1_ps(base[q] + tables[q].offset()));
            let out = &mut out[q * run.n..(q + 1) * run.n];
            for (b, acc) in acc.iter().enumerate() {
                for (h, &sum) in acc.iter().enumerate() {
                    let from = (first + b) * BLOCK4 + h * 16;
                    let left = run.n.saturating_sub(from).min(16);
                    // SAFETY: a block has 32 add values; only what is left of `out` is stored.
                    unsafe {
                        let add = _mm512_loadu_ps(each[b].1.as_ptr().add(h * 64).cast());
                        let key = _mm512_add_ps(base, _mm512_add_ps(add, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum))));
                        let to = out.as_mut_ptr().add(from.min(run.n));
                        _mm512_mask_storeu_ps(to, ((1u32 << left) - 1) as u16, key);
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;
    use std::arch::x86_64::*;

    /// Lines after which 16-bit sums are emptied: 256 values of at most 255 stay below 65,536.
    const FLUSH: usize = 64;

    #[target_feature(enable = "avx2")]
    pub(super) fn scan(run: Run<'_>, tables: &[&Tables], base: &[f32], out: &mut [f32]) {
        let mut done = 0;
        while done < tables.len() {
            let (t, g, o) = (&tables[done..], &base[done..], &mut out[done * run.n..]);
            done += if t.len() == 1 { several::<1>(run, t, g, o) } else { several::<2>(run, t, g, o) };
        }
    }

    #[target_feature(enable = "avx2")]
    fn several<const Q: usize>(run: Run<'_>, tables: &[&Tables], base: &[f32], out: &mut [f32]) -> usize {
        for b in 0..run.blocks() {
            let (codes, adds) = run.block(b);
            let codes = codes.as_chunks::<64>().0;
            let mut sums = [[0i32; BLOCK4]; Q];
            for from in (0..run.lines).step_by(FLUSH) {
                let lines = from..(from + FLUSH).min(run.lines);
                let each: [&[Line]; Q] = std::array::from_fn(|q| &tables[q].lines()[lines.clone()]);
                some_lines::<Q>(&codes[lines], each, &mut sums);
            }
            for q in 0..Q {
                let end = ((b + 1) * BLOCK4).min(run.n);
                keys(&sums[q], adds, tables[q], base[q], &mut out[q * run.n..][b * BLOCK4..end]);
            }
        }
        Q
    }

    /// 64 bytes of four parts -> parts 0 and 1 in the halves of one register, 2 and 3 in the other.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn turn(line: &[u8; 64]) -> [__m256i; 2] {
        let by_part = _mm256_set_epi8(
            15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0, 15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0,
        );
        // SAFETY: the line has 64 bytes.
        let (a, b) = unsafe { (_mm256_loadu_si256(line.as_ptr().cast()), _mm256_loadu_si256(line.as_ptr().add(32).cast())) };
        let (a, b) = (_mm256_shuffle_epi8(a, by_part), _mm256_shuffle_epi8(b, by_part));
        // halves of a: vectors 0-3 and 4-7 of parts 0, 1, 2, 3; of b: 8-11 and 12-15
        let (p01, p23) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        [_mm256_permute4x64_epi64::<0b11_01_10_00>(p01), _mm256_permute4x64_epi64::<0b11_01_10_00>(p23)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn some_lines<const Q: usize>(codes: &[[u8; 64]], tables: [&[Line]; Q], sums: &mut [[i32; BLOCK4]; Q]) {
        let low = _mm256_set1_epi8(15);
        // of each query, low and high halves of the codes: sums with the odd bytes above, sums of the odd bytes
        let mut acc = [[[_mm256_setzero_si256(); 2]; 2]; Q];
        for (g, line) in codes.iter().enumerate() {
            for (pair, c) in turn(line).into_iter().enumerate() {
                let half = [_mm256_and_si256(c, low), _mm256_and_si256(_mm256_srli_epi16::<4>(c), low)];
                for q in 0..Q {
                    // SAFETY: a line of tables has 64 bytes.
                    let table = unsafe { _mm256_load_si256(tables[q][g].0.as_ptr().add(pair * 32).cast()) };
                    for h in 0..2 {
                        let r = _mm256_shuffle_epi8(table, half[h]);
                        acc[q][h][0] = _mm256_add_epi16(acc[q][h][0], r);
                        acc[q][h][1] = _mm256_add_epi16(acc[q][h][1], _mm256_srli_epi16::<8>(r));
                    }
                }
            }
        }
        for (acc, sums) in acc.iter().zip(sums) {
            for (h, &[both, odd]) in acc.iter().enumerate() {
                let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
                let (a, b) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
                // the halves are different parts of the same vectors
                let a = _mm_add_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
                let b = _mm_add_epi16(_mm256_castsi256_si128(b), _mm256_extracti128_si256::<1>(b));
                // a: vectors 0-3, 8-11; b: 4-7, 12-15
                for (e, eight) in [_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)].into_iter().enumerate() {
                    let to = sums[h * 16 + e * 8..][..8].as_mut_ptr();
                    // SAFETY: eight sums are there.
                    unsafe {
                        let sum = _mm256_add_epi32(_mm256_loadu_si256(to.cast()), _mm256_cvtepu16_epi32(eight));
                        _mm256_storeu_si256(to.cast(), sum);
                    }
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
        (0..n as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 23) as u8).collect()
    }

    /// A run of random codes and adds, and what it says.
    fn run(n: usize, m: usize, seed: u32) -> (Vec<u8>, Vec<u8>, Vec<f32>) {
        let codes: Vec<u8> = bytes(n * m, seed).iter().map(|b| b & 15).collect();
        let adds: Vec<f32> = bytes(n, seed + 5).iter().map(|&b| b as f32 * 0.37 - 40.0).collect();
        let mut run = vec![0; n.div_ceil(32) * block4_bytes(m)];
        for (b, block) in run.chunks_exact_mut(block4_bytes(m)).enumerate() {
            for i in b * 32..(b * 32 + 32).min(n) {
                let v = i % 32;
                for p in 0..m {
                    block[p / 4 * 64 + v % 16 * 4 + p % 4] |= codes[i * m + p] << (4 * (v / 16));
                }
                block[m.div_ceil(4) * 64 + v * 4..][..4].copy_from_slice(&adds[i].to_le_bytes());
            }
        }
        (run, codes, adds)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn every_level_gives_the_sums_of_the_codes(n in 1usize..150, m in 1usize..40, queries in 1usize..7, large: bool, seed in 0u32..9999) {
            let m = if large { m + 500 } else { m };
            let (run_bytes, codes, adds) = run(n, m, seed);
            let values = |q: usize| bytes(m * 16, seed + q as u32).iter().map(|&b| b as f32 * 0.731 - 3.0).collect::<Vec<f32>>();
            let mut all: Vec<Tables> = (0..queries).map(|_| Tables::default()).collect();
            all.iter_mut().enumerate().for_each(|(q, t)| t.fill4(&values(q)));
            let tables: Vec<&Tables> = all.iter().collect();
            let base: Vec<f32> = (0..queries).map(|q| q as f32 * 1.3).collect();
            let mut out = vec![f32::NAN; n * queries];
            pq4_keys(&run_bytes, n, &tables, &base, &mut out);
            for q in 0..queries {
                for i in 0..n {
                    let sum: i32 = (0..m).map(|p| tables[q].lines()[p / 4].0[p % 4 * 16 + codes[i * m + p] as usize] as i32).sum();
                    let want = (base[q] + tables[q].offset()) + (adds[i] + tables[q].scale() * sum as f32);
                    prop_assert_eq!(out[q * n + i].to_bits(), want.to_bits());
                }
            }
            let parts = Run { bytes: &run_bytes, lines: m.div_ceil(4), n };
            let mut other = vec![f32::NAN; n * queries];
            scan_portable(parts, &tables, &base, &mut other);
            prop_assert_eq!(&other, &out);
            #[cfg(target_arch = "x86_64")]
            if isa() >= Isa::V3 {
                other.fill(f32::NAN);
                // SAFETY: the level was detected.
                unsafe { avx2::scan(parts, &tables, &base, &mut other) };
                prop_assert_eq!(&other, &out);
            }
        }
    }
}
