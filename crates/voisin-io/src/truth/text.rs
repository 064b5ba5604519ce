//! Tables of neighbours as text, as they are written here: JSON, csv, tsv, TREC run.

use std::collections::HashMap;

use serde::Deserialize;
use voisin::{Error, Neighbors, Result, StringIds};

use super::{DistanceKind, Truth, intern, renumbered};
use crate::InFile;
use crate::records::{Records, text};

#[derive(Deserialize)]
struct Row {
    query: Name,
    neighbors: Vec<Neighbor>,
}

#[derive(Deserialize)]
struct Neighbor {
    id: Name,
    #[serde(default)]
    distance: Option<f32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Number(u64),
    Text(String),
}

impl Name {
    fn text(self) -> String {
        match self {
            Name::Number(n) => n.to_string(),
            Name::Text(s) => s,
        }
    }
}

/// One line of a table.
struct Line {
    query: String,
    rank: u64,
    id: String,
    distance: f32,
}

pub(super) fn json(file: &InFile, k: Option<usize>) -> Result<Truth> {
    let bytes = file.bytes(0, file.len())?;
    let rows: Vec<Row> = serde_json::from_slice(&bytes).map_err(|e| Error::format(file.path(), format!("JSON: {e}")))?;
    let queries: Vec<String> = rows
        .iter()
        .map(|r| match &r.query {
            Name::Number(n) => n.to_string(),
            Name::Text(s) => s.clone(),
        })
        .collect();
    let mut lines = Vec::new();
    for (row, query) in rows.into_iter().zip(&queries) {
        for (rank, n) in row.neighbors.into_iter().enumerate() {
            let distance = n.distance.unwrap_or(f32::NAN);
            lines.push(Line { query: query.clone(), rank: rank as u64, id: n.id.text(), distance });
        }
    }
    let mut truth = build(file, lines, queries, k)?;
    truth.gaps = false;
    Ok(truth)
}

/// csv and tsv: query, rank, id, distance, and perhaps more.
pub(super) fn table(file: &InFile, separator: char, k: Option<usize>) -> Result<Truth> {
    let text = text(file)?;
    let mut records = Records::new(&text, separator);
    let mut lines = Vec::new();
    while let Some((number, mut fields)) = records.next(file)? {
        let bad = |what: &str| Error::format(file.path(), format!("line {number}: {what}"));
        if number == 1 && fields.get(1).is_some_and(|f| f == "rank") {
            continue;
        }
        fields.truncate(4); // a similarity may stand after the distance
        let [query, rank, id, distance] =
            <[String; 4]>::try_from(fields).map_err(|_| bad("query, rank, id, distance are expected"))?;
        let rank = rank.trim().parse().map_err(|_| bad("the rank is no number"))?;
        let distance = distance.trim().parse().map_err(|_| bad("the distance is no number"))?;
        lines.push(Line { query, rank, id, distance });
    }
    build(file, lines, Vec::new(), k)
}

/// query, Q0, id, rank, score, tag.
pub(super) fn trec(file: &InFile, k: Option<usize>) -> Result<Truth> {
    let text = text(file)?;
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let bad = |what: &str| Error::format(file.path(), format!("line {}: {what}", i + 1));
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[query, _, id, rank, score, _] = &fields[..] else {
            return Err(bad("query, Q0, id, rank, score, tag are expected"));
        };
        let rank = rank.parse().map_err(|_| bad("the rank is no number"))?;
        let distance = score.parse().map_err(|_| bad("the score is no number"))?;
        lines.push(Line { query: query.to_owned(), rank, id: id.to_owned(), distance });
    }
    let mut truth = build(file, lines, Vec::new(), k)?;
    truth.distances = truth.distances.map(|_| DistanceKind::Score);
    truth.notes.push("scores are taken as minus the distance (ip: as the dot product)".into());
    Ok(truth)
}

/// Groups lines by query, each in the order of the ranks. Queries that are numbers are rows of the query file; others
/// follow in the order of their first line (or of `queries`).
fn build(file: &InFile, lines: Vec<Line>, queries: Vec<String>, k: Option<usize>) -> Result<Truth> {
    if lines.is_empty() && queries.is_empty() {
        return Err(Error::format(file.path(), "no neighbours in it"));
    }
    let number = |s: &str| s.parse::<u64>().ok().filter(|n| n.to_string() == *s);
    let numbered = queries.iter().chain(lines.iter().map(|l| &l.query)).all(|q| number(q).is_some());
    let mut rows: Vec<Vec<&Line>> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (query, line) in queries.iter().map(|q| (q, None)).chain(lines.iter().map(|l| (&l.query, Some(l)))) {
        let row = if numbered {
            // a row number may not ask for more memory than the file could describe
            let row = number(query).filter(|&n| n < file.len());
            row.ok_or_else(|| Error::format(file.path(), format!("query {query} is beyond any row")))? as usize
        } else {
            let next = known.len();
            *known.entry(query).or_insert(next)
        };
        if row >= rows.len() {
            rows.resize(row + 1, Vec::new());
        }
        if !numbered && row == names.len() {
            names.push(query);
        }
        rows[row].extend(line);
    }
    rows.iter_mut().for_each(|row| row.sort_by_key(|l| l.rank));
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let keep = k.unwrap_or(width).min(width);
    rows.iter_mut().for_each(|row| row.truncate(keep));

    let numbers: Option<Vec<u64>> = rows.iter().flatten().map(|l| number(&l.id)).collect();
    let strings: StringIds = rows.iter().flatten().map(|l| &l.id).collect();
    let mut table = Neighbors::new(keep);
    rows.iter().for_each(|row| table.push_row(row.iter().map(|l| (l.distance, 0))));
    let has_distances = rows.iter().flatten().any(|l| !l.distance.is_nan());
    let only_strings = numbers.is_none();
    let ids = numbers.unwrap_or_else(|| intern(&strings, &mut HashMap::new()));
    let mut truth = Truth::new(renumbered(&table, ids), has_distances.then_some(DistanceKind::Reported));
    truth.only_strings = only_strings;
    truth.strings = Some(strings);
    truth.query_ids = (!numbered).then(|| names.into_iter().collect());
    truth.gaps = true;
    Ok(truth)
}
