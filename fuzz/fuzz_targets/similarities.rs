//! Similarities of ILIAS, and lists of what is relevant.
//! seeds: tests/data/pickle/ilias.pkl tests/data/ilias/*.json
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::InFile;
use voisin_io::ilias::read_similarities_file;
use voisin_io::read_relevant_file;

fuzz_target!(|bytes: &[u8]| {
    let file = Arc::new(InFile::from_bytes(Path::new("x"), bytes.to_vec()));
    let _ = read_relevant_file(&file);
    if let Ok(found) = read_similarities_file(file) {
        assert_eq!(found.queries.len(), found.rows.len());
        assert!(found.rows.iter().flatten().all(|r| (r.0 as usize) < found.items.len() && r.1.is_finite()));
    }
});
