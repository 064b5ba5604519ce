//! The only writes that an index makes: whole files under a temporary name, synced, then renamed.
//!
//! Every step that a crash could separate from the next one passes [`step`], so that tests can stop after each.

use crate::{Error, Result};
use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64;

const BUFFER: usize = 1 << 20;
/// Ending of files that are not finished.
pub(super) const TEMPORARY: &str = ".tmp";

/// A file in the making; it appears under its name when [`Out::finish`] succeeds, and leaves nothing otherwise.
#[derive(Debug)]
pub(super) struct Out {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    buffer: Vec<u8>,
    finished: bool,
}

impl Out {
    pub(super) fn create(path: &Path) -> Result<Out> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(unique());
        let temporary = path.with_file_name(name);
        step(&temporary)?;
        let file = File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
        Ok(Out { file, path: path.to_owned(), temporary, buffer: Vec::with_capacity(BUFFER), finished: false })
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() <= BUFFER {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        if bytes.len() < BUFFER {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let done = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        done
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(e) = step(&self.path) {
            let _ = self.file.write_all(&bytes[..bytes.len() / 2]);
            return Err(e);
        }
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }

    /// Writes over the beginning of the file.
    pub(super) fn patch_start(&mut self, bytes: &[u8]) -> Result<()> {
        self.flush()?;
        self.file.seek(SeekFrom::Start(0)).map_err(|e| Error::io(&self.path, e))?;
        self.write(bytes)
    }

    /// Syncs the content and gives the file its name.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        step(&self.path)?;
        self.file.sync_all().map_err(|e| Error::io(&self.path, e))?;
        step(&self.path)?;
        std::fs::rename(&self.temporary, &self.path).map_err(|e| Error::io(&self.path, e))?;
        self.finished = true;
        sync_folder(self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.finished && !crashed() {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// An ending that no other process anywhere gives a file: `.MACHINE-PROCESS-NUMBER.tmp`.
fn unique() -> String {
    use std::hash::{BuildHasher, RandomState};
    let number = RandomState::new().hash_one(std::process::id()) as u32;
    format!(".{:08x}-{}-{number:08x}{TEMPORARY}", machine(), std::process::id())
}

/// Tells this machine, since it was started, from others that share its file system.
fn machine() -> u32 {
    static MACHINE: OnceLock<u32> = OnceLock::new();
    *MACHINE.get_or_init(|| {
        let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // processes of containers are numbered by themselves
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        xxh3_64(&[&boot, space.as_os_str().as_encoded_bytes()].concat()) as u32
    })
}

/// Removes unfinished files of processes of this machine that are no more. Those of others may still be written.
pub(super) fn remove_abandoned(folder: &Path) -> Result<()> {
    if !Path::new("/proc/self/ns/pid").exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let made_by = name.strip_suffix(TEMPORARY).and_then(|n| n.rsplit_once('.')).map(|n| n.1);
        let Some(&[made_on, process, _]) = made_by.map(|m| m.split('-').collect::<Vec<_>>()).as_deref() else { continue };
        let ours = made_on == format!("{:08x}", machine()) && process.bytes().all(|b| b.is_ascii_digit());
        if ours && !Path::new("/proc").join(process).exists() {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// Replaces or creates a small file.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut out = Out::create(path)?;
    out.put(bytes)?;
    out.finish()
}

/// Makes renames and removals in a folder last.
pub(super) fn sync_folder(dir: &Path) -> Result<()> {
    step(dir)?;
    #[cfg(unix)]
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, e))?;
    Ok(())
}

/// Removes a file that is no longer needed; one that is gone already is fine.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    step(path)?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub(super) fn remove_folder(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    step(path)?;
    std::fs::remove_dir_all(path).map_err(|e| Error::io(path, e))
}

pub(super) fn create_folder(path: &Path) -> Result<()> {
    step(path)?;
    std::fs::create_dir_all(path).map_err(|e| Error::io(path, e))
}

/// Keeps other writers out until dropped; the system releases it when the process ends in any way.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held, not read")] File);

/// Name of the lock file.
pub(super) const LOCK: &str = "lock";

pub(super) fn lock(dir: &Path) -> Result<Lock> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            let what = "another process is changing this index; run again when it has ended";
            Err(Error::io(dir, std::io::Error::new(std::io::ErrorKind::WouldBlock, what)))
        }
        // a file system without locks: go on, as there is nothing better
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(Lock(file)),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
    }
}

#[cfg(not(test))]
fn step(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(not(test))]
pub(super) fn crashed() -> bool {
    false
}

/// What tests let fail in this thread, for those that work for it.
#[cfg(not(test))]
pub(super) struct Faults;

#[cfg(not(test))]
pub(super) fn faults() -> Faults {
    Faults
}

/// Lets this thread fail with another one.
#[cfg(not(test))]
pub(super) fn inherit(_: Faults) {}

#[cfg(test)]
use failing::step;
#[cfg(test)]
pub(super) use failing::{Failure, crashed, fail_after, faults, inherit};

#[cfg(test)]
mod failing {
    use crate::{Error, Result};
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    /// What happens at a step of this thread, and of those that work for it.
    #[derive(Clone, Copy, PartialEq)]
    pub(in crate::index) enum Failure {
        /// The process dies: nothing is cleaned up, no later step is taken.
        Crash,
        /// The disk is full from then on; clean-up works.
        Full,
    }

    /// Steps that are left, and what comes after them.
    type Faults = Arc<Mutex<(Option<u64>, Failure)>>;

    thread_local! {
        static FAULTS: RefCell<Faults> = RefCell::new(Arc::new(Mutex::new((None, Failure::Crash))));
    }

    pub(in crate::index) fn faults() -> Faults {
        FAULTS.with_borrow(Arc::clone)
    }

    pub(in crate::index) fn inherit(of: Faults) {
        FAULTS.set(of);
    }

    /// Lets `steps` steps pass, then fails; `None` never fails.
    pub(in crate::index) fn fail_after(steps: Option<u64>, kind: Failure) {
        *faults().lock().unwrap() = (steps, kind);
    }

    pub(super) fn step(path: &Path) -> Result<()> {
        match &mut *faults().lock().unwrap() {
            (None, _) => Ok(()),
            (Some(0), kind) => {
                let what = if *kind == Failure::Crash { std::io::ErrorKind::Other } else { std::io::ErrorKind::StorageFull };
                Err(Error::io(path, what.into()))
            }
            (Some(n), _) => {
                *n -= 1;
                Ok(())
            }
        }
    }

    pub(in crate::index) fn crashed() -> bool {
        *faults().lock().unwrap() == (Some(0), Failure::Crash)
    }
}
