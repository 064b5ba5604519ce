//! Training of the list model: cross-entropy on the labels of k-means, Adam, written by hand.

use super::kmeans::gather;
use super::rng::Random;
use super::{Linear, Mlp};
use crate::{Error, Matrix, Result, Vectors, Watch};
use std::time::Instant;
use voisin_kernels::{View, gemm};

/// Arithmetic of the products in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    F32,
    /// Products of bf16 values added up in f32; weights and everything else stay f32.
    #[default]
    Bf16,
}

/// How the model is built and trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainParams {
    /// Sizes of the hidden layers.
    pub hidden: Vec<usize>,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Adam's step size.
    pub lr: f32,
    /// Rows a step.
    pub batch: usize,
    /// Arithmetic of the products.
    pub precision: Precision,
    /// Train on at most this many rows, chosen by the seed; `None` takes all.
    pub train_size: Option<usize>,
    /// Seed of the first weights, the sample and the order of the rows.
    pub seed: u64,
}

impl Default for TrainParams {
    fn default() -> Self {
        TrainParams {
            hidden: vec![512, 384],
            epochs: 10,
            lr: 1e-3,
            batch: 256,
            precision: Precision::Bf16,
            train_size: None,
            seed: 0,
        }
    }
}

/// What an epoch came to, over the batches as they were met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of rows whose most probable list is their label.
    pub accuracy: f64,
}

/// A trained model.
#[derive(Clone, Debug)]
pub struct TrainResult {
    /// The model.
    pub mlp: Mlp,
    /// Loss and accuracy of every epoch.
    pub epochs: Vec<Epoch>,
    /// Rows trained on.
    pub trained_on: usize,
    /// Wall time.
    pub seconds: f64,
}

/// Trains a model that predicts the label of each row.
///
/// Cost: about 6 n w floating-point operations an epoch, w being the number of weights. Deterministic for any number of
/// threads.
///
/// # Errors
/// No rows, labels that are not one a row or not below `nlist`, a parameter of 0; [`Error::Stopped`].
pub fn train_mlp(
    data: Vectors<'_>,
    labels: &[u32],
    nlist: usize,
    params: &TrainParams,
    watch: &dyn Watch,
) -> Result<TrainResult> {
    check(data, labels, nlist, params)?;
    let start = Instant::now();
    let n = data.n();
    let mut order: Vec<u64> = Random::new(params.seed, 2).sample(n as u64, params.train_size.unwrap_or(n) as u64);
    let mut rng = Random::new(params.seed, 3);
    let mut layers = first_weights(data.d(), nlist, &params.hidden, &mut rng);
    let mut adam = Adam::new(&layers, params.lr);
    let mut epochs = Vec::new();
    watch.begin("train", (params.epochs * order.len()) as u64, "vectors");
    for epoch in 0..params.epochs {
        rng.shuffle(&mut order);
        let (mut loss, mut right) = (0.0, 0);
        for rows in order.chunks(params.batch) {
            watch.check()?;
            let x = gather(data, rows);
            let y: Vec<u32> = rows.iter().map(|&r| labels[r as usize]).collect();
            let (l, r) = step(&mut layers, &mut adam, x.view(), &y);
            loss += l;
            right += r;
            watch.advance(rows.len() as u64);
        }
        let e = Epoch { loss: loss / order.len() as f64, accuracy: right as f64 / order.len() as f64 };
        watch.note(&format!("epoch {}: loss {:.4}, accuracy {:.4}", epoch + 1, e.loss, e.accuracy));
        epochs.push(e);
    }
    watch.end();
    let (mlp, trained_on) = (Mlp::new(layers)?, order.len());
    Ok(TrainResult { mlp, epochs, trained_on, seconds: start.elapsed().as_secs_f64() })
}

fn check(data: Vectors<'_>, labels: &[u32], nlist: usize, p: &TrainParams) -> Result<()> {
    if data.n() == 0 {
        return Err(Error::Empty { name: "training set".into() });
    }
    if labels.len() != data.n() {
        return Err(Error::param("labels", labels.len(), format!("one a vector, {}", data.n())));
    }
    if let Some(&l) = labels.iter().find(|l| **l as usize >= nlist) {
        return Err(Error::param("label", l, format!("below the number of lists, {nlist}")));
    }
    let sizes = [("epochs", p.epochs), ("batch", p.batch), ("train-size", p.train_size.unwrap_or(1))];
    if let Some((name, _)) = sizes.iter().find(|s| s.1 == 0) {
        return Err(Error::param(*name, 0, "at least 1"));
    }
    if p.hidden.contains(&0) {
        return Err(Error::param("hidden", 0, "layers of at least 1"));
    }
    if !(p.lr > 0.0 && p.lr.is_finite()) {
        return Err(Error::param("lr", p.lr, "a positive number"));
    }
    Ok(())
}

/// Uniform in ±1/sqrt(inputs), weights and biases, as `torch.nn.Linear` begins.
fn first_weights(d: usize, nlist: usize, hidden: &[usize], rng: &mut Random) -> Vec<Linear> {
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

/// One step on a batch; returns the sum of the losses and the number of right predictions.
fn step(layers: &mut [Linear], adam: &mut Adam, x: Vectors<'_>, y: &[u32]) -> (f64, usize) {
    let m = x.n();
    let mut acts: Vec<Matrix> = vec![Matrix::new(x.data().to_vec(), x.d())];
    for (i, l) in layers.iter().enumerate() {
        let (out, inputs) = (l.weight.n(), l.weight.d());
        let mut z = Matrix::zeros(m, out);
        gemm(View::new(acts[i].data(), m, inputs), View::new(l.weight.data(), out, inputs).t(), z.data_mut(), false);
        for r in 0..m {
            for (v, b) in z.row_mut(r).iter_mut().zip(&l.bias) {
                *v += b;
                if i + 1 < layers.len() {
                    *v = v.max(0.0);
                }
            }
        }
        acts.push(z);
    }
    let mut delta = acts.pop().expect("at least one layer");
    let (mut loss, mut right) = (0.0, 0);
    for r in 0..m {
        let line = delta.row_mut(r);
        let label = y[r] as usize;
        let top = line.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        right += (line.iter().position(|&v| v == top) == Some(label)) as usize;
        let own = line[label] - top;
        let sum: f32 = line.iter().map(|v| (v - top).exp()).sum();
        loss += (sum.ln() - own) as f64;
        line.iter_mut().for_each(|v| *v = (*v - top).exp() / sum / m as f32);
        line[label] -= 1.0 / m as f32;
    }
    adam.next();
    for i in (0..layers.len()).rev() {
        let (out, inputs) = (layers[i].weight.n(), layers[i].weight.d());
        let d = View::new(delta.data(), m, out);
        let mut gw = vec![0.0; out * inputs];
        gemm(d.t(), View::new(acts[i].data(), m, inputs), &mut gw, false);
        let mut gb = vec![0.0; out];
        for r in 0..m {
            gb.iter_mut().zip(delta.row(r)).for_each(|(g, v)| *g += v);
        }
        let mut below = Matrix::zeros(m, inputs);
        if i > 0 {
            gemm(d, View::new(layers[i].weight.data(), out, inputs), below.data_mut(), false);
            below.data_mut().iter_mut().zip(acts[i].data()).for_each(|(g, &a)| *g = if a > 0.0 { *g } else { 0.0 });
        }
        adam.apply(2 * i, layers[i].weight.data_mut(), &gw);
        adam.apply(2 * i + 1, &mut layers[i].bias, &gb);
        delta = below;
    }
    (loss, right)
}

/// Adam (Kingma & Ba, 2015) with the usual constants.
struct Adam {
    lr: f32,
    t: i32,
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Adam {
    fn new(layers: &[Linear], lr: f32) -> Adam {
        let zeros = |n: usize| (vec![0.0; n], vec![0.0; n]);
        let moments = layers.iter().flat_map(|l| [zeros(l.weight.data().len()), zeros(l.bias.len())]).collect();
        Adam { lr, t: 0, moments }
    }

    fn next(&mut self) {
        self.t += 1;
    }

    fn apply(&mut self, which: usize, weights: &mut [f32], gradient: &[f32]) {
        const B1: f32 = 0.9;
        const B2: f32 = 0.999;
        let (c1, c2) = (1.0 - B1.powi(self.t), 1.0 - B2.powi(self.t));
        let (m, v) = &mut self.moments[which];
        for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(m).zip(v) {
            *m = B1 * *m + (1.0 - B1) * g;
            *v = B2 * *v + (1.0 - B2) * g * g;
            *w -= self.lr * (*m / c1) / ((*v / c2).sqrt() + 1e-8);
        }
    }
}
