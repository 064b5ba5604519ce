//! Strings that belong to the rows of a dataset and lie in a file of their own: names, labels, texts.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result, StringIds};

use crate::file::InFile;
use crate::pickle::{self, Doc, Value};
use crate::records::{Records, text};
use crate::{Elem, FileSpec, Format, Role, hdf5, npy};

/// What strings are wanted for: decides between the columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringRole {
    /// File names or titles.
    Names,
    /// Classes.
    Labels,
    /// Longer texts.
    Texts,
}

/// Strings of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// The strings.
    pub values: StringIds,
    /// The id (or file name) that each belongs to, where the file says so; otherwise they belong to the rows in their order.
    pub keys: Option<StringIds>,
}

impl StringRole {
    /// Names that such a column has, the likeliest first.
    fn columns(self) -> &'static [&'static str] {
        match self {
            StringRole::Names => &[
                "name",
                "names",
                "file",
                "files",
                "filename",
                "filenames",
                "path",
                "paths",
                "image_path",
                "image",
                "images",
                "url",
                "title",
                "index",
                "id",
                "ids",
            ],
            StringRole::Labels => &["label", "labels", "class", "classes", "category", "categories", "target", "targets"],
            StringRole::Texts => &[
                "text",
                "texts",
                "caption",
                "captions",
                "description",
                "descriptions",
                "sentence",
                "sentences",
                "title",
                "titles",
            ],
        }
    }
}

/// Names of columns that say what the others belong to.
const KEYS: [&str; 10] = ["id", "ids", "index", "path", "paths", "file", "filename", "filenames", "name", "image"];

/// Reads the strings of `FILE`, or of `FILE::NAME` where it has several columns, entries or data sets, for a dataset of `rows`
/// rows (which tells a heading from a first line).
///
/// - a pickle of a list, tuple or array of strings or whole numbers, a dict of such (an entry is named), or a dict that gives
///   each id its string;
/// - `.npy` of strings or whole numbers; a data set of an HDF5 file (`FILE::NAME`, or the one of a usual name);
/// - `.csv` and `.tsv` with a heading or with one column; `.json`, a list or an object of strings; any other text, one a line.
///
/// Nothing of a pickle is run. Memory: the file and the strings.
///
/// # Errors
/// [`Error::Format`] for a file that holds no such strings, or several columns of which none has a usual name.
pub fn read_strings(spec: &str, role: StringRole, rows: u64) -> Result<Strings> {
    let FileSpec { path, dataset } = FileSpec::parse(spec);
    read_strings_file(Arc::new(InFile::open(&path)?), dataset.as_deref(), role, rows)
}

/// As [`read_strings`] for a file that is open already.
///
/// # Errors
/// As [`read_strings`].
pub fn read_strings_file(file: Arc<InFile>, name: Option<&str>, role: StringRole, rows: u64) -> Result<Strings> {
    let path = file.path().to_owned();
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match &ending[..] {
        "csv" => return table(&file, ',', name, role, rows),
        "tsv" => return table(&file, '\t', name, role, rows),
        "json" | "txt" | "text" => {}
        _ => match crate::detect::detect_file(&file) {
            Ok(Format::Hdf5) => return plain(of_hdf5(file, name, role)?),
            Ok(Format::Npy) => return plain(of_npy(file)?),
            Ok(Format::Pickle) => return of_pickle(&pickle::parse(file)?, name, role),
            Ok(Format::Text) | Err(_) => {}
            Ok(other) => {
                let what = format!("{} where a pickle, .npy, HDF5, csv, json or text of strings is expected", other.name());
                return Err(Error::format(&path, what));
            }
        },
    }
    if let Some(name) = name {
        return Err(Error::format(
            &path,
            format!("`{name}`: a {} file has no named parts", if ending == "json" { "json" } else { "text" }),
        ));
    }
    let text = text(&file)?;
    if ending == "json" { of_json(&path, &text) } else { lines(&text) }
}

fn plain(values: StringIds) -> Result<Strings> {
    Ok(Strings { values, keys: None })
}

/// One a line; the end of the last line is no line of its own.
fn lines(text: &str) -> Result<Strings> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    plain(text.lines().collect())
}

fn table(file: &InFile, separator: char, name: Option<&str>, role: StringRole, rows: u64) -> Result<Strings> {
    let text = text(file)?;
    let mut records = Records::new(&text, separator);
    let mut all: Vec<Vec<String>> = Vec::new();
    while let Some((line, fields)) = records.next(file)? {
        if all.first().is_some_and(|first| first.len() != fields.len()) {
            let what = format!("line {line} has {} fields, where the first has {}", fields.len(), all[0].len());
            return Err(Error::format(file.path(), what));
        }
        all.push(fields);
    }
    let Some(first) = all.first().cloned() else { return Err(Error::Empty { name: file.path().display().to_string() }) };
    let known = |f: &String| {
        let f = f.trim().to_ascii_lowercase();
        [StringRole::Names, StringRole::Labels, StringRole::Texts].iter().any(|r| r.columns().contains(&&f[..]))
    };
    let find = |names: &[&str]| names.iter().find_map(|n| first.iter().position(|f| f.trim().eq_ignore_ascii_case(n)));
    let headed = name.is_some() || all.len() as u64 != rows && (first.iter().any(known) || all.len() as u64 == rows + 1);
    let column = match name {
        Some(name) => find(&[name]),
        None if first.len() == 1 => Some(0),
        None if headed => find(role.columns()),
        None => None,
    };
    let column = column.ok_or_else(|| {
        let wanted = name.map_or_else(|| role.columns()[..2].join(" or "), str::to_owned);
        let what = format!("no column `{wanted}` among: {}; FILE::COLUMN names one", first.join(", "));
        Error::format(file.path(), what)
    })?;
    let key = KEYS.iter().filter_map(|n| find(&[n])).find(|k| *k != column).filter(|_| headed);
    let body = || all.iter().skip(usize::from(headed));
    Ok(Strings { values: body().map(|r| &r[column]).collect(), keys: key.map(|k| body().map(|r| &r[k]).collect()) })
}

fn of_json(path: &Path, text: &str) -> Result<Strings> {
    use serde_json::Value as Json;
    let wrong = |what: String| Error::format(path, format!("JSON: {what}"));
    let string = |v: &Json| match v {
        Json::String(s) => Ok(s.clone()),
        Json::Number(n) => Ok(n.to_string()),
        other => Err(wrong(format!("{} where a string is expected", other.to_string().chars().take(40).collect::<String>()))),
    };
    match serde_json::from_str(text).map_err(|e| wrong(e.to_string()))? {
        Json::Array(items) => plain(items.iter().map(string).collect::<Result<Vec<_>>>()?.iter().collect()),
        Json::Object(pairs) => {
            let values: Vec<String> = pairs.values().map(string).collect::<Result<_>>()?;
            Ok(Strings { values: values.iter().collect(), keys: Some(pairs.keys().collect()) })
        }
        _ => Err(wrong("a list or an object of strings is expected".into())),
    }
}

fn of_hdf5(file: Arc<InFile>, name: Option<&str>, role: StringRole) -> Result<StringIds> {
    let file = hdf5::H5::open(file)?;
    let all = hdf5::walk(&file)?;
    let is = |f: &hdf5::Found, name: &str| f.name == name.trim_matches('/');
    let found = match name {
        Some(name) => all.iter().find(|f| is(f, name)),
        None => role.columns().iter().find_map(|n| all.iter().find(|f| is(f, n))),
    };
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().take(20).map(|f| &f.name[..]).collect();
        let wanted = name.unwrap_or(role.columns()[0]);
        Error::format(file.path(), format!("no data set `{wanted}` among: {}; FILE::NAME names one", names.join(", ")))
    })?;
    let Some((elem, big)) = found.elem else { return hdf5::read_strings(&file, found) };
    if found.dataset.ndim() != 1 {
        return Err(Error::format(
            file.path(),
            format!("`{}` has {} axes where a list is expected", found.name, found.dataset.ndim()),
        ));
    }
    let bytes = hdf5::stored_bytes(&file, found, elem.size())?;
    whole_numbers(file.path(), &bytes, elem, big)
}

fn of_npy(file: Arc<InFile>) -> Result<StringIds> {
    match npy::strings_of(&file)? {
        Some(strings) => Ok(strings),
        None => {
            let source = npy::open_file(file.clone(), None, Role::Queries)?;
            if source.len() != 1 {
                let what = format!("{} x {} numbers where a list is expected", source.len(), source.dim());
                return Err(Error::format(file.path(), what));
            }
            let mut row = vec![0.0; source.dim()];
            source.read(0, &mut row)?;
            numbers(file.path(), &row)
        }
    }
}

fn of_pickle(doc: &Doc, name: Option<&str>, role: StringRole) -> Result<Strings> {
    let mut value = doc.root;
    for part in name.iter().flat_map(|n| n.split('/')) {
        let entry = doc.pairs(value).and_then(|pairs| pairs.iter().rev().find(|p| doc.key(p.0) == part)).map(|p| p.1);
        value = entry.ok_or_else(|| doc.error(format!("no entry `{part}` in it")))?;
    }
    let Some(pairs) = doc.pairs(value) else { return plain(list(doc, value)?) };
    let single = |v: Value| matches!(v, Value::Str(_) | Value::Bytes(_) | Value::Int(_));
    if pairs.iter().all(|p| single(p.0) && single(p.1)) && !pairs.is_empty() {
        let (keys, values): (Vec<String>, Vec<String>) = pairs.iter().map(|p| (doc.key(p.0), doc.key(p.1))).unzip();
        // {name: row} as well as {row: name}
        let rows = pairs.iter().all(|p| matches!(p.1, Value::Int(_))) && !pairs.iter().all(|p| matches!(p.0, Value::Int(_)));
        let (keys, values) = if rows && role == StringRole::Names { (values, keys) } else { (keys, values) };
        return Ok(Strings { values: values.iter().collect(), keys: Some(keys.iter().collect()) });
    }
    let entry = role.columns().iter().find_map(|n| doc.get(value, n));
    let entry = entry.ok_or_else(|| {
        let names: Vec<String> = pairs.iter().take(20).map(|p| doc.key(p.0)).collect();
        doc.error(format!("no entry `{}` among: {}; FILE::NAME names one", role.columns()[0], names.join(", ")))
    })?;
    plain(list(doc, entry)?)
}

/// A list of strings, or of whole numbers.
fn list(doc: &Doc, value: Value) -> Result<StringIds> {
    if let Some(items) = doc.items(value) {
        let odd = |v: &Value| !matches!(v, Value::Str(_) | Value::Bytes(_) | Value::Int(_));
        if let Some(row) = items.iter().position(odd) {
            return Err(doc.error(format!("row {row} is neither a string nor a whole number")));
        }
    } else if let Some(view) = doc.view(value)? {
        return numbers(doc.file.path(), &view.to_f32()?);
    }
    pickle::string_list(doc, value)
}

fn whole_numbers(path: &Path, bytes: &[u8], elem: Elem, big: bool) -> Result<StringIds> {
    let mut values = vec![0.0; bytes.len() / elem.size()];
    elem.decode(bytes, big, &mut values);
    numbers(path, &values)
}

/// Classes as numbers: whole ones that f32 holds.
fn numbers(path: &Path, values: &[f32]) -> Result<StringIds> {
    if let Some(row) = values.iter().position(|x| x.fract() != 0.0 || x.abs() > 16_777_216.0) {
        return Err(Error::format(path, format!("row {row} is {}: whole numbers up to 2^24 are read as labels", values[row])));
    }
    Ok(values.iter().map(|x| format!("{x:.0}")).collect())
}
