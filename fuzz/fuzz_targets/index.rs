//! A small index with one of its files overwritten from some byte on: opened, searched, verified.
//!
//! The checksums refuse nearly everything; what is looked for is a panic or a large allocation before they do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use voisin::index::{BuildParams, build, verify};
use voisin::{Index, Matrix, MemSource, Quiet, SearchParams, Spec};

struct Small {
    folder: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
    queries: Matrix,
}

fn files(folder: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
}

fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("voisin-fuzz-index-{}", std::process::id()));
        let rows = Matrix::new((0..400).map(|i| (i as f32 * 0.7).sin()).collect(), 4);
        let ids = (0..100).map(|i| format!("row {i}")).collect();
        let base = MemSource::new("base", rows.clone()).with_ids(Some(ids));
        let params = BuildParams { spec: Some("LMI4(8),Flat".parse::<Spec>().unwrap()), ..Default::default() };
        build(&base, &folder, &params, &Quiet).unwrap();
        let mut all = Vec::new();
        files(&folder, &mut all);
        Small { folder, files: all, queries: rows }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let [which, high, low, content @ ..] = bytes else { return };
    let small = small();
    let (path, whole) = &small.files[*which as usize % small.files.len()];
    let at = usize::from(u16::from_be_bytes([*high, *low])) % (whole.len() + 1);
    std::fs::write(path, [&whole[..at], content].concat()).unwrap();
    if let Ok(index) = Index::open(&small.folder) {
        let _ = (index.info(), index.find("row 7"), index.string_id(3), index.vector_of(5));
        let _ = index.search(small.queries.view().rows(0..3), &SearchParams { k: 5, nprobe: 4, ..Default::default() });
    }
    let _ = verify(&small.folder, &Quiet);
    std::fs::write(path, whole).unwrap();
});
