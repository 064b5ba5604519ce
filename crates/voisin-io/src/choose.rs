//! Which of a file's data sets is meant.

use std::path::Path;

use voisin::{Error, Result};

use crate::{Dataset, DatasetKind, Role};

const BASE: [&str; 7] = ["train", "base", "emb", "features", "data", "embeddings", "vectors"];
const QUERIES: [&str; 5] = ["test", "queries", "query", "otest/queries", "itest/queries"];
/// Names under which a file of queries alone may hold them.
const NEUTRAL: [&str; 5] = ["emb", "features", "data", "embeddings", "vectors"];
/// 2-D floats that are no vectors.
const SCORES: [&str; 6] = ["dists", "distances", "sims", "scores", "similarities", "weights"];

/// 2-D integers that are rows of neighbours.
const NEIGHBORS: [&str; 5] = ["knns", "knn", "neighbors", "neighbours", "ids"];

/// What a data set of this name, shape and type can serve as; `numeric` and `float` describe its elements.
pub fn kind_of(name: &str, shape: &[u64], dtype: &str) -> DatasetKind {
    let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    match (crate::Elem::from_name(dtype), shape.len()) {
        (None, 1) if dtype == "str" => DatasetKind::Strings,
        (None, _) => DatasetKind::Other,
        (Some(e), 2) if e.is_float() || e.size() == 1 => {
            if SCORES.contains(&last.as_str()) {
                DatasetKind::Other
            } else {
                DatasetKind::Vectors
            }
        }
        (Some(e), 1 | 2) if !e.is_float() => DatasetKind::Ids,
        _ => DatasetKind::Other,
    }
}

/// Position in `datasets` of the one that is meant: the `wanted` one, else the one that fits `role`.
///
/// # Errors
/// [`Error::Format`] if it is not there, is no table of numbers, or several would fit; lists what there is.
pub fn choose(datasets: &[Dataset], wanted: Option<&str>, role: Role, path: &Path) -> Result<usize> {
    if let Some(wanted) = wanted {
        let wanted = wanted.trim_matches('/');
        let Some(i) = datasets.iter().position(|s| s.name.trim_matches('/') == wanted) else {
            let what = format!("no data set `{wanted}`; the file has {}", list(datasets.iter()));
            return Err(Error::format(path, what));
        };
        let s = &datasets[i];
        if s.shape.len() != 2 || !matches!(s.kind, DatasetKind::Vectors | DatasetKind::Ids | DatasetKind::Other) {
            return Err(Error::format(path, format!("{} is no n x d table of numbers", show(s))));
        }
        return Ok(i);
    }
    let fits: Vec<usize> = (0..datasets.len()).filter(|&i| datasets[i].kind == DatasetKind::Vectors).collect();
    let named = |names: &[&str]| {
        let is = |i: usize, n: &str| datasets[i].name.trim_matches('/').eq_ignore_ascii_case(n);
        names.iter().find_map(|n| fits.iter().copied().find(|&i| is(i, n)))
    };
    let without = |names: &[&str]| -> Option<usize> {
        let is = |i: usize| names.iter().any(|n| datasets[i].name.trim_matches('/').eq_ignore_ascii_case(n));
        let rest: Vec<usize> = fits.iter().copied().filter(|&i| !is(i)).collect();
        if let [only] = rest[..] { Some(only) } else { None }
    };
    if let [only] = fits[..] {
        return Ok(only);
    }
    let found = match role {
        Role::Base => named(&BASE).or_else(|| without(&QUERIES)),
        Role::Queries => named(&QUERIES).or_else(|| named(&NEUTRAL)).or_else(|| without(&["train", "base"])),
    };
    if let Some(i) = found {
        return Ok(i);
    }
    if fits.is_empty() {
        // a lone table of integers is taken as vectors; several are more likely neighbours
        let table = |s: &Dataset| {
            let last = s.name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
            s.kind == DatasetKind::Ids && s.shape.len() == 2 && !NEIGHBORS.contains(&last.as_str())
        };
        let tables: Vec<usize> = (0..datasets.len()).filter(|&i| table(&datasets[i])).collect();
        if let [only] = tables[..] {
            return Ok(only);
        }
        let what = match datasets.len() {
            0 => "no data set in it".to_string(),
            _ => format!("no n x d table of numbers in it that could be vectors; it has {}", list(datasets.iter())),
        };
        return Err(Error::format(path, what));
    }
    let role = match role {
        Role::Base => "base",
        Role::Queries => "queries",
    };
    let first = &datasets[fits[0]].name;
    let what = format!(
        "{} data sets could be the {role}: {}; name one, as in {}::{first}",
        fits.len(),
        list(fits.iter().map(|&i| &datasets[i])),
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    Err(Error::format(path, what))
}

/// `name (100 x 384 f16)`.
pub fn show(s: &Dataset) -> String {
    let shape: Vec<String> = s.shape.iter().map(u64::to_string).collect();
    let shape = if shape.is_empty() { "scalar".into() } else { shape.join(" x ") };
    format!("`{}` ({shape} {})", s.name, s.dtype)
}

/// At most twelve of them, then a count.
fn list<'a>(all: impl Iterator<Item = &'a Dataset>) -> String {
    let all: Vec<String> = all.map(show).collect();
    match all.len() {
        0 => "none".into(),
        1..=12 => all.join(", "),
        n => format!("{} and {} more", all[..12].join(", "), n - 12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, shape: &[u64], dtype: &str) -> Dataset {
        let kind = kind_of(name, shape, dtype);
        Dataset { name: name.into(), shape: shape.into(), dtype: dtype.into(), kind, layout: String::new() }
    }

    fn pick(sets: &[Dataset], role: Role) -> String {
        choose(sets, None, role, Path::new("x.h5")).map_or_else(|e| e.to_string(), |i| sets[i].name.clone())
    }

    #[test]
    fn roles_of_the_common_layouts() {
        let ann = [
            set("train", &[9, 4], "f32"),
            set("test", &[2, 4], "f32"),
            set("neighbors", &[2, 9], "i32"),
            set("distances", &[2, 9], "f32"),
        ];
        assert_eq!(pick(&ann, Role::Base), "train");
        assert_eq!(pick(&ann, Role::Queries), "test");
        let sisap = [
            set("itest/queries", &[2, 4], "f16"),
            set("itest/dists", &[2, 9], "f32"),
            set("otest/queries", &[2, 4], "f16"),
            set("train", &[9, 4], "f16"),
        ];
        assert_eq!(pick(&sisap, Role::Base), "train");
        assert_eq!(pick(&sisap, Role::Queries), "otest/queries");
        let ilias = [set("features", &[9, 4], "f16"), set("index", &[9], "str")];
        assert_eq!(pick(&ilias, Role::Base), "features");
        assert_eq!(pick(&ilias, Role::Queries), "features");
    }

    #[test]
    fn doubt_is_an_error_that_names_the_candidates() {
        let two = [set("a", &[9, 4], "f32"), set("b", &[9, 8], "f64")];
        let e = pick(&two, Role::Base);
        assert!(e.contains("`a` (9 x 4 f32), `b` (9 x 8 f64)") && e.contains("x.h5::a"), "{e}");
        let e = choose(&two, Some("c"), Role::Base, Path::new("x.h5")).unwrap_err().to_string();
        assert!(e.contains("no data set `c`; the file has `a`"), "{e}");
        assert!(pick(&[set("ids", &[9], "str")], Role::Base).contains("no n x d table of numbers"));
        let truth = [set("knns", &[9, 4], "i32"), set("dists", &[9, 4], "f32")];
        assert!(pick(&truth, Role::Base).contains("no n x d table of numbers"));
        assert_eq!(pick(&[set("codes", &[9, 4], "i32")], Role::Base), "codes");
        assert_eq!(pick(&[set("a", &[9, 4], "f32"), set("test", &[1, 4], "f32")], Role::Base), "a");
        assert_eq!(choose(&two, Some("/b"), Role::Base, Path::new("x.h5")).unwrap(), 1);
    }
}
