//! k-means++: first centroids that are far from each other.

use super::rng::Random;
use crate::{Matrix, Result, Vectors, Watch};
use rayon::prelude::*;
use voisin_kernels::l2_squareds;

const CHUNK: usize = 1024;

/// k rows, each drawn with a probability proportional to its squared distance to the nearest one drawn before.
pub(crate) fn plus_plus(data: Vectors<'_>, k: usize, rng: &mut Random, watch: &dyn Watch) -> Result<Matrix> {
    let (n, d) = (data.n(), data.d());
    let mut out = Matrix::zeros(k, d);
    let mut distance = vec![f32::INFINITY; n];
    let mut chosen = rng.below(n as u64) as usize;
    for c in 0..k {
        watch.check()?;
        out.row_mut(c).copy_from_slice(data.row(chosen));
        let centroid = data.row(chosen);
        let sums: Vec<f64> = distance
            .par_chunks_mut(CHUNK)
            .zip(data.data().par_chunks(CHUNK * d))
            .map_init(
                || vec![0.0; CHUNK],
                |fresh, (distance, rows)| {
                    l2_squareds(centroid, rows, &mut fresh[..distance.len()]);
                    let mut sum = 0.0;
                    for (old, &new) in distance.iter_mut().zip(&*fresh) {
                        *old = old.min(new);
                        sum += *old as f64;
                    }
                    sum
                },
            )
            .collect();
        chosen = draw(&sums, &distance, rng);
    }
    Ok(out)
}

/// A row drawn by its weight; any row if all weights are zero (fewer different rows than centroids).
fn draw(sums: &[f64], weights: &[f32], rng: &mut Random) -> usize {
    let total: f64 = sums.iter().sum();
    if total.is_nan() || total <= 0.0 {
        return rng.below(weights.len() as u64) as usize;
    }
    let mut left = rng.unit() * total;
    let mut chunk = 0;
    while chunk + 1 < sums.len() && left >= sums[chunk] {
        left -= sums[chunk];
        chunk += 1;
    }
    let range = chunk * CHUNK..((chunk + 1) * CHUNK).min(weights.len());
    let mut last = range.start;
    for i in range {
        if weights[i] > 0.0 {
            last = i;
            if left < weights[i] as f64 {
                return i;
            }
            left -= weights[i] as f64;
        }
    }
    last
}
