//! The two principal components of a few rows, and how far a plane can be trusted.

use crate::partition::Random;
use crate::transform::components;
use crate::{Matrix, Quiet, Result, Vectors};
use nalgebra::DMatrix;
use rayon::prelude::*;
use voisin_kernels::{View, dot_f64, gemm};

/// From so many dimensions on the covariance is not written down: its eigenvectors would take seconds.
const WIDE: usize = 385;
/// Rows whose sums are taken together.
const ROWS: usize = 64;
/// Most steps of Lanczos.
const STEPS: usize = 160;
/// Neighbours that trustworthiness looks at.
pub(super) const TRUST: usize = 12;

/// Rows on the plane of their two largest principal components, and the shares of the variance along it.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) places: Vec<[f64; 2]>,
    pub(super) shares: [f64; 2],
}

/// The plane of the two largest principal components of n x d rows. All sums are f64, in an order that does not depend on
/// threads. Cost: about 40·n·d above 384 dimensions, below as that of a PCA transform.
pub(super) fn principal(rows: Vectors<'_>) -> Result<Plane> {
    let (n, d) = (rows.n(), rows.d());
    if n < 2 {
        return Ok(Plane { places: vec![[0.0; 2]; n], shares: [0.0; 2] });
    }
    let mean = mean(rows);
    let square = |r: &[f32]| r.iter().zip(&mean).map(|(x, m)| (*x as f64 - m).powi(2)).sum::<f64>();
    let total: f64 = rows.iter().map(square).sum::<f64>() / n as f64;
    let found: Vec<(f64, Vec<f64>)> = if d < WIDE { components(rows, true, &Quiet)?.1 } else { lanczos(rows, &mean) };
    let mut plane = Plane { places: vec![[0.0; 2]; n], shares: [0.0; 2] };
    for (axis, (variance, direction)) in found.iter().take(2).enumerate() {
        plane.shares[axis] = if total > 0.0 { (variance / total).clamp(0.0, 1.0) } else { 0.0 };
        let shift: f64 = direction.iter().zip(&mean).map(|(v, m)| v * m).sum();
        plane.places.iter_mut().zip(rows.iter()).for_each(|(p, r)| p[axis] = dot(r, direction) - shift);
    }
    Ok(plane)
}

fn mean(rows: Vectors<'_>) -> Vec<f64> {
    let mut sum = vec![0.0f64; rows.d()];
    rows.iter().for_each(|r| sum.iter_mut().zip(r).for_each(|(s, x)| *s += *x as f64));
    sum.iter_mut().for_each(|s| *s /= rows.n() as f64);
    sum
}

/// Sum of products in eight lanes.
fn dot(row: &[f32], v: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a, b) = (row.chunks_exact(8), v.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| *x as f64 * y).sum();
    a.zip(b).for_each(|(x, y)| (0..8).for_each(|i| lanes[i] += x[i] as f64 * y[i]));
    lanes.iter().sum::<f64>() + rest
}

fn dot_wide(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The covariance of rows times a vector, without the covariance.
fn apply(rows: Vectors<'_>, mean: &[f64], v: &[f64]) -> Vec<f64> {
    let d = rows.d();
    let shift = dot_wide(mean, v);
    let part = |block: &[f32]| {
        let (mut sum, mut weights) = (vec![0.0f64; d], 0.0);
        for row in block.chunks_exact(d) {
            let weight = dot(row, v) - shift;
            weights += weight;
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += weight * *x as f64);
        }
        (sum, weights)
    };
    let parts: Vec<(Vec<f64>, f64)> = rows.data().par_chunks(ROWS * d).map(part).collect();
    let weights: f64 = parts.iter().map(|p| p.1).sum();
    let each = |j: usize| (parts.iter().map(|p| p.0[j]).sum::<f64>() - weights * mean[j]) / rows.n() as f64;
    (0..d).map(each).collect()
}

/// The two largest variances of rows and their directions, the largest component of each positive.
///
/// # Source
/// Lanczos with full reorthogonalisation: Parlett, "The Symmetric Eigenvalue Problem", 1998, ch. 13.
fn lanczos(rows: Vectors<'_>, mean: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let d = rows.d();
    let mut random = Random::new(1, 0);
    let mut basis = vec![unit((0..d).map(|_| random.unit() - 0.5).collect()).unwrap_or_default()];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let most = STEPS.min(d).min(rows.n());
    loop {
        let now = basis.len() - 1;
        let mut next = apply(rows, mean, &basis[now]);
        diagonal.push(dot_wide(&next, &basis[now]));
        // twice is enough to be orthogonal to all before
        for _ in 0..2 {
            for q in &basis {
                let part = dot_wide(&next, q);
                next.iter_mut().zip(q).for_each(|(x, q)| *x -= part * q);
            }
        }
        let length = dot_wide(&next, &next).sqrt();
        let steps = diagonal.len();
        let small = length <= 1e-13 * diagonal[0].abs().max(f64::MIN_POSITIVE);
        if steps >= most || small || steps % 8 == 0 {
            let ritz = ritz(&diagonal, &beside);
            let sure = |(value, v): &(f64, Vec<f64>)| length * v[steps - 1].abs() <= 1e-10 * value.abs();
            if steps >= most || small || ritz.iter().take(2).all(sure) {
                return ritz.into_iter().take(2).map(|(value, v)| (value, combine(&basis, &v))).collect();
            }
        }
        beside.push(length);
        basis.push(next.into_iter().map(|x| x / length).collect());
    }
}

/// Eigenvalues and eigenvectors of a symmetric tridiagonal matrix, largest first.
fn ritz(diagonal: &[f64], beside: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let n = diagonal.len();
    let t = DMatrix::from_fn(n, n, |i, j| match (i == j, i + 1 == j || j + 1 == i) {
        (true, _) => diagonal[i],
        (_, true) => beside[i.min(j)],
        _ => 0.0,
    });
    let eigen = t.symmetric_eigen();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    order.into_iter().map(|i| (eigen.eigenvalues[i], eigen.eigenvectors.column(i).iter().copied().collect())).collect()
}

fn combine(basis: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; basis[0].len()];
    basis.iter().zip(weights).for_each(|(q, w)| out.iter_mut().zip(q).for_each(|(o, q)| *o += w * q));
    let largest = out.iter().fold(0.0f64, |m, x| if x.abs() > m.abs() { *x } else { m });
    if largest < 0.0 {
        out.iter_mut().for_each(|x| *x = -*x);
    }
    out
}

fn unit(mut v: Vec<f64>) -> Option<Vec<f64>> {
    let length = dot_wide(&v, &v).sqrt();
    v.iter_mut().for_each(|x| *x /= length);
    (length > 0.0).then_some(v)
}

/// Squared distances of every two rows, n x n, by products of f32 of the rows less their mean.
pub(super) fn distances(rows: Vectors<'_>) -> Matrix {
    let (n, d, mean) = (rows.n(), rows.d(), mean(rows));
    let mut less = rows.data().to_vec();
    less.par_chunks_mut(d).for_each(|r| r.iter_mut().zip(&mean).for_each(|(x, m)| *x = (*x as f64 - m) as f32));
    let norms: Vec<f32> = less.par_chunks(d).map(|r| dot_f64(r, r) as f32).collect();
    let mut out = Matrix::zeros(n, n.max(1));
    gemm(View::new(&less, n, d), View::new(&less, n, d).t(), out.data_mut(), false);
    out.data_mut().par_chunks_mut(n.max(1)).zip(&norms).for_each(|(line, a)| {
        line.iter_mut().zip(&norms).for_each(|(x, b)| *x = (a + b - 2.0 * *x).max(0.0));
    });
    out
}

/// How far the neighbours on the plane are neighbours indeed, 0 to 1: of the (at most 12) nearest places of each, those that
/// are none of its nearest rows count by how far from it they are in truth.
///
/// `far` are the squared distances of the rows, n x n. Where two are the same the first row is nearer.
///
/// # Source
/// Venna & Kaski, "Neighborhood preservation in nonlinear projection methods: an experimental study", ICANN 2001.
pub(super) fn trustworthiness(far: &Matrix, places: &[[f64; 2]]) -> f64 {
    let n = places.len();
    // it is defined for fewer than half of the rows
    let k = TRUST.min(n.saturating_sub(1) / 2);
    if k == 0 {
        return 1.0;
    }
    let penalty = |i: usize| -> f64 {
        let near = |j: &usize| (places[*j][0] - places[i][0]).powi(2) + (places[*j][1] - places[i][1]).powi(2);
        let mut others: Vec<usize> = (0..n).filter(|j| *j != i).collect();
        others.select_nth_unstable_by(k - 1, |a, b| near(a).total_cmp(&near(b)).then(a.cmp(b)));
        let row = far.row(i);
        let rank = |j: usize| 1 + (0..n).filter(|&o| o != i && (row[o], o) < (row[j], j)).count();
        others[..k].iter().map(|&j| rank(j).saturating_sub(k) as f64).sum()
    };
    let sums: Vec<f64> = (0..n).into_par_iter().map(penalty).collect();
    let (n, k) = (n as f64, k as f64);
    1.0 - sums.iter().sum::<f64>() * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0))
}
