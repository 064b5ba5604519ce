//! Tables of neighbours that others computed: ground truth, and results to be evaluated.
//!
//! Formats differ in where ids begin and in what a distance is; both are stated in [`Truth::notes`], and
//! [`Truth::reported`] gives distances as this project reports them.

mod arrays;
mod hdf5;
mod text;
mod torch;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Metric, Neighbors, Result, StringIds};

use crate::{FileSpec, InFile};

/// What the distances of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistanceKind {
    /// As this project reports them: l2 the root, ip the dot product, cosine 1 − cos.
    Reported,
    /// 1 − dot product (SISAP).
    OneMinusDot,
    /// L2 squared, other metrics as reported (FAISS, big-ann).
    SquaredL2,
    /// A dot product or cosine, larger for nearer vectors (torch).
    Similarity,
    /// A TREC score: minus the distance, or the dot product.
    Score,
}

/// Neighbours of many queries, as a file has them.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The file, and the data set in it.
    pub name: String,
    /// Row numbers of the base from 0, and distances as in the file (NaN where it has none). Where the file has only
    /// strings, they are numbered in the order in which they first appear.
    pub neighbors: Neighbors,
    /// String ids in the order of `neighbors`, row after row.
    pub strings: Option<StringIds>,
    /// Whether the ids of `neighbors` number the strings instead of the rows of the base.
    pub only_strings: bool,
    /// String ids of the queries.
    pub query_ids: Option<StringIds>,
    /// What the distances are; `None` without any.
    pub distances: Option<DistanceKind>,
    /// The metric that the file names.
    pub metric: Option<Metric>,
    /// Vectors that were searched, where the file says it.
    pub size: Option<u64>,
    /// What was assumed about ids and distances, for the user to see.
    pub notes: Vec<String>,
    /// Whether queries without a neighbour leave no trace in the file (csv, tsv, TREC).
    pub gaps: bool,
}

/// Reads a table of neighbours: `path` or `path::dataset`, at most the first `k` of each row.
///
/// HDF5 (ann-benchmarks, SISAP, as written here), `.ivecs`, `.ibin`, `.npy`, `.npz`, `.json`, `.csv`, `.tsv`, `.trec`, `.run`,
/// `.pt` (a tuple of similarities and indices).
/// SISAP's `knns` count from 1, all others from 0. The whole table is held in memory.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for what is no such table, or a damaged one.
pub fn read_neighbors(spec: &str, k: Option<usize>) -> Result<Truth> {
    let FileSpec { path, dataset } = FileSpec::parse(spec);
    read_file(Arc::new(InFile::open(&path)?), dataset.as_deref(), k)
}

/// As [`read_neighbors`] for a file that is open already.
///
/// # Errors
/// As [`read_neighbors`].
pub fn read_file(file: Arc<InFile>, dataset: Option<&str>, k: Option<usize>) -> Result<Truth> {
    let path = file.path().to_owned();
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let head = file.head(8)?;
    let mut truth = match ending.as_str() {
        _ if head == *b"\x89HDF\r\n\x1a\n" => hdf5::read(file, dataset, k),
        "pt" | "pth" => torch::read(file, k),
        _ if head.starts_with(crate::npy::MAGIC) => arrays::npy(file, k),
        _ if head.starts_with(b"PK\x03\x04") => arrays::npz(file, dataset, k),
        "h5" | "hdf5" => hdf5::read(file, dataset, k),
        "ivecs" => arrays::ivecs(&file, k),
        "ibin" => arrays::ibin(&file, k),
        "json" => text::json(&file, k),
        "csv" => text::table(&file, ',', k),
        "tsv" => text::table(&file, '\t', k),
        "trec" | "run" => text::trec(&file, k),
        _ => {
            Err(Error::format(&path, "no table of neighbours: .h5 .npz .npy .ivecs .ibin .json .csv .tsv .trec .pt can be read"))
        }
    }?;
    if truth.name.is_empty() {
        truth.name = path.display().to_string();
    }
    Ok(truth)
}

impl Truth {
    fn new(neighbors: Neighbors, distances: Option<DistanceKind>) -> Truth {
        Truth {
            name: String::new(),
            neighbors,
            strings: None,
            only_strings: false,
            query_ids: None,
            distances,
            metric: None,
            size: None,
            notes: Vec::new(),
            gaps: false,
        }
    }

    /// The table with distances as this project reports them under `metric`; NaN where the file has none.
    pub fn reported(&self, metric: Metric) -> Neighbors {
        let convert = |d: f32| match (self.distances, metric) {
            (Some(DistanceKind::OneMinusDot), Metric::Ip) => 1.0 - d,
            (Some(DistanceKind::Similarity), Metric::Cosine) => 1.0 - d,
            (Some(DistanceKind::SquaredL2), Metric::L2) => d.max(0.0).sqrt(),
            (Some(DistanceKind::Score), Metric::L2 | Metric::Cosine) => 0.0 - d,
            _ => d,
        };
        let mut out = Neighbors::new(self.neighbors.k());
        for row in 0..self.neighbors.len() {
            let pairs = self.neighbors.distances(row).iter().zip(self.neighbors.ids(row));
            out.push_row(pairs.map(|(&d, &id)| (convert(d), id)));
        }
        out
    }

    /// Turns string ids into row numbers of the base that has these ids.
    ///
    /// # Errors
    /// [`Error::Format`] for a string that is no id of the base. Nothing changes where the ids are row numbers already.
    pub fn number(&mut self, base: &StringIds) -> Result<()> {
        let (true, Some(strings)) = (self.only_strings, &self.strings) else { return Ok(()) };
        let rows: HashMap<&str, u64> = base.iter().enumerate().map(|(i, s)| (s, i as u64)).collect();
        let mut ids = Vec::with_capacity(strings.len());
        for s in strings.iter() {
            let id = rows.get(s).copied();
            ids.push(id.ok_or_else(|| Error::format(Path::new(&self.name), format!("id {s:?} is no id of the base")))?);
        }
        self.neighbors = renumbered(&self.neighbors, ids);
        self.only_strings = false;
        Ok(())
    }
}

/// Two tables with the same numbering of neighbours and the same queries row by row, distances as reported under `metric`.
///
/// Row numbers are compared where both have them, else strings where both have those. Where both name their queries by
/// strings, the rows of `found` are put into the order of `truth`.
///
/// # Errors
/// [`Error::Format`] if one has only numbers and the other only strings (see [`Truth::number`]).
pub fn comparable(found: &Truth, truth: &Truth, metric: Metric) -> Result<(Neighbors, Neighbors)> {
    let (mut a, mut b) = (found.reported(metric), truth.reported(metric));
    if found.only_strings || truth.only_strings {
        let (Some(x), Some(y)) = (&found.strings, &truth.strings) else {
            let (names, numbers) = if found.only_strings { (found, truth) } else { (truth, found) };
            let what =
                format!("its neighbours have only string ids, those of {} only row numbers: the base is needed", numbers.name);
            return Err(Error::format(Path::new(&names.name), what));
        };
        let mut numbers = HashMap::new();
        a = renumbered(&a, intern(x, &mut numbers));
        b = renumbered(&b, intern(y, &mut numbers));
    }
    if let (Some(x), Some(y)) = (&found.query_ids, &truth.query_ids)
        && x != y
    {
        let rows: HashMap<&str, usize> = x.iter().enumerate().map(|(i, s)| (s, i)).collect();
        let order: Vec<Option<usize>> = y.iter().map(|s| rows.get(s).copied()).collect();
        a = picked(&a, &order);
    }
    let most = a.len().max(b.len());
    if found.gaps && a.len() < most {
        a = picked(&a, &(0..most).map(|i| (i < a.len()).then_some(i)).collect::<Vec<_>>());
    }
    if truth.gaps && b.len() < most {
        b = picked(&b, &(0..most).map(|i| (i < b.len()).then_some(i)).collect::<Vec<_>>());
    }
    Ok((a, b))
}

/// Numbers strings in the order in which they first appear.
fn intern<'s>(strings: &'s StringIds, numbers: &mut HashMap<&'s str, u64>) -> Vec<u64> {
    let mut out = Vec::with_capacity(strings.len());
    for s in strings.iter() {
        let next = numbers.len() as u64;
        out.push(*numbers.entry(s).or_insert(next));
    }
    out
}

/// The same table with other ids, row after row.
fn renumbered(table: &Neighbors, ids: Vec<u64>) -> Neighbors {
    let mut ids = ids.into_iter();
    let mut out = Neighbors::new(table.k());
    for row in 0..table.len() {
        out.push_row(table.distances(row).iter().copied().zip(ids.by_ref().take(table.ids(row).len())));
    }
    out
}

/// Rows of a table in another order; `None` is an empty row.
fn picked(table: &Neighbors, order: &[Option<usize>]) -> Neighbors {
    let mut out = Neighbors::new(table.k());
    for row in order {
        match row {
            Some(row) => out.push_row(table.distances(*row).iter().copied().zip(table.ids(*row).iter().copied())),
            None => out.push_row([]),
        }
    }
    out
}

/// Refuses what is neither a row number nor -1, which pads a row.
fn row_numbers(path: &Path, row: usize, ids: &[i64]) -> Result<()> {
    match ids.iter().find(|id| **id < -1) {
        Some(id) => Err(Error::format(path, format!("row {row}: {id} is no row number; -1 stands for none"))),
        None => Ok(()),
    }
}

/// A table of `width` columns as rows of neighbours. Ids count from `first`; smaller ones pad the end of a short row.
fn from_table(
    path: &Path,
    ids: &[i64],
    distances: Option<&[f32]>,
    width: usize,
    first: i64,
    k: Option<usize>,
) -> Result<Neighbors> {
    let keep = k.unwrap_or(width).min(width);
    let mut out = Neighbors::new(keep);
    for (row, ids) in ids.chunks_exact(width.max(1)).enumerate() {
        row_numbers(path, row, ids)?;
        let count = ids.iter().position(|&id| id < first).unwrap_or(width);
        if let Some(&id) = ids[count..].iter().find(|&&id| id >= first) {
            let what =
                format!("row {row}: id {id} follows {}; ids count from {first} here, smaller ones only pad a row", ids[count]);
            return Err(Error::format(path, what));
        }
        let at = row * width;
        let distance = |j: usize| distances.map_or(f32::NAN, |d| d[at + j]);
        out.push_row(ids[..count.min(keep)].iter().enumerate().map(|(j, &id)| (distance(j), (id - first) as u64)));
    }
    Ok(out)
}
