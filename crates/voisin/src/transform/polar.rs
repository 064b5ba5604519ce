//! The orthogonal matrix nearest to a given one.

use crate::{Matrix, Result, Watch};
use voisin_kernels::{View, gemm};

/// Singular values below this part of the largest are left to the last iterations.
const LOWER: f64 = 1e-5;

/// The orthogonal factor U of A = U H (H symmetric, no negative eigenvalue), d x d: of all orthogonal matrices the nearest
/// to A, and the one with the largest tr(UᵀA).
///
/// `near` is an orthogonal matrix, added with a weight of 1e-5 so that A may be singular. Cost: some twenty products of d x d.
///
/// # Errors
/// [`crate::Error::Stopped`].
///
/// # Source
/// Newton–Schulz iteration (Higham, "Functions of Matrices", 2008, ch. 8), scaled as in Chen & Chow, "A stable scaling of
/// Newton–Schulz for improving the sign function computation of a Hermitian matrix", 2014.
pub(super) fn polar(a: &Matrix, near: &Matrix, watch: &dyn Watch) -> Result<Matrix> {
    let d = a.d();
    let mut x = a.data().to_vec();
    let norm = spectral_bound(&x, d);
    // clearly below 1 with what is added: the scaled iteration turns the sign of anything above
    let scale = if norm > 0.0 { 0.98 / norm } else { 0.0 };
    x.iter_mut().zip(near.data()).for_each(|(x, n)| *x = (*x as f64 * scale + LOWER * *n as f64) as f32);
    let (mut square, mut next) = (vec![0.0; d * d], vec![0.0; d * d]);
    let mut lower = LOWER;
    for _ in 0..60 {
        watch.check()?; // with thousands of dimensions a product takes a second
        // X'X, then X (1.5 α − 0.5 α³ X'X)
        gemm(View::new(&x, d, d).t(), View::new(&x, d, d), &mut square, false);
        if off_unit(&square, d) < 2e-6 {
            break;
        }
        let alpha = if lower > 0.9 { 1.0 } else { (3.0 / (1.0 + lower + lower * lower)).sqrt() };
        lower = 0.5 * alpha * lower * (3.0 - alpha * alpha * lower * lower);
        for (i, s) in square.iter_mut().enumerate() {
            let unit = if i % (d + 1) == 0 { 1.5 * alpha } else { 0.0 };
            *s = (unit - 0.5 * alpha * alpha * alpha * *s as f64) as f32;
        }
        gemm(View::new(&x, d, d), View::new(&square, d, d), &mut next, false);
        std::mem::swap(&mut x, &mut next);
    }
    Ok(Matrix::new(x, d))
}

/// The root of the largest sum of a row times the largest sum of a column: at least the largest singular value.
fn spectral_bound(x: &[f32], d: usize) -> f64 {
    let mut columns = vec![0.0f64; d];
    let mut rows = 0.0f64;
    for row in x.chunks_exact(d) {
        columns.iter_mut().zip(row).for_each(|(c, x)| *c += x.abs() as f64);
        rows = rows.max(row.iter().map(|x| x.abs() as f64).sum());
    }
    (rows * columns.into_iter().fold(0.0, f64::max)).sqrt()
}

/// Largest distance of a value to that of the unit matrix.
fn off_unit(square: &[f32], d: usize) -> f32 {
    square.iter().enumerate().map(|(i, s)| (s - if i % (d + 1) == 0 { 1.0 } else { 0.0 }).abs()).fold(0.0, f32::max)
}
