//! fvecs, ivecs, bvecs and the big-ann bins; the first byte chooses the ending.
//! seeds: tests/data/arrays/*vecs tests/data/arrays/*bin
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, bins, vecs};

const ENDINGS: [&str; 8] = ["fvecs", "ivecs", "bvecs", "fbin", "f16bin", "u8bin", "i8bin", "ibin"];

fuzz_target!(|bytes: &[u8]| {
    // seeds are whole files: every ending is tried on them as they are
    for (i, ending) in ENDINGS.iter().enumerate() {
        let name = format!("x.{ending}");
        let file = Arc::new(InFile::from_bytes(Path::new(&name), bytes.to_vec()));
        let source = if i < 3 { vecs::open_file(file, None, Role::Base) } else { bins::open_file(file, None, Role::Base) };
        if let Ok(source) = source {
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
});
