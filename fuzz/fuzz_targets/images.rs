//! Images: decoding and the descriptor.
//! seeds: tests/data/images/*.png tests/data/images/*/*.*
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = voisin_embed::decode(bytes) {
        assert_eq!(picture.rgb.len() as u64, u64::from(picture.width) * u64::from(picture.height) * 3);
        assert!(voisin_embed::describe(&picture).iter().all(|x| x.is_finite()));
    }
});
