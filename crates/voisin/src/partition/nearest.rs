//! The nearest centroid of every training row, iteration after iteration.
//!
//! Where the processor multiplies bytes, rows are compared with centroids as 8-bit codes first; the certified bounds of
//! those products leave one or two centroids a row, whose distances are then computed in f32. The lists are those of f32.

use super::Routes;
use super::large;
use super::product::{Right, UNIT};
use super::table::{Scratch, Table, coded, mean};
use crate::{Matrix, Metric, Vectors};
use rayon::prelude::*;
use voisin_kernels::{Store8, argmin, int8_available, norms_squared};

/// Rows whose nearest centroids are found together.
const ROWS: usize = 192;

/// Holds what stays the same while centroids move.
pub(crate) struct Nearest {
    lists: Vec<u32>,
    codes: Option<(Store8, Vec<f32>)>,
}

impl Nearest {
    pub(crate) fn new(data: Vectors<'_>) -> Nearest {
        let codes = (int8_available() && coded(data.d())).then(|| {
            let centre = mean(data);
            (Store8::new(data.data(), data.d(), Some(&centre)), centre)
        });
        Nearest { lists: vec![0; data.n()], codes }
    }

    /// The list of every row.
    pub(crate) fn lists(&self) -> &[u32] {
        &self.lists
    }

    /// Finds the nearest of `centroids` for every row; the smaller list on a tie.
    pub(crate) fn update(&mut self, data: Vectors<'_>, centroids: Vectors<'_>) {
        match &self.codes {
            Some((store, centre)) => {
                let table = Table::new(centroids, Metric::L2, Some(centre.clone()));
                by_codes(data, store, centroids, &table, &mut self.lists);
            }
            None => by_products(data, centroids, &mut self.lists),
        }
    }

    /// As [`Nearest::update`] among the centroids nearest to the one that a row had: `near` names these for each.
    pub(crate) fn update_among(&mut self, data: Vectors<'_>, centroids: &Matrix, near: &Routes) {
        large::refine(data, self.codes.as_ref(), centroids, near, &mut self.lists);
    }
}

fn by_products(data: Vectors<'_>, centroids: Vectors<'_>, lists: &mut [u32]) {
    let mut bias = vec![0.0; centroids.n()];
    norms_squared(centroids.data(), &mut bias);
    let right = Right::new(centroids);
    let stride = right.stride();
    lists.par_chunks_mut(UNIT).enumerate().for_each_init(Vec::new, |scratch, (u, lists)| {
        let rows = data.rows(u * UNIT..u * UNIT + lists.len());
        for (list, p) in lists.iter_mut().zip(right.product(rows, scratch).chunks_exact(stride)) {
            *list = argmin(&p[..bias.len()], &bias, -2.0).0.min(bias.len() as u32 - 1);
        }
    });
}

fn by_codes(data: Vectors<'_>, store: &Store8, centroids: Vectors<'_>, table: &Table, lists: &mut [u32]) {
    lists.par_chunks_mut(ROWS).enumerate().for_each_init(Scratch::default, |s, (u, lists)| {
        let first = (u * ROWS) as u32;
        let chosen: [u32; ROWS] = std::array::from_fn(|i| first + i as u32);
        table.nearest(centroids, data, store, &chosen[..lists.len()], &mut s.hits, |i, list| lists[i] = list);
    });
}
