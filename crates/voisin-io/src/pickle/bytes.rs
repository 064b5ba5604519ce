//! A run of bytes in a file or in memory: what a large value of a pickle or a storage of torch is until it is read.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result};

#[derive(Debug)]
enum Store {
    File { file: File, len: u64 },
    Mem(Vec<u8>),
}

impl Store {
    fn len(&self) -> u64 {
        match self {
            Store::File { len, .. } => *len,
            Store::Mem(m) => m.len() as u64,
        }
    }
}

/// `len` bytes of a store from `offset`; always within the store, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    store: Arc<Store>,
    offset: u64,
    len: u64,
}

impl Bytes {
    /// All bytes of a file, none of them read yet.
    pub(crate) fn open(path: &Path) -> Result<Bytes> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let meta = file.metadata().map_err(|e| Error::io(path, e))?;
        if meta.is_dir() {
            return Err(Error::format(path, "is a folder, not a file"));
        }
        let len = meta.len();
        Ok(Bytes { store: Arc::new(Store::File { file, len }), offset: 0, len })
    }

    pub(crate) fn from_vec(bytes: Vec<u8>) -> Bytes {
        let len = bytes.len() as u64;
        Bytes { store: Arc::new(Store::Mem(bytes)), offset: 0, len }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Size of the whole file or buffer that these bytes are a part of: the bound of what may be allocated.
    pub(crate) fn store_len(&self) -> u64 {
        self.store.len()
    }

    /// `len` bytes from `at`, or none when they are not all there.
    pub(crate) fn slice(&self, at: u64, len: u64) -> Option<Bytes> {
        let end = at.checked_add(len)?;
        (end <= self.len).then(|| Bytes { store: self.store.clone(), offset: self.offset + at, len })
    }

    /// Fills `out` from position `at`.
    pub(crate) fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        if at.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &*self.store {
            Store::File { file, .. } => read_exact_at(file, out, self.offset + at),
            Store::Mem(m) => {
                let start = (self.offset + at) as usize;
                out.copy_from_slice(&m[start..start + out.len()]);
                Ok(())
            }
        }
    }

    /// A copy of all bytes.
    pub(crate) fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut out = vec![0; self.len as usize];
        self.read_at(0, &mut out)?;
        Ok(out)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, out: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut out: &mut [u8], mut at: u64) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                out = &mut out[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
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

    pub(crate) fn remaining(&self) -> u64 {
        self.bytes.len() - self.at
    }

    pub(crate) fn byte(&mut self) -> io::Result<u8> {
        let i = self.at.wrapping_sub(self.buffer_at);
        if i >= self.buffer.len() as u64 {
            self.refill()?;
            return self.byte();
        }
        self.at += 1;
        Ok(self.buffer[i as usize])
    }

    fn refill(&mut self) -> io::Result<()> {
        let n = self.remaining().min(BUFFER);
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.resize(n as usize, 0);
        self.buffer_at = self.at;
        self.bytes.read_at(self.at, &mut self.buffer).inspect_err(|_| self.buffer.clear())
    }

    /// The next N bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut out = [0; N];
        for b in &mut out {
            *b = self.byte()?;
        }
        Ok(out)
    }

    /// The next `len` bytes, stepped over: they are read when they are needed.
    pub(crate) fn take(&mut self, len: u64) -> io::Result<Bytes> {
        let out = self.bytes.slice(self.at, len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at += len;
        Ok(out)
    }

    /// The next `len` bytes, read now; `len` is bounded by what is left.
    pub(crate) fn read(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let i = self.at.wrapping_sub(self.buffer_at);
        if let Some(end) = i.checked_add(len).filter(|&end| end <= self.buffer.len() as u64) {
            self.at += len;
            return Ok(self.buffer[i as usize..end as usize].to_vec());
        }
        self.take(len)?.to_vec()
    }

    /// The bytes up to a newline, which is passed.
    pub(crate) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(out),
                b => out.push(b),
            }
        }
    }
}
