//! What users write for data sets, patterns and templates, in a folder that is empty.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voisin_io::{FileSpec, expand};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let spec = FileSpec::parse(text);
    assert!(spec.dataset.is_none_or(|d| !d.is_empty()));
    // only below a folder that does not exist: patterns must not walk the system
    let below = format!("no-such-folder/{}", text.replace("..", "").trim_start_matches('/'));
    let _ = expand(&[below]);
});
