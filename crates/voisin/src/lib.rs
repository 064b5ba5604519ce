//! Nearest neighbours in embeddings: exact, through k-means lists and through learned partitions.
//!
//! `transform -> partition -> score -> refine` is the one model of search; see ARCHITECTURE.md.
#![forbid(unsafe_code)]

mod error;
pub mod eval;
pub mod exact;
pub mod index;
mod matrix;
mod metric;
mod neighbors;
pub mod partition;
mod source;
mod spec;
pub mod watch;

pub use error::{Error, Result};
pub use index::{Index, SearchParams, SearchResult};
pub use matrix::{Matrix, Vectors};
pub use metric::Metric;
pub use neighbors::{Neighbors, TopK};
pub use source::{BadRow, Block, MemSource, OnBad, Source, StringIds, for_each_block, read_all, screen};
pub use spec::{PartitionSpec, Score, Spec};
pub use watch::{Quiet, Watch};
