//! Many centroids in cells: a coarse search that does not look at all of them.
//!
//! The centroids are clustered themselves; a query scans the codes of the centroids in its nearest cells. Deterministic, and the
//! same for one query or many: what is visited depends on the query alone.

use super::kmeans::{KMeansParams, kmeans};
use super::table::{Pick, Scratch, Table, among, key, key8, limit, mean, settle};
use crate::{Matrix, Metric, Quiet, Vectors};
use rayon::prelude::*;
use voisin_kernels::{Grid8, Hits8, Store8};

/// From this many centroids on they stand in cells.
pub(crate) const MANY: usize = 16_384;
/// Centroids a cell, on average.
const CELL: usize = 128;
/// Cells visited, as a multiple of the root of their number. Measured on 65,536 and 16,384 centroids of SIFT: 99 % or more of the
/// true lists of a query, 99 % of the nearest lists of vectors, 95 % of the neighbours that training looks at.
pub(crate) const ROUTE: f64 = 2.2;
const ASSIGN: f64 = 1.5;
pub(crate) const TRAIN: f64 = 1.0;
/// Rows whose cells are sorted together when vectors are assigned.
const BLOCK: usize = 1 << 16;

/// Cells of centroids, with the codes of the centroids cell by cell.
#[derive(Debug)]
pub(crate) struct Cells {
    metric: Metric,
    centre: Vec<f32>,
    centres: Matrix,
    coarse: Table,
    grid: Grid8,
    /// The centroid at each place, or `u32::MAX`.
    slots: Vec<u32>,
    /// First panel of each cell, and the end.
    first: Vec<u32>,
}

impl Cells {
    /// Clusters the centroids; the seed is fixed.
    pub(crate) fn new(centroids: Vectors<'_>, metric: Metric) -> Cells {
        let cells = (centroids.n() / CELL).max(1);
        let params = KMeansParams { k: cells, niter: 4, max_points_per_centroid: Some(32), ..KMeansParams::default() };
        let found = kmeans(centroids, &params, &Quiet).expect("fewer cells than centroids");
        let mut members = vec![Vec::new(); cells];
        found.assignment.iter().zip(0u32..).for_each(|(&cell, c)| members[cell as usize].push(c));
        let (mut slots, mut first) = (Vec::new(), vec![0]);
        for m in members {
            slots.extend_from_slice(&m);
            slots.resize(slots.len().next_multiple_of(Grid8::WIDTH), u32::MAX);
            first.push((slots.len() / Grid8::WIDTH) as u32);
        }
        // under ip nothing is taken off; queries are then near cells by their dot products
        let centre = if metric == Metric::Ip { vec![0.0; centroids.d()] } else { mean(centroids) };
        let store = Store8::new(centroids.data(), centroids.d(), Some(&centre));
        let grid = Grid8::new(&store, &slots, key8(metric));
        let coarse = Table::new(found.centroids.view(), metric, Some(centre.clone()));
        Cells { metric, centre, centres: found.centroids, coarse, grid, slots, first }
    }

    fn cells(&self) -> usize {
        self.centres.n()
    }

    fn panels(&self, cell: u32) -> std::ops::Range<usize> {
        self.first[cell as usize] as usize..self.first[cell as usize + 1] as usize
    }

    /// Cells to visit for the `keep` nearest centroids: `effort` times the root of their number, and room for `keep` itself.
    fn visits(&self, keep: usize, effort: f64) -> usize {
        let base = effort * (self.cells() as f64).sqrt();
        (base.ceil() as usize).saturating_add(keep.saturating_mul(16) / CELL).clamp(1, self.cells())
    }

    /// The `keep` best centroids of each row, as (key, list), best first.
    pub(crate) fn best(
        &self,
        centroids: Vectors<'_>,
        rows: Vectors<'_>,
        keep: usize,
        effort: f64,
        s: &mut Scratch,
        mut each: impl FnMut(&[(f32, u32)]),
    ) {
        s.store.refill(rows.data(), rows.d(), Some(&self.centre), &mut s.line);
        let (mut lower, mut slots) = (Vec::new(), Vec::new());
        let mut fine = Pick::default();
        for (i, q) in rows.iter().enumerate() {
            let visits = self.visits(keep, effort);
            self.coarse.best_one(self.centres.view(), q, i, visits, &s.store, &mut s.lower, &mut s.pick);
            lower.clear();
            slots.clear();
            // where data lies in clumps some cells are many times the mean, and fewer of them do
            let enough = (2 * visits * CELL).max(keep.saturating_mul(4)).max(MANY / 4);
            for &(_, cell) in &s.pick.keys {
                let (panels, at) = (self.panels(cell), lower.len());
                lower.resize(at + panels.len() * Grid8::WIDTH, 0.0);
                slots.extend_from_slice(&self.slots[panels.start * Grid8::WIDTH..panels.end * Grid8::WIDTH]);
                self.grid.lower(&s.store, i, panels, &mut lower[at..]);
                if lower.len() >= enough {
                    break;
                }
            }
            let within = |key| limit(self.metric, &s.store, i, key);
            fine.best(&lower, keep, centroids, |place| slots[place as usize], self.metric, q, within);
            each(&fine.keys);
        }
    }

    /// The nearest centroid (L2) of each row among those of its nearest cells.
    pub(crate) fn assign(&self, centroids: Vectors<'_>, rows: Vectors<'_>) -> Vec<u32> {
        let mut lists = Vec::with_capacity(rows.n());
        for first in (0..rows.n()).step_by(BLOCK) {
            lists.extend(self.assign_block(centroids, rows.rows(first..(first + BLOCK).min(rows.n()))));
        }
        lists
    }

    /// Cell by cell, so that the codes of a cell are read once for all rows that visit it: first the nearest cell of each
    /// row, which gives a limit that the centroids of the others mostly exceed.
    fn assign_block(&self, centroids: Vectors<'_>, rows: Vectors<'_>) -> Vec<u32> {
        let store = Store8::new(rows.data(), rows.d(), Some(&self.centre));
        let visits = self.visits(1, ASSIGN);
        let nearest = self.nearest_cells(rows, &store, visits);
        let list = |place: u32| self.slots[place as usize];
        let own = |cell: u32, rows_of: &[u32], hits: &mut Hits8| {
            let mut out = Vec::with_capacity(rows_of.len());
            self.grid.nearest(&store, rows_of, self.panels(cell), &[], hits, |i, _, found| {
                let r = rows_of[i] as usize;
                let list = settle(rows.row(r), &store, r, found, list, centroids);
                out.push((rows_of[i], list, key(Metric::L2, rows.row(r), centroids.row(list as usize))));
            });
            out
        };
        let mut best = vec![(0u32, f32::INFINITY); rows.n()];
        let firsts = self.by_cell(&nearest, visits, 0..1);
        let found: Vec<Vec<(u32, u32, f32)>> =
            firsts.par_iter().enumerate().map_init(Hits8::default, |h, (c, r)| own(c as u32, r, h)).collect();
        found.iter().flatten().for_each(|&(r, list, key)| best[r as usize] = (list, key));
        let limits: Vec<f32> = best.iter().enumerate().map(|(r, b)| store.limit(r, b.1)).collect();
        let other = |cell: u32, rows_of: &[u32], hits: &mut Hits8| {
            let mut out = Vec::new();
            self.grid.nearest(&store, rows_of, self.panels(cell), &limits, hits, |i, _, found| {
                let r = rows_of[i] as usize;
                if !found.is_empty() {
                    let list = among(rows.row(r), centroids, found.iter().map(|f| list(f.0)).filter(|l| *l != u32::MAX));
                    out.push((rows_of[i], list, key(Metric::L2, rows.row(r), centroids.row(list as usize))));
                }
            });
            out
        };
        let others = self.by_cell(&nearest, visits, 1..visits);
        let found: Vec<Vec<(u32, u32, f32)>> =
            others.par_iter().enumerate().map_init(Hits8::default, |h, (c, r)| other(c as u32, r, h)).collect();
        for &(r, list, key) in found.iter().flatten() {
            let b = &mut best[r as usize];
            if key < b.1 || (key == b.1 && list < b.0) {
                *b = (list, key);
            }
        }
        best.into_iter().map(|b| b.0).collect()
    }

    /// The nearest cells of each row, `visits` a row, nearest first; `u32::MAX` where those before are enough.
    fn nearest_cells(&self, rows: Vectors<'_>, store: &Store8, visits: usize) -> Vec<u32> {
        let mut out = vec![0; rows.n() * visits];
        out.par_chunks_mut(visits * 64).enumerate().for_each_init(Scratch::default, |s, (u, out)| {
            let enough = (2 * visits * CELL).max(MANY / 4);
            for (i, out) in out.chunks_exact_mut(visits).enumerate() {
                let (r, mut places) = (u * 64 + i, 0);
                self.coarse.best_one(self.centres.view(), rows.row(r), r, visits, store, &mut s.lower, &mut s.pick);
                for (o, k) in out.iter_mut().zip(&s.pick.keys) {
                    *o = if places < enough { k.1 } else { u32::MAX };
                    places += self.panels(k.1).len() * Grid8::WIDTH;
                }
            }
        });
        out
    }

    /// The rows that have each cell at some ranks.
    fn by_cell(&self, nearest: &[u32], visits: usize, ranks: std::ops::Range<usize>) -> Vec<Vec<u32>> {
        let mut out = vec![Vec::new(); self.cells()];
        for (r, cells) in nearest.chunks_exact(visits).enumerate() {
            cells[ranks.clone()].iter().filter(|c| **c != u32::MAX).for_each(|&c| out[c as usize].push(r as u32));
        }
        out
    }
}
