//! Files of vectors: an index of them is built at the first start and kept.
//!
//! In `FILE.voisin` beside the file, unless another folder is named: `index/`, and `made.json`, which says of which state of which
//! files it is; written last.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use voisin::index::{BuildParams, build, default_spec};
use voisin::{Error, Index, Metric, OnBad, RefineSpec, Result, Spec, Watch};
use voisin_io::{AtomicFile, FileSpec, Role};

use super::keep::lock;
use crate::WebError;

/// Below this many vectors all of them are compared.
const FLAT_BELOW: u64 = 20_000;
/// Bytes of vectors that are kept beside codes as they came.
const PLAIN: u64 = 16 << 30;

/// What an index was built of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    /// Names, sizes and times of the files.
    of: String,
    /// Rows in them.
    rows: u64,
    /// Rows that cannot be compared, which are not in the index.
    skipped: u64,
}

/// An index of a file of vectors.
pub(super) struct Vectors {
    pub index: Index,
    /// Rows of the file.
    pub rows: u64,
    /// Rows that are not in the index.
    pub skipped: u64,
}

/// Opens the index of some files of vectors, which is built where it is not there or they have changed since.
pub(super) fn open(paths: &[String], keep: Option<&Path>, watch: &dyn Watch) -> Result<Vectors, WebError> {
    let keep = keep.map_or_else(|| beside(&paths[0]), Path::to_owned);
    let (marker, dir) = (keep.join("made.json"), keep.join("index"));
    let of = state_of(paths)?;
    let load = || serde_json::from_slice::<Made>(&std::fs::read(&marker).ok()?).ok().filter(|m| m.of == of);
    let kept = || -> Result<Option<Vectors>> {
        let made = load().filter(|_| dir.join("manifest.json").is_file());
        made.map(|m| Ok(Vectors { index: Index::open(&dir)?, rows: m.rows, skipped: m.skipped })).transpose()
    };
    if let Some(kept) = kept()? {
        return Ok(kept);
    }
    let source = voisin_io::open_all(paths, Role::Base)?;
    let _lock = lock(&keep, watch)?;
    // whoever held the lock may have built it
    if let Some(kept) = kept()? {
        return Ok(kept);
    }
    let metric = source.metric().unwrap_or(Metric::L2);
    let spec = Some(spec_for(source.len(), source.dim(), metric));
    let params = BuildParams { spec, metric, on_bad: OnBad::Skip, ..BuildParams::default() };
    let report = build(&*source, &dir, &params, watch)?;
    let made = Made { of, rows: source.len(), skipped: report.skipped };
    let mut out = AtomicFile::create(&marker)?;
    serde_json::to_writer(out.out(), &made).map_err(|e| Error::io(&marker, e.into()))?;
    out.commit()?;
    Ok(Vectors { index: Index::open(&dir)?, rows: made.rows, skipped: made.skipped })
}

/// All of them compared while that takes about a millisecond; beyond, lists of codes, with the vectors beside them where that is
/// not too much, so that search by id and the exact comparison go by the vectors as they are.
pub(super) fn spec_for(n: u64, d: usize, metric: Metric) -> Spec {
    if n < FLAT_BELOW {
        return Spec::flat();
    }
    let (spec, _) = default_spec(n, d, metric);
    let plain = n.saturating_mul(4 * d as u64) <= PLAIN;
    Spec { refine: if plain { Some(RefineSpec::Flat) } else { spec.refine }, ..spec }
}

fn beside(path: &str) -> PathBuf {
    let FileSpec { path, dataset } = FileSpec::parse(path);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    if let Some(dataset) = dataset {
        name.push("-");
        name.push(dataset.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    }
    name.push(".voisin");
    path.with_file_name(name)
}

/// What changes when the files do.
fn state_of(paths: &[String]) -> Result<String> {
    let mut all = Vec::new();
    for FileSpec { path, dataset } in voisin_io::expand(paths)? {
        let meta = std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?;
        let modified = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.push(format!("{name}|{}|{}|{}", dataset.unwrap_or_default(), meta.len(), modified.map_or(0, |t| t.as_nanos())));
    }
    Ok(format!("{:016x}", voisin_io::fingerprint(all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders() {
        for (path, expected) in [("a/x.h5", "a/x.h5.voisin"), ("x.h5::train/a", "x.h5-train-a.voisin"), ("x", "x.voisin")] {
            assert_eq!(beside(path), Path::new(expected));
        }
        assert_eq!(spec_for(5000, 64, Metric::L2).to_string(), "Flat");
        assert_eq!(spec_for(100_000, 64, Metric::L2).to_string(), "IVF1024,RaBitQ4,Refine(Flat)");
        assert_eq!(spec_for(1 << 30, 768, Metric::L2).refine.unwrap().to_string(), "Refine(SQ8)");
    }
}
