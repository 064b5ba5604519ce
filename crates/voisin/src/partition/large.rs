//! k-means for thousands of centroids: two levels, then refinement among neighbours.
//!
//! About sqrt(k) coarse clusters are found on a sample, then each is clustered alone, with centroids in proportion to its rows.
//! What that gets wrong lies at the borders of the coarse clusters; it is put right by iterations of Lloyd in which a row is
//! compared with the centroids nearest to its own alone. An iteration costs n products with 64 centroids instead of k.
//!
//! # Source
//! Two levels with refinement: SuperKMeans, arXiv 2603.20009. Neighbouring centroids as candidates: Wang et al., "Fast
//! approximate k-means via cluster closures", CVPR 2012.

use super::Centroids;
use super::Routes;
use super::kmeans::{KMeansParams, Run, Sums, flat, gather};
use super::rng::Random;
use super::sample::normalise;
use super::table::{among, coded, mean, settle};
use crate::{Matrix, Metric, Result, Vectors, Watch};
use rayon::prelude::*;
use voisin_kernels::{Grid8, Hits8, Key, Store8};

/// From this many centroids on, k-means is done here.
pub(crate) const LARGE: usize = 4096;
/// Centroids that a row is compared with in an iteration, its own among them.
pub(super) const NEIGHBOURS: usize = 64;
/// Iterations of the coarse and of each fine clustering, and rows a centroid that they see.
const COARSE: (usize, usize) = (6, 128);
const FINE: (usize, usize) = (4, 64);
/// It is over when the objective falls by less than this part in an iteration.
const ENOUGH: f64 = 0.001;
/// Lists above this many times the mean are split.
pub(crate) const OVERSIZED: usize = 4;

/// Hands on the wish to stop, and no progress.
struct Silent<'a>(&'a dyn Watch);

impl Watch for Silent<'_> {
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

/// One run. The assignment is that of neighbours: for a small part of the rows another centroid is nearer.
pub(super) fn run(data: Vectors<'_>, params: &KMeansParams, redo: u64, watch: &dyn Watch) -> Result<Run> {
    let (mut centroids, mut lists) = two_levels(data, params, redo, watch)?;
    let rows = coded(data.d()).then(|| {
        let centre = mean(data);
        (Store8::new(data.data(), data.d(), Some(&centre)), centre)
    });
    let mut sums = Sums::new(data, params.k);
    sums.update(data, &lists);
    let mut splits = finish(&sums, &mut centroids, params);
    let mut objective: Vec<f64> = Vec::new();
    for iteration in 0..params.niter {
        watch.check()?;
        let near = Centroids::new(centroids, Metric::L2);
        let neighbours = near.neighbours(NEIGHBOURS);
        centroids = near.into_matrix();
        refine(data, rows.as_ref(), &centroids, &neighbours, &mut lists);
        let moved = sums.update(data, &lists);
        let now = sums.objective(centroids.view());
        watch.note(&format!("iteration {}: objective {now:.6e}", iteration + 1));
        watch.advance(1);
        let small = objective.last().is_some_and(|before| now > before * (1.0 - ENOUGH));
        objective.push(now);
        if !moved || small || iteration + 1 == params.niter {
            watch.advance((params.niter - iteration - 1) as u64);
            break;
        }
        splits += finish(&sums, &mut centroids, params);
        splits += balance(&sums, &mut centroids, &neighbours, &mut lists, params);
    }
    let final_objective = objective.last().copied().unwrap_or_default();
    Ok(Run { centroids, assignment: lists, objective, final_objective, splits })
}

fn finish(sums: &Sums, centroids: &mut Matrix, params: &KMeansParams) -> usize {
    let splits = sums.means(centroids);
    if params.spherical {
        (0..params.k).for_each(|c| normalise(centroids.row_mut(c)));
    }
    splits
}

/// Coarse clusters, then centroids within each; the list of every row. Centroids of a coarse cluster follow each other.
fn two_levels(data: Vectors<'_>, params: &KMeansParams, redo: u64, watch: &dyn Watch) -> Result<(Matrix, Vec<u32>)> {
    let (n, k) = (data.n(), params.k);
    let mut rng = Random::new(params.seed, 16 + redo);
    let mut level = |k: usize, (niter, points): (usize, usize)| KMeansParams {
        k,
        niter,
        nredo: 1,
        max_points_per_centroid: Some(points),
        seed: rng.below(u64::MAX),
        ..params.clone()
    };
    let coarse = flat(data, &level((k as f64).sqrt().round() as usize, COARSE), &Silent(watch))?;
    let mut members = vec![Vec::new(); coarse.centroids.n()];
    coarse.assignment.iter().zip(0u64..).for_each(|(&c, row)| members[c as usize].push(row));
    let shares = shares(&members.iter().map(Vec::len).collect::<Vec<usize>>(), n, k);
    let jobs: Vec<(&Vec<u64>, KMeansParams)> =
        members.iter().zip(&shares).filter(|(_, share)| **share > 0).map(|(m, &share)| (m, level(share, FINE))).collect();
    let one = |(rows, level): &(&Vec<u64>, KMeansParams)| {
        let own = gather(data, rows);
        // rows that are all alike stay in one cluster: two levels would not end
        let again = level.k >= LARGE && level.k <= k / 2;
        let found =
            if again { super::kmeans(own.view(), level, &Silent(watch)) } else { flat(own.view(), level, &Silent(watch)) }?;
        Ok((found.centroids, found.assignment))
    };
    let found: Vec<(Matrix, Vec<u32>)> = jobs.par_iter().map(one).collect::<Result<_>>()?;
    let mut centroids = Vec::with_capacity(k * data.d());
    let mut lists = vec![0u32; n];
    for ((rows, _), (own, assignment)) in jobs.iter().zip(&found) {
        let first = (centroids.len() / data.d()) as u32;
        rows.iter().zip(assignment).for_each(|(&r, &c)| lists[r as usize] = first + c);
        centroids.extend_from_slice(own.data());
    }
    Ok((Matrix::new(centroids, data.d()), lists))
}

/// Centroids of each cluster in proportion to its rows: at least one and at most one a row, k in all.
fn shares(sizes: &[usize], n: usize, k: usize) -> Vec<usize> {
    let ideal = |s: usize| k as f64 * s as f64 / n as f64;
    let mut shares: Vec<usize> = sizes.iter().map(|&s| (ideal(s) as usize).max(1).min(s)).collect();
    let mut sum: usize = shares.iter().sum();
    while sum != k {
        let up = sum < k;
        let lack = |i: usize| (ideal(sizes[i]) - shares[i] as f64) * if up { 1.0 } else { -1.0 };
        let open = (0..sizes.len()).filter(|&i| if up { shares[i] < sizes[i] } else { shares[i] > 1 });
        let at = open.max_by(|&a, &b| lack(a).total_cmp(&lack(b)).then(b.cmp(&a))).expect("1 <= k <= n");
        // several at once where one cluster alone has room
        let step = (lack(at).abs() as usize).max(1);
        let step = if up { step.min(k - sum).min(sizes[at] - shares[at]) } else { step.min(sum - k).min(shares[at] - 1) };
        if up {
            shares[at] += step
        } else {
            shares[at] -= step
        }
        sum = if up { sum + step } else { sum - step };
    }
    shares
}

/// Moves every row to the nearest of the neighbours of its centroid.
pub(super) fn refine(
    data: Vectors<'_>,
    rows: Option<&(Store8, Vec<f32>)>,
    centroids: &Matrix,
    neighbours: &Routes,
    lists: &mut [u32],
) {
    let k = centroids.n();
    let (order, starts) = by_list(lists, k);
    let mut fresh = vec![0u32; lists.len()];
    // runs of centroids with the places of their rows
    let (mut jobs, mut rest) = (Vec::new(), &mut fresh[..]);
    for first in (0..k).step_by(16) {
        let end = (first + 16).min(k);
        let (own, others) = std::mem::take(&mut rest).split_at_mut(starts[end] - starts[first]);
        rest = others;
        jobs.push((first..end, own));
    }
    let view = centroids.view();
    let codes = rows.map(|(_, centre)| Store8::new(centroids.data(), centroids.d(), Some(centre)));
    let memory = || (Grid8::default(), Hits8::default());
    jobs.into_par_iter().for_each_init(memory, |(grid, hits), (range, mut out)| {
        for c in range {
            let (own, others) = std::mem::take(&mut out).split_at_mut(starts[c + 1] - starts[c]);
            out = others;
            let (mine, near) = (&order[starts[c]..starts[c + 1]], neighbours.lists(c));
            let (Some((store, _)), Some(codes)) = (rows, &codes) else {
                own.iter_mut().zip(mine).for_each(|(o, &r)| *o = among(data.row(r as usize), view, near.iter().copied()));
                continue;
            };
            if mine.is_empty() {
                continue;
            }
            grid.refill(codes, near, Key::L2);
            let list = |place: u32| near.get(place as usize).copied().unwrap_or(u32::MAX);
            grid.nearest(store, mine, 0..grid.panels(), &[], hits, |i, _, found| {
                let r = mine[i] as usize;
                own[i] = settle(data.row(r), store, r, found, list, view);
            });
        }
    });
    order.iter().zip(&fresh).for_each(|(&r, &list)| lists[r as usize] = list);
}

/// Rows ordered by their lists, and where each list starts.
fn by_list(lists: &[u32], k: usize) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0usize; k + 1];
    lists.iter().for_each(|&l| starts[l as usize + 1] += 1);
    (0..k).for_each(|c| starts[c + 1] += starts[c]);
    let mut next = starts.clone();
    let mut order = vec![0u32; lists.len()];
    for (row, &list) in lists.iter().enumerate() {
        order[next[list as usize]] = row as u32;
        next[list as usize] += 1;
    }
    (order, starts)
}

/// Splits lists above four times the mean: the centroid of a small list moves there, and its rows go to its nearest neighbour.
fn balance(sums: &Sums, centroids: &mut Matrix, neighbours: &Routes, lists: &mut [u32], params: &KMeansParams) -> usize {
    let counts = sums.counts();
    let mean = lists.len() as f64 / params.k as f64;
    let mut large: Vec<usize> = (0..params.k).filter(|&c| counts[c] as f64 > OVERSIZED as f64 * mean).collect();
    let mut small: Vec<usize> = (0..params.k).filter(|&c| (1..=mean as usize / 2).contains(&counts[c])).collect();
    large.sort_by_key(|&c| (std::cmp::Reverse(counts[c]), c));
    small.sort_by_key(|&c| (counts[c], c));
    let mut goes: Vec<Option<u32>> = vec![None; params.k];
    let mut splits = 0;
    for (&l, &s) in large.iter().zip(&small) {
        let Some(&to) = neighbours.lists(s).iter().find(|&&c| c as usize != s && goes[c as usize].is_none()) else { continue };
        goes[s] = Some(to);
        super::kmeans::halve(centroids, l, s);
        if params.spherical {
            [l, s].into_iter().for_each(|c| normalise(centroids.row_mut(c)));
        }
        splits += 1;
    }
    if splits > 0 {
        lists.par_iter_mut().for_each(|list| *list = goes[*list as usize].unwrap_or(*list));
    }
    splits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_fit(sizes in proptest::collection::vec(0usize..200, 1..40), part in 0.0f64..1.0) {
            let n: usize = sizes.iter().sum();
            let least = sizes.iter().filter(|s| **s > 0).count();
            prop_assume!(n > 0);
            let k = least + ((n - least) as f64 * part) as usize;
            let shares = shares(&sizes, n, k);
            prop_assert_eq!(shares.iter().sum::<usize>(), k);
            prop_assert!(shares.iter().zip(&sizes).all(|(k, n)| k <= n && (*k > 0) == (*n > 0)));
        }
    }
}
