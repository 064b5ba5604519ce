//! Many images, described in parallel.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use voisin::{Error, Metric, Result, Source, StringIds, Watch};
use voisin_io::features::{Features, write_features};
use voisin_io::fingerprint;

use crate::state::{Kept, Made, State};
use crate::{Embedder, File, read};

/// Images between two looks at the state file.
const CHUNK: usize = 64;

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What [`embed`] did.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Vectors written.
    pub n: u64,
    /// Their dimensions.
    pub d: usize,
    /// Labels that occur; 0 where no image lies in a folder below the one named.
    pub labels: usize,
    /// Images described by an earlier run.
    pub resumed: u64,
    /// Images without a vector, in their order.
    pub skipped: Vec<Skipped>,
    /// What made the vectors.
    pub made_by: String,
}

/// Something that becomes a vector.
pub(crate) trait Item: Sync {
    /// Its id.
    fn id(&self) -> &str;
    /// Its class; empty where there is none.
    fn label(&self) -> &str;
    /// Where it is, for people.
    fn place(&self) -> PathBuf;
    /// Changes when it changes.
    fn print(&self) -> u64;
    /// Its vector, or why there is none.
    fn make(&self, embedder: &Embedder, lane: usize) -> Made;
}

impl Item for File {
    fn id(&self) -> &str {
        &self.id
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn place(&self) -> PathBuf {
        self.path.clone()
    }

    /// Of name, size and time of the file.
    fn print(&self) -> u64 {
        let meta = std::fs::metadata(&self.path).ok();
        let modified = meta.as_ref().and_then(|m| m.modified().ok()).and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let numbers = [meta.map_or(u64::MAX, |m| m.len()), modified.map_or(0, |t| t.as_nanos() as u64)];
        fingerprint([self.id.as_bytes(), &numbers[0].to_le_bytes(), &numbers[1].to_le_bytes()])
    }

    fn make(&self, embedder: &Embedder, lane: usize) -> Made {
        read(&self.path).map_err(|e| e.0).and_then(|p| embedder.on_lane(lane, &p))
    }
}

/// Makes vectors of images by `embedder` and writes them with ids and labels to `out` (`.h5`, `.npz` or `.npy`). Images
/// that cannot be read are left out and listed.
///
/// What is finished is kept in `state`, which is removed at the end: a run that was stopped or killed goes on there, and
/// writes the same bytes. Memory does not grow with the vectors, only with names and places of the images.
///
/// # Errors
/// [`Error::Empty`] if no image can be read; what writing gives; [`Error::Stopped`].
pub fn embed(files: &[File], embedder: &Embedder, out: &Path, state: &Path, watch: &dyn Watch) -> Result<Embedded> {
    gather(files, "images", &[embedder.made_by()], embedder, out, state, watch)
}

/// Makes and writes the vectors of `items`, which are called `what`; `key` is what they depend on beside the items.
pub(crate) fn gather<T: Item>(
    items: &[T],
    what: &'static str,
    key: &[&str],
    embedder: &Embedder,
    out: &Path,
    state: &Path,
    watch: &dyn Watch,
) -> Result<Embedded> {
    let d = embedder.dim();
    let key = fingerprint(key.iter().copied().chain(embedder.runtime()));
    let (mut state, known) = State::open(state, key, d)?;
    let prints: Vec<u64> = items.iter().map(T::print).collect();
    let mut kept: Vec<Option<Kept>> = prints.iter().map(|p| known.get(p).cloned()).collect();
    let todo: Vec<usize> = (0..items.len()).filter(|&i| kept[i].is_none()).collect();
    let resumed = (items.len() - todo.len()) as u64;
    watch.begin("embedding", items.len() as u64, what);
    watch.advance(resumed);
    for chunk in todo.chunks(CHUNK) {
        let made: Vec<Option<Made>> = embedder.each(chunk.len(), |at, lane| {
            // nothing once the work is to stop
            (!watch.stopped()).then(|| {
                let made = items[chunk[at]].make(embedder, lane);
                watch.advance(1);
                made
            })
        });
        for (&i, made) in chunk.iter().zip(made) {
            if let Some(made) = made {
                kept[i] = Some(state.push(prints[i], made)?);
            }
        }
        state.flush()?;
        watch.check()?;
    }
    watch.end();
    let mut skipped = Vec::new();
    let mut rows = Vec::new();
    for (item, kept) in items.iter().zip(kept) {
        match kept.expect("all are done") {
            Kept::Row(at) => rows.push((at, item)),
            Kept::Reason(reason) => skipped.push(Skipped { path: item.place(), reason }),
        }
    }
    if rows.is_empty() {
        let first = skipped.first().map(|s| format!(" ({}: {})", s.path.display(), s.reason)).unwrap_or_default();
        state.remove()?;
        return Err(Error::Empty { name: format!("no {} can be read{first}", what.trim_end_matches('s')) });
    }
    let labels: Option<StringIds> =
        rows.iter().any(|(_, f)| !f.label().is_empty()).then(|| rows.iter().map(|(_, f)| f.label()).collect());
    let distinct: std::collections::BTreeSet<&str> = labels.iter().flat_map(|l| l.iter()).filter(|l| !l.is_empty()).collect();
    let ids: StringIds = rows.iter().map(|(_, f)| f.id()).collect();
    let places = rows.iter().map(|(at, _)| *at).collect();
    let source = Described { state: &state, places, d };
    write_features(out, &source, &Features { ids: &ids, labels: labels.as_ref(), made_by: embedder.made_by() }, watch)?;
    let (n, labels) = (source.len(), distinct.len());
    state.remove()?;
    Ok(Embedded { n, d, labels, resumed, skipped, made_by: embedder.made_by().into() })
}

/// The rows of a state file, in the order of the images.
struct Described<'a> {
    state: &'a State,
    places: Vec<u64>,
    d: usize,
}

impl Source for Described<'_> {
    fn len(&self) -> u64 {
        self.places.len() as u64
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        "images".into()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let places = &self.places[start as usize..];
        places.iter().zip(out.chunks_exact_mut(self.d)).try_for_each(|(&at, row)| self.state.row(at, row))
    }

    fn metric(&self) -> Option<Metric> {
        Some(Metric::Cosine)
    }
}
