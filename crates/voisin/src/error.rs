//! One error type that carries facts: which file, which row, what was expected, what was found.

use std::path::{Path, PathBuf};

/// What can go wrong; every variant names the file or the parameter that is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its format demands (wrong magic, truncated, inconsistent lengths).
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with expected and found values.
        what: String,
    },
    /// Two inputs disagree about the number of dimensions.
    #[error("{name}: vectors of {got} dimensions where {expected} are expected ({context})")]
    Dimension {
        /// The input at fault.
        name: String,
        /// Dimensions of the other side.
        expected: usize,
        /// Dimensions found.
        got: usize,
        /// What the other side is.
        context: String,
    },
    /// A row that no metric can rank: NaN, infinite, or zero under cosine.
    #[error("{name}, row {row}: {what}")]
    BadRow {
        /// The file.
        name: String,
        /// Row in that file, from 0.
        row: u64,
        /// NaN, infinity or zero vector.
        what: crate::BadRow,
    },
    /// An input without a single vector.
    #[error("{name}: no vectors in it")]
    Empty {
        /// The input.
        name: String,
    },
    /// A parameter outside its range.
    #[error("{name} = {got}: {expected}")]
    Param {
        /// The parameter as the user writes it.
        name: String,
        /// Its value.
        got: String,
        /// What it must be.
        expected: String,
    },
    /// A spec string that cannot be read; `at..at + len` is the word at fault.
    #[error("spec \"{spec}\": {what}")]
    Spec {
        /// The whole spec.
        spec: String,
        /// Byte position of the word.
        at: usize,
        /// Its length in bytes.
        len: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A stored index whose bytes do not match their checksum.
    #[error("{}: damaged: {what}", path.display())]
    Corrupt {
        /// The file of the index.
        path: PathBuf,
        /// Which block, and what was expected.
        what: String,
    },
    /// Work on an index that has steps before this one.
    #[error("{}: {what}", path.display())]
    Unfinished {
        /// The folder of the index.
        path: PathBuf,
        /// What is to be done first.
        what: String,
    },
    /// An index written by a newer version.
    #[error("{}: index format {found}, this version reads up to {supported}", path.display())]
    NewerFormat {
        /// The manifest.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version that can be read.
        supported: u32,
    },
    /// An index that cannot go together with another one.
    #[error("{}: {what}", path.display())]
    Unlike {
        /// Its folder.
        path: PathBuf,
        /// What differs, and the other folder.
        what: String,
    },
    /// Vectors mapped by another layer than those of the index, or by none.
    #[error("{name}: mapped by {got}, where the vectors of {} are mapped by {expected}", path.display())]
    Layer {
        /// The vectors.
        name: String,
        /// Folder of the index.
        path: PathBuf,
        /// Their layer, or "no layer".
        got: String,
        /// The layer of the index, or "no layer".
        expected: String,
    },
    /// An id that is already in the index (`add`) or not in it (`remove`, `search --id`).
    #[error("id {id}: {what}")]
    Id {
        /// The id as text.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// An id that stands in two indexes which are opened as one.
    #[error("id {id}: stands in {} and in {}; an id may stand in one of the folders only", folders[0].display(), folders[1].display())]
    SharedId {
        /// The id as text.
        id: String,
        /// The folders.
        folders: [PathBuf; 2],
    },
    /// The memory limit is too small for even one block.
    #[error("memory limit of {limit} bytes is too small: {need} bytes are needed for {what}")]
    Memory {
        /// The limit.
        limit: u64,
        /// The least that works.
        need: u64,
        /// For what.
        what: String,
    },
    /// Stopped on request (Ctrl-C); finished parts are kept and the next run resumes.
    #[error("stopped")]
    Stopped,
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An I/O error with its file.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_owned(), source }
    }

    /// A malformed file.
    pub fn format(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// Something else is to be done first.
    pub fn unfinished(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Error::Unfinished { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// A damaged index file.
    pub fn corrupt(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Error::Corrupt { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// A parameter outside its range.
    pub fn param(name: impl Into<String>, got: impl ToString, expected: impl Into<String>) -> Self {
        Error::Param { name: name.into(), got: got.to_string(), expected: expected.into() }
    }

    /// Whether the call was wrong (exit code 2) rather than the data (exit code 1).
    pub fn is_usage(&self) -> bool {
        matches!(self, Error::Param { .. } | Error::Spec { .. } | Error::Layer { .. })
    }

    /// What the user can do about it, where there is something better to say than the message.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => "check the path; a pattern must match at least one file".into(),
                std::io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder".into(),
                std::io::ErrorKind::StorageFull => "free some space and run the same command again".into(),
                std::io::ErrorKind::WouldBlock => "wait until the other process has ended; what it does is not lost".into(),
                _ => return None,
            },
            Error::BadRow { .. } => "repair the row, or pass --on-bad skip to leave such rows out and count them".into(),
            Error::Dimension { name, .. } if name == "model" => {
                "the model must take vectors of this base; `voisin info` shows the shapes of both".into()
            }
            Error::Dimension { .. } => "base and queries must come from the same model; `voisin info` shows both shapes".into(),
            Error::Corrupt { .. } => "`voisin verify DIR` lists every damaged file; restore it or build again".into(),
            Error::Unfinished { .. } => "`voisin job status PLAN` says what is left to do".into(),
            Error::NewerFormat { .. } => "use the version of voisin that wrote it, or a newer one".into(),
            Error::Layer { .. } => {
                "--adapt must name the layer that the index was built with, and only where there was one; `voisin info DIR` shows it"
                    .into()
            }
            Error::Unlike { .. } => {
                "only indexes of one model go together; `voisin build --like DIR` builds another one with the model of DIR".into()
            }
            Error::SharedId { .. } => {
                "number each folder's vectors by themselves: `build` and `add` take --first-id N; `remove` takes the id out of one of them"
                    .into()
            }
            Error::Stopped => "run the same command again to go on".into(),
            _ => return None,
        })
    }
}
