//! String ids: fixed- and variable-length, beside the vectors.

use std::sync::Arc;

use hdf5_reader::{Datatype, StringPadding, StringSize, VarLenKind};
use voisin::{Result, StringIds};

use super::source::stored_bytes;
use super::tree::{Found, walk};
use super::{H5, parse};
use crate::InFile;

/// Names that data sets of ids have, the likeliest first.
pub(crate) const ID_NAMES: [&str; 7] = ["index", "ids", "id", "names", "filenames", "image_ids", "paths"];

/// The ids beside `vectors`: a data set of strings in the same group, of the same length, under a usual name.
pub(crate) fn beside(file: &H5, vectors: &Found) -> Result<Option<StringIds>> {
    let group = vectors.name.rfind('/').map_or("", |i| &vectors.name[..=i]);
    let n = vectors.dataset.shape()[0];
    let all = walk(file)?;
    let ids = ID_NAMES.iter().find_map(|name| {
        let count = |f: &Found| f.dataset.shape().iter().try_fold(1u64, |a, &b| a.checked_mul(b));
        all.iter().find(|f| f.name == format!("{group}{name}") && f.is_string() && count(f) == Some(n))
    });
    ids.map(|found| read(file, found)).transpose()
}

/// All strings of the data set of this name, such as texts that belong to the vectors.
///
/// # Errors
/// [`voisin::Error::Format`] for a damaged file, or one without such a data set of strings.
pub fn texts(file: Arc<InFile>, dataset: &str) -> Result<StringIds> {
    let file = H5::open(file)?;
    let found = walk(&file)?.into_iter().find(|f| f.name == dataset.trim_matches('/'));
    read(&file, &found.ok_or_else(|| file.error(dataset, "there is none of this name"))?)
}

/// All strings of a data set.
pub(crate) fn read(file: &H5, found: &Found) -> Result<StringIds> {
    let dataset = &found.dataset;
    let references = dataset.vlen_reference_size();
    let (size, padding) = match dataset.dtype() {
        Datatype::String { size: StringSize::Fixed(size), padding, .. } => (*size as usize, Some(*padding)),
        Datatype::String { size: StringSize::Variable, .. } | Datatype::VarLen { kind: VarLenKind::String, .. } => {
            (references, None)
        }
        other => return Err(file.error(&found.name, format!("{other:?} where strings are expected"))),
    };
    if size == 0 {
        return Err(file.error(&found.name, "strings of no length"));
    }
    if dataset.ndim() > 2 {
        return Err(file.error(&found.name, "strings in more than two axes"));
    }
    let bytes = stored_bytes(file, found, size)?;

    let mut out = StringIds::default();
    let mut total = 0u64;
    for (row, b) in bytes.chunks_exact(size).enumerate() {
        let bad = |what: &str| file.error(&found.name, format!("row {row}: {what}"));
        let heap;
        let text = match padding {
            Some(padding) => trim(b, padding),
            None => {
                heap = parse(file.path(), || dataset.resolve_vlen_reference_bytes(b, 1))?;
                // each string has its own place in the file; many references to one large string are an attack
                total += heap.len() as u64;
                if total > file.raw.len() {
                    return Err(bad("the strings are longer than the file"));
                }
                trim(&heap, StringPadding::NullTerminate)
            }
        };
        out.push(std::str::from_utf8(text).map_err(|_| bad("the string is not UTF-8"))?);
    }
    Ok(out)
}

fn trim(bytes: &[u8], padding: StringPadding) -> &[u8] {
    let end = match padding {
        StringPadding::NullTerminate => bytes.iter().position(|&b| b == 0),
        StringPadding::NullPad => Some(bytes.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1)),
        StringPadding::SpacePad => Some(bytes.iter().rposition(|&b| b != b' ').map_or(0, |i| i + 1)),
    };
    &bytes[..end.unwrap_or(bytes.len())]
}
