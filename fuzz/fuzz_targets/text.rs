//! csv, tsv and other text: style, rows, names; rows read one by one are those read at once.
//! seeds: tests/data/text/*.csv tests/data/text/*.tsv tests/data/text/*.txt tests/data/text/*.vec
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use voisin_io::{InFile, Role, text};

fuzz_target!(|bytes: &[u8]| {
    let file = Arc::new(InFile::from_bytes(Path::new("x.csv"), bytes.to_vec()));
    let Ok(source) = text::open_file(file, None, Role::Base) else { return };
    let d = source.dim();
    let mut all = vec![0.0; source.len() as usize * d];
    let whole = source.read(0, &mut all);
    let mut one = vec![0.0f32; d];
    let mut single = Ok(());
    for (i, row) in all.chunks_exact(d).enumerate().take(50) {
        match source.read(i as u64, &mut one) {
            Ok(()) if whole.is_ok() => assert!(row.iter().zip(&one).all(|(a, b)| a.to_bits() == b.to_bits())),
            Ok(()) => {}
            Err(e) => single = single.and(Err(e)),
        }
    }
    assert!(whole.is_err() || single.is_ok());
    if let Ok(Some(ids)) = source.ids() {
        assert_eq!(ids.len() as u64, source.len());
    }
});
