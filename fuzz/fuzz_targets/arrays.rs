//! npy and npz: headers, arrays, lists of strings.
//! seeds: tests/data/arrays/*.npy tests/data/arrays/*.npz
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, npy, npz};

fuzz_target!(|bytes: &[u8]| {
    for role in [Role::Base, Role::Queries] {
        let file = Arc::new(InFile::from_bytes(Path::new("x.npy"), bytes.to_vec()));
        let both = [npy::open_file(file.clone(), None, role), npz::open_file(file, None, role)];
        for source in both.into_iter().flatten() {
            let _ = source.ids();
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
            let half = source.len() / 2;
            let _ = source.read(half, &mut out[..(source.len() - half) as usize * source.dim()]);
        }
    }
});
