//! A build in parts: planned once, run by as many machines as there are, put together at the end.
//!
//! ```text
//! plan.json                  every input with its rows, the parts, all parameters; never changes        job plan
//! DIR/job/model.json         what was trained, on what                                                  job train
//! DIR/job/part-00007.json    receipt of a part: its segments and inputs with their digests              job run
//! DIR/manifest.json          the index                                                                  job commit
//! ```
//! Parts share a folder and nothing else: no lock, no clock. Each writes files that no other writes, under temporary names that
//! are its own, and its receipt last; two runs of one part write the same bytes under the same names. A build on one machine
//! is the same work: it trains, stores and finishes through the same functions ([`super::build()`]).

mod commit;
mod inputs;
mod plan;
mod receipt;
mod work;

#[cfg(test)]
mod tests;

pub use commit::{CommitReport, JobStatus, PartState, PartStatus, commit, status};
pub use inputs::{Inputs, Seen};
pub use plan::{Input, Missing, Plan, PlanParams};
pub use work::{PartReport, RunParams, TrainReport, finished, run, train};

pub(super) use inputs::Read;
pub(super) use plan::JOB;
