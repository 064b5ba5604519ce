//! Python pickles (`.pkl .pickle`), protocols 0 to 5, read as data: nothing in them is run.
//!
//! A file holds a 2-D array of numpy, a list of vectors, a dict `name -> vector`, or a dict (or tuple) of such, where a
//! list of strings of the same length names the rows. Numbers of arrays stay in the file until they are asked for.

mod build;
mod bytes;
mod machine;
mod sets;
mod text;
mod value;
mod view;
mod write;

use std::path::Path;
use std::sync::Arc;

use voisin::{Result, Source};

pub(crate) use bytes::{Bytes, Cursor};
pub(crate) use machine::run;
pub(crate) use sets::{describe as describe_doc, open as open_doc, string_list};
pub(crate) use value::{Doc, Heap, Storage, Value};
pub(crate) use view::{View, strides};
pub(crate) use write::put_int;
pub use write::{Py, write};

use crate::{Dataset, InFile, Role};

/// Opens the vectors of a pickle; `dataset` names an entry of a dict (`a/b` for nested ones) or a place in a tuple.
///
/// # Errors
/// [`voisin::Error::Format`] for a damaged file, one that refers to code, or one without a table of numbers.
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// What a pickle holds.
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
    open_doc(parse(file)?, dataset, role)
}

/// As [`describe`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn describe_file(file: Arc<InFile>) -> Result<Vec<Dataset>> {
    describe_doc(&parse(file)?)
}

/// Parses a pickle.
pub(crate) fn parse(file: Arc<InFile>) -> Result<Doc> {
    let file = Bytes::new(file);
    let (heap, root) = run(&mut Cursor::new(file.clone()), false)?;
    Ok(Doc { heap, root, file })
}
