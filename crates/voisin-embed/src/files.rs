//! Which images lie in a folder.

use std::path::{Path, PathBuf};

use voisin::{Error, Result};

/// Endings of files that are taken for images; what a file is, its content says.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp"];
/// Folders within folders.
const DEPTH: usize = 64;

/// An image to be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its id: the path from the folder that was named, with `/`; for a file that was named itself, as it was named.
    pub id: String,
    /// The folder that it lies in, from the folder that was named; empty where it lies in that itself.
    pub label: String,
}

/// The images of some folders and files: folders with all that lies below them in natural order, without hidden files and
/// without following links to folders.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read; [`Error::Param`] for a name that is no UTF-8, and for two images of the
/// same id.
pub fn find(inputs: &[PathBuf]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for input in inputs {
        if std::fs::metadata(input).map_err(|e| Error::io(input, e))?.is_dir() {
            below(input, "", 0, &mut files)?;
        } else {
            files.push(File { id: utf8(input, input.to_str())?.into(), path: input.clone(), label: String::new() });
        }
    }
    let mut ids: Vec<&str> = files.iter().map(|f| f.id.as_str()).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::param("image", twice[0], "a name of its own; embed folders whose images share names one by one"));
    }
    Ok(files)
}

fn utf8<'s>(path: &Path, name: Option<&'s str>) -> Result<&'s str> {
    name.ok_or_else(|| Error::param("image", path.display(), "a name in UTF-8, as it becomes an id"))
}

fn below(folder: &Path, label: &str, depth: usize, files: &mut Vec<File>) -> Result<()> {
    let io = |e| Error::io(folder, e);
    if depth > DEPTH {
        return Err(Error::param("folder", folder.display(), format!("at most {DEPTH} folders within each other")));
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, is_folder) = (entry.path(), entry.file_type().map_err(io)?.is_dir());
        let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if is_folder || (ending.is_some_and(|e| ENDINGS.contains(&e.as_str())) && path.is_file()) {
            names.push((utf8(&path, entry.file_name().to_str())?.to_owned(), is_folder, path));
        }
    }
    names.sort_by(|a, b| voisin_io::natural(&a.0, &b.0).then_with(|| a.0.cmp(&b.0)));
    for (name, is_folder, path) in names {
        let id = if label.is_empty() { name } else { format!("{label}/{name}") };
        if is_folder {
            below(&path, &id, depth + 1, files)?;
        } else {
            files.push(File { path, id, label: label.to_owned() });
        }
    }
    Ok(())
}
