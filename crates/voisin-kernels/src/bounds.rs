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
        Isa::V4 => unsafe { lowers_v4(ip, facts, side, limit, hits) },
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
        Isa::V4 => unsafe { keys_v4(ip, add, res, side, limit, hits) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { keys_v3(ip, add, res, side, limit, hits) },
        _ => collect(ip.len(), |i| side.key(ip[i], add[i], res[i]), limit, hits),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn lowers_v4(ip: &[i32], f: [&[u16]; 3], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    let (a, b, c) = (&f[0][..ip.len()], &f[1][..ip.len()], &f[2][..ip.len()]);
    collect(ip.len(), |i| side.lower(ip[i], [a[i], b[i], c[i]]), limit, hits);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lowers_v3(ip: &[i32], f: [&[u16]; 3], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    let (a, b, c) = (&f[0][..ip.len()], &f[1][..ip.len()], &f[2][..ip.len()]);
    collect(ip.len(), |i| side.lower(ip[i], [a[i], b[i], c[i]]), limit, hits);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn keys_v4(ip: &[i32], add: &[f32], res: &[f32], side: &Side, limit: f32, hits: &mut Vec<(u32, f32)>) {
    collect(ip.len(), |i| side.key(ip[i], add[i], res[i]), limit, hits);
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
    hits.extend((whole..n).map(|i| (i as u32, key(i))).filter(|h| h.1 <= limit));
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
