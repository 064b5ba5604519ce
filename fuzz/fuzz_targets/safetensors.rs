//! safetensors: the header as JSON, and whole files.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, read_state_file, safetensors};

fuzz_target!(|bytes: &[u8]| {
    let header = [&(bytes.len() as u64).to_le_bytes()[..], bytes, &[0; 64]].concat();
    for whole in [bytes.to_vec(), header] {
        let file = Arc::new(InFile::from_bytes(Path::new("x.safetensors"), whole));
        for set in safetensors::describe_file(file.clone()).unwrap_or_default() {
            if let Ok(source) = safetensors::open_file(file.clone(), Some(&set.name), Role::Base) {
                let mut out = vec![0.0; source.len() as usize * source.dim()];
                let _ = source.read(0, &mut out);
            }
        }
        let _ = read_state_file(file);
    }
});
