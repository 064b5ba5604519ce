//! What tests of collections share.
#![allow(dead_code)]

use image::{Rgb, RgbImage};
use std::path::{Path, PathBuf};
use voisin_web::collection::{Collection, CollectionSpec, Page, Params};

/// A collection of one path.
pub fn spec(path: &Path) -> CollectionSpec {
    CollectionSpec { name: "test".into(), paths: vec![path.display().to_string()], ..CollectionSpec::default() }
}

/// The folder of fixtures of this name.
pub fn test_data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path.canonicalize().unwrap())
}

/// Writes a picture of one colour with a darker square in it, the place of which depends on `i`.
pub fn picture(path: &Path, width: u32, height: u32, colour: [u8; 3], i: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let at = u32::from(i) * 3 + 4;
    let pixel = |x: u32, y: u32| {
        let inside = (at..at + 8).contains(&x) && (at..at + 12).contains(&y);
        Rgb(if inside { colour.map(|c| c / 2) } else { colour })
    };
    RgbImage::from_fn(width, height, pixel).save(path).unwrap();
}

pub fn params(k: usize) -> Params {
    Params { k, nprobe: None, recall: None, refine: None, ef: None, label: None, exact: false }
}

pub fn page(limit: u64) -> Page {
    Page { limit, ..Page::default() }
}

pub fn ids(c: &Collection) -> Vec<String> {
    c.items(&page(500)).unwrap().items.into_iter().map(|i| i.id).collect()
}

/// A folder of pictures: red, green, blue and grey squares in folders of their colour.
pub fn colours(dir: &Path) {
    for (c, colour) in [[250, 10, 10], [10, 250, 10], [10, 10, 250], [120, 120, 120]].iter().enumerate() {
        for i in 0..4u8 {
            let name = ["red", "green", "blue", "grey"][c];
            picture(&dir.join(format!("{name}/{name}{i}.png")), 40 + 8 * u32::from(i), 40, *colour, i);
        }
    }
}
