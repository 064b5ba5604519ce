//! Product codes: a residual is cut into m parts, each stored as the number of its nearest codeword, in 8 or 4 bits.
//!
//! # Source
//! Jégou, Douze & Schmid, "Product quantization for nearest neighbor search", PAMI 2011; tables in registers for 4 bits:
//! André, Kermarrec & Le Scouarnec, "Cache locality is not enough", VLDB 2015.
//!
//! With r̂ the decoded residual of a row of a list with centre c, the key of a query q is
//!
//! - squared L2: |q − c|² + (|r̂|² + 2<c, r̂>) − 2<q, r̂>,
//! - −inner product: −<q, c> − <q, r̂>:
//!
//! what query and list share, what the row keeps (`add`), and one sum over tables of the query that serve every list. Tables are
//! rounded to whole numbers (see [`Tables`]): a key is wrong by at most m/2 steps, a step being the largest range of a table over 255
//! (4 bits) or 65,535 (8 bits).
//!
//! A record: the codes (8 bits: m bytes; 4 bits: two a byte, the first in the low half), then `add` as little-endian f32.

mod layout;
mod train;

use super::Training;
use super::estimate::Asked;
use super::rabitq::Run;
use crate::{Error, Matrix, Result, Vectors};
use rayon::prelude::*;
pub(crate) use train::{Lloyd, gathered_residuals};
use voisin_kernels::{Books, Tables, below, dot_f64, pq4_keys, pq8_keys};

/// Most parts: their sums stay below 2^31.
const MAX_PARTS: usize = 16_384;

/// Queries whose keys of a run are kept at a time.
const TOGETHER: usize = 8;

/// A trained product code.
#[derive(Clone, Debug)]
pub(crate) struct Pq {
    books: Books,
    bits: usize,
    ip: bool,
    /// No decoded residual is longer.
    reach: f32,
}

/// Rows of a run and their keys.
pub(crate) type Hits = Vec<(u32, f32)>;

/// Refuses parts that do not fit.
///
/// # Errors
/// Names the parameter, its value and the values that would do.
pub(crate) fn check_parts(word: &str, d: usize, m: usize) -> Result<()> {
    if m > 0 && d.is_multiple_of(m) && m <= MAX_PARTS {
        return Ok(());
    }
    let fit: Vec<String> = (1..=d.min(MAX_PARTS)).filter(|m| d.is_multiple_of(*m)).map(|m| m.to_string()).collect();
    Err(Error::param(word, m, format!("a number of parts that divides {d} dimensions: {}", fit.join(", "))))
}

impl Pq {
    /// Trains the codewords of every part by k-means on at most 256 rows a codeword.
    ///
    /// With fewer rows than codewords the rows are the codewords. Cost: 25 passes of rows · d · 2^bits. The same seed gives the
    /// same bytes on any number of threads.
    ///
    /// # Errors
    /// m that does not divide d; [`Error::Stopped`].
    pub(crate) fn train(m: usize, bits: usize, rows: Vectors<'_>, with: &Training<'_>) -> Result<Pq> {
        check_parts("PQ", rows.d(), m)?;
        let k = 1 << bits;
        let sample = gathered_residuals(rows, with, 256 * k);
        let mut lloyd = Lloyd::new(sample.view(), m, k, with.seed);
        with.watch.begin("product codes", Lloyd::ITERATIONS as u64, "iterations");
        for _ in 0..Lloyd::ITERATIONS {
            with.watch.check()?;
            let moved = lloyd.step(sample.view());
            with.watch.advance(1);
            if !moved {
                break;
            }
        }
        with.watch.end();
        Ok(Pq::new(lloyd.into_books(), bits, with.ip))
    }

    /// Takes codewords (part, codeword, dimension), as FAISS keeps them.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn from_codebooks(m: usize, bits: usize, d: usize, ip: bool, codebooks: Vec<f32>) -> Result<Pq, String> {
        let whole = (bits == 4 || bits == 8) && m > 0 && d > 0 && d.is_multiple_of(m) && m <= MAX_PARTS;
        if !whole || d.checked_mul(1 << bits) != Some(codebooks.len()) || !codebooks.iter().all(|x| x.is_finite()) {
            return Err(format!(
                "its product code ({} values) does not fit {m} parts of {bits} bits in {d} dimensions",
                codebooks.len()
            ));
        }
        Ok(Pq::new(Books::new(codebooks, m, 1 << bits), bits, ip))
    }

    fn new(books: Books, bits: usize, ip: bool) -> Pq {
        let (size, sub) = (books.k() * books.d() / books.m(), books.d() / books.m());
        let longest = |book: &[f32]| book.chunks_exact(sub).map(|w| dot_f64(w, w)).fold(0.0, f64::max);
        let reach = books.values().chunks_exact(size).map(longest).sum::<f64>().sqrt();
        Pq { books, bits, ip, reach: (reach as f32).next_up() }
    }

    /// Twice what keys of a query may differ by from those of the decoded rows: rounded tables, and sums in f32. `far` is the
    /// squared distance to the farthest centre that is visited, where it was computed in f32; else the norm of the farthest
    /// centre bounds it.
    pub(crate) fn slack(&self, asked: &Asked, q: usize, query: &[f32], far: Option<f32>, centre: impl Fn() -> f32) -> f32 {
        let Asked::Pq(tables) = asked else { return 0.0 };
        let (norm, reach) = (dot_f64(query, query).sqrt() as f32, self.reach);
        let (base, centre) = match far {
            Some(far) => (far.max(0.0), norm + far.max(0.0).sqrt()),
            None => ((norm + centre()).powi(2), centre()),
        };
        let (product, add) = (2.0 * norm * reach, reach * reach + 2.0 * centre * reach);
        // distances are sums of 64 lanes, tables chains over the dimensions of a part; the rest are a few roundings of each
        let rounded = (self.d() as f32 / 64.0 + 16.0) * base + ((self.d() / self.m()) as f32 + 2.0) * product;
        self.m() as f32 * tables[q].scale() + f32::EPSILON * (rounded + 4.0 * (base + product + add))
    }

    /// Rebuilds it from [`Pq::parts`].
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn from_parts(m: usize, bits: usize, d: usize, parts: &[f32]) -> Result<Pq, String> {
        match parts {
            &[ip, ref codebooks @ ..] if ip == 0.0 || ip == 1.0 => Pq::from_codebooks(m, bits, d, ip == 1.0, codebooks.to_vec()),
            _ => Err("its product code does not fit the index".into()),
        }
    }

    /// All that was trained: whether keys are inner products, then the codewords.
    pub(crate) fn parts(&self) -> Vec<f32> {
        std::iter::once(self.ip as u8 as f32).chain(self.codebooks().iter().copied()).collect()
    }

    /// The codewords: part, codeword, dimension.
    pub(crate) fn codebooks(&self) -> &[f32] {
        self.books.values()
    }

    pub(crate) fn d(&self) -> usize {
        self.books.d()
    }

    pub(crate) fn m(&self) -> usize {
        self.books.m()
    }

    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Bytes of the codes of a row.
    fn code_bytes(&self) -> usize {
        (self.m() * self.bits).div_ceil(8)
    }

    /// Bytes of a record.
    pub(crate) fn row_bytes(&self) -> usize {
        self.code_bytes() + 4
    }

    /// Records of n rows (not residuals: centres are subtracted here), in parallel; `lists` says whose centre.
    ///
    /// Every part takes its nearest codeword by f32 distance, the smaller on a tie; the bytes are the same on every
    /// instruction set and number of threads.
    pub(crate) fn encode(&self, rows: Vectors<'_>, lists: &[u32], centres: Option<&Matrix>, out: &mut [u8]) {
        let (d, m, bytes) = (self.d(), self.m(), self.row_bytes());
        assert!(rows.d() == d && out.len() == rows.n() * bytes, "rows of the code, a record each");
        let scratch = || (vec![0.0f32; Books::ROWS * d], vec![0u8; Books::ROWS * m], vec![0.0f32; d]);
        out.par_chunks_mut(Books::ROWS * bytes).enumerate().for_each_init(scratch, |(residuals, codes, back), (b, out)| {
            let first = b * Books::ROWS;
            let n = out.len() / bytes;
            let centre = |i: usize| centres.map(|c| c.row(lists[first + i] as usize));
            let block = &mut residuals[..n * d];
            block.copy_from_slice(rows.rows(first..first + n).data());
            for (i, r) in block.chunks_exact_mut(d).enumerate() {
                centre(i).iter().for_each(|c| r.iter_mut().zip(*c).for_each(|(r, c)| *r -= c));
            }
            self.books.nearest(block, &mut codes[..n * m]);
            for (i, (record, codes)) in out.chunks_exact_mut(bytes).zip(codes.chunks_exact(m)).enumerate() {
                self.write_codes(codes, record);
                self.decode(record, back);
                let add = self.add(back, centre(i));
                record[bytes - 4..].copy_from_slice(&add.to_le_bytes());
            }
        });
    }

    /// |r̂|² + 2<c, r̂>; nothing for inner products.
    fn add(&self, residual: &[f32], centre: Option<&[f32]>) -> f32 {
        if self.ip {
            return 0.0;
        }
        (dot_f64(residual, residual) + 2.0 * centre.map_or(0.0, |c| dot_f64(c, residual))) as f32
    }

    /// Adds to a record that has its codes what it keeps beside them.
    pub(crate) fn complete(&self, record: &mut [u8], centre: Option<&[f32]>) {
        let mut row = vec![0.0; self.d()];
        self.decode(record, &mut row);
        let at = record.len() - 4;
        record[at..].copy_from_slice(&self.add(&row, centre).to_le_bytes());
    }

    fn write_codes(&self, codes: &[u8], record: &mut [u8]) {
        if self.bits == 8 {
            record[..codes.len()].copy_from_slice(codes);
        } else {
            for (byte, pair) in record.iter_mut().zip(codes.chunks(2)) {
                *byte = pair[0] | pair.get(1).map_or(0, |c| c << 4);
            }
        }
    }

    /// Code of part `p`.
    fn code(&self, record: &[u8], p: usize) -> u8 {
        if self.bits == 8 { record[p] } else { (record[p / 2] >> (4 * (p % 2))) & 15 }
    }

    /// The residual that a record stands for.
    pub(crate) fn decode(&self, record: &[u8], out: &mut [f32]) {
        let (k, sub) = (self.books.k(), self.d() / self.m());
        for (p, to) in out.chunks_exact_mut(sub).enumerate() {
            let word = p * k + self.code(record, p) as usize;
            to.copy_from_slice(&self.codebooks()[word * sub..(word + 1) * sub]);
        }
    }

    /// What a query's product with each codeword counts.
    fn factor(&self) -> f32 {
        if self.ip { -1.0 } else { -2.0 }
    }

    /// The tables of a query, into buffers that are reused. Cost: d · 2^bits.
    pub(crate) fn tables_into(&self, q: &[f32], values: &mut Vec<f32>, tables: &mut Tables) {
        values.resize(self.m() * self.books.k(), 0.0);
        self.books.products(q, self.factor(), values);
        self.round(values, tables);
    }

    /// The tables of a query.
    pub(crate) fn tables(&self, q: &[f32]) -> Tables {
        let mut tables = Tables::default();
        self.tables_into(q, &mut Vec::new(), &mut tables);
        tables
    }

    /// The tables of several queries, in parallel, codewords read once for some; the bits are those of [`Pq::tables`].
    pub(crate) fn tables_many(&self, queries: Vectors<'_>) -> Vec<Tables> {
        let size = self.m() * self.books.k();
        let mut all = vec![Tables::default(); queries.n()];
        let some = Books::TOGETHER;
        all.par_chunks_mut(some).zip(queries.data().par_chunks(some * self.d())).for_each_init(Vec::new, |values, (some, q)| {
            values.resize(some.len() * size, 0.0);
            self.books.products(q, self.factor(), values);
            some.iter_mut().zip(values.chunks_exact(size)).for_each(|(t, v)| self.round(v, t));
        });
        all
    }

    fn round(&self, values: &[f32], tables: &mut Tables) {
        if self.bits == 8 { tables.fill8(values) } else { tables.fill4(values) }
    }

    /// Keys of the n rows of a run; `base` is |q − c|², or −<q, c> for inner products. Smaller is nearer.
    pub(crate) fn estimates(&self, tables: &Tables, run: &[u8], n: usize, base: f32, out: &mut [f32]) {
        self.estimates_many(&[tables], run, n, &[base], out);
    }

    /// Keys of the n rows of a run for several queries, query i's at `out[i * n..]`, bit for bit those of one alone. The codes are
    /// read once.
    pub(crate) fn estimates_many(&self, tables: &[&Tables], run: &[u8], n: usize, base: &[f32], out: &mut [f32]) {
        if self.bits == 8 { pq8_keys(run, n, tables, base, out) } else { pq4_keys(run, n, tables, base, out) }
    }

    /// Rows whose key is at most `limit`, appended in ascending order of rows; `keys` is room that is reused.
    pub(crate) fn scan(&self, tables: &Tables, run: Run<'_>, base: f32, limit: f32, keys: &mut Vec<f32>, hits: &mut Hits) {
        keys.resize(keys.len().max(run.n), 0.0);
        let keys = &mut keys[..run.n];
        self.estimates(tables, run.bytes, run.n, base, keys);
        below(keys, keys, 0.0, limit, hits);
    }

    /// As [`Pq::scan`] for several queries with their bases; `take` gets the place of a query and its rows. `limit` is asked
    /// just before a query's rows are chosen.
    pub(crate) fn scan_many(
        &self,
        queries: &[(&Tables, f32)],
        run: Run<'_>,
        keys: &mut Vec<f32>,
        limit: impl Fn(usize) -> f32,
        mut take: impl FnMut(usize, &mut Hits),
    ) {
        let mut hits = Hits::new();
        for (g, group) in queries.chunks(TOGETHER).enumerate() {
            let (tables, base): (Vec<&Tables>, Vec<f32>) = group.iter().copied().unzip();
            keys.resize(keys.len().max(group.len() * run.n), 0.0);
            let keys = &mut keys[..group.len() * run.n];
            self.estimates_many(&tables, run.bytes, run.n, &base, keys);
            for (i, keys) in keys.chunks_exact(run.n.max(1)).enumerate() {
                hits.clear();
                below(keys, keys, 0.0, limit(g * TOGETHER + i), &mut hits);
                take(g * TOGETHER + i, &mut hits);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
