//! Index files of FAISS that are read: made into an index and searched as a user would, or searched through their graph.
//!
//! No panic, no abort, no large allocation; what is found has an id that is there and a distance that is a number.
//! seeds: tests/data/faiss/small/*.index tests/data/faiss/*.index
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use voisin::explain::{MapKind, Truth, explain};
use voisin::{Index, Matrix, Neighbors, Quiet, SearchParams};
use voisin_io::faiss;

/// A folder in memory where there is one.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = base.join(format!("voisin-fuzz-faiss-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

fn query(d: usize) -> Matrix {
    Matrix::new((0..d).map(|i| (i as f32 * 0.7).sin() * 3.0).collect(), d)
}

fn sane(found: &Neighbors, k: usize, is_there: &dyn Fn(u64) -> bool) {
    let (ids, distances) = (found.ids(0), found.distances(0));
    assert!(ids.len() <= k && ids.len() == distances.len());
    assert!(distances.iter().all(|d| !d.is_nan()), "{distances:?}");
    assert!(ids.iter().all(|id| is_there(*id)), "{ids:?}");
}

fn lists(dir: &Path) {
    // what was written is whole, so it opens
    let index = Index::open(dir).unwrap();
    let q = query(index.dim());
    for k in [1, 5] {
        for nprobe in [1, index.default_nprobe(), index.partition().nlist()] {
            let params = SearchParams { k, nprobe, ..Default::default() };
            let Ok(found) = index.search(q.view(), &params) else { continue };
            // of some maps there is no way back, which is an error, not an id that is not there
            sane(&found.neighbors, k, &|id| !matches!(index.vector_of(id), Ok(None)));
            let told = explain(&index, q.row(0), &params, Truth::Kept, MapKind::None);
            assert!(told.is_ok(), "{told:?}");
        }
    }
    let _ = index.info();
}

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("x.index");
    if faiss::check_bytes(path, bytes).is_err() {
        return;
    }
    let (file, dir) = (folder().join("x.index"), folder().join("index"));
    std::fs::write(&file, bytes).unwrap();
    match faiss::open_graph(&file).unwrap() {
        Some(graph) => {
            let q = query(graph.dim());
            for (k, ef) in [(1, 1), (5, 40)] {
                if let Ok((found, _)) = graph.search(q.view(), k, Some(ef)) {
                    sane(&found, k, &|id| graph.vector_of(id).is_some());
                    let _ = graph.explain(q.row(0), k, Some(ef), None, MapKind::None).unwrap();
                }
            }
        }
        None => {
            let _ = std::fs::remove_dir_all(&dir);
            match faiss::load(&file, &dir, &Quiet) {
                Ok(()) => lists(&dir),
                Err(_) => assert!(!dir.exists(), "something was left"),
            }
        }
    }
});
