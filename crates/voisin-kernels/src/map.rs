//! Read-only memory maps.

use std::fs::File;

/// A file mapped for reading. voisin maps only files it has written itself and never changes afterwards (segments are
/// immutable, replaced by rename); a file truncated by another program while mapped ends the process with SIGBUS, as
/// with every memory map.
#[derive(Debug)]
pub struct Map(Option<memmap2::Mmap>);

impl Map {
    /// Maps the whole file; an empty file gives an empty slice.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(file: &File) -> std::io::Result<Map> {
        if file.metadata()?.len() == 0 {
            return Ok(Map(None));
        }
        // SAFETY: segment files are never modified in place (written once, then renamed into the index).
        Ok(Map(Some(unsafe { memmap2::Mmap::map(file)? })))
    }

    /// Gives back the memory of the pages that were read; they are fetched again when they are needed.
    pub fn release(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.0 {
            // SAFETY: a shared, read-only map of a file that does not change: the same bytes come back.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl std::ops::Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}
