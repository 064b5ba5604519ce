//! PyTorch files from before 1.6: pickles, then storages.
//! seeds: tests/data/torch/*_legacy.pt
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, read_state_file, torch};

/// What every such file begins with: magic number, protocol 1001, and the system it comes from.
const HEAD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fuzz_target!(|bytes: &[u8]| {
    for whole in [bytes.to_vec(), [HEAD, bytes].concat()] {
        let file = Arc::new(InFile::from_bytes(Path::new("x.pt"), whole));
        for set in torch::describe_file(file.clone()).unwrap_or_default() {
            if let Ok(source) = torch::open_file(file.clone(), Some(&set.name), Role::Base) {
                let mut out = vec![0.0; source.len() as usize * source.dim()];
                let _ = source.read(0, &mut out);
            }
        }
        let _ = read_state_file(file);
    }
});
