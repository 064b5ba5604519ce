//! Spec strings: what is read prints back to what reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voisin::Spec;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Spec::parse(text) {
        Ok(spec) => assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec),
        Err(e) => assert!(e.to_string().contains("spec")),
    }
});
