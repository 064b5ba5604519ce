//! Nearest neighbours in embeddings: exact, through k-means lists and through learned partitions.
//!
//! `transform -> partition -> score -> refine` is the one model of search; see ARCHITECTURE.md.
//!
//! ```
//! use voisin::{Index, Matrix, MemSource, Quiet, SearchParams, index::{BuildParams, build}};
//! # let folder = tempfile::tempdir().unwrap();
//! # let dir = folder.path();
//!
//! let rows = Matrix::new((0..10_000).map(|i| (0.7 * i as f32).sin()).collect(), 10); // 1,000 vectors of 10 dimensions
//! let base = MemSource::new("sines", rows.clone()); // `voisin_io::open` gives a file in its place
//! let params = BuildParams { spec: Some("IVF16,Flat".parse()?), ..BuildParams::default() };
//! build(&base, dir, &params, &Quiet)?; // `dir` is a folder
//!
//! let index = Index::open(dir)?;
//! let queries = rows.view().rows(0..3);
//! let found = index.search(queries, &SearchParams { k: 5, nprobe: 4, ..SearchParams::default() })?;
//! assert_eq!((found.neighbors.ids(2)[0], found.neighbors.distances(2)[0]), (2, 0.0)); // a vector is its own nearest
//! # Ok::<(), voisin::Error>(())
//! ```
//!
//! Without an index: [`exact::exact`]. How good a result is: [`eval::evaluate`]. The numbered `examples/` go on from here.
#![forbid(unsafe_code)]

mod adapt;
mod encode;
mod error;
pub mod eval;
pub mod exact;
pub mod explain;
pub mod graph;
mod id_set;
pub mod index;
mod matrix;
mod metric;
mod neighbors;
pub mod partition;
mod source;
mod spec;
mod subset;
mod transform;
pub mod watch;

pub use adapt::{Adapted, Layer, LayerId};
pub use error::{Error, Result};
pub use id_set::IdSet;
pub use index::{Index, SearchParams, SearchResult};
pub use matrix::{Matrix, Vectors};
pub use metric::Metric;
pub use neighbors::{Neighbors, TopK};
pub use source::{BadRow, Block, MemSource, OnBad, Source, StringIds, for_each_block, read_all, read_good, read_rows, screen};
pub use spec::{PartitionSpec, RefineSpec, ScalarKind, Score, Spec, TransformSpec, Unit};
pub use subset::Subset;
pub use voisin_kernels::keep_freed_memory;
pub use watch::{Quiet, Watch};
