//! Searching one block: candidates from the bounds of a pass, settled in f64.

use super::pass::{Pass, Queries, Scratch};
use crate::{Metric, TopK, Vectors};
use rayon::prelude::*;
use std::ops::Range;

/// Queries a unit of work: whole panels of every kernel, few enough to share among threads.
const GROUP: usize = 48;
/// Columns compared before limits are looked at again; their products fit the second cache.
const TILE: usize = 1024;

/// Candidates ahead of the one that is compared whose rows are asked for.
const AHEAD: usize = 2;

/// What is searched: a block of base rows whose first has the number `start`.
pub(super) struct Task<'a> {
    pub(super) queries: &'a Queries<'a>,
    /// Queries that have no answer.
    pub(super) bad_queries: &'a [bool],
    pub(super) block: Vectors<'a>,
    pub(super) bad_rows: &'a [usize],
    pub(super) start: u64,
    /// The number of the first query where each leaves out the row with its own number.
    pub(super) own: Option<u64>,
}

impl Task<'_> {
    /// Offers every row of the block to the results of every query. The outcome does not depend on blocks or threads:
    /// whatever could be among the k is compared by its f64 key and its id.
    pub(super) fn search(&self, results: &mut [TopK<f64>]) {
        let Some(pass) = Pass::new(self.block, self.bad_rows, self.queries) else {
            return self.search_all(results);
        };
        let groups = results.len().div_ceil(GROUP);
        let threads = rayon::current_num_threads();
        // few groups: also cut the columns, so that every thread has work
        let parts = (4 * threads).div_ceil(groups).min(pass.n().div_ceil(2 * TILE)).max(1);
        let step = if groups >= 4 * threads { pass.n() } else { pass.n().div_ceil(parts).next_multiple_of(TILE) };
        let units: Vec<(usize, Range<usize>)> = (0..groups)
            .flat_map(|g| (0..pass.n()).step_by(step).map(move |s| (g, s)))
            .map(|(g, s)| (g, s..(s + step).min(pass.n())))
            .collect();
        let seen: &[TopK<f64>] = results;
        let found: Vec<Vec<Vec<(f64, u64)>>> = units
            .par_iter()
            .with_max_len(1)
            .map_init(Scratch::default, |scratch, (g, cols)| {
                let rows = g * GROUP..((g + 1) * GROUP).min(seen.len());
                self.unit(&pass, rows.clone(), cols.clone(), &seen[rows], scratch)
            })
            .collect();
        for ((g, _), unit) in units.iter().zip(found) {
            for (top, row) in results[g * GROUP..].iter_mut().zip(unit) {
                row.into_iter().for_each(|(key, id)| top.push(key, id));
            }
        }
    }

    /// The best of `cols` for the queries `rows`, given what is known from earlier blocks.
    fn unit(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        cols: Range<usize>,
        seen: &[TopK<f64>],
        scratch: &mut Scratch,
    ) -> Vec<Vec<(f64, u64)>> {
        let mut state: Vec<Candidates> =
            rows.clone().zip(seen).map(|(q, top)| Candidates::new(top, offset(self.queries, q))).collect();
        let mut limits = Vec::with_capacity(rows.len());
        for from in cols.clone().step_by(TILE) {
            let tile = from..(from + TILE).min(cols.end);
            limits.clear();
            let limit = |(q, c): (usize, &Candidates)| if self.bad_queries[q] { f32::NEG_INFINITY } else { c.limit };
            limits.extend(rows.clone().zip(&state).map(limit));
            pass.near(self.queries, rows.clone(), &limits, tile, scratch, |q, hits| {
                state[q - rows.start].take(self, pass, q, from, hits);
            });
        }
        state.into_iter().zip(rows).zip(seen).map(|((c, q), top)| self.settle(c, q, top)).collect()
    }

    /// Ranks the candidates by their f64 keys; stops where no lower bound can enter any more.
    fn settle(&self, mut c: Candidates, q: usize, seen: &TopK<f64>) -> Vec<(f64, u64)> {
        let mut top = TopK::new(c.k);
        let limit = c.limit;
        c.found.retain(|f| f.1 <= limit);
        c.found.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        let query = self.queries.rows.row(q);
        let offset = offset(self.queries, q);
        for (i, &(column, lower)) in c.found.iter().enumerate() {
            if let Some(&(soon, _)) = c.found.get(i + AHEAD) {
                voisin_kernels::prefetch(self.block.row(soon as usize)); // candidates lie far apart
            }
            let worst = [top.worst(), seen.worst()].into_iter().flatten().fold(f64::INFINITY, f64::min);
            if lower > limit_of(worst, offset) {
                break;
            }
            let key = self.queries.metric.exact_key(query, self.block.row(column as usize));
            top.push(key, self.start + column as u64);
        }
        top.into_sorted()
    }

    /// Every pair in f64: for values that f32 cannot bound.
    fn search_all(&self, results: &mut [TopK<f64>]) {
        let mut bad = vec![false; self.block.n()];
        self.bad_rows.iter().for_each(|&i| bad[i] = true);
        results.par_iter_mut().enumerate().filter(|(q, _)| !self.bad_queries[*q]).for_each(|(q, top)| {
            for (i, x) in self.block.iter().enumerate() {
                let id = self.start + i as u64;
                let itself = self.own.is_some_and(|first| id == first + q as u64);
                if !bad[i] && !itself {
                    top.push(self.queries.metric.exact_key(self.queries.rows.row(q), x), id);
                }
            }
        });
    }
}

/// Exact key minus the pass's key.
pub(super) fn offset(queries: &Queries<'_>, q: usize) -> f64 {
    let query = queries.rows.row(q);
    match queries.metric {
        Metric::L2 => voisin_kernels::dot_f64(query, query),
        Metric::Ip => 0.0,
        Metric::Cosine => 1.0,
    }
}

/// The pass's key that an exact key of `worst` allows, rounded up.
pub(super) fn limit_of(worst: f64, offset: f64) -> f32 {
    if worst == f64::INFINITY {
        return f32::INFINITY;
    }
    ((worst - offset) + 4.0 * f32::EPSILON as f64 * (worst.abs() + offset.abs())) as f32 + f32::MIN_POSITIVE
}

/// Columns of one query that may be among the k.
struct Candidates {
    k: usize,
    limit: f32,
    uppers: TopK<f32>,
    found: Vec<(u32, f32)>,
}

impl Candidates {
    fn new(seen: &TopK<f64>, offset: f64) -> Self {
        let limit = seen.worst().map_or(f32::INFINITY, |w| limit_of(w, offset));
        Candidates { k: seen.k(), limit, uppers: TopK::new(seen.k()), found: Vec::new() }
    }

    fn take(&mut self, task: &Task<'_>, pass: &Pass<'_>, q: usize, from: usize, hits: &[(u32, f32)]) {
        for &(column, lower) in hits {
            let column = column as usize + from;
            if lower > self.limit || task.own.is_some_and(|first| task.start + column as u64 == first + q as u64) {
                continue;
            }
            self.uppers.push(lower + pass.width(task.queries, q, column), 0);
            if let Some(worst) = self.uppers.worst() {
                self.limit = self.limit.min(worst);
            }
            self.found.push((column as u32, lower));
        }
        if self.found.len() > 4096 + 8 * self.k {
            let limit = self.limit;
            self.found.retain(|f| f.1 <= limit);
        }
    }
}
