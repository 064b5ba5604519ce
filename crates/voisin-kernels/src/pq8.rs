//! Scans of 8-bit product codes.
//!
//! 64 vectors make a block (the last of a run has what is left): the codes of part 0 of all of them, of part 1, ..., then
//! their `add` values. Tables are whole numbers of 16 bits. Where the processor can look up bytes in 256 of them in registers
//! (two `vpermi2b` and a choice), low and high bytes are looked up and added apart: 64 vectors cost what four cost with a
//! load for every value. Elsewhere a value is a load, eight vectors at a time.
//!
//! A sum is an exact integer on every level; the key is `base + (add + scale · sum)`, rounded at each step.

use crate::pq_lines::{Tables, add_at};

/// Vectors a block.
pub const BLOCK8: usize = 64;

/// Keys of the n vectors of a run, of several queries: query i's to `out[i * n..]`; `base[i]` is added to all of them.
///
/// # Panics
/// If a length does not fit or tables are of another code.
pub fn pq8_keys(run: &[u8], n: usize, tables: &[&Tables], base: &[f32], out: &mut [f32]) {
    let Some(first) = tables.first() else { return };
    let m = first.m();
    assert!(tables.iter().all(|t| t.bits() == 8 && t.m() == m && t.words().is_empty() == first.words().is_empty()));
    assert!(run.len() == n * (m + 4) && base.len() == tables.len() && out.len() == n * tables.len());
    if n == 0 {
        return;
    }
    // blocks outside: their codes stay in the cache for all queries
    let step = BLOCK8 * 4;
    for (part, from) in run.chunks(step * (m + 4)).zip((0..).step_by(step)) {
        for (i, (table, &base)) in tables.iter().zip(base).enumerate() {
            let out = &mut out[i * n + from..(i * n + from + step).min((i + 1) * n)];
            one(part, m, table, base, out);
        }
    }
}

fn one(run: &[u8], m: usize, table: &Tables, base: f32, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if table.words().is_empty() && crate::pq_lines::has_vbmi() {
        // SAFETY: the features were detected.
        return unsafe { vbmi::scan(run, m, table, base, out) };
    }
    scan_words(run, m, table, base, out);
}

fn scan_words(run: &[u8], m: usize, table: &Tables, base: f32, out: &mut [f32]) {
    let words = &table.words().as_chunks::<256>().0[..m];
    for (block, out) in run.chunks(BLOCK8 * (m + 4)).zip(out.chunks_mut(BLOCK8)) {
        let (codes, adds) = block.split_at(m * out.len());
        let mut sums = [0u32; BLOCK8];
        let eights = out.len() / 8;
        for (e, sums) in sums.as_chunks_mut::<8>().0[..eights].iter_mut().enumerate() {
            let mut acc = [0u32; 8];
            for (codes, words) in codes.chunks_exact(out.len()).zip(words) {
                let codes: &[u8; 8] = codes[e * 8..e * 8 + 8].try_into().expect("eight codes");
                for l in 0..8 {
                    acc[l] += words[codes[l] as usize] as u32;
                }
            }
            *sums = acc;
        }
        for (codes, words) in codes.chunks_exact(out.len()).zip(words) {
            for i in eights * 8..out.len() {
                sums[i] += words[codes[i] as usize] as u32;
            }
        }
        let (scale, base) = (table.scale(), base + table.offset());
        for (i, o) in out.iter_mut().enumerate() {
            *o = base + (add_at(adds, i) + scale * sums[i] as i32 as f32);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vbmi {
    use super::*;
    use crate::pq_lines::Line;
    use std::arch::x86_64::*;

    /// Parts after which 16-bit sums are emptied: 256 values of at most 255 stay below 65,536.
    const FLUSH: usize = 256;

    /// Sums of the even and of the odd bytes: with the odd ones above, the odd ones alone.
    type Sums = [__m512i; 2];

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn scan(run: &[u8], m: usize, table: &Tables, base: f32, out: &mut [f32]) {
        assert!(table.lines().len() == m * 8);
        let whole = BLOCK8 * (m + 4);
        let mut done = 0;
        while done < out.len() {
            let left = out.len() - done;
            let run = &run[done * (m + 4)..];
            let out = &mut out[done..];
            done += if left >= 4 * BLOCK8 {
                let each: [&[u8]; 4] = std::array::from_fn(|b| &run[b * whole..(b + 1) * whole]);
                blocks(each, m, table, base, &mut out[..4 * BLOCK8]);
                4 * BLOCK8
            } else if left >= 2 * BLOCK8 {
                blocks([&run[..whole], &run[whole..2 * whole]], m, table, base, &mut out[..2 * BLOCK8]);
                2 * BLOCK8
            } else {
                let n = left.min(BLOCK8);
                blocks([&run[..n * (m + 4)]], m, table, base, &mut out[..n]);
                n
            };
        }
    }

    /// B blocks, whole ones if more than one.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn blocks<const B: usize>(blocks: [&[u8]; B], m: usize, table: &Tables, base: f32, out: &mut [f32]) {
        let rows = out.len() / B;
        let mask = if rows == 64 { u64::MAX } else { (1u64 << rows) - 1 };
        let mut sums = [[_mm512_setzero_si512(); 4]; B];
        for from in (0..m).step_by(FLUSH) {
            let parts = from..(from + FLUSH).min(m);
            let mut acc = [[[_mm512_setzero_si512(); 2]; 2]; B];
            for j in parts {
                let lines: &[Line; 8] = table.lines()[j * 8..j * 8 + 8].try_into().expect("eight lines");
                // SAFETY: a line is 64 bytes.
                let t: [__m512i; 8] = std::array::from_fn(|i| unsafe { _mm512_load_si512(lines[i].0.as_ptr().cast()) });
                for b in 0..B {
                    let codes = &blocks[b][j * rows..(j + 1) * rows];
                    // SAFETY: only the bytes of the mask are read, one a row.
                    let c = unsafe { _mm512_maskz_loadu_epi8(mask, codes.as_ptr().cast()) };
                    let upper = _mm512_movepi8_mask(c);
                    for (plane, acc) in acc[b].iter_mut().enumerate() {
                        let t = &t[plane * 4..plane * 4 + 4];
                        let r = _mm512_mask_blend_epi8(
                            upper,
                            _mm512_permutex2var_epi8(t[0], c, t[1]),
                            _mm512_permutex2var_epi8(t[2], c, t[3]),
                        );
                        acc[0] = _mm512_add_epi16(acc[0], r);
                        acc[1] = _mm512_add_epi16(acc[1], _mm512_srli_epi16::<8>(r));
                    }
                }
            }
            for b in 0..B {
                let (low, high) = (in_order(acc[b][0]), in_order(acc[b][1]));
                for i in 0..4 {
                    sums[b][i] = _mm512_add_epi32(sums[b][i], _mm512_add_epi32(low[i], _mm512_slli_epi32::<8>(high[i])));
                }
            }
        }
        let (scale, base) = (_mm512_set1_ps(table.scale()), _mm512_set1_ps(base + table.offset()));
        for b in 0..B {
            let adds = &blocks[b][m * rows..(m + 4) * rows];
            let out = &mut out[b * rows..(b + 1) * rows];
            for (i, &sum) in sums[b].iter().enumerate().take(rows.div_ceil(16)) {
                let mask = (mask >> (16 * i)) as u16;
                // SAFETY: only rows of the block are read and written: i * 16 < rows, and the mask ends with them.
                unsafe {
                    let add = _mm512_maskz_loadu_ps(mask, adds.as_ptr().cast::<f32>().add(i * 16));
                    let key = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum));
                    _mm512_mask_storeu_ps(out.as_mut_ptr().add(i * 16), mask, _mm512_add_ps(base, _mm512_add_ps(add, key)));
                }
            }
        }
    }

    /// 64 sums of 16 bits as four registers of 32 bits, in the order of the bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn in_order([both, odd]: Sums) -> [__m512i; 4] {
        let even = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(odd));
        let (a, b) = (_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd));
        // quarter i of a has bytes 16 i .. 16 i + 8, of b the eight after them
        let first = _mm512_permutex2var_epi64(a, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), b);
        let second = _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), b);
        [
            _mm512_cvtepu16_epi32(_mm512_castsi512_si256(first)),
            _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(first)),
            _mm512_cvtepu16_epi32(_mm512_castsi512_si256(second)),
            _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(second)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(n: usize, seed: u32) -> Vec<u8> {
        (0..n as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 23) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]
        #[test]
        fn every_level_gives_the_sums_of_the_codes(n in 1usize..400, m in 1usize..20, queries in 1usize..4, large: bool, seed in 0u32..9999) {
            let m = if large { m + 260 } else { m };
            let codes = bytes(n * m, seed);
            let adds: Vec<f32> = bytes(n, seed + 5).iter().map(|&b| b as f32 * 0.37 - 40.0).collect();
            let mut run = Vec::new();
            for from in (0..n).step_by(BLOCK8) {
                let rows = from..(from + BLOCK8).min(n);
                (0..m).for_each(|p| run.extend(rows.clone().map(|i| codes[i * m + p])));
                rows.for_each(|i| run.extend(adds[i].to_le_bytes()));
            }
            let values = |q: usize| bytes(m * 256, seed + q as u32).iter().enumerate().map(|(i, &b)| b as f32 * 0.731 + i as f32 * 1e-3).collect::<Vec<f32>>();
            for lines in [false, true] {
                if lines && !crate::pq_lines::has_vbmi() {
                    continue;
                }
                let mut all: Vec<Tables> = (0..queries).map(|_| Tables::default()).collect();
                all.iter_mut().enumerate().for_each(|(q, t)| t.fill8_as(&values(q), lines));
                let base: Vec<f32> = (0..queries).map(|q| q as f32 * 1.3).collect();
                let mut out = vec![f32::NAN; n * queries];
                pq8_keys(&run, n, &all.iter().collect::<Vec<_>>(), &base, &mut out);
                for q in 0..queries {
                    let mut t = Tables::default();
                    t.fill8_as(&values(q), false);
                    for i in 0..n {
                        let sum: i32 = (0..m).map(|p| t.words()[p * 256 + codes[i * m + p] as usize] as i32).sum();
                        let want = (base[q] + t.offset()) + (adds[i] + t.scale() * sum as f32);
                        prop_assert_eq!(out[q * n + i].to_bits(), want.to_bits());
                    }
                }
            }
        }
    }
}
