//! A folder of images: described once, then kept up to date as images come, change and go.
//!
//! In the folder that keeps what is made (`.voisin` in the folder of images, unless another is named):
//!
//! ```text
//! features.h5     vectors, ids (paths) and labels (folders) of the images
//! files.json      which files these are, by name, size and time, and which could not be read
//! index/          the index of features.h5
//! indexed.json    the files that the index was made for; written last
//! next.json       the files that new.h5 is being made of
//! new.h5          their vectors, until they are part of features.h5
//! new.part        those that are finished (a killed run goes on there)
//! lock            held by who changes any of it
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use voisin::index::{AddParams, BuildParams, IdList, add, build, remove};
use voisin::{Error, Index, Metric, OnBad, Result, Source, StringIds, Subset, Watch};
use voisin_embed::File;
use voisin_io::features::{Features, write_features};
use voisin_io::{AtomicFile, Role};

use super::keep::lock;
use super::maker::Maker;
use super::vectors::spec_for;
use crate::{Kind, WebError};

/// Where what is made is kept, in a folder of images.
pub(super) const KEEP: &str = ".voisin";

/// An image as it was when it was described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: String,
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    /// Why it has no vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl Entry {
    fn is_same_file(&self, other: &Entry) -> bool {
        (&self.id, self.size, self.modified) == (&other.id, other.size, other.modified)
    }
}

/// The files that something was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    made_by: String,
    files: Vec<Entry>,
}

impl List {
    /// Nothing where there is no such file, it is damaged, or its vectors were made otherwise: all is then made anew.
    fn load(path: &Path, made_by: &str) -> Option<List> {
        let list: List = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (list.made_by == made_by).then_some(list)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let mut out = AtomicFile::create(path)?;
        serde_json::to_writer(out.out(), self).map_err(|e| Error::io(path, e.into()))?;
        out.commit()
    }

    fn by_id(&self) -> HashMap<&str, &Entry> {
        self.files.iter().map(|e| (&e.id[..], e)).collect()
    }

    /// Whether it names the same files, whatever is known of them.
    fn names(&self, files: &[Entry]) -> bool {
        self.files.len() == files.len() && self.files.iter().zip(files).all(|(a, b)| a.is_same_file(b))
    }
}

/// An opened folder of images.
pub(super) struct Folder {
    pub index: Index,
    /// Files that could not be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Links that lead out of the folder, which are left out.
    pub outside: usize,
}

/// Opens the index of a folder of images; makes it, or brings it up to date, where that is needed.
pub(super) fn open(root: &Path, keep: Option<&Path>, maker: &Maker, watch: &dyn Watch) -> Result<Folder, WebError> {
    let (files, entries, outside) = scan(root)?;
    let keep = keep.map_or_else(|| root.join(KEEP), Path::to_owned);
    let shelf = Shelf { keep, maker, files: &files, entries: &entries, watch };
    let list = match shelf.up_to_date() {
        Some(list) => list,
        None => shelf.update()?,
    };
    let index = Index::open(shelf.at("index"))?;
    let unreadable = list.files.into_iter().filter_map(|e| e.unreadable.map(|why| (e.id, why))).collect();
    Ok(Folder { index, unreadable, outside })
}

/// The images of a folder, and what tells whether they have changed. Links to files outside of it are counted and left out.
fn scan(root: &Path) -> Result<(Vec<File>, Vec<Entry>, usize)> {
    let home = root.canonicalize().map_err(|e| Error::io(root, e))?;
    let (mut files, mut entries, mut outside) = (Vec::new(), Vec::new(), 0);
    for file in voisin_embed::find(&[root.to_owned()])? {
        if leaves(&file.path, &home) {
            outside += 1;
            continue;
        }
        let Ok(meta) = std::fs::metadata(&file.path) else { continue }; // gone since it was listed
        let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |t| t.as_nanos() as u64);
        entries.push(Entry { id: file.id.clone(), size: meta.len(), modified, unreadable: None });
        files.push(file);
    }
    Ok((files, entries, outside))
}

/// Whether a file is a link that leads out of a folder (whose own path has no links in it).
pub(super) fn leaves(path: &Path, home: &Path) -> bool {
    let link = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_symlink());
    link && !path.canonicalize().is_ok_and(|p| p.starts_with(home))
}

/// The work on one folder.
struct Shelf<'a> {
    keep: PathBuf,
    maker: &'a Maker,
    files: &'a [File],
    entries: &'a [Entry],
    watch: &'a dyn Watch,
}

impl Shelf<'_> {
    fn at(&self, name: &str) -> PathBuf {
        self.keep.join(name)
    }

    fn load(&self, name: &str) -> Option<List> {
        List::load(&self.at(name), self.maker.made_by())
    }

    /// The list of files, if features and index are of just these.
    fn up_to_date(&self) -> Option<List> {
        let list = self.load("files.json").filter(|l| l.names(self.entries))?;
        let indexed = self.load("indexed.json").is_some_and(|l| l == list);
        (indexed && self.at("index/manifest.json").is_file() && list.files.iter().any(|e| e.unreadable.is_none())).then_some(list)
    }

    fn update(&self) -> Result<List, WebError> {
        if self.entries.is_empty() {
            let root = self.keep.parent().unwrap_or(&self.keep);
            let hint = "images are files that end in .png, .jpg, .jpeg, .webp, .gif or .bmp";
            return Err(WebError::new(Kind::Unreadable, format!("{}: no image in it", root.display())).hint(hint));
        }
        let _lock = lock(&self.keep, self.watch)?;
        // whoever held the lock may have done all of it
        if let Some(list) = self.up_to_date() {
            return Ok(list);
        }
        let before = self.merged()?;
        let list = self.embedded(before)?;
        self.indexed(&list)?;
        Ok(list)
    }

    /// What features.h5 is of, once what a killed run had finished is part of it.
    fn merged(&self) -> Result<List> {
        let list = self.load("files.json").unwrap_or_default();
        match self.load("next.json").filter(|_| self.at("new.h5").is_file()) {
            Some(next) => self.merge(&list, next, false),
            None => Ok(list),
        }
    }

    /// Describes what is new, and leaves out what is gone.
    fn embedded(&self, before: List) -> Result<List> {
        let known = before.by_id();
        let new = |e: &Entry| known.get(&e.id[..]).is_none_or(|k| !k.is_same_file(e));
        let todo: Vec<usize> = (0..self.entries.len()).filter(|&i| new(&self.entries[i])).collect();
        if todo.is_empty() && before.files.len() == self.entries.len() {
            return Ok(before);
        }
        let mut next = List { made_by: self.maker.made_by().into(), files: Vec::new() };
        next.files = todo.iter().map(|&i| self.entries[i].clone()).collect();
        if !todo.is_empty() {
            next.save(&self.at("next.json"))?;
            let files: Vec<File> = todo.iter().map(|&i| self.files[i].clone()).collect();
            let reasons: HashMap<PathBuf, String> =
                match self.maker.embed(&files, &self.at("new.h5"), &self.at("new.part"), self.watch) {
                    Ok(done) => done.skipped.into_iter().map(|s| (s.path, s.reason)).collect(),
                    // none of them can be read
                    Err(Error::Empty { .. }) => {
                        files.iter().filter_map(|f| Some((f.path.clone(), voisin_embed::read(&f.path).err()?.0))).collect()
                    }
                    Err(e) => return Err(e),
                };
            for (entry, file) in next.files.iter_mut().zip(&files) {
                entry.unreadable = reasons.get(&file.path).cloned();
            }
            next.save(&self.at("next.json"))?;
        }
        self.merge(&before, next, true)
    }

    /// Writes features.h5 and files.json of what both lists name. With `all`, that is what is in the folder now; without,
    /// nothing is left out: what has changed since is seen afterwards.
    fn merge(&self, before: &List, next: List, all: bool) -> Result<List> {
        let parts = [self.vectors("features.h5")?, self.vectors("new.h5")?];
        let (old, new) = (before.by_id(), next.by_id());
        let mut list = List { made_by: next.made_by.clone(), files: Vec::new() };
        let (mut picks, mut ids, mut labels) = (Vec::new(), StringIds::default(), StringIds::default());
        let now: HashMap<&str, &Entry> = self.entries.iter().map(|e| (&e.id[..], e)).collect();
        let gone = before.files.iter().chain(&next.files).filter(|e| !all && !now.contains_key(&e.id[..]));
        for name in self.entries.iter().chain(gone) {
            let (part, entry) = match (new.get(&name.id[..]), old.get(&name.id[..])) {
                (Some(e), _) => (1, *e),
                (None, Some(e)) => (0, *e),
                (None, None) => continue,
            };
            let row = parts[part].as_ref().and_then(|p| p.rows.get(&name.id)).copied();
            let mut entry = entry.clone();
            match row {
                Some(row) => {
                    entry.unreadable = None;
                    picks.push((part, row));
                    ids.push(&name.id);
                    labels.push(name.id.rsplit_once('/').map_or("", |x| x.0));
                }
                None => entry.unreadable = Some(entry.unreadable.unwrap_or_else(|| "it cannot be read".into())),
            }
            list.files.push(entry);
        }
        if picks.is_empty() {
            let first = list.files.iter().find_map(|e| Some((&e.id, e.unreadable.as_ref()?)));
            let first = first.map(|(id, why)| format!(" ({id}: {why})")).unwrap_or_default();
            return Err(Error::Empty { name: format!("no image can be read{first}") });
        }
        let labelled = labels.iter().any(|l| !l.is_empty());
        let features = Features { ids: &ids, labels: labelled.then_some(&labels), made_by: &list.made_by };
        let source = Picked { parts: &parts, picks, d: self.maker.dim() };
        if !source.is_whole(0) {
            write_features(&self.at("features.h5"), &source, &features, self.watch)?;
        }
        list.save(&self.at("files.json"))?;
        drop(parts);
        for done in ["new.h5", "next.json"] {
            let _ = std::fs::remove_file(self.at(done)); // what stays is taken once more at the next start
        }
        Ok(list)
    }

    fn vectors(&self, name: &str) -> Result<Option<Part>> {
        let path = self.at(name);
        if !path.is_file() {
            return Ok(None);
        }
        let source = voisin_io::open(&path.display().to_string(), Role::Base)?;
        if source.dim() != self.maker.dim() || source.made_by().as_deref() != Some(self.maker.made_by()) {
            return Ok(None); // of another maker: nothing of it is taken
        }
        let ids = source.ids()?.unwrap_or_default();
        let rows = ids.iter().enumerate().map(|(row, id)| (id.to_owned(), row as u64)).collect();
        Ok(Some(Part { source, rows }))
    }

    /// Brings the index to what features.h5 holds: new vectors are added to lists, and a flat index is written anew.
    fn indexed(&self, list: &List) -> Result<()> {
        let dir = self.at("index");
        let features = self.at("features.h5").display().to_string();
        let source = voisin_io::open(&features, Role::Base)?;
        let spec = spec_for(source.len(), source.dim(), Metric::Cosine);
        let before = self.load("indexed.json").filter(|_| spec.nlist() > 1);
        match before.and_then(|before| Some((before, Index::open(&dir).ok()?))) {
            Some((before, index)) if index.spec().nlist() > 1 => self.changed(&before, list, source, &dir)?,
            _ => {
                let params =
                    BuildParams { spec: Some(spec), metric: Metric::Cosine, on_bad: OnBad::Skip, ..BuildParams::default() };
                build(&*source, &dir, &params, self.watch)?;
            }
        }
        list.save(&self.at("indexed.json"))
    }

    /// Removes and adds what differs between two lists.
    fn changed(&self, before: &List, list: &List, source: Box<dyn Source>, dir: &Path) -> Result<()> {
        let (old, now) = (before.by_id(), list.by_id());
        let gone = before.files.iter().filter(|e| now.get(&e.id[..]).is_none_or(|n| n.unreadable.is_some()));
        let gone: StringIds = gone.map(|e| &e.id).collect();
        if !gone.is_empty() {
            remove(dir, &IdList::Strings(gone), true)?;
        }
        let ids = source.ids()?.unwrap_or_default();
        let fresh = |id: &str| now.get(id).is_some_and(|n| old.get(id).is_none_or(|o| !o.is_same_file(n)));
        let rows: Vec<u64> = ids.iter().enumerate().filter(|(_, id)| fresh(id)).map(|(row, _)| row as u64).collect();
        if !rows.is_empty() {
            let params = AddParams { replace: true, on_bad: OnBad::Skip, ..AddParams::default() };
            add(dir, &Subset::new(source, rows)?, &params, self.watch)?;
        }
        Ok(())
    }
}

/// A file of vectors, and where each id stands in it.
struct Part {
    source: Box<dyn Source>,
    rows: HashMap<String, u64>,
}

/// Rows of two files in an order of their own.
struct Picked<'a> {
    parts: &'a [Option<Part>; 2],
    picks: Vec<(usize, u64)>,
    d: usize,
}

impl Picked<'_> {
    /// Whether it is just the rows of one file.
    fn is_whole(&self, part: usize) -> bool {
        let rows = self.parts[part].as_ref().map_or(0, |p| p.source.len());
        self.picks.len() as u64 == rows && self.picks.iter().enumerate().all(|(i, p)| *p == (part, i as u64))
    }
}

impl Source for Picked<'_> {
    fn len(&self) -> u64 {
        self.picks.len() as u64
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        "images".into()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let mut picks = &self.picks[start as usize..start as usize + out.len() / self.d];
        let mut at = 0;
        while let Some(&(part, first)) = picks.first() {
            let follows = |(i, p): &(usize, &(usize, u64))| **p == (part, first + *i as u64);
            let many = picks.iter().enumerate().take_while(follows).count();
            let source = &self.parts[part].as_ref().expect("rows were picked of it").source;
            source.read(first, &mut out[at * self.d..(at + many) * self.d])?;
            at += many;
            picks = &picks[many..];
        }
        Ok(())
    }

    fn metric(&self) -> Option<Metric> {
        Some(Metric::Cosine)
    }
}
