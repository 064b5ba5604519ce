//! Images that are damaged give an error or a picture, never a panic, and never more pixels than their header says.

use std::path::{Path, PathBuf};

use voisin_embed::{DIM, decode, describe};

fn images(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { images(&path, out) } else { out.push(path) }
    }
}

#[test]
fn flipped_and_cut_files() {
    let mut files = Vec::new();
    images(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images"), &mut files);
    files.sort();
    assert!(files.len() > 20);
    let mut state = 1u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut pictures = 0;
    for file in &files {
        let whole = std::fs::read(file).expect("a file");
        if whole.is_empty() || whole.len() > 20_000 {
            continue; // the expected values are no image
        }
        for round in 0..24 {
            let mut bytes = whole.clone();
            if round % 3 == 0 {
                bytes.truncate(next(whole.len()));
            } else {
                // the first bytes, where sizes are, are as likely as all others together
                let area = if round % 3 == 1 { bytes.len().min(64) } else { bytes.len() };
                (0..3).for_each(|_| bytes[next(area)] ^= 1 << next(8));
            }
            if let Ok(picture) = decode(&bytes) {
                assert_eq!(picture.rgb.len() as u64, u64::from(picture.width) * u64::from(picture.height) * 3);
                if picture.rgb.len() < 3_000_000 {
                    let row = describe(&picture);
                    assert!(row.len() == DIM && row.iter().all(|x| x.is_finite()), "{}", file.display());
                }
                pictures += 1;
            }
        }
    }
    assert!(pictures > 20, "{pictures}");
}

#[test]
fn orientation_is_undone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images/turned");
    let size = |turn: u32| {
        let p = voisin_embed::read(&folder.join(format!("{turn}.jpg"))).expect("an image");
        (p.width, p.height)
    };
    for turn in 1..=8 {
        assert_eq!(size(turn), if turn < 5 { (64, 40) } else { (40, 64) }, "{turn}");
    }
}
