//! Parquet files as pyarrow writes them (tests/data/make_parquet.py) are read to the same values, and the other way round.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use voisin::{Matrix, MemSource, Quiet, Result, Source, StringIds};
use voisin_io::{DatasetKind, InFile, Role, WriteOptions, parquet};

const N: usize = 37;
const D: usize = 5;

fn fixture(name: &str) -> PathBuf {
    common::data("parquet").join(name)
}

fn open(file: &str, column: &str) -> Box<dyn Source> {
    let name = (!column.is_empty()).then_some(column);
    parquet::open(&fixture(file), name, Role::Base).unwrap()
}

fn signed(i: usize, j: usize) -> f32 {
    whole(i, j) / 8.0
}

fn whole(i: usize, j: usize) -> f32 {
    ((7 * i + 3 * j) % 64) as f32 - 32.0
}

/// The values are those of `formula`, read at once, in blocks of any size, backwards and again.
fn check(source: &dyn Source, formula: fn(usize, usize) -> f32) {
    assert_eq!((source.len(), source.dim()), (N as u64, D), "{}", source.name());
    let want: Vec<f32> = (0..N * D).map(|i| formula(i / D, i % D)).collect();
    for block in [N, 1, 3, 10, 11] {
        let mut got = Vec::new();
        for start in (0..N).step_by(block) {
            let mut rows = vec![f32::NAN; block.min(N - start) * D];
            source.read(start as u64, &mut rows).unwrap();
            got.extend(rows);
        }
        assert_eq!(got, want, "{} in blocks of {block}", source.name());
    }
    for i in [30, 12, 13, 3, 36, 0] {
        let mut row = [0.0; D];
        source.read(i as u64, &mut row).unwrap();
        assert_eq!(row[..], want[i * D..(i + 1) * D], "row {i}");
    }
}

#[test]
fn lists_of_every_kind() {
    for file in
        ["fixed_f32.parquet", "list_f64.parquet", "f16.parquet", "v2_lz4.parquet", "small_pages.parquet", "null_id.parquet"]
    {
        check(&*open(file, ""), signed);
    }
    check(&*open("integers.parquet", "i8"), whole);
    check(&*open("integers.parquet", "u8"), |i, j| whole(i, j) + 32.0);
    check(&*open("integers.parquet", "i64"), whole);
    check(&*open("two.parquet", "b"), signed);
    assert_eq!(open("no_rows.parquet", "").len(), 0);
    let e = parquet::open(&fixture("two.parquet"), None, Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("2 data sets could be the base: `a` (37 x 5 f32), `b` (37 x 5 f32)"), "{e}");
}

#[test]
fn ids_of_strings_and_numbers() {
    let ids = open("fixed_f32.parquet", "").ids().unwrap().unwrap();
    let want: StringIds = (0..N).map(|i| format!("Süd/img_{i:03}.jpg")).collect();
    assert_eq!(ids, want);
    let ids = open("list_f64.parquet", "").ids().unwrap().unwrap();
    assert_eq!((ids.len(), ids.get(36)), (N, "108"));
    assert_eq!(open("f16.parquet", "").ids().unwrap(), None);
    let e = open("null_id.parquet", "").ids().unwrap_err().to_string();
    assert!(e.contains("column `id`: row 11 is null"), "{e}");
}

#[test]
fn a_row_that_differs_is_named() {
    for (file, what) in [
        ("short_row.parquet", "row 23 has 4 values where 5 are expected"),
        ("null_row.parquet", "row 23 is null or empty"),
        ("null_value.parquet", "row 23 has a null"),
    ] {
        let s = open(file, "");
        let e = s.read(0, &mut [0.0; N * D]).unwrap_err().to_string();
        assert!(e.contains(&format!("column `emb`: {what}")), "{file}: {e}");
        s.read(24, &mut [0.0; 13 * D]).unwrap(); // the others can be read
    }
}

#[test]
fn describe_lists_the_columns() {
    let sets = parquet::describe(&fixture("fixed_f32.parquet")).unwrap();
    let seen: Vec<_> =
        sets.iter().map(|s| (s.name.as_str(), &s.shape[..], s.dtype.as_str(), s.kind, s.layout.as_str())).collect();
    let layout = "4 row groups, snappy";
    use DatasetKind::{Strings, Vectors};
    let want = [
        ("id", &[37][..], "str", Strings, layout),
        ("emb", &[37, 5], "f32", Vectors, layout),
        ("caption", &[37], "str", Strings, layout),
    ];
    assert_eq!(seen, want);
}

#[test]
fn what_is_written_is_read_back_here_and_by_pyarrow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    let values: Vec<f32> = (0..3000 * 5).map(|i| (i * 7 % 100) as f32 / 8.0).collect();
    let ids: StringIds = (0..3000).map(|i| format!("é{i}")).collect();
    let s = MemSource::new("mem", Matrix::new(values.clone(), 5)).with_ids(Some(ids.clone()));
    for dtype in ["f64", "f32"] {
        let options = WriteOptions { dtype: Some(dtype.into()), dataset: None };
        parquet::write(&path, &s, &options, &Quiet).unwrap();
        let back = parquet::open(&path, Some("embedding"), Role::Base).unwrap();
        let mut rows = vec![0.0; values.len()];
        back.read(0, &mut rows).unwrap();
        assert_eq!((rows, back.ids().unwrap()), (values.clone(), Some(ids.clone())));
    }
    let script = r#"
import sys, numpy as np, pyarrow.parquet as pq
t = pq.read_table(sys.argv[1])
assert str(t.schema.field("embedding").type).startswith("list<") and not t.schema.field("embedding").nullable, t.schema
assert np.array_equal(np.array(t["embedding"].to_pylist(), "f4"), (np.arange(15000) * 7 % 100 / 8).astype("f4").reshape(3000, 5))
assert t["id"].to_pylist() == [f"é{i}" for i in range(3000)]
"#;
    common::python("pyarrow, numpy", script, &[&path]);
    let options = WriteOptions { dtype: Some("u8".into()), dataset: None };
    assert!(parquet::write(&path, &s, &options, &Quiet).unwrap_err().is_usage());
}

/// Everything a user could do with a file of these bytes.
fn use_all(bytes: &[u8]) -> Result<()> {
    let file = Arc::new(InFile::from_bytes(Path::new("damaged.parquet"), bytes.to_vec()));
    for set in parquet::describe_file(file.clone())? {
        let s = parquet::open_file(file.clone(), Some(&set.name), Role::Base);
        if let Ok(s) = s
            && s.len() < 10_000
            && s.dim() < 10_000
        {
            let mut rows = vec![0.0; s.len() as usize * s.dim()];
            let _ = s.read(0, &mut rows);
            let _ = s.ids();
        }
    }
    parquet::open_file(file, None, Role::Queries).map(|_| ())
}

const ALL: [&str; 6] =
    ["fixed_f32.parquet", "list_f64.parquet", "f16.parquet", "integers.parquet", "v2_lz4.parquet", "small_pages.parquet"];

#[test]
fn every_truncation_is_an_error() {
    for name in ALL {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for len in (1..bytes.len()).step_by(3) {
            assert!(use_all(&bytes[..len]).is_err(), "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn no_byte_flip_panics() {
    for name in ALL {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for (i, at) in (0..bytes.len()).step_by(2).enumerate() {
            let with = [0xff, 0x01, 0x80][i % 3];
            bytes[at] ^= with;
            let _ = use_all(&bytes);
            bytes[at] ^= with;
        }
    }
}

/// What fuzzing found: a dictionary that claims billions of values, endless lists in header and footer, a text cut within its length.
#[test]
fn earlier_finds_stay_fixed() {
    for name in
        ["dictionary_count.parquet", "footer_list.parquet", "header_list.parquet", "header_types.parquet", "text_cut.parquet"]
    {
        let _ = use_all(&std::fs::read(fixture("damaged").join(name)).unwrap());
    }
}
