//! Linear maps before everything else, applied alike to rows and queries.

mod opq;
mod pca;
mod polar;

pub(crate) use opq::opq;
pub(crate) use pca::{components, pca};

use crate::partition::product::{Right, UNIT};
use crate::{Matrix, Vectors};
use rayon::prelude::*;

/// y = W x + b.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// d_out x d_in.
    pub(crate) weight: Matrix,
    /// d_out values.
    pub(crate) bias: Vec<f32>,
    /// The weights as a side of products.
    right: Right,
}

impl Linear {
    /// Takes weights and bias; cost: a packed copy of the weights.
    ///
    /// # Panics
    /// If there is not one bias a row of weights.
    pub(crate) fn new(weight: Matrix, bias: Vec<f32>) -> Linear {
        assert_eq!(weight.n(), bias.len());
        Linear { right: Right::new(weight.view()), weight, bias }
    }

    /// The mapped rows, in parallel. A row's result has the same bits alone and among others.
    ///
    /// # Panics
    /// If the rows have another number of dimensions.
    pub(crate) fn apply(&self, rows: Vectors<'_>) -> Matrix {
        assert_eq!(rows.d(), self.weight.d());
        let d = self.weight.n();
        let mut out = Matrix::zeros(rows.n(), d);
        out.data_mut().par_chunks_mut(UNIT * d).enumerate().for_each_init(Vec::new, |scratch, (u, out)| {
            let first = u * UNIT;
            let products = self.right.product(rows.rows(first..first + out.len() / d), scratch);
            for (to, p) in out.chunks_exact_mut(d).zip(products.chunks_exact(self.right.stride())) {
                for ((y, p), b) in to.iter_mut().zip(p).zip(&self.bias) {
                    *y = p + b;
                }
            }
        });
        out
    }
}

#[cfg(test)]
mod tests;
