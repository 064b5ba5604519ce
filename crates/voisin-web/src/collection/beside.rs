//! What lies beside an index: names, labels and texts in files of their own, and a folder of images.

use std::collections::HashMap;
use std::path::Path;

use voisin::StringIds;
use voisin_io::{StringRole, Strings, read_strings};

use super::engine::Engine;
use super::folder::leaves;
use super::rows::Rows;
use crate::{Kind, WebError};

/// Components of a path that are looked at, from its end.
const DEEP: usize = 32;

/// Reads the strings of a file for the rows of a collection. `rows` is how many rows the vectors had before some were left out.
///
/// # Errors
/// What reading gives; as many strings as there are neither vectors in the index nor rows.
pub(super) fn strings(
    file: &str,
    role: StringRole,
    (rows, total): (&Rows, u64),
    engine: &Engine,
    notes: &mut Vec<String>,
) -> Result<StringIds, WebError> {
    let n = rows.len();
    let Strings { values, keys } = read_strings(file, role, total)?;
    if let Some(keys) = &keys {
        let by_key: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, k)| (k, i)).collect();
        let ids = |row: usize| by_key.get(&engine.id(rows.number(row))[..]).copied();
        let names = |row: usize| by_key.get(rows.names.as_ref()?.get(row)).copied();
        for places in [(0..n).map(ids).collect::<Vec<_>>(), (0..n).map(names).collect()] {
            let missing = places.iter().filter(|p| p.is_none()).count();
            if missing < n {
                if missing > 0 {
                    notes.push(format!("{} says nothing of {missing} of {n} items", own_name(Path::new(file))));
                }
                return Ok(places.iter().map(|p| p.map_or("", |i| values.get(i))).collect());
            }
        }
    }
    let place = |row: usize| rows.number(row) as usize;
    match values.len() as u64 {
        len if len == n as u64 => Ok(values),
        // of the rows of the file of vectors, some of which are not in the index
        len if len == total && rows.last().is_none_or(|last| last < len) => Ok((0..n).map(|r| values.get(place(r))).collect()),
        // of the vectors that there were before some were removed
        len if rows.last().is_some_and(|last| last + 1 == len) => Ok((0..n).map(|r| values.get(place(r))).collect()),
        len => {
            let what = format!("{file} has {len} strings, where the index has {n} vectors");
            Err(WebError::new(Kind::Unreadable, what).hint("a string for each vector, in their order, is expected"))
        }
    }
}

/// The last part of a path: notes are shown to everybody who opens the page.
fn own_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Finds the images that names stand for: each is the file in the folder whose path is the longest end of the name, so that absolute
/// paths of another machine, and those of Windows, are found too. Where several names end alike (`cat/1.png` and `dog/1.png` with a
/// file `1.png`), the file is that of the name which agrees with the file's whole path for longest, and nobody's where two do.
/// What is found is in the folder, whatever a name says.
///
/// # Errors
/// A folder that cannot be read, or in which there is none of the images.
pub(super) fn images(folder: &Path, names: &StringIds, notes: &mut Vec<String>) -> Result<StringIds, WebError> {
    let home = folder.canonicalize().map_err(|e| voisin::Error::io(folder, e))?;
    let shown = own_name(&home);
    let mut files = voisin_embed::find(std::slice::from_ref(&home))?;
    let all = files.len();
    files.retain(|f| !leaves(&f.path, &home));
    if files.len() < all {
        notes.push(format!("left out: {} links that lead out of {shown}", all - files.len()));
    }
    let known: HashMap<&str, usize> = files.iter().enumerate().map(|(i, f)| (&f.id[..], i)).collect();
    let mut found: Vec<Option<usize>> = names.iter().map(|name| longest_end(name, &known)).collect();
    let missing = found.iter().filter(|f| f.is_none()).count();
    if let Some(first) = found.iter().position(Option::is_none) {
        let (first, n) = (names.get(first), names.len());
        if missing == n {
            let what = format!("none of the {n} names is a path of an image in {} (the first is {first})", folder.display());
            return Err(WebError::new(Kind::Unreadable, what).hint("--images names the folder that the paths lead from"));
        }
        notes.push(format!("{missing} of {n} images are not in {shown} (the first is {})", last_parts(first)));
    }
    let doubtful = one_name_each(&mut found, names, &home, &|file| &files[file].id);
    if let Some(&first) = doubtful.first() {
        let first = last_parts(names.get(first));
        let what = "end like those of others, so that it is not known which image of";
        notes.push(format!("{} names {what} {shown} is theirs (the first is {first})", doubtful.len()));
    }
    Ok(found.into_iter().map(|f| f.map_or("", |i| &files[i].id)).collect())
}

/// Takes a file away from names other than the one that agrees with its path for longest; gives the rows that have none now.
fn one_name_each<'a>(found: &mut [Option<usize>], names: &StringIds, home: &Path, id: &dyn Fn(usize) -> &'a str) -> Vec<usize> {
    let home = home.to_string_lossy();
    let agrees = |row: usize, file: usize| {
        let path = format!("{home}/{}", id(file)).replace('\\', "/");
        let mine = parts_of(names.get(row));
        mine.iter().rev().zip(parts_of(&path).iter().rev()).take_while(|(a, b)| a == b).count()
    };
    /// The name that has a file, for how many parts it agrees, and whether another one does as well.
    struct Claim<'n> {
        name: &'n str,
        parts: usize,
        shared: bool,
    }
    let mut claims: HashMap<usize, Claim<'_>> = HashMap::new();
    for (row, file) in found.iter().enumerate().filter_map(|(row, f)| Some((row, (*f)?))) {
        let claim = Claim { name: names.get(row), parts: agrees(row, file), shared: false };
        match claims.get_mut(&file) {
            // one name for several vectors is one image
            Some(other) if other.name == claim.name => {}
            Some(other) if other.parts == claim.parts => other.shared = true,
            Some(other) if other.parts > claim.parts => {}
            _ => drop(claims.insert(file, claim)),
        }
    }
    let mut lost = Vec::new();
    for (row, file) in found.iter_mut().enumerate() {
        let keeps = file.is_none_or(|f| claims.get(&f).is_some_and(|c| !c.shared && c.name == names.get(row)));
        if !keeps {
            *file = None;
            lost.push(row);
        }
    }
    lost
}

/// The parts of a path, as they are written on any system.
fn parts_of(name: &str) -> Vec<&str> {
    name.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".").collect()
}

/// The last two parts of a name: enough to know it by.
fn last_parts(name: &str) -> String {
    let parts = parts_of(name);
    parts[parts.len().saturating_sub(2)..].join("/")
}

fn longest_end(name: &str, known: &HashMap<&str, usize>) -> Option<usize> {
    let parts = parts_of(name);
    let from = parts.len().saturating_sub(DEEP);
    (from..parts.len()).find_map(|i| known.get(&parts[i..].join("/")[..]).copied())
}

/// Labels of names that are paths, all of them: the folder that each file lies in.
pub(super) fn folders_of(names: &StringIds) -> Option<StringIds> {
    let folder = |name: &str| {
        let (before, _) = name.rsplit_once(['/', '\\'])?;
        Some(before.rsplit(['/', '\\']).next().unwrap_or(before).to_owned())
    };
    let folders: Option<Vec<String>> = names.iter().map(folder).collect();
    folders.map(|f| f.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_longest_end() {
        let files = ["a.png", "cat/a.png", "cat/b.png"];
        let known: HashMap<&str, usize> = files.iter().enumerate().map(|(i, f)| (*f, i)).collect();
        let find = |name: &str| longest_end(name, &known).map(|i| files[i]);
        assert_eq!(find("/home/somebody/data/cat/a.png"), Some("cat/a.png"));
        assert_eq!(find(r"C:\data\cat\b.png"), Some("cat/b.png"));
        assert_eq!(find("dog/a.png"), Some("a.png"));
        assert_eq!(
            (find("../cat/a.png"), find("./a.png"), find("cat/../a.png")),
            (Some("cat/a.png"), Some("a.png"), Some("a.png"))
        );
        assert_eq!((find("b.png"), find(""), find("/"), find("..")), (None, None, None, None));
        let long = "x/".repeat(100_000) + "cat/b.png";
        assert_eq!(find(&long), Some("cat/b.png"));
    }

    #[test]
    fn an_image_is_of_one_name() {
        let files = ["1.png", "2.png", "cat/3.png"];
        let of = |home: &str, names: &[&str]| {
            let names: StringIds = names.iter().collect();
            let known: HashMap<&str, usize> = files.iter().enumerate().map(|(i, f)| (*f, i)).collect();
            let mut found: Vec<Option<usize>> = names.iter().map(|n| longest_end(n, &known)).collect();
            let lost = one_name_each(&mut found, &names, Path::new(home), &|f| files[f]);
            (found, lost)
        };
        // which of the two it is cannot be known
        assert_eq!(of("/x", &["cat/1.png", "dog/1.png", "dog/2.png"]), (vec![None, None, Some(1)], vec![0, 1]));
        assert_eq!(of("/x", &["cat/1.png", "dog/1.png", "cow/1.png"]).0, [None, None, None]);
        // the folder's own name, and a name without a folder, tell
        assert_eq!(of("/data/cat", &["/d/dog/1.png", "/d/cat/1.png"]), (vec![None, Some(0)], vec![0]));
        assert_eq!(of("/data/cat", &[r"D:\d\cat\1.png", r"D:\d\dog\1.png"]), (vec![Some(0), None], vec![1]));
        // a vector more of the same image
        assert_eq!(of("/x", &["a/1.png", "a/1.png", "cat/3.png"]), (vec![Some(0), Some(0), Some(2)], vec![]));
    }

    #[test]
    fn labels_of_paths() {
        let of = |names: &[&str]| folders_of(&names.iter().collect()).map(|f| f.iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of(&["/d/cat/1.jpg", r"C:\d\dog\2.jpg", "x/3.jpg"]).unwrap(), ["cat", "dog", "x"]);
        assert_eq!(of(&["cat/1.jpg", "plain"]), None);
    }
}
