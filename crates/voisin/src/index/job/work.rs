//! The two kinds of work: training once, and storing the rows of a part.

use super::super::ingest::Journal;
use super::super::learn::Learning;
use super::super::manifest::{Digest, FileEntry, IdKind, SEGMENTS};
use super::super::model::{self, Model};
use super::super::params::{BuildParams, Captions, RouterReport, Seconds};
use super::super::segment::Shape;
use super::super::store::{Job, rows_a_segment};
use super::super::{build, calibrate, disk, pairs, route};
use super::commit::{Standing, standing};
use super::inputs::{self, Inputs, PartSource, Read, There, look};
use super::plan::{Input, JOB, Missing, Piece, Plan, pieces};
use super::receipt::{self, GENERATION, Receipt};
use crate::partition::{Epoch, Mlp};
use crate::{Error, Matrix, Result, Source, Watch};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// What a training did.
#[derive(Clone, Debug, Default)]
pub struct TrainReport {
    /// Rows trained on; 0 without training.
    pub trained_on: u64,
    /// Objective of each k-means iteration.
    pub objective: Vec<f64>,
    /// Loss and accuracy of each epoch of a learned index.
    pub epochs: Vec<Epoch>,
    /// Pairs of caption and image that paired k-means saw.
    pub pairs: Option<u64>,
    /// The router, where one was trained.
    pub router: Option<RouterReport>,
    /// Bytes of the model.
    pub bytes: u64,
    /// Whether it had been trained before, so that nothing was done.
    pub before: bool,
    /// Time by stage.
    pub seconds: Seconds,
}

/// What the parameters of a plan leave to the moment.
#[derive(Clone, Debug, Default)]
pub struct RunParams {
    /// Leave out inputs that are missing or short, though the plan does not say so.
    pub allow_missing: bool,
    /// Believe the receipt of a part that is finished, where names and sizes of its files fit, without reading them.
    pub quick: bool,
    /// A model for a learned index, where the plan names one: no training.
    pub model: Option<Mlp>,
    /// Queries that the training looks at, where the plan names any.
    pub queries: Option<Matrix>,
    /// Captions of a paired index, where the plan names any.
    pub captions: Option<Captions>,
}

/// What was made of a part.
#[derive(Clone, Debug, Default)]
pub struct PartReport {
    /// Its number.
    pub part: usize,
    /// Vectors stored.
    pub n: u64,
    /// Rows left out because they cannot be ranked.
    pub skipped: u64,
    /// Inputs left out.
    pub missing: Vec<Missing>,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Number of its segments.
    pub segments: usize,
    /// Rows that an earlier, killed run had finished.
    pub resumed: u64,
    /// Whether it was finished before, so that nothing was done.
    pub before: bool,
    /// Time by stage.
    pub seconds: Seconds,
}

/// Trains what a plan asks for, into the folder of the index; at once, if that was done before.
///
/// Memory: as [`super::super::build()`].
///
/// # Errors
/// A folder that holds something else or another job, training files that are missing, what training and writing give.
pub fn train(plan: &Plan, dir: &Path, files: &dyn Inputs, params: &RunParams, watch: &dyn Watch) -> Result<TrainReport> {
    let clock = Instant::now();
    let mut journal = receipt::trained(plan, dir);
    if let Some(model) = &journal.model {
        let (trained_on, bytes) = (journal.trained_on, model.bytes);
        return Ok(TrainReport { trained_on, bytes, before: true, ..TrainReport::default() });
    }
    prepare(plan, dir)?;
    let inputs = plan.training();
    let all = pieces(inputs, 0..inputs.iter().map(|i| i.rows).sum());
    let there = present(plan, files, inputs, &all, params.allow_missing)?.0;
    let with = plan.with(params, &there)?;
    inputs::made_by(inputs, &there)?;
    let source = PartSource::new(files, inputs, there.into_iter().map(|t| t.0).collect(), plan.dim());
    build::check(&build::Size { n: source.len(), d: plan.dim(), name: &source.name(), layer: None }, plan.spec(), &with)?;
    calibrate::check_queries(&source, &with)?;
    route::check(plan.spec(), &with)?;
    pairs::check(&source, plan.spec(), &with)?;
    let mut learning = Learning::new(&source, &with, plan.spec(), watch);
    learning.model(dir, &mut journal)?;
    let mut seconds = learning.seconds;
    seconds.total = clock.elapsed().as_secs_f64();
    Ok(TrainReport {
        trained_on: journal.trained_on,
        objective: learning.objective,
        epochs: learning.epochs,
        pairs: learning.pairs,
        router: learning.router,
        bytes: journal.model.map_or(0, |m| m.bytes),
        before: false,
        seconds,
    })
}

impl Plan {
    /// Its parameters with what was read for them; `there` is what it trains on.
    fn with(&self, read: &RunParams, there: &[There]) -> Result<BuildParams> {
        let captions = read.captions.clone().map(|c| self.among(c, there)).transpose()?;
        let (model, queries) = (read.model.clone(), read.queries.clone());
        Ok(BuildParams { model, queries, captions, ..self.params().clone() })
    }

    /// Captions count their images among the rows of all inputs: here among those that are trained on. Captions of others are
    /// left out.
    fn among(&self, mut captions: Captions, there: &[There]) -> Result<Captions> {
        let Some(pairs) = &mut captions.pairs else { return Ok(captions) };
        let (mut starts, mut first) = (HashMap::new(), 0);
        for input in self.inputs() {
            starts.insert(input.file.as_str(), first);
            first += input.rows;
        }
        // rows of the plan, and where they stand among those trained on
        let (mut ranges, mut place) = (Vec::new(), 0);
        for (piece, _) in there {
            if let Some(start) = starts.get(self.training()[piece.input].file.as_str()) {
                ranges.push((start + piece.skip..start + piece.skip + piece.rows, place));
            }
            place += piece.rows;
        }
        ranges.sort_unstable_by_key(|r| r.0.start);
        for (i, image) in pairs.iter_mut().enumerate() {
            let Some(row) = *image else { continue };
            if row >= self.len() {
                let what = format!("rows below {}, the rows of all inputs", self.len());
                return Err(Error::param("pairs", format!("row {row} for caption {i}"), what));
            }
            let at = ranges.partition_point(|r| r.0.end <= row);
            *image = ranges.get(at).filter(|r| r.0.contains(&row)).map(|r| r.1 + row - r.0.start);
        }
        Ok(captions)
    }
}

/// Makes the folders of a job, or refuses what is there.
fn prepare(plan: &Plan, dir: &Path) -> Result<()> {
    match standing(plan, dir)? {
        Standing::Foreign => return Err(Error::format(dir, "an index is there; a job needs a folder of its own")),
        Standing::Open | Standing::Committed { .. } | Standing::Broken { .. } => build::is_ours(dir)?,
    }
    disk::create_folder(&dir.join(SEGMENTS))?;
    disk::create_folder(&dir.join(JOB))
}

/// Whether a part needs no more work: its receipt is there and fits the plan, the model and its files, of which `quick` reads
/// only the beginning. One that was made without a file that is there now does, until the index is committed.
///
/// # Errors
/// No model yet, a part that the plan does not have.
pub fn finished(plan: &Plan, dir: &Path, part: usize, files: &dyn Inputs, params: &RunParams) -> Result<bool> {
    plan.rows_of_part(part)?;
    Ok(receipt_of(plan, dir, part, files, params)?.is_some())
}

fn receipt_of(plan: &Plan, dir: &Path, part: usize, files: &dyn Inputs, params: &RunParams) -> Result<Option<Receipt>> {
    let model = receipt::model_of(plan, dir)?;
    let standing = standing(plan, dir)?;
    let found = standing.receipt(plan, dir, part, Some(&model), !params.quick).unwrap_or(None);
    Ok(found.filter(|r| standing.committed() || !has_come(plan, files, r)))
}

/// Whether a file that a part was made without is there now.
fn has_come(plan: &Plan, files: &dyn Inputs, done: &Receipt) -> bool {
    let mut wanted = pieces(plan.inputs(), done.rows[0]..done.rows[1]);
    wanted.retain(|p| done.missing.iter().any(|m| m.file == plan.inputs()[p.input].file));
    // what is wrong with it in another way is for the run to say
    look(files, plan.inputs(), &wanted, plan.dim(), plan.ids()).map_or(true, |(there, _)| !there.is_empty())
}

/// Stores the rows of a part: transform, list, code, segments, receipt.
///
/// Killed, it goes on after its last finished segment. Two runs of a part at the same time, on any machines, give the same bytes
/// under the same names. A part that is finished is left as it is; one that is damaged is done again,
/// and, before the index is committed, one that lacks a file that is there now. Memory: codes and
/// refinement vectors of a segment, see [`BuildParams::memory_limit`].
///
/// # Errors
/// No model yet; inputs that are missing, short or not as planned; rows that cannot be ranked; what writing gives;
/// [`Error::Stopped`].
pub fn run(
    plan: &Plan,
    dir: &Path,
    part: usize,
    files: &dyn Inputs,
    params: &RunParams,
    watch: &dyn Watch,
) -> Result<PartReport> {
    let clock = Instant::now();
    let rows = plan.rows_of_part(part)?;
    if let Some(done) = receipt_of(plan, dir, part, files, params)? {
        return Ok(PartReport { before: true, ..report(&done) });
    }
    let entry = receipt::model_of(plan, dir)?;
    for folder in [SEGMENTS, JOB] {
        disk::create_folder(&dir.join(folder))?;
        disk::remove_abandoned(&dir.join(folder))?;
    }
    let wanted = pieces(plan.inputs(), rows.clone());
    let (there, missing) = present(plan, files, plan.inputs(), &wanted, params.allow_missing)?;
    let made_by = inputs::made_by(plan.inputs(), &there)?;
    let model = model::load(dir, &entry, plan.spec(), plan.params().metric, plan.dim())?;
    let work = Work { plan, dir, part, model: &model, entry: &entry };
    let source = PartSource::new(files, plan.inputs(), there.iter().map(|t| t.0).collect(), plan.dim());
    let (mut seconds, mut journal) = (Seconds::default(), work.journal(&source, &there, &missing, watch)?);
    let resumed = journal.next_row;
    let inputs = work.store(&source, &there, &mut journal, &mut seconds, watch)?;
    let receipt = Receipt {
        plan: Digest(plan.digest()),
        part,
        rows: [rows.start, rows.end],
        model: entry.clone(),
        segments: journal.segments.clone(),
        skipped: journal.skipped,
        inputs,
        missing,
        made_by,
    };
    receipt.save(dir)?;
    disk::remove_file(&dir.join(&journal.file))?;
    seconds.total = clock.elapsed().as_secs_f64();
    Ok(PartReport { seconds, resumed, ..report(&receipt) })
}

fn report(r: &Receipt) -> PartReport {
    PartReport {
        part: r.part,
        n: r.stored().unwrap_or(0),
        skipped: r.skipped,
        missing: r.missing.clone(),
        bytes: r.bytes(),
        segments: r.segments.len(),
        ..PartReport::default()
    }
}

/// The files that are as planned, and those that are not, where these may be left out.
fn present(
    plan: &Plan,
    files: &dyn Inputs,
    inputs: &[Input],
    wanted: &[Piece],
    allow_missing: bool,
) -> Result<(Vec<There>, Vec<Missing>)> {
    let (there, missing) = look(files, inputs, wanted, plan.dim(), plan.ids())?;
    match missing.first() {
        Some(first) if !(allow_missing || plan.allows_missing()) => {
            let more = if missing.len() > 1 { format!(" (and {} more files)", missing.len() - 1) } else { String::new() };
            let what = format!("{}{more}; --allow-missing leaves such files out and lists them", first.what);
            Err(Error::format(&first.file, what))
        }
        _ => Ok((there, missing)),
    }
}

/// A part and what it is stored with.
struct Work<'a> {
    plan: &'a Plan,
    dir: &'a Path,
    part: usize,
    model: &'a Model,
    entry: &'a FileEntry,
}

impl Work<'_> {
    /// The journal of an earlier run of the same work, or a new one. What was stored counts only where it came from the files as
    /// they are now.
    fn journal(&self, source: &PartSource<'_>, there: &[There], missing: &[Missing], watch: &dyn Watch) -> Result<Journal> {
        let without: Vec<&str> = missing.iter().map(|m| m.file.as_str()).collect();
        let key = format!("part {} {:x} {:x} {without:?}", self.part, self.plan.digest(), self.entry.digest.0);
        let (file, key) = (receipt::journal_of(self.part), xxh3_64(key.as_bytes()));
        let mut j = Journal::resume_file(self.dir, &file, key, GENERATION);
        if !source.unchanged(there, j.next_row, &j.inputs, watch)? {
            j = Journal::begin(&file, key, GENERATION);
        }
        j.model = Some(self.entry.clone());
        // the segments of all parts are numbered as those of one build would be
        let params = self.plan.params();
        let most = rows_a_segment(self.model, self.plan.dim(), params.segment_rows, params.memory_limit);
        j.first_segment = 0;
        for before in 0..self.part {
            let rows = self.plan.rows_of_part(before)?;
            j.first_segment += (rows.end - rows.start).div_ceil(most);
        }
        Ok(j)
    }

    fn store(
        &self,
        source: &PartSource<'_>,
        there: &[There],
        journal: &mut Journal,
        seconds: &mut Seconds,
        watch: &dyn Watch,
    ) -> Result<Vec<Read>> {
        let (plan, params) = (self.plan, self.plan.params());
        let ids = source.row_ids(plan.ids(), plan.first_id())?;
        let shape = Shape { d: plan.dim(), nlist: plan.spec().nlist(), metric: params.metric, ids: plan.ids() };
        let job = Job {
            dir: self.dir,
            source,
            whole: None,
            model: self.model,
            shape,
            ids: &ids,
            inputs: Some(&|end| source.inputs_before(end)),
            on_bad: params.on_bad,
            segment_rows: params.segment_rows,
            memory_limit: params.memory_limit,
        };
        let ((), read) = source.with_digests(there, journal.inputs.clone(), watch, || job.run(journal, seconds, watch))?;
        Ok(read)
    }
}

/// Whether the ids of a plan are strings; for those who only look.
pub(super) fn strings(plan: &Plan) -> bool {
    plan.ids() == IdKind::Strings
}
