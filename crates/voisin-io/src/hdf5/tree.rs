//! Which data sets a file holds, and which one is meant.

use std::collections::HashSet;

use hdf5_reader::group::Group;
use hdf5_reader::{ByteOrder, Datatype, VarLenKind};
use voisin::{Error, Result};

use super::store::Store;
use super::{H5, parse};
use crate::{Dataset, Elem, Role, kind_of};

/// Groups nested deeper than this, or more data sets than this, are not looked at: far beyond files of vectors.
const MAX_DEPTH: usize = 32;
const MAX_DATASETS: usize = 10_000;

/// A data set of the file.
#[derive(Clone)]
pub(crate) struct Found {
    /// Full name without the leading slash: `otest/queries`.
    pub name: String,
    pub dataset: hdf5_reader::Dataset,
    /// Its element type where it is numeric, and whether that is big-endian.
    pub elem: Option<(Elem, bool)>,
}

impl Found {
    fn new(file: &H5, name: String, dataset: hdf5_reader::Dataset) -> Result<Found> {
        let numeric = matches!(dataset.dtype(), Datatype::FixedPoint { .. } | Datatype::FloatingPoint { .. });
        let elem = if numeric {
            let raw = parse(file.path(), || dataset.raw_datatype())?;
            elem_of(dataset.dtype(), &raw)
        } else {
            None
        };
        Ok(Found { name, dataset, elem })
    }

    pub fn is_string(&self) -> bool {
        match self.dataset.dtype() {
            Datatype::String { .. } => true,
            Datatype::VarLen { kind, .. } => *kind == VarLenKind::String,
            _ => false,
        }
    }

    fn dtype(&self) -> &'static str {
        match (self.elem, self.dataset.dtype()) {
            (Some((elem, _)), _) => elem.name(),
            _ if self.is_string() => "str",
            (None, Datatype::Enum { .. }) => "enum",
            (None, Datatype::Compound { .. }) => "compound",
            (None, Datatype::VarLen { .. }) => "ragged",
            (None, Datatype::Array { .. }) => "array",
            _ => "other",
        }
    }

    /// Name, shape and type, without looking for the values.
    fn brief(&self) -> Dataset {
        let (shape, dtype) = (self.dataset.shape().to_vec(), self.dtype().to_string());
        let kind = kind_of(&self.name, &shape, &dtype);
        Dataset { name: self.name.clone(), shape, dtype, kind, layout: String::new() }
    }

    pub fn describe(&self, file: &H5) -> Dataset {
        let mut out = self.brief();
        if let (Some((elem, big_endian)), 1 | 2) = (self.elem, out.shape.len()) {
            out.layout = match Store::find(file, &self.dataset, elem.size()) {
                Ok(store) => store.describe() + if big_endian { ", big-endian" } else { "" },
                Err(e) => format!("unreadable: {e}"),
            };
        }
        out
    }
}

/// The element type of a data set, if it is one that can be read, and whether it is big-endian.
///
/// The parsed type keeps only the size of a float, so exponent and mantissa are compared with IEEE 754 in `raw`, the
/// datatype message (HDF5 file format, IV.A.2.d, class 1: exponent location and size, mantissa location and size).
fn elem_of(dtype: &Datatype, raw: &[u8]) -> Option<(Elem, bool)> {
    let (elem, order) = match *dtype {
        Datatype::FloatingPoint { size, byte_order } => {
            let elem = match (size, raw.get(12..16)?) {
                (2, [10, 5, 0, 10]) => Elem::F16,
                (2, [7, 8, 0, 7]) => Elem::BF16,
                (4, [23, 8, 0, 23]) => Elem::F32,
                (8, [52, 11, 0, 52]) => Elem::F64,
                _ => return None,
            };
            (elem, byte_order)
        }
        Datatype::FixedPoint { size, signed, byte_order } => {
            let elem = match (size, signed) {
                (1, false) => Elem::U8,
                (1, true) => Elem::I8,
                (2, false) => Elem::U16,
                (2, true) => Elem::I16,
                (4, false) => Elem::U32,
                (4, true) => Elem::I32,
                (8, false) => Elem::U64,
                (8, true) => Elem::I64,
                _ => return None,
            };
            (elem, byte_order)
        }
        _ => return None,
    };
    Some((elem, order == ByteOrder::BigEndian && elem.size() > 1))
}

/// All data sets, in the order of the file.
pub(crate) fn walk(file: &H5) -> Result<Vec<Found>> {
    let root = parse(file.path(), || file.file.root_group())?;
    let mut found = Vec::new();
    visit(file, &root, "", 0, &mut HashSet::from([root.address()]), &mut found)?;
    Ok(found)
}

fn visit(file: &H5, group: &Group, prefix: &str, depth: usize, seen: &mut HashSet<u64>, out: &mut Vec<Found>) -> Result<()> {
    let (groups, datasets) = parse(file.path(), || group.members())?;
    for dataset in datasets {
        if out.len() < MAX_DATASETS {
            let name = format!("{prefix}{}", dataset.name());
            out.push(Found::new(file, name, dataset)?);
        }
    }
    for child in groups {
        // links may form cycles
        if depth < MAX_DEPTH && out.len() < MAX_DATASETS && seen.insert(child.address()) {
            let prefix = format!("{prefix}{}/", child.name());
            visit(file, &child, &prefix, depth + 1, seen, out)?;
        }
    }
    Ok(())
}

/// The data set with this name, `None` if there is none.
pub(crate) fn by_name(file: &H5, name: &str) -> Result<Option<Found>> {
    let path = name.trim_matches('/');
    match parse(file.path(), || file.file.dataset(path)) {
        Ok(dataset) => Found::new(file, path.to_owned(), dataset).map(Some),
        // the library's error may be absence or damage: a walk tells them apart
        Err(e) if walk(file)?.iter().any(|f| f.name == path) => Err(e),
        Err(_) => Ok(None),
    }
}

/// The data set that is meant: the one named, or the one that fits `role`.
pub(crate) fn choose(file: &H5, name: Option<&str>, role: Role) -> Result<Found> {
    let mut all = match name.map(|name| by_name(file, name)).transpose()?.flatten() {
        Some(found) => vec![found],
        None => walk(file)?,
    };
    let brief: Vec<Dataset> = all.iter().map(Found::brief).collect();
    let i = crate::choose(&brief, name, role, file.path())?;
    let found = all.swap_remove(i);
    if found.elem.is_none() {
        return Err(Error::format(file.path(), format!("{} is no n x d table of numbers", crate::show(&brief[i]))));
    }
    Ok(found)
}
