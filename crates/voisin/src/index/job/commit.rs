//! Which parts are done, and the index made of them.

use super::super::manifest::{Digest, FORMAT, FileEntry, MANIFEST, Manifest, SEGMENTS, SegmentEntry};
use super::super::opened::{self, Opened};
use super::super::{disk, ingest, params::IndexInfo};
use super::plan::{JOB, Missing, Plan};
use super::receipt::{self, GENERATION, Receipt, journal_of};
use super::work::strings;
use crate::{Error, Index, Result, Watch};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// How far a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PartState {
    /// Its receipt and its files are as they should be.
    Done,
    /// It was begun: so many rows are stored.
    Begun {
        /// Rows.
        done: u64,
    },
    /// Nothing was done.
    Missing,
    /// Something is wrong with its receipt or its files; it is done again by [`super::run`].
    Damaged {
        /// What.
        what: String,
    },
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartStatus {
    /// Its number.
    pub part: usize,
    /// Its first row and the end.
    pub rows: [u64; 2],
    /// How far it is.
    #[serde(flatten)]
    pub state: PartState,
    /// Vectors stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Bytes of its segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Inputs that it was made without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobStatus {
    /// The training.
    pub model: PartState,
    /// Whether the index is there.
    pub committed: bool,
    /// What is wrong with the manifest of an index that was there; [`commit()`] makes it again.
    pub manifest: Option<String>,
    /// Every part, in order.
    pub parts: Vec<PartStatus>,
}

impl JobStatus {
    /// The parts in a state that `is` takes.
    pub fn which(&self, is: impl Fn(&PartState) -> bool) -> Vec<usize> {
        self.parts.iter().filter(|p| is(&p.state)).map(|p| p.part).collect()
    }
}

/// What [`commit()`] did.
#[derive(Clone, Debug)]
pub struct CommitReport {
    /// The index.
    pub info: IndexInfo,
    /// Whether it was there before, so that its parts were checked and nothing was changed.
    pub before: bool,
    /// What was wrong with the manifest that was replaced.
    pub replaced: Option<String>,
}

/// What the folder of an index is to a job.
pub(super) enum Standing {
    /// There is no index yet.
    Open,
    /// The index of this job; the segments that it names.
    Committed { segments: HashMap<String, SegmentEntry> },
    /// There was one, whose manifest is damaged.
    Broken { what: String },
    /// Another index.
    Foreign,
}

pub(super) fn standing(plan: &Plan, dir: &Path) -> Result<Standing> {
    if !dir.join(MANIFEST).exists() {
        return Ok(Standing::Open);
    }
    let manifest = match Manifest::load(dir) {
        Err(Error::Corrupt { what, .. }) if dir.join(JOB).is_dir() => {
            if changed_since(dir) {
                let what = format!("{what}, and vectors were added or removed after `voisin job commit`: restore it from a copy");
                return Err(Error::corrupt(dir.join(MANIFEST), what));
            }
            return Ok(Standing::Broken { what });
        }
        read => read?,
    };
    if manifest.job != Some(Digest(plan.digest())) {
        return Ok(Standing::Foreign);
    }
    let segments = manifest.segments.into_iter().map(|s| (s.at.file.clone(), s)).collect();
    Ok(Standing::Committed { segments })
}

/// Whether there are files of a later change than that of the job.
fn changed_since(dir: &Path) -> bool {
    let of_the_job = format!("{GENERATION:05}-");
    std::fs::read_dir(dir.join(SEGMENTS)).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        !name.ends_with(disk::TEMPORARY) && (!name.starts_with(&of_the_job) || name.contains(".del."))
    })
}

impl Standing {
    pub(super) fn committed(&self) -> bool {
        matches!(self, Standing::Committed { .. })
    }

    /// The receipt of a part that is done, `None` where there is none, an error where it or its files are damaged. Without a model
    /// it is not asked which one it was made with.
    pub(super) fn receipt(
        &self,
        plan: &Plan,
        dir: &Path,
        part: usize,
        model: Option<&FileEntry>,
        all: bool,
    ) -> Result<Option<Receipt>> {
        let Some(found) = Receipt::load(dir, part)? else { return Ok(None) };
        match self {
            // what an index has merged or dropped since is gone for good
            Standing::Committed { segments } if !found.segments.iter().any(|s| segments.contains_key(&s.at.file)) => {}
            _ => found.check(plan, dir, part, model.unwrap_or(&found.model), all)?,
        }
        if let Standing::Committed { segments } = self {
            let other = |s: &&SegmentEntry| segments.get(&s.at.file).is_some_and(|n| (&n.at, n.rows) != (&s.at, s.rows));
            if let Some(s) = found.segments.iter().find(other) {
                let what = format!("{} is not the one that the index was made of", s.at.file);
                return Err(Error::corrupt(receipt::path_of(dir, part), what));
            }
        }
        Ok(Some(found))
    }
}

/// How far every part is. Reads all that the parts have written, or with `quick` only headers and sizes.
///
/// # Errors
/// A folder with another index in it; [`Error::Stopped`]. What is wrong with a part is its state.
pub fn status(plan: &Plan, dir: &Path, quick: bool, watch: &dyn Watch) -> Result<JobStatus> {
    let standing = standing(plan, dir)?;
    if matches!(standing, Standing::Foreign) {
        return Err(Error::format(dir, "the index in this folder is not of this plan"));
    }
    let damaged = |e: Error| PartState::Damaged { what: e.to_string() };
    let entry = receipt::model_of(plan, dir);
    let model = match &entry {
        Err(Error::Unfinished { .. }) => PartState::Missing,
        Err(e) => PartState::Damaged { what: e.to_string() },
        Ok(entry) => match ingest::model_problem(dir, entry, true) {
            Ok(None) => PartState::Done,
            Ok(Some(e)) | Err(e) => damaged(e),
        },
    };
    watch.begin("check", plan.parts() as u64, "parts");
    let mut parts = Vec::with_capacity(plan.parts());
    for part in 0..plan.parts() {
        watch.check()?;
        let rows = plan.rows_of_part(part)?;
        let mut status =
            PartStatus { part, rows: [rows.start, rows.end], state: PartState::Missing, n: None, bytes: None, missing: vec![] };
        match standing.receipt(plan, dir, part, entry.as_ref().ok(), !quick) {
            Ok(Some(found)) => {
                status.state = PartState::Done;
                (status.n, status.bytes, status.missing) = (found.stored(), Some(found.bytes()), found.missing);
            }
            Ok(None) => status.state = begun(dir, part),
            Err(e) => status.state = damaged(e),
        }
        parts.push(status);
        watch.advance(1);
    }
    watch.end();
    let committed = standing.committed();
    let manifest = if let Standing::Broken { what } = standing { Some(what) } else { None };
    Ok(JobStatus { model, committed, manifest, parts })
}

/// What the journal of a part says.
fn begun(dir: &Path, part: usize) -> PartState {
    let journal = std::fs::read(dir.join(journal_of(part))).ok().and_then(|b| ingest::Journal::parse(&b));
    journal.map_or(PartState::Missing, |j| PartState::Begun { done: j.next_row })
}

/// Makes the index of a job whose parts are all done: one manifest, put in place as a whole.
///
/// Done again it changes nothing, and checks the parts again; a damaged manifest is made again. Cost: reading all segments once, or with `quick` their headers.
///
/// # Errors
/// Parts that are not done, damaged, or of another plan or model; a string id that stands in two parts; another index in the
/// folder; what writing gives.
pub fn commit(plan: &Plan, dir: &Path, quick: bool, watch: &dyn Watch) -> Result<CommitReport> {
    let status = status(plan, dir, quick, watch)?;
    refuse_unfinished(&status, dir)?;
    if status.committed {
        return Ok(CommitReport { info: Index::open(dir)?.info(), before: true, replaced: None });
    }
    let _lock = disk::lock(dir)?;
    let model = receipt::model_of(plan, dir)?;
    let mut manifest = Manifest {
        format: FORMAT,
        spec: plan.spec().to_string(),
        reason: plan.reason().map(str::to_owned),
        metric: plan.params().metric,
        made_by: None,
        d: plan.dim(),
        n: 0,
        ids: plan.ids(),
        next_id: plan.first_id() + plan.len(),
        generation: GENERATION,
        model: model.clone(),
        calibration: None,
        layer: None,
        nprobe: None,
        refine: None,
        job: Some(Digest(plan.digest())),
        missing: plan.inputs().iter().filter(|i| i.rows == 0).filter_map(without).collect(),
        segments: vec![],
    };
    for part in 0..plan.parts() {
        let receipt = Receipt::load(dir, part)?.ok_or_else(|| Error::format(dir, format!("part {part} is gone")))?;
        // once more, without reading: the manifest must name what was looked at
        receipt.check(plan, dir, part, &model, false)?;
        match (&manifest.made_by, receipt.made_by) {
            (Some(one), Some(other)) if *one != other => {
                return Err(Error::format(dir, format!("part {part} has vectors made by `{other}`, those before it by `{one}`")));
            }
            (None, made_by) => manifest.made_by = made_by,
            _ => {}
        }
        manifest.missing.extend(receipt.missing);
        manifest.segments.extend(receipt.segments);
    }
    manifest.n = manifest.segments.iter().map(|s| s.rows).sum();
    if manifest.segments.is_empty() {
        return Err(Error::Empty { name: "the inputs".into() });
    }
    manifest.check().map_err(|what| Error::corrupt(dir.join(JOB), what))?;
    if strings(plan) {
        Opened::with(dir, manifest.clone())?.refuse_twins(watch)?;
    }
    manifest.save(dir)?;
    tidy(dir, &manifest)?;
    Ok(CommitReport { info: Index::open(dir)?.info(), before: false, replaced: status.manifest })
}

/// An input without rows that has something wrong with it.
fn without(input: &super::plan::Input) -> Option<Missing> {
    input.problem.clone().map(|what| Missing { file: input.file.clone(), rows: 0, what })
}

fn refuse_unfinished(status: &JobStatus, dir: &Path) -> Result<()> {
    let first = |all: &[usize]| all.iter().take(8).map(usize::to_string).collect::<Vec<_>>().join(", ");
    let many = |all: &[usize]| if all.len() > 8 { format!("{}, ... ({} parts)", first(all), all.len()) } else { first(all) };
    let again = "run them with `voisin job run`";
    match &status.model {
        PartState::Done => {}
        PartState::Damaged { what } => {
            return Err(Error::corrupt(dir, format!("the model: {what}; `voisin job train` repairs it")));
        }
        _ => return Err(Error::unfinished(dir, "no model in this folder yet: run `voisin job train` first")),
    }
    let damaged = status.which(|s| matches!(s, PartState::Damaged { .. }));
    if !damaged.is_empty() {
        return Err(Error::corrupt(dir, format!("parts {}; {again}", many(&damaged))));
    }
    let open = status.which(|s| *s != PartState::Done);
    if open.is_empty() { Ok(()) } else { Err(Error::unfinished(dir, format!("parts {} are not done; {again}", many(&open)))) }
}

/// Removes what killed runs left; the receipts stay.
fn tidy(dir: &Path, manifest: &Manifest) -> Result<()> {
    opened::clean(dir, &manifest.files())?;
    let job = dir.join(JOB);
    for entry in std::fs::read_dir(&job).map_err(|e| Error::io(&job, e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(disk::TEMPORARY) || name.ends_with(".unfinished") {
            disk::remove_file(&entry.path())?;
        }
    }
    Ok(())
}
