//! What runs a model: rten, or onnxruntime where its library is named.
//!
//! A model is given one image (or text) at a time, and lanes run beside each other, each on one thread. So a vector does not
//! depend on what else is computed, nor on how many threads there are. Lane 0 alone has all threads, for single queries.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rten::{DataType, Dimension, RunOptions, ThreadPool, Value, ValueType};
use voisin::{Error, Result};

/// What a model takes or gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    pub name: String,
    pub kind: Kind,
    /// Its sizes where the model says them; nothing for one that it leaves open.
    pub shape: Option<Vec<Option<usize>>>,
}

/// Type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    /// Of 32 or 64 bits.
    Int,
    Other,
}

/// Values for an input.
#[derive(Clone, Debug)]
pub(crate) enum Tensor {
    F32(Vec<usize>, Vec<f32>),
    Int(Vec<usize>, Vec<i32>),
}

/// Shape and values of an output.
pub(crate) type Output = (Vec<usize>, Vec<f32>);

/// A loaded model.
pub(crate) struct Runtime {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    engine: Engine,
}

enum Engine {
    Rten { model: Box<rten::Model>, lanes: Vec<OnceLock<Arc<ThreadPool>>> },
    #[cfg(feature = "ort")]
    Ort(super::ort::Sessions),
}

/// Says where the library of onnxruntime is, which then runs models (only in builds with the feature `ort`).
pub const ONNXRUNTIME: &str = "VOISIN_ONNXRUNTIME";

impl Runtime {
    /// Reads a model, for `lanes` lanes beside lane 0.
    ///
    /// # Errors
    /// Operators that are not supported, by name; what is wrong with the graph.
    pub fn open(path: &Path, lanes: usize) -> Result<Runtime> {
        match std::env::var_os(ONNXRUNTIME).filter(|v| !v.is_empty()) {
            #[cfg(feature = "ort")]
            Some(library) => {
                let (inputs, outputs, sessions) = super::ort::open(path, Path::new(&library), lanes)?;
                Ok(Runtime { inputs, outputs, engine: Engine::Ort(sessions) })
            }
            #[cfg(not(feature = "ort"))]
            Some(library) => {
                let expected = "nothing: this build runs models by itself (a build with --features ort uses the library)";
                Err(Error::param(ONNXRUNTIME, library.display(), expected))
            }
            None => with_rten(path, lanes),
        }
    }

    /// Who runs it.
    pub fn name(&self) -> &'static str {
        match &self.engine {
            Engine::Rten { .. } => "rten",
            #[cfg(feature = "ort")]
            Engine::Ort(_) => "onnxruntime",
        }
    }

    /// Runs the model on lane `lane` and returns the output `output`, which must be of f32.
    ///
    /// # Errors
    /// What the runtime says; an output of another type.
    pub fn run(&self, lane: usize, inputs: Vec<(&str, Tensor)>, output: &str) -> Result<Output, String> {
        match &self.engine {
            Engine::Rten { model, lanes } => {
                let count = lanes.len() - 1;
                let pool = lanes[lane].get_or_init(|| Arc::new(ThreadPool::with_num_threads(if lane == 0 { count } else { 1 })));
                quietly(|| run_rten(model, pool.clone(), inputs, output))?
            }
            #[cfg(feature = "ort")]
            Engine::Ort(sessions) => sessions.run(lane, inputs, output),
        }
    }

    /// The lanes beside lane 0.
    pub fn lanes(&self) -> usize {
        match &self.engine {
            Engine::Rten { lanes, .. } => lanes.len() - 1,
            #[cfg(feature = "ort")]
            Engine::Ort(sessions) => sessions.lanes(),
        }
    }
}

/// A runtime that panics on a strange model has not understood it.
fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        format!("the runtime broke off: {}", text.unwrap_or("no reason given"))
    })
}

fn with_rten(path: &Path, lanes: usize) -> Result<Runtime> {
    let mut options = rten::ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let format = |what: String| Error::format(path, what);
    let loaded = quietly(|| options.load_file(path)).map_err(format)?;
    let model = loaded.map_err(|e| match e.kind() {
        rten::LoadErrorKind::UnknownFileType => format("a model whose name ends in .onnx is expected".into()),
        _ => format(format!("the model cannot be loaded: {}", chain(&e))),
    })?;
    let ports = |ids: &[rten::NodeId]| ids.iter().filter_map(|&id| port(&model, id)).collect();
    let (inputs, outputs) = (ports(model.input_ids()), ports(model.output_ids()));
    let lanes = (0..=lanes).map(|_| OnceLock::new()).collect();
    Ok(Runtime { inputs, outputs, engine: Engine::Rten { model: Box::new(model), lanes } })
}

/// An error with what caused it, each said once.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        let more = c.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = c.source();
    }
    text
}

fn port(model: &rten::Model, id: rten::NodeId) -> Option<Port> {
    let info = model.node_info(id)?;
    let kind = match info.dtype() {
        // types that are not said are taken for what most models have
        Some(ValueType::Tensor(DataType::Float)) | None => Kind::F32,
        Some(ValueType::Tensor(DataType::Int32)) => Kind::Int,
        Some(_) => Kind::Other,
    };
    let fixed = |d: &Dimension| match d {
        Dimension::Fixed(n) => Some(*n),
        Dimension::Symbolic(_) => None,
    };
    Some(Port { name: info.name()?.to_owned(), kind, shape: info.shape().map(|s| s.iter().map(fixed).collect()) })
}

fn run_rten(model: &rten::Model, pool: Arc<ThreadPool>, inputs: Vec<(&str, Tensor)>, output: &str) -> Result<Output, String> {
    let text = |e: &dyn std::error::Error| chain(e);
    let mut given = Vec::with_capacity(inputs.len());
    for (name, tensor) in inputs {
        let id = model.node_id(name).map_err(|e| text(&e))?;
        let value = match tensor {
            Tensor::F32(shape, values) => Value::from(rten_tensor::Tensor::from_data(&shape, values)),
            Tensor::Int(shape, values) => Value::from(rten_tensor::Tensor::from_data(&shape, values)),
        };
        given.push((id, value.into()));
    }
    let id = model.node_id(output).map_err(|e| text(&e))?;
    let options = RunOptions::default().with_thread_pool(Some(pool));
    let mut found = model.run(given, &[id], Some(options)).map_err(|e| text(&e))?;
    let value = found.pop().ok_or("no output")?;
    let tensor = value.into_tensor::<f32>().ok_or_else(|| format!("output {output} holds no 32-bit floats"))?;
    use rten_tensor::prelude::*;
    Ok((tensor.shape().to_vec(), tensor.into_data()))
}
