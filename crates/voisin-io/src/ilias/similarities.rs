//! Files of similarities: `{query: {item: similarity}}` as JSON, or a pickle of `query_ids`, `db_ids`, `sims`, `ranks`.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use voisin::eval::ilias::{Report, Similarities};
use voisin::{Error, IdSet, Neighbors, Result, StringIds};

use crate::pickle::{self, Py};
use crate::{AtomicFile, InFile};

/// What a search found, with the names of what occurs in it.
pub struct Retrieved<'a> {
    /// Ids of the queries, one a row.
    pub queries: &'a StringIds,
    /// Rows of the base and similarities; a query left out has an empty row and is not written.
    pub neighbors: &'a Neighbors,
    /// The rows of the base that occur, ascending.
    pub rows: &'a [u64],
    /// Their ids.
    pub names: &'a StringIds,
}

impl Retrieved<'_> {
    fn written(&self) -> impl Iterator<Item = usize> {
        (0..self.neighbors.len()).filter(|&q| !self.neighbors.ids(q).is_empty())
    }

    fn place(&self, row: u64) -> usize {
        self.rows.binary_search(&row).expect("rows are all that occur")
    }
}

/// Writes `{query: {item: similarity}}`, indented by 4 and in ASCII as Python's `json.dump` does, items best first. An id that
/// occurs twice for a query is written once, with its best similarity: an object of JSON has a name once.
///
/// # Errors
/// [`Error::Io`].
pub fn write_json(path: &Path, found: &Retrieved<'_>) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    json(file.out(), found).map_err(|e| Error::io(path, e))?;
    file.commit()
}

fn json(out: &mut impl Write, found: &Retrieved<'_>) -> std::io::Result<()> {
    let set = IdSet::new(found.names.clone());
    let doubled = set.len() < found.names.len();
    let mut separator = "{";
    for q in found.written() {
        write!(out, "{separator}\n    {}: ", Quoted(found.queries.get(q)))?;
        separator = ",";
        let (mut inner, mut seen) = ("{", HashSet::new());
        for (&row, &similarity) in found.neighbors.ids(q).iter().zip(found.neighbors.distances(q)) {
            let name = found.names.get(found.place(row));
            if doubled && !seen.insert(name) {
                continue;
            }
            write!(out, "{inner}\n        {}: ", Quoted(name))?;
            number(out, f64::from(similarity))?;
            inner = ",";
        }
        write!(out, "\n    }}")?;
    }
    write!(out, "{}", if separator == "{" { "{}" } else { "\n}" })
}

/// A string of JSON in ASCII.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"")?;
        let mut units = [0; 2];
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                ' '..='~' => std::fmt::Write::write_char(f, c)?,
                c => c.encode_utf16(&mut units).iter().try_for_each(|u| write!(f, "\\u{u:04x}"))?,
            }
        }
        f.write_str("\"")
    }
}

/// A number as Python's `repr` has it, so that a file that Python reads and writes again keeps its bytes.
fn number(out: &mut impl Write, x: f64) -> std::io::Result<()> {
    let size = x.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return Ok(serde_json::to_writer(out, &x)?); // of two shortest forms the even one, as Python; `{:?}` takes the larger
    }
    let text = format!("{x:e}");
    let (mantissa, exponent) = text.split_once('e').expect("a mantissa and an exponent");
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    write!(out, "{mantissa}e{sign}{digits:0>2}")
}

/// Writes a dict of `query_ids` and `db_ids` (lists of str), `sims` (float32, queries x k) and `ranks` (int64, queries x k,
/// places in `db_ids`, which holds the items that were retrieved and no others).
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] if queries have different numbers of neighbours.
pub fn write_pickle(path: &Path, found: &Retrieved<'_>) -> Result<()> {
    let (mut queries, mut sims, mut ranks) = (StringIds::default(), Vec::new(), Vec::new());
    let width = found.neighbors.ids(found.written().next().unwrap_or(0)).len();
    for q in found.written() {
        let ids = found.neighbors.ids(q);
        if ids.len() != width {
            let what =
                format!("query {} has {} items, others {width}: a table cannot hold them", found.queries.get(q), ids.len());
            return Err(Error::format(path, what + "; save as json"));
        }
        queries.push(found.queries.get(q));
        sims.extend_from_slice(found.neighbors.distances(q));
        ranks.extend(ids.iter().map(|&row| found.place(row) as i64));
    }
    let shape = vec![queries.len(), width];
    let all = vec![
        ("query_ids", Py::Strings(&queries)),
        ("db_ids", Py::Strings(found.names)),
        ("sims", Py::F32(shape.clone(), &sims)),
        ("ranks", Py::I64(shape, &ranks)),
    ];
    pickle::write(path, &Py::Dict(all))
}

/// Writes a report as a pickle: `queries`, `map`, `aps` (float64), `oracle`, `scale`, `clutter`, `categories`, `subcategories`;
/// as JSON where the name ends in `.json`.
///
/// # Errors
/// [`Error::Io`].
pub fn write_report(path: &Path, report: &Report) -> Result<()> {
    fn group(pairs: &[(String, f64)]) -> Py<'_> {
        Py::Dict(pairs.iter().map(|(name, value)| (&name[..], Py::Float(*value))).collect())
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        let group =
            |pairs: &[(String, f64)]| pairs.iter().map(|(n, v)| (n.clone(), (*v).into())).collect::<serde_json::Map<_, _>>();
        let all = serde_json::json!({
            "queries": report.queries, "map": report.map, "aps": report.aps, "oracle": report.oracle,
            "scale": group(&report.scale), "clutter": group(&report.clutter),
            "categories": group(&report.categories), "subcategories": group(&report.subcategories),
        });
        let mut file = AtomicFile::create(path)?;
        serde_json::to_writer_pretty(file.out(), &all).map_err(|e| Error::io(path, e.into()))?;
        return file.commit();
    }
    let queries: StringIds = report.queries.iter().collect();
    let all = vec![
        ("queries", Py::Strings(&queries)),
        ("map", Py::Float(report.map)),
        ("aps", Py::F64(vec![report.aps.len()], &report.aps)),
        ("oracle", Py::Float(report.oracle)),
        ("scale", group(&report.scale)),
        ("clutter", group(&report.clutter)),
        ("categories", group(&report.categories)),
        ("subcategories", group(&report.subcategories)),
    ];
    pickle::write(path, &Py::Dict(all))
}

/// Reads a file of similarities, JSON or pickle by its first byte. The public tools name the scores of a pickle `sims`, their
/// evaluation asks for `similarities`: both are read.
///
/// # Errors
/// [`Error::Format`] for what is no such file or contradicts itself; [`Error::Io`].
pub fn read_similarities(path: &Path) -> Result<Similarities> {
    read_similarities_file(Arc::new(InFile::open(path)?))
}

/// As [`read_similarities`] for a file that is open already.
///
/// # Errors
/// As [`read_similarities`].
pub fn read_similarities_file(file: Arc<InFile>) -> Result<Similarities> {
    let path = &file.path().to_owned();
    let found = match file.head(64)?.trim_ascii_start().first() {
        Some(b'{') => from_json(&file),
        Some(0x80) => from_pickle(file),
        _ => Err(Error::format(path, "neither JSON {query: {item: similarity}} nor a pickle of query_ids, db_ids, sims, ranks")),
    }?;
    if found.queries.is_empty() {
        return Err(Error::format(path, "no query in it"));
    }
    for (q, row) in found.rows.iter().enumerate() {
        if let Some(bad) = row.iter().find(|r| !r.1.is_finite()) {
            let (query, item) = (found.queries.get(q), found.items.get(bad.0 as usize));
            return Err(Error::format(path, format!("query {query}: the similarity of {item} is {}", bad.1)));
        }
    }
    Ok(found)
}

fn from_json(file: &InFile) -> Result<Similarities> {
    let bytes = file.bytes(0, file.len())?;
    let mut gather = Gather::default();
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let done = reader.deserialize_map(Queries(&mut gather)).and_then(|()| reader.end());
    done.map_err(|e| Error::format(file.path(), format!("{{query: {{item: similarity}}}} is expected; JSON: {e}")))?;
    Ok(gather.all)
}

/// Similarities as they are read; ids of items are numbered in the order of their first appearance.
#[derive(Default)]
struct Gather {
    all: Similarities,
    numbers: HashMap<String, u32>,
    rows: HashMap<String, usize>,
}

/// The outer object.
struct Queries<'a>(&'a mut Gather);

impl<'de> Visitor<'de> for Queries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of queries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(query) = map.next_key::<String>()? {
            let row = map.next_value_seed(Items(self.0))?;
            // as in Python, the last of equal names counts
            match self.0.rows.get(&query) {
                Some(&at) => self.0.all.rows[at] = row,
                None => {
                    self.0.all.queries.push(&query);
                    self.0.all.rows.push(row);
                    self.0.rows.insert(query, self.0.all.rows.len() - 1);
                }
            }
        }
        Ok(())
    }
}

/// An inner object.
struct Items<'a>(&'a mut Gather);

impl<'de> serde::de::DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<(u32, f64)>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<(u32, f64)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of items and their similarities")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut row = Vec::new();
        while let Some((item, similarity)) = map.next_entry::<String, f64>()? {
            let number = match self.0.numbers.get(&item) {
                Some(&number) => number,
                None => {
                    let number = u32::try_from(self.0.numbers.len()).map_err(|_| serde::de::Error::custom("too many items"))?;
                    self.0.all.items.push(&item);
                    self.0.numbers.insert(item, number);
                    number
                }
            };
            row.push((number, similarity));
        }
        Ok(row)
    }
}

fn from_pickle(file: Arc<InFile>) -> Result<Similarities> {
    let doc = pickle::parse(file)?;
    let get = |names: &[&str]| {
        let found = names.iter().find_map(|n| doc.get(doc.root, n));
        found.ok_or_else(|| doc.error(format!("no `{}` in it: a dict of query_ids, db_ids, sims, ranks is expected", names[0])))
    };
    let queries = pickle::string_list(&doc, get(&["query_ids"])?)?;
    let items = pickle::string_list(&doc, get(&["db_ids"])?)?;
    let table = |names: &[&str]| {
        let view = doc.view(get(names)?)?.filter(|v| v.shape().len() == 2 && v.shape()[0] == queries.len() as u64);
        view.ok_or_else(|| doc.error(format!("`{}` is no table of {} rows, one a query", names[0], queries.len())))
    };
    let (sims, ranks) = (table(&["sims", "similarities"])?, table(&["ranks"])?);
    if sims.shape() != ranks.shape() {
        return Err(doc.error(format!("`sims` is {:?}, `ranks` {:?}", sims.shape(), ranks.shape())));
    }
    if items.len() > 1 << 24 {
        return Err(doc.error(format!("{} db_ids; up to 16,777,216 can be told apart", items.len())));
    }
    let k = sims.shape()[1] as usize;
    let (sims, ranks) = (sims.to_f32()?, ranks.to_f32()?);
    let mut rows = Vec::with_capacity(queries.len());
    for q in 0..queries.len() {
        let one = |(&s, &r): (&f32, &f32)| {
            let inside = r >= 0.0 && r < items.len() as f32 && r.fract() == 0.0;
            if inside { Ok((r as u32, f64::from(s))) } else { Err(r) }
        };
        let row: std::result::Result<Vec<_>, f32> = sims[q * k..][..k].iter().zip(&ranks[q * k..][..k]).map(one).collect();
        let wrong = |r| doc.error(format!("query {}: rank {r} is no place in the {} db_ids", queries.get(q), items.len()));
        rows.push(row.map_err(wrong)?);
    }
    Ok(Similarities { queries, items, rows })
}
