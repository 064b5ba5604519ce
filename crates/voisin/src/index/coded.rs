//! Comparing queries with codes by estimates, and ranking the best of them again.
//!
//! What a query finds is the best `keep` rows of its lists by (rank, id), and a rank is a function of query and row: it does not
//! matter in which order lists are visited, whether a query is alone or in a batch, or how many threads there are.

use super::filter::Filter;
use super::opened::Opened;
use super::scan::Queries;
use crate::encode::estimate::{Asked, Estimator, Hits, Run, Scratch, Shared};
use crate::partition::Routes;
use crate::{Error, Metric, Result, TopK};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard};
use voisin_kernels::prefetch;

/// Rows times dimensions from which one query alone is shared among threads.
const LARGE: u64 = 1 << 25;
/// Larger queries overflow the estimates.
const LARGEST: f32 = 1e15;

/// The search of a batch among codes that are estimated.
pub(super) struct Coded<'a> {
    index: &'a Opened,
    queries: &'a Queries<'a>,
    code: Estimator<'a>,
    filter: Option<&'a Filter>,
    asked: Vec<Asked>,
    found: Vec<Mutex<Found>>,
}

/// A run of one list.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    run: usize,
    list: usize,
}

impl<'a> Coded<'a> {
    /// `keep` candidates a query go on from the codes.
    pub(super) fn new(
        index: &'a Opened,
        queries: &'a Queries<'a>,
        code: Estimator<'a>,
        filter: Option<&'a Filter>,
        keep: usize,
    ) -> Result<Self> {
        let large = |q: &[f32]| q.iter().any(|v| v.abs() > LARGEST);
        if let Some(row) = queries.prepared.iter().position(large) {
            return Err(Error::param("queries", format!("row {row}"), "values below 1e15, which codes can be compared with"));
        }
        let ask = |q| code.ask(queries.prepared.row(q));
        let n = queries.prepared.n();
        let asked = if n < 8 { (0..n).map(ask).collect() } else { (0..n).into_par_iter().map(ask).collect() };
        let found = (0..n).map(|_| Mutex::new(Found::new(keep))).collect();
        Ok(Coded { index, queries, code, filter, asked, found })
    }

    /// Compares every query with its lists. Returns how many pairs of query and vector were met.
    pub(super) fn run(&self, routes: &Routes) -> Result<u64> {
        match routes.len() {
            0 => Ok(0),
            1 => self.alone(routes.lists(0)),
            _ => self.together(routes),
        }
    }

    fn places(&self, list: usize) -> impl Iterator<Item = Place> + '_ {
        let parts = self.index.parts.iter().enumerate();
        parts.flat_map(move |(part, p)| p.segment.runs_of(list).map(move |run| Place { part, run, list }))
    }

    /// Rows of a run that may be found.
    fn met(&self, at: Place) -> u64 {
        let rows = self.index.parts[at.part].segment.runs()[at.run].range();
        rows.len() as u64 - self.skip(at.part).within(rows)
    }

    fn skip(&self, part: usize) -> &super::deleted::Deleted {
        self.filter.map_or(&self.index.parts[part].deleted, |f| f.part(part))
    }

    /// One query visits its lists best first, so that its limit falls fast.
    fn alone(&self, lists: &[u32]) -> Result<u64> {
        let nlist = self.index.spec.nlist();
        let places: Vec<Place> =
            lists.iter().filter(|l| (**l as usize) < nlist).flat_map(|&l| self.places(l as usize)).collect();
        let met: u64 = places.iter().map(|&p| self.met(p)).sum();
        if met * self.queries.prepared.d() as u64 >= LARGE && rayon::current_num_threads() > 1 {
            places.par_iter().try_for_each_init(Default::default, |s, &p| self.visit(p, &[0], s))?;
            return Ok(met);
        }
        let mut s = Buffers::default();
        for (i, &p) in places.iter().enumerate() {
            if let Some(next) = places.get(i + 1) {
                let segment = &self.index.parts[next.part].segment;
                prefetch(head(self.code.first(&run_of(&segment.content(next.run)))));
            }
            self.visit(p, &[0], &mut s)?;
        }
        Ok(met)
    }

    /// The nearest list of every query first, so that limits fall fast; then all others, list by list.
    fn together(&self, routes: &Routes) -> Result<u64> {
        let nlist = self.index.spec.nlist();
        let (mut first, mut others) = (Vec::new(), Vec::with_capacity(routes.pairs()));
        for q in 0..routes.len() {
            for (rank, &l) in routes.lists(q).iter().enumerate().filter(|l| (*l.1 as usize) < nlist) {
                (if rank == 0 { &mut first } else { &mut others }).push((l, q as u32));
            }
        }
        let mut met = 0;
        for mut pairs in [first, others] {
            pairs.par_sort_unstable();
            let groups: Vec<&[(u32, u32)]> = pairs.chunk_by(|a, b| a.0 == b.0).collect();
            let tasks: Vec<(Place, Vec<u32>)> = groups
                .iter()
                .flat_map(|g| self.places(g[0].0 as usize).map(|p| (p, g.iter().map(|pair| pair.1).collect())))
                .collect();
            met += tasks.iter().map(|(p, queries)| self.met(*p) * queries.len() as u64).sum::<u64>();
            tasks.par_iter().try_for_each_init(Buffers::default, |s, (place, queries)| self.visit(*place, queries, s))?;
        }
        Ok(met)
    }

    /// Compares some queries with one run.
    fn visit(&self, at: Place, queries: &[u32], s: &mut Buffers) -> Result<()> {
        let part = &self.index.parts[at.part];
        let rows = part.segment.visit(at.run)?;
        let run = run_of(&rows);
        let centre = self.index.centre(at.list).unwrap_or(&[]);
        let metric = self.index.manifest.metric;
        let shared = |q: u32| self.code.shared(metric, self.queries.prepared.row(q as usize), centre);
        let target = Target { at, start: rows.run.start as usize, ids: rows.ids, skip: self.skip(at.part) };
        if queries.len() < self.code.many() {
            for &q in queries {
                let limit = self.lock(q).limit;
                s.hits.clear();
                self.code.scan(&self.asked[q as usize], run, shared(q), limit, &mut s.scratch, &mut s.hits);
                self.take(&target, q, &s.hits);
            }
        } else {
            let asked: Vec<(&Asked, Shared)> = queries.iter().map(|&q| (&self.asked[q as usize], shared(q))).collect();
            let limit = |i: usize| self.lock(queries[i]).limit;
            self.code.scan_many(&asked, run, &mut s.scratch, limit, |i, hits| self.take(&target, queries[i], hits));
        }
        Ok(())
    }

    fn take(&self, to: &Target<'_>, q: u32, hits: &[(u32, f32)]) {
        if hits.is_empty() {
            return;
        }
        let exclude = (self.queries.exclude)(q as usize);
        let mut found = self.lock(q);
        for &(i, rank) in hits {
            if !to.skip.contains(to.start + i as usize) && exclude != Some(to.ids[i as usize]) {
                found.push(Candidate { rank, part: to.at.part as u32, run: to.at.run as u32, row: i });
            }
        }
    }

    fn lock(&self, q: u32) -> MutexGuard<'_, Found> {
        self.found[q as usize].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The k neighbours of each query, best first: by their refinement vectors in f64 where there are any, else by rank.
    pub(super) fn finish(self, k: usize) -> Result<Vec<Vec<(f64, u64)>>> {
        let Coded { index, queries, found, .. } = self;
        let settle = |(q, found): (usize, Mutex<Found>)| {
            let best = found.into_inner().unwrap_or_else(|e| e.into_inner()).best(index);
            rank_again(index, queries.rows.row(q), &best, k)
        };
        if queries.rows.n() < 8 {
            return found.into_iter().enumerate().map(settle).collect();
        }
        found.into_par_iter().enumerate().map(settle).collect()
    }
}

/// The first pages of what is read next; the processor follows by itself from there.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(1024)]
}

fn run_of<'a>(rows: &super::segment::Rows<'a>) -> Run<'a> {
    Run { bytes: rows.codes, n: rows.ids.len() }
}

/// The k best candidates by the vectors kept to refine them; by rank where there are none.
pub(super) fn rank_again(index: &Opened, query: &[f32], best: &[Candidate], k: usize) -> Result<Vec<(f64, u64)>> {
    let metric = index.manifest.metric;
    let mut top = TopK::new(k);
    let segment = |c: &Candidate| &index.parts[c.part as usize].segment;
    if index.refine.is_some() {
        for c in best {
            segment(c).visit_refine(c.run as usize)?;
            prefetch(segment(c).refine_record(c.at(index)));
        }
    }
    for c in best {
        let id = segment(c).id(c.at(index));
        let key = if index.refine.is_some() {
            index.refine.key(metric, query, segment(c).refine_record(c.at(index)))
        } else {
            match metric {
                Metric::L2 => (c.rank as f64).max(0.0),
                Metric::Ip => c.rank as f64,
                // unit vectors: |q − x|² = 2 − 2 cos
                Metric::Cosine => 0.5 * (c.rank as f64).max(0.0),
            }
        };
        top.push(key, id);
    }
    Ok(top.into_sorted())
}

/// A run that is compared with.
struct Target<'a> {
    at: Place,
    start: usize,
    ids: &'a [u64],
    skip: &'a super::deleted::Deleted,
}

/// Buffers of one thread.
#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    hits: Hits,
}

/// A row that may be among the best.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) rank: f32,
    pub(super) part: u32,
    pub(super) run: u32,
    /// Within the run.
    pub(super) row: u32,
}

impl Candidate {
    /// Row of its segment.
    fn at(&self, index: &Opened) -> usize {
        index.parts[self.part as usize].segment.runs()[self.run as usize].start as usize + self.row as usize
    }
}

/// The best rows of a query so far.
struct Found {
    keep: usize,
    /// No row above it is among the best.
    limit: f32,
    /// Rows from which on it is worth dropping some.
    room: usize,
    rows: Vec<Candidate>,
}

impl Found {
    fn new(keep: usize) -> Found {
        Found { keep, limit: f32::INFINITY, room: 2 * keep + 32, rows: Vec::new() }
    }

    fn push(&mut self, c: Candidate) {
        // the limit may have fallen since the row was looked at
        if c.rank <= self.limit {
            self.rows.push(c);
            if self.rows.len() >= self.room {
                self.shrink();
            }
        }
    }

    /// Drops what is above the rank of place `keep`; equal ranks stay.
    fn shrink(&mut self) {
        if self.rows.len() > self.keep {
            let (_, last, _) = self.rows.select_nth_unstable_by(self.keep - 1, |a, b| a.rank.total_cmp(&b.rank));
            self.limit = last.rank;
            let limit = self.limit;
            self.rows.retain(|c| c.rank <= limit);
        }
        self.room = 2 * self.rows.len().max(self.keep) + 32;
    }

    /// The best `keep`, the smaller id on a tie.
    fn best(mut self, index: &Opened) -> Vec<Candidate> {
        self.shrink();
        if self.rows.len() > self.keep {
            let id = |c: &Candidate| index.parts[c.part as usize].segment.id(c.at(index));
            self.rows.sort_unstable_by(|a, b| a.rank.total_cmp(&b.rank).then_with(|| id(a).cmp(&id(b))));
            self.rows.truncate(self.keep);
        }
        self.rows
    }
}
