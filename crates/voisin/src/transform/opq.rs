//! The rotation under which product codes lose least.

use super::{Linear, pca, polar::polar};
use crate::encode::pq::{Lloyd, check_parts};
use crate::partition::Random;
use crate::{Matrix, Result, Vectors, Watch};
use voisin_kernels::{Books, View, gemm};

/// Most rows trained on.
const ROWS: usize = 50_000;
/// Rotations found one after the other.
const ROUNDS: usize = 20;
/// Iterations of the codewords before the first rotation.
const FIRST: usize = 8;

/// Trains a d x d rotation for product codes of m parts of `bits` bits: codewords and rotation take turns, each the best for
/// the other.
///
/// Starts with principal components dealt out to the parts so that their variances have equal products. Distances and inner
/// products stay as they are. Deterministic on any number of threads. Cost a round: 2·n·d² + n·d·2^bits + some twenty d³.
///
/// # Errors
/// m that does not divide d; [`crate::Error::Stopped`].
///
/// # Source
/// Ge, He, Ke & Sun, "Optimized product quantization", CVPR 2013: the non-parametric solution, started at the parametric one.
pub(crate) fn opq(rows: Vectors<'_>, m: usize, bits: usize, seed: u64, watch: &dyn Watch) -> Result<Linear> {
    let d = rows.d();
    check_parts("OPQ", d, m)?;
    let chosen = Random::new(seed, 50).sample(rows.n() as u64, ROWS as u64);
    let mut sample = Matrix::zeros(chosen.len(), d);
    chosen.iter().enumerate().for_each(|(i, &r)| sample.row_mut(i).copy_from_slice(rows.row(r as usize)));
    let rotation = alternate(sample.view(), start(sample.view(), m, watch)?, m, bits, seed, watch)?;
    Ok(Linear::new(rotation, vec![0.0; d]))
}

fn alternate(rows: Vectors<'_>, start: Matrix, m: usize, bits: usize, seed: u64, watch: &dyn Watch) -> Result<Matrix> {
    let (n, d) = (rows.n(), rows.d());
    let mut rotation = start;
    let (mut turned, mut decoded) = (Matrix::zeros(n, d), Matrix::zeros(n, d));
    let x = View::new(rows.data(), n, d);
    gemm(x, View::new(rotation.data(), d, d).t(), turned.data_mut(), false);
    let mut lloyd = Lloyd::new(turned.view(), m, 1 << bits, seed);
    watch.begin("rotation", (FIRST + ROUNDS) as u64, "rounds");
    for round in 0..FIRST + ROUNDS {
        watch.check()?;
        let words = lloyd.books().clone();
        lloyd.step(turned.view());
        watch.advance(1);
        if round < FIRST {
            continue;
        }
        decode(&words, lloyd.codes(), &mut decoded);
        // of all rotations W the one with the least |X W' − Y|²: the orthogonal factor of Y'X
        let mut product = Matrix::zeros(d, d);
        gemm(View::new(decoded.data(), n, d).t(), x, product.data_mut(), false);
        rotation = polar(&product, &rotation, watch)?;
        gemm(x, View::new(rotation.data(), d, d).t(), turned.data_mut(), false);
    }
    watch.end();
    Ok(rotation)
}

fn decode(books: &Books, codes: &[u8], out: &mut Matrix) {
    let (m, k, sub) = (books.m(), books.k(), books.d() / books.m());
    for (i, (to, &c)) in out.data_mut().chunks_exact_mut(sub).zip(codes).enumerate() {
        let word = i % m * k + c as usize;
        to.copy_from_slice(&books.values()[word * sub..(word + 1) * sub]);
    }
}

/// Principal components, largest first, each dealt to the part with room whose variances have the smallest product.
fn start(rows: Vectors<'_>, m: usize, watch: &dyn Watch) -> Result<Matrix> {
    let d = rows.d();
    watch.begin("principal components", 2, "steps");
    let (_, components) = pca::components(rows, true, watch)?;
    watch.end();
    let least = components[0].0.max(0.0) * 1e-9 + f64::MIN_POSITIVE;
    let (mut logs, mut parts) = (vec![0.0f64; m], vec![Vec::new(); m]);
    for (variance, direction) in &components {
        let open = (0..m).filter(|&p| parts[p].len() < d / m);
        let p = open.min_by(|&a, &b| logs[a].total_cmp(&logs[b])).expect("as many places as components");
        logs[p] += variance.max(least).ln() - least.ln();
        parts[p].push(direction);
    }
    let values = parts.into_iter().flatten().flatten().map(|&x| x as f32).collect();
    Ok(Matrix::new(values, d))
}
