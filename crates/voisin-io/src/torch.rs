//! PyTorch files (`.pt .pth`): tensors, lists, tuples and dicts of them, state dicts.
//!
//! Since 1.6 a zip archive with a pickle `data.pkl` and one stored member `data/<key>` a storage; before, a row of
//! pickles followed by the storages (`torch/serialization.py`). A tensor is a view of a storage: offset, sizes and
//! strides. Storages stay in the file until rows are asked for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result, Source};

use crate::pickle::{self, Bytes, Cursor, Doc, Heap, Storage, Value};
use crate::zipfile::Archive;
use crate::{Dataset, InFile, Role};

/// 0x1950a86a20f9469cfc6c, the first pickle of a file that is no zip archive.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Opens a tensor of n x d; `dataset` names an entry of a dict (`a/b` for nested ones) or a place in a list.
///
/// # Errors
/// [`Error::Format`] for a damaged file, one that refers to code, or one without a table of numbers.
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
    pickle::open_doc(parse(file)?, dataset, role)
}

/// As [`describe`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn describe_file(file: Arc<InFile>) -> Result<Vec<Dataset>> {
    pickle::describe_doc(&parse(file)?)
}

/// Parses a file of either kind.
pub(crate) fn parse(file: Arc<InFile>) -> Result<Doc> {
    match &file.head(4)?[..] {
        b"PK\x03\x04" => zipped(file),
        _ => legacy(&Bytes::new(file), false),
    }
}

fn zipped(file: Arc<InFile>) -> Result<Doc> {
    let mut zip = Archive::open(file.clone())?;
    let names: HashMap<String, usize> = zip.members().iter().enumerate().map(|(i, m)| (m.name.clone(), i)).collect();
    let is_pickle = |name: &&str| *name == "data.pkl" || name.ends_with("/data.pkl");
    let Some(data) = zip.members().iter().map(|m| m.name.as_str()).find(is_pickle).map(str::to_owned) else {
        return Err(Error::format(file.path(), "a zip archive without data.pkl, so not one of torch"));
    };
    let prefix = data.strip_suffix("data.pkl").unwrap_or("");
    let mut member = |name: &str| -> Result<Option<Bytes>> {
        let Some(&i) = names.get(name) else { return Ok(None) };
        let m = &zip.members()[i];
        let (size, stored) = (m.size, m.stored);
        if !stored {
            return Err(Error::format(file.path(), format!("member `{name}` is compressed; torch stores its members")));
        }
        let (file, start) = zip.data(i)?;
        Ok(Bytes::new(file).slice(start, size))
    };
    let missing = |name: &str| Error::format(file.path(), format!("member `{name}` is missing"));
    let order = member(&format!("{prefix}byteorder"))?.filter(|b| b.len() <= 16).map(|b| b.to_vec()).transpose()?;
    let program = member(&data)?.ok_or_else(|| missing(&data))?;
    let (heap, root) = pickle::run(&mut Cursor::new(program), false)?;
    let mut doc = Doc { heap, root, file: Bytes::new(file.clone()) };
    for i in 0..doc.heap.storages.len() {
        let name = format!("{prefix}data/{}", doc.key(doc.heap.storages[i].key));
        let storage = &mut doc.heap.storages[i];
        let bytes = member(&name)?.ok_or_else(|| missing(&name))?;
        let want = storage.numel.saturating_mul(storage.elem.size() as u64);
        let (n, have, elem) = (storage.numel, bytes.len(), storage.elem.name());
        let cut = || Error::format(file.path(), format!("member `{name}`: {have} bytes where {n} {elem} are declared"));
        storage.bytes = Some(bytes.slice(0, want).ok_or_else(cut)?);
        storage.big = order.as_deref() == Some(b"big");
    }
    Ok(doc)
}

/// Magic number, protocol, system, object, keys: five pickles; then each storage with its length before it.
fn legacy(file: &Bytes, nested: bool) -> Result<Doc> {
    let mut cursor = Cursor::new(file.clone());
    let (heap, root) = pickle::run(&mut cursor, nested)?;
    if !is_magic(&heap, root)? {
        // somebody's plain pickle under torch's ending
        return Ok(Doc { heap, root, file: file.clone() });
    }
    if pickle::run(&mut cursor, true)?.1 != Value::Int(1001) {
        return Err(Error::format(file.path(), "an older file of torch of another protocol than 1001"));
    }
    let (heap, root) = pickle::run(&mut cursor, true)?;
    let system = Doc { heap, root, file: file.clone() };
    let big = system.get(root, "little_endian") == Some(Value::Bool(false));
    let (heap, root) = pickle::run(&mut cursor, nested)?;
    let mut doc = Doc { heap, root, file: file.clone() };
    let (heap, root) = pickle::run(&mut cursor, true)?;
    let keys = Doc { heap, root, file: file.clone() };
    let Some(items) = keys.items(keys.root) else { return Err(doc.error("no list of storages")) };

    let mut elems = HashMap::new();
    for s in &doc.heap.storages {
        elems.insert(doc.key(s.key), s.elem);
    }
    let mut found = HashMap::new();
    for &key in items {
        let key = keys.key(key);
        let Some(elem) = elems.get(&key) else { return Err(doc.error(format!("storage `{key}` of unknown type"))) };
        let raw = cursor.array()?;
        let n = if big { u64::from_be_bytes(raw) } else { u64::from_le_bytes(raw) };
        let bytes = cursor.take(n.saturating_mul(elem.size() as u64))?;
        found.insert(key, bytes);
    }
    for i in 0..doc.heap.storages.len() {
        let key = doc.key(doc.heap.storages[i].key);
        doc.heap.storages[i].bytes = found.get(&key).cloned();
        doc.heap.storages[i].big = big;
    }
    Ok(doc)
}

fn is_magic(heap: &Heap, root: Value) -> Result<bool> {
    let Value::BigInt(i) = root else { return Ok(false) };
    let bytes = &heap.bytes[i as usize];
    Ok(bytes.len() == 10 && bytes.to_vec()? == MAGIC)
}

/// The storage that a file of the older kind consists of.
pub(crate) fn storage_of(file: &Bytes) -> Result<Storage> {
    let mut doc = legacy(file, true)?;
    match doc.root {
        Value::Storage(i) => {
            let s = doc.heap.storages.swap_remove(i as usize);
            Ok(Storage { key: Value::Int(0), ..s })
        }
        _ => Err(doc.error("a file of torch that is no storage")),
    }
}
