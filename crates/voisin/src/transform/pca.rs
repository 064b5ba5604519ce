//! Principal components.

use super::Linear;
use crate::{Error, Matrix, Result, Vectors, Watch};
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Columns of a block of the covariance.
const BLOCK: usize = 256;
/// Rows that are widened to f64 at a time.
const ROWS: usize = 512;

/// The `d_out` directions of largest variance of the rows, largest first, the largest component of each positive.
///
/// With `centre` the mean is subtracted (squared L2 between rows does not see it); without it the directions are those of the
/// second moments, and inner products are kept as far as `d_out` dimensions can. All sums are f64, in an order that does not
/// depend on threads. Cost: n·d² and an eigendecomposition of d x d on one thread (0.06 s at d = 384, 0.6 s at 1024, two
/// minutes at 4096).
///
/// # Errors
/// `d_out` of 0 or above the dimensions of the rows; fewer rows than `d_out`; [`Error::Stopped`].
///
/// # Source
/// Jolliffe, "Principal Component Analysis", 2002.
pub(crate) fn pca(rows: Vectors<'_>, d_out: usize, centre: bool, watch: &dyn Watch) -> Result<Linear> {
    let (n, d) = (rows.n(), rows.d());
    if d_out == 0 || d_out > d || d_out > n {
        let most = format!("1 to {} (dimensions), and no more than the {n} vectors it is trained on", d);
        return Err(Error::param("PCA", d_out, most));
    }
    watch.begin("principal components", 2, "steps");
    let (mean, directions) = components(rows, centre, watch)?;
    watch.end();
    let mut weight = Matrix::zeros(d_out, d);
    let mut bias = vec![0.0; d_out];
    for (i, (_, direction)) in directions.into_iter().take(d_out).enumerate() {
        bias[i] = -direction.iter().zip(&mean).map(|(v, m)| v * m).sum::<f64>() as f32;
        weight.row_mut(i).iter_mut().zip(direction).for_each(|(w, v)| *w = v as f32);
    }
    Ok(Linear::new(weight, bias))
}

/// Variances and directions.
type Components = Vec<(f64, Vec<f64>)>;

/// The mean (zero without `centre`) and all components, largest variance first.
pub(crate) fn components(rows: Vectors<'_>, centre: bool, watch: &dyn Watch) -> Result<(Vec<f64>, Components)> {
    let d = rows.d();
    let mean = if centre { mean(rows) } else { vec![0.0; d] };
    let covariance = covariance(rows, &mean);
    watch.advance(1);
    watch.check()?;
    let eigen = covariance.symmetric_eigen();
    watch.advance(1);
    watch.check()?;
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    let component = |i: usize| {
        let v = eigen.eigenvectors.column(i);
        let largest = v.iter().fold(0.0f64, |m, x| if x.abs() > m.abs() { *x } else { m });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        (eigen.eigenvalues[i], v.iter().map(|x| sign * x).collect())
    };
    Ok((mean, order.into_iter().map(component).collect()))
}

fn mean(rows: Vectors<'_>) -> Vec<f64> {
    let d = rows.d();
    let part = |rows: &[f32]| {
        let mut sum = vec![0.0f64; d];
        rows.chunks_exact(d).for_each(|r| sum.iter_mut().zip(r).for_each(|(s, &x)| *s += x as f64));
        sum
    };
    let parts: Vec<Vec<f64>> = rows.data().par_chunks(4096 * d).map(part).collect();
    (0..d).map(|j| parts.iter().map(|p| p[j]).sum::<f64>() / rows.n() as f64).collect()
}

/// Mean product of every two dimensions, less the means.
fn covariance(rows: Vectors<'_>, mean: &[f64]) -> DMatrix<f64> {
    let (n, d) = (rows.n(), rows.d());
    let blocks: Vec<std::ops::Range<usize>> = (0..d).step_by(BLOCK).map(|s| s..(s + BLOCK).min(d)).collect();
    let pairs: Vec<(usize, usize)> = (0..blocks.len()).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
    let wide = |cols: &std::ops::Range<usize>, from: usize| {
        let (rows, mean) = (rows.rows(from..(from + ROWS).min(n)), &mean[cols.clone()]);
        let values = rows.iter().flat_map(|r| r[cols.clone()].iter().zip(mean).map(|(&x, m)| x as f64 - m));
        DMatrix::from_iterator(cols.len(), rows.n(), values)
    };
    let product = |&(i, j): &(usize, usize)| {
        let mut sum = DMatrix::zeros(blocks[i].len(), blocks[j].len());
        for from in (0..n).step_by(ROWS) {
            let a = wide(&blocks[i], from);
            let b = if i == j { a.transpose() } else { wide(&blocks[j], from).transpose() };
            sum.gemm(1.0, &a, &b, 1.0);
        }
        sum
    };
    let products: Vec<DMatrix<f64>> = pairs.par_iter().map(product).collect();
    let mut out = DMatrix::zeros(d, d);
    for ((i, j), product) in pairs.into_iter().zip(products) {
        for (a, row) in blocks[i].clone().enumerate() {
            for (b, col) in blocks[j].clone().enumerate() {
                let value = product[(a, b)] / n as f64;
                out[(row, col)] = value;
                out[(col, row)] = value;
            }
        }
    }
    out
}
