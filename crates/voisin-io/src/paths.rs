//! What a user may write for a dataset of many files: patterns, folders, `{idx}` templates.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use voisin::{Error, Result};

use crate::Format;

/// A file, and the data set in it that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// The file.
    pub path: PathBuf,
    /// Name after `::`.
    pub dataset: Option<String>,
}

impl FileSpec {
    /// Reads `path` or `path::dataset`. A file whose name has `::` in it is found as it is.
    pub fn parse(spec: &str) -> FileSpec {
        match spec.split_once("::") {
            Some((path, dataset)) if !path.is_empty() && !dataset.is_empty() && !Path::new(spec).exists() => {
                FileSpec { path: path.into(), dataset: Some(dataset.into()) }
            }
            _ => FileSpec { path: spec.into(), dataset: None },
        }
    }
}

/// The files that `inputs` stand for, in order: each a file, a pattern (`*`, `?`, `[...]`), a folder, or a template with `{idx}`.
///
/// # Errors
/// [`Error::Io`] for what is missing; [`Error::Format`] for a pattern without a match, a gap in a template's numbers, a
/// folder without vector files or with several formats; [`Error::Param`] without inputs.
pub fn expand(inputs: &[String]) -> Result<Vec<FileSpec>> {
    if inputs.is_empty() {
        return Err(Error::param("input", "nothing", "at least one file"));
    }
    let mut all = Vec::new();
    for input in inputs {
        let FileSpec { path, dataset } = FileSpec::parse(input);
        let text = path.to_string_lossy().into_owned();
        let files = if path.is_dir() {
            folder(&path)?
        } else if path.exists() {
            vec![path]
        } else if text.contains("{idx}") {
            template(&text)?
        } else if text.contains(['*', '?', '[']) {
            pattern(&text)?
        } else {
            return Err(Error::io(&path, std::io::ErrorKind::NotFound.into()));
        };
        all.extend(files.into_iter().map(|path| FileSpec { path, dataset: dataset.clone() }));
    }
    Ok(all)
}

fn pattern(text: &str) -> Result<Vec<PathBuf>> {
    let found = glob::glob(text).map_err(|e| Error::param("pattern", text, format!("a pattern: {e}")))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|e| Error::io(e.path(), std::io::ErrorKind::PermissionDenied.into()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::format(text, "no file matches this pattern"));
    }
    files.sort_by(natural_paths);
    Ok(files)
}

/// The folders of indexes that `inputs` stand for, in order: each an index, a folder of indexes (in natural order), or a pattern.
///
/// What is no index is handed on as it is, for the opening to say what is wrong with it.
///
/// # Errors
/// [`Error::Format`] for a pattern without a match, and for one of several indexes that has no manifest, unfinished or damaged:
/// leaving it out would lose a part without a word; [`Error::Io`]; [`Error::Param`] without inputs.
pub fn expand_indexes(inputs: &[String]) -> Result<Vec<PathBuf>> {
    if inputs.is_empty() {
        return Err(Error::param("index", "nothing", "at least one folder"));
    }
    let mut all = Vec::new();
    for input in inputs {
        let path = PathBuf::from(input);
        if path.is_dir() && !is_index(&path) && !lacks_manifest(&path) {
            let found = within(entries(&path)?)?;
            all.extend(if found.is_empty() { vec![path] } else { found });
        } else if !path.exists() && input.contains(['*', '?', '[']) {
            let found = glob::glob(input).map_err(|e| Error::param("pattern", input, format!("a pattern: {e}")))?;
            let found = within(found.flatten().collect())?;
            if found.is_empty() {
                return Err(Error::format(input, "no index matches this pattern"));
            }
            all.extend(found);
        } else {
            all.push(path);
        }
    }
    Ok(all)
}

fn is_index(path: &Path) -> bool {
    path.join("manifest.json").is_file()
}

/// Whether a folder holds files of an index, but not the one that says what it is: not finished, or damaged.
pub fn lacks_manifest(path: &Path) -> bool {
    let model = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("model") && name.ends_with(".vsn")
    };
    let pieces = || path.join("segments").is_dir() || path.join("journal.json").is_file();
    path.is_dir() && !is_index(path) && (pieces() || entries(path).is_ok_and(|all| all.iter().any(model)))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let path = |e: std::io::Result<std::fs::DirEntry>| e.map(|e| e.path()).map_err(|e| Error::io(folder, e));
    std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?.map(path).collect()
}

/// Those of some paths that are indexes.
fn within(mut paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    paths.sort_by(natural_paths);
    if let Some(path) = paths.iter().find(|p| lacks_manifest(p)) {
        return Err(Error::format(path, "an index without manifest.json among others: it is not finished, or damaged"));
    }
    paths.retain(|p| is_index(p));
    Ok(paths)
}

/// Vector files of a folder, by their ending. Text beside other formats, and Parquet beside `.npy` (the captions of
/// LAION's shards), are company and no vectors.
fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<(Format, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        let file = entry.map_err(|e| Error::io(path, e))?.path();
        let hidden = file.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if let (Some(format), false, true) = (Format::of_ending(&file), hidden, file.is_file()) {
            files.push((format, file));
        }
    }
    let has = |files: &[(Format, PathBuf)], f: Format| files.iter().any(|x| x.0 == f);
    if has(&files, Format::Npy) {
        files.retain(|f| f.0 != Format::Parquet);
    }
    if files.iter().any(|f| f.0 != Format::Text) {
        files.retain(|f| f.0 != Format::Text);
    }
    let Some(first) = files.first().cloned() else {
        return Err(Error::format(path, "no file in this folder has the ending of a vector format"));
    };
    let ending = |f: &Path| f.extension().map(|e| e.to_ascii_lowercase());
    // fvecs beside ivecs, fbin beside ibin: base and truth, not two halves of one dataset
    let same = |f: &(Format, PathBuf)| {
        f.0 == first.0 && (!matches!(f.0, Format::Vecs | Format::Bins) || ending(&f.1) == ending(&first.1))
    };
    if let Some(other) = files.iter().find(|f| !same(f)) {
        let name = |f: &Path| f.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = format!(
            "several formats in this folder ({}, {}); name the files that make up the dataset, or give a pattern",
            name(&first.1),
            name(&other.1)
        );
        return Err(Error::format(path, what));
    }
    let mut files: Vec<PathBuf> = files.into_iter().map(|f| f.1).collect();
    files.sort_by(natural_paths);
    Ok(files)
}

/// `name_{idx}.h5`: files numbered from 0 with any padding; a gap is an error.
fn template(text: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(text);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((before, after)) = name.split_once("{idx}").filter(|_| text.matches("{idx}").count() == 1) else {
        return Err(Error::param("template", text, "{idx} once, in the file name"));
    };
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let listed = parent.unwrap_or(Path::new("."));
    let mut found: Vec<(u64, String)> = Vec::new();
    for entry in std::fs::read_dir(listed).map_err(|e| Error::io(listed, e))? {
        let entry = entry.map_err(|e| Error::io(listed, e))?.file_name().to_string_lossy().into_owned();
        let digits = entry.strip_prefix(before).and_then(|e| e.strip_suffix(after));
        if let Some(digits) = digits.filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
            && let Ok(number) = digits.parse()
        {
            found.push((number, entry));
        }
    }
    found.sort();
    let Some(first) = found.first() else { return Err(Error::format(text, "no file matches this template")) };
    let width = first.1.len() - before.len() - after.len();
    for (i, (number, file)) in found.iter().enumerate() {
        match number.cmp(&(i as u64)) {
            Ordering::Equal => {}
            Ordering::Less => return Err(Error::format(text, format!("{} and {file} have the same number", found[i - 1].1))),
            Ordering::Greater => {
                let missing = format!("{before}{i:0width$}{after}");
                let what = format!("{missing} is missing: {} files are numbered up to {}", found.len(), found[found.len() - 1].0);
                return Err(Error::format(text, what));
            }
        }
    }
    Ok(found.into_iter().map(|(_, f)| parent.map_or_else(|| PathBuf::from(&f), |p| p.join(&f))).collect())
}

pub(crate) fn natural_paths(a: &PathBuf, b: &PathBuf) -> Ordering {
    natural(&a.to_string_lossy(), &b.to_string_lossy()).then_with(|| a.cmp(b))
}

/// Order in which people count: `x2` before `x10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let run = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let (na, nb) = (run(a), run(b));
        if na > 0 && nb > 0 {
            let trim = |s: &[u8]| s.iter().take_while(|&&c| c == b'0').count();
            let (x, y) = (&a[trim(&a[..na])..na], &b[trim(&b[..nb])..nb]);
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[na..], &b[nb..]);
            continue;
        }
        match (a.split_first(), b.split_first()) {
            (Some((x, ra)), Some((y, rb))) if x == y => (a, b) = (ra, rb),
            (x, y) => return x.map(|x| x.0).cmp(&y.map(|y| y.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_count_so() {
        let mut names = ["s10", "s2", "s02", "s1", "s", "r3", "s1b"];
        names.sort_by(|a, b| natural(a, b).then_with(|| a.cmp(b)));
        assert_eq!(names, ["r3", "s", "s1", "s1b", "s02", "s2", "s10"]);
    }

    fn make(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|f| std::fs::write(dir.path().join(f), b"x").unwrap());
        dir
    }

    fn names(dir: &tempfile::TempDir, input: &str) -> Result<Vec<String>> {
        let input = if input.is_empty() { dir.path().display().to_string() } else { format!("{}/{input}", dir.path().display()) };
        let files = expand(&[input])?;
        Ok(files.iter().map(|f| f.path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn templates_take_any_padding_and_no_gap() {
        let dir = make(&["d_00000.h5", "d_00001.h5", "d_00002.h5", "d_x.h5", "e_0.h5", "e_1.h5", "f_0.h5", "f_2.h5", "g_1.h5"]);
        assert_eq!(names(&dir, "d_{idx}.h5").unwrap(), ["d_00000.h5", "d_00001.h5", "d_00002.h5"]);
        assert_eq!(names(&dir, "e_{idx}.h5").unwrap().len(), 2);
        assert!(names(&dir, "f_{idx}.h5").unwrap_err().to_string().contains("f_1.h5 is missing"));
        assert!(names(&dir, "g_{idx}.h5").unwrap_err().to_string().contains("g_0.h5 is missing"));
        assert!(names(&dir, "h_{idx}.h5").unwrap_err().to_string().contains("no file matches"));
    }

    #[test]
    fn indexes_are_found_in_folders_and_by_patterns() {
        let dir = tempfile::tempdir().unwrap();
        let index = |name: &str, file: &str| {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(file), b"x").unwrap();
        };
        ["parts/p10", "parts/p2", "other"].iter().for_each(|name| index(name, "manifest.json"));
        index("parts/notes", "readme.md");
        let find = |input: &str| expand_indexes(&[dir.path().join(input).display().to_string()]);
        let names = |input: &str| -> Vec<String> {
            let found = find(input).unwrap();
            found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names("parts"), ["parts/p2", "parts/p10"]);
        assert_eq!(names("parts/p2"), ["parts/p2"]);
        assert_eq!(names("parts/p*"), ["parts/p2", "parts/p10"]);
        assert_eq!(names("parts/notes"), ["parts/notes"]);
        assert_eq!(names("nothing"), ["nothing"]);
        assert!(find("parts/x*").unwrap_err().to_string().contains("no index matches"));
        for (piece, parts) in [("journal.json", "a"), ("model.00002.vsn", "b"), ("segments/00001-0000.vsn", "c")] {
            index(&format!("{parts}/p1"), "manifest.json");
            std::fs::create_dir_all(dir.path().join(parts).join("p3/segments")).unwrap();
            std::fs::write(dir.path().join(parts).join("p3").join(piece), b"x").unwrap();
            if !piece.starts_with("segments") {
                std::fs::remove_dir(dir.path().join(parts).join("p3/segments")).unwrap();
            }
            for input in [parts.to_string(), format!("{parts}/*")] {
                assert!(find(&input).unwrap_err().to_string().contains("p3: an index without manifest.json"), "{piece} {input}");
            }
            // by itself it is handed on, for the opening to say what is wrong
            assert_eq!(names(&format!("{parts}/p3")), [format!("{parts}/p3")]);
        }
        assert!(expand_indexes(&[]).is_err());
    }

    #[test]
    fn patterns_and_folders_in_natural_order() {
        let dir = make(&["a_10.npy", "a_2.npy", "b.npy", "meta.parquet", "notes.txt", ".hidden.npy"]);
        assert_eq!(names(&dir, "a_*.npy").unwrap(), ["a_2.npy", "a_10.npy"]);
        assert_eq!(names(&dir, "").unwrap(), ["a_2.npy", "a_10.npy", "b.npy"]);
        assert!(names(&dir, "z*").unwrap_err().to_string().contains("no file matches"));
        assert!(names(&dir, "z.npy").is_err());
        let dir = make(&["base.fvecs", "gt.ivecs"]);
        assert!(names(&dir, "").unwrap_err().to_string().contains("several formats"));
        assert!(names(&make(&["readme.md"]), "").unwrap_err().to_string().contains("ending of a vector format"));
        assert_eq!(FileSpec::parse("a.h5::x/y").dataset.as_deref(), Some("x/y"));
    }
}
