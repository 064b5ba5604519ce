//! Training of the list model: cross-entropy on the labels of k-means, Adam, written by hand.

use super::network::Network;
use super::rng::Random;
use super::{Mlp, warm};
use crate::{Error, Result, Vectors, Watch};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use voisin_kernels::{Words, dot_f64};

/// Arithmetic of the products in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32.
    F32,
    /// Products of bf16 values added up in f32; weights and everything else stay f32.
    #[default]
    Bf16,
}

/// How the step size changes while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Rises over the first twentieth, then falls to zero along a straight line.
    Linear,
}

impl Schedule {
    /// Factor of the step size after a share of all steps.
    pub(super) fn factor(self, done: f32) -> f32 {
        const RISE: f32 = 0.05;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear if done < RISE => 0.1 + 0.9 * done / RISE,
            Schedule::Linear => (1.0 - done) / (1.0 - RISE),
        }
    }
}

/// How the model is built and trained; what is `None` is chosen, see [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainParams {
    /// Sizes of the hidden layers.
    pub hidden: Vec<usize>,
    /// Passes over the training rows.
    pub epochs: Option<usize>,
    /// Adam's step size.
    pub lr: Option<f32>,
    /// How it changes.
    pub schedule: Option<Schedule>,
    /// Rows a step.
    pub batch: Option<usize>,
    /// Arithmetic of the products.
    pub precision: Precision,
    /// Begin as the rule of the nearest mean of a label's rows. Needs a unit for each list in every hidden layer;
    /// without them the first weights are random.
    pub warm_start: Option<bool>,
    /// Train on at most this many rows, chosen by the seed; `None` takes all.
    pub train_size: Option<usize>,
    /// Seed of the first weights, the sample and the order of the rows.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for TrainParams {
    fn default() -> Self {
        TrainParams {
            hidden: vec![512, 384],
            epochs: None,
            lr: None,
            schedule: None,
            batch: None,
            precision: Precision::Bf16,
            warm_start: None,
            train_size: None,
            seed: 0,
        }
    }
}

/// The numbers a model is trained with.
///
/// In f32 they are those of the learned metric index as it was published: 10 epochs of 256 rows a step, 1e-3 throughout,
/// random first weights. In bf16 they are what reached at least its recall soonest (benches/README.md): a warm start,
/// 2 epochs of about n / 64 and at most 1024 rows a step, falling from 5e-4; without a warm start at least 5 epochs of at
/// most 512 rows, falling from 4e-3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Passes over the training rows.
    pub epochs: usize,
    /// Adam's largest step size.
    pub lr: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Rows a step.
    pub batch: usize,
    /// Whether the model begins as the rule of the nearest mean.
    pub warm_start: bool,
}

impl TrainParams {
    /// What these parameters come to for `n` training rows and `nlist` lists.
    pub fn recipe(&self, n: usize, nlist: usize) -> Recipe {
        let bf16 = self.precision == Precision::Bf16;
        let warm_start = self.warm_start.unwrap_or(bf16) && warm::fits(nlist, &self.hidden);
        let some = |most: usize| (n / 64).next_power_of_two().clamp(64, most);
        let (lr, batch) = match (bf16, warm_start) {
            (false, _) => (1e-3, 256),
            (true, true) => (5e-4, some(1024)),
            (true, false) => (4e-3, some(512)),
        };
        let batch = self.batch.unwrap_or(batch);
        let epochs = match (bf16, warm_start) {
            (false, _) => 10,
            (true, true) => 2,
            // small sets: about as many steps as a set of 60,000 takes
            (true, false) => 600usize.div_ceil(n.div_ceil(batch.max(1)).max(1)).clamp(5, 50),
        };
        let schedule = if bf16 { Schedule::Linear } else { Schedule::Constant };
        Recipe {
            epochs: self.epochs.unwrap_or(epochs),
            lr: self.lr.unwrap_or(lr),
            schedule: self.schedule.unwrap_or(schedule),
            batch,
            warm_start,
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
    /// What it was trained with.
    pub recipe: Recipe,
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
    let recipe = params.recipe(order.len(), nlist);
    let mut network = prepare(data, labels, nlist, params, &order);
    let mut rng = Random::new(params.seed, 4);
    let steps = (recipe.epochs * order.len().div_ceil(recipe.batch)) as f32;
    let (mut done, mut epochs) = (0.0, Vec::new());
    watch.begin("train", (recipe.epochs * order.len()) as u64, "vectors");
    for epoch in 0..recipe.epochs {
        rng.shuffle(&mut order);
        let (mut loss, mut right) = (0.0, 0);
        for rows in order.chunks(recipe.batch) {
            watch.check()?;
            let lr = recipe.lr * recipe.schedule.factor(done / steps);
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
    let mlp = network.model()?;
    Ok(TrainResult { mlp, epochs, recipe, trained_on: order.len(), seconds: start.elapsed().as_secs_f64() })
}

/// The network with its first weights.
fn prepare(data: Vectors<'_>, labels: &[u32], nlist: usize, params: &TrainParams, rows: &[u64]) -> Network {
    let recipe = params.recipe(rows.len(), nlist);
    let words = if params.precision == Precision::F32 { Words::F32 } else { Words::Bf16 };
    let scale = unit_scale(data);
    let mut layers = warm::random(data.d(), nlist, &params.hidden, &mut Random::new(params.seed, 3));
    if recipe.warm_start {
        warm::from_centroids(&mut layers, data, rows, labels, scale);
    }
    Network::new(layers, recipe.batch.min(rows.len()), words, scale)
}

/// What brings rows to about unit length, so that one step size suits vectors of any length; exactly 1 for unit vectors.
pub(super) fn unit_scale(data: Vectors<'_>) -> f32 {
    let step = data.n().div_ceil(4096);
    let rows = data.iter().step_by(step);
    let mean = rows.clone().map(|r| dot_f64(r, r)).sum::<f64>() / rows.len() as f64;
    let scale = 1.0 / mean.sqrt();
    if !scale.is_normal() || (scale - 1.0).abs() < 0.01 { 1.0 } else { scale as f32 }
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
    let recipe = p.recipe(data.n(), nlist);
    let sizes = [("epochs", recipe.epochs), ("batch", recipe.batch), ("train-size", p.train_size.unwrap_or(1))];
    if let Some((name, _)) = sizes.iter().find(|s| s.1 == 0) {
        return Err(Error::param(*name, 0, "at least 1"));
    }
    if p.hidden.contains(&0) {
        return Err(Error::param("hidden", 0, "layers of at least 1"));
    }
    if !(recipe.lr > 0.0 && recipe.lr.is_finite()) {
        return Err(Error::param("lr", recipe.lr, "a positive number"));
    }
    Ok(())
}
