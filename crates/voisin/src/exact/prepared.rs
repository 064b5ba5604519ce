//! Searching by a file of codes: the first pass reads the codes alone, and only rows that could be among the k are fetched.

use super::block::{limit_of, offset};
use super::codes::CodesFile;
use super::pass::{Pass, Queries, Scratch};
use crate::{BadRow, Error, Metric, Neighbors, Result, Source, TopK, Vectors, Watch, screen};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Queries a unit of work.
const GROUP: usize = 96;
/// Columns compared before limits are looked at again, and at first, while there is no limit.
const TILE: usize = 1024;
const FIRST: usize = 256;
/// Bytes of codes that all queries meet before the next are read: they stay in the last cache.
const WINDOW: usize = 16 << 20;
/// Multiply-adds below which sharing work among threads costs more than it gains.
const SMALL: u64 = 1 << 21;
/// Bytes between two rows that are read in one go rather than one by one, and the most bytes of one go.
const GAP: usize = 4 << 10;
const READ: usize = 1 << 20;
/// Pairs of query and row that a thread compares at a time.
const PIECE: usize = 256;

/// A base with its file of codes, open for many searches.
///
/// Codes are mapped (about n·(d + 12) bytes of the page cache); of the base, only rows that could be among the k are read. A
/// search gives what [`super::exact`] gives, bit for bit, on any number of threads and in any batch; a single query costs one
/// pass over the codes.
pub struct Prepared {
    base: Arc<dyn Source>,
    file: CodesFile,
}

impl Prepared {
    /// Opens the codes that [`super::prepare`] wrote of this base for this metric.
    ///
    /// # Errors
    /// A file that is missing, damaged, no file of codes; stale codes, of another base or for another metric.
    ///
    /// # Example
    /// ```
    /// use std::sync::Arc;
    /// use voisin::{Matrix, MemSource, Metric, Quiet, exact::{PrepareParams, Prepared, prepare}};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("base.codes8");
    /// let base = Arc::new(MemSource::new("base", Matrix::new(vec![0.0, 0.0, 3.0, 4.0, 6.0, 8.0], 2)));
    /// prepare(&*base, &path, &PrepareParams::default(), &Quiet)?;
    /// let prepared = Prepared::open(base, &path, Metric::L2)?;
    /// let query = Matrix::new(vec![0.0, 1.0], 2);
    /// let found = prepared.search(query.view(), 2)?;
    /// assert_eq!((found.ids(0), found.distances(0)[0]), (&[0, 1][..], 1.0));
    /// # Ok::<(), voisin::Error>(())
    /// ```
    pub fn open(base: Arc<dyn Source>, codes: &Path, metric: Metric) -> Result<Prepared> {
        let file = CodesFile::open(codes, u64::MAX)?;
        file.belongs(&*base, metric)?;
        Ok(Prepared { base, file })
    }

    /// The k nearest rows of every query, best first. Rows left out when the codes were made are never found.
    ///
    /// # Errors
    /// k of 0 or above n, another dimension, a query that cannot be ranked, damaged codes, what reading the base gives.
    pub fn search(&self, queries: Vectors<'_>, k: usize) -> Result<Neighbors> {
        let (metric, base) = (self.file.header.metric, &*self.base);
        let params = super::ExactParams { k, metric, ..Default::default() };
        super::check(base, &super::Named("queries", queries), &params)?;
        if let Some(&(row, what)) = screen(queries, metric).first() {
            return Err(Error::BadRow { name: "queries".into(), row: row as u64, what });
        }
        let prepared = Queries::new(queries, metric);
        let bad_queries = vec![false; queries.n()];
        let job = Job { file: &self.file, base, queries: &prepared, bad_queries: &bad_queries, k, own: None };
        let mut found = Neighbors::new(k);
        super::report(job.search(&crate::Quiet)?, &params, &mut found);
        Ok(found)
    }

    /// The base.
    pub fn base(&self) -> &Arc<dyn Source> {
        &self.base
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({}, {})", self.base.name(), self.file.path().display())
    }
}

/// One search.
pub(super) struct Job<'a> {
    pub(super) file: &'a CodesFile,
    pub(super) base: &'a dyn Source,
    pub(super) queries: &'a Queries<'a>,
    pub(super) bad_queries: &'a [bool],
    pub(super) k: usize,
    /// The number of the first query where each leaves out the row with its own number.
    pub(super) own: Option<u64>,
}

/// A row that may be among the k, with the bounds of its key.
#[derive(Clone, Copy)]
struct Hit {
    row: u64,
    lower: f32,
    upper: f32,
}

/// What a query has found so far.
struct Found {
    hits: Vec<Hit>,
    /// How many hits are looked through next.
    next: usize,
    limit: f32,
    /// Rows whose exact keys are known already.
    best: TopK<f64>,
}

/// The search while it runs: limits are read without locks.
struct State {
    found: Vec<Mutex<Found>>,
    limits: Vec<AtomicU32>,
}

impl State {
    fn limit(&self, q: usize) -> f32 {
        f32::from_bits(self.limits[q].load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Buffers {
    pass: Scratch,
    chunk: Vec<u8>,
    limits: Vec<f32>,
}

impl Job<'_> {
    /// The neighbours of every query. They do not depend on chunks or threads: whatever could be among the k is compared by
    /// its f64 key and its id.
    pub(super) fn search(&self, watch: &dyn Watch) -> Result<Vec<TopK<f64>>> {
        let nq = self.queries.rows.n();
        let new = || Found { hits: Vec::new(), next: 2 * self.k + 64, limit: f32::INFINITY, best: TopK::new(self.k) };
        let limit = |&bad: &bool| AtomicU32::new(if bad { f32::NEG_INFINITY } else { f32::INFINITY }.to_bits());
        let state =
            State { found: (0..nq).map(|_| Mutex::new(new())).collect(), limits: self.bad_queries.iter().map(limit).collect() };
        let h = &self.file.header;
        let window = if nq > GROUP { (WINDOW / h.chunk_bytes(h.chunk)).max(1) as u64 } else { u64::MAX };
        let mut from = 0;
        while from < h.chunks() {
            watch.check()?;
            let to = from.saturating_add(window).min(h.chunks());
            self.window(from..to, &state)?;
            watch.advance((to * h.chunk as u64).min(h.n) - from * h.chunk as u64);
            from = to;
        }
        let found = state.found.into_iter().map(|f| f.into_inner().unwrap_or_else(|e| e.into_inner())).collect();
        self.settle(found)
    }

    fn window(&self, chunks: Range<u64>, state: &State) -> Result<()> {
        let nq = self.queries.rows.n();
        let (groups, threads) = (nq.div_ceil(GROUP), rayon::current_num_threads());
        let count = chunks.end - chunks.start;
        let work = (count * self.file.header.chunk as u64).saturating_mul((self.file.header.d * nq) as u64);
        if threads == 1 || work < SMALL {
            let mut buffers = Buffers::default();
            return (0..groups).try_for_each(|g| self.unit(group(g, nq), chunks.clone(), state, &mut buffers));
        }
        let parts = (4 * threads).div_ceil(groups) as u64;
        let step = count.div_ceil(parts.min(count));
        let units: Vec<(usize, u64)> =
            chunks.clone().step_by(step as usize).flat_map(|c| (0..groups).map(move |g| (g, c))).collect();
        units.par_iter().with_max_len(1).try_for_each_init(Buffers::default, |buffers, &(g, c)| {
            self.unit(group(g, nq), c..(c + step).min(chunks.end), state, buffers)
        })
    }

    /// The queries `rows` with some chunks.
    fn unit(&self, rows: Range<usize>, chunks: Range<u64>, state: &State, b: &mut Buffers) -> Result<()> {
        for i in chunks {
            let start = i * self.file.header.chunk as u64;
            let codes = self.file.chunk(i, &mut b.chunk)?;
            if self.file.extreme(i) {
                let all = |row| Hit { row, lower: f32::NEG_INFINITY, upper: f32::INFINITY };
                for q in rows.clone().filter(|q| !self.bad_queries[*q]) {
                    (start..start + codes.n() as u64).try_for_each(|row| self.take(state, q, [all(row)].into_iter()))?;
                }
                continue;
            }
            let pass = Pass::lent(codes);
            let mut from = 0;
            while from < pass.n() {
                b.limits.clear();
                b.limits.extend(rows.clone().map(|q| state.limit(q)));
                let open = b.limits.contains(&f32::INFINITY);
                let to = (from + if open { FIRST } else { TILE }).min(pass.n());
                let mut done = Ok(());
                pass.near(self.queries, rows.clone(), &b.limits, from..to, &mut b.pass, |q, hits| {
                    let hit = |&(column, lower): &(u32, f32)| {
                        let column = column as usize + from;
                        Hit { row: start + column as u64, lower, upper: lower + pass.width(self.queries, q, column) }
                    };
                    if let Err(e) = self.take(state, q, hits.iter().map(hit)) {
                        done = Err(e);
                    }
                });
                done?;
                from = to;
            }
        }
        Ok(())
    }

    fn take(&self, state: &State, q: usize, hits: impl Iterator<Item = Hit>) -> Result<()> {
        let mut found = state.found[q].lock().unwrap_or_else(|e| e.into_inner());
        for hit in hits {
            if hit.lower > found.limit || self.own.is_some_and(|first| hit.row == first + q as u64) {
                continue;
            }
            found.hits.push(hit);
            if found.hits.len() >= found.next {
                self.shrink(q, &mut found)?;
            }
        }
        // a first limit as soon as there is one
        if found.limit == f32::INFINITY && found.hits.len() >= self.k {
            self.shrink(q, &mut found)?;
        }
        state.limits[q].store(found.limit.to_bits(), Ordering::Relaxed);
        Ok(())
    }

    /// Lowers the limit and drops what is above it; where very many are left, compares them.
    fn shrink(&self, q: usize, found: &mut Found) -> Result<()> {
        if found.hits.len() >= self.k {
            let (_, kth, _) = found.hits.select_nth_unstable_by(self.k - 1, |a, b| a.upper.total_cmp(&b.upper));
            found.limit = found.limit.min(kth.upper);
        }
        let limit = found.limit;
        found.hits.retain(|h| h.lower <= limit);
        if found.hits.len() >= most(self.k) {
            let pairs = found.hits.drain(..).map(|h| (h.row, q as u32)).collect();
            self.keys(pairs, |_, key, row| found.best.push(key, row))?;
            found.limit = found.limit.min(self.limit_after(q, &found.best));
        }
        found.next = (2 * self.k + 64).max(2 * found.hits.len());
        Ok(())
    }

    fn limit_after(&self, q: usize, best: &TopK<f64>) -> f32 {
        best.worst().map_or(f32::INFINITY, |w| limit_of(w, offset(self.queries, q)))
    }

    /// Ranks what was found by the f64 keys: first the k with the smallest upper bounds, then what these leave possible.
    fn settle(&self, mut found: Vec<Found>) -> Result<Vec<TopK<f64>>> {
        let mut pairs = Vec::new();
        for (q, f) in found.iter_mut().enumerate() {
            let limit = f.limit;
            f.hits.retain(|h| h.lower <= limit);
            if f.hits.len() > self.k {
                f.hits.select_nth_unstable_by(self.k - 1, |a, b| a.upper.total_cmp(&b.upper));
            }
            let first = f.hits.len().min(self.k);
            pairs.extend(f.hits.drain(..first).map(|h| (h.row, q as u32)));
        }
        self.keys(pairs, |q, key, row| found[q].best.push(key, row))?;
        let mut pairs = Vec::new();
        for (q, f) in found.iter_mut().enumerate() {
            let limit = f.limit.min(self.limit_after(q, &f.best));
            pairs.extend(f.hits.drain(..).filter(|h| h.lower <= limit).map(|h| (h.row, q as u32)));
        }
        self.keys(pairs, |q, key, row| found[q].best.push(key, row))?;
        Ok(found.into_iter().map(|f| f.best).collect())
    }

    /// Hands the f64 key of every pair of row and query to `put`. Rows are read in their order, near ones together.
    fn keys(&self, mut pairs: Vec<(u64, u32)>, mut put: impl FnMut(usize, f64, u64)) -> Result<()> {
        if pairs.len() <= PIECE {
            pairs.sort_unstable();
            return self.piece(&pairs)?.into_iter().try_for_each(|(q, key, row)| {
                put(q as usize, key, row);
                Ok(())
            });
        }
        pairs.par_sort_unstable();
        let found: Vec<Vec<(u32, f64, u64)>> = pairs.par_chunks(PIECE).map(|p| self.piece(p)).collect::<Result<_>>()?;
        found.into_iter().flatten().for_each(|(q, key, row)| put(q as usize, key, row));
        Ok(())
    }

    fn piece(&self, pairs: &[(u64, u32)]) -> Result<Vec<(u32, f64, u64)>> {
        let (d, metric) = (self.base.dim(), self.queries.metric);
        let (gap, most) = ((GAP / (4 * d)).max(1) as u64, (READ / (4 * d)).max(1) as u64);
        let mut out = Vec::with_capacity(pairs.len());
        let mut rows = Vec::new();
        let mut rest = pairs;
        while let Some(&(first, _)) = rest.first() {
            let near = |w: &[(u64, u32)]| w[1].0 - w[0].0 <= gap && w[1].0 - first < most;
            let count = 1 + rest.windows(2).take_while(|w| near(w)).count();
            let (together, others) = rest.split_at(count);
            rows.resize(((together[count - 1].0 - first) as usize + 1) * d, 0.0);
            self.base.read(first, &mut rows)?;
            for &(row, q) in together {
                let x = &rows[(row - first) as usize * d..][..d];
                if rankable(x, metric) {
                    out.push((q, metric.exact_key(self.queries.rows.row(q as usize), x), row));
                }
            }
            rest = others;
        }
        Ok(out)
    }
}

/// Bytes that a query usually holds while it is searched for.
pub(super) fn bytes_a_query(k: usize) -> u64 {
    16 * (4 * k as u64 + 512) + 32 * k as u64 + 256
}

/// Hits of a query that are kept without being compared.
fn most(k: usize) -> usize {
    4 * k + 2048
}

fn group(g: usize, nq: usize) -> Range<usize> {
    g * GROUP..((g + 1) * GROUP).min(nq)
}

/// False for rows that were left out where all rows of a chunk are compared.
fn rankable(x: &[f32], metric: Metric) -> bool {
    !screen(Vectors::new(x, x.len()), metric)
        .iter()
        .any(|(_, what)| matches!(what, BadRow::NaN | BadRow::Infinite | BadRow::Zero))
}
