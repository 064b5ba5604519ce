//! Training of a router: cross-entropy with the lists of the true neighbours, from the rule of the nearest centroid on.
//!
//! A part of the queries is held out. After every epoch it says how many vectors must be compared until the list of a true
//! neighbour is reached (mean of the logarithm), in the order of the probabilities and by probability for each vector; the best of
//! all epochs, the start among them, is kept. So few queries change little, and none makes it worse than the centroids on those
//! held out.

use super::network::Network;
use super::product::{Right, by_units, by_units_at};
use super::rng::Random;
use super::router::{Router, directed};
use super::train::{Epoch, Precision, Schedule, unit_scale};
use super::{Linear, warm};
use crate::{Error, Matrix, Metric, Result, Vectors, Watch};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use voisin_kernels::{Words, dot_f64};

/// Adam's step size where there are many neighbours a list, as a multiple of the root mean square of the first weights.
const RATE: f32 = 0.03;
/// So many neighbours a list are many; with fewer the step shrinks with the root of their number, which keeps noise out.
const MANY: f64 = 512.0;
/// Parts of the logarithm of the size that are tried: probability alone, and for each vector compared.
const PARTS: [f32; 3] = [0.0, 0.5, 1.0];
/// Lists below this part of the mean size count as if they had it: nothing is won by visiting lists for being small.
const LEAST_SIZE: f64 = 0.5;
/// Epochs that may be no better before it is over.
const PATIENCE: usize = 3;

/// How a router is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterParams {
    /// Neighbours of each query whose lists are learned.
    pub k: usize,
    /// Passes over the queries, at most.
    pub epochs: usize,
    /// Adam's largest step size as a multiple of the root mean square of the first weights; `None` chooses by the number of queries.
    pub rate: Option<f32>,
    /// Queries a step; `None` chooses by their number.
    pub batch: Option<usize>,
    /// Arithmetic of the products.
    pub precision: Precision,
    /// Every so many queries, one is held out.
    #[serde(skip)]
    pub held: usize,
    /// Seed of the order of the queries.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for RouterParams {
    fn default() -> Self {
        RouterParams { k: 10, epochs: 8, rate: None, batch: None, precision: Precision::Bf16, held: 5, seed: 0 }
    }
}

/// What a router is trained on.
#[derive(Clone, Copy, Debug)]
pub struct RouterData<'a> {
    /// The queries, n x d.
    pub queries: Vectors<'a>,
    /// The lists of their true neighbours, equally many a query.
    pub lists: &'a [u32],
    /// A centroid a list, where the router begins.
    pub centroids: &'a Matrix,
    /// Vectors a list, or of a sample.
    pub sizes: &'a [u64],
    /// How vectors are compared.
    pub metric: Metric,
}

/// A trained router.
#[derive(Clone, Debug)]
pub struct RouterResult {
    /// The router.
    pub router: Router,
    /// Loss of every epoch, and the share of queries whose most probable list holds a neighbour.
    pub epochs: Vec<Epoch>,
    /// Vectors compared, as a geometric mean over the neighbours of the queries held out, until the list of a neighbour was
    /// reached: by the centroids, and by the router.
    pub reach: [f64; 2],
    /// Queries trained on.
    pub trained_on: usize,
    /// Wall time.
    pub seconds: f64,
}

/// Bytes that training takes beside the queries: weights, two moments, the best so far, packed sides, a batch of logits.
pub fn router_bytes(nlist: usize, d: usize, batch: usize) -> u64 {
    nlist as u64 * (d as u64 * 28 + batch as u64 * 8)
}

/// Trains a router. Cost: about 6 n nlist d floating-point operations an epoch; deterministic for any number of threads.
///
/// # Errors
/// Fewer than 10 queries, lists that are not equally many a query or not below their number, a parameter of 0;
/// [`Error::Stopped`].
pub fn train_router(data: &RouterData<'_>, params: &RouterParams, watch: &dyn Watch) -> Result<RouterResult> {
    check(data, params)?;
    let clock = Instant::now();
    let rows = directed(data.queries, data.metric);
    let queries = Vectors::new(&rows, data.queries.d());
    let (held, mut order): (Vec<u64>, Vec<u64>) = (0..queries.n() as u64).partition(|i| i % params.held as u64 == 0);
    let judge = Judge::new(queries, data, &held);
    let scale = unit_scale(queries);
    let start = first_layer(queries, data, &order);
    let (mut best, mut best_layer) = (judge.judge(&start), start.clone());
    let before = judge.plain(&start);

    let mut layer = start;
    layer.weight.data_mut().iter_mut().for_each(|w| *w /= scale);
    let w = layer.weight.data();
    let size = (dot_f64(w, w) / w.len() as f64).sqrt() as f32;
    let batch = batch(params, order.len(), layer.weight.n());
    let lr = size * params.rate.unwrap_or_else(|| usual_rate(order.len() * per(data), data.sizes.len()));
    let words = if params.precision == Precision::F32 { Words::F32 } else { Words::Bf16 };
    let mut network = Network::new(vec![layer], batch, words, scale);
    let mut rng = Random::new(params.seed, 5);
    let steps = (params.epochs * order.len().div_ceil(batch)) as f32;
    let (mut done, mut epochs, mut since) = (0.0, Vec::new(), 0);
    watch.begin("train the router", (params.epochs * order.len()) as u64, "queries");
    for epoch in 0..params.epochs {
        rng.shuffle(&mut order);
        let (mut loss, mut right) = (0.0, 0);
        for rows in order.chunks(batch) {
            watch.check()?;
            let (l, r) = network.step(queries, data.lists, rows, lr * Schedule::Linear.factor(done / steps));
            done += 1.0;
            loss += l;
            right += r;
            watch.advance(rows.len() as u64);
        }
        let e = Epoch { loss: loss / order.len() as f64, accuracy: right as f64 / order.len() as f64 };
        let now = layer_of(&network, queries.d(), scale);
        let found = judge.judge(&now);
        watch.note(&format!("epoch {}: loss {:.4}, {:.0} vectors to a neighbour", epoch + 1, e.loss, found.0.exp()));
        epochs.push(e);
        since += 1;
        if found.0 < best.0 {
            (best, best_layer, since) = (found, now, 0);
        } else if since >= PATIENCE {
            break;
        }
    }
    watch.end();
    let router = judge.router(best_layer, best.1, data.metric);
    let reach = [before.exp(), best.0.exp()];
    Ok(RouterResult { router, epochs, reach, trained_on: order.len(), seconds: clock.elapsed().as_secs_f64() })
}

fn per(data: &RouterData<'_>) -> usize {
    data.lists.len() / data.queries.n()
}

/// The step size for so many neighbours.
fn usual_rate(neighbours: usize, nlist: usize) -> f32 {
    RATE * (neighbours as f64 / nlist as f64 / MANY).min(1.0).sqrt() as f32
}

/// Queries a step: about a hundred steps an epoch, and logits of at most 256 MiB.
fn batch(params: &RouterParams, n: usize, nlist: usize) -> usize {
    let usual = (n / 100).next_power_of_two().clamp(64, 512).min(((64 << 20) / nlist).max(32));
    params.batch.unwrap_or(usual).clamp(1, n)
}

fn layer_of(network: &Network, d: usize, scale: f32) -> Linear {
    let (weight, bias) = network.last();
    Linear { weight: Matrix::new(weight.iter().map(|w| w * scale).collect(), d), bias: bias.to_vec() }
}

/// The rule of the nearest centroid (of the largest product under ip), so sharp that its probabilities fit the queries best.
fn first_layer(queries: Vectors<'_>, data: &RouterData<'_>, order: &[u64]) -> Linear {
    let mut weight = data.centroids.clone();
    let mut bias = warm::centre(&mut weight);
    if data.metric == Metric::Ip {
        bias.fill(0.0);
    }
    let nlist = weight.n();
    let rows = ((16 << 20) / nlist).clamp(64, 1024);
    let chosen: Vec<u64> = order.iter().copied().step_by(order.len().div_ceil(rows)).collect();
    let sample = super::kmeans::gather(queries, &chosen);
    let right = Right::new(weight.view());
    let scores = by_units(sample.view(), |unit, s: &mut Vec<f32>| {
        let lines = right.product(unit, s).chunks_exact(right.stride());
        lines.flat_map(|line| line.iter().zip(&bias).map(|(p, b)| p + b)).collect()
    });
    let loss = |sharp: f64| -> f64 {
        let one = |(row, &q): (&[f32], &u64)| {
            let top = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) as f64;
            let all: f64 = row.iter().map(|&s| ((s as f64 - top) * sharp).exp()).sum();
            let at = q as usize * per(data);
            let own = data.lists[at..at + per(data)].iter().map(|&l| row[l as usize] as f64 - top).sum::<f64>();
            all.ln() - sharp * own / per(data) as f64
        };
        scores.chunks_exact(nlist).zip(&chosen).map(one).sum()
    };
    // convex in the sharpness: golden section on its logarithm, within what the spread of the scores makes sense of
    let spread = scores.iter().fold(0.0f32, |a, s| a.max(s.abs())).max(f32::MIN_POSITIVE) as f64;
    let (mut low, mut high) = ((0.1 / spread).ln(), (1000.0 / spread).ln());
    for _ in 0..24 {
        let (a, b) = (high - (high - low) * 0.618, low + (high - low) * 0.618);
        if loss(a.exp()) < loss(b.exp()) { high = b } else { low = a }
    }
    let sharp = ((low + high) / 2.0).exp();
    let times = |v: &mut f32| *v = (*v as f64 * sharp) as f32;
    weight.data_mut().iter_mut().for_each(times);
    bias.iter_mut().for_each(times);
    Linear { weight, bias }
}

/// Measures layers on the queries held out.
struct Judge<'a> {
    queries: Matrix,
    lists: Vec<u32>,
    per: usize,
    sizes: &'a [u64],
    /// ln of size over mean size of each list.
    logs: Vec<f32>,
}

impl<'a> Judge<'a> {
    fn new(queries: Vectors<'_>, data: &RouterData<'a>, held: &[u64]) -> Judge<'a> {
        let per = per(data);
        let lists = held.iter().flat_map(|&q| &data.lists[q as usize * per..(q as usize + 1) * per]).copied().collect();
        let mean = (data.sizes.iter().sum::<u64>() as f64 / data.sizes.len() as f64).max(f64::MIN_POSITIVE);
        let logs = data.sizes.iter().map(|&s| (s as f64 / mean).max(LEAST_SIZE).ln() as f32).collect();
        Judge { queries: super::kmeans::gather(queries, held), lists, per, sizes: data.sizes, logs }
    }

    /// The best part of the size, and what it comes to: mean logarithm of the vectors compared.
    fn judge(&self, layer: &Linear) -> (f64, f32) {
        let found = self.measure(layer, &PARTS).into_iter().zip(PARTS);
        found.min_by(|a, b| a.0.total_cmp(&b.0)).expect("some parts")
    }

    /// The same by probability alone.
    fn plain(&self, layer: &Linear) -> f64 {
        self.measure(layer, &[0.0])[0]
    }

    fn measure(&self, layer: &Linear, parts: &[f32]) -> Vec<f64> {
        let right = Right::new(layer.weight.view());
        let stride = right.stride();
        let all: Vec<f64> = by_units_at(self.queries.view(), |first, unit, s: &mut Vec<f32>| {
            let lines = right.product(unit, s).chunks_exact(stride).enumerate();
            lines.flat_map(|(i, line)| parts.iter().map(move |p| self.one(first + i, line, layer, *p))).collect()
        });
        let mut sums = vec![0.0; parts.len()];
        all.chunks_exact(parts.len()).for_each(|row| sums.iter_mut().zip(row).for_each(|(s, x)| *s += x));
        sums.iter().map(|s| s / self.queries.n() as f64).collect()
    }

    /// Mean logarithm of the vectors in the lists up to those of a query's neighbours.
    fn one(&self, q: usize, products: &[f32], layer: &Linear, part: f32) -> f64 {
        let score = |l: usize| products[l] + layer.bias[l] - part * self.logs[l];
        let own = &self.lists[q * self.per..(q + 1) * self.per];
        let mut order: Vec<(f32, u32)> = (0..self.sizes.len()).map(|l| (score(l), l as u32)).collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut seen, mut sum, mut left) = (0u64, 0.0, own.len());
        for (_, list) in order {
            seen += self.sizes[list as usize];
            let here = own.iter().filter(|&&l| l == list).count();
            sum += here as f64 * (seen.max(1) as f64).ln();
            left -= here;
            if left == 0 {
                break;
            }
        }
        sum / own.len() as f64
    }

    /// The router of a layer: sizes taken off, and what all lists share, which changes no order and only widens bounds.
    fn router(&self, layer: Linear, part: f32, metric: Metric) -> Router {
        let (nlist, d) = (layer.weight.n(), layer.weight.d());
        let prior: Vec<f32> = self.logs.iter().map(|l| part * l).collect();
        let mut weight = layer.weight;
        warm::centre(&mut weight);
        let shared = layer.bias.iter().zip(&prior).map(|(&b, &p)| (b - p) as f64).sum::<f64>() / nlist as f64;
        let length = self.queries.view().iter().map(|q| dot_f64(q, q).sqrt()).sum::<f64>() / self.queries.n() as f64;
        // about the largest value of a query, so that it takes no bits from the others
        let lift = (4.0 * length / (d as f64).sqrt()).max(f32::MIN_POSITIVE as f64);
        let mut rows = Matrix::zeros(nlist, d + 1);
        for (l, (&b, &p)) in layer.bias.iter().zip(&prior).enumerate() {
            let row = rows.row_mut(l);
            row[..d].copy_from_slice(weight.row(l));
            row[d] = (((b - p) as f64 - shared) / lift) as f32;
        }
        Router::new(rows, prior, lift as f32, metric)
    }
}

fn check(data: &RouterData<'_>, p: &RouterParams) -> Result<()> {
    let (n, nlist) = (data.queries.n(), data.centroids.n());
    if n < 10 {
        return Err(Error::param("queries", n, "at least 10 to train a router on"));
    }
    if data.lists.is_empty() || !data.lists.len().is_multiple_of(n) {
        return Err(Error::param("lists", data.lists.len(), format!("equally many for each of {n} queries")));
    }
    if let Some(&l) = data.lists.iter().find(|l| **l as usize >= nlist) {
        return Err(Error::param("list", l, format!("below the number of lists, {nlist}")));
    }
    if data.sizes.len() != nlist {
        return Err(Error::param("sizes", data.sizes.len(), format!("one a list, {nlist}")));
    }
    for (name, value) in [("epochs", p.epochs), ("batch", p.batch.unwrap_or(1)), ("held", p.held.saturating_sub(1)), ("k", p.k)] {
        if value == 0 {
            return Err(Error::param(name, 0, "at least 1"));
        }
    }
    match p.rate {
        Some(r) if !(r > 0.0 && r.is_finite()) => Err(Error::param("rate", r, "a positive number")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quiet;
    use crate::partition::{Centroids, RouteParams};

    /// Queries near one of four corners whose neighbours lie in the list of the next corner.
    fn turned(n: usize) -> (Matrix, Vec<u32>, Matrix) {
        let mut rng = Random::new(3, 0);
        let corners = [[1.0f32, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]];
        let (mut rows, mut lists) = (Vec::new(), Vec::new());
        for i in 0..n {
            let c = i % 4;
            rows.extend(corners[c].iter().map(|x| x + 0.2 * (rng.unit() as f32 - 0.5)));
            lists.extend([(c as u32 + 1) % 4; 3]);
        }
        (Matrix::new(rows, 2), lists, Matrix::new(corners.concat(), 2))
    }

    #[test]
    fn what_queries_find_is_learned_whatever_the_centroids_say() {
        let (queries, lists, centroids) = turned(400);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let data = RouterData { queries: queries.view(), lists: &lists, centroids: &centroids, sizes: &[10; 4], metric };
            let params = RouterParams { rate: Some(0.3), epochs: 20, ..RouterParams::default() };
            let r = train_router(&data, &params, &Quiet).unwrap();
            let routes = r.router.route(queries.view(), &RouteParams { nprobe: 1, mass: None });
            let right = (0..400).filter(|&q| routes.lists(q)[0] == lists[3 * q]).count();
            assert!(right >= 390, "{metric}: {right}");
            assert!(r.reach[0] > 15.0 && r.reach[1] < 12.0, "{:?}", r.reach);
            let again = train_router(&data, &params, &Quiet).unwrap();
            assert_eq!(again.router.rows(), r.router.rows());
        }
    }

    #[test]
    fn it_begins_as_the_nearest_centroid_and_stays_there_without_need() {
        let (queries, _, centroids) = turned(60);
        let nearest = Centroids::new(centroids.clone(), Metric::L2);
        let routes = nearest.route(queries.view(), &RouteParams::default());
        let lists: Vec<u32> = (0..60).map(|q| routes.lists(q)[0]).collect();
        let data =
            RouterData { queries: queries.view(), lists: &lists, centroids: &centroids, sizes: &[5; 4], metric: Metric::L2 };
        let r = train_router(&data, &RouterParams::default(), &Quiet).unwrap();
        assert!((r.reach[0] - 5.0).abs() < 1e-9 && (r.reach[1] - 5.0).abs() < 1e-9);
        let found = r.router.route(queries.view(), &RouteParams::default());
        (0..60).for_each(|q| assert_eq!(found.lists(q), routes.lists(q)));
    }

    #[test]
    fn smaller_lists_come_first_where_they_hold_as_much() {
        // list 1 holds a third of the neighbours in a tenth of the vectors
        let queries = Matrix::new((0..60).flat_map(|i| [1.0, 0.01 * (i % 7) as f32]).collect(), 2);
        let lists: Vec<u32> = (0..60).flat_map(|_| [0, 0, 1]).collect();
        let centroids = Matrix::new(vec![1.0, 0.0, 0.9, 0.0], 2);
        let data =
            RouterData { queries: queries.view(), lists: &lists, centroids: &centroids, sizes: &[100, 10], metric: Metric::L2 };
        let r = train_router(&data, &RouterParams::default(), &Quiet).unwrap();
        assert_eq!(r.router.route(queries.view(), &RouteParams::default()).lists(0), [1, 0]);
        assert!(r.router.prior()[0] > r.router.prior()[1]);
    }

    #[test]
    fn wrong_calls_are_named() {
        let (queries, lists, centroids) = turned(40);
        let good =
            RouterData { queries: queries.view(), lists: &lists, centroids: &centroids, sizes: &[1; 4], metric: Metric::L2 };
        let fault = |data: RouterData<'_>, p: RouterParams| train_router(&data, &p, &Quiet).unwrap_err().to_string();
        let usual = RouterParams::default;
        assert!(fault(RouterData { queries: queries.view().rows(0..9), ..good }, usual()).contains("at least 10"));
        assert!(fault(RouterData { lists: &lists[1..], ..good }, usual()).contains("equally many"));
        assert!(fault(RouterData { lists: &[9; 40], ..good }, usual()).contains("below"));
        assert!(fault(RouterData { sizes: &[1; 3], ..good }, usual()).contains("one a list"));
        assert!(fault(good, RouterParams { epochs: 0, ..usual() }).contains("epochs"));
        assert!(fault(good, RouterParams { rate: Some(f32::NAN), ..usual() }).contains("rate"));
    }
}
