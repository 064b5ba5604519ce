//! Code books of product quantisation: tables of a query's products with all codewords, and the nearest codewords of rows.
//!
//! Every value is one chain over the dimensions of a part (of fused operations in tables, of products and sums rounded apart
//! where codewords are chosen), so tables and codes are the same bits on every instruction set, for one row or many.

#[cfg(target_arch = "x86_64")]
mod v4;

use crate::aligned::Aligned;
use crate::{Isa, isa};

/// m code books of k codewords of `sub` dimensions.
#[derive(Clone)]
pub struct Books {
    /// Part, codeword, dimension.
    plain: Vec<f32>,
    /// Part, dimension, codeword: a line of codewords meets one value of a query.
    turned: std::sync::Arc<Aligned>,
    m: usize,
    k: usize,
    sub: usize,
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Books({} x {} x {})", self.m, self.k, self.sub)
    }
}

/// Codewords whose distances are computed at a time.
const WORDS: usize = 8;
/// Lanes of a table line.
const LANES: usize = 16;

impl Books {
    /// Queries that [`Books::products`] takes at once: the books come from a far cache.
    pub const TOGETHER: usize = 8;
    /// Rows that [`Books::nearest`] takes at once without loss.
    pub const ROWS: usize = 32;

    /// Takes m x k x sub values.
    ///
    /// # Panics
    /// If the length is another, or k is no multiple of 16.
    pub fn new(codebooks: Vec<f32>, m: usize, k: usize) -> Books {
        assert!(m > 0 && k > 0 && k.is_multiple_of(LANES) && codebooks.len().is_multiple_of(m * k));
        let sub = codebooks.len() / (m * k);
        let mut turned = Aligned::zeros(codebooks.len());
        let out = turned.as_mut_slice();
        for j in 0..m {
            for c in 0..k {
                for t in 0..sub {
                    out[(j * sub + t) * k + c] = codebooks[(j * k + c) * sub + t];
                }
            }
        }
        Books { plain: codebooks, turned: std::sync::Arc::new(turned), m, k, sub }
    }

    /// The codewords: part, codeword, dimension.
    pub fn values(&self) -> &[f32] {
        &self.plain
    }

    /// Number of parts.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Codewords a part.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Dimensions of all parts together.
    pub fn d(&self) -> usize {
        self.m * self.sub
    }

    /// `factor` · <q_j, c> for every part j and codeword c of every query; `out` is n x m x k.
    ///
    /// Cost: n·d·k products; the books are read once for [`Books::TOGETHER`] queries.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn products(&self, queries: &[f32], factor: f32, out: &mut [f32]) {
        let (d, size) = (self.d(), self.m * self.k);
        assert!(queries.len().is_multiple_of(d) && out.len() == queries.len() / d * size);
        for (q, out) in queries.chunks(Self::TOGETHER * d).zip(out.chunks_mut(Self::TOGETHER * size)) {
            match isa() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level was detected on this processor.
                Isa::V4 => unsafe { v4::products(self, q, factor, out) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::V3 => unsafe { products_v3(self, q, factor, out) },
                _ => products(self, q, factor, out),
            }
        }
    }

    /// The nearest codeword (squared L2, the smaller on a tie) of every part of n rows; `codes` is n x m.
    ///
    /// Cost: n·d·k.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn nearest(&self, rows: &[f32], codes: &mut [u8]) {
        let d = self.d();
        assert!(rows.len().is_multiple_of(d) && codes.len() == rows.len() / d * self.m && self.k <= 256);
        for (rows, codes) in rows.chunks(Self::ROWS * d).zip(codes.chunks_mut(Self::ROWS * self.m)) {
            match isa() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level was detected on this processor.
                Isa::V4 => unsafe { nearest_v4(self, rows, codes) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::V3 => unsafe { nearest_v3(self, rows, codes) },
                _ => nearest::<16>(self, rows, codes),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn products_v3(b: &Books, q: &[f32], factor: f32, out: &mut [f32]) {
    products(b, q, factor, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn nearest_v4(b: &Books, rows: &[f32], codes: &mut [u8]) {
    nearest::<16>(b, rows, codes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn nearest_v3(b: &Books, rows: &[f32], codes: &mut [u8]) {
    nearest::<8>(b, rows, codes);
}

/// At most [`Books::TOGETHER`] queries.
#[inline(always)]
fn products(b: &Books, queries: &[f32], factor: f32, out: &mut [f32]) {
    let size = b.m * b.k;
    for (q, out) in queries.chunks(4 * b.d()).zip(out.chunks_mut(4 * size)) {
        match q.len() / b.d() {
            1 => some::<1, { 4 * LANES }>(b, q, factor, out),
            2 => some::<2, { 2 * LANES }>(b, q, factor, out),
            3 => some::<3, LANES>(b, q, factor, out),
            _ => some::<4, LANES>(b, q, factor, out),
        }
    }
}

#[inline(always)]
fn some<const Q: usize, const W: usize>(b: &Books, queries: &[f32], factor: f32, out: &mut [f32]) {
    let (d, k, sub, size) = (b.d(), b.k, b.sub, b.m * b.k);
    let wide = k.is_multiple_of(W);
    for j in 0..b.m {
        let book = &b.turned.as_slice()[j * sub * k..(j + 1) * sub * k];
        let each: [&[f32]; Q] = std::array::from_fn(|i| &queries[i * d + j * sub..][..sub]);
        if wide {
            for c in (0..k).step_by(W) {
                line::<Q, W>(&book[c..], k, each, factor, &mut out[j * k + c..], size);
            }
        } else {
            for c in (0..k).step_by(LANES) {
                line::<Q, LANES>(&book[c..], k, each, factor, &mut out[j * k + c..], size);
            }
        }
    }
}

#[inline(always)]
fn line<const Q: usize, const W: usize>(book: &[f32], k: usize, q: [&[f32]; Q], factor: f32, out: &mut [f32], size: usize) {
    let mut acc = [[0.0f32; W]; Q];
    for t in 0..q[0].len() {
        let words: &[f32; W] = book[t * k..t * k + W].try_into().expect("W values");
        for i in 0..Q {
            let x = q[i][t];
            for l in 0..W {
                acc[i][l] = x.mul_add(words[l], acc[i][l]);
            }
        }
    }
    for i in 0..Q {
        let to: &mut [f32; W] = (&mut out[i * size..i * size + W]).try_into().expect("W values");
        for l in 0..W {
            to[l] = factor * acc[i][l];
        }
    }
}

/// At most [`Books::ROWS`] rows, W at a time, a row a lane.
#[inline(always)]
fn nearest<const W: usize>(b: &Books, rows: &[f32], codes: &mut [u8]) {
    let (d, sub, m) = (b.d(), b.sub, b.m);
    let mut lanes = vec![[0.0f32; W]; sub];
    for (rows, codes) in rows.chunks(W * d).zip(codes.chunks_mut(W * m)) {
        for j in 0..m {
            for (l, row) in rows.chunks_exact(d).enumerate() {
                for (t, &x) in row[j * sub..(j + 1) * sub].iter().enumerate() {
                    lanes[t][l] = x;
                }
            }
            let best = smallest(&lanes, &b.plain[j * b.k * sub..(j + 1) * b.k * sub]);
            for (code, &c) in codes[j..].iter_mut().step_by(m).zip(&best) {
                *code = c as u8;
            }
        }
    }
}

/// For each lane the codeword with the smallest distance.
#[inline(always)]
fn smallest<const W: usize>(lanes: &[[f32; W]], words: &[f32]) -> [i32; W] {
    let sub = lanes.len();
    let (mut best, mut code) = ([f32::INFINITY; W], [0i32; W]);
    for (group, words) in words.chunks_exact(WORDS * sub).enumerate() {
        let each: [&[f32]; WORDS] = std::array::from_fn(|w| &words[w * sub..(w + 1) * sub]);
        let mut acc = [[0.0f32; W]; WORDS];
        for (t, x) in lanes.iter().enumerate() {
            for w in 0..WORDS {
                let c = each[w][t];
                for l in 0..W {
                    let e = x[l] - c;
                    acc[w][l] += e * e;
                }
            }
        }
        for (w, acc) in acc.iter().enumerate() {
            let c = (group * WORDS + w) as i32;
            for l in 0..W {
                let nearer = acc[l] < best[l];
                best[l] = if nearer { acc[l] } else { best[l] };
                code[l] = if nearer { c } else { code[l] };
            }
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32)
            .map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97)) >> 20) as f32) / 512.0 - 4.0)
            .collect()
    }

    /// Every level this processor has.
    fn tables(b: &Books, q: &[f32]) -> Vec<Vec<f32>> {
        let size = q.len() / b.d() * b.m * b.k;
        let mut all = vec![vec![0.0; size]; 2];
        b.products(q, -2.0, &mut all[0]);
        for (q, out) in q.chunks(8 * b.d()).zip(all[1].chunks_mut(8 * b.m * b.k)) {
            products(b, q, -2.0, out);
        }
        #[cfg(target_arch = "x86_64")]
        if isa() >= Isa::V3 {
            let mut out = vec![0.0; size];
            for (q, out) in q.chunks(8 * b.d()).zip(out.chunks_mut(8 * b.m * b.k)) {
                // SAFETY: the level was detected.
                unsafe { products_v3(b, q, -2.0, out) };
            }
            all.push(out);
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]
        #[test]
        fn tables_and_codes_are_the_same_everywhere(n in 1usize..40, m in 1usize..6, sub in 1usize..9, wide: bool, seed in 0u32..1000) {
            let k = if wide { 256 } else { 16 };
            let (books, rows) = (Books::new(values(m * k * sub, seed), m, k), values(n * m * sub, seed + 1));
            let all = tables(&books, &rows);
            for other in &all[1..] {
                prop_assert!(all[0].iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            for i in 0..n {
                // a query alone gives the bits of the query in a batch
                let mut alone = vec![0.0; m * k];
                books.products(&rows[i * m * sub..(i + 1) * m * sub], -2.0, &mut alone);
                prop_assert_eq!(&alone[..], &all[0][i * m * k..(i + 1) * m * k]);
            }
            let (mut codes, mut plain) = (vec![0u8; n * m], vec![0u8; n * m]);
            books.nearest(&rows, &mut codes);
            for (i, code) in plain.iter_mut().enumerate() {
                let x = &rows[i * sub..(i + 1) * sub];
                let far = |c: usize| {
                    let word = &books.plain[(i % m * k + c) * sub..][..sub];
                    x.iter().zip(word).fold(0.0f32, |s, (a, b)| s + (a - b) * (a - b))
                };
                *code = (0..k).fold((0, f32::INFINITY), |b, c| if far(c) < b.1 { (c, far(c)) } else { b }).0 as u8;
            }
            prop_assert_eq!(&codes, &plain);
            for part in rows.chunks(Books::ROWS * m * sub).zip(codes.chunks(Books::ROWS * m)) {
                let mut other = vec![0u8; part.1.len()];
                nearest::<32>(&books, part.0, &mut other);
                prop_assert_eq!(&other[..], part.1);
            }
        }
    }
}
