//! What says that a part is finished: written last, sealed, under a name of its own.

use super::super::ingest::{model_problem, segment_problem};
use super::super::manifest::{Digest, FileEntry, SegmentEntry, seal, unseal};
use super::super::{disk, ingest::Journal};
use super::inputs::Read;
use super::plan::{JOB, Missing, Plan};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The receipt of the training, which is the journal of it.
const MODEL: &str = "job/model.json";
/// The change that a job makes: the first.
pub(super) const GENERATION: u64 = 1;

/// What was made of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::index) struct Receipt {
    pub(super) plan: Digest,
    pub(super) part: usize,
    /// First row and end.
    pub(super) rows: [u64; 2],
    pub(super) model: FileEntry,
    pub(super) segments: Vec<SegmentEntry>,
    /// Rows that could not be ranked and were left out.
    pub(super) skipped: u64,
    pub(super) inputs: Vec<Read>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<Missing>,
    /// What made the vectors, where the files say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_by: Option<String>,
}

/// The journal of the training: finished where it names a model. Its file is read as a whole.
pub(super) fn trained(plan: &Plan, dir: &Path) -> Journal {
    Journal::resume_file(dir, MODEL, plan.digest(), GENERATION)
}

/// The model that was trained, its file looked at but not read.
pub(super) fn model_of(plan: &Plan, dir: &Path) -> Result<FileEntry> {
    let path = dir.join(MODEL);
    let bytes = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::unfinished(dir, "no model in this folder yet: run `voisin job train` first"));
        }
        read => read.map_err(|e| Error::io(&path, e))?,
    };
    let journal: Journal = unseal(&bytes).map_err(|what| Error::corrupt(&path, what))?;
    if journal.key != Some(Digest(plan.digest())) {
        return Err(Error::format(&path, "it belongs to another plan; give each plan a folder of its own"));
    }
    let model = journal.model.ok_or_else(|| Error::corrupt(&path, "it names no model"))?;
    model_problem(dir, &model, false)?;
    Ok(model)
}

pub(super) fn path_of(dir: &Path, part: usize) -> PathBuf {
    dir.join(JOB).join(format!("part-{part:05}.json"))
}

/// Name of the journal of a part that is under way, from the folder of the index.
pub(super) fn journal_of(part: usize) -> String {
    format!("{JOB}/part-{part:05}.unfinished")
}

impl Receipt {
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        disk::write_file(&path_of(dir, self.part), &seal(self))
    }

    /// The receipt of a part, if there is one.
    pub(super) fn load(dir: &Path, part: usize) -> Result<Option<Receipt>> {
        let path = path_of(dir, part);
        match std::fs::read(&path) {
            Ok(bytes) => unseal(&bytes).map(Some).map_err(|what| Error::corrupt(&path, what)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// Whether it says what the plan asks for, and its files are as it says: their sizes and headers, or `all` of their bytes.
    pub(super) fn check(&self, plan: &Plan, dir: &Path, part: usize, model: &FileEntry, all: bool) -> Result<()> {
        let wrong = |what: &str| Err(Error::corrupt(path_of(dir, part), what));
        let rows = plan.rows_of_part(part)?;
        if self.plan.0 != plan.digest() {
            return wrong("it belongs to another plan");
        }
        if self.part != part || self.rows != [rows.start, rows.end] {
            return wrong("it is the receipt of other rows");
        }
        if self.model != *model {
            return wrong("it was made with another model");
        }
        let stored = self.stored().ok_or_else(|| Error::corrupt(path_of(dir, part), "too many rows"))?;
        let absent: u64 = self.missing.iter().map(|m| m.rows).sum();
        if stored.checked_add(self.skipped).and_then(|s| s.checked_add(absent)) != Some(rows.end - rows.start) {
            return wrong("its segments do not hold the rows of the part");
        }
        for segment in &self.segments {
            if !segment.at.file.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return wrong("the name of a segment");
            }
            if let Some(e) = segment_problem(dir, segment, all)? {
                return Err(e);
            }
        }
        Ok(())
    }

    /// Vectors in its segments.
    pub(super) fn stored(&self) -> Option<u64> {
        self.segments.iter().try_fold(0u64, |sum, s| sum.checked_add(s.rows))
    }

    /// Bytes of its segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.at.bytes).sum()
    }
}
