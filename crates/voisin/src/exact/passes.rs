//! The passes of an exact search: queries in blocks as large as memory allows, the base streamed once for each.

use super::block::Task;
use super::codes::CodesFile;
use super::pass::Queries;
use super::{ExactParams, ExactResult, checkpoint, memory, open_codes, prepared, report, work_key};
use crate::{Error, Matrix, OnBad, Result, Source, TopK, Watch, for_each_block, screen};
use std::path::Path;
use std::time::{Duration, Instant};

/// A search under way.
pub(super) struct Passes<'a> {
    pub(super) base: &'a dyn Source,
    pub(super) queries: &'a dyn Source,
    pub(super) params: &'a ExactParams,
    pub(super) plan: memory::Plan,
    pub(super) watch: &'a dyn Watch,
}

/// Where a search is between two blocks of the base.
pub(super) struct At<'a> {
    pub(super) out: &'a ExactResult,
    /// Next row of the base, and what the queries of this pass have found before it.
    pub(super) next: u64,
    pub(super) current: &'a [TopK<f64>],
}

/// Queries in memory.
struct Block {
    rows: Matrix,
    bad: Vec<bool>,
}

impl Passes<'_> {
    pub(super) fn run(&self) -> Result<ExactResult> {
        let clock = Instant::now();
        let (nq, params, step) = (self.queries.len(), self.params, self.plan.queries);
        let passes = nq.div_ceil(step as u64);
        let codes = match &params.codes {
            Some(path) => Some(open_codes(path, self.base, step, params)?),
            None => None,
        };
        let mut saver = Saver::new(params, work_key(self.base, self.queries, params));
        let saved = params.checkpoint.as_deref().and_then(|p| checkpoint::load(p, saver.work, nq, params.k));
        let (mut out, mut begun) = match saved {
            Some(saved) => {
                // the pass under way keeps its queries, unless the limit is another now; what is finished counts in any case
                let fits = saved.current.len() <= step + step / 8;
                let begun = Some((saved.next, saved.current)).filter(|b| fits && b.0 > 0);
                let mut out = saved.out;
                out.resumed_at = begun.as_ref().map(|b| b.0).or((!out.neighbors.is_empty()).then_some(0));
                out.resumed_queries = out.neighbors.len() as u64;
                (out, begun)
            }
            None => (ExactResult { neighbors: crate::Neighbors::new(params.k), ..Default::default() }, None),
        };
        if passes > 1 && out.neighbors.is_empty() && begun.is_none() && params.on_bad == OnBad::Error {
            self.check_queries()?;
        }
        out.neighbors.reserve(nq as usize - out.neighbors.len());
        let mut busy = 0.0;
        self.watch.begin("exact", self.base.len().saturating_mul(passes), "vectors");
        self.watch.advance(out.neighbors.len() as u64 / step as u64 * self.base.len());
        while (out.neighbors.len() as u64) < nq {
            self.watch.check()?;
            let first = out.neighbors.len() as u64;
            let begun = begun.take();
            let block = self.load(first, begun.as_ref().map_or(step, |b| b.1.len()))?;
            let prepared = Queries::new(block.rows.view(), params.metric);
            let results = match codes.as_ref().filter(|_| worth_codes(&prepared)) {
                Some(file) => {
                    let start = Instant::now();
                    out.skipped_base = file.header.bad;
                    let found = self.by_codes(file, &prepared, &block.bad, first)?;
                    busy += start.elapsed().as_secs_f64();
                    found
                }
                None => self.stream(&prepared, &block.bad, begun, &mut out, &mut saver, &mut busy)?,
            };
            let start = Instant::now();
            report(results, params, &mut out.neighbors);
            out.skipped_queries += block.bad.iter().filter(|b| **b).count() as u64;
            busy += start.elapsed().as_secs_f64();
            if (out.neighbors.len() as u64) < nq {
                saver.offer(&At { out: &out, next: 0, current: &[] })?;
            }
        }
        self.watch.end();
        out.search_seconds = busy;
        out.read_seconds = clock.elapsed().as_secs_f64() - busy;
        Ok(out)
    }

    /// Refuses bad rows before hours are spent on those before them.
    fn check_queries(&self) -> Result<()> {
        let rows = (memory::CHECKED / self.queries.dim()).clamp(1, self.plan.queries);
        self.watch.begin("check queries", self.queries.len(), "vectors");
        for_each_block(self.queries, 0..self.queries.len(), rows, self.params.metric, OnBad::Error, self.watch, |block| {
            self.watch.advance(block.rows.n() as u64);
            Ok(())
        })?;
        self.watch.end();
        Ok(())
    }

    /// The queries of a pass; bad ones are set to zero.
    fn load(&self, first: u64, most: usize) -> Result<Block> {
        let n = (self.queries.len() - first).min(most as u64) as usize;
        let mut rows = Matrix::zeros(n, self.queries.dim());
        self.queries.read(first, rows.data_mut())?;
        let mut bad = vec![false; n];
        for (i, what) in screen(rows.view(), self.params.metric) {
            if self.params.on_bad == OnBad::Error {
                let (name, row) = self.queries.locate(first + i as u64);
                return Err(Error::BadRow { name, row, what });
            }
            bad[i] = true;
            rows.row_mut(i).fill(0.0);
        }
        Ok(Block { rows, bad })
    }

    fn own(&self, first: u64) -> Option<u64> {
        self.params.exclude_self.then_some(first)
    }

    fn by_codes(&self, file: &CodesFile, queries: &Queries<'_>, bad: &[bool], first: u64) -> Result<Vec<TopK<f64>>> {
        let own = self.own(first);
        prepared::Job { file, base: self.base, queries, bad_queries: bad, k: self.params.k, own }.search(self.watch)
    }

    /// One pass over the base.
    fn stream(
        &self,
        queries: &Queries<'_>,
        bad: &[bool],
        begun: Option<(u64, Vec<TopK<f64>>)>,
        out: &mut ExactResult,
        saver: &mut Saver<'_>,
        busy: &mut f64,
    ) -> Result<Vec<TopK<f64>>> {
        let (params, n, nq) = (self.params, self.base.len(), queries.rows.n());
        let first = out.neighbors.len() as u64;
        let block_rows = self.plan.block_rows(self.base, params)?;
        let (next, mut results) = begun.unwrap_or_else(|| (0, vec![TopK::new(params.k); nq]));
        self.watch.advance(next);
        for_each_block(self.base, next..n, block_rows, params.metric, params.on_bad, self.watch, |block| {
            let start = Instant::now();
            let task = Task {
                queries,
                bad_queries: bad,
                block: block.rows.view(),
                bad_rows: &block.bad,
                start: block.start,
                own: self.own(first),
            };
            task.search(&mut results);
            if first == 0 {
                out.skipped_base += block.bad.len() as u64; // the same ones in every pass
            }
            *busy += start.elapsed().as_secs_f64();
            self.watch.advance(block.rows.n() as u64);
            saver.offer(&At { out, next: block.start + block.rows.n() as u64, current: &results })
        })?;
        Ok(results)
    }
}

/// Plain code multiplies f32 faster than bytes, so that a batch gains nothing; very large values have no bounds.
fn worth_codes(queries: &Queries<'_>) -> bool {
    let faster = voisin_kernels::isa() != voisin_kernels::Isa::Portable || queries.rows.n() <= voisin_kernels::FEW8;
    faster && !queries.large
}

/// Saves what is finished, but never spends more than a twentieth of the time on it.
struct Saver<'a> {
    path: Option<&'a Path>,
    work: u64,
    pause: Duration,
    last: Instant,
}

impl<'a> Saver<'a> {
    fn new(params: &'a ExactParams, work: u64) -> Self {
        Saver { path: params.checkpoint.as_deref(), work, pause: Duration::from_millis(500), last: Instant::now() }
    }

    fn offer(&mut self, at: &At<'_>) -> Result<()> {
        let Some(path) = self.path.filter(|_| self.last.elapsed() >= self.pause) else {
            return Ok(());
        };
        let start = Instant::now();
        checkpoint::save(path, self.work, at)?;
        self.pause = (start.elapsed() * 20).max(Duration::from_millis(500));
        self.last = Instant::now();
        Ok(())
    }
}
