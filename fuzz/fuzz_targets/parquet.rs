//! Parquet: every list column of a file, its rows and ids.
//! seeds: tests/data/parquet/*.parquet
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, parquet};

fuzz_target!(|bytes: &[u8]| {
    let file = Arc::new(InFile::from_bytes(Path::new("x.parquet"), bytes.to_vec()));
    for set in parquet::describe_file(file.clone()).unwrap_or_default() {
        let Ok(source) = parquet::open_file(file.clone(), Some(&set.name), Role::Base) else { continue };
        let _ = source.ids();
        if source.len() * source.dim() as u64 <= 1 << 22 {
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
});
