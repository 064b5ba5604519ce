//! Other people's files: one module a format, all behind [`voisin::Source`].
#![forbid(unsafe_code)]

pub mod bins;
mod choose;
mod concat;
mod detect;
mod elem;
mod file;
mod format;
pub mod hdf5;
pub mod npy;
pub mod npz;
mod open;
mod paths;
pub mod pickle;
mod raw;
pub mod text;
pub mod safetensors;
mod state;
pub mod torch;
pub mod vecs;
mod write;
pub mod zipfile;

pub use choose::{choose, kind_of, show};
pub use detect::detect;
pub use elem::Elem;
pub use file::{AtomicFile, Cursor, InFile, fingerprint};
pub use format::{Dataset, DatasetKind, Format, Role, WriteOptions};
pub use open::{describe, open, open_all};
pub use paths::{FileSpec, expand};
pub use raw::{Layout, RawSource, spec_name};
pub use state::{Tensor, read_state, write_state};
pub use write::{Encoder, stream, wanted_elem};
