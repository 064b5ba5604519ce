//! One training step of the list model, on reused memory.
//!
//! A step has four parallel phases: rows of the batch go forward and backward in chunks; activations and their gradients
//! are packed for the weight gradients; each block of weights computes its gradient and takes Adam's step at once;
//! the new weights are packed. Every value is the same chain of operations whichever thread computes it.

use super::{Linear, Mlp};
use crate::{Matrix, Result, Vectors};
use rayon::prelude::*;
use voisin_kernels::{AdamStep, Panels, View, Words, adam, bias_relu, cross_entropy, panel_product, relu_gradient};

/// Rows a chunk goes forward and backward with: whole panels of any tile.
const CHUNK: usize = 48;
/// Outputs a block of weights is made of.
const BLOCK: usize = 24;
/// Row strides are multiples of the widest tile.
const WIDTH: usize = 32;

/// A layer under training: weights, Adam's moments, and both packed forms of the weights.
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    bias_first: Vec<f32>,
    bias_second: Vec<f32>,
    forward: Panels,
    backward: Panels,
    /// Gradients of the outputs and inputs of the batch, packed along the batch.
    delta: Panels,
    input: Panels,
}

/// A model under training.
pub(crate) struct Network {
    layers: Vec<Layer>,
    words: Words,
    /// Factor of the rows, so that they have about unit length.
    scale: f32,
    /// Inputs of each layer for the batch, rows `stride(inputs)` apart; then gradients of the outputs of each layer.
    inputs: Vec<Vec<f32>>,
    deltas: Vec<Vec<f32>>,
    losses: Vec<(f32, bool)>,
    step: u32,
}

fn stride(n: usize) -> usize {
    n.next_multiple_of(WIDTH)
}

impl Network {
    /// Takes the first weights, which expect rows times `scale`; `batch` is the largest number of rows a step.
    pub(crate) fn new(layers: Vec<Linear>, batch: usize, words: Words, scale: f32) -> Network {
        let rows = batch.next_multiple_of(CHUNK);
        let (mut inputs, mut deltas, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for l in layers {
            let (n_in, n_out) = (l.weight.d(), l.weight.n());
            inputs.push(vec![0.0; rows * stride(n_in)]);
            deltas.push(vec![0.0; rows * stride(n_out)]);
            all.push(Layer {
                inputs: n_in,
                outputs: n_out,
                first: vec![0.0; n_in * n_out],
                second: vec![0.0; n_in * n_out],
                bias_first: vec![0.0; n_out],
                bias_second: vec![0.0; n_out],
                weight: l.weight.into_data(),
                bias: l.bias,
                forward: Panels::right(words),
                backward: Panels::right(words),
                delta: Panels::left(words),
                input: Panels::right(words),
            });
        }
        let losses = vec![(0.0, false); batch];
        let mut network = Network { layers: all, words, scale, inputs, deltas, losses, step: 0 };
        network.pack_weights();
        network
    }

    /// The model as it is now, for rows as they are.
    pub(crate) fn model(mut self) -> Result<Mlp> {
        self.layers[0].weight.iter_mut().for_each(|w| *w *= self.scale);
        let linear = |l: Layer| Linear { weight: Matrix::new(l.weight, l.inputs), bias: l.bias };
        Mlp::new(self.layers.into_iter().map(linear).collect())
    }

    /// One step on the given rows, whose labels (equally many a row) share the probability; returns the sum of the losses and
    /// the number of right predictions.
    pub(crate) fn step(&mut self, data: Vectors<'_>, labels: &[u32], rows: &[u64], lr: f32) -> (f64, usize) {
        self.step += 1;
        self.step_by(data, labels, rows, AdamStep::new(self.step, lr))
    }

    /// Weights and bias of the last layer as they are now, for rows times the scale.
    pub(crate) fn last(&self) -> (&[f32], &[f32]) {
        let layer = &self.layers[self.layers.len() - 1];
        (&layer.weight, &layer.bias)
    }

    fn step_by(&mut self, data: Vectors<'_>, labels: &[u32], rows: &[u64], adam_step: AdamStep) -> (f64, usize) {
        self.forward_backward(data, labels, rows);
        self.pack_batch(rows.len());
        self.descend(rows.len(), adam_step);
        self.pack_weights();
        let losses = &self.losses[..rows.len()];
        (losses.iter().map(|l| l.0 as f64).sum(), losses.iter().filter(|l| l.1).count())
    }

    fn forward_backward(&mut self, data: Vectors<'_>, labels: &[u32], rows: &[u64]) {
        let (scale, a_row) = (1.0 / rows.len() as f32, labels.len() / data.n().max(1));
        let mut chunks: Vec<Chunk<'_>> = rows
            .chunks(CHUNK)
            .zip(self.losses.chunks_mut(CHUNK))
            .map(|(rows, losses)| Chunk { rows, losses, inputs: Vec::new(), deltas: Vec::new() })
            .collect();
        for (layer, (inputs, deltas)) in self.layers.iter().zip(self.inputs.iter_mut().zip(&mut self.deltas)) {
            let ins = inputs.chunks_mut(CHUNK * stride(layer.inputs));
            let outs = deltas.chunks_mut(CHUNK * stride(layer.outputs));
            for (chunk, (i, o)) in chunks.iter_mut().zip(ins.zip(outs)) {
                chunk.inputs.push(i);
                chunk.deltas.push(o);
            }
        }
        let layers = &self.layers;
        chunks.into_par_iter().for_each_init(
            || Panels::left(self.words),
            |left, mut chunk| {
                chunk.gather(data, self.scale);
                chunk.forward(layers, left);
                chunk.loss(layers, labels, a_row, scale);
                chunk.backward(layers, left);
            },
        );
    }

    /// Packs inputs and gradients along the batch.
    fn pack_batch(&mut self, m: usize) {
        let sides: Vec<(&mut Panels, View<'_>)> = self
            .layers
            .iter_mut()
            .zip(self.inputs.iter().zip(&self.deltas))
            .flat_map(|(l, (x, d))| {
                let delta = View::strided(d, m, l.outputs, stride(l.outputs)).t();
                let input = View::strided(x, m, l.inputs, stride(l.inputs)).t();
                [(&mut l.delta, delta), (&mut l.input, input)]
            })
            .collect();
        sides.into_par_iter().for_each(|(panels, view)| panels.pack_parallel(view));
    }

    /// Gradient of the weights, and Adam's step.
    fn descend(&mut self, m: usize, adam_step: AdamStep) {
        let mut blocks = Vec::new();
        for (layer, deltas) in self.layers.iter_mut().zip(&self.deltas) {
            let size = BLOCK * layer.inputs;
            let weights = layer.weight.chunks_mut(size).zip(layer.first.chunks_mut(size)).zip(layer.second.chunks_mut(size));
            let biases =
                layer.bias.chunks_mut(BLOCK).zip(layer.bias_first.chunks_mut(BLOCK)).zip(layer.bias_second.chunks_mut(BLOCK));
            for (b, (weight, bias)) in weights.zip(biases).enumerate() {
                let width = stride(layer.outputs);
                blocks.push(Block {
                    at: b * BLOCK,
                    weight,
                    bias,
                    inputs: layer.inputs,
                    delta: &layer.delta,
                    input: &layer.input,
                    deltas,
                    width,
                });
            }
        }
        blocks.into_par_iter().for_each_init(Vec::new, |gradient, block| block.descend(m, adam_step, gradient));
    }

    fn pack_weights(&mut self) {
        let sides: Vec<(&mut Panels, View<'_>)> = self
            .layers
            .iter_mut()
            .enumerate()
            .flat_map(|(i, l)| {
                let w = View::new(&l.weight, l.outputs, l.inputs);
                // nobody asks for the gradient of the rows themselves
                [Some((&mut l.forward, w)), (i > 0).then_some((&mut l.backward, w.t()))]
            })
            .flatten()
            .collect();
        sides.into_par_iter().for_each(|(panels, view)| panels.pack_parallel(view));
    }
}

/// Some rows of the batch, with their parts of the batch's memory.
struct Chunk<'a> {
    rows: &'a [u64],
    losses: &'a mut [(f32, bool)],
    inputs: Vec<&'a mut [f32]>,
    deltas: Vec<&'a mut [f32]>,
}

impl Chunk<'_> {
    fn gather(&mut self, data: Vectors<'_>, scale: f32) {
        let (d, width) = (data.d(), stride(data.d()));
        for (to, &r) in self.inputs[0].chunks_exact_mut(width).zip(self.rows) {
            to[..d].iter_mut().zip(data.row(r as usize)).for_each(|(t, &x)| *t = x * scale);
        }
    }

    fn forward(&mut self, layers: &[Layer], left: &mut Panels) {
        let m = self.rows.len();
        for (i, l) in layers.iter().enumerate() {
            left.pack(View::strided(self.inputs[i], m, l.inputs, stride(l.inputs)));
            let hidden = i + 1 < layers.len();
            let out: &mut [f32] = if hidden { self.inputs[i + 1] } else { self.deltas[i] };
            panel_product(left, 0..m, &l.forward, out, stride(l.outputs));
            if hidden {
                out.chunks_exact_mut(stride(l.outputs)).take(m).for_each(|z| bias_relu(&mut z[..l.outputs], &l.bias));
            }
        }
    }

    /// Turns the last layer's outputs into their gradients.
    fn loss(&mut self, layers: &[Layer], labels: &[u32], a_row: usize, scale: f32) {
        let (last, out) = (&layers[layers.len() - 1], self.deltas.last_mut().expect("at least one layer"));
        let of = |row: u64| &labels[row as usize * a_row..(row as usize + 1) * a_row];
        for ((z, &r), loss) in out.chunks_exact_mut(stride(last.outputs)).zip(self.rows).zip(&mut *self.losses) {
            *loss = cross_entropy(&mut z[..last.outputs], &last.bias, of(r), scale);
        }
    }

    fn backward(&mut self, layers: &[Layer], left: &mut Panels) {
        let m = self.rows.len();
        for i in (1..layers.len()).rev() {
            let (l, width) = (&layers[i], stride(layers[i].inputs));
            left.pack(View::strided(self.deltas[i], m, l.outputs, stride(l.outputs)));
            panel_product(left, 0..m, &l.backward, self.deltas[i - 1], width);
            for (d, a) in self.deltas[i - 1].chunks_exact_mut(width).zip(self.inputs[i].chunks_exact(width)).take(m) {
                relu_gradient(&mut d[..l.inputs], &a[..l.inputs]);
            }
        }
    }
}

/// One part of [`Layer`]'s arrays: values, first and second moment.
type Moments<'a> = ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]);

/// Some outputs of a layer, with their weights.
struct Block<'a> {
    at: usize,
    weight: Moments<'a>,
    bias: Moments<'a>,
    inputs: usize,
    delta: &'a Panels,
    input: &'a Panels,
    deltas: &'a [f32],
    width: usize,
}

impl Block<'_> {
    fn descend(self, m: usize, s: AdamStep, gradient: &mut Vec<f32>) {
        let ((bias, first), second) = self.bias;
        let outputs = bias.len();
        let mut sums = [0.0; BLOCK];
        for row in self.deltas.chunks_exact(self.width).take(m) {
            sums.iter_mut().zip(&row[self.at..self.at + outputs]).for_each(|(s, &d)| *s += d);
        }
        adam(bias, &sums[..outputs], first, second, s);

        let ldc = stride(self.inputs);
        gradient.resize(gradient.len().max(BLOCK * ldc), 0.0);
        panel_product(self.delta, self.at..self.at + outputs, self.input, gradient, ldc);
        let ((weight, first), second) = self.weight;
        let n = self.inputs;
        let moments = first.chunks_exact_mut(n).zip(second.chunks_exact_mut(n));
        for ((w, (m, v)), g) in weight.chunks_exact_mut(n).zip(moments).zip(gradient.chunks_exact(ldc)) {
            adam(w, &g[..n], m, v, s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{rng::Random, warm};
    use super::*;
    use serde_json::Value;

    /// Adam without moments and without a root: the weights minus their gradient.
    const PLAIN: AdamStep = AdamStep { beta1: 0.0, beta2: 1.0, rate: 1.0, root: 1.0, epsilon: 1.0 };

    fn sample(n: usize, d: usize, nlist: u64) -> (Matrix, Vec<u32>) {
        let mut rng = Random::new(5, 0);
        let x = (0..n * d).map(|_| (rng.unit() * 2.0 - 1.0) as f32).collect();
        (Matrix::new(x, d), (0..n).map(|_| rng.below(nlist) as u32).collect())
    }

    /// Mean cross-entropy in f64.
    fn loss(layers: &[Linear], x: &Matrix, y: &[u32]) -> f64 {
        let mut sum = 0.0;
        for (row, &label) in x.view().iter().zip(y) {
            let mut v: Vec<f64> = row.iter().map(|&x| x as f64).collect();
            for (i, l) in layers.iter().enumerate() {
                let z = |(w, &b): (&[f32], &f32)| w.iter().zip(&v).map(|(&w, &x)| w as f64 * x).sum::<f64>() + b as f64;
                let out: Vec<f64> = l.weight.view().iter().zip(&l.bias).map(z).collect();
                v = if i + 1 < layers.len() { out.iter().map(|z| z.max(0.0)).collect() } else { out };
            }
            sum += v.iter().map(|z| z.exp()).sum::<f64>().ln() - v[label as usize];
        }
        sum / y.len() as f64
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        // several chunks, several blocks of outputs, sizes that fill no tile
        let (d, hidden, nlist, n) = (5, [30, 7], 4, 101);
        let (x, y) = sample(n, d, nlist as u64);
        let layers = warm::random(d, nlist, &hidden, &mut Random::new(1, 1));
        let mut network = Network::new(layers.clone(), n, Words::F32, 1.0);
        let rows: Vec<u64> = (0..n as u64).collect();
        let (sum, _) = network.step_by(x.view(), &y, &rows, PLAIN);
        assert!((sum / n as f64 - loss(&layers, &x, &y)).abs() < 1e-6);
        let after = network.model().unwrap();
        for i in 0..3 {
            for at in 0..layers[i].weight.data().len() {
                let slope = slope(&layers, &x, &y, |l, by| l[i].weight.data_mut()[at] += by);
                let got = layers[i].weight.data()[at] as f64 - after.layers()[i].weight.data()[at] as f64;
                assert!((slope - got).abs() < 2e-5 + 1e-3 * slope.abs(), "layer {i}, weight {at}: {slope} and {got}");
            }
            for at in 0..layers[i].bias.len() {
                let slope = slope(&layers, &x, &y, |l, by| l[i].bias[at] += by);
                let got = layers[i].bias[at] as f64 - after.layers()[i].bias[at] as f64;
                assert!((slope - got).abs() < 2e-5 + 1e-3 * slope.abs(), "layer {i}, bias {at}: {slope} and {got}");
            }
        }
    }

    fn slope(layers: &[Linear], x: &Matrix, y: &[u32], change: impl Fn(&mut [Linear], f32)) -> f64 {
        let by = 1.0 / 16384.0; // small: no unit may switch between the two
        let (mut up, mut down) = (layers.to_vec(), layers.to_vec());
        change(&mut up, by);
        change(&mut down, -by);
        (loss(&up, x, y) - loss(&down, x, y)) / (2.0 * by as f64)
    }

    fn fixture() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/partition/torch.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn floats(v: &Value) -> Vec<f32> {
        v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    }

    fn matrix(v: &Value) -> Matrix {
        let rows: Vec<Vec<f32>> = v.as_array().unwrap().iter().map(floats).collect();
        Matrix::new(rows.concat(), rows[0].len())
    }

    fn layers(v: &Value) -> Vec<Linear> {
        v.as_array().unwrap().iter().map(|l| Linear { weight: matrix(&l["weight"]), bias: floats(&l["bias"]) }).collect()
    }

    fn near(got: &[Linear], want: &[Linear], tolerance: f32) {
        for (g, w) in got.iter().zip(want) {
            for (a, b) in g.weight.data().iter().chain(&g.bias).zip(w.weight.data().iter().chain(&w.bias)) {
                assert!((a - b).abs() <= tolerance, "{a} and {b}");
            }
        }
    }

    #[test]
    fn steps_of_adam_are_those_of_torch() {
        let f = fixture();
        let (x, y) = (matrix(&f["x"]), f["y"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect::<Vec<_>>());
        let rows: Vec<u64> = (0..x.n() as u64).collect();
        for (words, tolerance) in [(Words::F32, 2e-6), (Words::Bf16, 2e-2)] {
            let first = Mlp::new(layers(&f["layers"])).unwrap();
            for (got, want) in first.forward(x.view()).data().iter().zip(matrix(&f["logits"]).data()) {
                assert!((got - want).abs() < 1e-5, "{got} and {want}");
            }
            for steps in [1, 5] {
                let mut network = Network::new(layers(&f["layers"]), 11, words, 1.0);
                for step in 0..steps {
                    let (loss, _) = network.step(x.view(), &y, &rows, 1e-2);
                    let want = f["loss"].as_f64().unwrap();
                    assert!(step > 0 || (loss / 11.0 - want).abs() < if words == Words::F32 { 1e-6 } else { 1e-2 });
                }
                near(network.model().unwrap().layers(), &layers(&f[format!("after_{steps}")]), tolerance);
            }
        }
    }

    #[test]
    fn scaled_rows_give_a_model_for_the_rows_as_they_are() {
        let (x, y) = sample(60, 6, 4);
        let small = Matrix::new(x.data().iter().map(|v| v / 64.0).collect(), 6);
        let train = |data: &Matrix, scale: f32| {
            let mut network = Network::new(warm::random(6, 4, &[8], &mut Random::new(1, 1)), 60, Words::F32, scale);
            let rows: Vec<u64> = (0..60).collect();
            for _ in 0..5 {
                network.step(data.view(), &y, &rows, 1e-2);
            }
            network.model().unwrap().forward(data.view())
        };
        assert_eq!(train(&x, 1.0), train(&small, 64.0));
    }
}
