//! Rows times a packed matrix, in units that stay in the cache, each unit on one thread.

use crate::Vectors;
use rayon::prelude::*;
use voisin_kernels::{Packed, View, row, tiles};

/// Rows a unit: eight panels of the widest tile.
pub(crate) const UNIT: usize = 96;

/// The right side of a product, packed once; cheap to clone.
#[derive(Clone)]
pub(crate) struct Right(std::sync::Arc<Packed>);

impl std::fmt::Debug for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Right({} x {})", self.n(), self.k())
    }
}

impl Right {
    pub(crate) fn new(rows: Vectors<'_>) -> Right {
        Right(std::sync::Arc::new(Packed::right(View::new(rows.data(), rows.n(), rows.d()))))
    }

    pub(crate) fn n(&self) -> usize {
        self.0.n()
    }

    pub(crate) fn k(&self) -> usize {
        self.0.k()
    }

    /// Distance between the rows of a product.
    pub(crate) fn stride(&self) -> usize {
        self.n().next_multiple_of(self.0.width())
    }

    /// Products of at most [`UNIT`] rows, on this thread; row i of the answer begins at i * stride.
    pub(crate) fn product<'a>(&self, rows: Vectors<'_>, out: &'a mut Vec<f32>) -> &'a mut [f32] {
        let (m, ldc) = (rows.n(), self.stride());
        let room = m.next_multiple_of(UNIT) * ldc;
        if out.len() < room {
            out.resize(room, 0.0);
        }
        if m < 8 {
            for (x, line) in rows.iter().zip(out.chunks_exact_mut(ldc)) {
                row(x, &self.0, line);
            }
        } else {
            let left = Packed::left(View::new(rows.data(), m, rows.d()));
            tiles(&left, 0..m, &self.0, 0..self.n(), out, ldc);
        }
        &mut out[..m * ldc]
    }
}

/// Maps units of rows in parallel and chains what they give, in order.
pub(crate) fn by_units<S: Default, T: Send>(
    rows: Vectors<'_>,
    f: impl Fn(Vectors<'_>, &mut S) -> Vec<T> + Sync + Send,
) -> Vec<T> {
    by_units_at(rows, |_, unit, s| f(unit, s))
}

/// As [`by_units`], with the number of the first row of each unit.
pub(crate) fn by_units_at<S: Default, T: Send>(
    rows: Vectors<'_>,
    f: impl Fn(usize, Vectors<'_>, &mut S) -> Vec<T> + Sync + Send,
) -> Vec<T> {
    let n = rows.n();
    let parts: Vec<Vec<T>> = (0..n.div_ceil(UNIT))
        .into_par_iter()
        .map_init(S::default, |scratch, u| f(u * UNIT, rows.rows(u * UNIT..((u + 1) * UNIT).min(n)), scratch))
        .collect();
    let mut out = Vec::with_capacity(n);
    parts.into_iter().for_each(|p| out.extend(p));
    out
}
