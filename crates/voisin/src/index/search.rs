//! The one search loop: route the queries, group them by list, compare list by list.

use super::Index;
use super::ingest::directed;
use super::params::{SearchParams, SearchResult};
use super::scan::{Queries, Scan};
use crate::partition::{Partition, RouteParams};
use crate::{Error, Metric, Neighbors, Result, Vectors, screen};

/// Queries searched at once; bounds the memory of a search.
const BLOCK: usize = 1 << 14;

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

    fn check(&self, queries: Vectors<'_>, params: &SearchParams) -> Result<()> {
        if params.k == 0 {
            return Err(Error::param("k", 0, "at least 1"));
        }
        if params.nprobe == 0 {
            return Err(Error::param("nprobe", 0, "at least 1 list"));
        }
        if let Some(mass) = params.mass {
            if !(0.0..=1.0).contains(&mass) {
                return Err(Error::param("mass", mass, "a probability from 0 to 1"));
            }
            if !matches!(self.partition(), Partition::Learned(_)) {
                return Err(Error::param(
                    "mass",
                    mass,
                    format!("only a learned index has probabilities, this is {}", self.spec()),
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
        let opened = self.opened();
        let unit = directed(rows, self.metric());
        let exclude = |q: usize| match &params.exclude {
            Some(ids) => Some(ids[first + q]),
            None => params.exclude_self.then_some((first + q) as u64),
        };
        let queries = Queries { rows, directed: Vectors::new(&unit, rows.d()), exclude: &exclude };
        // 0 means all lists to the partition
        let nprobe = if params.nprobe >= self.spec().nlist() { 0 } else { params.nprobe };
        let routes = opened.partition.route(queries.directed, &RouteParams { nprobe, mass: params.mass });
        result.lists += routes.pairs() as u64;
        let scan = Scan::new(opened, &queries, params.k);
        result.scanned += scan.run(&group(&routes, self.spec().nlist()))?;
        for row in scan.finish()? {
            let report = |key: f64| {
                let value = self.metric().report(key);
                (if self.metric() == Metric::Cosine { value.max(0.0) } else { value }) as f32
            };
            result.neighbors.push_row(row.into_iter().map(|(key, id)| (report(key), id)));
        }
        Ok(())
    }
}

/// The queries of each list that any query visits, lists in ascending order.
fn group(routes: &crate::partition::Routes, nlist: usize) -> Vec<(u32, Vec<u32>)> {
    let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(routes.pairs());
    for q in 0..routes.len() {
        pairs.extend(routes.lists(q).iter().filter(|l| (**l as usize) < nlist).map(|&l| (l, q as u32)));
    }
    pairs.sort_unstable();
    pairs.chunk_by(|a, b| a.0 == b.0).map(|c| (c[0].0, c.iter().map(|p| p.1).collect())).collect()
}
