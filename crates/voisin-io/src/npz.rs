//! NumPy's `.npz`: a zip archive of `.npy` members. Stored members are read in place, deflated ones unpacked once.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result, Source};

use crate::choose::choose;
use crate::file::InFile;
use crate::npy::{Header, Kind};
use crate::pickle::{Bytes, View, strides};
use crate::zipfile::Archive;
use crate::{Dataset, DatasetKind, Role, hdf5};

/// Enough for every header NumPy writes; longer ones are read when the member is opened.
const HEAD: u64 = 1 << 12;

/// An array of an archive.
struct Array {
    member: usize,
    name: String,
    header: Result<Header, String>,
}

/// The arrays in the order of the archive; members that are none are passed over.
fn arrays(archive: &mut Archive) -> Result<Vec<Array>> {
    let mut found = Vec::new();
    for i in 0..archive.members().len() {
        let name = archive.members()[i].name.clone();
        let Some(name) = name.strip_suffix(".npy") else { continue };
        let head = archive.head(i, HEAD)?;
        found.push(Array { member: i, name: name.to_string(), header: Header::parse(&head) });
    }
    Ok(found)
}

fn listed(arrays: &[Array]) -> Vec<Dataset> {
    let one = |Array { name, header, .. }: &Array| match header {
        Ok(h) => h.dataset(name),
        Err(what) => {
            let dtype = "unreadable".to_string();
            Dataset { name: name.clone(), shape: vec![], dtype, kind: DatasetKind::Other, layout: what.clone() }
        }
    };
    arrays.iter().map(one).collect()
}

/// Opens one array of the archive; a list of strings of the same length beside it gives the ids.
///
/// # Errors
/// [`Error::Format`] with what is wrong; [`Error::Io`].
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let mut archive = Archive::open(file.clone())?;
    let arrays = arrays(&mut archive)?;
    let sets = listed(&arrays);
    let at = choose(&sets, dataset.filter(|d| !d.is_empty()), role, file.path())?;
    let Array { member, name, header } = &arrays[at];
    let header = header.as_ref().map_err(|what| Error::format(file.path(), format!("`{name}`: {what}")))?;
    let (data, base) = archive.data(*member)?;
    let size = archive.members()[*member].size;
    let source = header.source(data, base, if sets.len() > 1 { name } else { "" }, role)?;
    if source.layout().end().is_none_or(|end| end > base + size) {
        return Err(Error::format(file.path(), format!("`{name}` is longer than its member of {size} bytes")));
    }
    let fits = |s: &Dataset| s.kind == DatasetKind::Strings && s.shape[..] == [source.layout().n];
    let lists: Vec<usize> = (0..sets.len()).filter(|&i| fits(&sets[i])).collect();
    // several: the one of a usual name
    let named = || hdf5::ID_NAMES.iter().find_map(|n| lists.iter().copied().find(|&i| sets[i].name == *n));
    let ids = match if let [one] = lists[..] { Some(one) } else { named() } {
        Some(i) => {
            let (data, base) = archive.data(arrays[i].member)?;
            let header = arrays[i].header.as_ref().expect("only readable headers are lists of strings");
            Some(header.strings(&data, base)?)
        }
        _ => None,
    };
    Ok(Box::new(source.with_ids(ids)))
}

/// Lists the arrays.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    let mut archive = Archive::open(Arc::new(InFile::open(path)?))?;
    let arrays = arrays(&mut archive)?;
    let mut sets = listed(&arrays);
    for (set, array) in sets.iter_mut().zip(&arrays) {
        let m = &archive.members()[array.member];
        if !m.stored {
            set.layout += &format!(", compressed to {} bytes", m.packed);
        }
    }
    Ok(sets)
}

/// Every array of numbers with its name, of any shape.
pub(crate) fn views(file: Arc<InFile>) -> Result<Vec<(String, View)>> {
    let mut archive = Archive::open(file.clone())?;
    // members that share their bytes would be read again and again
    if archive.members().iter().fold(0u64, |sum, m| sum.saturating_add(m.packed)) > file.len() {
        return Err(Error::format(file.path(), "members that overlap"));
    }
    let mut out = Vec::new();
    for Array { member, name, .. } in arrays(&mut archive)? {
        let bad = |what: String| Error::format(file.path(), format!("`{name}`: {what}"));
        let size = archive.members()[member].size;
        let (data, base) = archive.data(member)?;
        let header = Header::read(&data, base)?;
        let Kind::Number(elem) = header.kind else { continue };
        let values = size.checked_sub(header.data).and_then(|len| Bytes::new(data).slice(base + header.data, len));
        let values = values.ok_or_else(|| bad("truncated within its header".into()))?;
        let stride = strides(&header.shape, header.fortran);
        out.push((name.clone(), View::new(values, (elem, header.big_endian), 0, &header.shape, &stride).map_err(bad)?));
    }
    Ok(out)
}
