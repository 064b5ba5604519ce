//! Vectors for the examples: points around a few centres.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use voisin::Matrix;

/// n points of d dimensions around 200 centres; the same for the same seed, the centres for any.
pub fn points(n: usize, d: usize, seed: u64) -> Matrix {
    let mut centres = ChaCha8Rng::seed_from_u64(0);
    let centres: Vec<f32> = (0..200 * d).map(|_| centres.random_range(-1.0..1.0)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Matrix::zeros(n, d);
    for i in 0..n {
        let centre = rng.random_range(0..200);
        for (x, c) in rows.row_mut(i).iter_mut().zip(&centres[centre * d..]) {
            *x = c + rng.random_range(-1.3..1.3);
        }
    }
    rows
}
