//! Comparing queries with codes by estimates, and ranking the best of them again.
//!
//! What a query finds is the best `keep` rows of its lists by (rank, id), and a rank is a function of query and row: it does not
//! matter in which order lists are visited, whether a query is alone or in a batch, or how many threads there are.

use super::filter::Filter;
use super::opened::Opened;
use super::scan::Queries;
use super::trace::Trace;
use crate::encode::Codec;
use crate::encode::estimate::{Asked, Estimator, Hits, Limit, Run, Scratch, Shared};
use crate::partition::{Partition, Routes};
use crate::{Error, Metric, Result, TopK};
use rayon::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use voisin_kernels::{dot_f64, l2_squared_f64, l2_squared_to_sum_f64, max_abs, prefetch};

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
    /// Whether the scores of routes are minus the squared distances to what the codes are relative to.
    scored: bool,
    asked: Asked,
    found: Vec<Mutex<Found>>,
    /// The limits of `found`, as bits: read far more often than rows are found.
    limits: Vec<AtomicU32>,
    keep: usize,
}

/// A query that visits a list, and how well the list fits it.
#[derive(Clone, Copy)]
struct Visit {
    query: u32,
    score: f32,
}

/// The visits of each list that has any, lists ascending, queries ascending.
fn by_list(pairs: &[(u32, Visit)], nlist: usize) -> Vec<(usize, Vec<Visit>)> {
    let mut counts = vec![0u32; nlist];
    pairs.iter().for_each(|p| counts[p.0 as usize] += 1);
    let mut place = vec![u32::MAX; nlist];
    let mut groups: Vec<(usize, Vec<Visit>)> = Vec::new();
    for (list, &n) in counts.iter().enumerate().filter(|c| *c.1 > 0) {
        place[list] = groups.len() as u32;
        groups.push((list, Vec::with_capacity(n as usize)));
    }
    pairs.iter().for_each(|p| groups[place[p.0 as usize] as usize].1.push(p.1));
    groups
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
        let large = |q: &[f32]| max_abs(q) > LARGEST;
        if let Some(row) = queries.prepared.iter().position(large) {
            return Err(Error::param("queries", format!("row {row}"), "values below 1e15, which codes can be compared with"));
        }
        let asked = code.ask(queries.prepared);
        let n = queries.prepared.n();
        let found = (0..n).map(|_| Mutex::new(Found::new(keep))).collect();
        let limits = (0..n).map(|_| AtomicU32::new(f32::INFINITY.to_bits())).collect();
        // the scores of centroids are distances to the centres only where these are the same
        let own = index.own_centres.is_some();
        let scored = matches!(index.partition, Partition::KMeans(_)) && !own && index.manifest.metric != Metric::Ip;
        Ok(Coded { index, queries, code, filter, scored, asked, found, limits, keep })
    }

    /// Compares every query with its lists. Returns how many pairs of query and vector were met.
    pub(super) fn run(&self, routes: &Routes) -> Result<u64> {
        if let (Estimator::Pq(code), false) = (&self.code, self.index.refine.is_some()) {
            self.found.par_iter().enumerate().with_min_len(64).for_each(|(q, found)| {
                let far = if self.scored { routes.scores(q).last().map(|s| -s) } else { None };
                let (query, centre) = (self.queries.prepared.row(q), || self.index.farthest_centre());
                found.lock().unwrap_or_else(|e| e.into_inner()).slack = code.slack(&self.asked, q, query, far, centre);
            });
        }
        match routes.len() {
            1 => self.alone(routes, 0),
            n if !self.code.by_list() => (0..n).into_par_iter().map(|q| self.alone(routes, q)).sum(),
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
    fn alone(&self, routes: &Routes, q: usize) -> Result<u64> {
        let mut visits: Vec<(Place, Visit)> = Vec::with_capacity(2 * routes.lists(q).len());
        for (&list, &score) in routes.lists(q).iter().zip(routes.scores(q)).filter(|l| (*l.0 as usize) < self.nlist()) {
            visits.extend(self.places(list as usize).map(|p| (p, Visit { query: q as u32, score })));
        }
        let met: u64 = visits.iter().map(|v| self.met(v.0)).sum();
        if met * self.queries.prepared.d() as u64 >= LARGE && rayon::current_num_threads() > 1 {
            visits.par_iter().try_for_each_init(Default::default, |s, (p, v)| self.visit(*p, &[*v], s))?;
            return Ok(met);
        }
        let mut s = Buffers::default();
        for (i, (p, v)) in visits.iter().enumerate() {
            if let Some((next, _)) = visits.get(i + 1) {
                let segment = &self.index.parts[next.part].segment;
                prefetch(head(self.code.first(&run_of(&segment.content(next.run)))));
            }
            self.visit(*p, &[*v], &mut s)?;
        }
        Ok(met)
    }

    /// The nearest list of every query first, so that limits fall fast; then all others, list by list.
    fn together(&self, routes: &Routes) -> Result<u64> {
        let (mut first, mut others) = (Vec::new(), Vec::with_capacity(routes.pairs()));
        for query in 0..routes.len() {
            for (rank, (&l, &score)) in routes.lists(query).iter().zip(routes.scores(query)).enumerate() {
                if (l as usize) < self.nlist() {
                    (if rank == 0 { &mut first } else { &mut others }).push((l, Visit { query: query as u32, score }));
                }
            }
        }
        let mut met = 0;
        for pairs in [first, others] {
            let groups = by_list(&pairs, self.nlist());
            let tasks: Vec<(Place, &[Visit])> =
                groups.iter().flat_map(|(list, visits)| self.places(*list).map(|p| (p, &visits[..]))).collect();
            met += tasks.iter().map(|(p, visits)| self.met(*p) * visits.len() as u64).sum::<u64>();
            tasks.par_iter().try_for_each_init(Buffers::default, |s, (place, visits)| self.visit(*place, visits, s))?;
        }
        Ok(met)
    }

    fn nlist(&self) -> usize {
        self.index.spec.nlist()
    }

    /// What a query shares with a list. The centroids' own scores are the squared distances already.
    fn shared(&self, visit: &Visit, list: usize) -> Shared {
        let metric = self.index.manifest.metric;
        if self.scored {
            let far = (-visit.score).max(0.0);
            return Shared { base: far, reach: far.sqrt() };
        }
        self.code.shared(metric, self.queries.prepared.row(visit.query as usize), self.index.centre(list).unwrap_or(&[]))
    }

    /// Compares some queries with one run.
    fn visit(&self, at: Place, visits: &[Visit], s: &mut Buffers) -> Result<()> {
        let rows = self.index.parts[at.part].segment.visit(at.run)?;
        let run = run_of(&rows);
        let target = Target { at, start: rows.run.start as usize, rows, skip: self.skip(at.part) };
        if visits.len() < self.code.many() {
            for v in visits {
                let limit = self.limit(v.query, target.skip);
                s.hits.clear();
                let asked = (&self.asked, v.query as usize);
                self.code.scan(asked, run, self.shared(v, at.list), limit, &mut s.scratch, &mut s.hits);
                self.take(&target, v.query, &s.hits);
            }
        } else {
            let queries: Vec<(u32, Shared)> = visits.iter().map(|v| (v.query, self.shared(v, at.list))).collect();
            let limit = |i: usize| self.limit(visits[i].query, target.skip);
            let take = |i: usize, hits: &mut Hits| self.take(&target, visits[i].query, hits);
            self.code.scan_many(&self.asked, &queries, run, &mut s.scratch, limit, take);
        }
        Ok(())
    }

    fn limit(&self, q: u32, skip: &super::deleted::Deleted) -> Limit {
        // rows that are skipped must not stand for rows that count
        let all = !skip.is_empty() || (self.queries.exclude)(q as usize).is_some();
        let rank = f32::from_bits(self.limits[q as usize].load(Relaxed));
        Limit { rank, keep: if all { usize::MAX } else { self.keep } }
    }

    fn take(&self, to: &Target<'_>, q: u32, hits: &[(u32, f32)]) {
        if hits.is_empty() {
            return;
        }
        let exclude = (self.queries.exclude)(q as usize);
        let mut found = self.lock(q);
        for &(i, rank) in hits {
            if !to.skip.contains(to.start + i as usize) && exclude != Some(to.rows.id(i as usize)) {
                found.push(Candidate { rank, part: to.at.part as u32, run: to.at.run as u32, row: i });
            }
        }
        self.limits[q as usize].store(found.limit.to_bits(), Relaxed);
    }

    fn lock(&self, q: u32) -> MutexGuard<'_, Found> {
        self.found[q as usize].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Tells what was compared with the first query, best first, and goes on with the best `keep`.
    pub(super) fn show(&mut self, keep: usize, trace: &mut Trace) {
        let (index, found) = (self.index, self.found[0].get_mut().unwrap_or_else(|e| e.into_inner()));
        let id = |c: &Candidate| index.parts[c.part as usize].segment.id(c.at(index));
        let mut best = Found { slack: found.slack, ..Found::new(keep) };
        let mut all = std::mem::take(&mut found.rows);
        all.sort_unstable_by(|a, b| a.rank.total_cmp(&b.rank).then_with(|| id(a).cmp(&id(b))));
        all.iter().for_each(|c| best.push(*c));
        best.shrink();
        // where estimates do not decide, all that may be among the best go on
        trace.kept = if best.slack > 0.0 { best.rows.len() } else { all.len().min(keep) };
        trace.compared = all.iter().map(|c| (rank_key(index.manifest.metric, c.rank), id(c))).collect();
        *found = best;
    }

    /// The k neighbours of each query, best first: by their refinement vectors in f64 where there are any, else by rank.
    pub(super) fn finish(self, k: usize) -> Result<Vec<Vec<(f64, u64)>>> {
        let Coded { index, queries, found, .. } = self;
        let settle = |(q, found): (usize, Mutex<Found>)| {
            let found = found.into_inner().unwrap_or_else(|e| e.into_inner());
            let wrong = if found.slack > 0.0 { found.slack / 2.0 } else { f32::INFINITY };
            rank_again(index, queries.rows.row(q), queries.prepared.row(q), (&found.best(index), wrong), k)
        };
        if queries.rows.n() < 8 {
            return found.into_iter().enumerate().map(settle).collect();
        }
        found.into_par_iter().enumerate().map(settle).collect()
    }
}

/// As much of what is read next as the first cache takes beside what is read now.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(8192)]
}

fn run_of<'a>(rows: &super::segment::Rows<'a>) -> Run<'a> {
    Run { bytes: rows.codes, n: rows.ids.len() }
}

/// The key that a rank estimates. Rows and queries have unit length under cosine: |q - x|² = 2 - 2 cos.
fn rank_key(metric: Metric, rank: f32) -> f64 {
    match metric {
        Metric::Ip => rank as f64,
        Metric::L2 => (rank as f64).max(0.0),
        Metric::Cosine => 0.5 * (rank as f64).max(0.0),
    }
}

/// The k best candidates by the vectors kept to refine them; where there are none, by what product codes decode to, or by rank.
///
/// Where ranks are wrong by a bounded amount, candidates come by rank and end where none can be better; else it is infinite.
pub(super) fn rank_again(
    index: &Opened,
    query: &[f32],
    prepared: &[f32],
    (best, wrong): (&[Candidate], f32),
    k: usize,
) -> Result<Vec<(f64, u64)>> {
    let metric = index.manifest.metric;
    let (mut top, norm, mut row) = (TopK::new(k), metric.exact_norm(query), Vec::new());
    let segment = |c: &Candidate| &index.parts[c.part as usize].segment;
    if index.refine.is_some() {
        for c in best {
            prefetch(segment(c).visit_refine(c.at(index))?);
            prefetch(segment(c).id_slot(c.at(index)));
        }
    }
    // unit vectors: |q − x|² = 2 − 2 cos
    let half = if metric == Metric::Cosine { 0.5 } else { 1.0 };
    for c in best {
        if top.worst().is_some_and(|worst| half * (c.rank as f64 - wrong as f64) > worst) {
            break;
        }
        let id = segment(c).id(c.at(index));
        let key = if index.refine.is_some() {
            index.refine.key(metric, query, norm, segment(c).refine_record(c.at(index)), &mut row)
        } else {
            let rank = match (&index.codec, metric) {
                (Codec::Pq(_), Metric::Ip) => {
                    segment(c).with_row(c.run as usize, c.row as usize, &mut row, |x| -dot_f64(prepared, x))
                }
                (Codec::Pq(code), _) => segment(c).with_residual(code, c.run as usize, c.row as usize, &mut row, |x, centre| {
                    centre.map_or_else(|| l2_squared_f64(prepared, x), |centre| l2_squared_to_sum_f64(prepared, x, centre))
                }),
                (_, Metric::Ip) => c.rank as f64,
                (_, _) => (c.rank as f64).max(0.0),
            };
            half * rank
        };
        top.push(key, id);
    }
    Ok(top.into_sorted())
}

/// A run that is compared with.
struct Target<'a> {
    at: Place,
    start: usize,
    rows: super::segment::Rows<'a>,
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
    /// How far above the rank of place `keep` a row may be that is yet among the best: estimates are wrong by half of it.
    slack: f32,
    /// No row above it is among the best.
    limit: f32,
    /// Rows from which on it is worth dropping some.
    room: usize,
    rows: Vec<Candidate>,
}

impl Found {
    fn new(keep: usize) -> Found {
        Found { keep, slack: 0.0, limit: f32::INFINITY, room: 2 * keep + 32, rows: Vec::new() }
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
            self.limit = last.rank + self.slack;
            let limit = self.limit;
            self.rows.retain(|c| c.rank <= limit);
        }
        self.room = 2 * self.rows.len().max(self.keep) + 32;
    }

    /// The best `keep`, the smaller id on a tie; all that may be among them, by rank, where estimates do not decide.
    fn best(mut self, index: &Opened) -> Vec<Candidate> {
        self.shrink();
        if self.slack > 0.0 {
            self.rows.sort_unstable_by(|a, b| a.rank.total_cmp(&b.rank));
        } else if self.rows.len() > self.keep {
            let id = |c: &Candidate| index.parts[c.part as usize].segment.id(c.at(index));
            self.rows.sort_unstable_by(|a, b| a.rank.total_cmp(&b.rank).then_with(|| id(a).cmp(&id(b))));
            self.rows.truncate(self.keep);
        }
        self.rows
    }
}
