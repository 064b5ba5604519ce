//! What is relevant to each query, as JSON; and rankings of any format judged by it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use voisin::eval::Ranked;
use voisin::eval::ilias::instance_of;
use voisin::{Error, Result};

use crate::ilias::read_similarities;
use crate::{FileSpec, InFile, read_neighbors};

/// Relevant items by query: id and grade.
#[derive(Clone, Debug, Default)]
pub struct Relevant(HashMap<String, HashMap<String, f64>>);

/// Rankings judged by what is relevant.
#[derive(Clone, Debug, Default)]
pub struct Judgements {
    /// The queries to which something is relevant, in the order of the result.
    pub rows: Vec<Ranked>,
    /// Queries of the result to which nothing is.
    pub without: usize,
    /// The first of them.
    pub first_without: Option<String>,
    /// Queries (or instances) to which something is relevant and that the result does not have, sorted.
    pub missing: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Items {
    List(Vec<Id>),
    Graded(HashMap<String, f64>),
}

#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

/// Reads `{query: [id, ...]}` or `{query: {id: grade, ...}}`. Queries and ids are strings, or row numbers from 0. A query
/// that is not named itself has what is relevant to the part of its id before the first slash (an instance).
///
/// # Errors
/// [`Error::Format`] for what is no such JSON, a grade that is negative or infinite, and a file without any query.
pub fn read_relevant(path: &Path) -> Result<Relevant> {
    read_relevant_file(&InFile::open(path)?)
}

/// As [`read_relevant`] for a file that is open already.
///
/// # Errors
/// As [`read_relevant`].
pub fn read_relevant_file(file: &InFile) -> Result<Relevant> {
    let wrong = |what: String| Error::format(file.path(), what);
    let all: HashMap<String, Items> = serde_json::from_slice(&file.bytes(0, file.len())?)
        .map_err(|e| wrong(format!("{{query: [id]}} or {{query: {{id: grade}}}} is expected; JSON: {e}")))?;
    let mut out = HashMap::new();
    for (query, items) in all {
        let graded: HashMap<String, f64> = match items {
            Items::List(ids) => ids.into_iter().map(|id| (id.text(), 1.0)).collect(),
            Items::Graded(graded) => graded,
        };
        if let Some((id, grade)) = graded.iter().find(|(_, g)| !(g.is_finite() && **g >= 0.0)) {
            return Err(wrong(format!("query {query}: the grade of {id} is {grade}; 0 or more is expected")));
        }
        out.insert(query, graded.into_iter().filter(|(_, g)| *g > 0.0).collect());
    }
    if out.is_empty() {
        return Err(wrong("no query in it".into()));
    }
    Ok(Relevant(out))
}

impl Id {
    fn text(self) -> String {
        match self {
            Id::Number(n) => n.to_string(),
            Id::Text(s) => s,
        }
    }
}

impl Relevant {
    fn of(&self, query: &str) -> Option<(&str, &HashMap<String, f64>)> {
        let found = self.0.get_key_value(query).or_else(|| self.0.get_key_value(instance_of(query)));
        found.map(|(name, items)| (&name[..], items)).filter(|found| !found.1.is_empty())
    }

    /// Judges a result: a table of neighbours (see [`read_neighbors`]), or similarities of ILIAS. Nothing beyond the first `k`
    /// of a query is read where the format allows; an item found twice for a query counts once.
    ///
    /// # Errors
    /// What reading gives; [`Error::Format`] if nothing is relevant to any of its queries.
    pub fn judge(&self, result: &str, k: Option<usize>) -> Result<Judgements> {
        let path = FileSpec::parse(result).path;
        let (mut out, mut asked) = (Judgements::default(), HashSet::new());
        let head = InFile::open(&path)?.head(64)?;
        if matches!(head.trim_ascii_start().first(), Some(b'{' | 0x80)) {
            let all = read_similarities(&path)?;
            for (query, mut row) in all.queries.iter().zip(all.rows) {
                row.sort_by(|a, b| b.1.total_cmp(&a.1));
                out.add(self.of(query), &mut asked, query, row.iter().map(|&(i, _)| all.items.get(i as usize)));
            }
        } else {
            let table = read_neighbors(result, k)?;
            let mut first = 0;
            for q in 0..table.neighbors.len() {
                let ids = table.neighbors.ids(q);
                let query = table.query_ids.as_ref().map_or_else(|| q.to_string(), |names| names.get(q).to_owned());
                match &table.strings {
                    Some(names) => out.add(self.of(&query), &mut asked, &query, (first..first + ids.len()).map(|i| names.get(i))),
                    None => {
                        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
                        out.add(self.of(&query), &mut asked, &query, ids.iter().map(String::as_str));
                    }
                }
                first += ids.len();
            }
        }
        let left = self.0.iter().filter(|(name, items)| !items.is_empty() && !asked.contains(&name[..]));
        out.missing = left.map(|(name, _)| name.clone()).collect();
        out.missing.sort_unstable();
        match (&out.first_without, out.rows.is_empty()) {
            (Some(first), true) => {
                Err(Error::format(path, format!("nothing is relevant to any of its queries (the first is {first})")))
            }
            (None, true) => Err(Error::Empty { name: path.display().to_string() }),
            _ => Ok(out),
        }
    }
}

impl Judgements {
    fn add<'a, 'r>(
        &mut self,
        relevant: Option<(&'r str, &HashMap<String, f64>)>,
        asked: &mut HashSet<&'r str>,
        query: &str,
        items: impl Iterator<Item = &'a str>,
    ) {
        let Some((name, graded)) = relevant else {
            self.without += 1;
            self.first_without.get_or_insert_with(|| query.to_owned());
            return;
        };
        asked.insert(name);
        let mut seen = HashSet::new();
        let grade = |id: &'a str| graded.get(id).copied().filter(|_| seen.insert(id)).unwrap_or(0.0);
        let grades = items.map(grade).collect();
        let mut ideal: Vec<f64> = graded.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        self.rows.push(Ranked { grades, ideal });
    }
}
