//! The folder in which what is built is kept.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::{Kind, WebError};

/// Makes the folder and takes its lock, which ends with the file; what cannot be written is said with the way out.
pub(super) fn lock(keep: &Path) -> Result<File, WebError> {
    let denied = |e: std::io::Error| {
        let what = format!("{} cannot be written: {e}", keep.display());
        WebError::new(Kind::Unable, what).hint("name a folder that can be written with --keep DIR")
    };
    std::fs::create_dir_all(keep).map_err(denied)?;
    let lock = File::options().create(true).truncate(false).write(true).open(keep.join("lock")).map_err(denied)?;
    lock.try_lock().map_err(|e| match e {
        TryLockError::WouldBlock => {
            let what = format!("another process is at work in {}", keep.display());
            WebError::new(Kind::Unable, what).hint("wait until it has ended; what it does is not lost")
        }
        TryLockError::Error(e) => denied(e),
    })?;
    Ok(lock)
}
