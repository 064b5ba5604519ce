//! What several test files share.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of tests/data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

/// Runs a Python script that reads what was written and fails where it is wrong. Without a Python that has `modules`
/// (`VOISIN_PYTHON`, else `python3`) says so and does nothing.
pub fn python(modules: &str, script: &str, args: &[&Path]) {
    let python = std::env::var("VOISIN_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: no {python} with {modules}");
        return;
    }
    let out = Command::new(&python).arg("-c").arg(script).args(args).output().unwrap();
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

/// A temporary folder in memory where the system has one: for tests that write thousands of small files.
pub fn quick_dir() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir()
        && let Ok(dir) = tempfile::tempdir_in(shm)
    {
        dir
    } else {
        tempfile::tempdir().unwrap()
    }
}
