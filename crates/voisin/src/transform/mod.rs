//! Linear maps before everything else.

use crate::{Matrix, Vectors};
use rayon::prelude::*;
use voisin_kernels::dots;

/// y = W x + b.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// d_out x d_in.
    pub(crate) weight: Matrix,
    /// d_out values.
    pub(crate) bias: Vec<f32>,
}

impl Linear {
    /// The map of every row.
    pub(crate) fn apply(&self, rows: Vectors<'_>) -> Matrix {
        let d = self.weight.n();
        let mut out = Matrix::zeros(rows.n(), d);
        out.data_mut().par_chunks_mut(d).zip(rows.data().par_chunks(rows.d())).for_each(|(to, x)| {
            dots(x, self.weight.data(), to);
            to.iter_mut().zip(&self.bias).for_each(|(t, b)| *t += b);
        });
        out
    }
}
