//! Reading every byte of an index.

use super::blocks::Blocks;
use super::deleted::Deleted;
use super::ingest::JOURNAL;
use super::manifest::{IdKind, Manifest, SEGMENTS, SegmentEntry};
use super::model::{self, Model};
use super::opened::{self, leftovers};
use super::params::{Problem, VerifyReport};
use super::segment::{self, Rows, Segment, Shape, fact};
use super::targets::Calibration;
use crate::{Error, Metric, Result, Vectors, Watch, screen};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use voisin_kernels::dot_f64;

/// Reads everything that belongs to an index and lists what is wrong: checksums, tables that contradict each other, ids
/// that stand twice, vectors that cannot be ranked, files that nobody names.
///
/// # Errors
/// If the folder holds no index or its manifest is damaged or of a newer format; [`Error::Stopped`].
pub fn verify(dir: &Path, watch: &dyn Watch) -> Result<VerifyReport> {
    let manifest = Manifest::load(dir)?;
    let mut v = Verifying { report: VerifyReport::default(), seen: HashSet::new() };
    let spec = manifest.parsed_spec()?;
    watch.begin("verify", manifest.bytes(), "bytes");
    let model_path = dir.join(&manifest.model.file);
    let loaded = model::load(dir, &manifest.model, &spec, manifest.metric, manifest.d);
    let model = match loaded.and_then(|m| Ok((m, model::check(dir, &manifest.model)?))) {
        Ok((m, wrong)) => {
            v.all(&model_path, wrong);
            Some(Arc::new(m))
        }
        Err(e) => {
            v.problem(&model_path, e);
            None
        }
    };
    v.read(manifest.model.bytes, watch);
    if let Some(entry) = &manifest.calibration {
        if let Err(e) = Calibration::load(dir, entry) {
            v.problem(&dir.join(&entry.file), e);
        }
        v.read(entry.bytes, watch);
    }
    for entry in &manifest.segments {
        watch.check()?;
        let path = dir.join(SEGMENTS).join(&entry.at.file);
        if let Err(e) = v.segment(dir, &manifest, entry, opened::shape(&manifest, &spec), model.as_ref()) {
            v.problem(&path, e);
        }
        v.read(entry.at.bytes, watch);
    }
    if !dir.join(JOURNAL).exists() {
        v.report.leftovers = leftovers(dir, &manifest.files());
    }
    watch.end();
    Ok(v.report)
}

impl Problem {
    /// What an error says of a file, or of the folder of an index.
    pub fn new(path: &Path, e: Error) -> Problem {
        let what = match e {
            Error::Corrupt { what, .. } => what,
            Error::Io { source, .. } => source.to_string(),
            e => e.to_string(),
        };
        Problem { path: path.to_owned(), what }
    }
}

struct Verifying {
    report: VerifyReport,
    /// Ids of living vectors.
    seen: HashSet<u64>,
}

impl Verifying {
    fn problem(&mut self, path: &Path, e: Error) {
        self.report.problems.push(Problem::new(path, e));
    }

    fn all(&mut self, path: &Path, wrong: Vec<Error>) {
        wrong.into_iter().for_each(|e| self.problem(path, e));
    }

    fn read(&mut self, bytes: u64, watch: &dyn Watch) {
        self.report.files += 1;
        self.report.bytes += bytes;
        watch.advance(bytes);
    }

    fn segment(
        &mut self,
        dir: &Path,
        manifest: &Manifest,
        entry: &SegmentEntry,
        shape: Shape,
        model: Option<&Arc<Model>>,
    ) -> Result<()> {
        let folder = dir.join(SEGMENTS);
        let path = folder.join(&entry.at.file);
        let mut deleted = Deleted::default();
        if let Some(d) = &entry.deleted {
            let path = folder.join(&d.at.file);
            match Deleted::check(&folder, d, entry.rows).and_then(|wrong| Ok((wrong, Deleted::load(&folder, d, entry.rows)?))) {
                Ok((wrong, loaded)) => {
                    self.all(&path, wrong);
                    deleted = loaded;
                }
                Err(e) => self.problem(&path, e),
            }
            self.report.files += 1;
        }
        let Some(model) = model else {
            // without its model nothing but the checksums can be compared
            self.all(&path, Blocks::open_known(&path, segment::MAGIC, entry.at.bytes, entry.at.digest.0)?.check_all());
            return Ok(());
        };
        let segment = Segment::open(&folder, entry, shape, model)?;
        self.report.vectors += entry.rows;
        let wrong = segment.blocks.check_all();
        if !wrong.is_empty() {
            // whatever else would be found in it is the same damage
            self.all(&path, wrong);
            return Ok(());
        }
        let mut counts = Counts::default();
        for r in 0..segment.runs().len() {
            if let Err(e) = counts.run(&segment, r, shape, model) {
                self.problem(&path, e);
            }
        }
        let Counts { bad, wrong, bad_refine } = counts;
        for (count, what) in [
            (bad, "vectors cannot be ranked (NaN, infinite or zero)"),
            (wrong, "vectors have another norm than is said of them"),
            (bad_refine, "refine vectors cannot be ranked (NaN or infinite)"),
        ] {
            if count > 0 {
                self.problem(&path, Error::corrupt(&path, format!("{count} {what}")));
            }
        }
        self.lookups(&segment, &deleted, &path, manifest.ids)
    }

    /// Every row must be found again by its number and its string, and stand in the index once.
    fn lookups(&mut self, segment: &Segment, deleted: &Deleted, path: &Path, kind: IdKind) -> Result<()> {
        let ids = segment.ids()?;
        let (mut lost, mut twice) = (0u64, 0u64);
        for (row, id) in ids.enumerate() {
            lost += (segment.find(id)? != Some(row)) as u64;
            if kind == IdKind::Strings {
                let string = segment.string(row)?.unwrap_or_default();
                lost += (segment.find_string(string)? != Some(row)) as u64;
            }
            twice += (!deleted.contains(row) && !self.seen.insert(id)) as u64;
        }
        for (count, what) in [(lost, "vectors are not found by their id"), (twice, "ids stand in the index twice")] {
            if count > 0 {
                self.problem(path, Error::corrupt(path, format!("{count} {what}")));
            }
        }
        Ok(())
    }
}

/// Rows that cannot be as they are, by what is wrong with them.
#[derive(Default)]
struct Counts {
    bad: u64,
    wrong: u64,
    bad_refine: u64,
}

impl Counts {
    fn run(&mut self, segment: &Segment, r: usize, shape: Shape, model: &Model) -> Result<()> {
        let rows = segment.visit(r)?;
        if model.codec.decodes() {
            let (decoded, d) = (segment.decode(r), model.code_d(shape.d));
            // only a vector that is kept as it came can be asked for a direction
            let metric = if model.codes_are_vectors() { shape.metric } else { Metric::L2 };
            self.bad += screen(Vectors::new(&decoded, d), metric).len() as u64;
            self.wrong += facts_that_are_wrong(&rows, Vectors::new(&decoded, d), shape.metric);
        }
        let mut row = vec![0.0; shape.d];
        for i in rows.run.range().filter(|_| model.refine.is_some()) {
            model.refine.decode(segment.visit_refine(i)?, &mut row);
            self.bad_refine += row.iter().any(|x| !x.is_finite()) as u64;
        }
        Ok(())
    }
}

/// Rows whose norm is not what the segment says of it.
fn facts_that_are_wrong(rows: &Rows<'_>, decoded: Vectors<'_>, metric: Metric) -> u64 {
    let wrong = |(i, x): (usize, &[f32])| {
        let norm = dot_f64(x, x);
        rows.facts.get(i).is_some_and(|f| *f != fact(metric, norm)) || (norm.sqrt() as f32) > rows.run.reach
    };
    decoded.iter().enumerate().filter(|&r| wrong(r)).count() as u64
}
