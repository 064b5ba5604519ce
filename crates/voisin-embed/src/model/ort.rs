//! onnxruntime, loaded from its library when `VOISIN_ONNXRUNTIME` names one: faster than what is built in.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::value::{Outlet, Tensor as Value, TensorElementType, ValueType};
use voisin::{Error, Result};

use super::runtime::{Kind, ONNXRUNTIME, Output, Port, Tensor};

/// What the library needs, or why it could not be loaded.
static LOADED: OnceLock<std::result::Result<Environment, String>> = OnceLock::new();

/// A session a lane, made when it is first needed: sessions run one thing at a time.
pub(crate) struct Sessions {
    path: PathBuf,
    lanes: Vec<Mutex<Option<Session>>>,
}

/// Loads the library, once in a process, and the model.
///
/// # Errors
/// A library that cannot be loaded; what onnxruntime says about the model.
pub(crate) fn open(path: &Path, library: &Path, lanes: usize) -> Result<(Vec<Port>, Vec<Port>, Sessions)> {
    let load = || {
        let builder = ort::init_from(library).map_err(|e| e.to_string())?;
        builder.with_telemetry(false).build().map_err(|e| e.to_string())
    };
    if let Err(e) = LOADED.get_or_init(load) {
        let expected = format!("the library of onnxruntime, such as libonnxruntime.so ({e})");
        return Err(Error::param(ONNXRUNTIME, library.display(), expected));
    }
    let session = session(path, lanes).map_err(|e| Error::format(path, format!("onnxruntime cannot load the model: {e}")))?;
    let ports = |outlets: &[Outlet]| outlets.iter().map(port).collect();
    let (inputs, outputs) = (ports(session.inputs()), ports(session.outputs()));
    let first = Mutex::new(Some(session));
    let lanes = std::iter::once(first).chain((0..lanes).map(|_| Mutex::new(None))).collect();
    Ok((inputs, outputs, Sessions { path: path.to_owned(), lanes }))
}

fn session(path: &Path, threads: usize) -> std::result::Result<Session, String> {
    let environment = LOADED.get().and_then(|l| l.as_ref().ok()).ok_or("the library is not loaded")?;
    let builder = Session::builder(environment).map_err(|e| e.to_string())?;
    let builder = builder.with_intra_threads(threads).map_err(|e| e.to_string())?;
    let mut builder = builder.with_inter_threads(1).map_err(|e| e.to_string())?;
    builder.commit_from_file(path).map_err(|e| e.to_string())
}

fn port(outlet: &Outlet) -> Port {
    let (kind, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let kind = match ty {
                TensorElementType::Float32 => Kind::F32,
                TensorElementType::Int64 => Kind::Int,
                _ => Kind::Other,
            };
            (kind, Some(shape.iter().map(|&n| usize::try_from(n).ok()).collect()))
        }
        _ => (Kind::Other, None),
    };
    Port { name: outlet.name().to_owned(), kind, shape }
}

impl Sessions {
    /// The lanes beside lane 0.
    pub fn lanes(&self) -> usize {
        self.lanes.len() - 1
    }

    /// As [`super::runtime::Runtime::run`].
    pub fn run(&self, lane: usize, inputs: Vec<(&str, Tensor)>, output: &str) -> Result<Output, String> {
        let mut lane = self.lanes[lane].lock().unwrap_or_else(PoisonError::into_inner);
        let session = match &mut *lane {
            Some(session) => session,
            none => none.insert(session(&self.path, 1)?),
        };
        let mut given: Vec<(String, ort::session::SessionInputValue)> = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let value = match tensor {
                Tensor::F32(shape, values) => Value::from_array((shape, values)).map_err(|e| e.to_string())?.into(),
                Tensor::Int(shape, values) => {
                    let values: Vec<i64> = values.into_iter().map(i64::from).collect();
                    Value::from_array((shape, values)).map_err(|e| e.to_string())?.into()
                }
            };
            given.push((name.to_owned(), value));
        }
        let found = session.run(given).map_err(|e| e.to_string())?;
        let value = found.get(output).ok_or("no output")?;
        let (shape, values) = value.try_extract_tensor::<f32>().map_err(|e| format!("output {output}: {e}"))?;
        Ok((shape.iter().map(|&n| n as usize).collect(), values.to_vec()))
    }
}
