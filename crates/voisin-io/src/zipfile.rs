//! Zip archives as npz and torch files use them: members are found, stored ones read in place, deflated ones unpacked.

use std::io::Read;
use std::sync::Arc;

use voisin::{Error, Result};
use zip::{CompressionMethod, ZipArchive, read::ZipFile};

use crate::file::{Cursor, InFile};

/// A member of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its path in the archive.
    pub name: String,
    /// Bytes once unpacked, as the archive declares.
    pub size: u64,
    /// Bytes in the archive.
    pub packed: u64,
    /// Whether it is stored as it is.
    pub stored: bool,
}

/// An open archive.
pub struct Archive {
    file: Arc<InFile>,
    zip: ZipArchive<Cursor>,
    members: Vec<Member>,
}

impl Archive {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no zip archive or is truncated.
    pub fn open(file: Arc<InFile>) -> Result<Archive> {
        let bad = |e: zip::result::ZipError| Error::format(file.path(), format!("no readable zip archive: {e}"));
        let mut zip = ZipArchive::new(file.cursor()).map_err(bad)?;
        let mut members = Vec::new();
        for i in 0..zip.len() {
            let m = zip.by_index_raw(i).map_err(bad)?;
            let name = m.name().map_err(bad)?.into_owned();
            let stored = m.compression() == CompressionMethod::Stored && !m.encrypted();
            members.push(Member { name, size: m.size(), packed: m.compressed_size(), stored });
        }
        Ok(Archive { file, zip, members })
    }

    /// Members in the order of the directory.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The archive's file.
    pub fn file(&self) -> &Arc<InFile> {
        &self.file
    }

    /// Position of the member called `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|m| m.name == name)
    }

    /// Where member `i` can be read by position: a file, and the byte at which the member begins in it. A stored member
    /// is read in place; a deflated one is unpacked into memory (never more than the archive declares).
    ///
    /// # Errors
    /// [`Error::Format`] if it is encrypted, of another method, damaged, or longer than declared.
    pub fn data(&mut self, i: usize) -> Result<(Arc<InFile>, u64)> {
        let (m, file) = (self.members[i].clone(), self.file.clone());
        let bad = |e: &dyn std::fmt::Display| Error::format(file.path(), format!("member `{}`: {e}", m.name));
        if m.stored {
            let entry = self.zip.by_index_raw(i).map_err(|e| bad(&e))?;
            let start = entry.data_start().ok_or_else(|| bad(&"its data cannot be found"))?;
            if m.packed != m.size {
                return Err(bad(&format!("stored in {} bytes but {} are declared", m.packed, m.size)));
            }
            file.check(start, m.size)?;
            return Ok((self.file.clone(), start));
        }
        let entry = self.zip.by_index(i).map_err(|e| bad(&e))?;
        let bytes = unpack(entry, &m, u64::MAX).map_err(|e| bad(&e))?;
        if bytes.len() as u64 != m.size {
            return Err(bad(&format!("unpacks to {} bytes, {} are declared", bytes.len(), m.size)));
        }
        Ok((Arc::new(file.unpacked(bytes)), 0))
    }

    /// The first `len` bytes of member `i` (fewer if it is shorter).
    ///
    /// # Errors
    /// As [`Archive::data`].
    pub fn head(&mut self, i: usize, len: u64) -> Result<Vec<u8>> {
        let (m, file) = (self.members[i].clone(), self.file.clone());
        let bad = |e: &dyn std::fmt::Display| Error::format(file.path(), format!("member `{}`: {e}", m.name));
        let entry = self.zip.by_index(i).map_err(|e| bad(&e))?;
        unpack(entry, &m, len).map_err(|e| bad(&e))
    }
}

/// Up to `limit` bytes of a member; the buffer grows with what really comes, not with what is declared.
fn unpack(entry: ZipFile<'_, Cursor>, m: &Member, limit: u64) -> std::io::Result<Vec<u8>> {
    // deflate packs at most 1032 to 1: more is a lie
    if m.size > m.packed.saturating_mul(1032).saturating_add(1024) {
        return Err(std::io::Error::other(format!("{} bytes cannot unpack to {}", m.packed, m.size)));
    }
    let mut bytes = Vec::with_capacity(m.size.min(limit).min(m.packed.saturating_mul(4)) as usize);
    entry.take(m.size.min(limit)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
