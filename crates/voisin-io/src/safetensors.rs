//! safetensors: a JSON header with names, types, shapes and places, then the bytes of the tensors.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. Only the header is read until rows are asked for.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use voisin::{Error, Result, Source};

use crate::pickle::{Bytes, View, strides};
use crate::{Dataset, DatasetKind, Elem, InFile, Role, choose, kind_of};

/// Longest header that is read; the reference implementation has the same bound.
const MAX_HEADER: u64 = 100_000_000;

/// Opens a tensor of n x d.
///
/// # Errors
/// [`Error::Format`] for a damaged file or one without a table of numbers.
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// The tensors of a file.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    describe_file(Arc::new(InFile::open(path)?))
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let tensors = read(file.clone())?;
    let sets: Vec<Dataset> = tensors.iter().map(|t| describe_one(&t.0, &t.1)).collect();
    let (name, view) = &tensors[choose(&sets, dataset, role, file.path())?];
    view.source(name, None)
}

/// As [`describe`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn describe_file(file: Arc<InFile>) -> Result<Vec<Dataset>> {
    Ok(read(file)?.iter().map(|t| describe_one(&t.0, &t.1)).collect())
}

fn describe_one(name: &str, view: &View) -> Dataset {
    let (shape, dtype) = (view.shape().to_vec(), view.elem().name());
    let kind = match shape.len() {
        1 | 2 => kind_of(name, &shape, dtype),
        _ => DatasetKind::Other,
    };
    Dataset { name: name.into(), kind, shape, dtype: dtype.into(), layout: view.layout() }
}

/// Every tensor of a type that holds plain numbers, in the order of the header.
pub(crate) fn read(file: Arc<InFile>) -> Result<Vec<(String, View)>> {
    let bad = |what: String| Error::format(file.path(), what);
    let head = file.head(8)?;
    let len = head[..].try_into().map(u64::from_le_bytes).map_err(|_| bad("no safetensors file: too short".into()))?;
    if len > MAX_HEADER || len > file.len() - 8 {
        return Err(bad(format!("no safetensors file, or truncated: a header of {len} bytes in {} bytes", file.len())));
    }
    let header = file.bytes(8, len)?;
    let header: Map<String, Json> = serde_json::from_slice(&header).map_err(|e| bad(format!("safetensors header: {e}")))?;
    let data = Bytes::new(file.clone());
    let data = data.slice(8 + len, file.len() - 8 - len).ok_or_else(|| bad("truncated".into()))?;
    let (mut out, mut used) = (Vec::new(), 0u64);
    for (name, info) in &header {
        if name == "__metadata__" {
            continue;
        }
        let at = |what: String| Error::format(file.path(), format!("tensor `{name}`: {what}"));
        let Some(elem) = info["dtype"].as_str().and_then(elem) else { continue };
        let shape = numbers(&info["shape"]).ok_or_else(|| at("no shape".into()))?;
        let Some(&[start, end]) = numbers(&info["data_offsets"]).as_deref() else { return Err(at("no place".into())) };
        let bytes = end.checked_sub(start).and_then(|len| data.slice(start, len));
        let bytes = bytes.ok_or_else(|| at(format!("bytes {start} to {end} where there are {}", data.len())))?;
        used = end.saturating_sub(start).saturating_add(used);
        if used > data.len() {
            return Err(at("overlaps with another one".into()));
        }
        let view = View::new(bytes, (elem, false), 0, &shape, &strides(&shape, false)).map_err(at)?;
        out.push((name.clone(), view));
    }
    Ok(out)
}

fn elem(dtype: &str) -> Option<Elem> {
    match dtype {
        "BOOL" => Some(Elem::Bool),
        _ => Elem::from_name(&dtype.to_ascii_lowercase()),
    }
}

fn numbers(v: &Json) -> Option<Vec<u64>> {
    v.as_array().filter(|a| a.len() <= 64)?.iter().map(Json::as_u64).collect()
}
