//! A random rotation that costs d·log d: four rounds of random signs and a Walsh–Hadamard transform ("FhtKac" in the RaBitQ
//! library, after Kac's walk).

use crate::partition::Random;
use voisin_kernels::{WORD, rotate_round};

/// Rotates vectors of d dimensions, padded by zeros to whole words of 64.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    d: usize,
    padded: usize,
    /// Largest power of two within the padded dimensions.
    power: usize,
    /// A round's signs, padded values each.
    signs: Vec<f32>,
}

impl Rotation {
    /// The rotation of d dimensions: always the same one.
    pub(crate) fn new(d: usize) -> Rotation {
        let padded = d.next_multiple_of(WORD);
        let mut random = Random::new(0x526f_7461, d as u64);
        let signs = (0..4 * padded).map(|_| if random.below(2) == 0 { 1.0 } else { -1.0 }).collect();
        Rotation { d, padded, power: 1 << padded.ilog2(), signs }
    }

    /// Dimensions of a rotated vector.
    pub(crate) fn padded(&self) -> usize {
        self.padded
    }

    /// Rotates `x` (d values) into `out` (padded values): lengths and inner products stay, but for rounding. Same bits
    /// everywhere: sums, differences and single products only.
    pub(crate) fn apply(&self, x: &[f32], out: &mut [f32]) {
        let (n, t) = (self.padded, self.power);
        out[..self.d].copy_from_slice(x);
        out[self.d..].fill(0.0);
        let scale = 1.0 / (t as f32).sqrt();
        for (round, signs) in self.signs.chunks_exact(n).enumerate() {
            rotate_round(out, signs, t, round % 2 == 1, scale);
        }
        if t != n {
            out.iter_mut().for_each(|o| *o *= 0.25);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_kernels::dot_f64;

    #[test]
    fn lengths_and_products_stay() {
        for d in [1, 5, 64, 100, 128, 192, 384, 768, 1000] {
            let r = Rotation::new(d);
            let x: Vec<f32> = (0..d).map(|i| (i as f32 * 0.7 + 1.0).sin()).collect();
            let y: Vec<f32> = (0..d).map(|i| (i as f32 * 0.3).cos()).collect();
            let (mut a, mut b) = (vec![0.0; r.padded()], vec![0.0; r.padded()]);
            r.apply(&x, &mut a);
            r.apply(&y, &mut b);
            let scale = (dot_f64(&x, &x) * dot_f64(&y, &y)).sqrt().max(1e-9);
            assert!((dot_f64(&a, &b) - dot_f64(&x, &y)).abs() < 1e-5 * scale, "d {d}");
            assert!((dot_f64(&a, &a) / dot_f64(&x, &x) - 1.0).abs() < 1e-5, "d {d}");
        }
    }

    #[test]
    fn one_value_is_spread_over_all() {
        let r = Rotation::new(384);
        let mut x = vec![0.0; 384];
        x[17] = 1.0;
        let mut out = vec![0.0; 384];
        r.apply(&x, &mut out);
        let largest = out.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(largest < 8.0 / (384f32).sqrt(), "{largest}");
    }
}
