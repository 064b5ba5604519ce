//! Lists around centroids.

use super::product::{Right, by_units};
use super::{RouteParams, Routes, best_lists};
use crate::{Matrix, Metric, Vectors};
use voisin_kernels::{argmin, norms_squared};

/// k centroids; a vector belongs to the nearest one in L2.
///
/// Under ip a query visits the lists whose centroids have the largest dot product with it (as FAISS does), otherwise the
/// nearest. Under cosine vectors and queries are expected at unit length.
#[derive(Clone, Debug)]
pub struct Centroids {
    matrix: Matrix,
    metric: Metric,
    right: Right,
    norms: Vec<f32>,
}

impl Centroids {
    /// Takes k x d centroids; cost: one packed copy of them.
    pub fn new(matrix: Matrix, metric: Metric) -> Centroids {
        let mut norms = vec![0.0; matrix.n()];
        norms_squared(matrix.data(), &mut norms);
        Centroids { right: Right::new(matrix.view()), matrix, metric, norms }
    }

    /// The centroids, k x d.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
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
        by_units(block, |unit, scratch: &mut Vec<f32>| {
            let stride = self.right.stride();
            let products = self.right.product(unit, scratch);
            // a row that no centroid is near to (NaN) goes to the first list
            let nearest = |p: &[f32]| argmin(&p[..self.norms.len()], &self.norms, -2.0).0;
            products.chunks_exact(stride).map(|p| nearest(p).min(self.k() as u32 - 1)).collect()
        })
    }

    pub(crate) fn route(&self, queries: Vectors<'_>, params: &RouteParams) -> Routes {
        assert_eq!(queries.d(), self.d(), "queries and centroids have the same dimensions");
        Routes::from_rows(by_units(queries, |unit, scratch: &mut Vec<f32>| {
            let stride = self.right.stride();
            let products = self.right.product(unit, scratch);
            let one = |(q, p): (&[f32], &mut [f32])| {
                let p = &mut p[..self.norms.len()];
                if self.metric != Metric::Ip {
                    let mut norm = [0.0];
                    norms_squared(q, &mut norm);
                    p.iter_mut().zip(&self.norms).for_each(|(p, c)| *p = -(norm[0] + c - 2.0 * *p).max(0.0));
                }
                best_lists(p, params.nprobe)
            };
            unit.iter().zip(products.chunks_exact_mut(stride)).map(one).collect()
        }))
    }
}
