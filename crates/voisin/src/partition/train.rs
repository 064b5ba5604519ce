//! Training of the list model: cross-entropy on the labels of k-means, Adam, written by hand.

use super::network::Network;
use super::rng::Random;
use super::{Linear, Mlp};
use crate::{Error, Matrix, Result, Vectors, Watch};
use std::time::Instant;
use voisin_kernels::Words;

/// Arithmetic of the products in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    F32,
    /// Products of bf16 values added up in f32; weights and everything else stay f32.
    #[default]
    Bf16,
}

/// How the step size changes while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Rises over the first twentieth, then falls to zero along a straight line.
    #[default]
    Linear,
}

impl Schedule {
    /// Factor of the step size after a share of all steps.
    fn factor(self, done: f32) -> f32 {
        const RISE: f32 = 0.05;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear if done < RISE => 0.1 + 0.9 * done / RISE,
            Schedule::Linear => (1.0 - done) / (1.0 - RISE),
        }
    }
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
    /// How it changes.
    pub schedule: Schedule,
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
            schedule: Schedule::Linear,
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
    let words = if params.precision == Precision::F32 { Words::F32 } else { Words::Bf16 };
    let layers = first_weights(data.d(), nlist, &params.hidden, &mut rng);
    let mut network = Network::new(layers, params.batch.min(order.len()), words);
    let steps = (params.epochs * order.len().div_ceil(params.batch)) as f32;
    let mut done = 0.0;
    let mut epochs = Vec::new();
    watch.begin("train", (params.epochs * order.len()) as u64, "vectors");
    for epoch in 0..params.epochs {
        rng.shuffle(&mut order);
        let (mut loss, mut right) = (0.0, 0);
        for rows in order.chunks(params.batch) {
            watch.check()?;
            let lr = params.lr * params.schedule.factor(done / steps);
            done += 1.0;
            let (l, r) = network.step(data, labels, rows, lr);
            loss += l;
            right += r;
            watch.advance(rows.len() as u64);
        }
        let e = Epoch { loss: loss / order.len() as f64, accuracy: right as f64 / order.len() as f64 };
        watch.note(&format!("epoch {}: loss {:.4}, accuracy {:.4}", epoch + 1, e.loss, e.accuracy));
        epochs.push(e);
    }
    watch.end();
    let (mlp, trained_on) = (network.model()?, order.len());
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
