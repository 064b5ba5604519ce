//! What a person wants to know of a file before searching it.

use std::fmt;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use voisin::{BadRow, Error, Metric, Result, Source, Vectors, Watch};

use crate::write::stream;
use crate::{Dataset, DatasetKind, Elem, Format, Role, choose, describe, expand, open_all};

/// A norm this near to 1 is one (f16 rounds a component by up to 0.0005 of it).
const UNIT: f64 = 1e-3;

/// What `voisin info` says; the fields up to `ids` are empty where there are no vectors to be found (see `problem`).
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Vectors in all files together.
    pub n: Option<u64>,
    /// Their dimensions.
    pub d: Option<usize>,
    /// Type of their values; "mixed" if the files differ.
    pub dtype: Option<String>,
    /// Format of the files; "mixed" if they differ.
    pub format: Option<String>,
    /// Whether every value is a finite number.
    pub finite: Option<bool>,
    /// Whether every vector has length 1 (within 0.001).
    pub unit_norm: Option<bool>,
    /// String ids.
    pub ids: Option<IdsInfo>,
    /// Rows with NaN or infinite values.
    pub bad_rows: Rows,
    /// Rows that are zero throughout.
    pub zero_rows: Rows,
    /// Lengths of the finite vectors.
    pub norms: Option<Norms>,
    /// The metric that the file names.
    pub metric: Option<Metric>,
    /// The metric that fits.
    pub suggested_metric: Option<Metric>,
    /// Why it fits.
    pub reason: Option<String>,
    /// Why no vectors were found or read.
    pub problem: Option<String>,
    /// Every file.
    pub files: Vec<FileInfo>,
}

/// String ids of a dataset.
#[derive(Clone, Debug, Serialize)]
pub struct IdsInfo {
    /// How many.
    pub count: usize,
    /// The first three.
    pub first: Vec<String>,
}

/// Rows at fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// The first: file, row in that file, what is the matter.
    pub first: Option<(String, u64, String)>,
}

/// Lengths of vectors.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Norms {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

/// A file and what it holds.
#[derive(Clone, Debug, Serialize)]
pub struct FileInfo {
    /// Where it is.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Its size.
    pub bytes: u64,
    /// Its data sets.
    pub datasets: Vec<DatasetInfo>,
}

/// A data set of a file.
#[derive(Clone, Debug, Serialize)]
pub struct DatasetInfo {
    /// Name after `::`, empty where the file holds just one.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Element type.
    pub dtype: String,
    /// `vectors`, `strings`, `ids` or `other`.
    pub kind: &'static str,
    /// How it is stored.
    pub layout: String,
}

/// Looks at files as one dataset. One pass over all vectors, with progress; memory is one block.
///
/// # Errors
/// A file that is missing, damaged or of no known format; [`Error::Stopped`]. Files without vectors, or that do not go
/// together, are no error: `problem` says so.
pub fn inspect(inputs: &[String], watch: &dyn Watch) -> Result<Info> {
    let specs = expand(inputs)?;
    let mut files = Vec::with_capacity(specs.len());
    let mut dtypes: Vec<Result<String>> = Vec::with_capacity(specs.len());
    for spec in &specs {
        watch.check()?;
        let (format, sets) = describe(&spec.path)?;
        let meant = choose(&sets, spec.dataset.as_deref(), Role::Base, &spec.path);
        dtypes.push(meant.map(|i| sets[i].dtype.clone()));
        files.push(file_info(&spec.path, format, sets)?);
    }
    let format = same(files.iter().map(|f| f.format.as_str()));
    let mut info = Info {
        n: None,
        d: None,
        dtype: None,
        format,
        finite: None,
        unit_norm: None,
        ids: None,
        bad_rows: Rows::default(),
        zero_rows: Rows::default(),
        norms: None,
        metric: None,
        suggested_metric: None,
        reason: None,
        problem: None,
        files,
    };
    let dtypes: Result<Vec<String>> = dtypes.into_iter().collect();
    let source = dtypes.and_then(|dtypes| {
        info.dtype = same(dtypes.iter().map(String::as_str));
        open_all(inputs, Role::Base)
    });
    let source = match source {
        Ok(source) if !source.is_empty() => source,
        Ok(source) => {
            info.problem = Some(Error::Empty { name: source.name() }.to_string());
            return Ok(info);
        }
        Err(e @ (Error::Format { .. } | Error::Dimension { .. })) => {
            info.problem = Some(e.to_string());
            return Ok(info);
        }
        Err(e) => return Err(e),
    };
    info.n = Some(source.len());
    info.d = Some(source.dim());
    info.metric = source.metric();
    if let Some(ids) = source.ids()? {
        info.ids = Some(IdsInfo { count: ids.len(), first: ids.iter().take(3).map(String::from).collect() });
    }
    look(&*source, &mut info, watch)?;
    suggest(&mut info);
    Ok(info)
}

fn file_info(path: &Path, format: Format, sets: Vec<Dataset>) -> Result<FileInfo> {
    let bytes = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    let kind = |k| match k {
        DatasetKind::Vectors => "vectors",
        DatasetKind::Strings => "strings",
        DatasetKind::Ids => "ids",
        DatasetKind::Other => "other",
    };
    let datasets = sets
        .into_iter()
        .map(|s| DatasetInfo { name: s.name, shape: s.shape, dtype: s.dtype, kind: kind(s.kind), layout: s.layout })
        .collect();
    Ok(FileInfo { path: path.display().to_string(), format: format.key().into(), bytes, datasets })
}

/// What all agree on, else "mixed".
fn same<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<String> {
    let first = all.next()?;
    Some(if all.all(|x| x == first) { first } else { "mixed" }.to_string())
}

/// The squared length of a row; f32 first, f64 where that overflows; `None` if a value is not finite.
fn norm(row: &[f32]) -> Option<f64> {
    let quick = voisin_kernels::dot(row, row);
    if quick.is_finite() && quick > f32::MIN_POSITIVE * 1e8 {
        return Some((quick as f64).sqrt());
    }
    let exact: f64 = row.iter().map(|&x| x as f64 * x as f64).sum();
    exact.is_finite().then(|| exact.sqrt()) // a sum of squares of f32 cannot overflow f64
}

fn look(source: &dyn Source, info: &mut Info, watch: &dyn Watch) -> Result<()> {
    let (mut min, mut max, mut sum, mut good, mut unit) = (f64::INFINITY, 0f64, 0f64, 0u64, true);
    let note = |rows: &mut Rows, row: u64, what: BadRow| {
        rows.count += 1;
        if rows.first.is_none() {
            let (name, row) = source.locate(row);
            rows.first = Some((name, row, what.to_string()));
        }
    };
    stream(source, "reading", watch, |start, rows| {
        let rows = Vectors::new(rows, source.dim());
        let norms: Vec<Option<f64>> = (0..rows.n()).into_par_iter().map(|i| norm(rows.row(i))).collect();
        for (i, norm) in norms.into_iter().enumerate() {
            let row = start + i as u64;
            let Some(norm) = norm else {
                let what = if rows.row(i).iter().any(|x| x.is_nan()) { BadRow::NaN } else { BadRow::Infinite };
                note(&mut info.bad_rows, row, what);
                continue;
            };
            if norm == 0.0 {
                note(&mut info.zero_rows, row, BadRow::Zero);
            }
            (min, max, sum, good) = (min.min(norm), max.max(norm), sum + norm, good + 1);
            unit &= (norm - 1.0).abs() <= UNIT;
        }
        Ok(())
    })?;
    info.finite = Some(info.bad_rows.count == 0);
    info.unit_norm = Some(unit && good > 0);
    info.norms = (good > 0).then(|| Norms { min, mean: sum / good as f64, max });
    Ok(())
}

fn suggest(info: &mut Info) {
    let Some(norms) = info.norms else { return };
    let whole = info.dtype.as_deref().and_then(Elem::from_name).is_some_and(|e| !e.is_float());
    let (metric, why) = if let Some(metric) = info.metric {
        (metric, "the file names it".to_string())
    } else if info.unit_norm == Some(true) {
        (Metric::Cosine, "every vector has length 1: cosine, ip and l2 rank alike".to_string())
    } else if whole {
        (Metric::L2, "whole numbers, as local image features have".to_string())
    } else if norms.min > 0.0 && norms.max <= 1.05 * norms.min {
        (Metric::Cosine, "all vectors are about equally long: the direction carries the meaning".to_string())
    } else {
        (
            Metric::L2,
            "lengths differ; take cosine if only the direction carries meaning, ip for maximum inner product".to_string(),
        )
    };
    (info.suggested_metric, info.reason) = (Some(metric), Some(why));
}

/// 1234567 as 1,234,567.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes in decimal units, as `ls` and disks count them.
fn size(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.iter().find(|u| bytes as f64 >= u.1) {
        Some((unit, of)) => format!("{:.1} {unit}", bytes as f64 / of),
        None => format!("{bytes} bytes"),
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((name, row, what)) = &self.first else { return f.write_str("none") };
        write!(f, "{}, the first is row {row} of {name} ({what})", thousands(self.count))
    }
}

impl fmt::Display for FileInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}, {}", self.path, self.format, size(self.bytes))?;
        let name = |s: &DatasetInfo| if s.name.is_empty() { "-".to_string() } else { s.name.clone() };
        let wide = self.datasets.iter().map(|s| name(s).chars().count()).max().unwrap_or(0);
        for s in self.datasets.iter().take(50) {
            let shape: Vec<String> = s.shape.iter().map(u64::to_string).collect();
            let shape = if shape.is_empty() { "scalar".to_string() } else { shape.join(" x ") };
            let name = name(s);
            write!(f, "\n  {name:wide$}  {shape} {}  {}", s.dtype, s.kind)?;
            if !s.layout.is_empty() {
                write!(f, "  ({})", s.layout)?;
            }
        }
        if self.datasets.len() > 50 {
            write!(f, "\n  and {} more", self.datasets.len() - 50)?;
        }
        Ok(())
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in self.files.iter().take(10) {
            writeln!(f, "{file}")?;
        }
        if self.files.len() > 10 {
            writeln!(f, "and {} more files, {} in all", self.files.len() - 10, size(self.files.iter().map(|f| f.bytes).sum()))?;
        }
        if let Some(problem) = &self.problem {
            return writeln!(f, "vectors  {problem}");
        }
        if let (Some(n), Some(d)) = (self.n, self.d) {
            writeln!(f, "vectors  {} x {d} {}", thousands(n), self.dtype.as_deref().unwrap_or(""))?;
        }
        match self.bad_rows.count {
            0 => writeln!(f, "finite   yes")?,
            _ => writeln!(f, "finite   NO, bad rows: {}", self.bad_rows)?,
        }
        if let Some(Norms { min, mean, max }) = self.norms {
            let unit = if self.unit_norm == Some(true) { ": unit vectors" } else { "" };
            writeln!(f, "norms    min {min:.4}, mean {mean:.4}, max {max:.4}{unit}")?;
        }
        if self.zero_rows.count > 0 {
            writeln!(f, "zeros    {}", self.zero_rows)?;
        }
        match &self.ids {
            Some(ids) => writeln!(f, "ids      {} strings: {}, ...", thousands(ids.count as u64), ids.first.join(", "))?,
            None => writeln!(f, "ids      none, rows are numbered from 0")?,
        }
        if let (Some(metric), Some(reason)) = (self.suggested_metric, &self.reason) {
            match (self.metric, metric) {
                (Some(_), _) | (None, Metric::L2) => writeln!(f, "metric   {metric} ({reason})")?,
                // l2 is what other commands take where nobody says anything
                _ => writeln!(f, "metric   {metric} suggested ({reason}): pass --metric {metric}, the default is l2")?,
            }
        }
        Ok(())
    }
}
