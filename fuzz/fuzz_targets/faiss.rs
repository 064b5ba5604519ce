//! Index files of FAISS, as far as that is possible without writing anything.
//! seeds: tests/data/faiss/*.index
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use voisin_io::faiss;

fuzz_target!(|bytes: &[u8]| {
    let _ = faiss::check_bytes(Path::new("x.index"), bytes);
});
