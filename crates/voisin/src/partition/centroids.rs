//! Lists around centroids.

use super::cells::{Cells, MANY, ROUTE, TRAIN};
use super::table::{Scratch, Table, coded};
use super::{RouteParams, Routes};
use crate::{Matrix, Metric, Vectors};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// Queries that meet a block of centroids while it is in the cache.
const UNIT: usize = 16;

/// k centroids; a vector belongs to the nearest one in L2, or, in an index of another program, to the one it would visit first.
///
/// Under ip a query visits the lists whose centroids have the largest dot product with it (as FAISS does), otherwise the
/// nearest. Under cosine vectors and queries are expected at unit length. Order and scores are those of f32, found by 8-bit
/// bounds. From 16,384 centroids on these stand in cells of their own, of which a query and a vector visit the nearest:
/// most, not all, of its nearest lists are found.
#[derive(Clone, Debug)]
pub struct Centroids {
    matrix: Matrix,
    metric: Metric,
    as_routed: bool,
    prepared: Arc<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    route: Search,
    /// Under ip, where the nearest are others than those routed to; made when first asked for.
    nearest: OnceLock<Search>,
}

#[derive(Debug)]
enum Search {
    Few(Table),
    Many(Box<Cells>),
}

impl Search {
    fn new(centroids: Vectors<'_>, metric: Metric) -> Search {
        match centroids.n() >= MANY && coded(centroids.d()) {
            false => Search::Few(Table::new(centroids, metric, None)),
            true => Search::Many(Box::new(Cells::new(centroids, metric))),
        }
    }
}

impl Centroids {
    /// Takes k x d centroids; cost: a copy of k x d bytes, and for many centroids a small k-means of them.
    pub fn new(matrix: Matrix, metric: Metric) -> Centroids {
        let route = Search::new(matrix.view(), metric);
        Centroids { matrix, metric, as_routed: false, prepared: Arc::new(Prepared { route, nearest: OnceLock::new() }) }
    }

    /// The same centroids, by which a vector is stored in the list that a query of its values visits first: under ip the
    /// one of the largest dot product. So do other programs (FAISS), whose lists are added to by their own rule.
    pub(crate) fn stored_as_routed(self) -> Centroids {
        Centroids { as_routed: true, ..self }
    }

    /// Whether vectors are stored by another rule than the nearest in L2.
    pub(crate) fn is_stored_as_routed(&self) -> bool {
        self.as_routed && self.metric == Metric::Ip
    }

    /// The centroids, k x d.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    pub(crate) fn into_matrix(self) -> Matrix {
        self.matrix
    }

    /// The metric queries are routed by.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Number of centroids.
    pub fn k(&self) -> usize {
        self.matrix.n()
    }

    /// Dimensions.
    pub fn d(&self) -> usize {
        self.matrix.d()
    }

    pub(crate) fn assign(&self, block: Vectors<'_>) -> Vec<u32> {
        assert_eq!(block.d(), self.d(), "vectors and centroids have the same dimensions");
        if self.is_stored_as_routed() {
            return self.search(block, 1, ROUTE).lists;
        }
        let centroids = self.matrix.view();
        let search = match self.metric {
            Metric::Ip => self.prepared.nearest.get_or_init(|| Search::new(centroids, Metric::L2)),
            _ => &self.prepared.route,
        };
        match search {
            Search::Few(table) => table.all(centroids, block),
            Search::Many(cells) => cells.assign(centroids, block),
        }
    }

    pub(crate) fn route(&self, queries: Vectors<'_>, params: &RouteParams) -> Routes {
        assert_eq!(queries.d(), self.d(), "queries and centroids have the same dimensions");
        let keep = if params.nprobe == 0 { self.k() } else { params.nprobe.min(self.k()) };
        self.search(queries, keep, ROUTE)
    }

    /// The `keep` nearest centroids of each centroid, itself first unless another is alike; where they stand in cells with a
    /// little less care than [`Centroids::route`] takes.
    pub(crate) fn neighbours(&self, keep: usize) -> Routes {
        self.search(self.matrix.view(), keep.min(self.k()), TRAIN)
    }

    fn search(&self, queries: Vectors<'_>, keep: usize, effort: f64) -> Routes {
        let (n, units) = (queries.n(), queries.n().div_ceil(UNIT));
        if units <= 1 {
            thread_local!(static OWN: std::cell::RefCell<Scratch> = std::cell::RefCell::default());
            return OWN.with_borrow_mut(|s| self.unit(queries, keep, effort, s));
        }
        let unit = |s: &mut Scratch, u: usize| self.unit(queries.rows(u * UNIT..((u + 1) * UNIT).min(n)), keep, effort, s);
        let parts: Vec<Routes> = (0..units).into_par_iter().map_init(Scratch::default, unit).collect();
        let mut all = Routes { offsets: vec![0], lists: Vec::with_capacity(n * keep), scores: Vec::with_capacity(n * keep) };
        parts.iter().for_each(|part| all.append(part));
        all
    }

    fn unit(&self, queries: Vectors<'_>, keep: usize, effort: f64, s: &mut Scratch) -> Routes {
        let room = queries.n() * keep;
        let mut out = Routes { offsets: vec![0], lists: Vec::with_capacity(room), scores: Vec::with_capacity(room) };
        let put = |best: &[(f32, u32)]| {
            out.lists.extend(best.iter().map(|b| b.1));
            out.scores.extend(best.iter().map(|b| 0.0 - b.0));
            out.offsets.push(out.lists.len());
        };
        match &self.prepared.route {
            Search::Few(table) => table.best(self.matrix.view(), queries, keep, s, put),
            Search::Many(cells) => cells.best(self.matrix.view(), queries, keep, effort, s, put),
        }
        out
    }
}
