//! Tables of neighbours: every ending is tried on the same bytes.
//! seeds: tests/data/results/* tests/data/hdf5/*truth.h5 tests/data/hdf5/ann*.h5
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin::Metric;
use voisin_io::{InFile, comparable, truth};

const ENDINGS: [&str; 8] = ["h5", "npz", "ivecs", "ibin", "json", "csv", "tsv", "trec"];

fuzz_target!(|bytes: &[u8]| {
    for ending in ENDINGS {
        let name = format!("x.{ending}");
        let file = Arc::new(InFile::from_bytes(Path::new(&name), bytes.to_vec()));
        if let Ok(table) = truth::read_file(file, None, Some(5)) {
            let (a, b) = comparable(&table, &table, Metric::L2).unwrap();
            assert_eq!(a.len(), b.len());
        }
    }
});
