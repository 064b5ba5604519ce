//! A run of bytes in a file or in memory: what a large value of a pickle or a storage of torch is until it is read.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result};

use crate::InFile;

/// Some bytes of a file (or decoded from one and held in memory); always within it, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    file: Arc<InFile>,
    offset: u64,
    len: u64,
}

impl Bytes {
    /// All bytes of a file, none of them read yet.
    pub(crate) fn new(file: Arc<InFile>) -> Bytes {
        let len = file.len();
        Bytes { file, offset: 0, len }
    }

    /// Bytes decoded from this file.
    pub(crate) fn unpacked(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::new(Arc::new(self.file.unpacked(bytes)))
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The file that they are in or came from.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn file(&self) -> &Arc<InFile> {
        &self.file
    }

    /// Their position in [`Bytes::file`].
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// `len` bytes from `at`, or none when they are not all there.
    pub(crate) fn slice(&self, at: u64, len: u64) -> Option<Bytes> {
        let end = at.checked_add(len)?;
        (end <= self.len).then(|| Bytes { file: self.file.clone(), offset: self.offset + at, len })
    }

    /// Fills `out` from position `at`.
    pub(crate) fn read_at(&self, out: &mut [u8], at: u64) -> Result<()> {
        if at.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(self.short(at, out.len() as u64));
        }
        self.file.read_at(out, self.offset + at)
    }

    /// A copy of all bytes.
    pub(crate) fn to_vec(&self) -> Result<Vec<u8>> {
        self.file.bytes(self.offset, self.len)
    }

    fn short(&self, at: u64, want: u64) -> Error {
        let (at, end) = (self.offset.saturating_add(at), self.offset + self.len);
        Error::format(self.path(), format!("truncated: {want} bytes are expected at byte {at}, but it ends at byte {end}"))
    }
}

/// Reads [`Bytes`] from front to back through a small buffer; large runs are stepped over, not read.
#[derive(Debug)]
pub(crate) struct Cursor {
    bytes: Bytes,
    at: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

const BUFFER: u64 = 1 << 16;

impl Cursor {
    pub(crate) fn new(bytes: Bytes) -> Cursor {
        Cursor { bytes, at: 0, buffer: Vec::new(), buffer_at: 0 }
    }

    /// Where the next byte is taken from.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes that are left.
    pub(crate) fn remaining(&self) -> u64 {
        self.bytes.len() - self.at
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        let mut i = self.at - self.buffer_at;
        if i >= self.buffer.len() as u64 {
            self.refill()?;
            i = 0;
        }
        self.at += 1;
        Ok(self.buffer[i as usize])
    }

    fn refill(&mut self) -> Result<()> {
        let n = self.remaining().min(BUFFER);
        if n == 0 {
            return Err(self.bytes.short(self.at, 1));
        }
        self.buffer.resize(n as usize, 0);
        self.buffer_at = self.at;
        self.bytes.read_at(&mut self.buffer, self.at).inspect_err(|_| self.buffer.clear())
    }

    /// The next N bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        for b in &mut out {
            *b = self.byte()?;
        }
        Ok(out)
    }

    /// The next `len` bytes, stepped over: they are read when they are needed.
    pub(crate) fn take(&mut self, len: u64) -> Result<Bytes> {
        let out = self.bytes.slice(self.at, len).ok_or_else(|| self.bytes.short(self.at, len))?;
        self.at += len;
        Ok(out)
    }

    /// The next `len` bytes, read now; `len` is bounded by what is left.
    pub(crate) fn read(&mut self, len: u64) -> Result<Vec<u8>> {
        let i = self.at - self.buffer_at;
        if let Some(end) = i.checked_add(len).filter(|&end| end <= self.buffer.len() as u64) {
            self.at += len;
            return Ok(self.buffer[i as usize..end as usize].to_vec());
        }
        self.take(len)?.to_vec()
    }

    /// The bytes up to a newline, which is passed.
    pub(crate) fn line(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(out),
                b => out.push(b),
            }
        }
    }
}
