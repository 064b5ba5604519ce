//! Results in the files that other tools read: HDF5 (ann-benchmarks and SISAP names), JSON, NPZ, ivecs, ibin, csv, tsv, TREC.
//!
//! A row with fewer than k neighbours is padded with id −1 and distance NaN where the format is a table.

mod arrays;
mod hdf5;
mod text;

use std::path::Path;

use voisin::{Error, Metric, Neighbors, Result, StringIds};

pub use crate::hdf5::AttrValue;

/// What is written.
pub struct ResultFile<'a> {
    /// Rows of ids and reported distances (l2: the root, ip: the dot product, cosine: 1 − cos), best first.
    pub neighbors: &'a Neighbors,
    /// What the distances are.
    pub metric: Metric,
    /// String ids of the base: names of the ids in `neighbors`.
    pub base_ids: Option<&'a StringIds>,
    /// String ids of the queries, one a row.
    pub query_ids: Option<&'a StringIds>,
    /// Whether HDF5, JSON, csv and tsv get `similarity` beside the distances: the dot product (ip) or the cosine; not for l2.
    pub similarities: bool,
    /// Attributes of an HDF5 file (`data size algo buildtime querytime params`); other formats have no place for them.
    pub attributes: Vec<(String, AttrValue)>,
}

/// How an HDF5 file of results names and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultLayout {
    /// ann-benchmarks: `neighbors` from 0, `distances` as reported.
    #[default]
    Default,
    /// SISAP: `knns` from 1 (0 where a row is short), `dists` 1 − dot product for ip.
    Sisap,
}

impl std::str::FromStr for ResultLayout {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "default" | "ann-benchmarks" => Ok(ResultLayout::Default),
            "sisap" => Ok(ResultLayout::Sisap),
            _ => Err(Error::param("layout", s, "default or sisap")),
        }
    }
}

/// Endings that [`write_results`] knows.
pub const RESULT_ENDINGS: [&str; 10] = ["h5", "hdf5", "json", "npz", "ivecs", "ibin", "csv", "tsv", "trec", "run"];

/// Checks before any work is done that results can be written under this name.
///
/// # Errors
/// [`Error::Param`] for an ending that is not known, or a layout that the format does not have.
pub fn check_result_path(path: &Path, layout: ResultLayout) -> Result<()> {
    let ending = ending(path);
    if !RESULT_ENDINGS.contains(&ending.as_str()) {
        return Err(Error::param("output", path.display(), format!("a name that ends in one of .{}", RESULT_ENDINGS.join(" ."))));
    }
    if layout == ResultLayout::Sisap && !matches!(ending.as_str(), "h5" | "hdf5") {
        return Err(Error::param("layout", "sisap", "an output that ends in .h5"));
    }
    Ok(())
}

fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// Writes results in the format that the ending names; the file appears only once it is complete.
///
/// Distances are written as reported, but for `.ibin` (big-ann: squared L2) and the SISAP layout (1 − dot product).
///
/// # Errors
/// [`Error::Param`] as [`check_result_path`]; [`Error::Format`] for an id that the format cannot hold; [`Error::Io`].
pub fn write_results(path: &Path, file: &ResultFile<'_>, layout: ResultLayout) -> Result<()> {
    check_result_path(path, layout)?;
    file.check(path)?;
    match ending(path).as_str() {
        "json" => text::json(path, file),
        "csv" => text::csv(path, file),
        "tsv" => text::tsv(path, file),
        "trec" | "run" => text::trec(path, file),
        "npz" => arrays::npz(path, file),
        "ivecs" => arrays::ivecs(path, file),
        "ibin" => arrays::ibin(path, file),
        _ => hdf5::write(path, file, layout),
    }
}

fn id_i32(path: &Path, row: usize, id: u64, add: i32) -> Result<i32> {
    let fits = i32::try_from(id).ok().and_then(|id| id.checked_add(add));
    fits.ok_or_else(|| {
        let what = format!("query {row}: id {id} does not fit the 32-bit ids of this format; write .h5 or .npz");
        Error::format(path, what)
    })
}

impl ResultFile<'_> {
    /// The similarity of a distance, where it is written.
    fn similarity(&self, distance: f32) -> Option<f32> {
        self.metric.similarity(distance).filter(|_| self.similarities)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let n = self.neighbors.len();
        if let Some(ids) = self.query_ids
            && ids.len() != n
        {
            return Err(Error::format(path, format!("{} query ids for {n} queries", ids.len())));
        }
        let most = self.base_ids.map_or(i64::MAX as u64, |ids| (ids.len() as u64).saturating_sub(1));
        for row in 0..n {
            if let Some(&id) =
                self.neighbors.ids(row).iter().find(|&&id| id > most || self.base_ids.is_some_and(|b| b.is_empty()))
            {
                return Err(Error::format(path, format!("query {row}: id {id} is beyond the last id {most}")));
            }
        }
        Ok(())
    }

    /// Bytes of a table of one value a neighbour, in pieces; `value` of each id and distance, `none` where a row is short.
    fn in_pieces<const N: usize>(
        &self,
        value: impl Fn(usize, u64, f32) -> Result<[u8; N]>,
        none: [u8; N],
        mut put: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for row in 0..self.neighbors.len() {
            let (ids, distances) = (self.neighbors.ids(row), self.neighbors.distances(row));
            for (&id, &distance) in ids.iter().zip(distances) {
                bytes.extend_from_slice(&value(row, id, distance)?);
            }
            (ids.len()..self.neighbors.k()).for_each(|_| bytes.extend_from_slice(&none));
            if bytes.len() >= 1 << 16 {
                put(&bytes)?;
                bytes.clear();
            }
        }
        put(&bytes)
    }

    /// Ids as i32, plus `add`, short rows padded with −1 plus `add`.
    fn ids_i32(&self, path: &Path, add: i32) -> Result<Vec<i32>> {
        let (n, k) = (self.neighbors.len(), self.neighbors.k());
        let mut out = vec![add - 1; n * k];
        for row in 0..n {
            for (o, &id) in out[row * k..].iter_mut().zip(self.neighbors.ids(row)) {
                *o = id_i32(path, row, id, add)?;
            }
        }
        Ok(out)
    }

    /// The name of a base id: its string, or the number.
    fn base_name(&self, id: u64) -> Name<'_> {
        self.base_ids.map_or(Name::Number(id), |ids| Name::Text(ids.get(id as usize)))
    }

    fn query_name(&self, row: usize) -> Name<'_> {
        self.query_ids.map_or(Name::Number(row as u64), |ids| Name::Text(ids.get(row)))
    }
}

/// An id as text formats write it.
#[derive(Clone, Copy, serde::Serialize)]
#[serde(untagged)]
enum Name<'a> {
    Number(u64),
    Text(&'a str),
}
