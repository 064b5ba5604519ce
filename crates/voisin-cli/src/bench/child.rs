//! The process that builds and searches one index, and how the parent starts it and reads what it leaves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voisin::eval::{Mode, Speed, measure};
use voisin::index::{BuildParams, Ids, Index, SearchParams, build};
use voisin::partition::{KMeansParams, TrainParams};
use voisin::{Error, Matrix, Metric, Neighbors, OnBad, Score, SearchResult, Source, Spec, Vectors, Watch, read_all};

use crate::common::{Context, check_k, faiss_file};
use crate::fail::{Fail, Result};
use crate::outcome::{peak_rss, round};
use crate::point::{Latency, Point};
use crate::screen::Screen;

/// An index to measure.
#[derive(Clone, Debug)]
pub enum What {
    /// One that is built.
    Spec(Spec),
    /// The file of a FAISS index, taken as it is.
    File(PathBuf, Spec),
    /// The same with a graph.
    Graph(PathBuf, String),
}

impl What {
    /// The spec, or the file of a FAISS index, that a user named.
    ///
    /// # Errors
    /// If it is neither.
    pub fn named(text: &str) -> Result<What> {
        let Some(file) = faiss_file(std::slice::from_ref(&text.to_string())).map(Path::to_owned) else {
            // no spec has a dot or a slash
            if text.contains(['/', '.']) {
                return Err(no_index_file(text));
            }
            return Ok(What::Spec(Spec::parse(text)?));
        };
        Ok(match voisin_io::faiss::open_graph(&file)? {
            Some(graph) => What::Graph(file, graph.spec()),
            None => {
                let spec = voisin_io::faiss::open(&file, &voisin::Quiet)?.spec().clone();
                What::File(file, spec)
            }
        })
    }

    /// Its file, or its spec.
    fn name(&self) -> String {
        match self {
            What::File(path, _) | What::Graph(path, _) => path.display().to_string(),
            What::Spec(spec) => spec.to_string(),
        }
    }

    /// What it is, as a spec says it.
    pub fn spec(&self) -> String {
        match self {
            What::Spec(spec) | What::File(_, spec) => spec.to_string(),
            What::Graph(_, spec) => spec.clone(),
        }
    }
}

fn no_index_file(text: &str) -> Fail {
    let path = Path::new(text);
    let (what, hint) = if path.is_dir() {
        ("a folder; `bench` builds what it measures, or reads a file of FAISS", "name a spec, such as IVF320,Flat")
    } else if path.exists() {
        ("not the file of a FAISS index", "name a spec, such as IVF320,Flat, or the file of a FAISS index")
    } else {
        ("no such file", "check the path; a spec is written like IVF320,Flat")
    };
    Fail::usage(format!("{text}: {what}"), hint)
}

/// What one child measures.
pub struct Job<'a> {
    pub what: &'a What,
    pub metric: Metric,
    pub k: usize,
    pub asks: &'a [Ask],
    /// Queries to calibrate on instead of rows of the base.
    pub calibration: Option<Matrix>,
    /// At most this many of them.
    pub calibrate: usize,
    pub mode: Mode,
    pub repeat: usize,
    pub build_threads: usize,
    pub on_bad: OnBad,
    pub kmeans: KMeansParams,
    pub train: TrainParams,
}

/// One point of a sweep: a number of lists or a recall to aim at, and the refinement where the sweep names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// Lists to visit; 0 where a target decides.
    pub nprobe: usize,
    /// Recall to aim at.
    pub target: Option<f32>,
    /// Candidates a neighbour.
    pub refine: Option<usize>,
    /// Length of the queue of a graph.
    pub ef: Option<usize>,
}

/// What it leaves beside the neighbours.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answers {
    /// Points without recall.
    pub points: Vec<Point>,
    /// Why targets have no point.
    pub beyond: Vec<String>,
}

/// Progress without the remarks of each iteration.
pub struct Muted<'a>(pub &'a Screen);

impl Watch for Muted<'_> {
    fn begin(&self, stage: &str, total: u64, unit: &str) {
        self.0.begin(stage, total, unit);
    }

    fn advance(&self, n: u64) {
        self.0.advance(n);
    }

    fn end(&self) {
        self.0.end();
    }

    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

const ANSWERS: &str = "answers.json";

impl Job<'_> {
    /// Builds, sweeps the numbers of lists, and leaves the answers in `dir`.
    ///
    /// # Errors
    /// What building and searching give.
    pub fn run(&self, base: &dyn Source, queries: &dyn Source, dir: &Path, cx: &Context) -> Result<()> {
        voisin::keep_freed_memory(64 << 20);
        let rows = read_all(queries, self.metric)?;
        match self.what {
            What::Spec(spec) => {
                let built = |at: &Path| self.build(spec, base, at, cx);
                self.lists(&built, base.dim(), rows.view(), dir, cx)
            }
            What::File(file, _) => {
                let loaded = |at: &Path| Ok(voisin_io::faiss::load(file, at, &Muted(&cx.screen))?);
                self.lists(&loaded, base.dim(), rows.view(), dir, cx)
            }
            What::Graph(file, _) => self.graph(file, base.dim(), rows.view(), dir, cx),
        }
    }

    fn build(&self, spec: &Spec, base: &dyn Source, at: &Path, cx: &Context) -> Result<()> {
        let params = BuildParams {
            spec: Some(spec.clone()),
            metric: self.metric,
            seed: cx.common.seed,
            on_bad: self.on_bad,
            kmeans: self.kmeans.clone(),
            train: self.train.clone(),
            ids: Ids::Count,
            queries: self.calibration.clone(),
            calibrate: self.calibrate,
            ..BuildParams::default()
        };
        pool(self.build_threads)?.install(|| build(base, at, &params, &Muted(&cx.screen)))?;
        Ok(())
    }

    fn suits(&self, metric: Metric, d: usize, base: usize) -> Result<()> {
        if metric != self.metric || d != base {
            let message = format!(
                "{}: the index is of {d} dimensions under {metric}, the base of {base} under {}",
                self.what.name(),
                self.metric
            );
            let hint =
                if d == base { format!("pass --metric {metric}") } else { "measure it on a base of its dimensions".into() };
            return Err(Fail::data(message, hint));
        }
        Ok(())
    }

    /// Measures an index of lists, which `made` puts into the folder it is given.
    fn lists(&self, made: &dyn Fn(&Path) -> Result<()>, d: usize, rows: Vectors<'_>, dir: &Path, cx: &Context) -> Result<()> {
        let at = dir.join("index");
        let clock = std::time::Instant::now();
        made(&at)?;
        let index = Index::open(&at)?;
        self.suits(index.metric(), index.dim(), d)?;
        if let (true, What::File(file, _)) = (index.is_empty(), &self.what) {
            let message = crate::common::empty_index(&[file.display().to_string()]);
            return Err(Fail::data(message, "measure it once it is filled"));
        }
        let build_seconds = clock.elapsed().as_secs_f64();
        let bytes_per_vector = index.info().bytes_per_vector;
        let (mut points, mut beyond) = (Vec::new(), Vec::new());
        for ask in self.asks {
            let Ask { nprobe, target, refine, .. } = *ask;
            let search = SearchParams {
                k: self.k,
                nprobe: nprobe.max(1),
                recall: target,
                refine: refine.unwrap_or(0),
                ..SearchParams::default()
            };
            let speed = match measure(&|q| index.search(q, &search), rows, self.mode, self.repeat, &cx.screen) {
                // a target that the codes cannot reach is told; the others are measured
                Err(e @ Error::Param { .. }) if target.is_some() => {
                    beyond.push(format!("{}: {e}", self.what.spec()));
                    continue;
                }
                done => done?,
            };
            save_neighbors(dir, points.len(), &speed.neighbors)?;
            let target = target.map(|t| round(f64::from(t), 6));
            points.push(Point { nprobe, refine, target, build_seconds, bytes_per_vector, ..measured(&speed) });
        }
        Answers { points, beyond }.save(dir)
    }

    /// Measures the graph of a file.
    fn graph(&self, file: &Path, d: usize, rows: Vectors<'_>, dir: &Path, cx: &Context) -> Result<()> {
        let clock = std::time::Instant::now();
        let graph = voisin_io::faiss::open_graph(file)?.ok_or_else(|| Error::format(file, "no graph"))?;
        self.suits(graph.metric(), graph.dim(), d)?;
        check_k(self.k, graph.len() as u64, &file.display().to_string())?;
        let build_seconds = clock.elapsed().as_secs_f64();
        let bytes = std::fs::metadata(file).map_err(|e| Error::io(file, e))?.len();
        let bytes_per_vector = bytes as f64 / graph.len().max(1) as f64;
        let mut points = Vec::new();
        for ask in self.asks {
            let search = |q: Vectors<'_>| {
                let (neighbors, scanned) = graph.search(q, self.k, ask.ef)?;
                Ok(SearchResult { neighbors, lists: 0, scanned })
            };
            let speed = measure(&search, rows, self.mode, self.repeat, &cx.screen)?;
            save_neighbors(dir, points.len(), &speed.neighbors)?;
            points.push(Point { ef: ask.ef, build_seconds, bytes_per_vector, ..measured(&speed) });
        }
        Answers { points, beyond: Vec::new() }.save(dir)
    }
}

/// What a run took; what was asked is for the caller to fill in.
fn measured(speed: &Speed) -> Point {
    Point {
        lists: round(speed.lists, 3),
        queries_per_second: speed.queries_per_second,
        latency_ms: Latency { p50: speed.p50_ms, p99: speed.p99_ms },
        scanned: speed.scanned,
        peak_rss_bytes: peak_rss(),
        ..Point::default()
    }
}

impl Answers {
    fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(ANSWERS);
        let text = serde_json::to_vec(self).expect("numbers and strings");
        Ok(std::fs::write(&path, text).map_err(|e| Error::io(&path, e))?)
    }

    /// Reads what a child left.
    ///
    /// # Errors
    /// If it is not there or not whole.
    pub fn load(dir: &Path) -> Result<Answers> {
        let path = dir.join(ANSWERS);
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        Ok(serde_json::from_slice(&bytes).map_err(|e| Error::format(&path, e.to_string()))?)
    }
}

/// The points worth measuring: every number of lists and every target with every refinement; of a graph every queue, from k on.
pub fn asks(what: &What, k: usize, (nprobe, targets, refine, ef): (&[usize], &[f32], &[usize], &[usize])) -> Vec<Ask> {
    match what {
        What::Spec(spec) | What::File(_, spec) => of_lists(spec, nprobe, targets, refine),
        // a shorter queue than k is one of k
        What::Graph(..) => {
            let mut ef: Vec<usize> = ef.iter().map(|ef| *ef.max(&k)).collect();
            ef.sort_unstable();
            ef.dedup();
            ef.into_iter().map(|ef| Ask { nprobe: 0, target: None, refine: None, ef: Some(ef) }).collect()
        }
    }
}

fn of_lists(spec: &Spec, nprobe: &[usize], targets: &[f32], refine: &[usize]) -> Vec<Ask> {
    let exact = spec.nlist() == 1 && spec.score == Score::Flat && spec.transform.is_none();
    let refine: Vec<Option<usize>> =
        if spec.refine.is_none() || refine.is_empty() { vec![None] } else { refine.iter().map(|r| Some(*r)).collect() };
    // exact search meets any target
    let lists = if exact && nprobe.is_empty() { vec![1] } else { sweep(nprobe, spec.nlist()) };
    let targets = if exact { &[] } else { targets };
    let points = |refine: Option<usize>| {
        let lists = lists.iter().map(move |&nprobe| Ask { nprobe, target: None, refine, ef: None });
        lists.chain(targets.iter().map(move |&t| Ask { nprobe: 0, target: Some(t), refine, ef: None }))
    };
    refine.into_iter().flat_map(points).collect()
}

/// The numbers of lists worth measuring in an index of `nlist`: ascending, none twice, none beyond all.
pub fn sweep(asked: &[usize], nlist: usize) -> Vec<usize> {
    let mut all: Vec<usize> = asked.iter().map(|&n| n.min(nlist)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A pool of `threads`, 0 for one a core.
///
/// # Errors
/// If the system gives no threads.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    let made = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    made.map_err(|e| Fail::usage(format!("no {threads} threads: {e}"), "ask for fewer with --build-threads"))
}

/// This program; on Linux also when its file was replaced since it was started.
fn program() -> Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        return Ok(own.to_owned());
    }
    Ok(std::env::current_exe().map_err(|e| Error::io("voisin", e))?)
}

/// Runs this program again with the same words, as the child for spec `i`; ends it when the user stops.
///
/// # Errors
/// What the child left as its error.
pub fn spawn(i: usize, dir: &Path, cx: &Context) -> Result<()> {
    let program = program()?;
    let mut command = Command::new(&program);
    command.args(std::env::args_os().skip(1)).arg("--child").arg(i.to_string()).arg("--child-dir").arg(dir);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|e| Error::io(&program, e))?;
    let status = loop {
        match child.try_wait().map_err(|e| Error::io(&program, e))? {
            Some(status) => break status,
            None if cx.screen.stopped() => {
                // Ctrl-C reached the child too, SIGTERM did not; it leaves nothing that is kept
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::Stopped.into());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(_) => Err(failure(dir).unwrap_or_else(|| Fail::data("the process that measured the index failed", AGAIN))),
        None => {
            Err(Fail::data("the process that measured the index was killed", "it may have run out of memory: try fewer vectors"))
        }
    }
}

const FAILURE: &str = "failure.json";
const AGAIN: &str = "`voisin build` with the same index shows whether it can be built";

/// Leaves an error for the parent, who says it once.
pub fn leave_failure(dir: &Path, fail: &Fail) {
    let json = serde_json::json!({ "message": fail.message, "hint": fail.hint, "code": fail.code });
    let _ = std::fs::write(dir.join(FAILURE), json.to_string()); // without it the parent has words of its own
}

fn failure(dir: &Path) -> Option<Fail> {
    let v: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join(FAILURE)).ok()?).ok()?;
    let text = |key: &str| v[key].as_str().map(String::from);
    let code = v["code"].as_u64().and_then(|c| u8::try_from(c).ok()).unwrap_or(crate::fail::DATA);
    Some(Fail { message: text("message")?, caret: None, hint: text("hint"), code })
}

fn save_neighbors(dir: &Path, point: usize, found: &Neighbors) -> Result<()> {
    let (ids, distances) = found.padded();
    let bytes = ids.iter().flat_map(|i| i.to_le_bytes()).chain(distances.iter().flat_map(|d| d.to_le_bytes()));
    let path = dir.join(format!("neighbors-{point}"));
    Ok(std::fs::write(&path, bytes.collect::<Vec<u8>>()).map_err(|e| Error::io(&path, e))?)
}

/// The neighbours that a child found at a point: `n` rows of at most `k`.
///
/// # Errors
/// If they are not there or not as many.
pub fn load_neighbors(dir: &Path, point: usize, n: usize, k: usize) -> Result<Neighbors> {
    let path = dir.join(format!("neighbors-{point}"));
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    if bytes.len() != n * k * 12 {
        return Err(Error::format(&path, format!("{} bytes for {n} rows of {k} neighbours", bytes.len())).into());
    }
    let (ids, distances) = bytes.split_at(n * k * 8);
    let ids: Vec<i64> = ids.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes"))).collect();
    let distances: Vec<f32> = distances.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect();
    let mut table = Neighbors::new(k);
    for (ids, distances) in ids.chunks_exact(k).zip(distances.chunks_exact(k)) {
        table.push_row(distances.iter().copied().zip(ids.iter().take_while(|i| **i >= 0).map(|&i| i as u64)));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_survive_the_way_to_the_parent() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Neighbors::new(3);
        table.push_row([(0.5, 7), (0.75, 1 << 40)]);
        table.push_row([]);
        table.push_row([(1.0, 0), (2.0, 1), (3.0, 2)]);
        save_neighbors(dir.path(), 4, &table).unwrap();
        assert_eq!(load_neighbors(dir.path(), 4, 3, 3).unwrap(), table);
        assert!(load_neighbors(dir.path(), 4, 2, 3).is_err() && load_neighbors(dir.path(), 8, 3, 3).is_err());
    }

    #[test]
    fn no_point_is_measured_twice() {
        assert_eq!((sweep(&[8, 1, 4, 4], 6), sweep(&[1, 2, 4], 1)), (vec![1, 4, 6], vec![1]));
        let count = |spec: &str, n: &[usize], t: &[f32]| of_lists(&spec.parse().unwrap(), n, t, &[2, 8]).len();
        assert_eq!(count("IVF6,Flat", &[1, 4, 9], &[0.9, 0.95]), 5);
        assert_eq!(count("IVF6,RaBitQ4,Refine(SQ8)", &[1, 4, 9], &[0.9, 0.95]), 10);
        assert_eq!((count("Flat", &[], &[0.9, 0.95]), count("Flat", &[1, 2], &[0.9])), (1, 1));
        assert_eq!((count("SQ8", &[], &[0.9]), count("RaBitQ2,Refine(Flat)", &[1, 2], &[])), (1, 2));
    }
}
