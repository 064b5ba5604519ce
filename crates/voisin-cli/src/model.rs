//! `voisin model`, and the state dicts that `build --model` reads: an MLP as PyTorch names its layers.

use std::path::{Path, PathBuf};

use clap::Args;
use voisin::index::Index;
use voisin::partition::{Linear, Mlp, Partition};
use voisin::{Error, Matrix};
use voisin_io::{Tensor, read_state, write_state};

use crate::common::{Context, check_folder};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds};

/// Writes the model of a learned index as a state dict: 0.weight, 0.bias, 2.weight, ...
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin model index -o mlp.pth             torch.nn.Sequential(Linear, ReLU, Linear, ...).load_state_dict(torch.load(...))
  voisin model index -o mlp.npz
  voisin model index -o mlp.safetensors")]
pub struct Model {
    /// Folder of the index
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// File for the weights: .pth, .npz or .safetensors
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
}

impl Model {
    /// Runs it.
    ///
    /// # Errors
    /// An index without a model; an ending that is not known; a full disk.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        check_folder(&self.out)?;
        let index = Index::open(&self.dir)?;
        let Partition::Learned(mlp) = index.partition().stored() else {
            let message = format!("{}: {} has no model", self.dir.display(), index.spec());
            return Err(Fail::data(message, "only learned indexes have one: voisin build --index LMI320,Flat"));
        };
        write_state(&self.out, &to_state(mlp))?;
        let widths: Vec<usize> = [mlp.d()].into_iter().chain(mlp.hidden()).chain([mlp.nlist()]).collect();
        let shown: Vec<String> = widths.iter().map(usize::to_string).collect();
        let bytes = std::fs::metadata(&self.out).map(|m| m.len()).unwrap_or_default();
        let mut o = Outcome::new("model");
        o.set("n", index.len()).set("d", mlp.d()).set("spec", index.spec().to_string()).set("layers", widths);
        o.set("bytes", bytes).set("out", self.out.display().to_string());
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        o.line(format!("MLP {} (ReLU between the layers), written to {}", shown.join("-"), self.out.display()));
        Ok(o)
    }
}

/// Layers as `torch.nn.Sequential` numbers them, a ReLU between each two.
fn to_state(mlp: &Mlp) -> Vec<(String, Tensor)> {
    let layer = |(i, l): (usize, &Linear)| {
        let weight = Tensor { shape: vec![l.weight.n(), l.weight.d()], data: l.weight.data().to_vec() };
        let bias = Tensor { shape: vec![l.bias.len()], data: l.bias.clone() };
        [(format!("{}.weight", 2 * i), weight), (format!("{}.bias", 2 * i), bias)]
    };
    mlp.layers().iter().enumerate().flat_map(layer).collect()
}

/// Reads an MLP from a state dict.
///
/// # Errors
/// A file that holds no state dict, or one of another kind of network.
pub fn read_mlp(path: &Path) -> Result<Mlp> {
    let state = read_state(path)?;
    let layers = from_state(&state).map_err(|what| Error::format(path, what))?;
    Mlp::new(layers).map_err(|e| Error::format(path, format!("its layers do not follow each other: {e}")).into())
}

fn from_state(state: &[(String, Tensor)]) -> Result<Vec<Linear>, String> {
    let mut layers = Vec::new();
    let mut used = 0;
    for (name, t) in state {
        let Some(prefix) = name.strip_suffix("weight") else { continue };
        let [out, inputs] = t.shape[..] else {
            return Err(format!("`{name}` has {} axes: only linear layers (out x in) are known", t.shape.len()));
        };
        if out == 0 || inputs == 0 {
            return Err(format!("`{name}` is empty"));
        }
        let bias = state.iter().find(|(n, _)| n.strip_suffix("bias") == Some(prefix)).map(|b| &b.1);
        if let Some(bias) = bias.filter(|b| b.data.len() != out) {
            return Err(format!("`{prefix}bias` has {} values for {out} outputs", bias.data.len()));
        }
        used += 1 + bias.is_some() as usize;
        let values = bias.map_or_else(|| vec![0.0; out], |b| b.data.clone());
        layers.push((number(prefix), Linear { weight: Matrix::new(t.data.clone(), inputs), bias: values }));
    }
    if layers.is_empty() {
        return Err("no weights called 0.weight, 2.weight, ... in it".into());
    }
    if used < state.len() {
        return Err("more than linear layers in it (weight and bias); only plain MLPs are known".into());
    }
    layers.sort_by_key(|l| l.0); // `10.weight` comes before `2.weight` in sorted files
    Ok(layers.into_iter().map(|l| l.1).collect())
}

/// The last number in a name: `model.layers.12.` -> 12.
fn number(prefix: &str) -> u64 {
    let digits = |s: &&str| s.bytes().any(|b| b.is_ascii_digit());
    let last = prefix.split(|c: char| !c.is_ascii_digit()).rfind(digits);
    last.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(out: usize, inputs: usize) -> Linear {
        Linear { weight: Matrix::new((0..out * inputs).map(|i| i as f32).collect(), inputs), bias: vec![0.5; out] }
    }

    #[test]
    fn layers_come_back_in_order() {
        let mlp = Mlp::new(vec![linear(3, 2), linear(4, 3), linear(5, 4)]).unwrap();
        let mut state = to_state(&mlp);
        assert_eq!(state.iter().map(|s| s.0.as_str()).collect::<Vec<_>>()[..3], ["0.weight", "0.bias", "2.weight"]);
        state.reverse();
        state.iter_mut().for_each(|s| s.0 = format!("layers.{}", s.0));
        assert_eq!(Mlp::new(from_state(&state).unwrap()).unwrap(), mlp);
    }

    #[test]
    fn other_networks_are_named() {
        let t = |shape: &[usize]| Tensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
        let of = |list: &[(&str, &[usize])]| {
            from_state(&list.iter().map(|(n, s)| (n.to_string(), t(s))).collect::<Vec<_>>()).unwrap_err()
        };
        assert!(of(&[("conv.weight", &[1, 2, 3, 3])]).contains("4 axes"));
        assert!(of(&[("x", &[1])]).contains("no weights"));
        assert!(of(&[("0.weight", &[2, 2]), ("0.bias", &[3])]).contains("3 values for 2"));
        assert!(of(&[("0.weight", &[2, 2]), ("1.running_mean", &[3])]).contains("more than linear"));
    }
}
