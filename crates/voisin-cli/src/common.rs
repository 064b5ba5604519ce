//! What every command shares: options, inputs, the metric, refusing to write over an input.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use voisin::{Adapted, Error, Index, Metric, OnBad, Source};
use voisin_io::{FileSpec, Role};

use crate::fail::{Fail, Result};
use crate::screen::Screen;

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Print one JSON object on stdout; all else goes to stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to use [default: one for each core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Seed of everything random; the same seed gives the same bytes
    #[arg(long, global = true, value_name = "N", default_value_t = 1234)]
    pub seed: u64,
    /// No progress and no remarks
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// What a command runs in.
#[derive(Debug)]
pub struct Context {
    /// The options of every command.
    pub common: Common,
    /// Progress and Ctrl-C.
    pub screen: Screen,
    /// When the process began.
    pub started: Instant,
}

impl Context {
    /// Sets the number of threads, and Ctrl-C.
    ///
    /// # Errors
    /// `--threads 0` or more than the system gives.
    pub fn new(common: Common) -> Result<Context> {
        let started = Instant::now();
        let hint = "leave --threads out to use every core";
        if common.threads.is_some_and(|t| t == 0 || t > 4096) {
            let found = common.threads.unwrap_or(0);
            return Err(Fail::usage(format!("threads = {found}: 1 to 4096"), hint));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(common.threads.unwrap_or(0));
        pool.build_global().map_err(|e| Fail::usage(format!("no {} threads: {e}", common.threads.unwrap_or(0)), hint))?;
        crate::screen::catch_signals();
        Ok(Context { screen: Screen::new(common.quiet), common, started })
    }

    /// Seconds since the process began.
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// `--on-bad`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Bad {
    #[default]
    Error,
    Skip,
}

impl From<Bad> for OnBad {
    fn from(b: Bad) -> OnBad {
        match b {
            Bad::Error => OnBad::Error,
            Bad::Skip => OnBad::Skip,
        }
    }
}

/// The vectors that are searched.
#[derive(Args, Clone, Debug)]
pub struct BaseArgs {
    /// Vectors to search in: files, patterns, folders or templates with {idx}, together one dataset;
    /// FILE::NAME names a data set of a file
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub base: Vec<String>,
    /// Rows with NaN or infinity, and zero vectors under cosine: refuse the input, or skip and count them
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub on_bad: Bad,
}

impl BaseArgs {
    /// Opens all of them as one dataset, and says which numbered files a pattern seems to lack.
    ///
    /// # Errors
    /// What opening gives.
    pub fn open(&self, cx: &Context) -> Result<Box<dyn Source>> {
        open_base(&self.base, cx)
    }
}

/// Opens files as one dataset to search in, and says which numbered files a pattern seems to lack.
///
/// # Errors
/// What opening gives.
pub fn open_base(files: &[String], cx: &Context) -> Result<Box<dyn Source>> {
    let source = voisin_io::open_all(files, Role::Base)?;
    let lacking = voisin_io::inputs::lacking(files)?;
    if let Some(first) = lacking.first() {
        let more = if lacking.len() > 1 { format!(" (and {} more)", lacking.len() - 1) } else { String::new() };
        cx.screen.say(&format!("{first}{more} is not there, between files that are: rows are counted without it"));
    }
    Ok(source)
}

/// `--adapt`.
#[derive(Args, Clone, Debug, Default)]
pub struct AdaptArgs {
    /// Map all vectors by a linear layer (a state dict with one `*.weight` [out, in] and perhaps a `*.bias`), then to
    /// unit length
    #[arg(long, value_name = "LAYER")]
    pub adapt: Option<PathBuf>,
}

impl AdaptArgs {
    /// The dataset as the layer maps it; as it is without one.
    ///
    /// # Errors
    /// A file that is no such layer, or one for vectors of other dimensions.
    pub fn over(&self, source: Box<dyn Source>) -> Result<Box<dyn Source>> {
        let Some(path) = &self.adapt else { return Ok(source) };
        let layer = Arc::new(voisin_io::read_layer(path)?);
        Ok(Box::new(Adapted::new(source, layer, &path.display().to_string())?))
    }
}

/// The lines of a file of ids (`-`: standard input), without those that are empty.
///
/// # Errors
/// What reading gives.
pub fn id_lines(file: &Path) -> Result<Vec<String>> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|e| Error::io("standard input", e))?;
    } else {
        text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    }
    Ok(text.lines().filter(|l| !l.is_empty()).map(str::to_string).collect())
}

/// Opens `--queries`.
///
/// # Errors
/// What opening gives.
pub fn open_queries(files: &[String]) -> Result<Box<dyn Source>> {
    Ok(voisin_io::open_all(files, Role::Queries)?)
}

/// Refuses more neighbours than there are vectors: a result would be padding for the most part.
///
/// # Errors
/// Says how many there are.
pub fn check_k(k: usize, n: u64, name: &str) -> Result<()> {
    if k as u64 > n && n > 0 {
        return Err(Error::param("k", k, format!("at most the {n} vectors of {name}")).into());
    }
    Ok(())
}

/// Opens the indexes of some folders as one.
///
/// # Errors
/// What opening gives; indexes that do not go together.
pub fn open_indexes(dirs: &[String]) -> Result<Index> {
    if let Some(path) = faiss_file(dirs) {
        return Ok(voisin_io::faiss::open(path, &voisin::Quiet)?);
    }
    Ok(Index::open_all(&voisin_io::expand_indexes(dirs)?)?)
}

/// The file of a FAISS index, where that is what was named.
pub fn faiss_file(inputs: &[String]) -> Option<&Path> {
    let [one] = inputs else { return None };
    let path = Path::new(one);
    (path.is_file() && voisin_io::faiss::is_faiss(path)).then_some(path)
}

/// What an index without vectors is to be told of.
pub fn empty_index(dirs: &[String]) -> String {
    let name = several(dirs);
    match faiss_file(dirs) {
        Some(_) => format!("{name} holds no vectors; `voisin convert {name} DIR`, then `voisin add DIR --base FILE` fills it"),
        None => format!("{name} holds no vectors; `voisin add {name} --base FILE` fills it"),
    }
}

/// What to call the indexes of some folders in a line.
pub fn several(dirs: &[String]) -> String {
    match dirs {
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
        [] => String::new(),
    }
}

/// The metric asked for, else the one that the base names, else L2; says so where the file decided.
pub fn choose_metric(asked: Option<Metric>, base: &dyn Source, cx: &Context) -> Metric {
    asked.unwrap_or_else(|| match base.metric() {
        Some(metric) => {
            cx.screen.say(&format!("metric {metric}, as {} says", base.name()));
            metric
        }
        None => Metric::L2,
    })
}

/// For `--metric`.
///
/// # Errors
/// A name that is no metric.
pub fn parse_metric(s: &str) -> std::result::Result<Metric, String> {
    s.parse().map_err(|_| "l2, ip or cosine".to_string())
}

/// For `--recall`: a share above 0 and at most 1.
///
/// # Errors
/// Anything else.
pub fn parse_recall(s: &str) -> std::result::Result<f32, String> {
    let x: f32 = s.parse().map_err(|_| "a share such as 0.95".to_string())?;
    if x > 0.0 && x <= 1.0 { Ok(x) } else { Err("a share above 0 and at most 1, such as 0.95".into()) }
}

/// For `--memory-limit`: `4G`, `500M`, `1.5GiB`, or bytes; K, M, G and T are powers of 1024.
///
/// # Errors
/// Anything else.
pub fn parse_bytes(s: &str) -> std::result::Result<u64, String> {
    let what = || "a number of bytes such as 4G, 500M or 65536".to_string();
    let end = s.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(s.len());
    let (number, unit) = s.split_at(end);
    let x: f64 = number.parse().map_err(|_| what())?;
    let power = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(what()),
    };
    let bytes = x * 1024f64.powi(power);
    if bytes >= 1.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(what()) }
}

/// Refuses an output that is one of the inputs.
///
/// # Errors
/// Names the file.
pub fn refuse_same(inputs: &[String], out: &Path) -> Result<()> {
    let Ok(target) = out.canonicalize() else { return Ok(()) }; // it does not exist yet
    let specs = voisin_io::expand(inputs).unwrap_or_else(|_| inputs.iter().map(|i| FileSpec::parse(i)).collect());
    match specs.iter().find(|s| s.path.canonicalize().is_ok_and(|p| p == target)) {
        Some(_) => Err(Fail::usage(format!("{}: the output is one of the inputs", out.display()), "write to another file")),
        None => Ok(()),
    }
}

/// `out` with `.ending` appended: `result.h5` -> `result.h5.part`.
pub fn beside(out: &Path, ending: &str) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(ending);
    out.with_file_name(name)
}

/// Fails early, before hours of work, where the folder of an output is missing.
///
/// # Errors
/// Names the folder.
pub fn check_folder(out: &Path) -> Result<()> {
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    Err(Fail::data(format!("{}: no such folder", folder.display()), format!("mkdir -p {}", folder.display())))
}

/// What a build holds beside what its limit is divided into, at most: the program, buffers, and the pages of files that it reads
/// back to calibrate. Measured with 60,000 x 384 and limits from 48M on.
const BESIDE: u64 = 160 << 20;

/// Refuses a limit that a build of n x d vectors could not keep; `twice` where captions or queries are trained on too.
///
/// # Errors
/// The limit is too small.
pub fn check_limit(limit: Option<u64>, n: u64, d: usize, twice: bool) -> Result<()> {
    let beside = if twice { 2 * BESIDE } else { BESIDE };
    let need = beside.min((32 << 20) + n.saturating_mul(16 * d as u64));
    match limit {
        Some(limit) if limit < need => Err(Error::Memory { limit, need, what: format!("a build of {n} x {d} vectors") }.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_people_write_them() {
        for (s, n) in [("4G", 4 << 30), ("500M", 500 << 20), ("1.5GiB", 3 << 29), ("65536", 65536), ("2 kb", 2048)] {
            assert_eq!(parse_bytes(s), Ok(n), "{s}");
        }
        for s in ["", "G", "-1", "4X", "0", "1e9", "nan"] {
            assert!(parse_bytes(s).is_err(), "{s}");
        }
    }
}
