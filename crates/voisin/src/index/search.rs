//! The one search loop: route the queries, group them by list, compare list by list.

use super::Index;
use super::coded::Coded;
use super::params::{SearchParams, SearchResult};
use super::scan::{Queries, Scan};
use super::small;
use super::targets::Plan;
use super::trace::Trace;
use crate::partition::{RouteParams, Routes};
use crate::{Error, Metric, Neighbors, Result, Vectors, screen};
use rayon::prelude::*;

/// Queries searched at once; bounds the memory of a search.
const BLOCK: usize = 1 << 12;
/// Candidates a neighbour that go from the codes to the refinement vectors where nobody says how many.
pub(super) const DEFAULT_REFINE: usize = 5;

impl Index {
    /// The nearest neighbours of each query among the vectors of the lists it visits.
    ///
    /// Ids and distances are those of a plain f64 computation over these vectors, equal distances to the smaller id: the
    /// same for one query or many, any number of threads and segments. Rows are short where the lists hold fewer than k.
    ///
    /// # Errors
    /// k or nprobe of 0, another dimension, queries that cannot be ranked, `mass` without a learned index or outside
    /// 0..=1, damaged lists.
    pub fn search(&self, queries: Vectors<'_>, params: &SearchParams) -> Result<SearchResult> {
        self.check(queries, params)?;
        let mut result = SearchResult { neighbors: Neighbors::new(params.k), ..Default::default() };
        for first in (0..queries.n()).step_by(BLOCK) {
            let block = queries.rows(first..(first + BLOCK).min(queries.n()));
            self.block(block, first, params, &mut result)?;
        }
        Ok(result)
    }

    pub(super) fn check(&self, queries: Vectors<'_>, params: &SearchParams) -> Result<()> {
        if params.k == 0 {
            return Err(Error::param("k", 0, "at least 1"));
        }
        if params.nprobe == 0 {
            return Err(Error::param("nprobe", 0, "at least 1 list"));
        }
        if let Some(filter) = &params.filter {
            filter.check(self.opened())?;
        }
        if let Some(mass) = params.mass {
            if !(0.0..=1.0).contains(&mass) {
                return Err(Error::param("mass", mass, "a probability from 0 to 1"));
            }
            if !self.partition().has_mass() {
                return Err(Error::param(
                    "mass",
                    mass,
                    format!("only a learned index or one with a router has probabilities, this is {}", self.spec()),
                ));
            }
        }
        if queries.d() != self.dim() {
            let context = format!("the index has {}", self.dim());
            return Err(Error::Dimension { name: "queries".into(), expected: self.dim(), got: queries.d(), context });
        }
        if let Some(ids) = &params.exclude
            && ids.len() != queries.n()
        {
            return Err(Error::param("exclude", ids.len(), format!("an id a query, {}", queries.n())));
        }
        if let Some(&(row, what)) = screen(queries, self.metric()).first() {
            return Err(Error::BadRow { name: "queries".into(), row: row as u64, what });
        }
        Ok(())
    }

    fn block(&self, rows: Vectors<'_>, first: usize, params: &SearchParams, result: &mut SearchResult) -> Result<()> {
        for row in self.found(rows, first, params, result, None)? {
            result.neighbors.push_row(row.into_iter().map(|(key, id)| (self.reported(key), id)));
        }
        Ok(())
    }

    /// A key as results say it.
    pub(crate) fn reported(&self, key: f64) -> f32 {
        let value = self.metric().report(key);
        (if self.metric() == Metric::Cosine { value.max(0.0) } else { value }) as f32
    }

    /// Keys and ids of what each query finds, best first; `trace` is told what happens to the only query.
    pub(super) fn found(
        &self,
        rows: Vectors<'_>,
        first: usize,
        params: &SearchParams,
        result: &mut SearchResult,
        trace: Option<&mut Trace>,
    ) -> Result<Vec<Vec<(f64, u64)>>> {
        let opened = self.opened();
        let prepared = opened.prepared(rows, self.metric());
        let prepared = Vectors::new(&prepared, opened.code_d(rows.d()));
        let exclude = |q: usize| match &params.exclude {
            Some(ids) => Some(ids[first + q]),
            None => params.exclude_self.then_some((first + q) as u64),
        };
        let queries = Queries { rows, prepared, exclude: &exclude };
        match params.filter.as_deref().and_then(|f| f.small()) {
            Some(places) => self.among(places, &queries, params, result),
            None => self.in_lists(&queries, params, result, trace),
        }
    }

    /// Searches the lists that each query visits.
    fn in_lists(
        &self,
        queries: &Queries<'_>,
        params: &SearchParams,
        result: &mut SearchResult,
        mut trace: Option<&mut Trace>,
    ) -> Result<Vec<Vec<(f64, u64)>>> {
        let opened = self.opened();
        let filter = params.filter.as_deref();
        let plan = self.plan(params)?;
        let routes = self.routes(queries.prepared, params, plan);
        result.lists += routes.pairs() as u64;
        let keep = self.candidates(params.k, plan.map_or(params.refine, |p| p.refine));
        // who watches wants to see every row that is compared, so none is dropped on the way
        let hold = if trace.is_some() { keep.max(self.rows()) } else { keep };
        if let Some(trace) = &mut trace {
            trace.visited = routes.lists(0).iter().copied().zip(routes.scores(0).iter().copied()).collect();
        }
        if let Some(code) = opened.codec.estimator() {
            let mut coded = Coded::new(opened, queries, code, filter, hold)?;
            result.scanned += coded.run(&routes)?;
            trace.into_iter().for_each(|t| coded.show(keep, t));
            return coded.finish(params.k);
        }
        let mut scan = Scan::new(opened, queries, filter, hold);
        result.scanned += scan.run(&group(&routes, self.spec().nlist()))?;
        trace.into_iter().for_each(|t| scan.show(keep, t));
        scan.finish(params.k)
    }

    /// Rows of all segments, deleted ones included.
    fn rows(&self) -> usize {
        self.opened().parts.iter().map(|p| p.segment.rows()).sum()
    }

    /// How many rows go on from the codes.
    fn candidates(&self, k: usize, refine: usize) -> usize {
        if !self.opened().refine.is_some() {
            return k;
        }
        let factor = if refine == 0 { self.opened().manifest.refine.unwrap_or(DEFAULT_REFINE) } else { refine };
        k.saturating_mul(factor)
    }

    /// Compares every row of a small allowed set, whatever lists they lie in.
    fn among(
        &self,
        places: &[(usize, usize)],
        queries: &Queries<'_>,
        params: &SearchParams,
        result: &mut SearchResult,
    ) -> Result<Vec<Vec<(f64, u64)>>> {
        let opened = self.opened();
        result.scanned += (places.len() * queries.rows.n()) as u64;
        let rows = small::Rows::gather(opened, places)?;
        (0..queries.rows.n()).into_par_iter().map(|q| rows.best(opened, queries, q, params.k)).collect()
    }

    fn routes(&self, prepared: Vectors<'_>, params: &SearchParams, plan: Option<Plan>) -> Routes {
        let (partition, nprobe) = (&self.opened().partition, plan.map_or(params.nprobe, |p| p.nprobe));
        // 0 means all lists to the partition
        let nprobe = if nprobe >= self.spec().nlist() { 0 } else { nprobe };
        let routes = partition.route(prepared, &RouteParams { nprobe, mass: params.mass });
        match plan {
            Some(plan) => plan.cut(routes, prepared, partition),
            None => routes,
        }
    }
}

/// The queries of each list that any query visits, lists in ascending order.
fn group(routes: &Routes, nlist: usize) -> Vec<(u32, Vec<u32>)> {
    let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(routes.pairs());
    for q in 0..routes.len() {
        pairs.extend(routes.lists(q).iter().filter(|l| (**l as usize) < nlist).map(|&l| (l, q as u32)));
    }
    pairs.sort_unstable();
    pairs.chunk_by(|a, b| a.0 == b.0).map(|c| (c[0].0, c.iter().map(|p| p.1).collect())).collect()
}
