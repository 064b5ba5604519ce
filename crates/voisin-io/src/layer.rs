//! An adaptation layer from a state dict: the weights of one `torch.nn.Linear`.

use std::path::Path;

use voisin::{Error, Layer, Matrix, Result};

use crate::state::{Tensor, read_state};

/// Reads a linear layer: one tensor `weight` of out x in values, named `weight` or `*.weight`, and a `bias` of out values beside it
/// where there is one. `.pth`, `.npz` and `.safetensors` hold such.
///
/// # Errors
/// [`Error::Format`] for a file of several layers or none, shapes that do not fit, and values that are not finite; what
/// [`read_state`] gives.
pub fn read_layer(path: &Path) -> Result<Layer> {
    let state = read_state(path)?;
    let wrong = |what: String| Error::format(path, what);
    let shapes = || {
        let all: Vec<String> = state.iter().take(8).map(|(name, t)| format!("`{name}` {:?}", t.shape)).collect();
        all.join(", ") + if state.len() > 8 { ", ..." } else { "" }
    };
    let is = |name: &str, what: &str| name == what || name.strip_suffix(what).is_some_and(|n| n.ends_with('.'));
    let of = |what: &'static str| state.iter().filter(move |(name, _)| is(name, what)).collect::<Vec<_>>();
    let (weights, biases) = (of("weight"), of("bias"));
    let (weight, bias): (&Tensor, Option<&Tensor>) = match (&weights[..], &biases[..]) {
        ([w], []) => (&w.1, None),
        ([w], [b]) => (&w.1, Some(&b.1)),
        _ => return Err(wrong(format!("one linear layer is expected (`*.weight` and perhaps `*.bias`); it has {}", shapes()))),
    };
    let &[d_out, d_in] = &weight.shape[..] else {
        return Err(wrong(format!("weights of [out, in] are expected; it has {}", shapes())));
    };
    if d_out == 0 || d_in == 0 || bias.is_some_and(|b| b.shape != [d_out]) {
        return Err(wrong(format!("weights of [out, in] and a bias of [out] are expected; it has {}", shapes())));
    }
    let made = Layer::new(Matrix::new(weight.data.clone(), d_in), bias.map(|b| b.data.clone()));
    made.map_err(|e| wrong(e.to_string()))
}
