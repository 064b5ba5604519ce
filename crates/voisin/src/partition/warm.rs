//! First weights of the list model: drawn at random, or such that the model begins as the rule of the nearest centroid.

use super::Linear;
use super::kmeans::Sums;
use super::product::{Right, UNIT};
use super::rng::Random;
use crate::{Matrix, Vectors};
use voisin_kernels::dot_f64;

/// Mean probability of the first list that a warm start begins with: about what ten epochs from random weights end with.
const CONFIDENCE: f64 = 0.85;

/// Uniform in ±1/sqrt(inputs), weights and biases, as `torch.nn.Linear` begins.
pub(crate) fn random(d: usize, nlist: usize, hidden: &[usize], rng: &mut Random) -> Vec<Linear> {
    let mut inputs = d;
    hidden
        .iter()
        .chain([&nlist])
        .map(|&out| {
            let bound = 1.0 / (inputs as f64).sqrt();
            let mut draw = |n: usize| (0..n).map(|_| ((2.0 * rng.unit() - 1.0) * bound) as f32).collect::<Vec<f32>>();
            let layer = Linear { weight: Matrix::new(draw(out * inputs), inputs), bias: draw(out) };
            inputs = out;
            layer
        })
        .collect()
}

/// Whether [`from_centroids`] has room: every hidden layer carries one value a list.
pub(crate) fn fits(nlist: usize, hidden: &[usize]) -> bool {
    hidden.iter().all(|&h| h >= nlist)
}

/// Changes random weights so that the logits rise with −|x − c|², c being the mean of the rows with a label; the model takes
/// rows times `length`.
///
/// With m the mean of all c, the score <c − m, x> − (|c|² − |m|²)/2 ranks as −|x − c|² does, and varies little with x else.
/// The first layer computes these scores, shifted and scaled so that most stay above zero; the following ones hand them on;
/// units beyond the number of lists keep their random weights, and none of their values reaches a logit yet.
pub(crate) fn from_centroids(layers: &mut [Linear], data: Vectors<'_>, rows: &[u64], labels: &[u32], length: f32) {
    let last = layers.len() - 1;
    let nlist = layers[last].weight.n();
    let mut centroids = Matrix::zeros(nlist, data.d());
    let mut sums = Sums::new(data, nlist);
    sums.update(data, labels);
    sums.means(&mut centroids);
    let bias = centre(&mut centroids);

    let scores = sample_scores(data, rows, &centroids, &bias);
    let count = scores.len() as f64;
    let mean = scores.iter().map(|&s| s as f64).sum::<f64>() / count;
    let variance = scores.iter().map(|&s| (s as f64 - mean).powi(2)).sum::<f64>() / count;
    let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 };
    let sharpness = sharpness(&scores, nlist, scale);

    for (i, layer) in layers.iter_mut().enumerate() {
        for c in 0..nlist {
            let row = layer.weight.row_mut(c);
            let factor = if i == last { sharpness } else { 1.0 };
            if i == 0 {
                row.iter_mut().zip(centroids.row(c)).for_each(|(w, &x)| *w = (x as f64 * scale * factor / length as f64) as f32);
                layer.bias[c] = (((bias[c] as f64 - mean) * scale + 1.0) * factor) as f32;
            } else {
                row.fill(0.0);
                row[c] = factor as f32;
                layer.bias[c] = 0.0;
            }
        }
    }
}

/// Takes the mean m off the centroids and returns −(|c|² − |m|²)/2 of each.
pub(super) fn centre(centroids: &mut Matrix) -> Vec<f32> {
    let (k, d) = (centroids.n(), centroids.d());
    let mut mean = vec![0.0f64; d];
    for c in centroids.view().iter() {
        mean.iter_mut().zip(c).for_each(|(m, &x)| *m += x as f64 / k as f64);
    }
    let own: f64 = mean.iter().map(|m| m * m).sum();
    let bias = centroids.view().iter().map(|c| (-0.5 * (dot_f64(c, c) - own)) as f32).collect();
    for c in 0..k {
        centroids.row_mut(c).iter_mut().zip(&mean).for_each(|(x, &m)| *x = (*x as f64 - m) as f32);
    }
    bias
}

/// Scores of some rows, row after row.
fn sample_scores(data: Vectors<'_>, rows: &[u64], centroids: &Matrix, bias: &[f32]) -> Vec<f32> {
    let right = Right::new(centroids.view());
    let step = rows.len().div_ceil(16 * UNIT);
    let chosen: Vec<u64> = rows.iter().copied().step_by(step).collect();
    let mut out = Vec::new();
    let mut scratch = Vec::new();
    for unit in chosen.chunks(UNIT) {
        let x = super::kmeans::gather(data, unit);
        for line in right.product(x.view(), &mut scratch).chunks_exact(right.stride()) {
            out.extend(line.iter().zip(bias).map(|(p, b)| p + b));
        }
    }
    out
}

/// Factor of the scaled scores at which the mean probability of the first list is [`CONFIDENCE`].
fn sharpness(scores: &[f32], nlist: usize, scale: f64) -> f64 {
    let confidence = |factor: f64| {
        let first = |row: &[f32]| {
            let top = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) as f64;
            1.0 / row.iter().map(|&s| ((s as f64 - top) * scale * factor).exp()).sum::<f64>()
        };
        scores.chunks_exact(nlist).map(first).sum::<f64>() / (scores.len() / nlist) as f64
    };
    let (mut low, mut high) = (1e-3f64, 1e3f64);
    for _ in 0..20 {
        let middle = (low * high).sqrt();
        *(if confidence(middle) < CONFIDENCE { &mut low } else { &mut high }) = middle;
    }
    high
}
