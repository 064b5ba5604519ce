//! Calls into libraries that parse files of others.
//!
//! They check what they read, but they are large and not proof against every damaged file. A panic in one is caught and
//! reported as the damaged file that it is. The process's panic hook is kept from printing it, on this thread and for
//! the length of the call only; panics of our own are printed as ever.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use voisin::{Error, Result};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; its error, or its panic, becomes an error of `path` that names the format.
pub(crate) fn guarded<T, E: std::fmt::Display>(path: &Path, format: &str, f: impl FnOnce() -> Result<T, E>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(outer);
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Error::format(path, format!("{format}: {e}"))),
        Err(_) => Err(Error::format(path, format!("{format}: damaged in a way that the parser does not expect"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_name_the_file() {
        let path = Path::new("x.h5");
        assert_eq!(guarded(path, "HDF5", || Ok::<_, String>(7)).unwrap(), 7);
        let e = guarded(path, "HDF5", || Err::<(), _>("no superblock")).unwrap_err();
        assert_eq!(e.to_string(), "x.h5: HDF5: no superblock");
        let e = guarded(path, "HDF5", || -> Result<(), String> { panic!("never seen") }).unwrap_err();
        assert_eq!(e.to_string(), "x.h5: HDF5: damaged in a way that the parser does not expect");
        assert!(!QUIET.get());
    }
}
