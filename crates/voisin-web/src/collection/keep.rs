//! The folder in which what is built is kept.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use voisin::{Error, Watch};

use crate::{Kind, WebError};

/// How often a lock that another process holds is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How often it is said that it is still held.
const SAY: Duration = Duration::from_secs(30);

/// Makes the folder and takes its lock, which ends with the file; what cannot be written is said with the way out. Waits for
/// a process that holds it, and says so: what that one builds is looked for again by whoever gets the lock.
///
/// # Errors
/// A folder that cannot be written; [`voisin::Error::Stopped`] while it waits.
pub(super) fn lock(keep: &Path, watch: &dyn Watch) -> Result<File, WebError> {
    let denied = |e: std::io::Error| {
        let what = format!("{} cannot be written: {e}", keep.display());
        WebError::new(Kind::Unable, what).hint("name a folder that can be written with --keep DIR")
    };
    std::fs::create_dir_all(keep).map_err(denied)?;
    let path = keep.join("lock");
    let mut lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(denied)?;
    let began = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            // a file system without locks: go on, as there is nothing better
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => break,
            Err(TryLockError::Error(e)) => return Err(denied(e)),
            Err(TryLockError::WouldBlock) => {}
        }
        if watch.stopped() {
            return Err(Error::Stopped.into());
        }
        if said.is_none_or(|at| at.elapsed() >= SAY) {
            watch.note(&waits(keep, &path, said.map(|_| began.elapsed())));
            said = Some(Instant::now());
        }
        std::thread::sleep(AGAIN);
    }
    // who holds it, for those who wait; nothing depends on it
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    if said.is_some() {
        watch.note(&format!("{}: the other process has ended; going on", keep.display()));
    }
    Ok(lock)
}

/// What is said while another process holds the lock.
fn waits(keep: &Path, lock: &Path, since: Option<Duration>) -> String {
    let pid = std::fs::read_to_string(lock).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("another process (pid {pid})"));
    match since {
        None => {
            format!("{who} is building what is kept in {}: waiting until it has finished (Ctrl-C ends this)", keep.display())
        }
        Some(since) => format!("still waiting for {who}, for {} s now", since.as_secs()),
    }
}
