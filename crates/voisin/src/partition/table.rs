//! Centroids prepared to be compared with, by 8-bit bounds first.
//!
//! The rule is f32 alone: squared L2 by `l2_squared`, or the dot product by `dot`, the smaller list on a tie. Bounds only decide
//! which centroids need not be looked at, so lists and scores are the same for one row or many and on every processor with
//! the same f32 arithmetic.

// "not above" keeps NaN, "at most" would lose it
#![allow(clippy::neg_cmp_op_on_partial_ord)]

use crate::{Metric, Vectors};
use rayon::prelude::*;
use voisin_kernels::{Grid8, Hits8, Key, Store8, dot, l2_squared, limit_of_smallest, not_above, prefetch};

/// Longest rows that codes are made of.
const MAX_CODED: usize = 65_000;
/// Rows whose nearest centroids are found together.
const UNIT: usize = 192;
/// Bytes of columns that all rows of a unit meet before the next columns are fetched: half of a usual second cache.
const BLOCK_BYTES: usize = 1 << 19;

/// Codes of centroids; the centroids themselves are handed to every call.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    metric: Metric,
    /// The mean, taken off both sides: what is left is shorter, and so are the bounds. None under ip.
    centre: Option<Vec<f32>>,
    /// `None` where rows are too long for codes: everything is then compared in f32.
    grid: Option<Grid8>,
}

/// Memory of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) store: Store8,
    pub(crate) line: Vec<f32>,
    pub(crate) hits: Hits8,
    pub(crate) lower: Vec<f32>,
    pub(crate) pick: Pick,
}

/// Memory of a choice among lower bounds.
#[derive(Default)]
pub(crate) struct Pick {
    minima: Vec<f32>,
    found: Vec<u32>,
    /// (key, list), best first after [`Pick::best`].
    pub(crate) keys: Vec<(f32, u32)>,
}

/// Mean of the rows, the same for any number of threads.
pub(crate) fn mean(rows: Vectors<'_>) -> Vec<f32> {
    let d = rows.d();
    let sum = |rows: &[f32]| {
        let mut sum = vec![0.0f64; d];
        rows.chunks_exact(d).for_each(|r| sum.iter_mut().zip(r).for_each(|(s, &x)| *s += x as f64));
        sum
    };
    let parts: Vec<Vec<f64>> = rows.data().par_chunks(1024 * d).map(sum).collect();
    let mut total = vec![0.0f64; d];
    parts.iter().for_each(|p| total.iter_mut().zip(p).for_each(|(t, x)| *t += x));
    let mean: Vec<f32> = total.iter().map(|t| (t / rows.n().max(1) as f64) as f32).collect();
    if mean.iter().all(|x| x.is_finite()) { mean } else { vec![0.0; d] }
}

/// Whether rows of d values have codes.
pub(crate) fn coded(d: usize) -> bool {
    (1..=MAX_CODED).contains(&d)
}

/// The f32 key of a centroid: smaller is better. Adding 0 makes one zero of both.
pub(crate) fn key(metric: Metric, q: &[f32], c: &[f32]) -> f32 {
    0.0 + if metric == Metric::Ip { -dot(q, c) } else { l2_squared(q, c) }
}

pub(crate) fn key8(metric: Metric) -> Key {
    if metric == Metric::Ip { Key::Ip } else { Key::L2 }
}

impl Table {
    /// `centre` is the caller's, or the mean of the centroids.
    pub(crate) fn new(centroids: Vectors<'_>, metric: Metric, centre: Option<Vec<f32>>) -> Table {
        let centre = (metric != Metric::Ip).then(|| centre.unwrap_or_else(|| mean(centroids)));
        let grid = coded(centroids.d()).then(|| {
            let store = Store8::new(centroids.data(), centroids.d(), centre.as_deref());
            Grid8::new(&store, &(0..centroids.n() as u32).collect::<Vec<u32>>(), key8(metric))
        });
        Table { metric, centre, grid }
    }

    /// Codes of rows to be compared.
    pub(crate) fn encode(&self, rows: &[f32], d: usize, scratch: &mut Scratch) {
        if self.grid.is_some() {
            scratch.store.refill(rows, d, self.centre.as_deref(), &mut scratch.line);
        }
    }

    /// The `keep` best centroids of each row of a unit, as (key, list), best first.
    pub(crate) fn best(
        &self,
        centroids: Vectors<'_>,
        rows: Vectors<'_>,
        keep: usize,
        s: &mut Scratch,
        mut each: impl FnMut(&[(f32, u32)]),
    ) {
        let (k, m) = (centroids.n(), rows.n());
        self.encode(rows.data(), rows.d(), s);
        let Some(grid) = self.grid.as_ref().filter(|_| keep < k) else {
            for q in rows.iter() {
                s.pick.keys.clear();
                s.pick.keys.extend(centroids.iter().zip(0..).map(|(c, l)| (key(self.metric, q, c), l)));
                s.pick.sort(keep);
                each(&s.pick.keys);
            }
            return;
        };
        let places = grid.places();
        s.lower.resize(m * places, 0.0);
        // blocks of columns outside, rows inside: the columns stay in the cache
        let step = (BLOCK_BYTES / (Grid8::WIDTH * rows.d())).max(2) & !1;
        for first in (0..grid.panels()).step_by(step) {
            let panels = first..(first + step).min(grid.panels());
            let at = first * Grid8::WIDTH..panels.end * Grid8::WIDTH;
            for (i, lower) in s.lower.chunks_exact_mut(places).take(m).enumerate() {
                grid.lower(&s.store, i, panels.clone(), &mut lower[at.clone()]);
            }
        }
        for (i, (q, lower)) in rows.iter().zip(s.lower.chunks_exact(places)).enumerate() {
            self.choose(centroids, q, i, lower, keep, &s.store, &mut s.pick);
            each(&s.pick.keys);
        }
    }

    /// The `keep` best centroids of one row, which stands in `store` as `row`, into `pick`.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn best_one(
        &self,
        centroids: Vectors<'_>,
        q: &[f32],
        row: usize,
        keep: usize,
        store: &Store8,
        lower: &mut Vec<f32>,
        pick: &mut Pick,
    ) {
        let grid = self.grid.as_ref().expect("rows that have codes");
        lower.resize(grid.places(), 0.0);
        grid.lower(store, row, 0..grid.panels(), lower);
        self.choose(centroids, q, row, lower, keep, store, pick);
    }

    #[allow(clippy::too_many_arguments)]
    fn choose(&self, centroids: Vectors<'_>, q: &[f32], row: usize, lower: &[f32], keep: usize, store: &Store8, pick: &mut Pick) {
        let within = |key| limit(self.metric, store, row, key);
        pick.best(&lower[..centroids.n()], keep, centroids, |place| place, self.metric, q, within);
    }

    /// The nearest centroid (L2) of every row.
    pub(crate) fn all(&self, centroids: Vectors<'_>, rows: Vectors<'_>) -> Vec<u32> {
        let mut lists = vec![0; rows.n()];
        lists.par_chunks_mut(UNIT).enumerate().for_each_init(Scratch::default, |s, (u, lists)| {
            let rows = rows.rows(u * UNIT..u * UNIT + lists.len());
            self.encode(rows.data(), rows.d(), s);
            let all: [u32; UNIT] = std::array::from_fn(|i| i as u32);
            self.nearest(centroids, rows, &s.store, &all[..lists.len()], &mut s.hits, |i, list| lists[i] = list);
        });
        lists
    }

    /// The nearest centroid (L2) of each of some rows of `store`, which has the codes of `rows`.
    pub(crate) fn nearest(
        &self,
        centroids: Vectors<'_>,
        rows: Vectors<'_>,
        store: &Store8,
        chosen: &[u32],
        hits: &mut Hits8,
        mut each: impl FnMut(usize, u32),
    ) {
        let Some(grid) = &self.grid else {
            for (i, &r) in chosen.iter().enumerate() {
                each(i, among(rows.row(r as usize), centroids, 0..centroids.n() as u32));
            }
            return;
        };
        let k = centroids.n();
        grid.nearest(store, chosen, 0..grid.panels(), &[], hits, |i, _, found| {
            let r = chosen[i] as usize;
            each(i, settle(rows.row(r), store, r, found, |place| if (place as usize) < k { place } else { u32::MAX }, centroids));
        });
    }
}

/// The largest lower bound that a centroid of this key may have.
pub(crate) fn limit(metric: Metric, store: &Store8, row: usize, key: f32) -> f32 {
    // the bounds leave room for what f32 may be wrong by
    if metric == Metric::Ip { key } else { store.limit(row, key) }
}

/// The nearest of some lists, the smaller on a tie; 0 if there is none.
pub(crate) fn among(x: &[f32], centroids: Vectors<'_>, lists: impl Iterator<Item = u32>) -> u32 {
    let mut best = (f32::INFINITY, u32::MAX);
    for list in lists {
        let key = key(Metric::L2, x, centroids.row(list as usize));
        if key < best.0 || (key == best.0 && list < best.1) {
            best = (key, list);
        }
    }
    if best.1 == u32::MAX { 0 } else { best.1 }
}

/// The nearest centroid of a row, from the places left by [`Grid8::nearest`]; `list` names a place, or gives `u32::MAX`.
pub(crate) fn settle(
    x: &[f32],
    store: &Store8,
    row: usize,
    found: &[(u32, f32)],
    list: impl Fn(u32) -> u32,
    centroids: Vectors<'_>,
) -> u32 {
    if let [(place, lower)] = found
        && lower.is_finite()
    {
        return list(*place);
    }
    // the one with the smallest bound first: it mostly rules out the others
    let first = found.iter().fold(None, |best: Option<&(u32, f32)>, f| match best {
        Some(b) if !(f.1 < b.1) => Some(b),
        _ => Some(f),
    });
    let Some(&(place, _)) = first else { return 0 };
    if list(place) == u32::MAX {
        return among(x, centroids, found.iter().map(|f| list(f.0)).filter(|l| *l != u32::MAX));
    }
    let within = store.limit(row, key(Metric::L2, x, centroids.row(list(place) as usize)));
    among(x, centroids, found.iter().filter(|f| !(f.1 > within)).map(|f| list(f.0)).filter(|l| *l != u32::MAX))
}

impl Pick {
    /// Leaves the `keep` smallest exact keys in `keys`, best first, of places whose keys are at least `lower`.
    ///
    /// `list` names the centroid at a place (`u32::MAX`: none), `limit` the bound that a place of a key may have.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn best(
        &mut self,
        lower: &[f32],
        keep: usize,
        centroids: Vectors<'_>,
        list: impl Fn(u32) -> u32,
        metric: Metric,
        q: &[f32],
        limit: impl Fn(f32) -> f32,
    ) {
        self.keys.clear();
        self.found.clear();
        let first = limit_of_smallest(lower, keep, &mut self.minima);
        not_above(lower, first, &mut self.found);
        self.compare(centroids, &list, metric, q);
        if self.keys.len() >= keep && keep > 0 {
            self.keys.select_nth_unstable_by(keep - 1, order);
            let all = limit(self.keys[keep - 1].0);
            if !(all <= first) {
                self.found.clear();
                not_above(lower, all, &mut self.found);
                self.found.retain(|&p| lower[p as usize] > first);
                self.compare(centroids, &list, metric, q);
            }
        }
        self.sort(keep);
    }

    /// Appends the keys of what was found.
    fn compare(&mut self, centroids: Vectors<'_>, list: impl Fn(u32) -> u32, metric: Metric, q: &[f32]) {
        self.found.iter_mut().for_each(|f| *f = list(*f));
        self.found.retain(|l| *l != u32::MAX);
        // all rows are asked for before the first is read: they come from farther caches
        self.found.iter().for_each(|&l| prefetch(centroids.row(l as usize)));
        self.keys.extend(self.found.iter().map(|&l| (key(metric, q, centroids.row(l as usize)), l)));
    }

    fn sort(&mut self, keep: usize) {
        if keep < self.keys.len() {
            if keep > 0 {
                self.keys.select_nth_unstable_by(keep - 1, order);
            }
            self.keys.truncate(keep);
        }
        self.keys.sort_unstable_by(order);
    }
}

fn order(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}
