//! Building an index: choose, read, train, store, and put the manifest in place.

use super::ingest::{Job, Journal, Loaded, RowIds, directed, load, segment_rows};
use super::manifest::{FORMAT, IdKind, MANIFEST, Manifest, SEGMENTS};
use super::params::{BuildParams, BuildReport, IdList, Ids, Seconds};
use super::segment::Shape;
use super::{disk, model, opened};
use crate::partition::{Centroids, Epoch, KMeansParams, Partition, TrainParams, kmeans, sample, train_mlp};
use crate::{Error, PartitionSpec, Result, Source, Spec, Vectors, Watch};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Below this many rows `Flat` is chosen.
const FLAT_BELOW: u64 = 20_000;
/// Bytes of vectors that may be held in memory at once. k-means and unit lengths need as much again each.
fn held(memory_limit: Option<u64>) -> u64 {
    memory_limit.map_or(2 << 30, |l| l / 4)
}

/// Builds an index of `base` in the folder `dir`.
///
/// An index that is there stays readable until the new one is complete, and is replaced by it. A build that was killed
/// goes on after its last finished file when it is started again; the outcome is the same, byte for byte. Memory: the
/// rows where they fit a quarter of the limit (2 GiB without one), otherwise the training sample or two segments.
///
/// # Errors
/// No rows, rows that cannot be ranked, more lists than rows, a model that does not fit, ids that stand twice, a folder
/// that is something else, what reading and writing give, [`Error::Stopped`].
///
/// # Example
/// ```
/// use voisin::{Index, Matrix, MemSource, Quiet, SearchParams, index};
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// let base = MemSource::new("base", Matrix::new(vec![0.0, 0.0, 3.0, 4.0, 6.0, 8.0], 2));
/// index::build(&base, &dir.join("points"), &index::BuildParams::default(), &Quiet)?;
/// let index = Index::open(dir.join("points"))?;
/// let query = Matrix::new(vec![3.0, 3.0], 2);
/// let found = index.search(query.view(), &SearchParams { k: 2, ..Default::default() })?.neighbors;
/// assert_eq!(found.ids(0), [1, 0]);
/// # Ok::<(), voisin::Error>(())
/// ```
pub fn build(base: &dyn Source, dir: &Path, params: &BuildParams, watch: &dyn Watch) -> Result<BuildReport> {
    let clock = Instant::now();
    let (spec, reason) = choose(base, params)?;
    check(base, &spec, params)?;
    let folder = Folder::prepare(dir)?;
    let done = run(base, dir, params, &spec, reason, watch);
    if done.is_err() {
        folder.undo();
    }
    let mut report = done?;
    report.seconds.total = clock.elapsed().as_secs_f64();
    Ok(report)
}

fn choose(base: &dyn Source, params: &BuildParams) -> Result<(Spec, Option<String>)> {
    if base.is_empty() || base.dim() == 0 {
        return Err(Error::Empty { name: base.name() });
    }
    let n = base.len();
    Ok(match &params.spec {
        Some(spec) => (spec.clone(), None),
        None if n < FLAT_BELOW => (Spec::flat(), Some(format!("{n} vectors: below {FLAT_BELOW} an exact scan is fastest"))),
        None => {
            let nlist = (4.0 * (n as f64).sqrt()).round() as usize;
            (Spec::ivf(nlist), Some(format!("{n} vectors: about 4·sqrt(n) k-means lists")))
        }
    })
}

fn check(base: &dyn Source, spec: &Spec, params: &BuildParams) -> Result<()> {
    let (n, nlist) = (base.len(), spec.nlist());
    if let Some(m) = &params.model {
        if !matches!(spec.partition, PartitionSpec::Learned { .. }) {
            return Err(Error::param("model", spec, "a model goes with a learned index, LMI"));
        }
        if m.d() != base.dim() {
            let context = format!("{} has {}", base.name(), base.dim());
            return Err(Error::Dimension { name: "model".into(), expected: base.dim(), got: m.d(), context });
        }
        if m.nlist() != nlist {
            return Err(Error::param(
                "model",
                format!("{} outputs", m.nlist()),
                format!("{nlist} lists are asked for by {spec}"),
            ));
        }
    } else if nlist as u64 > n {
        return Err(Error::param("index", spec, format!("at most as many lists as vectors, {n}")));
    }
    if params.train_size.is_some_and(|t| t < nlist as u64) {
        let got = params.train_size.unwrap_or_default();
        return Err(Error::param("train-size", got, format!("at least the number of lists, {nlist}")));
    }
    Ok(())
}

/// The folder of an index, made if it is not there.
struct Folder<'a> {
    dir: &'a Path,
    lock: disk::Lock,
    made: bool,
}

impl<'a> Folder<'a> {
    fn prepare(dir: &'a Path) -> Result<Folder<'a>> {
        let made = !dir.exists();
        if !made {
            is_ours(dir)?;
        }
        disk::create_folder(dir)?;
        let lock = disk::lock(dir)?;
        disk::create_folder(&dir.join(SEGMENTS))?;
        Ok(Folder { dir, lock, made })
    }

    /// After an error: leaves no empty folder behind where there was none, and keeps whatever can be resumed.
    fn undo(self) {
        let resumable = self.dir.join(super::ingest::JOURNAL).exists() || self.dir.join(MANIFEST).exists();
        if self.made && !resumable && !disk::crashed() {
            let _ = std::fs::remove_file(self.dir.join(disk::LOCK));
            let _ = std::fs::remove_dir(self.dir.join(SEGMENTS));
            let _ = std::fs::remove_dir(self.dir);
        }
        drop(self.lock);
    }
}

/// Refuses a folder with anything in it that no build of ours puts there.
fn is_ours(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        return Err(Error::format(dir, "exists and is not a folder; an index is a folder"));
    }
    if dir.join(MANIFEST).exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = [disk::LOCK, SEGMENTS, super::ingest::JOURNAL].contains(&name.as_str())
            || name.ends_with(disk::TEMPORARY)
            || name.starts_with("model") && name.ends_with(".vsn");
        if !known {
            return Err(Error::format(dir, format!("exists and is no index (there is {name} in it); choose another folder")));
        }
    }
    Ok(())
}

fn run(
    base: &dyn Source,
    dir: &Path,
    params: &BuildParams,
    spec: &Spec,
    reason: Option<String>,
    watch: &dyn Watch,
) -> Result<BuildReport> {
    let (n, d) = (base.len(), base.dim());
    let old = match Manifest::load(dir) {
        Err(e @ Error::NewerFormat { .. }) => return Err(e),
        Err(_) if dir.join(MANIFEST).exists() => None,
        Err(_) => None,
        Ok(m) => Some(m),
    };
    let generation = old.as_ref().map_or_else(|| after_all_files(dir), |m| m.generation + 1);
    let ids = row_ids(base, &params.ids, 0)?;
    let rows_a_segment = segment_rows(params.segment_rows, d, params.memory_limit)?;
    let mut journal = Journal::resume(dir, key(base, params, spec, &ids, rows_a_segment), generation);
    if let Some(old) = &old {
        opened::clean(dir, &[old.files(), journal.files()].concat())?;
    } else if !dir.join(MANIFEST).exists() {
        opened::clean(dir, &journal.files())?;
    }
    let resumed = journal.next_row;
    let mut build =
        Building { base, params, spec, watch, seconds: Seconds::default(), whole: None, objective: vec![], epochs: vec![] };
    let partition = build.partition(dir, &mut journal)?;
    let shape = Shape { d, nlist: spec.nlist(), metric: params.metric, ids: ids.kind() };
    let mut seconds = build.seconds;
    Job {
        dir,
        source: base,
        whole: build.whole.as_ref(),
        partition: &partition,
        shape,
        ids: &ids,
        on_bad: params.on_bad,
        segment_rows: rows_a_segment,
    }
    .run(&mut journal, &mut seconds, watch)?;
    if journal.segments.is_empty() {
        // nothing could be ranked: what the journal names is of no use
        Journal::end(dir, &old.map_or_else(Vec::new, |m| m.files()))?;
        return Err(Error::Empty { name: base.name() });
    }
    let start = Instant::now();
    let manifest = Manifest {
        format: FORMAT,
        spec: spec.to_string(),
        reason: reason.clone(),
        metric: params.metric,
        d,
        n: journal.segments.iter().map(|s| s.rows).sum(),
        ids: ids.kind(),
        next_id: ids.next(n),
        generation,
        model: journal.model.clone().expect("written before the segments"),
        segments: journal.segments.clone(),
    };
    manifest.save(dir)?;
    Journal::end(dir, &manifest.files())?;
    seconds.write += start.elapsed().as_secs_f64();
    Ok(BuildReport {
        spec: spec.clone(),
        reason,
        metric: params.metric,
        n: manifest.n,
        d,
        skipped: journal.skipped,
        trained_on: journal.trained_on,
        objective: build.objective,
        epochs: build.epochs,
        seconds,
        bytes: manifest.bytes(),
        resumed,
        segments: manifest.segments.len(),
    })
}

/// A generation above those in the names of all files, for a folder whose manifest cannot be read.
fn after_all_files(dir: &Path) -> u64 {
    let names = opened::leftovers(dir, &[]);
    if !dir.join(MANIFEST).exists() {
        return 1;
    }
    let number = |p: &std::path::PathBuf| -> Option<u64> {
        let name = p.file_name()?.to_string_lossy().into_owned();
        let digits: String = name.trim_start_matches("model.").chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    names.iter().filter_map(number).max().unwrap_or(0).saturating_add(1).max(2)
}

/// Everything that decides about the bytes of an index.
fn key(base: &dyn Source, params: &BuildParams, spec: &Spec, ids: &RowIds, segment_rows: u64) -> u64 {
    let model = params.model.as_ref().map(|m| {
        let all = m.layers().iter().flat_map(|l| [l.weight.data(), &l.bias]);
        all.map(|v| xxh3_64(bytemuck::cast_slice(v))).collect::<Vec<u64>>()
    });
    let first = match ids {
        RowIds::Count { first } => format!("from {first}"),
        RowIds::Numbers(n) => format!("numbers {:x}", xxh3_64(bytemuck::cast_slice(n))),
        RowIds::Strings { strings, .. } => {
            format!("strings {:x}", strings.iter().fold(0u64, |h, s| xxh3_64(s.as_bytes()) ^ h.rotate_left(1)))
        }
    };
    let (source, rows, d) = (base.name(), base.len(), base.dim());
    let text = format!(
        "{FORMAT} {} {source} {rows} {d} {:x} {spec} {} {} {:?} {:?} {:?} {:?} {model:?} {first} {segment_rows} {:?}",
        env!("CARGO_PKG_VERSION"),
        base.fingerprint(),
        params.metric,
        params.seed,
        params.on_bad,
        params.kmeans,
        params.train,
        params.train_size,
        params.memory_limit,
    );
    xxh3_64(text.as_bytes())
}

/// The ids of a source's rows, each of them once; numbers count from `first`.
pub(super) fn row_ids(source: &dyn Source, ids: &Ids, first: u64) -> Result<RowIds> {
    let given = match ids {
        Ids::Count => return Ok(RowIds::Count { first }),
        Ids::FromSource => match source.ids()? {
            None => return Ok(RowIds::Count { first }),
            Some(strings) => IdList::Strings(strings),
        },
        Ids::Given(list) => list.clone(),
    };
    if given.len() as u64 != source.len() {
        return Err(Error::param("ids", given.len(), format!("one a row of {}, {}", source.name(), source.len())));
    }
    let twice = |a: usize, b: usize| {
        let (name, row) = source.locate(b as u64);
        let (_, earlier) = source.locate(a as u64);
        let what = format!("stands twice: rows {earlier} and {row} of {name}");
        Err(Error::Id { id: given.text(b), what })
    };
    match &given {
        IdList::Numbers(n) => {
            let mut seen = HashMap::with_capacity(n.len());
            for (i, &x) in n.iter().enumerate() {
                if x > i64::MAX as u64 {
                    return Err(Error::Id { id: x.to_string(), what: "above 2^63 - 1, which result files cannot hold".into() });
                }
                if let Some(a) = seen.insert(x, i) {
                    return twice(a, i);
                }
            }
        }
        IdList::Strings(s) => {
            let mut seen = HashMap::with_capacity(s.len());
            for (i, x) in s.iter().enumerate() {
                if let Some(a) = seen.insert(x, i) {
                    return twice(a, i);
                }
            }
        }
    }
    Ok(match given {
        IdList::Numbers(n) => RowIds::Numbers(n),
        IdList::Strings(strings) => {
            let numbers = (first..first + strings.len() as u64).collect();
            RowIds::Strings { strings, numbers }
        }
    })
}

struct Building<'a> {
    base: &'a dyn Source,
    params: &'a BuildParams,
    spec: &'a Spec,
    watch: &'a dyn Watch,
    seconds: Seconds,
    /// The rows, where all of them fit in memory.
    whole: Option<Loaded>,
    objective: Vec<f64>,
    epochs: Vec<Epoch>,
}

impl Building<'_> {
    /// The partition, trained now or by the run that is resumed.
    fn partition(&mut self, dir: &Path, journal: &mut Journal) -> Result<Partition> {
        let (params, d) = (self.params, self.base.dim());
        if journal.next_row < self.base.len() {
            self.hold()?;
        }
        if let Some(entry) = &journal.model {
            return model::load(dir, entry, self.spec, params.metric, d);
        }
        let (partition, trained_on) = match &self.spec.partition {
            PartitionSpec::One => (Partition::One, 0),
            PartitionSpec::Learned { .. } if params.model.is_some() => {
                (Partition::Learned(params.model.clone().expect("just looked")), 0)
            }
            _ => self.train()?,
        };
        let file = if journal.generation == 1 { "model.vsn".to_owned() } else { format!("model.{:05}.vsn", journal.generation) };
        let start = Instant::now();
        journal.model = Some(model::save(&partition, dir, &file)?);
        journal.trained_on = trained_on;
        journal.save(dir)?;
        self.seconds.write += start.elapsed().as_secs_f64();
        Ok(partition)
    }

    /// Reads all rows where they fit.
    fn hold(&mut self) -> Result<()> {
        let (n, d) = (self.base.len(), self.base.dim() as u64);
        if n.checked_mul(4 * d).is_none_or(|bytes| bytes > held(self.params.memory_limit)) {
            return Ok(());
        }
        let start = Instant::now();
        self.watch.begin("read", n, "vectors");
        self.whole = Some(load(self.base, 0..n, self.params.metric, self.params.on_bad, self.watch)?);
        self.watch.end();
        self.seconds.read += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn train(&mut self) -> Result<(Partition, u64)> {
        let (params, nlist, metric, d) = (self.params, self.spec.nlist(), self.params.metric, self.base.dim());
        let learned = matches!(self.spec.partition, PartitionSpec::Learned { .. });
        let fits = (held(params.memory_limit) / (4 * d as u64)).max(nlist as u64);
        let usual = if learned { u64::MAX } else { 256 * nlist as u64 };
        let wanted = params.train_size.unwrap_or(usual.min(fits));
        let start = Instant::now();
        let whole = self.whole.take();
        let drawn;
        let rows: Cow<'_, [f32]> = match &whole {
            Some(w) if wanted >= w.rows.n() as u64 => directed(w.rows.view(), metric),
            Some(w) => {
                drawn = sample(&Held(w, self.base), wanted, params.seed, metric, params.on_bad, &crate::Quiet)?;
                Cow::Borrowed(drawn.rows.data())
            }
            None => {
                drawn = sample(self.base, wanted, params.seed, metric, params.on_bad, self.watch)?;
                Cow::Borrowed(drawn.rows.data())
            }
        };
        let spent = start.elapsed().as_secs_f64();
        *(if whole.is_some() { &mut self.seconds.encode } else { &mut self.seconds.read }) += spent;
        let start = Instant::now();
        let rows = Vectors::new(&rows, d);
        if rows.n() < nlist {
            return Err(Error::param(
                "index",
                self.spec,
                format!("at most as many lists as vectors that can be ranked, {}", rows.n()),
            ));
        }
        let k = KMeansParams { k: nlist, seed: params.seed, ..params.kmeans.clone() };
        let clusters = kmeans(rows, &k, self.watch)?;
        self.objective = clusters.objective;
        let partition = match &self.spec.partition {
            PartitionSpec::Learned { hidden, .. } => {
                let hidden = hidden.clone().unwrap_or_else(|| params.train.hidden.clone());
                let t = TrainParams { hidden, seed: params.seed, train_size: None, ..params.train.clone() };
                let trained = train_mlp(rows, &clusters.assignment, nlist, &t, self.watch)?;
                self.epochs = trained.epochs;
                Partition::Learned(trained.mlp)
            }
            _ => Partition::KMeans(Centroids::new(clusters.centroids, metric)),
        };
        self.seconds.train += start.elapsed().as_secs_f64();
        let trained_on = rows.n() as u64;
        self.whole = whole;
        Ok((partition, trained_on))
    }
}

/// Rows in memory as a source.
struct Held<'a>(&'a Loaded, &'a dyn Source);

impl Source for Held<'_> {
    fn len(&self) -> u64 {
        self.0.rows.n() as u64
    }
    fn dim(&self) -> usize {
        self.0.rows.d()
    }
    fn name(&self) -> String {
        self.1.name()
    }
    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let at = start as usize * self.dim();
        out.copy_from_slice(&self.0.rows.data()[at..at + out.len()]);
        Ok(())
    }
}

/// Whether ids of one kind can join an index of another.
pub(super) fn same_kind(index: IdKind, given: IdKind) -> Result<()> {
    if index == given {
        return Ok(());
    }
    let expected = format!("{}, as in the index", index.name());
    Err(Error::param("ids", given.name(), expected))
}
