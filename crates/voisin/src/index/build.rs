//! Building an index: choose, read, train, store, and put the manifest in place.

use super::default::default_spec;
use super::ingest::{Journal, RowIds};
use super::job::JOB;
use super::learn::Learning;
use super::manifest::{FORMAT, IdKind, MANIFEST, Manifest, SEGMENTS};
use super::params::{BuildParams, BuildReport, IdList, Ids};
use super::segment::Shape;
use super::store::{Job, check_segment_rows};
use super::{calibrate, disk, opened, pairs, route};
use crate::{Error, LayerId, PartitionSpec, Result, Source, Spec, TransformSpec, Watch};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Builds an index of `base` in the folder `dir`.
///
/// An index that is there stays readable until the new one is complete, and is replaced by it. A build that was killed
/// goes on after its last finished file when it is started again; the outcome is the same, byte for byte. Memory: the
/// rows where they fit a quarter of the limit (2 GiB without one), otherwise the training sample, or the codes and
/// refinement vectors of a segment.
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
    let size = Size { n: base.len(), d: base.dim(), name: &base.name(), layer: base.layer() };
    let (spec, reason) = choose(&size, params)?;
    check(&size, &spec, params)?;
    calibrate::check_queries(base, params)?;
    route::check(&spec, params)?;
    pairs::check(base, &spec, params)?;
    let folder = Folder::prepare(dir)?;
    let done = run(base, dir, params, &spec, reason, watch);
    if done.is_err() {
        folder.undo();
    }
    let mut report = done?;
    report.seconds.total = clock.elapsed().as_secs_f64();
    Ok(report)
}

pub(super) fn choose(base: &Size<'_>, params: &BuildParams) -> Result<(Spec, Option<String>)> {
    if base.n == 0 || base.d == 0 {
        return Err(Error::Empty { name: base.name.to_owned() });
    }
    let n = base.n;
    if let Some(like) = &params.like {
        let other = Manifest::load(like)?;
        let name = |what: String| Error::Unlike { path: like.clone(), what };
        other.check_layer(like, base.layer.as_ref(), base.name)?;
        if other.d != base.d {
            let context = format!("the index {}", like.display());
            return Err(Error::Dimension { name: base.name.to_owned(), expected: other.d, got: base.d, context });
        }
        if other.metric != params.metric {
            return Err(name(format!("built for metric {}, where {} is asked for", other.metric, params.metric)));
        }
        let spec = other.parsed_spec()?;
        return match &params.spec {
            Some(asked) if *asked != spec => Err(name(format!("its spec is {spec}, where {asked} is asked for"))),
            _ => Ok((spec, None)),
        };
    }
    Ok(match &params.spec {
        Some(spec) => (spec.clone(), None),
        None => {
            let (spec, reason) = default_spec(n, base.d, params.metric);
            (spec, Some(reason))
        }
    })
}

/// What is built from, in numbers.
pub(super) struct Size<'a> {
    pub(super) n: u64,
    pub(super) d: usize,
    pub(super) name: &'a str,
    pub(super) layer: Option<LayerId>,
}

pub(super) fn check(base: &Size<'_>, spec: &Spec, params: &BuildParams) -> Result<()> {
    let (n, nlist) = (base.n, spec.nlist());
    if params.first_id.checked_add(n).is_none_or(|end| end > i64::MAX as u64) {
        return Err(Error::param("first-id", params.first_id, "numbers up to 2^63 - 1, which result files can hold"));
    }
    if params.like.is_some() {
        return if params.model.is_some() {
            Err(Error::param("model", "a file", "a model, or an index to be like, not both"))
        } else {
            Ok(())
        };
    }
    let paired = matches!(spec.partition, PartitionSpec::Paired { .. });
    let (epochs, k) = (params.router.epochs, params.router.k);
    for (name, value, used) in
        [("router-epochs", epochs, spec.router), ("router-k", k, spec.router), ("paired-niter", params.paired_niter, paired)]
    {
        if used && value == 0 {
            return Err(Error::param(name, 0, "at least 1"));
        }
    }
    if let Some(m) = &params.model {
        if !matches!(spec.partition, PartitionSpec::Learned { .. }) {
            return Err(Error::param("model", spec, "a model goes with a learned index, LMI"));
        }
        let (d, context) = match spec.transform {
            Some(TransformSpec::Pca { d }) => (d, format!("PCA{d} leaves so many")),
            _ => (base.d, format!("{} has {}", base.name, base.d)),
        };
        if m.d() != d {
            return Err(Error::Dimension { name: "model".into(), expected: d, got: m.d(), context });
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
    if let Some(TransformSpec::Map { .. } | TransformSpec::Unit) = spec.transform {
        let expected = "PCA64 or OPQ16, which are trained, or the metric cosine; Map and L2norm come with files of FAISS";
        return Err(Error::param("index", spec, expected));
    }
    if let Some(TransformSpec::Pca { d }) = spec.transform
        && d > base.d
    {
        return Err(Error::param("index", spec, format!("PCA keeps at most the dimensions there are, {}", base.d)));
    }
    if params.train_size.is_some_and(|t| t < nlist as u64) {
        let got = params.train_size.unwrap_or_default();
        return Err(Error::param("train-size", got, format!("at least the number of lists, {nlist}")));
    }
    Ok(())
}

/// The folder of an index, made if it is not there.
pub(super) struct Folder<'a> {
    dir: &'a Path,
    lock: disk::Lock,
    made: bool,
}

impl<'a> Folder<'a> {
    pub(super) fn prepare(dir: &'a Path) -> Result<Folder<'a>> {
        let made = !dir.exists();
        is_ours(dir)?;
        if dir.join(JOB).exists() && !dir.join(MANIFEST).exists() {
            return Err(Error::format(dir, "a build in parts is under way in this folder; choose another one"));
        }
        disk::create_folder(dir)?;
        let lock = disk::lock(dir)?;
        disk::create_folder(&dir.join(SEGMENTS))?;
        Ok(Folder { dir, lock, made })
    }

    /// After an error: leaves no empty folder behind where there was none, and keeps whatever can be resumed.
    pub(super) fn undo(self) {
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
pub(super) fn is_ours(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.is_dir() {
        return Err(Error::format(dir, "exists and is not a folder; an index is a folder"));
    }
    if dir.join(MANIFEST).exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = [disk::LOCK, SEGMENTS, JOB, super::ingest::JOURNAL].contains(&name.as_str())
            || name.ends_with(disk::TEMPORARY)
            || name.starts_with("model") && name.ends_with(".vsn")
            || super::targets::is_file(&name);
        if !known {
            let kind = if entry.path().is_dir() { "folder" } else { "file" };
            return Err(Error::format(
                dir,
                format!("exists and is no index (it holds the {kind} \"{name}\"); choose another folder"),
            ));
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
    let ids = row_ids(base, &params.ids, params.first_id)?;
    check_segment_rows(params.segment_rows)?;
    let (old, mut journal) = standing(dir, key(base, params, spec, &ids))?;
    let generation = journal.generation;
    let resumed = journal.next_row;
    let mut learning = Learning::new(base, params, spec, watch);
    let model = learning.model(dir, &mut journal)?;
    let shape = Shape { d, nlist: spec.nlist(), metric: params.metric, ids: ids.kind() };
    let mut seconds = learning.seconds;
    Job {
        dir,
        source: base,
        whole: learning.whole.as_ref(),
        model: &model,
        shape,
        ids: &ids,
        inputs: None,
        on_bad: params.on_bad,
        segment_rows: params.segment_rows,
        memory_limit: params.memory_limit,
    }
    .run(&mut journal, &mut seconds, watch)?;
    if journal.segments.is_empty() {
        // nothing could be ranked: what the journal names is of no use
        Journal::end(dir, &old.map_or_else(Vec::new, |m| m.files()))?;
        return Err(Error::Empty { name: base.name() });
    }
    let start = Instant::now();
    let mut manifest = Manifest {
        format: FORMAT,
        spec: spec.to_string(),
        reason: reason.clone(),
        metric: params.metric,
        made_by: base.made_by(),
        d,
        n: journal.segments.iter().map(|s| s.rows).sum(),
        ids: ids.kind(),
        next_id: ids.next(n),
        generation,
        model: journal.model.clone().expect("written before the segments"),
        calibration: None,
        layer: base.layer(),
        job: None,
        missing: vec![],
        nprobe: None,
        refine: None,
        segments: journal.segments.clone(),
    };
    let calibrated = calibrate::add(dir, &mut manifest, base, learning.whole.as_ref(), &ids, params, watch)?;
    seconds.calibrate += calibrated;
    manifest.save(dir)?;
    Journal::end(dir, &manifest.files())?;
    // receipts of an index that was here before and was built in parts
    disk::remove_folder(&dir.join(JOB))?;
    seconds.write += start.elapsed().as_secs_f64() - calibrated;
    Ok(BuildReport {
        spec: spec.clone(),
        reason,
        metric: params.metric,
        n: manifest.n,
        d,
        skipped: journal.skipped,
        trained_on: journal.trained_on,
        objective: learning.objective,
        epochs: learning.epochs,
        pairs: learning.pairs,
        router: learning.router,
        seconds,
        bytes: manifest.bytes(),
        resumed,
        segments: manifest.segments.len(),
    })
}

/// What stands in a folder that is to be built over, and the journal of the work of this key; what neither names is removed.
pub(super) fn standing(dir: &Path, key: u64) -> Result<(Option<Manifest>, Journal)> {
    let old = match Manifest::load(dir) {
        Err(e @ Error::NewerFormat { .. }) => return Err(e),
        Err(_) => None,
        Ok(m) => Some(m),
    };
    let generation = old.as_ref().map_or_else(|| after_all_files(dir), |m| m.generation + 1);
    let journal = Journal::resume(dir, key, generation);
    if let Some(old) = &old {
        opened::clean(dir, &[old.files(), journal.files()].concat())?;
    } else if !dir.join(MANIFEST).exists() {
        opened::clean(dir, &journal.files())?;
    }
    Ok((old, journal))
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
fn key(base: &dyn Source, params: &BuildParams, spec: &Spec, ids: &RowIds) -> u64 {
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
    let like = params.like.as_ref().and_then(|l| Manifest::load(l).ok()).map(|m| m.model.digest.0);
    let text = format!(
        "{FORMAT} {} {source} {rows} {d} {:x} {spec} {} {} {:?} {:?} {:?} {:?} {model:?} {first} {:?} {:?}",
        env!("CARGO_PKG_VERSION"),
        base.fingerprint(),
        params.metric,
        params.seed,
        params.on_bad,
        params.kmeans,
        params.train,
        params.train_size,
        params.segment_rows,
        params.memory_limit,
    ) + &calibrate::key(params)
        + &like.map(|digest| format!(" like {digest:x}")).unwrap_or_default()
        + &if params.first_id > 0 { format!(" from {}", params.first_id) } else { String::new() }
        + &pairs::key(params)
        + &format!(" {:?}", params.router);
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
        let ((first, earlier), (name, row)) = (source.locate(a as u64), source.locate(b as u64));
        let place = if first == name {
            format!("rows {earlier} and {row} of {name}")
        } else {
            format!("row {earlier} of {first} and row {row} of {name}")
        };
        Err(Error::Id { id: given.text(b), what: format!("stands twice: {place}") })
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

/// Whether ids of one kind can join an index of another.
pub(super) fn same_kind(index: IdKind, given: IdKind) -> Result<()> {
    if index == given {
        return Ok(());
    }
    let expected = format!("{}, as in the index", index.name());
    Err(Error::param("ids", given.name(), expected))
}
