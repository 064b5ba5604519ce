//! From what a person names to a collection.

use std::path::Path;

use voisin::{Index, StringIds, Watch};
use voisin_io::{StringRole, faiss};

use super::engine::{self, Engine, Kept, Lists};
use super::maker::Maker;
use super::pictures::Pictures;
use super::rows::{Classes, Rows};
use super::search::is_unit;
use super::{Asks, Class, Collection, CollectionSpec, Facts, beside, folder, vectors};
use crate::{Kind, WebError};

/// More classes than this are none: names of rows rather than of kinds.
const CLASSES: usize = 20_000;
/// Unreadable images that are named in a note.
const NAMED: usize = 5;
/// Vectors that are looked at to learn whether all have unit length.
const SAMPLE: usize = 64;

/// A collection on its way.
struct Opening<'a> {
    from: &'a CollectionSpec,
    engine: Engine,
    exact: Option<Lists>,
    rows: Rows,
    /// Rows that the vectors had before some were left out.
    total: u64,
    /// The ids, where they are strings.
    strings: Option<StringIds>,
    pictures: Pictures,
    made_by: Option<String>,
    notes: Vec<String>,
}

pub(super) fn open(from: &CollectionSpec, watch: &dyn Watch) -> Result<Collection, WebError> {
    let maker = Maker::new(from.model.as_deref(), &from.options)?;
    let mut opening = match kind(&from.paths)? {
        Found::Images(root) => images(from, root, &maker, watch)?,
        Found::Indexes => Opening::of_index(from, Index::open_all(&voisin_io::expand_indexes(&from.paths)?)?)?,
        Found::Faiss(path) => faiss_file(from, path, watch)?,
        Found::Vectors => {
            let opened = vectors::open(&from.paths, from.keep.as_deref(), watch)?;
            let mut opening = Opening::of_index(from, opened.index)?;
            opening.total = opened.rows;
            if opened.skipped > 0 {
                opening.notes.push(format!("left out: {} vectors of NaN, infinity or zeros", opened.skipped));
            }
            opening
        }
    };
    opening.beside()?;
    opening.features(watch)?;
    Ok(opening.finish(maker, watch))
}

enum Found<'a> {
    Images(&'a Path),
    Indexes,
    Faiss(&'a Path),
    Vectors,
}

/// What the paths of a collection are.
fn kind(paths: &[String]) -> Result<Found<'_>, WebError> {
    let Some(first) = paths.first() else {
        return Err(
            WebError::new(Kind::BadRequest, "nothing to open").hint("name a folder of images, an index or a file of vectors")
        );
    };
    let path = Path::new(first);
    if !path.is_dir() {
        let pattern = first.contains(['*', '?', '[']) && !path.exists();
        let index = pattern && voisin_io::expand_indexes(&paths[..1]).is_ok();
        return Ok(match paths {
            _ if index => Found::Indexes,
            [_] if path.is_file() && faiss::is_faiss(path) => Found::Faiss(path),
            _ => Found::Vectors,
        });
    }
    let an_index = |p: &std::path::PathBuf| p.join("manifest.json").is_file() || voisin_io::lacks_manifest(p);
    if paths.len() > 1 || voisin_io::expand_indexes(paths)?.iter().any(an_index) {
        return Ok(Found::Indexes);
    }
    let kept = path.join(folder::KEEP).is_dir();
    if !kept && voisin_embed::find(&[path.to_owned()])?.is_empty() && voisin_io::expand(paths).is_ok() {
        return Ok(Found::Vectors);
    }
    Ok(Found::Images(path))
}

fn faiss_file<'a>(from: &'a CollectionSpec, path: &Path, watch: &dyn Watch) -> Result<Opening<'a>, WebError> {
    let Some(graph) = faiss::open_graph(path)? else {
        let mut opening = Opening::of_index(from, faiss::open(path, watch)?)?;
        if opening.total == 0 {
            let how = format!("`voisin convert {} DIR`, then `voisin add DIR --base FILE` fills it", path.display());
            opening.notes.push(format!("the index holds no vectors; {how}"));
        }
        return Ok(opening);
    };
    let n = graph.len() as u64;
    let numbers: Vec<u64> = graph.ids().map_or_else(|| (0..n).collect(), <[u64]>::to_vec);
    let exact = match n {
        0 => None,
        _ => Some(engine::flat(&engine::rows_of(&graph), numbers.clone(), graph.metric(), watch)?),
    };
    let mut opening = Opening::new(from, Engine::Graph(graph), Rows::new(numbers));
    opening.exact = exact;
    Ok(opening)
}

fn images<'a>(from: &'a CollectionSpec, root: &Path, maker: &Maker, watch: &dyn Watch) -> Result<Opening<'a>, WebError> {
    let opened = folder::open(root, from.keep.as_deref(), maker, watch)?;
    let mut opening = Opening::of_index(from, opened.index)?;
    let ids = opening.strings.clone().unwrap_or_default();
    opening.pictures = Pictures::new(root, ids)?;
    if !opened.unreadable.is_empty() {
        let first: Vec<String> = opened.unreadable.iter().take(NAMED).map(|(id, why)| format!("{id} ({why})")).collect();
        let more = opened.unreadable.len() - first.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        opening.notes.push(format!("left out as they cannot be read: {}{more}", first.join(", ")));
    }
    if opened.outside > 0 {
        opening.notes.push(format!("left out: {} links that lead out of the folder", opened.outside));
    }
    Ok(opening)
}

impl<'a> Opening<'a> {
    fn new(from: &'a CollectionSpec, engine: Engine, rows: Rows) -> Opening<'a> {
        let (pictures, total) = (Pictures::default(), rows.len() as u64);
        Opening { from, engine, exact: None, total, rows, strings: None, pictures, made_by: None, notes: Vec::new() }
    }

    fn of_index(from: &'a CollectionSpec, index: Index) -> Result<Opening<'a>, WebError> {
        let (rows, strings) = Rows::of_index(&index)?;
        let made_by = index.info().made_by;
        Ok(Opening { strings, made_by, ..Opening::new(from, Engine::Lists(Box::new(Lists::new(index))), rows) })
    }

    /// Names, images, labels and texts, in this order: labels may be told by names, and names by images.
    fn beside(&mut self) -> Result<(), WebError> {
        let from = self.from;
        self.rows.names = self.strings(from.names.as_ref(), StringRole::Names)?;
        if let Some(folder) = &from.images {
            let names = self.rows.names.as_ref().or(self.strings.as_ref()).ok_or_else(|| {
                let what = format!("--images {}: which image belongs to which vector is not known", folder.display());
                WebError::new(Kind::BadRequest, what).hint("--names FILE says the path of each, in the order of the vectors")
            })?;
            self.pictures = Pictures::new(folder, beside::images(folder, names, &mut self.notes)?)?;
        }
        self.rows.texts = self.strings(from.texts.as_ref(), StringRole::Texts)?;
        let labels = match self.strings(from.labels.as_ref(), StringRole::Labels)? {
            Some(labels) => Some(labels),
            None => self.folders(),
        };
        self.rows.classes = labels.map(|l| Classes::new(&l)).unwrap_or_default();
        if self.rows.classes.len() > CLASSES {
            self.notes.push(format!("{} labels are too many to choose among", self.rows.classes.len()));
            self.rows.classes = Classes::default();
        }
        Ok(())
    }

    fn strings(&mut self, file: Option<&String>, role: StringRole) -> Result<Option<StringIds>, WebError> {
        let Some(file) = file else { return Ok(None) };
        beside::strings(file, role, (&self.rows, self.total), &self.engine, &mut self.notes).map(Some)
    }

    /// Labels where no file says them: the folders of the images, of string ids, or of names that are paths.
    fn folders(&self) -> Option<StringIds> {
        let folder = |path: &str| path.rsplit_once('/').map_or(0, |x| x.0.len());
        if self.pictures.count() > 0 {
            let path = |row| self.pictures.path(row).unwrap_or_default();
            return Some((0..self.rows.len()).map(|row| &path(row)[..folder(path(row))]).collect());
        }
        match (&self.rows.names, &self.strings) {
            (Some(names), _) => beside::folders_of(names),
            (None, Some(ids)) => Some(ids.iter().map(|id| &id[..folder(id)]).collect()),
            _ => None,
        }
    }

    /// The vectors as they were, where a file of them is named.
    fn features(&mut self, watch: &dyn Watch) -> Result<(), WebError> {
        if let Some(spec) = &self.from.features {
            let source = engine::features(spec, self.engine.dim())?;
            let numbers = engine::aligned(&*source, &self.rows, self.strings.as_ref())?;
            self.exact = Some(engine::flat(&*source, numbers, self.engine.metric(), watch)?);
        }
        Ok(())
    }

    fn finish(mut self, maker: Maker, watch: &dyn Watch) -> Collection {
        let other_maker = self.other_maker(&maker);
        let asks = Asks {
            id: self.no_id(watch),
            image: other_maker.clone().or_else(|| maker.no_image()),
            text: other_maker.clone().or_else(|| maker.no_text()),
            exact: None,
            explain: None,
        };
        if let Some(why) = &asks.image {
            self.notes.push(why.clone());
        }
        let kept = if self.exact.is_some() { Kept::Whole } else { self.engine.keeps() };
        let by = match kept {
            Kept::Whole => None,
            Kept::Halved => {
                Some("the index keeps vectors rounded to half floats: the exact comparison and search by id go by these")
            }
            Kept::Coded => {
                Some("the index keeps codes, not vectors: the exact comparison and search by id go by what the codes say")
            }
        };
        self.notes.extend(by.map(|what| format!("{what} (--features FILE names the vectors as they were)")));
        let shows = match (self.pictures.count(), &self.rows.texts) {
            (0, Some(_)) => "texts",
            (0, None) => "ids",
            _ => "images",
        };
        let facts = Facts {
            name: self.from.name.clone(),
            n: self.engine.len(),
            d: self.engine.dim(),
            metric: self.engine.metric().to_string(),
            spec: self.engine.spec(),
            nlist: self.engine.nlist(),
            nprobe: self.engine.nprobe(),
            recall_targets: self.engine.recall_targets(),
            ef: self.engine.ef(),
            exact_by: if kept == Kept::Coded { "codes" } else { "vectors" },
            shows,
            made_by: self.made_by.clone(),
            classes: self.rows.classes.all().map(|(label, count)| Class { label: label.into(), count }).collect(),
            notes: self.notes.clone(),
            asks,
        };
        let unit = self.is_unit();
        let maker = other_maker.is_none().then_some(maker);
        Collection { facts, engine: self.engine, exact: self.exact, rows: self.rows, pictures: self.pictures, maker, unit }
    }

    fn vector(&self, row: usize) -> Result<Option<Vec<f32>>, WebError> {
        let number = self.rows.number(row);
        match &self.exact {
            Some(exact) => Ok(exact.index.vector_of(number)?),
            None => self.engine.vector(number),
        }
    }

    fn is_unit(&self) -> bool {
        let n = self.rows.len();
        let step = n.div_ceil(SAMPLE).max(1);
        n > 0 && (0..n).step_by(step).all(|row| self.vector(row).ok().flatten().is_some_and(|v| is_unit(&v)))
    }

    /// Why there is no search by id.
    fn no_id(&self, watch: &dyn Watch) -> Option<String> {
        if self.rows.len() == 0 {
            return Some("the collection is empty".into());
        }
        let error = self.vector(0).err()?;
        let why = match error.kind {
            // it names files, and what is said here is for everybody
            Kind::Internal => {
                watch.note(&format!("{}: {error}", self.from.name));
                "the index cannot be read".into()
            }
            _ => error.message,
        };
        Some(format!("the vectors of the items are not known ({why}); start with --features FILE, the vectors as they were"))
    }

    /// Why neither images nor texts can be asked with: the vectors are of another maker than queries would be.
    fn other_maker(&self, maker: &Maker) -> Option<String> {
        let names: Vec<&str> = self.from.paths.iter().map(|p| p.trim_end_matches('/').rsplit('/').next().unwrap_or(p)).collect();
        let names = names.join(", ");
        match &self.made_by {
            Some(by) if by == maker.made_by() && maker.dim() == self.engine.dim() => None,
            Some(by) => Some(format!("these vectors were made by {by}; start with --model FILE, the model of that name")),
            None if self.from.model.is_some() || self.from.options.text_model.is_some() => {
                let (d, made) = (self.engine.dim(), maker.dim());
                (d != made).then(|| format!("{names} has vectors of {d} dimensions, and the model makes some of {made}"))
            }
            None => Some(format!(
                "{names} does not say what made its vectors: it is searched by id only, unless --model FILE names the model"
            )),
        }
    }
}
