//! Files: positioned reads that name the file in every error, and writes that leave nothing half-written.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use voisin::{Error, Result};

/// A file opened for positioned reads; its length is taken once, so every offset can be checked against it.
#[derive(Debug)]
pub struct InFile {
    path: PathBuf,
    data: Backing,
    len: u64,
    modified: u64,
}

#[derive(Debug)]
enum Backing {
    File(File),
    Memory(Vec<u8>),
}

impl InFile {
    /// Opens a file that must hold at least one byte.
    ///
    /// # Errors
    /// [`Error::Io`] if it is missing or a folder; [`Error::Format`] if it is empty.
    pub fn open(path: &Path) -> Result<InFile> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let meta = file.metadata().map_err(|e| Error::io(path, e))?;
        if meta.is_dir() {
            return Err(Error::io(path, std::io::ErrorKind::IsADirectory.into()));
        }
        if meta.len() == 0 {
            return Err(Error::format(path, "the file is empty (0 bytes)"));
        }
        let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |t| t.as_nanos() as u64);
        Ok(InFile { path: path.to_owned(), data: Backing::File(file), len: meta.len(), modified })
    }

    /// Bytes in memory that stand for a file: what a deflated member of `path` unpacks to, or a test's input.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> InFile {
        InFile { path: path.to_owned(), len: bytes.len() as u64, data: Backing::Memory(bytes), modified: 0 }
    }

    /// As [`InFile::from_bytes`] for bytes unpacked from this file: keeps its name and time of change.
    pub fn unpacked(&self, bytes: Vec<u8>) -> InFile {
        InFile { modified: self.modified, ..InFile::from_bytes(&self.path, bytes) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it when it was opened; at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// A reader with a position of its own, for libraries that want [`Read`] and [`Seek`].
    pub fn cursor(self: &Arc<Self>) -> Cursor {
        Cursor { file: self.clone(), at: 0 }
    }

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// [`Error::Format`] if the file ends before; [`Error::Io`].
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.check(offset, buf.len() as u64)?;
        match &self.data {
            Backing::Memory(bytes) => {
                buf.copy_from_slice(&bytes[offset as usize..][..buf.len()]);
                Ok(())
            }
            Backing::File(file) => file.read_exact_at(buf, offset).map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => Error::format(&self.path, "the file became shorter while it was read"),
                _ => Error::io(&self.path, e),
            }),
        }
    }

    /// `len` bytes from `offset` in a buffer of their own; the length is checked against the file before allocating.
    ///
    /// # Errors
    /// As [`InFile::read_at`].
    pub fn bytes(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.check(offset, len)?;
        let mut buf = vec![0; len as usize];
        self.read_at(&mut buf, offset)?;
        Ok(buf)
    }

    /// Up to `len` bytes from the start (fewer when the file is shorter).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn head(&self, len: usize) -> Result<Vec<u8>> {
        self.bytes(0, (len as u64).min(self.len))
    }

    /// Whether `len` bytes from `offset` lie in the file.
    ///
    /// # Errors
    /// [`Error::Format`] with the sizes expected and found.
    pub fn check(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(Error::format(
                &self.path,
                format!("truncated: {len} bytes are expected at byte {offset}, but the file has only {} bytes", self.len),
            )),
        }
    }

    /// A few bytes that change when size, time of change, file name or data set change.
    pub fn fingerprint(&self, dataset: &str) -> u64 {
        let name = self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        fingerprint([name.as_bytes(), dataset.as_bytes(), &self.len.to_le_bytes(), &self.modified.to_le_bytes()])
    }
}

/// A position in an [`InFile`].
#[derive(Clone, Debug)]
pub struct Cursor {
    file: Arc<InFile>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.len.saturating_sub(self.at).min(buf.len() as u64) as usize;
        self.file.read_at(&mut buf[..n], self.at).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(x) => Some(x),
            SeekFrom::Current(x) => self.at.checked_add_signed(x),
            SeekFrom::End(x) => self.file.len.checked_add_signed(x),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Hashes several byte strings into one fingerprint; their borders count.
pub fn fingerprint<B: AsRef<[u8]>>(parts: impl IntoIterator<Item = B>) -> u64 {
    let mut h = xxhash_rust::xxh3::Xxh3::new();
    for part in parts {
        h.update(&(part.as_ref().len() as u64).to_le_bytes());
        h.update(part.as_ref());
    }
    h.digest()
}

/// A file that appears under its name only once it is complete: written beside the target, synced, renamed.
///
/// Dropped before [`AtomicFile::commit`], it removes what was written and leaves the target as it was.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temp: PathBuf,
    out: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Starts writing what is to become `target`.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder is missing or cannot be written.
    pub fn create(target: &Path) -> Result<AtomicFile> {
        let temp = temp_beside(target)?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temp);
        let file = file.map_err(|e| Error::io(target, e))?;
        Ok(AtomicFile { target: target.to_owned(), temp, out: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// The temporary file's path, for libraries that open files themselves.
    pub fn temp(&self) -> &Path {
        &self.temp
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`] naming the target (a full disk, for example).
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out().write_all(bytes).map_err(|e| Error::io(&self.target, e))
    }

    /// The buffered writer itself; map its errors with [`Error::io`] and the target's path.
    pub fn out(&mut self) -> &mut BufWriter<File> {
        self.out.as_mut().expect("open until commit")
    }

    /// Flushes, syncs, and renames to the target.
    ///
    /// # Errors
    /// [`Error::Io`]; the target is then as it was before.
    pub fn commit(mut self) -> Result<()> {
        let out = self.out.take().expect("open until commit");
        let done = out
            .into_inner()
            .map_err(|e| e.into_error())
            .and_then(|f| f.sync_all())
            .and_then(|()| std::fs::rename(&self.temp, &self.target))
            .and_then(|()| sync_folder(&self.target));
        done.map_err(|e| Error::io(&self.target, e)) // a failure leaves the temporary file to Drop
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        self.out.take();
        let _ = std::fs::remove_file(&self.temp); // gone already after a commit
    }
}

/// A name in the same folder that no other process or call uses; the rename then stays within one file system.
fn temp_beside(target: &Path) -> Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().ok_or_else(|| Error::param("output", target.display(), "a file name"))?;
    let mut temp = std::ffi::OsString::from(".");
    temp.push(name);
    temp.push(format!(".{}.{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    Ok(target.with_file_name(temp))
}

/// Makes the rename itself durable.
fn sync_folder(target: &Path) -> std::io::Result<()> {
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_write_leaves_the_target_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x.npy");
        let mut f = AtomicFile::create(&target).unwrap();
        f.write(b"old").unwrap();
        f.commit().unwrap();
        let mut f = AtomicFile::create(&target).unwrap();
        f.write(b"new").unwrap();
        drop(f);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reads_stay_within_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"12345").unwrap();
        let f = InFile::open(&path).unwrap();
        assert_eq!(f.bytes(3, 2).unwrap(), b"45");
        assert!(f.bytes(3, 3).unwrap_err().to_string().contains("truncated: 3 bytes are expected at byte 3"));
        assert!(f.bytes(u64::MAX, u64::MAX).is_err());
        std::fs::write(&path, b"").unwrap();
        assert!(InFile::open(&path).unwrap_err().to_string().contains("empty"));
        assert!(InFile::open(dir.path()).is_err());
    }
}
