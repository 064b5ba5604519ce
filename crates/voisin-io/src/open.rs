//! From what a user writes to a [`Source`].

use std::path::Path;

use voisin::{Result, Source};

use crate::choose::choose;
use crate::concat::Concat;
use crate::detect::detect;
use crate::paths::{FileSpec, expand};
use crate::{Dataset, Format, Role, bins, hdf5, npy, npz, parquet, pickle, safetensors, text, torch, vecs};

/// Opens one file: `path` or `path::dataset`.
///
/// # Errors
/// [`voisin::Error::Io`] or [`voisin::Error::Format`], naming the file and what is wrong or what could be meant.
pub fn open(spec: &str, role: Role) -> Result<Box<dyn Source>> {
    open_spec(&FileSpec::parse(spec), role)
}

/// Opens files as one dataset: several inputs, each a file, a pattern, a folder or a template with `{idx}`.
///
/// Every file is opened once for its shape; few stay open. The rows follow each other in the order of the inputs,
/// within a pattern or folder in natural order.
///
/// # Errors
/// As [`open`]; [`voisin::Error::Dimension`] if the files differ in dimension; see [`expand`] for patterns.
pub fn open_all(inputs: &[String], role: Role) -> Result<Box<dyn Source>> {
    let specs = expand(inputs)?;
    match &specs[..] {
        [one] => open_spec(one, role),
        _ => Ok(Box::new(Concat::new(specs, role)?)),
    }
}

pub(crate) fn open_spec(spec: &FileSpec, role: Role) -> Result<Box<dyn Source>> {
    let (path, dataset) = (&spec.path, spec.dataset.as_deref());
    match detect(path)? {
        Format::Hdf5 => hdf5::open(path, dataset, role),
        Format::Npy => npy::open(path, dataset, role),
        Format::Npz => npz::open(path, dataset, role),
        Format::Text => text::open(path, dataset, role),
        Format::Vecs => vecs::open(path, dataset, role),
        Format::Pickle => pickle::open(path, dataset, role),
        Format::Safetensors => safetensors::open(path, dataset, role),
        Format::Torch => torch::open(path, dataset, role),
        Format::Bins => bins::open(path, dataset, role),
        Format::Parquet => parquet::open(path, dataset, role),
    }
}

/// Format and data sets of a file.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<(Format, Vec<Dataset>)> {
    let format = detect(path)?;
    let sets = match format {
        Format::Hdf5 => hdf5::describe(path),
        Format::Npy => npy::describe(path),
        Format::Npz => npz::describe(path),
        Format::Text => text::describe(path),
        Format::Vecs => vecs::describe(path),
        Format::Pickle => pickle::describe(path),
        Format::Safetensors => safetensors::describe(path),
        Format::Torch => torch::describe(path),
        Format::Bins => bins::describe(path),
        Format::Parquet => parquet::describe(path),
    };
    Ok((format, sets?))
}

/// Format of a file, and the data set of it that [`open`] would open.
///
/// # Errors
/// As [`open`].
pub fn chosen(spec: &FileSpec, role: Role) -> Result<(Format, Dataset)> {
    let (format, mut sets) = describe(&spec.path)?;
    let at = match choose(&sets, spec.dataset.as_deref(), role, &spec.path) {
        Err(_) if sets.len() == 1 && role == Role::Queries && spec.dataset.is_none() => 0, // one query, saved as a plain vector
        at => at?,
    };
    Ok((format, sets.swap_remove(at)))
}
