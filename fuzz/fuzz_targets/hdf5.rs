//! HDF5: every data set of a file, its rows and ids.
//! seeds: tests/data/hdf5/*.h5
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, hdf5};

fuzz_target!(|bytes: &[u8]| {
    let file = Arc::new(InFile::from_bytes(Path::new("x.h5"), bytes.to_vec()));
    for set in hdf5::describe_file(file.clone()).unwrap_or_default() {
        let Ok(source) = hdf5::open_file(file.clone(), Some(&set.name), Role::Base) else { continue };
        let _ = (source.ids(), source.metric());
        // compressed data may be a thousand times as long
        if source.len() * source.dim() as u64 <= 1 << 22 {
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
});
