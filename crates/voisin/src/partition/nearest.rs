//! The nearest centroid of every training row, iteration after iteration.
//!
//! Where the processor multiplies bytes, rows are compared with centroids as 8-bit codes first; the certified bounds of
//! those products leave one or two centroids a row, whose distances are then computed in f32. The lists are those of f32.

use super::product::{Right, UNIT};
use crate::Vectors;
use rayon::prelude::*;
use voisin_kernels::{Codes8, Key, Row8, Rows8, argmin, dot, int8_available, norms_squared, tiles8};

/// Longest rows that codes are made of.
const MAX_CODED: usize = 65_000;

/// Holds what stays the same while centroids move.
pub(crate) struct Nearest {
    lists: Vec<u32>,
    codes: Option<Rows8>,
}

impl Nearest {
    pub(crate) fn new(data: Vectors<'_>) -> Nearest {
        let coded = int8_available() && data.d() <= MAX_CODED;
        let codes = coded.then(|| Rows8::new(data.data(), data.d(), false));
        Nearest { lists: vec![0; data.n()], codes }
    }

    /// The list of every row.
    pub(crate) fn lists(&self) -> &[u32] {
        &self.lists
    }

    /// Finds the nearest of `centroids` for every row; the smaller list on a tie.
    pub(crate) fn update(&mut self, data: Vectors<'_>, centroids: Vectors<'_>) {
        let mut bias = vec![0.0; centroids.n()];
        norms_squared(centroids.data(), &mut bias);
        match &self.codes {
            Some(rows) => by_codes(data, rows, centroids, &bias, &mut self.lists),
            None => by_products(data, centroids, &bias, &mut self.lists),
        }
    }
}

fn by_products(data: Vectors<'_>, centroids: Vectors<'_>, bias: &[f32], lists: &mut [u32]) {
    let right = Right::new(centroids);
    let stride = right.stride();
    lists.par_chunks_mut(UNIT).enumerate().for_each_init(Vec::new, |scratch, (u, lists)| {
        let rows = data.rows(u * UNIT..u * UNIT + lists.len());
        for (list, p) in lists.iter_mut().zip(right.product(rows, scratch).chunks_exact(stride)) {
            *list = argmin(&p[..bias.len()], bias, -2.0).0.min(bias.len() as u32 - 1);
        }
    });
}

fn by_codes(data: Vectors<'_>, rows: &Rows8, centroids: Vectors<'_>, bias: &[f32], lists: &mut [u32]) {
    let k = centroids.n();
    let codes = Codes8::new(centroids.data(), centroids.d(), Key::L2, false);
    let stride = k.next_multiple_of(Codes8::WIDTH);
    let near = Near { codes, centroids, bias };
    let scratch = || (vec![0i32; UNIT * stride], Vec::new());
    lists.par_chunks_mut(UNIT).enumerate().for_each_init(scratch, |(products, candidates), (u, lists)| {
        let first = u * UNIT;
        tiles8(rows, first..first + lists.len(), &near.codes, 0..k, products, stride);
        for (i, (list, p)) in lists.iter_mut().zip(products.chunks_exact(stride)).enumerate() {
            *list = near.settle(data.row(first + i), rows.row(first + i), p, candidates);
        }
    });
}

struct Near<'a> {
    codes: Codes8,
    centroids: Vectors<'a>,
    bias: &'a [f32],
}

impl Near<'_> {
    fn key(&self, x: &[f32], c: usize) -> f32 {
        self.bias[c] - 2.0 * dot(x, self.centroids.row(c))
    }

    /// The nearest centroid, from a row of code products.
    fn settle(&self, x: &[f32], row: Row8, products: &[i32], candidates: &mut Vec<(u32, f32)>) -> u32 {
        let k = self.bias.len();
        let (probable, lower, next) = self.codes.two_smallest(products, row);
        let probable = probable.min(k as u32 - 1);
        // mostly the codes alone settle it, and the row itself need not be fetched
        if lower + self.codes.width(probable as usize, row) < next {
            return probable;
        }
        let key = self.key(x, probable as usize);
        if key < next {
            return probable;
        }
        candidates.clear();
        self.codes.below(products, 0..k, row, key, candidates);
        let mut best = (key, probable);
        for &(c, _) in candidates.iter().filter(|c| c.0 != probable) {
            let key = self.key(x, c as usize);
            if key < best.0 || (key == best.0 && c < best.1) {
                best = (key, c);
            }
        }
        best.1
    }
}
