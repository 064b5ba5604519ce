//! t-SNE, exact: every pair of points.
//!
//! # Source
//! van der Maaten & Hinton, "Visualizing data using t-SNE", JMLR 2008; the learning rate as Belkina et al., Nature
//! Communications 2019, advise. The start is the plane of the principal components, so nothing is random.

use crate::Matrix;
use rayon::prelude::*;
use voisin_kernels::forces;

/// Neighbours, about, that a point looks at.
const PERPLEXITY: f64 = 30.0;
/// By how much attraction is larger at first.
const EXAGGERATION: f32 = 12.0;
/// Iterations with it.
const EARLY: usize = 250;
/// All iterations.
const ITERATIONS: usize = 1000;

/// Places of n points with these squared distances (n x n), from a start on.
///
/// Sums run in a fixed order: the places do not depend on threads. Cost: 1,000 passes over n² pairs.
pub(super) fn tsne(far: &Matrix, start: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let n = start.len();
    let perplexity = PERPLEXITY.min((n as f64 - 1.0) / 3.0);
    if perplexity < 1.0 {
        return start.to_vec();
    }
    let p = affinities(far, perplexity);
    let mut points = Points::new(start);
    let rate = (n as f32 / EXAGGERATION / 4.0).max(50.0);
    for step in 0..ITERATIONS {
        let (momentum, more) = if step < EARLY { (0.5, EXAGGERATION) } else { (0.8, 1.0) };
        points.step(&p, more, momentum, rate);
    }
    points.x.iter().zip(&points.y).map(|(x, y)| [*x as f64, *y as f64]).collect()
}

/// Joint probabilities of every pair, n x n.
fn affinities(far: &Matrix, perplexity: f64) -> Vec<f32> {
    let n = far.n();
    let mut of = Matrix::zeros(n, n);
    of.data_mut().par_chunks_mut(n).enumerate().for_each(|(i, out)| conditional(i, far.row(i), perplexity.ln(), out));
    let mut p = vec![0.0f32; n * n];
    p.par_chunks_mut(n).enumerate().for_each(|(i, out)| {
        let both = |j: usize| (of.row(i)[j] + of.row(j)[i]) / (2 * n) as f32;
        out.iter_mut().enumerate().filter(|(j, _)| *j != i).for_each(|(j, o)| *o = both(j).max(1e-12));
    });
    p
}

/// Probabilities exp(-b·distance) of the others, b such that their entropy is `entropy`: Newton's method on ln b, kept within what is
/// known of it.
fn conditional(i: usize, far: &[f32], entropy: f64, out: &mut [f32]) {
    let others = || far.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, d)| *d as f64);
    let least = others().fold(f64::INFINITY, f64::min);
    let mean = others().map(|d| d - least).sum::<f64>() / (far.len() - 1) as f64;
    if mean <= 0.0 || !mean.is_finite() {
        out.fill(1.0 / (far.len() - 1) as f32);
        out[i] = 0.0;
        return;
    }
    let (mut b, mut low, mut high) = (1.0 / mean, 0.0f64, f64::INFINITY);
    for _ in 0..60 {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        others().for_each(|d| {
            let w = (-b * (d - least)).exp();
            sum += w;
            first += w * (d - least);
            second += w * (d - least) * (d - least);
        });
        let mean = first / sum;
        let over = sum.ln() + b * mean - entropy;
        if over.abs() < 1e-6 {
            break;
        }
        (low, high) = if over > 0.0 { (b, high) } else { (low, b) };
        let slope = -b * b * (second / sum - mean * mean);
        let next = b * (-over / slope).clamp(-3.0, 3.0).exp();
        let between = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * b };
        b = if next > low && next < high { next } else { between };
    }
    let mut sum = 0.0;
    for (j, (o, d)) in out.iter_mut().zip(far).enumerate() {
        *o = if j == i { 0.0 } else { (-b * (*d as f64 - least)).exp() as f32 };
        sum += *o as f64;
    }
    out.iter_mut().for_each(|o| *o = (*o as f64 / sum) as f32);
}

/// Places under way.
struct Points {
    n: usize,
    x: Vec<f32>,
    y: Vec<f32>,
    moved: [Vec<f32>; 2],
    gains: [Vec<f32>; 2],
}

impl Points {
    /// The start, scaled so that x has a deviation of 1e-4.
    fn new(start: &[[f64; 2]]) -> Points {
        let n = start.len();
        let mean = start.iter().map(|s| s[0]).sum::<f64>() / n as f64;
        let deviation = (start.iter().map(|s| (s[0] - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        let scale = if deviation > 0.0 { 1e-4 / deviation } else { 0.0 };
        let line = |axis: usize| start.iter().map(|s| (s[axis] * scale) as f32).collect();
        let still = || [vec![0.0; n], vec![0.0; n]];
        Points { n, x: line(0), y: line(1), moved: still(), gains: still().map(|g| g.iter().map(|_| 1.0).collect()) }
    }

    fn step(&mut self, p: &[f32], more: f32, momentum: f32, rate: f32) {
        let n = self.n;
        let force = |i: usize| forces([self.x[i], self.y[i]], [&self.x, &self.y], &p[i * n..(i + 1) * n]);
        let forces: Vec<[f32; 5]> = (0..n).into_par_iter().with_min_len(32).map(force).collect();
        // each point adds 1 for itself
        let sum = forces.iter().map(|f| f[4] as f64 - 1.0).sum::<f64>().max(f64::MIN_POSITIVE) as f32;
        for (axis, line) in [&mut self.x, &mut self.y].into_iter().enumerate() {
            let (moved, gains) = (&mut self.moved[axis], &mut self.gains[axis]);
            let mut mean = 0.0f64;
            for (i, f) in forces.iter().enumerate() {
                let slope = 4.0 * (more * f[axis] - f[2 + axis] / sum);
                let gain = if (slope > 0.0) != (moved[i] > 0.0) { gains[i] + 0.2 } else { gains[i] * 0.8 };
                gains[i] = gain.max(0.01);
                moved[i] = momentum * moved[i] - rate * gains[i] * slope;
                line[i] += moved[i];
                mean += line[i] as f64;
            }
            let mean = (mean / self.n as f64) as f32;
            line[..self.n].iter_mut().for_each(|x| *x -= mean);
        }
    }
}
