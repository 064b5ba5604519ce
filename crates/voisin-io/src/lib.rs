//! Other people's files: one module a format, all behind [`voisin::Source`].
#![forbid(unsafe_code)]

pub mod bins;
mod choose;
mod concat;
mod convert;
mod detect;
mod elem;
mod file;
mod format;
mod guard;
pub mod hdf5;
mod info;
pub mod inputs;
pub mod npy;
pub mod npz;
mod open;
pub mod parquet;
mod paths;
pub mod pickle;
mod raw;
pub mod results;
pub mod safetensors;
mod state;
pub mod text;
pub mod torch;
pub mod truth;
pub mod vecs;
mod write;
pub mod zipfile;

pub use choose::{choose, kind_of, show};
pub use convert::{Converted, WRITABLE, convert, write_vectors};
pub use detect::detect;
pub use elem::Elem;
pub use file::{AtomicFile, Cursor, InFile, fingerprint};
pub use format::{Dataset, DatasetKind, Format, Role, WriteOptions};
pub use info::{DatasetInfo, FileInfo, IdsInfo, Info, Norms, Rows, inspect};
pub use open::{chosen, describe, open, open_all};
pub use paths::{FileSpec, expand, expand_indexes};
pub use raw::{Layout, RawSource, spec_name};
pub use results::{AttrValue, RESULT_ENDINGS, ResultFile, ResultLayout, check_result_path, write_results};
pub use state::{Tensor, read_state, read_state_file, write_state};
pub use truth::{DistanceKind, Truth, comparable, read_neighbors};
pub use write::{Encoder, stream, wanted_elem};
