//! The files of ILIAS: features in numbered HDF5 shards, lists of ids with a taxonomy, similarities as JSON or pickle.
//!
//! Layouts and names are those of the data set's own tools (Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval
//! At Scale", arXiv:2502.11748), as their documentation describes them.

mod dataset;
mod similarities;

use std::path::{Path, PathBuf};

use voisin::{Error, IdSet, Result, Source};

pub use dataset::{Lists, read_lists};
pub use similarities::{Retrieved, read_similarities, read_similarities_file, write_json, write_pickle, write_report};

use crate::Role;
use crate::concat::Concat;
use crate::paths::FileSpec;

/// What stands for the number of a shard in a template.
const PLACE: &str = "{idx}";

/// The first `total` files of a template: `{idx}` becomes 00000, 00001, ...; without it the template is one file.
///
/// # Errors
/// [`Error::Param`] for a total of 0, or above 1 without `{idx}`; [`Error::Format`] naming the first shard that is missing.
pub fn shards(template: &str, total: usize) -> Result<Vec<PathBuf>> {
    if total == 0 {
        return Err(Error::param("total_distractors", 0, "at least 1 file of distractors"));
    }
    if !template.contains(PLACE) {
        if total > 1 {
            let expected = format!("1 where the name has no {PLACE}: {template}");
            return Err(Error::param("total_distractors", total, expected));
        }
        return Ok(vec![template.into()]);
    }
    let mut files = Vec::new();
    for i in 0..total {
        let file = shard(template, i);
        if !file.is_file() {
            let what = format!(
                "this shard is missing: total_distractors = {total} asks for {} to {}",
                name(template, 0),
                name(template, total - 1)
            );
            return Err(Error::format(file, what));
        }
        files.push(file);
    }
    Ok(files)
}

/// The file of a template with the number `i`.
pub fn shard(template: &str, i: usize) -> PathBuf {
    template.replace(PLACE, &format!("{i:05}")).into()
}

fn name(template: &str, i: usize) -> String {
    shard(template, i).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Positives, then distractors, as one dataset. Files are read one after the other and at most two are kept open, so that
/// memory does not grow with their number.
///
/// # Errors
/// What opening gives; [`Error::Dimension`] if files differ in dimension; [`Error::Format`] if the positives or the first
/// distractors have no ids.
pub fn open_base(positives: &Path, distractors: &[PathBuf]) -> Result<(Box<dyn Source>, u64)> {
    let spec = |path: &Path| FileSpec::parse(&path.to_string_lossy());
    let first = crate::open::open_spec(&spec(positives), Role::Base)?;
    // told now rather than after the search
    with_ids(&*first)?;
    if let Some(path) = distractors.first() {
        with_ids(&*crate::open::open_spec(&spec(path), Role::Base)?)?;
    }
    if distractors.is_empty() {
        let n = first.len();
        return Ok((first, n));
    }
    let all = std::iter::once(positives).chain(distractors.iter().map(PathBuf::as_path));
    let base = Concat::new(all.map(spec).collect(), Role::Base)?.keep_open(2);
    Ok((Box::new(base), first.len()))
}

/// Rows of a base that selected ids leave: the first `positives` rows, and distractors whose id has one of `selected` after its
/// first slash. Also which of the selected ids no distractor has.
///
/// # Errors
/// [`Error::Format`] where the base has no ids; what reading gives.
pub fn selected_rows(base: &dyn Source, positives: u64, selected: &IdSet) -> Result<(Vec<u64>, Vec<usize>)> {
    let (mut rows, mut seen): (Vec<u64>, _) = ((0..positives).collect(), vec![false; selected.ids().len()]);
    let there = base.scan_ids(&mut |row, id| {
        if row >= positives
            && let Some(at) = id.split('/').nth(1).and_then(|part| selected.find(part))
        {
            seen[at] = true;
            rows.push(row);
        }
    })?;
    if !there {
        return Err(no_ids(base));
    }
    let missing = (0..seen.len()).filter(|&i| !seen[i] && selected.find(selected.ids().get(i)) == Some(i)).collect();
    Ok((rows, missing))
}

fn with_ids(source: &dyn Source) -> Result<()> {
    match source.is_empty() || source.ids()?.is_some() {
        true => Ok(()),
        false => Err(no_ids(source)),
    }
}

/// Files of ILIAS have ids.
pub fn no_ids(source: &dyn Source) -> Error {
    Error::format(source.name(), "no ids; files of ILIAS hold `features` and `index`, a string for each row")
}
