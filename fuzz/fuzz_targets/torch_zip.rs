//! PyTorch files: a zip archive as it comes, and an archive around a pickle and one storage.
//! seeds: tests/data/torch/*[a-z0-9].pt
#![no_main]

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, read_state_file, torch};
use zip::write::SimpleFileOptions;

fn archive(program: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", program), ("a/byteorder", b"little"), ("a/data/0", &[7; 256])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fuzz_target!(|bytes: &[u8]| {
    let whole = if bytes.starts_with(b"PK") { bytes.to_vec() } else { archive(bytes) };
    let file = Arc::new(InFile::from_bytes(Path::new("x.pt"), whole));
    for set in torch::describe_file(file.clone()).unwrap_or_default() {
        if let Ok(source) = torch::open_file(file.clone(), Some(&set.name), Role::Base) {
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
    let _ = read_state_file(file);
});
