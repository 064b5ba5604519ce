//! Runs the binary as a user does.
#![allow(dead_code)] // every test file takes what it needs

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn command(args: &[&str]) -> Command {
    let mut c = Command::new(assert_cmd::cargo::cargo_bin!("voisin"));
    c.args(args).stdin(Stdio::null());
    c
}

pub fn run(args: &[&str]) -> Ran {
    let o = command(args).output().expect("the binary starts");
    let text = |b: Vec<u8>| String::from_utf8(b).expect("what it prints is UTF-8");
    Ran { code: o.status.code(), out: text(o.stdout), err: text(o.stderr) }
}

/// Runs it, expects success, and gives what it printed on stdout.
pub fn good(args: &[&str]) -> String {
    let r = run(args);
    assert_eq!(r.code, Some(0), "{args:?}: {r:?}");
    r.out
}

/// Runs it with `--json`, expects one object on stdout.
pub fn json(args: &[&str]) -> Value {
    let r = run(&[args, &["--json"]].concat());
    assert_eq!(r.code, Some(0), "{args:?}: {r:?}");
    assert_eq!(r.out.lines().count(), 1, "{args:?}: {}", r.out);
    let v: Value = serde_json::from_str(&r.out).expect("stdout is JSON");
    for key in ["command", "version", "threads", "seconds", "peak_rss_bytes"] {
        assert!(!v[key].is_null(), "{args:?}: no {key} in {v}");
    }
    assert!(v["seconds"]["total"].as_f64().is_some_and(|t| t > 0.0), "{v}");
    v
}

/// Runs it, expects an error of one line and a hint with this exit code, and nothing on stdout; gives the message.
pub fn bad(args: &[&str], code: i32) -> String {
    let r = run(args);
    assert_eq!(r.code, Some(code), "{args:?}: {r:?}");
    assert_eq!(r.out, "", "{args:?}");
    let lines: Vec<&str> = r.err.lines().collect();
    assert!(!r.err.contains("panicked") && !r.err.contains("a bug in"), "{args:?}: {}", r.err);
    let errors = lines.iter().filter(|l| l.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{args:?}: {}", r.err);
    assert!(lines.last().is_some_and(|l| l.starts_with("hint: ")), "{args:?}: {}", r.err);
    r.err
}

/// A file of `tests/data`.
pub fn fixture(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let path = root.join(name);
    assert!(path.exists(), "{} is in the repository", path.display());
    path.canonicalize().expect("it exists").display().to_string()
}

/// A folder for one test, and names of files in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        std::fs::write(&path, bytes).expect("the folder can be written");
        path
    }

    /// Names of what is in it, sorted.
    pub fn list(&self) -> Vec<String> {
        names(self.path())
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut all: Vec<String> = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

/// Every file below a folder with its bytes, sorted by path.
pub fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for name in names(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            all.extend(tree(&path).into_iter().map(|(p, b)| (Path::new(path.file_name().unwrap()).join(p), b)));
        } else {
            all.push((path.file_name().unwrap().into(), std::fs::read(&path).expect("a file")));
        }
    }
    all
}

/// n rows of d values around a few centres, the same on every call.
pub fn rows(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut out = Vec::with_capacity(n * d);
    for i in 0..n {
        let centre = (i * 7) % 12;
        out.extend((0..d).map(|j| ((centre * 31 + j * 17) % 23) as f32 / 4.0 + next()));
    }
    out
}

/// Rows as `.fvecs`.
pub fn fvecs(values: &[f32], d: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 4 + values.len() / d * 4);
    for row in values.chunks_exact(d) {
        bytes.extend_from_slice(&(d as i32).to_le_bytes());
        row.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    }
    bytes
}
