//! Which data sets a Python value holds: arrays, lists of vectors, dicts of either, and the strings that name rows.

use std::sync::Arc;

use voisin::{Error, Result, Source, StringIds};

use super::build::fixed_text;
use super::value::{Data, Doc, Kind, Value};
use super::view::{View, product};
use crate::{Dataset, DatasetKind, Role, choose, kind_of, spec_name};

/// Dicts and lists within one another that are looked into.
const MAX_DEPTH: usize = 6;
/// Data sets of one file; a state dict of a large model has a few thousand.
const MAX_SETS: usize = 1 << 16;
/// Entries of a dict that are listed one by one although none of them can be used.
const MAX_OTHER: usize = 16;
/// Names of a list of strings that certainly names the rows beside it.
const ID_NAMES: [&str; 10] = ["ids", "id", "index", "names", "name", "keys", "labels", "paths", "files", "filenames"];

/// A data set and where its content is.
pub(crate) struct Set {
    pub(crate) info: Dataset,
    what: What,
}

enum What {
    View(View),
    /// One vector a value, with the name of each where there are names.
    Rows(Vec<Value>, Option<Vec<Value>>),
    Strings(Value),
    Other,
}

/// What a value could be the row of a table as.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    No,
    Vector(u64),
    Number,
    Text,
}

struct Walk<'a> {
    doc: &'a Doc,
    sets: Vec<Set>,
    /// What each list was found to be, so that one that is referred to often is looked at once.
    lists: Vec<Option<Row>>,
    /// Values looked at so far: lists that hold each other many times over would keep a walk busy for ever.
    work: u64,
}

/// All data sets of a value, in order.
///
/// # Errors
/// If an array contradicts itself, or there are absurdly many.
pub(crate) fn sets(doc: &Doc) -> Result<Vec<Set>> {
    let mut walk = Walk { doc, sets: Vec::new(), lists: vec![None; doc.heap.lists.len()], work: 0 };
    walk.value(doc.root, String::new(), 0)?;
    Ok(walk.sets)
}

/// The data sets as `voisin info` lists them.
pub(crate) fn describe(doc: &Doc) -> Result<Vec<Dataset>> {
    Ok(sets(doc)?.into_iter().map(|s| s.info).collect())
}

/// The data set that is meant, as a stream of rows.
pub(crate) fn open(doc: Doc, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let mut all = sets(&doc)?;
    // one query is often saved as a plain vector
    if let (Role::Queries, None, [Set { info, what: What::View(view) }]) = (role, dataset, &all[..])
        && let Some(row) = view.as_row()
    {
        return row.source(&info.name, None);
    }
    let infos: Vec<Dataset> = all.iter().map(|s| s.info.clone()).collect();
    let i = choose(&infos, dataset, role, doc.file.path())?;
    let ids = ids_beside(&doc, &all, i)?;
    let Set { info, what } = all.swap_remove(i);
    match what {
        What::View(view) if view.shape().len() == 2 => view.source(&info.name, ids),
        What::Rows(rows, names) => {
            let ids = match names {
                Some(names) => Some(strings(&doc, &names)?),
                None => ids,
            };
            let (name, d) = (spec_name(doc.file.path(), &info.name), info.shape[1] as usize);
            let fingerprint = doc.file.file().fingerprint(&info.name);
            Ok(Box::new(RowSource { doc: Arc::new(doc), rows, d, name, ids, fingerprint }))
        }
        _ => Err(doc.error(format!("`{}` is no n x d table of numbers", info.name))),
    }
}

/// The only list of as many strings beside data set `i`, or the one with a telling name.
fn ids_beside(doc: &Doc, all: &[Set], i: usize) -> Result<Option<StringIds>> {
    let parent = |name: &str| name.rsplit_once('/').map_or("", |p| p.0).to_owned();
    let (folder, n) = (parent(&all[i].info.name), all[i].info.shape.first());
    let mut fits: Vec<(&str, Value)> = Vec::new();
    for s in all {
        if let What::Strings(v) = s.what
            && s.info.shape.first() == n
            && parent(&s.info.name) == folder
        {
            fits.push((s.info.name.rsplit('/').next().unwrap_or(""), v));
        }
    }
    let telling = ID_NAMES.iter().find_map(|n| fits.iter().find(|f| f.0.eq_ignore_ascii_case(n)));
    match (telling, &fits[..]) {
        (Some(&(_, v)), _) | (None, &[(_, v)]) => string_list(doc, v).map(Some),
        _ => Ok(None),
    }
}

/// The strings of a list, a tuple or an array of strings.
pub(crate) fn string_list(doc: &Doc, v: Value) -> Result<StringIds> {
    if let Some(items) = doc.items(v) {
        return strings(doc, items);
    }
    let Value::Array(i) = v else { return Err(doc.error("no list of strings")) };
    let a = &doc.heap.arrays[i as usize];
    match (&a.data, a.dtype.kind) {
        (Data::Objects(l), _) => strings(doc, &doc.heap.lists[*l as usize]),
        (Data::Bytes(b), Kind::Utf32(w) | Kind::Ascii(w)) => {
            let width = if matches!(a.dtype.kind, Kind::Utf32(_)) { 4 * w } else { w };
            let n = a.shape.first().copied().unwrap_or(0);
            if width == 0 || n.checked_mul(width as u64) != Some(b.len()) {
                return Err(doc.error(format!("{n} strings of {width} bytes in {} bytes", b.len())));
            }
            Ok(b.to_vec()?.chunks_exact(width).map(|c| fixed_text(a.dtype.kind, a.dtype.big, c)).collect())
        }
        _ => Err(doc.error("no list of strings")),
    }
}

fn strings(doc: &Doc, items: &[Value]) -> Result<StringIds> {
    let mut out = StringIds::default();
    let mut total = 0;
    for &v in items {
        let s = doc.key(v);
        // one long string may be referred to many times
        total += s.len() as u64;
        if total > doc.file.len().saturating_mul(4) {
            return Err(doc.error("names of rows that are longer than the file"));
        }
        out.push(&s);
    }
    Ok(out)
}

impl Walk<'_> {
    fn value(&mut self, v: Value, name: String, depth: usize) -> Result<()> {
        if self.sets.len() >= MAX_SETS {
            return Err(self.doc.error(format!("more than {MAX_SETS} data sets")));
        }
        let inside = self.doc.items(v).map_or(0, <[Value]>::len) + self.doc.pairs(v).map_or(0, <[_]>::len);
        self.work += 1 + inside as u64;
        if self.work > self.doc.file.len().saturating_mul(16).saturating_add(10_000) {
            return Err(self.doc.error("values that hold each other over and over"));
        }
        match v {
            Value::Array(_) => self.array(v, name),
            Value::List(_) | Value::Tuple(_) => self.list(v, name, depth),
            Value::Dict(_) => self.dict(v, name, depth),
            _ => {
                self.push(name, vec![], type_name(v), String::new(), What::Other);
                Ok(())
            }
        }
    }

    fn push(&mut self, name: String, shape: Vec<u64>, dtype: &str, layout: String, what: What) {
        let kind = match what {
            What::Strings(_) => DatasetKind::Strings,
            What::Other => DatasetKind::Other,
            _ => kind_of(&name, &shape, dtype),
        };
        self.sets.push(Set { info: Dataset { name, shape, dtype: dtype.into(), kind, layout }, what });
    }

    fn array(&mut self, v: Value, name: String) -> Result<()> {
        let Value::Array(i) = v else { return Ok(()) };
        if let Some(view) = self.doc.view(v)? {
            let (shape, dtype, layout) = (view.shape().to_vec(), view.elem().name(), view.layout());
            self.push(name, shape, dtype, layout, What::View(view));
            return Ok(());
        }
        let a = &self.doc.heap.arrays[i as usize];
        let text = match (&a.data, a.dtype.kind) {
            (Data::Bytes(_), Kind::Utf32(_) | Kind::Ascii(_)) => true,
            (Data::Objects(l), _) => self.row(Value::List(*l)) == Row::Text,
            _ => false,
        };
        let shape = self.doc.heap.arrays[i as usize].shape.clone();
        match (text, shape.len()) {
            (true, 1) => self.push(name, shape, "str", String::new(), What::Strings(v)),
            (true, _) => self.push(name, shape, "str", String::new(), What::Other),
            _ => self.push(name, shape, "object", String::new(), What::Other),
        }
        Ok(())
    }

    /// What a value is as an item of a list.
    fn row(&mut self, v: Value) -> Row {
        match v {
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => Row::Number,
            Value::Str(_) => Row::Text,
            Value::Array(i) => {
                let a = &self.doc.heap.arrays[i as usize];
                match (a.dtype.kind, &a.data, &a.shape[..]) {
                    (_, Data::Pending | Data::Objects(_), _) => Row::No,
                    // networks give the features of one image as a table of one row
                    (Kind::Num(_), _, &[d] | &[1, d]) => Row::Vector(d),
                    _ => Row::No,
                }
            }
            Value::List(i) | Value::Tuple(i) => {
                if let Some(known) = self.lists[i as usize] {
                    return known;
                }
                let items = &self.doc.heap.lists[i as usize];
                let all = |f: fn(&Value) -> bool| !items.is_empty() && items.iter().all(f);
                let found = if all(|v| matches!(v, Value::Int(_) | Value::Float(_) | Value::Bool(_))) {
                    Row::Vector(items.len() as u64)
                } else if all(|v| matches!(v, Value::Str(_))) {
                    Row::Text
                } else {
                    Row::No
                };
                self.lists[i as usize] = Some(found);
                found
            }
            _ => Row::No,
        }
    }

    /// The common length of vectors, and none when they are no vectors or their lengths differ.
    fn common(&mut self, rows: &[Value]) -> Result<Option<u64>> {
        let Some(&first) = rows.first() else { return Ok(None) };
        let Row::Vector(d) = self.row(first) else { return Ok(None) };
        for &v in rows {
            if self.row(v) != Row::Vector(d) {
                return Ok(None);
            }
        }
        // a row that is referred to again and again must not become more than the file could hold
        match product(&[rows.len() as u64, d]) {
            Some(n) if n > 0 && n <= self.doc.file.len() => Ok(Some(d)),
            Some(0) => Ok(None),
            _ => {
                let (n, len) = (rows.len(), self.doc.file.len());
                Err(self.doc.error(format!("{n} vectors of {d} dimensions in a file of {len} bytes")))
            }
        }
    }

    fn rows(&mut self, name: String, rows: Vec<Value>, d: u64, names: Option<Vec<Value>>) -> Result<()> {
        let dtype = match (self.doc.view(rows[0])?, self.doc.items(rows[0])) {
            (Some(view), _) => view.elem().name(),
            (_, Some(items)) if items.iter().all(|v| matches!(v, Value::Int(_))) => "i64",
            _ => "f64",
        };
        let layout = if names.is_some() { "one vector a name" } else { "list of vectors" };
        self.push(name, vec![rows.len() as u64, d], dtype, layout.into(), What::Rows(rows, names));
        Ok(())
    }

    fn list(&mut self, v: Value, name: String, depth: usize) -> Result<()> {
        let doc = self.doc;
        let items = doc.items(v).unwrap_or_default();
        let n = items.len() as u64;
        match self.row(v) {
            Row::Text => {
                self.push(name, vec![n], "str", String::new(), What::Strings(v));
                return Ok(());
            }
            Row::Vector(_) => {
                self.push(name, vec![n], "f64", "list".into(), What::Other);
                return Ok(());
            }
            _ => {}
        }
        if let Some(d) = self.common(items)? {
            return self.rows(name, items.to_vec(), d, None);
        }
        // (name, vector) pairs
        let pair = |&v: &Value| match doc.items(v) {
            Some(&[k @ Value::Str(_), x]) => Some((k, x)),
            _ => None,
        };
        if let Some((names, rows)) = items.iter().map(pair).collect::<Option<(Vec<_>, Vec<_>)>>()
            && let Some(d) = self.common(&rows)?
        {
            return self.rows(name, rows, d, Some(names));
        }
        let parts = items.iter().enumerate().map(|(i, &v)| (i.to_string(), v));
        self.parts(parts, items.len(), name, depth)
    }

    fn dict(&mut self, v: Value, name: String, depth: usize) -> Result<()> {
        let doc = self.doc;
        let pairs = doc.pairs(v).unwrap_or_default();
        let (keys, values): (Vec<Value>, Vec<Value>) = pairs.iter().copied().unzip();
        if let Some(d) = self.common(&values)? {
            return self.rows(name, values, d, Some(keys));
        }
        let parts = pairs.iter().map(|&(k, v)| (doc.key(k), v));
        self.parts(parts, pairs.len(), name, depth)
    }

    fn parts(&mut self, parts: impl Iterator<Item = (String, Value)>, n: usize, name: String, depth: usize) -> Result<()> {
        if depth >= MAX_DEPTH || n == 0 {
            self.push(name, vec![n as u64], "object", String::new(), What::Other);
            return Ok(());
        }
        let before = self.sets.len();
        for (key, v) in parts {
            let key = key.chars().take(200).collect::<String>();
            let name = if name.is_empty() { key } else { format!("{name}/{key}") };
            self.value(v, name, depth + 1)?;
        }
        // a dict of scores has an entry a query: say that it is one
        let nothing = self.sets[before..].iter().all(|s| matches!(s.what, What::Other));
        if nothing && self.sets.len() - before > MAX_OTHER {
            self.sets.truncate(before);
            self.push(name, vec![n as u64], "object", String::new(), What::Other);
        }
        Ok(())
    }
}

fn type_name(v: Value) -> &'static str {
    match v {
        Value::None => "None",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::BigInt(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "str",
        Value::Bytes(_) => "bytes",
        _ => "object",
    }
}

/// One vector a row, each where the file has it, or numbers of Python already parsed.
struct RowSource {
    doc: Arc<Doc>,
    rows: Vec<Value>,
    d: usize,
    name: String,
    ids: Option<StringIds>,
    fingerprint: u64,
}

impl Source for RowSource {
    fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let rows = &self.rows[start as usize..];
        for (&v, out) in rows.iter().zip(out.chunks_exact_mut(self.d)) {
            if let Some(view) = self.doc.view(v)? {
                view.fill(out)?;
                continue;
            }
            let bad = || Error::format(self.doc.file.path(), "a row that is no list of numbers");
            for (&x, o) in self.doc.items(v).ok_or_else(bad)?.iter().zip(out) {
                *o = self.doc.number(x).ok_or_else(bad)? as f32;
            }
        }
        Ok(())
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        Ok(self.ids.clone())
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}
