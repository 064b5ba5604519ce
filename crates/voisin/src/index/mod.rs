//! An index: a folder of immutable, checksummed files that is built, searched, changed and verified.
//!
//! ```text
//! manifest.json           what the index is and which files belong to it; replaced last, as a whole
//! model.vsn               what was learned: transform, centroids or layers, code
//! calibration.json        how many lists recall targets take
//! segments/G-I.vsn        codes, vectors and ids, list by list; segment I of the change with number G
//! segments/G-I.del.H      which of its rows are deleted, as of change H
//! job/                    receipts of a build in parts
//! lock                    held by whoever changes the index
//! journal.json            what is finished of a change under way; `*.tmp` are files not finished
//! ```
//! A file never changes once it has its name. A change writes new files, replaces the manifest, and removes what the new
//! manifest does not name: killed at any moment, the manifest in place names files that are all there.

mod blocks;
mod build;
mod calibrate;
mod coded;
mod default;
mod deleted;
mod disk;
mod filter;
mod found;
mod ingest;
pub mod job;
mod kept;
mod learn;
mod manifest;
mod many;
mod merge;
mod model;
mod mutate;
mod opened;
mod pairs;
mod params;
mod portable;
mod recalibrate;
mod refine;
mod route;
mod scan;
mod search;
mod segment;
mod segment_writer;
mod small;
mod store;
mod targets;
mod trace;
mod verify;

#[cfg(test)]
mod crafted_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod merge_tests;

pub use build::build;
pub use default::default_spec;
pub use filter::{Filter, FilterKind};
pub use job::Missing;
pub use merge::merge;
pub use mutate::{add, compact, remove};
pub use params::{
    AddParams, AddReport, BuildParams, BuildReport, CalibrationInfo, Captions, CompactReport, FolderInfo, IdList, Ids, IndexInfo,
    MergeParams, MergeReport, Problem, RemoveReport, RouterReport, SearchParams, SearchResult, Seconds, VerifyReport,
};
pub use portable::{Portable, PortableCode, PortableList, import};
pub use recalibrate::{CalibrateParams, CalibrateReport, calibrate, calibrate_on};
pub use targets::{Calibration, Promise};
pub(crate) use trace::{Seen, Trace};
pub use verify::verify;

use crate::partition::Partition;
use crate::{Error, Metric, Result, Source, Spec};
use manifest::IdKind;
use opened::Opened;
use std::path::Path;

/// An index opened for searching; the files are mapped, not read.
///
/// It stays as it was when it was opened, whatever others do to the folder meanwhile.
#[derive(Debug)]
pub struct Index(Opened);

impl Index {
    /// Opens the index in a folder; milliseconds, whatever its size.
    ///
    /// # Errors
    /// A file that is missing, damaged, or of a newer format. Lists are checked at their first visit.
    pub fn open(dir: impl AsRef<Path>) -> Result<Index> {
        Opened::open(dir.as_ref()).map(Index)
    }

    fn opened(&self) -> &Opened {
        &self.0
    }

    /// What it was built as.
    pub fn spec(&self) -> &Spec {
        &self.0.spec
    }

    /// How its vectors are compared.
    pub fn metric(&self) -> Metric {
        self.0.manifest.metric
    }

    /// Refuses queries that another layer has mapped than the vectors of the index, or none where these were mapped.
    ///
    /// # Errors
    /// [`Error::Layer`] with both layers.
    pub fn check_layer(&self, queries: &dyn Source) -> Result<()> {
        self.0.manifest.check_layer(&self.0.dir, queries.layer().as_ref(), &queries.name())
    }

    /// Number of vectors.
    pub fn len(&self) -> u64 {
        self.0.manifest.n
    }

    /// Whether every vector was removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.0.manifest.d
    }

    /// What says in which list a vector is stored and which lists a query visits.
    pub fn partition(&self) -> &Partition {
        &self.0.partition
    }

    /// Lists that a search visits where nobody says how many: what the file of another program says, else 1.
    pub fn default_nprobe(&self) -> usize {
        self.0.manifest.nprobe.unwrap_or(1)
    }

    /// Vectors of each list.
    pub fn list_sizes(&self) -> Vec<u64> {
        self.0.list_sizes()
    }

    /// What it is, in numbers. Cost: a look at every list.
    pub fn info(&self) -> IndexInfo {
        let m = &self.0.manifest;
        let mut sizes = self.list_sizes();
        sizes.sort_unstable();
        let list_sizes = [sizes[0], sizes[sizes.len() / 2], sizes[sizes.len() - 1]];
        let folders = self.folders();
        let bytes = folders.iter().map(|f| f.bytes).sum();
        let [code_bytes, refine_bytes] = segment::record_bytes(&self.0.model, m.d);
        IndexInfo {
            format: m.format,
            spec: m.spec.clone(),
            reason: m.reason.clone(),
            metric: m.metric,
            layer: m.layer.clone(),
            made_by: m.made_by.clone(),
            n: m.n,
            d: m.d,
            deleted: m.deleted(),
            ids: m.ids.name().to_owned(),
            generation: m.generation,
            segments: m.segments.len(),
            bytes,
            bytes_per_vector: if m.n == 0 { 0.0 } else { bytes as f64 / m.n as f64 },
            nlist: sizes.len(),
            list_sizes,
            empty_lists: sizes.iter().filter(|s| **s == 0).count(),
            nprobe: m.nprobe,
            transform: self.spec().transform.map(|t| t.to_string()),
            code: self.spec().score.to_string(),
            code_bytes,
            refine: self.spec().refine.map(|r| r.to_string()),
            refine_bytes,
            calibration: self.calibration().map(|c| CalibrationInfo {
                queries: c.queries(),
                given: c.given(),
                targets: c.promises(),
                best: c.best(),
            }),
            folders: if folders.len() > 1 { folders } else { vec![] },
            missing: m.missing.clone(),
            hidden: if let Partition::Learned(m) = self.0.partition.stored() { Some(m.hidden()) } else { None },
            router: self.0.partition.router().map(|r| [r.d(), r.nlist()]),
        }
    }

    /// Refuses vectors that are known to be made otherwise than those of the index: their distances would mean nothing.
    ///
    /// # Errors
    /// [`Error::Format`] naming the source and both makers.
    pub fn check_made_by(&self, source: &dyn crate::Source) -> Result<()> {
        self.0.manifest.check_made_by(source)
    }

    /// Whether vectors have string ids; a number in a result then stands for a string.
    pub fn has_string_ids(&self) -> bool {
        self.0.ids() == IdKind::Strings
    }

    /// The number that stands for a string id; `None` if it is not in the index.
    ///
    /// # Errors
    /// A damaged look-up table.
    pub fn find(&self, id: &str) -> Result<Option<u64>> {
        let Some((part, row)) = self.0.find_string(id)? else { return Ok(None) };
        Ok(Some(self.0.parts[part].segment.checked_id(row)?))
    }

    /// The string that a number stands for; `None` if it is not in the index or ids are numbers.
    ///
    /// # Errors
    /// A damaged look-up table.
    pub fn string_id(&self, id: u64) -> Result<Option<&str>> {
        let Some((part, row)) = self.0.find(id)? else { return Ok(None) };
        self.0.parts[part].segment.string(row)
    }

    /// Calls `visit(number, string)` for every vector, in the order in which they are stored; no string where ids are numbers.
    ///
    /// # Errors
    /// A damaged segment.
    pub fn for_each_id(&self, visit: &mut dyn FnMut(u64, Option<&str>)) -> Result<()> {
        for part in &self.0.parts {
            for (row, id) in part.segment.ids()?.enumerate() {
                if !part.deleted.contains(row) {
                    visit(id, part.segment.string(row)?);
                }
            }
        }
        Ok(())
    }

    /// A stored vector; `None` if the id is not in the index.
    ///
    /// As it was added, where the index keeps plain vectors (`Flat` without a transform, `Refine(Flat)`); otherwise what its
    /// refinement or its code decodes to, which is near it (of unit length, for codes under cosine).
    ///
    /// # Errors
    /// A damaged look-up table or list; [`Error::Param`] for an index that keeps only codes that cannot be decoded.
    pub fn vector_of(&self, id: u64) -> Result<Option<Vec<f32>>> {
        let Some((part, row)) = self.0.find(id)? else { return Ok(None) };
        let vector = self.0.parts[part].segment.stored(row, self.dim())?;
        let none = || Error::param("index", self.spec(), "only codes are kept; with Refine(...) the index keeps vectors too");
        vector.map(Some).ok_or_else(none)
    }
}
