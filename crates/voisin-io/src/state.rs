//! State dicts: the named weights of a network, in torch's, numpy's and safetensors' files.

use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::detect::detect_file;
use crate::pickle::{self, Doc, Value, View};
use crate::{AtomicFile, Elem, Format, InFile, npz, safetensors, torch};

/// Keys under which training scripts keep the state dict in a checkpoint.
const WRAPPERS: [&str; 6] = ["state_dict", "model_state_dict", "model_state", "model", "module", "net"];

/// An n-dimensional array, row-major f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its sizes; empty for a single number.
    pub shape: Vec<usize>,
    /// Its values.
    pub data: Vec<f32>,
}

/// Reads the weights of a network as f32, in the order of the file.
///
/// From `.pth .pt` (also wrapped in a checkpoint: `{"state_dict": ...}`; names lose the `module.` that parallel
/// training puts before them), `.npz`, `.safetensors` and pickles of dicts. A lone tensor has the name "".
/// Cost: one pass over the file.
///
/// # Errors
/// [`Error::Format`] for a damaged file, one that refers to code, or one without weights; [`Error::Io`].
pub fn read_state(path: &Path) -> Result<Vec<(String, Tensor)>> {
    read_state_file(Arc::new(InFile::open(path)?))
}

/// As [`read_state`] for a file that is open already.
///
/// # Errors
/// As [`read_state`].
pub fn read_state_file(file: Arc<InFile>) -> Result<Vec<(String, Tensor)>> {
    let named = match detect_file(&file)? {
        Format::Torch => weights(&torch::parse(file.clone())?)?,
        Format::Pickle => weights(&pickle::parse(file.clone())?)?,
        Format::Npz => npz::views(file.clone())?,
        Format::Safetensors => safetensors::read(file.clone())?,
        other => {
            let what = format!("{} files hold no weights; .pth, .npz and .safetensors do", other.name());
            return Err(Error::format(file.path(), what));
        }
    };
    if named.is_empty() {
        return Err(Error::format(file.path(), "no weights in it"));
    }
    let parallel = named.iter().all(|(name, _)| name.starts_with("module."));
    let mut out = Vec::with_capacity(named.len());
    for (name, view) in named {
        let name = if parallel { name["module.".len()..].to_owned() } else { name };
        let shape = view.shape().iter().map(|&n| n as usize).collect();
        out.push((name, Tensor { shape, data: view.to_f32()? }));
    }
    Ok(out)
}

/// The tensors of the dict that holds the weights.
fn weights(doc: &Doc) -> Result<Vec<(String, View)>> {
    let mut out = Vec::new();
    collect(doc, unwrapped(doc)?, String::new(), 0, &mut out)?;
    // tied weights are stored once; a crafted file would tie them a million times
    let total = out.iter().fold(0u64, |t, (_, v)| t.saturating_add(v.numel()));
    if total > doc.file.len().saturating_mul(2) {
        return Err(doc.error(format!("{total} weights in a file of {} bytes", doc.file.len())));
    }
    Ok(out)
}

/// Steps into a checkpoint: `{"epoch": 3, "state_dict": {...}, "optimizer": {...}}`.
fn unwrapped(doc: &Doc) -> Result<Value> {
    let mut at = doc.root;
    for _ in 0..4 {
        let Some(pairs) = doc.pairs(at) else { return Ok(at) };
        if pairs.iter().any(|p| matches!(p.1, Value::Array(_))) {
            return Ok(at);
        }
        let dicts: Vec<_> = pairs.iter().filter(|p| matches!(p.1, Value::Dict(_))).collect();
        let known = WRAPPERS.iter().find_map(|w| dicts.iter().find(|p| doc.key(p.0) == *w));
        at = match (known, &dicts[..]) {
            (Some(p), _) | (None, [p]) => p.1,
            (None, []) => return Ok(at),
            _ => {
                let names: Vec<String> = dicts.iter().take(12).map(|p| doc.key(p.0)).collect();
                return Err(doc.error(format!("several dicts, none of them called state_dict: {}", names.join(", "))));
            }
        };
    }
    Ok(at)
}

fn collect(doc: &Doc, v: Value, name: String, depth: usize, out: &mut Vec<(String, View)>) -> Result<()> {
    if let Some(view) = doc.view(v)? {
        out.push((name, view));
        return Ok(());
    }
    if depth > 0 || out.len() > 1 << 16 {
        return Ok(()); // nothing is nested in a state dict; numbers and texts beside the weights are passed over
    }
    if let Some(pairs) = doc.pairs(v) {
        for &(k, v) in pairs {
            collect(doc, v, doc.key(k).chars().take(500).collect(), depth + 1, out)?;
        }
    } else if let Some(items) = doc.items(v) {
        for (i, &v) in items.iter().enumerate() {
            collect(doc, v, i.to_string(), depth + 1, out)?;
        }
    }
    Ok(())
}

/// Writes the weights of a network in the format of the ending: `.pth .pt` (PyTorch loads it with
/// `weights_only=True`), `.npz`, `.safetensors`. The file appears under its name once it is complete.
///
/// # Errors
/// [`Error::Param`] for another ending or a tensor whose shape does not fit its values; [`Error::Io`].
pub fn write_state(path: &Path, state: &[(String, Tensor)]) -> Result<()> {
    for (name, t) in state {
        if t.shape.iter().try_fold(1usize, |p, &n| p.checked_mul(n)) != Some(t.data.len()) {
            let expected = format!("a shape for {} values", t.data.len());
            return Err(Error::param(format!("tensor `{name}`"), format!("{:?}", t.shape), expected));
        }
    }
    let write = match Format::of_ending(path) {
        Some(Format::Torch) => write_torch,
        Some(Format::Npz) => write_npz,
        Some(Format::Safetensors) => write_safetensors,
        _ => return Err(Error::param("output", path.display(), "a name that ends in .pth, .npz or .safetensors")),
    };
    let mut file = AtomicFile::create(path)?;
    write(file.out(), state).map_err(|e| Error::io(path, e))?;
    file.commit()
}

type Out = std::io::BufWriter<std::fs::File>;

/// A zip archive of stored members that begin at multiples of 64 bytes, as torch writes them and `mmap` wants them.
struct Zip<W: Write + Seek>(ZipWriter<W>);

impl<W: Write + Seek> Zip<W> {
    fn member(&mut self, name: &str, len: usize) -> std::io::Result<&mut ZipWriter<W>> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(64);
        // beyond 4 GiB the sizes need the longer fields
        let options = options.large_file(len >= u32::MAX as usize);
        self.0.start_file(name, options)?;
        Ok(&mut self.0)
    }
}

fn values(out: &mut impl Write, data: &[f32]) -> std::io::Result<()> {
    if cfg!(target_endian = "little") {
        return out.write_all(bytemuck::cast_slice(data));
    }
    data.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
}

fn write_npz(out: &mut Out, state: &[(String, Tensor)]) -> std::io::Result<()> {
    let mut zip = Zip(ZipWriter::new(out));
    for (name, t) in state {
        let shape: Vec<u64> = t.shape.iter().map(|&n| n as u64).collect();
        let m = zip.member(&format!("{name}.npy"), t.data.len() * 4 + 4096)?;
        m.write_all(&crate::npy::header_bytes(Elem::F32, &shape))?;
        values(m, &t.data)?;
    }
    zip.0.finish()?;
    Ok(())
}

fn write_safetensors(out: &mut Out, state: &[(String, Tensor)]) -> std::io::Result<()> {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, t) in state {
        let end = at + 4 * t.data.len();
        let info = serde_json::json!({"dtype": "F32", "shape": t.shape, "data_offsets": [at, end]});
        header.insert(name.clone(), info);
        at = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    state.iter().try_for_each(|(_, t)| values(out, &t.data))
}

fn write_torch(out: &mut Out, state: &[(String, Tensor)]) -> std::io::Result<()> {
    let mut zip = Zip(ZipWriter::new(out));
    let program = torch_program(state);
    zip.member("archive/data.pkl", program.len())?.write_all(&program)?;
    zip.member("archive/byteorder", 6)?.write_all(b"little")?;
    for (i, (_, t)) in state.iter().enumerate() {
        let m = zip.member(&format!("archive/data/{i}"), t.data.len() * 4)?;
        values(m, &t.data)?;
    }
    zip.member("archive/version", 2)?.write_all(b"3\n")?;
    zip.0.finish()?;
    Ok(())
}

/// `OrderedDict({name: torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())})` as a
/// pickle of protocol 2, with the opcodes that torch's weights-only reader knows.
fn torch_program(state: &[(String, Tensor)]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, s: &str| {
        out.push(b'X');
        out.extend((s.len() as u32).to_le_bytes());
        out.extend(s.as_bytes());
    };
    let tuple = |out: &mut Vec<u8>, sizes: &[u64]| {
        out.push(b'(');
        sizes.iter().for_each(|&n| pickle::put_int(out, n as i64));
        out.push(b't');
    };
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (i, (name, t)) in state.iter().enumerate() {
        let shape: Vec<u64> = t.shape.iter().map(|&n| n as u64).collect();
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &i.to_string());
        text(&mut out, "cpu");
        pickle::put_int(&mut out, t.data.len() as i64);
        out.extend(b"tQK\x00");
        tuple(&mut out, &shape);
        tuple(&mut out, &pickle::strides(&shape, false));
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}
