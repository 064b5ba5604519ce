//! Results as text: JSON, csv, tsv, TREC run.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use voisin::{Error, Metric, Result};

use super::{Name, ResultFile};
use crate::AtomicFile;

/// Name of the run in a TREC file.
const TAG: &str = "voisin";

#[derive(Serialize)]
struct Row<'a> {
    query: Name<'a>,
    neighbors: Vec<Neighbor<'a>>,
}

#[derive(Serialize)]
struct Neighbor<'a> {
    id: Name<'a>,
    distance: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
}

/// `[{"query": 0, "neighbors": [{"id": 7, "distance": 0.5}, ...]}, ...]`, a query a line.
pub(super) fn json(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    let mut out = AtomicFile::create(path)?;
    out.write(b"[")?;
    for i in 0..file.neighbors.len() {
        let pairs = file.neighbors.ids(i).iter().zip(file.neighbors.distances(i));
        let one = |(&id, &distance)| Neighbor { id: file.base_name(id), distance, similarity: file.similarity(distance) };
        let neighbors = pairs.map(one).collect();
        out.write(if i == 0 { b"\n" } else { b",\n" })?;
        let row = Row { query: file.query_name(i), neighbors };
        serde_json::to_writer(out.out(), &row).map_err(|e| Error::io(path, e.into()))?;
    }
    out.write(b"\n]\n")?;
    out.commit()
}

pub(super) fn csv(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    table(path, file, ',', |name| match name {
        Name::Text(s) if s.contains([',', '"', '\n', '\r']) => Ok(format!("\"{}\"", s.replace('"', "\"\"")).into()),
        name => Ok(plain(name)),
    })
}

pub(super) fn tsv(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    table(path, file, '\t', |name| match name {
        Name::Text(s) if s.contains(['\t', '\n', '\r']) => Err(format!("id {s:?} has a tab or line break; write .csv")),
        name => Ok(plain(name)),
    })
}

fn plain(name: Name<'_>) -> Cow<'_, str> {
    match name {
        Name::Number(n) => n.to_string().into(),
        Name::Text(s) => s.into(),
    }
}

/// A line a neighbour: query, rank from 1, id, distance, and similarity where it is asked for.
fn table<'a>(
    path: &Path,
    file: &'a ResultFile<'_>,
    separator: char,
    show: impl Fn(Name<'a>) -> Result<Cow<'a, str>, String>,
) -> Result<()> {
    let show = |name| show(name).map_err(|what| Error::format(path, what));
    let mut out = AtomicFile::create(path)?;
    let s = separator;
    let more = file.similarity(0.0).map(|_| format!("{s}similarity")).unwrap_or_default();
    out.write(format!("query{s}rank{s}id{s}distance{more}\n").as_bytes())?;
    for i in 0..file.neighbors.len() {
        let query = show(file.query_name(i))?;
        for (rank, (&id, d)) in file.neighbors.ids(i).iter().zip(file.neighbors.distances(i)).enumerate() {
            let id = show(file.base_name(id))?;
            let more = file.similarity(*d).map(|x| format!("{s}{x}")).unwrap_or_default();
            writeln!(out.out(), "{query}{s}{}{s}{id}{s}{d}{more}", rank + 1).map_err(|e| Error::io(path, e))?;
        }
    }
    out.commit()
}

/// TREC run: query, Q0, id, rank, score, tag. Scores descend: minus the distance for l2 and cosine.
pub(super) fn trec(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    let show = |name| match name {
        Name::Text(s) if s.is_empty() || s.contains(char::is_whitespace) => {
            Err(Error::format(path, format!("id {s:?}: a TREC run separates by spaces, so ids cannot have any; write .csv")))
        }
        name => Ok(plain(name)),
    };
    let mut out = AtomicFile::create(path)?;
    for i in 0..file.neighbors.len() {
        let query = show(file.query_name(i))?;
        for (rank, (&id, &d)) in file.neighbors.ids(i).iter().zip(file.neighbors.distances(i)).enumerate() {
            let id = show(file.base_name(id))?;
            let score = if file.metric == Metric::Ip { d } else { 0.0 - d }; // not "-0"
            writeln!(out.out(), "{query} Q0 {id} {} {score} {TAG}", rank + 1).map_err(|e| Error::io(path, e))?;
        }
    }
    out.commit()
}
