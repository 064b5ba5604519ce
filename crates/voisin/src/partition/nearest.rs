//! The nearest centroid of every training row, iteration after iteration.

use super::product::{Right, UNIT};
use crate::Vectors;
use rayon::prelude::*;
use voisin_kernels::{argmin, norms_squared};

/// Rows a chunk of the objective's sum: fixed, so that the sum does not depend on threads.
pub(crate) const CHUNK: usize = UNIT * 8;

/// Holds what stays the same while centroids move.
pub(crate) struct Nearest {
    lists: Vec<u32>,
    norms: Vec<f32>,
}

impl Nearest {
    pub(crate) fn new(data: Vectors<'_>) -> Nearest {
        let d = data.d();
        let mut norms = vec![0.0; data.n()];
        norms.par_chunks_mut(CHUNK).zip(data.data().par_chunks(CHUNK * d)).for_each(|(n, x)| norms_squared(x, n));
        Nearest { lists: vec![0; data.n()], norms }
    }

    /// Forgets what was learned from earlier centroids.
    pub(crate) fn reset(&mut self) {}

    /// The list of every row.
    pub(crate) fn lists(&self) -> &[u32] {
        &self.lists
    }

    /// Finds the nearest of `centroids` for every row; returns the sum of squared distances.
    pub(crate) fn update(&mut self, data: Vectors<'_>, centroids: Vectors<'_>) -> f64 {
        let mut bias = vec![0.0; centroids.n()];
        norms_squared(centroids.data(), &mut bias);
        let right = Right::new(centroids);
        let stride = right.stride();
        let d = data.d();
        let sums: Vec<f64> = self
            .lists
            .par_chunks_mut(CHUNK)
            .zip(self.norms.par_chunks(CHUNK))
            .zip(data.data().par_chunks(CHUNK * d))
            .map_init(Vec::new, |scratch, ((lists, norms), rows)| {
                let mut sum = 0.0;
                let rows = Vectors::new(rows, d);
                for at in (0..lists.len()).step_by(UNIT) {
                    let unit = at..(at + UNIT).min(lists.len());
                    let products = right.product(rows.rows(unit.clone()), scratch);
                    for (i, p) in unit.zip(products.chunks_exact(stride)) {
                        let (list, key) = argmin(&p[..bias.len()], &bias, -2.0);
                        lists[i] = list.min(bias.len() as u32 - 1);
                        sum += (norms[i] as f64 + key as f64).max(0.0);
                    }
                }
                sum
            })
            .collect();
        sums.iter().sum()
    }
}
