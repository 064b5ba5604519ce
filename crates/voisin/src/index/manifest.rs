//! `manifest.json`: what an index is and which files belong to it. Replaced last, as a whole; whatever it does not name
//! is not part of the index.

use super::disk;
use super::job::Missing;
use crate::adapt::layer_name;
use crate::{Error, LayerId, Metric, Result, Source, Spec};
use serde::{Deserialize, Serialize};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Version of the format of an index. 1 kept plain vectors in their segments and is not read any more.
pub(super) const FORMAT: u32 = 2;
pub(super) const MANIFEST: &str = "manifest.json";
/// Folder of the segments.
pub(super) const SEGMENTS: &str = "segments";

/// What ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdKind {
    Numbers,
    Strings,
}

impl IdKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            IdKind::Numbers => "numbers",
            IdKind::Strings => "strings",
        }
    }
}

/// A 64-bit digest as 16 hexadecimal digits: JSON numbers hold only 53 bits everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest(pub(super) u64);

impl From<Digest> for String {
    fn from(d: Digest) -> String {
        format!("{:016x}", d.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(s: String) -> Result<Digest, String> {
        u64::from_str_radix(&s, 16).map(Digest).map_err(|e| format!("digest {s:?}: {e}"))
    }
}

/// A file of the index, by its name in the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

/// The vectors of a segment that are deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DeletedEntry {
    #[serde(flatten)]
    pub(super) at: FileEntry,
    pub(super) count: u64,
}

/// A segment, by its name in `segments/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    #[serde(flatten)]
    pub(super) at: FileEntry,
    pub(super) rows: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<DeletedEntry>,
}

/// All that the manifest says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) spec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    pub(super) metric: Metric,
    /// What made the vectors, where the base said so: queries and vectors to add that were made otherwise are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_by: Option<String>,
    pub(super) d: usize,
    /// Vectors, without the deleted ones.
    pub(super) n: u64,
    pub(super) ids: IdKind,
    /// The id that the next numbered vector gets.
    pub(super) next_id: u64,
    /// Counts changes; part of the names of new files.
    pub(super) generation: u64,
    pub(super) model: FileEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) calibration: Option<FileEntry>,
    /// The layer that all its vectors were mapped by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<LayerId>,
    /// Digest of the plan, where it was built in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<Digest>,
    /// Inputs that it was built without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<Missing>,
    /// Lists that a search visits where nobody says how many; 1 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nprobe: Option<usize>,
    /// Candidates a neighbour that go on to the refinement where nobody says how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refine: Option<usize>,
    pub(super) segments: Vec<SegmentEntry>,
}

impl Manifest {
    /// Reads and checks the manifest of a folder.
    pub(super) fn load(dir: &Path) -> Result<Manifest> {
        let path = dir.join(MANIFEST);
        let m: Manifest = match std::fs::read(&path) {
            Ok(bytes) => parse(&path, &bytes)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => {
                if dir.join(super::job::JOB).is_dir() {
                    return Err(Error::unfinished(
                        dir,
                        "a job that is not committed yet: `voisin job commit PLAN` makes the index",
                    ));
                }
                return Err(Error::format(dir, "no index in this folder (manifest.json is missing)"));
            }
            Err(e) if dir.is_file() => {
                let _ = e;
                return Err(Error::format(dir, "a file; an index is a folder"));
            }
            Err(e) => return Err(Error::io(dir, e)),
        };
        m.check().map_err(|what| Error::corrupt(&path, what))?;
        Ok(m)
    }

    /// Replaces the manifest of a folder; from then on the index is what it says.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        disk::write_file(&dir.join(MANIFEST), &seal(self))
    }

    /// Refuses vectors that are known to be made otherwise than those of the index.
    pub(super) fn check_made_by(&self, source: &dyn Source) -> Result<()> {
        match (&self.made_by, source.made_by()) {
            (Some(here), Some(there)) if *here != there => {
                Err(Error::format(source.name(), format!("vectors made by `{there}`, those of the index by `{here}`")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn parsed_spec(&self) -> Result<Spec> {
        Spec::parse(&self.spec)
    }

    /// Refuses vectors that another layer has mapped, or none.
    pub(super) fn check_layer(&self, dir: &Path, layer: Option<&LayerId>, name: &str) -> Result<()> {
        if layer == self.layer.as_ref() {
            return Ok(());
        }
        let (got, expected) = (layer_name(layer), layer_name(self.layer.as_ref()));
        Err(Error::Layer { name: name.to_owned(), path: dir.to_owned(), got, expected })
    }

    pub(super) fn deleted(&self) -> u64 {
        self.segments.iter().filter_map(|s| s.deleted.as_ref()).map(|d| d.count).sum()
    }

    /// Bytes of the files it names.
    pub(super) fn bytes(&self) -> u64 {
        let deleted = |s: &SegmentEntry| s.deleted.as_ref().map_or(0, |d| d.at.bytes);
        let segments = self.segments.iter().fold(0u64, |sum, s| sum.saturating_add(s.at.bytes).saturating_add(deleted(s)));
        segments.saturating_add(self.model.bytes).saturating_add(self.calibration.as_ref().map_or(0, |c| c.bytes))
    }

    /// Names of the files it needs, relative to the folder.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files = vec![self.model.file.clone()];
        files.extend(self.calibration.as_ref().map(|c| c.file.clone()));
        for s in &self.segments {
            files.push(format!("{SEGMENTS}/{}", s.at.file));
            files.extend(s.deleted.as_ref().map(|d| format!("{SEGMENTS}/{}", d.at.file)));
        }
        files
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let spec = self.parsed_spec().map_err(|e| e.to_string())?;
        if self.d == 0 || self.d > 1 << 24 || spec.nlist() == 0 {
            return Err(format!("{} dimensions", self.d));
        }
        let mut names = self.files();
        for name in &names {
            let plain = name.strip_prefix("segments/").unwrap_or(name);
            // nothing may point out of the folder
            if plain.is_empty()
                || plain.starts_with('.')
                || !plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            {
                return Err(format!("file name {name:?}"));
            }
        }
        names.sort_unstable();
        if names.windows(2).any(|w| w[0] == w[1]) {
            return Err("a file is named twice".into());
        }
        let mut live = 0u64;
        for s in &self.segments {
            let deleted = s.deleted.as_ref().map_or(0, |d| d.count);
            let left = s.rows.checked_sub(deleted).ok_or_else(|| format!("{}: more deleted than stored", s.at.file))?;
            live = live.checked_add(left).ok_or("too many rows")?;
        }
        if live != self.n {
            return Err(format!("{} vectors in the segments, n = {}", live, self.n));
        }
        Ok(())
    }
}

const SEAL: &str = ",\n  \"checksum\": \"";
const AFTER: &str = "\"\n}\n";

/// The JSON text of a value with the checksum of all that stands before as its last field.
pub(super) fn seal<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).expect("plain data");
    let end = text.trim_end().strip_suffix('}').expect("an object").trim_end().len();
    text.truncate(end);
    let hash = xxh3_64(text.as_bytes());
    text.push_str(&format!("{SEAL}{hash:016x}{AFTER}"));
    text.into_bytes()
}

/// The checksum that a sealed text ends with.
pub(super) fn seal_of(bytes: &[u8]) -> Option<u64> {
    let end = bytes.len().checked_sub(AFTER.len())?;
    let digits = std::str::from_utf8(bytes.get(end.checked_sub(16)?..end)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// The value of a sealed text, or what is wrong.
pub(super) fn unseal<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    let tail = SEAL.len() + 16 + AFTER.len();
    let body = bytes.len().checked_sub(tail).ok_or("too short")?;
    let (body, seal) = bytes.split_at(body);
    if !seal.starts_with(SEAL.as_bytes()) || !seal.ends_with(AFTER.as_bytes()) {
        return Err("it does not end with its checksum".into());
    }
    let hash = format!("{:016x}", xxh3_64(body));
    if seal[SEAL.len()..SEAL.len() + 16] != *hash.as_bytes() {
        return Err("its checksum does not match".into());
    }
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    // a newer format may have another seal: the version is looked at first
    if let Ok(v) = serde_json::from_slice::<Version>(bytes)
        && v.format > FORMAT
    {
        return Err(Error::NewerFormat { path: path.to_owned(), found: v.format, supported: FORMAT });
    }
    let damaged = |what| Error::corrupt(path, what);
    // an older one had other fields
    let found = unseal::<Version>(bytes).map_err(damaged)?.format;
    if found < FORMAT {
        let what = format!("an index of format {found}; this version reads format {FORMAT}: build the index anew");
        return Err(Error::format(path, what));
    }
    unseal(bytes).map_err(damaged)
}
