//! HDF5 files as h5py writes them (tests/data/make_hdf5.py) are read to the same values; damaged ones give errors.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use voisin::{Metric, Result, Source};
use voisin_io::{Dataset, DatasetKind, InFile, Role, hdf5};

const N: usize = 37;
const D: usize = 5;

fn fixture(name: &str) -> PathBuf {
    common::data("hdf5").join(name)
}

fn open(file: &str, dataset: &str) -> Box<dyn Source> {
    let name = (!dataset.is_empty()).then_some(dataset);
    hdf5::open(&fixture(file), name, Role::Base).unwrap()
}

fn error(file: &str, dataset: &str) -> String {
    let name = (!dataset.is_empty()).then_some(dataset);
    hdf5::open(&fixture(file), name, Role::Base).map(|_| ()).unwrap_err().to_string()
}

fn signed(i: usize, j: usize) -> f32 {
    whole(i, j) / 8.0
}

fn whole(i: usize, j: usize) -> f32 {
    ((7 * i + 3 * j) % 64) as f32 - 32.0
}

fn unsigned(i: usize, j: usize) -> f32 {
    ((7 * i + 3 * j) % 251) as f32
}

/// The values are those of `formula`, read at once, in blocks of any size, and from the middle.
fn check(source: &dyn Source, n: usize, formula: fn(usize, usize) -> f32) {
    assert_eq!((source.len(), source.dim()), (n as u64, D), "{}", source.name());
    let want: Vec<f32> = (0..n * D).map(|i| formula(i / D, i % D)).collect();
    for block in [n, 1, 3, 8, 11] {
        let mut got = Vec::new();
        for start in (0..n).step_by(block) {
            let mut rows = vec![f32::NAN; block.min(n - start) * D];
            source.read(start as u64, &mut rows).unwrap();
            got.extend(rows);
        }
        assert_eq!(got, want, "{} in blocks of {block}", source.name());
    }
    let mut row = [0.0; D];
    source.read(n as u64 - 2, &mut row).unwrap();
    assert_eq!(row[..], want[(n - 2) * D..(n - 1) * D]);
}

#[test]
fn contiguous_halves_are_found_by_themselves() {
    let s = open("contiguous_f16.h5", "");
    check(&*s, N, signed);
    assert!(s.name().ends_with("contiguous_f16.h5::emb"));
    assert_eq!(s.metric(), None);
    assert_eq!(s.ids().unwrap(), None);
}

#[test]
fn every_element_type_and_byte_order() {
    for name in ["f32", "f64_be", "f16_be", "f32_be"] {
        check(&*open("types.h5", name), N, signed);
    }
    for name in ["i8", "i16", "i32", "i64_be"] {
        check(&*open("types.h5", name), N, whole);
    }
    check(&*open("types.h5", "/u8"), N, unsigned);
    assert_eq!(open("types.h5", "empty").len(), 0);
    for name in ["flags", "scalar", "cube", "line"] {
        let e = error("types.h5", name);
        assert!(e.contains("is no n x d table of numbers"), "{e}");
    }
    let e = error("types.h5", "nothing");
    assert!(e.contains("no data set `nothing`; the file has `cube` (2 x 3 x 4 f32)"), "{e}");
}

#[test]
fn every_chunking_and_filter() {
    for name in ["plain", "gzip", "f16", "lzf", "one", "grown"] {
        check(&*open("chunked.h5", name), N, signed);
    }
    let e = error("chunked.h5", "holes");
    assert!(e.contains("data set `holes`: the chunk of row 8 was never written"), "{e}");
}

#[test]
fn every_chunk_index_of_the_newest_layout() {
    for name in ["contiguous", "single", "fixed_array", "implicit", "extensible", "btree2"] {
        check(&*open("latest.h5", name), N, signed);
    }
}

#[test]
fn a_user_block_moves_every_address() {
    check(&*open("user_block.h5", ""), N, signed);
}

#[test]
fn string_ids_beside_the_vectors() {
    let want: Vec<String> = (0..N).map(|i| format!("Süd/img_{i:03}.jpg")).collect();
    for (file, dataset) in [("ilias.h5", ""), ("fixed_ids.h5", ""), ("latest.h5", "contiguous")] {
        let s = open(file, dataset);
        check(&*s, N, signed);
        let ids = s.ids().unwrap().expect(file);
        assert!(ids.iter().eq(want.iter().map(String::as_str)), "{file}");
    }
}

#[test]
fn groups_and_roles() {
    check(&*open("sisap2025.h5", ""), N, signed);
    let path = fixture("sisap2025.h5");
    let s = hdf5::open(&path, None, Role::Queries).unwrap();
    assert!(s.name().ends_with("::otest/queries"), "{}", s.name());
    check(&*s, 4, signed);
    check(&*hdf5::open(&path, Some("/itest/queries/"), Role::Base).unwrap(), 4, signed);
}

#[test]
fn ann_benchmarks_names_its_metric() {
    let s = open("ann_benchmarks.h5", "");
    assert!(s.name().ends_with("::train"));
    assert_eq!(s.metric(), Some(Metric::Cosine));
    let s = hdf5::open(&fixture("ann_benchmarks.h5"), None, Role::Queries).unwrap();
    assert!(s.name().ends_with("::test"));
}

#[test]
fn describe_lists_everything() {
    let sets = hdf5::describe(&fixture("chunked.h5")).unwrap();
    let f16 = sets.iter().find(|s| s.name == "f16").unwrap();
    let want = Dataset {
        name: "f16".into(),
        shape: vec![N as u64, D as u64],
        dtype: "f16".into(),
        kind: DatasetKind::Vectors,
        layout: "chunked 10x3, fletcher32 + gzip + shuffle".into(),
    };
    assert_eq!(*f16, want);
    let sets = hdf5::describe(&fixture("ann_benchmarks.h5")).unwrap();
    let kinds: Vec<_> = sets.iter().map(|s| (s.name.as_str(), s.kind)).collect();
    use DatasetKind::{Ids, Other, Vectors};
    assert_eq!(kinds, [("distances", Other), ("neighbors", Ids), ("test", Vectors), ("train", Vectors)]);
}

#[test]
fn real_files_where_they_are_there() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !base.exists() {
        eprintln!("skipped: ../shared/data is absent");
        return;
    }
    let s = hdf5::open(&base.join("debtext/base-n=60313.h5"), None, Role::Base).unwrap();
    assert_eq!((s.len(), s.dim()), (60313, 384));
    let mut row = vec![0.0; 384];
    s.read(60312, &mut row).unwrap();
    let norm: f32 = row.iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-2, "{norm}");
    let s = hdf5::open(&base.join("ilias-mini/features_positives.hdf5"), None, Role::Base).unwrap();
    assert_eq!(s.ids().unwrap().unwrap().len() as u64, s.len());
}

/// Everything a user could do with a file of these bytes.
fn use_all(bytes: &[u8]) -> Result<()> {
    let file = Arc::new(InFile::from_bytes(Path::new("damaged.h5"), bytes.to_vec()));
    for set in hdf5::describe_file(file.clone())? {
        let opened = hdf5::open_file(file.clone(), Some(&set.name), Role::Base);
        if let Ok(s) = opened
            && s.len() < 10_000
            && s.dim() < 10_000
        {
            let mut rows = vec![0.0; s.len() as usize * s.dim()];
            let _ = s.read(0, &mut rows);
            let _ = s.ids();
        }
    }
    let s = hdf5::open_file(file, None, Role::Queries)?;
    s.metric();
    Ok(())
}

const ALL: [&str; 10] = [
    "ann_benchmarks.h5",
    "chunked.h5",
    "contiguous_f16.h5",
    "fixed_ids.h5",
    "ilias.h5",
    "latest.h5",
    "sisap2025.h5",
    "sisap_truth.h5",
    "types.h5",
    "user_block.h5",
];

#[test]
fn every_truncation_is_an_error() {
    for name in ALL {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let step = if bytes.len() > 4000 { 19 } else { 1 };
        for len in (1..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            assert!(use_all(&bytes[..len]).is_err(), "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn no_byte_flip_panics() {
    for name in ALL {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        let step = 1 + bytes.len() / 1500;
        for (i, at) in (0..bytes.len()).step_by(step).enumerate() {
            let with = [0xff, 0x01, 0x80][i % 3];
            bytes[at] ^= with;
            let _ = use_all(&bytes);
            bytes[at] ^= with;
        }
    }
}
