//! Names, labels and texts: pickles, .npy, HDF5, tables, JSON and plain text.
//! seeds: tests/data/names/*
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, StringRole, read_strings_file};

fuzz_target!(|bytes: &[u8]| {
    for name in ["x.pkl", "x.npy", "x.h5", "x.csv", "x.tsv", "x.json", "x.txt"] {
        let file = Arc::new(InFile::from_bytes(Path::new(name), bytes.to_vec()));
        for role in [StringRole::Names, StringRole::Labels, StringRole::Texts] {
            if let Ok(found) = read_strings_file(file.clone(), None, role, 3) {
                assert!(found.keys.is_none_or(|k| k.len() == found.values.len()));
            }
        }
    }
});
