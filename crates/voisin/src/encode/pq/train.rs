//! k-means of all parts of a product code at once: rows are read once an iteration, in their order.

use crate::encode::Training;
use crate::partition::Random;
use crate::{Matrix, Vectors};
use rayon::prelude::*;
use voisin_kernels::Books;

/// Sums run over this many stretches of rows, whatever the number of threads.
const STRETCHES: usize = 16;

/// Stream of the seed.
const STREAM: u64 = 40;

/// At most `limit` rows, chosen by the seed, less the centres of their lists.
pub(crate) fn gathered_residuals(rows: Vectors<'_>, with: &Training<'_>, limit: usize) -> Matrix {
    let chosen = Random::new(with.seed, STREAM).sample(rows.n() as u64, limit as u64);
    let d = rows.d();
    let mut out = Matrix::zeros(chosen.len(), d);
    out.data_mut().par_chunks_mut(d * 256).zip(chosen.par_chunks(256)).for_each(|(out, chosen)| {
        for (to, &i) in out.chunks_exact_mut(d).zip(chosen) {
            to.copy_from_slice(rows.row(i as usize));
            if let Some(centres) = with.centres {
                let centre = centres.row(with.lists[i as usize] as usize);
                to.iter_mut().zip(centre).for_each(|(x, c)| *x -= c);
            }
        }
    });
    out
}

/// Lloyd's iterations, started at k of the rows, the same for every part.
pub(crate) struct Lloyd {
    books: Books,
    codes: Vec<u8>,
    /// Rows are the codewords: nothing to move.
    settled: bool,
    sums: Vec<Sums>,
}

/// Sum and number of the rows of every codeword, over a stretch of rows.
#[derive(Clone)]
struct Sums {
    sums: Vec<f64>,
    counts: Vec<u32>,
    moved: bool,
}

impl Lloyd {
    /// As FAISS.
    pub(crate) const ITERATIONS: usize = 25;

    pub(crate) fn new(rows: Vectors<'_>, m: usize, k: usize, seed: u64) -> Lloyd {
        let (d, n) = (rows.d(), rows.n());
        let mut start = Random::new(seed, STREAM + 1).sample(n as u64, k as u64);
        let settled = start.len() < k || n == k;
        // a codeword that stands twice is only ever taken in its first place
        let last = *start.last().expect("a row");
        start.resize(k, last);
        let sub = d / m;
        let mut books = Vec::with_capacity(k * d);
        for p in 0..m {
            start.iter().for_each(|&i| books.extend_from_slice(&rows.row(i as usize)[p * sub..(p + 1) * sub]));
        }
        let sums = Sums { sums: vec![0.0; k * d], counts: vec![0; k * m], moved: false };
        let stretches = if settled { 0 } else { n.div_ceil(n.div_ceil(STRETCHES)) };
        Lloyd { books: Books::new(books, m, k), codes: vec![0; n * m], settled, sums: vec![sums; stretches] }
    }

    pub(crate) fn into_books(self) -> Books {
        self.books
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }

    /// The codes of the rows before the last step.
    pub(crate) fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Assigns the rows and moves the codewords to their means; whether anything changed.
    pub(crate) fn step(&mut self, rows: Vectors<'_>) -> bool {
        if self.settled {
            self.books.nearest(rows.data(), &mut self.codes);
            return false;
        }
        let (d, m, n) = (rows.d(), self.books.m(), rows.n());
        let stretch = n.div_ceil(STRETCHES);
        let books = &self.books;
        let parts = rows.data().par_chunks(stretch * d).zip(self.codes.par_chunks_mut(stretch * m)).zip(&mut self.sums);
        parts.for_each(|((rows, codes), sums)| sums.take(books, rows, codes));
        let (total, others) = self.sums.split_first_mut().expect("a stretch");
        total.sums.par_chunks_mut(4096).enumerate().for_each(|(c, sums)| {
            for other in others.iter() {
                sums.iter_mut().zip(&other.sums[c * 4096..]).for_each(|(s, o)| *s += o);
            }
        });
        for other in others.iter() {
            total.counts.iter_mut().zip(&other.counts).for_each(|(s, o)| *s += o);
            total.moved |= other.moved;
        }
        let (means, split) = total.means(books);
        self.books = Books::new(means, m, books.k());
        self.sums[0].moved || split
    }
}

impl Sums {
    fn take(&mut self, books: &Books, rows: &[f32], codes: &mut [u8]) {
        let (d, m, k) = (books.d(), books.m(), books.k());
        let sub = d / m;
        self.sums.fill(0.0);
        self.counts.fill(0);
        self.moved = false;
        let mut fresh = vec![0u8; Books::ROWS * m];
        for (rows, codes) in rows.chunks(Books::ROWS * d).zip(codes.chunks_mut(Books::ROWS * m)) {
            let fresh = &mut fresh[..codes.len()];
            books.nearest(rows, fresh);
            self.moved |= fresh != codes;
            codes.copy_from_slice(fresh);
            for (row, codes) in rows.chunks_exact(d).zip(codes.chunks_exact(m)) {
                for (p, (x, &c)) in row.chunks_exact(sub).zip(codes).enumerate() {
                    let word = p * k + c as usize;
                    self.counts[word] += 1;
                    self.sums[word * sub..(word + 1) * sub].iter_mut().zip(x).for_each(|(s, &x)| *s += x as f64);
                }
            }
        }
    }

    /// Means; an empty codeword takes one half of the largest of its part, both shifted a little. Whether there was one.
    fn means(&self, books: &Books) -> (Vec<f32>, bool) {
        const SHIFT: f32 = 1.0 / 1024.0;
        let (k, sub) = (books.k(), books.d() / books.m());
        let mut words = books.values().to_vec();
        for ((word, sum), &count) in words.chunks_exact_mut(sub).zip(self.sums.chunks_exact(sub)).zip(&self.counts) {
            if count > 0 {
                word.iter_mut().zip(sum).for_each(|(x, &s)| *x = (s / count as f64) as f32);
            }
        }
        let mut split = false;
        for (words, counts) in words.chunks_exact_mut(k * sub).zip(self.counts.chunks_exact(k)) {
            let mut counts = counts.to_vec();
            for c in (0..k).filter(|&c| counts[c] == 0).collect::<Vec<_>>() {
                split = true;
                let large = (0..k).max_by_key(|&j| (counts[j], std::cmp::Reverse(j))).expect("a codeword");
                for t in 0..sub {
                    let (x, s) = (words[large * sub + t], if t % 2 == 0 { SHIFT } else { -SHIFT });
                    words[c * sub + t] = x * (1.0 + s);
                    words[large * sub + t] = x * (1.0 - s);
                }
                counts[c] = counts[large] / 2;
                counts[large] -= counts[c];
            }
        }
        (words, split)
    }
}
