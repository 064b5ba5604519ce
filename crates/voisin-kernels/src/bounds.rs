//! From integer products to estimated keys: which rows of a run may still matter.
//!
//! Every product and sum is rounded by itself (no fused steps), so a key has the same bits in every loop and on every processor.

use crate::{Isa, isa};

/// What a query contributes to the keys of a run.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Sum of the query's bytes times the largest code: products of centred codes are 2·ip − this.
    pub offset: i32,
    /// Half the step of the query's bytes.
    pub half: f32,
    /// What all rows of the list share.
    pub base: f32,
    /// What a row's error is multiplied by.
    pub reach: f32,
}

impl Side {
    /// Product of the query with the centred code.
    #[inline(always)]
    pub fn centred(&self, ip: i32) -> f32 {
        (2 * ip - self.offset) as f32 * self.half
    }

    /// add + base + res · centred(ip).
    #[inline(always)]
    pub fn key(&self, ip: i32, add: f32, res: f32) -> f32 {
        (add + self.base) + res * self.centred(ip)
    }

    /// The lower bound of a row whose facts are bf16.
    #[inline(always)]
    pub fn lower(&self, ip: i32, [add, res, err]: [u16; 3]) -> f32 {
        self.key(ip, widen(add), widen(res)) - widen(err) * self.reach
    }
}

/// The f32 of a bf16.
#[inline(always)]
pub fn widen(x: u16) -> f32 {
    f32::from_bits((x as u32) << 16)
}

/// Rows whose lower bound is at most `limit`, with the bound, appended to `hits`.
///
/// # Panics
/// If the slices differ in length.
pub fn lowers(ip: &[i32], facts: [&[u16]; 3], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    assert!(facts.iter().all(|f| f.len() == ip.len()));
    let key = |i: usize| side.lower(ip[i], [facts[0][i], facts[1][i], facts[2][i]]);
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { v4::lowers(ip, facts, side, limit, hits) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { lowers_v3(ip, facts, side, limit, hits) },
        _ => collect(ip.len(), key, limit, hits),
    }
}

/// Rows whose key is at most `limit`, with the key, appended to `hits`.
///
/// # Panics
/// If `add` or `res` is shorter than `ip`.
pub fn keys(ip: &[i32], add: &[f32], res: &[f32], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    let (add, res) = (&add[..ip.len()], &res[..ip.len()]);
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { v4::keys(ip, add, res, side, limit, hits) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { keys_v3(ip, add, res, side, limit, hits) },
        _ => collect(ip.len(), |i| side.key(ip[i], add[i], res[i]), limit, hits),
    }
}

#[cfg(target_arch = "x86_64")]
mod v4 {
    use super::Side;
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn key(side: &Side, ip: __m512i, add: __m512, res: __m512) -> __m512 {
        let twice = _mm512_sub_epi32(_mm512_slli_epi32::<1>(ip), _mm512_set1_epi32(side.offset));
        let centred = _mm512_mul_ps(_mm512_cvtepi32_ps(twice), _mm512_set1_ps(side.half));
        _mm512_add_ps(_mm512_add_ps(add, _mm512_set1_ps(side.base)), _mm512_mul_ps(res, centred))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn push(start: usize, keys: __m512, mut mask: u16, hits: &mut Vec<(u32, f32)>) {
        let mut line = [0.0f32; 16];
        // SAFETY: the line has sixteen values.
        unsafe { _mm512_storeu_ps(line.as_mut_ptr(), keys) };
        while mask != 0 {
            let i = mask.trailing_zeros() as usize;
            hits.push(((start + i) as u32, line[i]));
            mask &= mask - 1;
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn keys(ip: &[i32], add: &[f32], res: &[f32], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
        let most = _mm512_set1_ps(limit);
        let whole = ip.len() - ip.len() % 16;
        for start in (0..whole).step_by(16) {
            // SAFETY: sixteen values from `start` on; all three are as long as `ip`.
            let (ip, add, res) = unsafe {
                (
                    _mm512_loadu_si512(ip.as_ptr().add(start).cast()),
                    _mm512_loadu_ps(add.as_ptr().add(start)),
                    _mm512_loadu_ps(res.as_ptr().add(start)),
                )
            };
            let keys = key(side, ip, add, res);
            let mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(keys, most);
            if mask != 0 {
                push(start, keys, mask, hits);
            }
        }
        super::rest(whole..ip.len(), |i| side.key(ip[i], add[i], res[i]), limit, hits);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn lowers(ip: &[i32], facts: [&[u16]; 3], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
        let (most, reach) = (_mm512_set1_ps(limit), _mm512_set1_ps(side.reach));
        let whole = ip.len() - ip.len() % 16;
        for start in (0..whole).step_by(16) {
            // SAFETY: sixteen values from `start` on; all are as long as `ip`.
            let (ip, [add, res, err]) = unsafe {
                let wide = |f: &[u16]| {
                    let half = _mm256_loadu_si256(f.as_ptr().add(start).cast());
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
                };
                (_mm512_loadu_si512(ip.as_ptr().add(start).cast()), facts.map(wide))
            };
            let keys = _mm512_sub_ps(key(side, ip, add, res), _mm512_mul_ps(err, reach));
            let mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(keys, most);
            if mask != 0 {
                push(start, keys, mask, hits);
            }
        }
        super::rest(whole..ip.len(), |i| side.lower(ip[i], [facts[0][i], facts[1][i], facts[2][i]]), limit, hits);
    }
}

/// The rows after the last whole block.
#[inline(always)]
fn rest(rows: std::ops::Range<usize>, key: impl Fn(usize) -> f32, limit: f32, hits: &mut Vec<(u32, f32)>) {
    hits.extend(rows.map(|i| (i as u32, key(i))).filter(|h| h.1 <= limit));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lowers_v3(ip: &[i32], f: [&[u16]; 3], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    let (a, b, c) = (&f[0][..ip.len()], &f[1][..ip.len()], &f[2][..ip.len()]);
    collect(ip.len(), |i| side.lower(ip[i], [a[i], b[i], c[i]]), limit, hits);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn keys_v3(ip: &[i32], add: &[f32], res: &[f32], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    collect(ip.len(), |i| side.key(ip[i], add[i], res[i]), limit, hits);
}

/// Blocks without a hit, which is nearly all of them, cost no branch a row.
#[inline(always)]
fn collect(n: usize, key: impl Fn(usize) -> f32, limit: f32, hits: &mut Vec<(u32, f32)>) {
    const BLOCK: usize = 32;
    let whole = n - n % BLOCK;
    let mut block = [0.0f32; BLOCK];
    for start in (0..whole).step_by(BLOCK) {
        let mut any = false;
        for (j, b) in block.iter_mut().enumerate() {
            *b = key(start + j);
        }
        for b in &block {
            any |= *b <= limit;
        }
        if any {
            hits.extend(block.iter().zip(start as u32..).filter(|(b, _)| **b <= limit).map(|(b, i)| (i, *b)));
        }
    }
    rest(whole..n, key, limit, hits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_loop_finds(n in 0usize..150, seed in 0u32..1000, limit in -50.0f32..50.0) {
            let v = |k: u32| (0..n as u32).map(|i| ((i * 31 + k + seed) as f32).sin()).collect::<Vec<f32>>();
            let ip: Vec<i32> = v(1).iter().map(|x| (x * 1e3) as i32).collect();
            let (add, res) = (v(2), v(3));
            let half = |x: &[f32]| x.iter().map(|x| (x.abs().to_bits() >> 16) as u16).collect::<Vec<u16>>();
            let (a, r, e) = (half(&add), half(&res), half(&v(4)));
            let side = Side { offset: 17, half: 0.01, base: 1.5, reach: 0.7 };
            let mut hits = Vec::new();
            keys(&ip, &add, &res, &side, limit, &mut hits);
            let want: Vec<(u32, f32)> = (0..n).map(|i| (i as u32, side.key(ip[i], add[i], res[i]))).filter(|h| h.1 <= limit).collect();
            prop_assert_eq!(&hits, &want);
            hits.clear();
            lowers(&ip, [&a, &r, &e], &side, limit, &mut hits);
            let want: Vec<(u32, f32)> = (0..n).map(|i| (i as u32, side.lower(ip[i], [a[i], r[i], e[i]]))).filter(|h| h.1 <= limit).collect();
            prop_assert_eq!(hits, want);
        }
    }
}
