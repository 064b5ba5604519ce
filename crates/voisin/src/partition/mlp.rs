//! A multi-layer perceptron whose outputs are the lists (Antol et al., "Learned Metric Index", 2021).

use super::product::{Right, by_units};
use super::{RouteParams, Routes, best_lists};
use crate::{Error, Matrix, Result, Vectors};
use voisin_kernels::{argmin, bias_relu, softmax};

/// y = W x + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// out x in, as `torch.nn.Linear` keeps it.
    pub weight: Matrix,
    /// out values.
    pub bias: Vec<f32>,
}

/// Linear layers with ReLU between them; softmax of the last one's outputs are the probabilities of the lists.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    packed: Vec<Right>,
}

impl PartialEq for Mlp {
    fn eq(&self, other: &Mlp) -> bool {
        self.layers == other.layers
    }
}

impl Mlp {
    /// Takes the layers, first to last; cost: one packed copy of the weights.
    ///
    /// # Errors
    /// [`Error::Param`] without layers, or if a layer's inputs or bias do not fit.
    pub fn new(layers: Vec<Linear>) -> Result<Mlp> {
        if layers.is_empty() {
            return Err(Error::param("layers", 0, "at least one"));
        }
        for (i, l) in layers.iter().enumerate() {
            let inputs = if i == 0 { l.weight.d() } else { layers[i - 1].weight.n() };
            if l.weight.n() == 0 || l.weight.d() != inputs || l.bias.len() != l.weight.n() {
                let got = format!("weight {} x {}, bias {}", l.weight.n(), l.weight.d(), l.bias.len());
                return Err(Error::param(format!("layer {i}"), got, format!("{inputs} inputs and one bias value an output")));
            }
        }
        let packed = layers.iter().map(|l| Right::new(l.weight.view())).collect();
        Ok(Mlp { layers, packed })
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// Dimensions of the input.
    pub fn d(&self) -> usize {
        self.layers[0].weight.d()
    }

    /// Number of outputs, which are the lists.
    pub fn nlist(&self) -> usize {
        self.layers[self.layers.len() - 1].weight.n()
    }

    /// Sizes of the hidden layers.
    pub fn hidden(&self) -> Vec<usize> {
        self.layers[..self.layers.len() - 1].iter().map(|l| l.weight.n()).collect()
    }

    /// Logits of each row, n x nlist.
    ///
    /// # Panics
    /// If the rows have another number of dimensions.
    pub fn forward(&self, block: Vectors<'_>) -> Matrix {
        let out = by_units(block, |unit, s: &mut Scratch| self.logits(unit, s).to_vec());
        Matrix::new(out, self.nlist())
    }

    /// Probability of each list for each row, n x nlist.
    ///
    /// # Panics
    /// If the rows have another number of dimensions.
    pub fn probabilities(&self, block: Vectors<'_>) -> Matrix {
        let mut out = self.forward(block);
        let nlist = self.nlist();
        out.data_mut().chunks_exact_mut(nlist).for_each(softmax);
        out
    }

    pub(crate) fn assign(&self, block: Vectors<'_>) -> Vec<u32> {
        let (nlist, zeros) = (self.nlist(), vec![0.0; self.nlist()]);
        by_units(block, |unit, s: &mut Scratch| {
            self.logits(unit, s).chunks_exact(nlist).map(|l| argmin(l, &zeros, -1.0).0.min(nlist as u32 - 1)).collect()
        })
    }

    pub(crate) fn route(&self, queries: Vectors<'_>, params: &RouteParams) -> Routes {
        let nlist = self.nlist();
        Routes::from_rows(by_units(queries, |unit, s: &mut Scratch| {
            let one = |logits: &mut [f32]| {
                softmax(logits);
                let mut lists = best_lists(logits, params.nprobe);
                if let Some(mass) = params.mass {
                    let mut seen = 0.0;
                    let reached = |e: &(f32, u32)| {
                        seen += e.0;
                        seen >= mass
                    };
                    let stop = lists.iter().position(reached).map_or(lists.len(), |i| i + 1);
                    lists.truncate(stop);
                }
                lists
            };
            self.logits(unit, s).chunks_exact_mut(nlist).map(one).collect()
        }))
    }

    /// One unit through all layers, on this thread; the rows follow each other without gaps.
    fn logits<'a>(&self, unit: Vectors<'_>, s: &'a mut Scratch) -> &'a mut [f32] {
        assert_eq!(unit.d(), self.d(), "vectors and model have the same dimensions");
        let m = unit.n();
        for (i, (layer, right)) in self.layers.iter().zip(&self.packed).enumerate() {
            let (out, stride) = (right.n(), right.stride());
            let input = if i == 0 { unit } else { Vectors::new(&s.hidden[..m * right.k()], right.k()) };
            let product = right.product(input, &mut s.product);
            s.hidden.resize(s.hidden.len().max(m * out), 0.0);
            let last = i + 1 == self.layers.len();
            for (to, from) in s.hidden.chunks_exact_mut(out).zip(product.chunks_exact(stride)) {
                to.copy_from_slice(&from[..out]);
                if last {
                    to.iter_mut().zip(&layer.bias).for_each(|(t, &b)| *t += b);
                } else {
                    bias_relu(to, &layer.bias);
                }
            }
        }
        &mut s.hidden[..m * self.nlist()]
    }
}

#[derive(Default)]
struct Scratch {
    hidden: Vec<f32>,
    product: Vec<f32>,
}
