//! The pickle machine and what is made of its values.
//! seeds: tests/data/pickle/*.pkl
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, pickle, read_state_file};

fuzz_target!(|bytes: &[u8]| {
    let file = Arc::new(InFile::from_bytes(Path::new("x.pkl"), bytes.to_vec()));
    for set in pickle::describe_file(file.clone()).unwrap_or_default() {
        if let Ok(source) = pickle::open_file(file.clone(), Some(&set.name), Role::Base) {
            let _ = source.ids();
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
    let _ = read_state_file(file);
});
