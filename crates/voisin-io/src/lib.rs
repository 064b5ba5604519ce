//! Other people's files: one module a format, all behind [`voisin::Source`].
#![forbid(unsafe_code)]

mod format;

pub use format::{Dataset, DatasetKind, Format, Role, WriteOptions};
