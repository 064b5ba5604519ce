//! Choosing lists by what queries found: a linear layer with a softmax, trained on the lists that hold the true neighbours of
//! some queries. It replaces the centroids for choosing lists only; where vectors are stored does not change.
//!
//! A query visits the lists with the largest probability for each vector compared: the logit less a part of the logarithm of the
//! list's size. Scores are products of f32 found by 8-bit bounds, as those of centroids under ip; from 16,384 lists on the rows of
//! the layer stand in cells.
//!
//! # Source
//! Vecchiato, Lucchese, Nardini, Bruch, "A learning-to-rank formulation of clustering-based approximate nearest neighbor
//! search", arXiv 2404.11731.

use super::sample::normalise;
use super::{Centroids, RouteParams, Routes};
use crate::{Matrix, Metric, Vectors};
use std::borrow::Cow;

/// Queries whose probabilities are added up at once.
const BLOCK: usize = 32;

/// A layer that says which lists a query visits.
#[derive(Clone, Debug)]
pub struct Router {
    /// A row a list: its weights, and what the last value of a query is multiplied by.
    rows: Centroids,
    /// What was taken off the logit of each list for its size.
    prior: Vec<f32>,
    /// The last value of every query: it carries the bias into the product.
    lift: f32,
    /// Whether queries are brought to unit length first: under ip, where length says nothing about neighbours.
    unit: bool,
}

impl Router {
    /// Takes nlist x (d + 1) rows, the last column being what `lift` is multiplied by, and what was taken off the logit of each
    /// list. Cost: the codes of the rows, and for many lists a small k-means of them.
    ///
    /// # Panics
    /// If `prior` is not one value a list.
    pub fn new(rows: Matrix, prior: Vec<f32>, lift: f32, metric: Metric) -> Router {
        assert_eq!(rows.n(), prior.len(), "one value a list");
        Router { rows: Centroids::new(rows, Metric::Ip), prior, lift, unit: metric == Metric::Ip }
    }

    /// Number of lists.
    pub fn nlist(&self) -> usize {
        self.rows.k()
    }

    /// Dimensions of a query.
    pub fn d(&self) -> usize {
        self.rows.d() - 1
    }

    /// The rows, nlist x (d + 1).
    pub fn rows(&self) -> &Matrix {
        self.rows.matrix()
    }

    /// What was taken off the logit of each list for its size.
    pub fn prior(&self) -> &[f32] {
        &self.prior
    }

    /// The last value of every query.
    pub fn lift(&self) -> f32 {
        self.lift
    }

    /// The lists that each query visits, best first. Scores are logits less what was taken off. `mass` needs the logits of all
    /// lists.
    pub(crate) fn route(&self, queries: Vectors<'_>, params: &RouteParams) -> Routes {
        assert_eq!(queries.d(), self.d(), "queries and router have the same dimensions");
        let Some(mass) = params.mass else {
            return self.rows.route(self.lifted(queries).view(), params);
        };
        let most = if params.nprobe == 0 { self.nlist() } else { params.nprobe };
        let mut out = Routes::from_rows([]);
        for first in (0..queries.n()).step_by(BLOCK) {
            let block = queries.rows(first..(first + BLOCK).min(queries.n()));
            let mut routes = self.rows.route(self.lifted(block).view(), &RouteParams::default());
            let stops: Vec<usize> = (0..block.n()).map(|q| self.reached(mass, routes.lists(q), routes.scores(q))).collect();
            routes.cut(|q, _| stops[q].min(most));
            out.append(&routes);
        }
        out
    }

    /// How many of the lists, all of them in order, it takes to reach a probability.
    fn reached(&self, mass: f32, lists: &[u32], scores: &[f32]) -> usize {
        let mut seen = 0.0;
        let reached = |p: &f64| {
            seen += p;
            seen >= mass as f64
        };
        self.probabilities(lists, scores).iter().position(reached).map_or(lists.len(), |i| i + 1)
    }

    /// The probability of each of the lists, which must be all of them, from their scores.
    pub(crate) fn probabilities(&self, lists: &[u32], scores: &[f32]) -> Vec<f64> {
        let logits: Vec<f64> = lists.iter().zip(scores).map(|(&l, &s)| (s + self.prior[l as usize]) as f64).collect();
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let all: f64 = logits.iter().map(|z| (z - top).exp()).sum();
        logits.iter().map(|z| (z - top).exp() / all).collect()
    }

    /// Queries with their last value.
    fn lifted(&self, queries: Vectors<'_>) -> Matrix {
        let d = queries.d();
        let mut out = Matrix::zeros(queries.n(), d + 1);
        for (i, q) in queries.iter().enumerate() {
            let row = out.row_mut(i);
            row[..d].copy_from_slice(q);
            if self.unit {
                normalise(&mut row[..d]);
            }
            row[d] = self.lift;
        }
        out
    }
}

/// Queries as a router takes them: at unit length under ip.
pub(super) fn directed(queries: Vectors<'_>, metric: Metric) -> Cow<'_, [f32]> {
    if metric != Metric::Ip {
        return Cow::Borrowed(queries.data());
    }
    let mut rows = Matrix::new(queries.data().to_vec(), queries.d());
    (0..rows.n()).for_each(|i| normalise(rows.row_mut(i)));
    Cow::Owned(rows.into_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two values a query; logits x, y, x + y - 1, of which ln 2 was taken off the first.
    fn router(metric: Metric) -> Router {
        let ln2 = std::f32::consts::LN_2;
        let rows = vec![1.0, 0.0, -ln2 / 0.5, 0.0, 1.0, 0.0, 1.0, 1.0, -1.0 / 0.5];
        Router::new(Matrix::new(rows, 3), vec![ln2, 0.0, 0.0], 0.5, metric)
    }

    #[test]
    fn lists_are_ordered_by_logit_and_size() {
        let q = Matrix::new(vec![2.0, 1.5], 2);
        let routes = router(Metric::L2).route(q.view(), &RouteParams::default());
        // 2 - ln 2 = 1.307, 1.5, 2.5
        assert_eq!(routes.lists(0), [2, 1, 0]);
        assert!((routes.scores(0)[2] - (2.0 - std::f32::consts::LN_2)).abs() < 1e-6);
        assert_eq!(router(Metric::L2).route(q.view(), &RouteParams { nprobe: 1, mass: None }).lists(0), [2]);
    }

    #[test]
    fn mass_is_that_of_the_logits() {
        let q = Matrix::new(vec![2.0, 1.5], 2);
        // exp of 2.5, 1.5, 2 (the size given back): 12.18, 4.48, 7.39 of 24.05
        let lists = |mass: f32| router(Metric::L2).route(q.view(), &RouteParams { nprobe: 0, mass: Some(mass) }).lists(0).len();
        assert_eq!((lists(0.5), lists(0.51), lists(0.69), lists(0.70), lists(1.0)), (1, 2, 2, 3, 3));
    }

    #[test]
    fn length_counts_for_nothing_under_ip() {
        let q = Matrix::new(vec![0.6, 0.8, 60.0, 80.0], 2);
        let routes = router(Metric::Ip).route(q.view(), &RouteParams::default());
        assert_eq!(routes.lists(0), routes.lists(1));
    }
}
