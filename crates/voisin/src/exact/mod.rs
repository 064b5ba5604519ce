//! Exact neighbours by blocked products, with near-ties settled in f64.

mod block;
mod checkpoint;
mod codes;
mod expand;
mod memory;
pub(crate) mod pass;
mod passes;
mod prepare;
mod prepared;

use crate::{Error, Matrix, Metric, Neighbors, OnBad, Result, Source, TopK, Vectors, Watch, screen};
use block::Task;
use codes::CodesFile;
pub use codes::{CodesInfo, codes_info};
pub use expand::{check as check_expand, exact_expanded, expand};
use pass::Queries;
use passes::Passes;
pub use prepare::{PrepareParams, Prepared8, prepare};
pub use prepared::Prepared;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// What to search for and within which limits.
#[derive(Clone, Debug)]
pub struct ExactParams {
    /// Neighbours a query.
    pub k: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// What to do with rows that cannot be ranked.
    pub on_bad: OnBad,
    /// Leave out the base row with the same number as the query (searching a set in itself).
    pub exclude_self: bool,
    /// Bound on the memory of the whole process in bytes; blocks of base and queries shrink to fit.
    pub memory_limit: Option<u64>,
    /// Where to keep what is finished, so that a killed run resumes; the caller removes it once the
    /// result is safe.
    pub checkpoint: Option<PathBuf>,
    /// Codes of the base that [`prepare`] wrote: the first pass reads them in place of the base. The result is the same.
    pub codes: Option<PathBuf>,
}

impl Default for ExactParams {
    fn default() -> Self {
        ExactParams {
            k: 10,
            metric: Metric::L2,
            on_bad: OnBad::Error,
            exclude_self: false,
            memory_limit: None,
            checkpoint: None,
            codes: None,
        }
    }
}

/// Neighbours and what finding them took.
#[derive(Clone, Debug, Default)]
pub struct ExactResult {
    /// One row a query; ids are row numbers of the base.
    pub neighbors: Neighbors,
    /// Seconds spent waiting for input.
    pub read_seconds: f64,
    /// Seconds of searching without waiting for input.
    pub search_seconds: f64,
    /// Base rows left out under [`OnBad::Skip`].
    pub skipped_base: u64,
    /// Query rows left out under [`OnBad::Skip`]; their result rows are empty.
    pub skipped_queries: u64,
    /// Whether an earlier run was resumed, and at which base row of the pass under way.
    pub resumed_at: Option<u64>,
    /// Queries whose neighbours an earlier run had found.
    pub resumed_queries: u64,
}

/// The exact neighbours of every query; base and queries may be larger than memory.
///
/// Distances are those of a plain f64 computation, rounded to f32 at the end; ids too, and equal distances go to the
/// smaller id. The base is streamed once, or, where the queries do not fit the memory limit (1 GiB without one), once for each
/// block of them; of all queries only the results are held, 8 + 12 k bytes each. A first pass (8-bit codes with a certified error where the processor has the
/// instructions, f32 products elsewhere) leaves few candidates, which are compared in f64. The result is the same for any
/// block size, thread count and instruction set. Cost: n·nq·d multiply-adds of the first pass.
///
/// # Errors
/// k of 0 or above n, dimensions that differ, rows that cannot be ranked, a memory limit too small for one block, what
/// reading gives, [`Error::Stopped`].
///
/// # Example
/// ```
/// use voisin::{exact::{ExactParams, exact}, MemSource, Matrix, Quiet};
/// let base = MemSource::new("base", Matrix::new(vec![0.0, 0.0, 3.0, 4.0, 6.0, 8.0], 2));
/// let query = MemSource::new("query", Matrix::new(vec![0.0, 1.0], 2));
/// let found = exact(&base, &query, &ExactParams { k: 2, ..Default::default() }, &Quiet)?.neighbors;
/// assert_eq!(found.ids(0), [0, 1]);
/// assert_eq!(found.distances(0)[0], 1.0);
/// # Ok::<(), voisin::Error>(())
/// ```
pub fn exact(base: &dyn Source, queries: &dyn Source, params: &ExactParams, watch: &dyn Watch) -> Result<ExactResult> {
    check(base, queries, params)?;
    let plan = memory::Plan::new(base, queries, params);
    Passes { base, queries, params, plan, watch }.run()
}

/// Opens the codes of `base`, and refuses rows that were left out of them unless they are to be skipped.
fn open_codes(path: &Path, base: &dyn Source, nq: usize, params: &ExactParams) -> Result<CodesFile> {
    let file = CodesFile::open(path, memory::mappable(base, nq, params)?)?;
    file.belongs(base, params.metric)?;
    if file.header.bad > 0 && params.on_bad == OnBad::Error {
        let first = file.header.first_bad.min(base.len() - 1);
        let mut row = Matrix::zeros(1, base.dim());
        base.read(first, row.data_mut())?;
        let what = screen(row.view(), params.metric).first().map_or(crate::BadRow::NaN, |b| b.1);
        let (name, row) = base.locate(first);
        return Err(Error::BadRow { name, row, what });
    }
    Ok(file)
}

/// The exact neighbours of queries in memory, as [`exact`] finds them; for ground truth and small sets.
///
/// # Errors
/// As [`exact`].
pub fn exact_in_memory(base: Vectors<'_>, queries: Vectors<'_>, k: usize, metric: Metric) -> Result<Neighbors> {
    let params = ExactParams { k, metric, ..Default::default() };
    check(&Named("base", base), &Named("queries", queries), &params)?;
    for (name, rows) in [("base", base), ("queries", queries)] {
        if let Some(&(row, what)) = screen(rows, metric).first() {
            return Err(Error::BadRow { name: name.into(), row: row as u64, what });
        }
    }
    let prepared = Queries::new(queries, metric);
    let mut results = vec![TopK::new(k); queries.n()];
    let bad_queries = vec![false; queries.n()];
    let step = memory::DEFAULT_BLOCK / (4 * base.d()).max(1);
    for from in (0..base.n()).step_by(step.max(1)) {
        let block = base.rows(from..(from + step).min(base.n()));
        let task = Task { queries: &prepared, bad_queries: &bad_queries, block, bad_rows: &[], start: from as u64, own: None };
        task.search(&mut results);
    }
    let mut found = Neighbors::new(k);
    report(results, &params, &mut found);
    Ok(found)
}

/// Vectors in memory under a name, for the checks.
pub(crate) struct Named<'a>(pub(crate) &'a str, pub(crate) Vectors<'a>);

impl Source for Named<'_> {
    fn len(&self) -> u64 {
        self.1.n() as u64
    }
    fn dim(&self) -> usize {
        self.1.d()
    }
    fn name(&self) -> String {
        self.0.into()
    }
    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let at = start as usize * self.1.d();
        out.copy_from_slice(&self.1.data()[at..at + out.len()]);
        Ok(())
    }
}

fn check(base: &dyn Source, queries: &dyn Source, params: &ExactParams) -> Result<()> {
    for source in [base, queries] {
        if source.is_empty() {
            return Err(Error::Empty { name: source.name() });
        }
    }
    if base.dim() != queries.dim() {
        let context = format!("{} has {}", base.name(), base.dim());
        return Err(Error::Dimension { name: queries.name(), expected: base.dim(), got: queries.dim(), context });
    }
    if params.k == 0 {
        return Err(Error::param("k", 0, "at least 1"));
    }
    if params.k as u64 > base.len() {
        return Err(Error::param("k", params.k, format!("at most the {} vectors of {}", base.len(), base.name())));
    }
    Ok(())
}

/// Identifies the work a checkpoint belongs to: inputs and everything that changes the outcome.
fn work_key(base: &dyn Source, queries: &dyn Source, params: &ExactParams) -> u64 {
    let of = |s: &dyn Source| format!("{} {} {} {:x}", s.name(), s.len(), s.dim(), s.fingerprint());
    let ExactParams { k, metric, on_bad, exclude_self, .. } = params;
    xxh3_64(format!("{} | {} | {k} {metric} {on_bad:?} {exclude_self}", of(base), of(queries)).as_bytes())
}

/// Appends what was found.
fn report(results: Vec<TopK<f64>>, params: &ExactParams, table: &mut Neighbors) {
    for top in results {
        table.push_row(top.into_sorted().into_iter().map(|(key, id)| {
            let reported = params.metric.report(key);
            (if params.metric == Metric::Cosine { reported.max(0.0) } else { reported } as f32, id)
        }));
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod prepared_tests;
