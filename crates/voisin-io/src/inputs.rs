//! The files of a build in parts: found by patterns, or listed before they are there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use voisin::index::job::{Input, Inputs, Seen};
use voisin::{Error, Result, Source, Watch};

use crate::file::InFile;
use crate::open::{chosen, open_spec};
use crate::paths::{FileSpec, expand, natural_paths};
use crate::{Role, spec_name};

/// Bytes hashed at once.
const BLOCK: u64 = 4 << 20;
/// Most files that a gap in the numbers of file names is taken for.
const MOST_GAPS: u64 = 100_000;

/// Files by the names in a plan: `path` or `path::dataset`, relative ones from a folder.
#[derive(Clone, Debug, Default)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Relative names are looked up in `root` (the working folder, where it is empty).
    pub fn new(root: impl Into<PathBuf>) -> Files {
        Files { root: root.into() }
    }

    /// Where the file of a name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.spec(name).path
    }

    fn spec(&self, name: &str) -> FileSpec {
        let direct = self.root.join(name);
        if direct.exists() {
            return FileSpec { path: direct, dataset: None };
        }
        let FileSpec { path, dataset } = FileSpec::parse(name);
        FileSpec { path: self.root.join(path), dataset }
    }
}

impl Inputs for Files {
    fn look(&self, file: &str) -> Result<Seen> {
        let spec = self.spec(file);
        let bytes = std::fs::metadata(&spec.path).map_err(|e| Error::io(&spec.path, e))?.len();
        let (_, set) = chosen(&spec, Role::Base)?;
        let source = open_spec(&spec, Role::Base)?;
        let strings = source.ids()?.is_some();
        Ok(Seen {
            rows: source.len(),
            d: source.dim(),
            dtype: set.dtype,
            bytes,
            strings,
            metric: source.metric(),
            made_by: source.made_by(),
        })
    }

    fn open(&self, file: &str) -> Result<Box<dyn Source>> {
        open_spec(&self.spec(file), Role::Base)
    }

    fn sha256(&self, file: &str, watch: &dyn Watch) -> Result<String> {
        let file = InFile::open(&self.spec(file).path)?;
        let (mut hash, mut at) = (Sha256::new(), 0);
        let mut buffer = vec![0; BLOCK.min(file.len()) as usize];
        while at < file.len() {
            watch.check()?;
            let now = &mut buffer[..BLOCK.min(file.len() - at) as usize];
            file.read_at(now, at)?;
            hash.update(&*now);
            at += now.len() as u64;
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }
}

/// Inputs that are there: files, patterns, folders or templates, as for [`crate::open_all`], and what one of them holds.
///
/// A file that cannot be read has its problem instead of rows, and so has one that a gap in the numbers of the names shows.
///
/// # Errors
/// Nothing there at all; files of different dimensions.
pub fn found(patterns: &[String]) -> Result<(Vec<Input>, Option<Seen>)> {
    let files = Files::default();
    let (mut all, mut first): (Vec<Input>, Option<Seen>) = (Vec::new(), None);
    for pattern in patterns {
        let specs = expand(std::slice::from_ref(pattern))?;
        let names: Vec<String> = specs.iter().map(|s| spec_name(&s.path, s.dataset.as_deref().unwrap_or_default())).collect();
        let gaps = if specs.len() > 1 { gaps(&specs) } else { vec![] };
        let mut some: Vec<Input> = Vec::new();
        for file in names {
            some.push(looked_at(&files, Input { file, ..Input::default() }, &mut first)?);
        }
        if !gaps.is_empty() {
            some.extend(gaps.into_iter().map(|file| {
                let problem = Some("is not there, though files of smaller and of larger numbers are".into());
                Input { file, problem, ..Input::default() }
            }));
            some.sort_by(|a, b| natural_paths(&PathBuf::from(&a.file), &PathBuf::from(&b.file)));
        }
        all.extend(some);
    }
    once(&all, &files)?;
    Ok((all, first))
}

/// An input with what its file holds now: its rows where they are not known, its problem where it is not as it should be.
fn looked_at(files: &Files, mut input: Input, first: &mut Option<Seen>) -> Result<Input> {
    match files.look(&input.file) {
        Ok(seen) => {
            input.present = true;
            if let Some(before) = first.as_ref().filter(|f| f.d != seen.d) {
                let context = "the files before it".to_string();
                return Err(Error::Dimension { name: input.file, expected: before.d, got: seen.d, context });
            }
            if let Some(before) = first.as_ref().filter(|f| f.strings != seen.strings) {
                let has = |strings| if strings { "string ids" } else { "no string ids" };
                let what = format!("it has {} where the files before it have {}", has(seen.strings), has(before.strings));
                return Err(Error::format(input.file, format!("{what}: give all of them ids, or none")));
            }
            if input.rows == 0 && input.dtype.is_none() {
                (input.rows, input.dtype) = (seen.rows, Some(seen.dtype.clone()));
            } else if input.rows != seen.rows {
                input.problem = Some(format!("{} rows where the list says {}", seen.rows, input.rows));
            } else if input.dtype.as_ref().is_some_and(|t| *t != seen.dtype) {
                let listed = input.dtype.clone().unwrap_or_default();
                input.problem = Some(format!("values of type {} where the list says {listed}", seen.dtype));
            }
            first.get_or_insert(seen);
        }
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(Error::Format { what, .. }) => (input.problem, input.present) = (Some(what), true),
        Err(e) => return Err(e),
    }
    Ok(input)
}

/// Refuses a file that stands twice, under one name or under two names of one path.
fn once(all: &[Input], root: &Files) -> Result<()> {
    let mut seen = HashMap::with_capacity(all.len());
    let mut folders: HashMap<PathBuf, PathBuf> = HashMap::new();
    for input in all {
        let FileSpec { path, dataset } = root.spec(&input.file);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let real = folders.entry(folder).or_insert_with_key(|f| {
            let here = if f.as_os_str().is_empty() { Path::new(".") } else { f };
            std::fs::canonicalize(here).unwrap_or_else(|_| f.components().collect())
        });
        if let Some(before) = seen.insert((real.join(path.file_name().unwrap_or_default()), dataset), &input.file) {
            let also = if *before == input.file { String::new() } else { format!(", also as {before}") };
            return Err(Error::format(&input.file, format!("stands twice among the inputs{also}")));
        }
    }
    Ok(())
}

/// Files that patterns and folders among `inputs` seem to lack: names of a number between those of others that are there. Rows
/// are counted as if they had never been.
///
/// # Errors
/// As [`crate::expand`].
pub fn lacking(inputs: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for input in inputs {
        let specs = expand(std::slice::from_ref(input))?;
        if specs.len() > 1 {
            all.extend(gaps(&specs));
        }
    }
    Ok(all)
}

/// Names that a run of numbered files lacks, where all names differ in one number alone.
fn gaps(specs: &[FileSpec]) -> Vec<String> {
    let names: Vec<String> = specs.iter().map(|s| s.path.to_string_lossy().into_owned()).collect();
    let same = |x: fn(&(&str, &str)) -> bool| names.windows(2).all(|w| x(&(&w[0], &w[1])));
    if !same(|w| w.0 != w.1) {
        return vec![];
    }
    let common = |f: &dyn Fn(&str, &str) -> usize| names.iter().map(|n| f(&names[0], n)).min().unwrap_or(0);
    let mut start = common(&|a, b| a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count());
    let mut end = common(&|a, b| a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count());
    let first = &names[0];
    // digits that all have in common belong to the number
    while start > 0 && first.as_bytes()[start - 1].is_ascii_digit() {
        start -= 1;
    }
    while end > 0 && first.as_bytes()[first.len() - end].is_ascii_digit() {
        end -= 1;
    }
    let digits = |n: &str| n.get(start..n.len().checked_sub(end)?).map(str::to_owned);
    let numbers: Option<Vec<u64>> = names.iter().map(|n| digits(n)?.parse().ok()).collect();
    let (Some(mut numbers), Some(width)) = (numbers, digits(first).map(|d| d.len())) else { return vec![] };
    let padded = names.iter().all(|n| digits(n).is_some_and(|d| d.len() == width));
    numbers.sort_unstable();
    let (before, after) = (&first[..start], &first[first.len() - end..]);
    let missing = numbers.windows(2).flat_map(|w| w[0] + 1..w[1]);
    let name = |n: u64| if padded { format!("{before}{n:0width$}{after}") } else { format!("{before}{n}{after}") };
    missing.take(MOST_GAPS as usize).map(name).collect()
}

/// Inputs of a list: a text file with `file,rows,dtype[,sha256]` on each line, a line of these names before them or not. Files may
/// be missing; those that are there are looked at, and what one of them holds is given too.
///
/// # Errors
/// [`Error::Format`] with the line at fault; files of different dimensions.
pub fn listed(list: &Path, root: &Files) -> Result<(Vec<Input>, Option<Seen>)> {
    let text = std::fs::read_to_string(list).map_err(|e| Error::io(list, e))?;
    let (mut all, mut first) = (Vec::new(), None);
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let cells = cells(line).ok_or_else(|| Error::format(list, format!("line {}: a quote that does not end", i + 1)))?;
        if all.is_empty() && cells.get(1).is_some_and(|c| c.eq_ignore_ascii_case("rows")) {
            continue;
        }
        let input = input_of(&cells).map_err(|what| Error::format(list, format!("line {}: {what}", i + 1)))?;
        all.push(looked_at(root, input, &mut first)?);
    }
    if all.is_empty() {
        return Err(Error::format(list, "no file in this list; a line is file,rows,dtype or file,rows,dtype,sha256"));
    }
    once(&all, root)?;
    Ok((all, first))
}

fn input_of(cells: &[String]) -> std::result::Result<Input, String> {
    let [file, rows, rest @ ..] = cells else {
        return Err("file,rows,dtype or file,rows,dtype,sha256 is expected".into());
    };
    let filled = |i: usize| rest.get(i).filter(|c| !c.is_empty()).cloned();
    if file.is_empty() || rest.len() > 2 {
        return Err(format!("{} cells, the first {file:?}; file,rows,dtype or file,rows,dtype,sha256 is expected", cells.len()));
    }
    let rows: u64 = rows.parse().map_err(|_| format!("rows {rows:?}: a number is expected"))?;
    if rows == 0 {
        return Err("0 rows; leave empty files out".into());
    }
    let dtype = filled(0).map(|t| dtype_of(&t)).transpose()?;
    let sha256 = filled(1);
    if sha256.as_ref().is_some_and(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err("sha256: 64 hexadecimal digits are expected".into());
    }
    Ok(Input { file: file.clone(), rows, dtype, sha256: sha256.map(|s| s.to_ascii_lowercase()), ..Input::default() })
}

/// Names of types as numpy and this project write them.
fn dtype_of(name: &str) -> std::result::Result<String, String> {
    let bare = name.to_ascii_lowercase();
    let elem = crate::Elem::from_name(bare.trim_start_matches(['<', '|', '=']));
    elem.map(|e| e.name().to_owned()).ok_or_else(|| format!("type {name:?}: such as f16 or float32"))
}

/// Cells of a line of CSV; one in quotes may hold commas, and quotes twice. `None` if a quote does not end.
fn cells(line: &str) -> Option<Vec<String>> {
    let (mut out, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted || cell.trim().is_empty() => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    out.push(cell);
    (!quoted).then(|| out.into_iter().map(|c| c.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_in_numbers_are_found() {
        let of = |names: &[&str]| {
            let mut specs: Vec<FileSpec> = names.iter().map(|n| FileSpec { path: n.into(), dataset: None }).collect();
            specs.sort_by(|a, b| natural_paths(&a.path, &b.path));
            gaps(&specs)
        };
        assert_eq!(
            of(&["a_0.npy", "a_2.npy", "a_10.npy", "a_1.npy"]),
            ["a_3", "a_4", "a_5", "a_6", "a_7", "a_8", "a_9"].map(|n| format!("{n}.npy"))
        );
        assert_eq!(of(&["e_0009.npy", "e_0011.npy"]), ["e_0010.npy"]);
        assert_eq!(of(&["e_0099.npy", "e_0101.npy"]), ["e_0100.npy"]);
        for names in [&["a.npy", "b.npy"][..], &["a_1.npy", "b_3.npy"], &["a1b1.npy", "a3b3.npy"], &["a_1.npy", "a_2.npy"]] {
            assert!(of(names).is_empty(), "{names:?}");
        }
    }

    #[test]
    fn lists_are_read_as_people_write_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.csv");
        let sha = "Ab".repeat(32);
        std::fs::write(
            &path,
            format!("file,rows,dtype,sha256\r\n\"a,\"\"1\"\".npy\", 10 ,float16,\r\n# no\n\nb.npy,20,<f4,{sha}\n"),
        )
        .unwrap();
        let (found, seen) = listed(&path, &Files::new(dir.path())).unwrap();
        assert!(seen.is_none());
        let input =
            |file: &str, rows, dtype: &str| Input { file: file.into(), rows, dtype: Some(dtype.into()), ..Input::default() };
        assert_eq!(
            found,
            [input("a,\"1\".npy", 10, "f16"), Input { sha256: Some("ab".repeat(32)), ..input("b.npy", 20, "f32") }]
        );
        for (text, word) in [
            ("", "no file"),
            ("a.npy", "line 1: file,rows"),
            ("a,0,f16", "0 rows"),
            ("a,-1,f16", "a number"),
            ("b,1,f16\na,1,f17", "line 2: type"),
            ("a,1,f16,12", "64 hexa"),
            ("a,1,f16,,x", "5 cells"),
            ("\"a,1", "line 1: a quote"),
        ] {
            std::fs::write(&path, text).unwrap();
            let e = listed(&path, &Files::default()).unwrap_err().to_string();
            assert!(e.contains(word), "{text}: {e}");
        }
    }

    #[test]
    fn a_file_stands_once_whatever_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let list = dir.path().join("l.csv");
        for (names, twice) in [
            (["a.npy", "./a.npy"], true),
            (["sub/../a.npy", "a.npy"], true),
            (["sub//a.npy", "sub/./a.npy"], true),
            (["none/./a.npy", "none/a.npy"], true),
            (["a.h5::x", "./a.h5::x"], true),
            (["a.h5::x", "a.h5::y"], false),
            (["a.npy", "sub/a.npy"], false),
        ] {
            std::fs::write(&list, names.map(|n| format!("{n},5,f32\n")).concat()).unwrap();
            match listed(&list, &Files::new(dir.path())) {
                Err(e) => assert!(twice && e.to_string().contains("twice"), "{names:?}: {e}"),
                Ok(_) => assert!(!twice, "{names:?}"),
            }
        }
    }
}
