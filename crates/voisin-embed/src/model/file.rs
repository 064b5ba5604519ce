//! What a model file is, before a runtime reads it: its digest, and whether it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rten_onnx::onnx::{AttributeProto, GraphProto, ModelProto, TensorProto};
use sha2::{Digest, Sha256};
use voisin::{Error, Result};

/// Graphs within graphs.
const DEPTH: usize = 32;

/// First 16 digits of the SHA-256 of a model: of its file, then of the files that its weights lie in, by name. That all of
/// these are as long as the model says is checked, so that a runtime can allocate what it reads.
///
/// # Errors
/// What is no ONNX file, or is cut short; weights in files that are missing, too short or not beside the model.
pub(crate) fn digest(path: &Path) -> Result<String> {
    let io = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(Error::format(path, "a folder; name the .onnx file in it"));
    }
    let mut sha = Sha256::new();
    if hash(&mut file, &mut sha).map_err(io)? == 0 {
        return Err(Error::format(path, "the file is empty"));
    }
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let model = ModelProto::parse_file(file).map_err(|e| not_onnx(path, &e.to_string()))?;
    let Some(graph) = &model.graph else { return Err(not_onnx(path, "there is no graph in it")) };
    if graph.node.is_empty() || graph.output.is_empty() {
        return Err(not_onnx(path, "there are no operators in it"));
    }
    let mut beside = BTreeMap::new();
    weights_of(graph, 0, &mut beside).map_err(|what| Error::format(path, what))?;
    for (name, end) in beside {
        let weights = path.with_file_name(&name);
        let io = |e| Error::io(&weights, e);
        let mut file = File::open(&weights).map_err(io)?;
        let len = hash(&mut file, &mut sha).map_err(io)?;
        if len < end {
            return Err(Error::format(&weights, format!("{len} bytes, where {} has weights up to byte {end}", path.display())));
        }
    }
    Ok(sha.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect())
}

/// First 16 digits of the SHA-256 of a file.
pub(crate) fn plain_digest(path: &Path) -> Result<String> {
    let io = |e| Error::io(path, e);
    let mut sha = Sha256::new();
    hash(&mut File::open(path).map_err(io)?, &mut sha).map_err(io)?;
    Ok(sha.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect())
}

fn not_onnx(path: &Path, what: &str) -> Error {
    Error::format(path, format!("no ONNX model, or one that is damaged or cut short: {what}"))
}

fn hash(file: &mut File, sha: &mut Sha256) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut len = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(len),
            n => {
                sha.update(&buffer[..n]);
                len += n as u64;
            }
        }
    }
}

/// Gathers names of files with weights, and the byte up to which they are read.
fn weights_of(graph: &GraphProto, depth: usize, beside: &mut BTreeMap<String, u64>) -> std::result::Result<(), String> {
    if depth > DEPTH {
        return Err(format!("graphs lie more than {DEPTH} deep in each other"));
    }
    let attributes = || graph.node.iter().flat_map(|n| n.attribute.iter());
    let constants = attributes().filter_map(|a: &AttributeProto| a.t.as_ref());
    graph.initializer.iter().chain(constants).try_for_each(|t| place(t, beside))?;
    attributes().filter_map(|a| a.g.as_ref()).try_for_each(|g| weights_of(g, depth + 1, beside))
}

fn place(tensor: &TensorProto, beside: &mut BTreeMap<String, u64>) -> std::result::Result<(), String> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key.as_deref() == Some(key)).and_then(|e| e.value.as_deref());
    let Some(location) = entry("location") else { return Ok(()) };
    let name = tensor.name.as_deref().unwrap_or("");
    let mut parts = Path::new(location).components();
    if !matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None)) {
        return Err(format!("weights {name} are said to lie in `{location}`, which is no file beside the model"));
    }
    let number = |key: &str| match entry(key) {
        None => Ok(0),
        Some(text) => text.parse::<u64>().map_err(|_| format!("weights {name}: {key} `{text}` is no number")),
    };
    let end = number("offset")?.checked_add(number("length")?).ok_or_else(|| format!("weights {name}: beyond any file"))?;
    let most = beside.entry(location.to_owned()).or_default();
    *most = end.max(*most);
    Ok(())
}
