//! Other people's files: one module a format, all behind [`voisin::Source`].
#![forbid(unsafe_code)]

mod choose;
mod elem;
mod file;
mod format;
pub mod npy;
pub mod npz;
mod raw;
mod write;
pub mod zipfile;

pub use choose::{choose, kind_of, show};
pub use elem::Elem;
pub use file::{AtomicFile, Cursor, InFile, fingerprint};
pub use format::{Dataset, DatasetKind, Format, Role, WriteOptions};
pub use raw::{Layout, RawSource, spec_name};
pub use write::{Encoder, stream, wanted_elem};
