//! What is described already of a folder, kept on disk: a killed run goes on, and rows need not lie in memory.
//!
//! Layout, little-endian: magic, key of what makes the vectors; then for every image the fingerprint of its file, the number
//! of values and of bytes of a reason (u32 each; one of them is 0), the values (f32) or the reason, and the xxh3 of the record.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use voisin::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"VSNEMBD1";
const HEAD: usize = 16;
/// Longest reason that is kept.
const REASON: usize = 1000;

/// Vector or reason of an image.
pub(crate) type Made = std::result::Result<Vec<f32>, String>;

/// Where the record of an image is.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// Values from this byte on.
    Row(u64),
    /// There are none, and why.
    Reason(String),
}

pub(crate) struct State {
    path: PathBuf,
    file: BufWriter<File>,
    at: u64,
}

impl State {
    /// Opens the state beside an output; records of other work are dropped. With it come the records by fingerprint.
    pub fn open(path: &Path, key: u64, d: usize) -> Result<(State, HashMap<u64, Kept>)> {
        let io = |e| Error::io(path, e);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let (found, at) = records(&file, key, d).map_err(io)?;
        file.set_len(at).map_err(io)?;
        let mut state = State { path: path.to_owned(), file: BufWriter::with_capacity(1 << 20, file), at };
        state.file.seek(SeekFrom::Start(at)).map_err(io)?;
        if at == 0 {
            state.put(&[&MAGIC[..], &key.to_le_bytes()].concat())?;
        }
        Ok((state, found))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }

    /// Appends the record of an image.
    pub fn push(&mut self, fingerprint: u64, made: Made) -> Result<Kept> {
        let (values, reason) = match made {
            Ok(values) => (values, String::new()),
            Err(reason) => (vec![], reason.chars().take(REASON / 4).collect()),
        };
        let mut record = fingerprint.to_le_bytes().to_vec();
        record.extend((values.len() as u32).to_le_bytes());
        record.extend((reason.len() as u32).to_le_bytes());
        values.iter().for_each(|x| record.extend(x.to_le_bytes()));
        record.extend(reason.as_bytes());
        record.extend(xxh3_64(&record).to_le_bytes());
        let start = self.at + HEAD as u64;
        self.put(&record)?;
        Ok(if values.is_empty() { Kept::Reason(reason) } else { Kept::Row(start) })
    }

    /// Hands what was appended to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::io(&self.path, e))
    }

    /// Fills `out` with the row whose values begin at byte `at`.
    pub fn row(&self, at: u64, out: &mut [f32]) -> Result<()> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
        self.file.get_ref().read_exact_at(bytes, at).map_err(|e| Error::io(&self.path, e))?;
        out.iter_mut().for_each(|x| *x = f32::from_bits(u32::from_le(x.to_bits())));
        Ok(())
    }

    /// Removes the file: the output is there.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|e| Error::io(&self.path, e))
    }
}

/// The whole records of a file, and the byte after the last of them; 0 for a file of other work.
fn records(file: &File, key: u64, d: usize) -> std::io::Result<(HashMap<u64, Kept>, u64)> {
    let mut found = HashMap::new();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut head = [0; HEAD];
    let whole = |r: std::io::Result<()>| match r {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        r => r.map(|()| true),
    };
    if !whole(file.read_exact(&mut head))? || head[..8] != *MAGIC || head[8..] != key.to_le_bytes() {
        return Ok((found, 0));
    }
    let mut at = HEAD as u64;
    let mut record = Vec::new();
    while whole(file.read_exact(&mut head))? {
        let number = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]) as usize;
        let (values, reason) = (number(8), number(12));
        if !(values == d && reason == 0 || values == 0 && reason <= REASON) {
            break;
        }
        let body = values * 4 + reason;
        record.clear();
        record.extend(head);
        record.resize(HEAD + body + 8, 0);
        if !whole(file.read_exact(&mut record[HEAD..]))? {
            break;
        }
        let (all, sum) = record.split_at(HEAD + body);
        if xxh3_64(all).to_le_bytes() != sum {
            break;
        }
        let fingerprint = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let kept = if values > 0 {
            Kept::Row(at + HEAD as u64)
        } else {
            Kept::Reason(String::from_utf8_lossy(&all[HEAD..]).into_owned())
        };
        found.insert(fingerprint, kept);
        at += record.len() as u64;
    }
    Ok((found, at))
}
