//! `voisin bench`: recall, speed, size and memory of indexes on somebody's data.
//!
//! Each spec is built and searched by a process of its own (this program again, see [`child`]), so that the peak memory is that of
//! this spec alone; the truth is computed here and never enters the timings.

mod child;

pub use child::{Muted, sweep};

use child::What;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;
use voisin::eval::{Mode, evaluate, usual_ks};
use voisin::exact::{ExactParams, exact};
use voisin::index::{BuildParams, default_spec};
use voisin::{Metric, Neighbors, OnBad, Source, Spec};
use voisin_io::Role;
use voisin_io::truth::read_neighbors;

use crate::build::{KMeansArgs, TrainArgs, calibration_queries};
use crate::common::{AdaptArgs, BaseArgs, Context, check_folder, choose_metric, open_queries, parse_metric, parse_recall};
use crate::fail::{DATA, Fail, Result, STOPPED};
use crate::outcome::{Outcome, Seconds, count, time};
use crate::point::{Point, table};
use crate::report::{Report, command_line, facts};

const EXAMPLES: &str = "Examples:
  voisin bench --base base.h5 --queries queries.h5 --index LMI320,Flat --index IVF320,Flat --nprobe 1,2,4,8 --threads 1
  voisin bench --base base.h5 --queries queries.h5 --index 'IVF1024,RaBitQ4,Refine(SQ8)' --nprobe 8,16,32 --refine 2,4,8
  voisin bench --base base.h5 --queries queries.h5 --recall 0.9,0.95,0.99        (what aiming at a recall delivers)
  voisin bench --base base.h5 --queries queries.h5 --truth gold.h5 --index Flat --index IVF1024,Flat -k 100 --report report.html
  voisin bench --base sift.hdf5 --queries sift.hdf5 --index IVF1024,Flat --mode single --threads 1 --json
  voisin bench --base base.npy --queries queries.npy --index hnsw.index --ef 32,64,128 --index IVF1024,Flat  (a file of FAISS)

Without --truth the true neighbours are computed first; that is not part of any time. --threads is for searching; the build takes
--build-threads. Times are medians over --repeat runs after one that warms up. Latencies are always those of single queries.
Recall targets go by rows of the base, or by --calibration; never by the queries that are measured.";

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    #[default]
    Batch,
    Single,
}

impl From<ModeArg> for Mode {
    fn from(m: ModeArg) -> Mode {
        match m {
            ModeArg::Batch => Mode::Batch,
            ModeArg::Single => Mode::Single,
        }
    }
}

/// Recall, queries per second, latency, build time, size and memory of one or more indexes
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Bench {
    #[command(flatten)]
    base: BaseArgs,
    /// Vectors to search for
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    queries: Vec<String>,
    /// The true neighbours [default: computed]
    #[arg(long, value_name = "FILE")]
    truth: Option<String>,
    /// Kinds of index to compare: Flat, IVF320,Flat, IVF320,RaBitQ4,Refine(SQ8), or the file of a FAISS index of the
    /// base; once for each [default: the one that `build` chooses, and Flat]
    #[arg(long, value_name = "SPEC")]
    index: Vec<String>,
    /// Numbers of lists to visit [default: 1,2,4,8,16,32, or none with --recall]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    nprobe: Vec<usize>,
    /// Indexes with Refine(...): numbers of candidates for each neighbour that the codes pass on
    #[arg(long, value_name = "R,R", value_delimiter = ',')]
    refine: Vec<usize>,
    /// HNSW index of FAISS: lengths of the queue [default: 16,32,64,128,256]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    ef: Vec<usize>,
    /// Recalls to aim at: shows what the calibration of the index makes of them
    #[arg(long, value_name = "X,X", value_delimiter = ',', value_parser = parse_recall)]
    recall: Vec<f32>,
    /// Queries to calibrate recall targets on [default: rows of the base]
    #[arg(long, num_args = 1.., value_name = "FILE")]
    calibration: Vec<String>,
    /// Neighbours for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// l2, ip or cosine [default: what the base file says, else l2]
    #[arg(long, value_parser = parse_metric)]
    metric: Option<Metric>,
    /// All queries in one call, or one after the other
    #[arg(long, value_enum, default_value_t)]
    mode: ModeArg,
    /// Runs for each point, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Threads of the build [default: one for each core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    build_threads: usize,
    /// Page with chart, table and machine
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
    /// Folder for the indexes, which are removed afterwards [default: that of the system for temporary files]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    #[command(flatten)]
    kmeans: KMeansArgs,
    #[command(flatten)]
    train: TrainArgs,
    /// Be the process that measures spec number N and leaves what it finds in --child-dir
    #[arg(long, hide = true, requires = "child_dir")]
    child: Option<usize>,
    #[arg(long, hide = true)]
    child_dir: Option<PathBuf>,
}

impl Bench {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, bad data, no room for the index; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let mut all = self.check()?;
        if let (Some(i), Some(dir)) = (self.child, &self.child_dir) {
            let mut o = Outcome::new("bench");
            if let Err(fail) = self.measure(i, all, dir, cx) {
                child::leave_failure(dir, &fail);
                o.exit_with(fail.code);
            }
            return Ok(o);
        }
        let (base, queries) = (self.base.open(cx)?, open_queries(&self.queries)?);
        let metric = choose_metric(self.metric, &*base, cx);
        if all.is_empty() {
            all = self.chosen(&*base, metric, Some(cx));
        }
        let (truth, truth_from) = self.truth(&*base, &*queries, metric, cx)?;
        let scratch = self.scratch_folder()?;
        let (mut points, mut failed, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        for (i, what) in all.iter().enumerate() {
            cx.screen.say(&format!("{}: {}", what.spec(), if matches!(what, What::Spec(_)) { "building" } else { "reading" }));
            match self.points_of(i, &what.spec(), &truth, metric, scratch.path(), cx) {
                Ok((new, said)) => {
                    table(&new).lines().for_each(|l| cx.screen.say(l));
                    points.extend(new);
                    remarks.extend(said);
                }
                // what was measured is worth keeping
                Err(fail) if fail.code != STOPPED && all.len() > 1 => {
                    cx.screen.say(&format!("{}: {}", what.spec(), fail.message));
                    failed.push((what.spec(), fail));
                }
                Err(fail) => return Err(fail),
            }
        }
        if points.is_empty() && !failed.is_empty() {
            return Err(failed.remove(0).1);
        }
        let mut o = Outcome::new("bench");
        o.set("n", base.len()).set("d", base.dim()).set("queries", queries.len()).set("k", self.k);
        o.set("metric", metric.name()).set("mode", Mode::from(self.mode).name()).set("repeat", self.repeat);
        o.set("points", json!(points)).set("truth", truth_from.clone());
        o.set_some("peak_rss_bytes", points.iter().filter_map(|p| p.peak_rss_bytes).max());
        o.line(table(&points).trim_end());
        if !remarks.is_empty() {
            o.set("remarks", remarks.clone());
            for remark in &remarks {
                o.line(remark);
            }
        }
        if !failed.is_empty() {
            o.set("failed", failed.iter().map(|(spec, f)| json!({"index": spec, "what": f.message})).collect::<Vec<_>>());
            for (spec, fail) in &failed {
                o.line(format!("{spec} failed: {}", fail.message));
            }
            o.exit_with(failed[0].1.code);
        } else if points.is_empty() {
            o.exit_with(DATA);
        }
        if let Some(path) = &self.report {
            self.page(&*base, &*queries, metric, &truth_from, points).write(path)?;
            o.set("out", path.display().to_string()).line(format!("report: {}", path.display()));
        }
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }

    fn check(&self) -> Result<Vec<What>> {
        let least = |all: &[usize]| all.iter().copied().min().unwrap_or(1);
        let values = [
            ("k", self.k),
            ("repeat", self.repeat),
            ("nprobe", least(&self.nprobe)),
            ("refine", least(&self.refine)),
            ("ef", least(&self.ef)),
        ];
        for (name, value) in values {
            if value == 0 {
                return Err(voisin::Error::param(name, 0, "at least 1").into());
            }
        }
        if let Some(path) = &self.report {
            check_folder(path)?;
        }
        self.index.iter().map(|text| What::named(text)).collect()
    }

    fn scratch_folder(&self) -> Result<tempfile::TempDir> {
        let parent = self.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("voisin-bench-").tempdir_in(&parent);
        made.map_err(|e| voisin::Error::io(&parent, e).into())
    }

    /// The true neighbours of as many as the recall counts, and where they are from.
    fn truth(&self, base: &dyn Source, queries: &dyn Source, metric: Metric, cx: &Context) -> Result<(Neighbors, String)> {
        let Some(file) = &self.truth else {
            let params = ExactParams { k: self.k, metric, on_bad: self.base.on_bad.into(), ..ExactParams::default() };
            let found = child::pool(self.build_threads)?.install(|| exact(base, queries, &params, &cx.screen))?;
            cx.screen.say(&format!("true neighbours computed in {}", time(found.search_seconds)));
            return Ok((found.neighbors, "computed".into()));
        };
        let mut truth = read_neighbors(file, Some(self.k))?;
        truth.notes.iter().for_each(|note| cx.screen.say(&format!("{file}: {note}")));
        if let Some(ids) = base.ids()? {
            truth.number(&ids)?;
        }
        if truth.only_strings {
            return Err(Fail::data(format!("{file}: string ids, but the base has none"), "leave --truth out to compute it"));
        }
        if truth.neighbors.len() as u64 != queries.len() {
            let (rows, asked) = (count(truth.neighbors.len() as u64), count(queries.len()));
            return Err(Fail::data(format!("{file}: {rows} rows for {asked} queries"), "leave --truth out to compute it"));
        }
        if truth.neighbors.k() < self.k {
            let message = format!("k = {}: {file} has {} neighbours a query", self.k, truth.neighbors.k());
            return Err(Fail::usage(message, "ask for fewer with -k, or leave --truth out to compute it"));
        }
        Ok((truth.reported(metric), file.clone()))
    }

    /// Has a child measure one spec and judges what it found.
    fn points_of(
        &self,
        i: usize,
        spec: &str,
        truth: &Neighbors,
        metric: Metric,
        scratch: &Path,
        cx: &Context,
    ) -> Result<(Vec<Point>, Vec<String>)> {
        let dir = scratch.join(i.to_string());
        std::fs::create_dir(&dir).map_err(|e| voisin::Error::io(&dir, e))?;
        child::spawn(i, &dir, cx)?;
        let answers = child::Answers::load(&dir)?;
        let has_distances = (0..truth.len()).all(|q| truth.distances(q).iter().all(|d| !d.is_nan()));
        let (mut points, mut remarks) = (Vec::new(), answers.beyond);
        for (i, mut point) in answers.points.into_iter().enumerate() {
            let found = child::load_neighbors(&dir, i, truth.len(), self.k)?;
            let judged = evaluate(&found, truth, &usual_ks(self.k), has_distances.then_some(metric))?;
            let remark =
                format!("{spec}: no id that it finds is a row of the base or an id of the truth: has it ids of its own?");
            if judged.disjoint && !remarks.contains(&remark) {
                remarks.push(remark);
            }
            point.judge(&judged);
            point.spec = spec.to_string();
            points.push(point);
        }
        let _ = std::fs::remove_dir_all(&dir); // room for the next one; what is left goes with the scratch folder
        Ok((points, remarks))
    }

    fn page(&self, base: &dyn Source, queries: &dyn Source, metric: Metric, truth: &str, points: Vec<Point>) -> Report {
        let threads = rayon::current_num_threads();
        let mode = match self.mode {
            ModeArg::Batch => "all queries in one call",
            ModeArg::Single => "one query at a time",
        };
        let lead = format!(
            "Recall@{k} against speed: {} queries in {} vectors of {} dimensions ({metric}), {mode}, {threads} thread{}.",
            count(queries.len()),
            count(base.len()),
            base.dim(),
            if threads == 1 { "" } else { "s" },
            k = self.k,
        );
        let mut all = vec![
            ("base".to_string(), base.name()),
            ("queries".into(), queries.name()),
            ("true neighbours".into(), truth.to_string()),
            ("runs".into(), format!("{}, of which the median counts, after one that warms up", self.repeat)),
            ("command line".into(), command_line()),
        ];
        all.extend(facts());
        Report {
            title: format!("Recall and speed on {}", short_name(&base.name())),
            lead,
            k: self.k,
            points,
            facts: all,
            ..Report::default()
        }
    }
}

impl Bench {
    /// The index that is built where nobody names one, and exact search beside it.
    fn chosen(&self, base: &dyn Source, metric: Metric, say: Option<&Context>) -> Vec<What> {
        let (spec, why) = default_spec(base.len(), base.dim(), metric);
        if let Some(cx) = say {
            cx.screen.say(&format!("{spec} ({why})"));
        }
        let mut all = vec![spec, Spec::flat()];
        all.dedup();
        all.into_iter().map(What::Spec).collect()
    }
}

/// The file without its folder and data set.
pub fn short_name(name: &str) -> String {
    let file = name.split("::").next().unwrap_or(name);
    file.rsplit('/').next().unwrap_or(file).to_string()
}

impl Bench {
    /// What the child does: build, open, sweep.
    fn measure(&self, i: usize, mut all: Vec<What>, dir: &Path, cx: &Context) -> Result<()> {
        // the parent has said what a pattern lacks
        let base = voisin_io::open_all(&self.base.base, Role::Base)?;
        let metric = self.metric.or(base.metric()).unwrap_or(Metric::L2);
        if all.is_empty() {
            all = self.chosen(&*base, metric, None);
        }
        let what = all.get(i).ok_or_else(|| Fail::usage("no such spec", "--child is for internal use"))?;
        let usual = [1, 2, 4, 8, 16, 32];
        let nprobe = if self.nprobe.is_empty() && self.recall.is_empty() { &usual[..] } else { &self.nprobe[..] };
        let ef = if self.ef.is_empty() { &[16, 32, 64, 128, 256][..] } else { &self.ef[..] };
        let asks = child::asks(what, self.k, (nprobe, &self.recall, &self.refine, ef));
        let job = child::Job {
            what,
            metric,
            k: self.k,
            asks: &asks,
            calibration: calibration_queries(&self.calibration, &AdaptArgs::default(), base.dim(), metric, OnBad::Error)?
                .map(|q| q.0),
            // without a target nothing is calibrated, so that the time of the build is that of the index alone
            calibrate: if self.recall.is_empty() { 0 } else { BuildParams::default().calibrate },
            mode: self.mode.into(),
            repeat: self.repeat,
            build_threads: self.build_threads,
            on_bad: self.base.on_bad.into(),
            kmeans: self.kmeans.params(),
            train: self.train.params(),
        };
        job.run(&*base, &*open_queries(&self.queries)?, dir, cx)
    }
}
