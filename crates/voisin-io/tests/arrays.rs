//! npy, npz, vecs and bins as NumPy and FAISS write them (tests/data/make_arrays.py) are read to the same values, and
//! written so that NumPy reads them; damaged ones give errors that say what is wrong.

mod common;

use std::path::Path;

use serde_json::Value;
use voisin::{Matrix, MemSource, Quiet, Source};
use voisin_io::{DatasetKind, Role, WriteOptions, bins, describe, npy, npz, open, vecs};

fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(common::data("arrays/expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone()
}

fn fixture(name: &str) -> String {
    common::data("arrays").join(name).display().to_string()
}

fn error(name: &str, role: Role) -> String {
    open(&fixture(name), role).map(|_| ()).unwrap_err().to_string()
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

fn all(source: &dyn Source) -> Vec<f32> {
    let mut out = vec![7.0; source.len() as usize * source.dim()];
    source.read(0, &mut out).unwrap();
    out
}

#[test]
fn every_file_reads_as_numpy_reads_it() {
    for (name, e) in expected() {
        let role = if name == "one.npy" { Role::Queries } else { Role::Base };
        let source = open(&fixture(&name), role).unwrap_or_else(|e| panic!("{name}: {e}"));
        let shape: Vec<u64> = e["shape"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
        let values: Vec<f32> = e["values"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!([source.len(), source.dim() as u64], shape[..], "{name}");
        assert!(same(&all(&*source), &values), "{name}");
        let d = source.dim();
        for (start, rows) in [(0, 1), (1, 2), (shape[0] as usize - 1, 1), (2, 0)] {
            if start + rows <= shape[0] as usize {
                let mut some = vec![0.0; rows * d];
                source.read(start as u64, &mut some).unwrap();
                assert!(same(&some, &values[start * d..(start + rows) * d]), "{name} from {start}");
            }
        }
    }
}

#[test]
fn archives_have_roles_and_ids() {
    let base = npz::open(&common::data("arrays/stored.npz"), None, Role::Base).unwrap();
    assert_eq!((base.len(), base.dim()), (9, 4));
    let ids = base.ids().unwrap().unwrap();
    assert_eq!(ids.iter().take(4).collect::<Vec<_>>(), ["alpha", "β", "", "d"]);
    let queries = open(&fixture("stored.npz"), Role::Queries).unwrap();
    assert_eq!(queries.len(), 3);
    assert!(queries.ids().unwrap().is_none());
    assert!(queries.name().ends_with("stored.npz::test"));
    let ids = open(&fixture("deflated.npz"), Role::Base).unwrap().ids().unwrap().unwrap();
    assert_eq!((ids.get(0), ids.get(8)), ("n0", "n8"));
    let e = error("two.npz", Role::Base);
    assert!(e.contains("2 data sets could be the base: `a` (9 x 4 f32), `b` (3 x 4 f16)") && e.contains("two.npz::a"), "{e}");
    assert!(error("two.npz::c", Role::Base).contains("no data set `c`"));
    assert!(error("deflated.npz::k", Role::Base).contains("no n x d table"));
}

#[test]
fn describe_says_what_is_there() {
    let (format, sets) = describe(&common::data("arrays/le_f2_F.npy")).unwrap();
    assert_eq!((format.key(), sets[0].dtype.as_str(), sets[0].layout.as_str()), ("npy", "f16", "Fortran order"));
    assert_eq!(describe(&common::data("arrays/be_i4_C.npy")).unwrap().1[0].layout, "C order, big endian");
    let (_, sets) = describe(&common::data("arrays/deflated.npz")).unwrap();
    assert_eq!(sets.iter().map(|s| s.kind).collect::<Vec<_>>(), [DatasetKind::Vectors, DatasetKind::Strings, DatasetKind::Other]);
    assert!(sets[0].layout.contains("compressed to"));
    assert_eq!(describe(&common::data("arrays/x.ivecs")).unwrap().1[0].kind, DatasetKind::Ids);
    assert_eq!(describe(&common::data("arrays/x.bvecs")).unwrap().1[0].shape, [7, 6]);
    assert_eq!(describe(&common::data("arrays/x.f16bin")).unwrap().1[0].dtype, "f16");
}

#[test]
fn what_is_no_table_of_numbers_says_so() {
    for (name, what) in [
        ("one.npy", "shape (5); vectors are 2-dimensional"),
        ("three.npy", "shape (2, 3, 4)"),
        ("object.npy", "Python objects"),
        ("records.npy", "records"),
        ("complex.npy", "type '<c8'"),
        ("strings.npy", "strings"),
        ("truth.ibin", "truth file (ids, then distances): pass it as --truth"),
        ("missing.npy", "missing.npy"),
    ] {
        let e = error(name, Role::Base);
        assert!(e.contains(what) && e.contains(name), "{name}: {e}");
    }
    assert_eq!(open(&fixture("zero_rows.npy"), Role::Base).unwrap().len(), 0);
}

/// Every prefix of a file is either refused when it is opened, or while it is read.
#[test]
fn truncation_is_always_noticed() {
    let dir = common::quick_dir();
    for name in ["le_f2_C.npy", "le_f4_F.npy", "stored.npz", "deflated.npz", "x.fvecs", "x.bvecs", "x.fbin", "x.u8bin"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let path = dir.path().join(name);
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let found = open(&path.display().to_string(), Role::Base).and_then(|s| {
                let mut out = vec![0.0; s.len() as usize * s.dim()];
                s.read(0, &mut out).map(|()| s.len())
            });
            let whole_rows = name.ends_with("vecs") && found.as_ref().is_ok_and(|&n| n < 7); // cut between rows: a shorter file
            assert!(found.is_err() || whole_rows, "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let dir = common::quick_dir();
    for name in ["le_f2_C.npy", "le_f4_F.npy", "strings.npy", "stored.npz", "deflated.npz", "x.fvecs", "x.fbin"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let path = dir.path().join(name);
        for at in 0..whole.len() {
            for flip in [0xff, 0x01, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                std::fs::write(&path, &bytes).unwrap();
                let spec = path.display().to_string();
                let _ = describe(&path);
                for role in [Role::Base, Role::Queries] {
                    if let Ok(s) = open(&spec, role) {
                        let cells = s.len() * s.dim() as u64;
                        assert!(cells <= 8 * 2000, "{name}: {cells} values out of {} bytes", whole.len());
                        let _ = s.read(0, &mut vec![0.0; cells as usize]);
                        let _ = s.ids();
                    }
                }
            }
        }
    }
}

#[test]
fn vecs_name_the_row_at_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.fvecs");
    let mut bytes = std::fs::read(fixture("x.fvecs")).unwrap();
    bytes[4 * 28] = 9; // the dimension of row 4
    std::fs::write(&path, &bytes).unwrap();
    let s = vecs::open(&path, None, Role::Base).unwrap();
    let e = s.read(3, &mut [0.0; 12]).unwrap_err().to_string();
    assert!(e.contains("row 4: 9 dimensions where row 0 has 6"), "{e}");
    bytes.pop();
    std::fs::write(&path, &bytes).unwrap();
    let e = vecs::open(&path, None, Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("195 bytes are not a whole number of rows of 28 bytes"), "{e}");
    std::fs::write(&path, [0xff; 64]).unwrap();
    let e = vecs::open(&path, None, Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("row 0 says that it has -1 dimensions"), "{e}");
}

#[test]
fn bins_must_have_exactly_the_size_that_the_header_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.fbin");
    let mut bytes = std::fs::read(fixture("x.fbin")).unwrap();
    bytes.truncate(8 + 3 * 24);
    std::fs::write(&path, &bytes).unwrap();
    let e = bins::open(&path, None, Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("n = 7, d = 6: 176 bytes are expected, the file has 80") && e.contains("after 3 whole rows"), "{e}");
    std::fs::write(&path, [255; 80]).unwrap();
    assert!(bins::open(&path, None, Role::Base).is_err());
}

fn numbers() -> MemSource {
    MemSource::new("mem", Matrix::new((0..700 * 3).map(|i| (i % 251) as f32).collect(), 3))
}

fn options(dtype: &str) -> WriteOptions {
    WriteOptions { dtype: (!dtype.is_empty()).then(|| dtype.to_string()), ..WriteOptions::default() }
}

#[test]
fn what_is_written_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let source = numbers();
    let mut numpy = Vec::new();
    for (name, dtype) in [
        ("a.npy", ""),
        ("b.npy", "f16"),
        ("c.npy", "f64"),
        ("d.npy", "u8"),
        ("e.npy", "i64"),
        ("a.fvecs", ""),
        ("a.ivecs", ""),
        ("a.bvecs", ""),
        ("a.fbin", ""),
        ("a.f16bin", ""),
        ("a.u8bin", ""),
        ("a.ibin", "i32"),
    ] {
        let path = dir.path().join(name);
        let write = match name.rsplit('.').next().unwrap() {
            "npy" => npy::write,
            e if e.ends_with("vecs") => vecs::write,
            _ => bins::write,
        };
        write(&path, &source, &options(dtype), &Quiet).unwrap();
        let back = open(&path.display().to_string(), Role::Base).unwrap();
        assert_eq!((back.len(), back.dim()), (700, 3), "{name}");
        assert!(same(&all(&*back), source.view().data()), "{name}");
        if name.ends_with("npy") {
            numpy.push(path);
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 12, "no temporary file stays");
    let script = "import sys, numpy as np\n\
        want = (np.arange(2100) % 251).reshape(700, 3)\n\
        for p, t in zip(sys.argv[1:], ['<f4', '<f2', '<f8', '|u1', '<i8']):\n    \
        a = np.load(p)\n    assert a.dtype == np.dtype(t) and (a == want).all(), p\n";
    common::python("numpy", script, &numpy.iter().map(|p| p.as_path()).collect::<Vec<&Path>>());
}

#[test]
fn a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = MemSource::new("mem", Matrix::new(vec![0.0, 1.0, 2.0, 255.5], 2));
    let path = dir.path().join("x.npy");
    let e = npy::write(&path, &source, &options("u8"), &Quiet).unwrap_err().to_string();
    assert!(e.contains("mem: row 1, column 1: 255.5 cannot be written as u8"), "{e}");
    let e = vecs::write(&dir.path().join("x.bvecs"), &source, &options(""), &Quiet).unwrap_err().to_string();
    assert!(e.contains("row 1, column 1: 255.5"), "{e}");
    let e = bins::write(&dir.path().join("x.fbin"), &source, &options("u8"), &Quiet).unwrap_err().to_string();
    assert!(e.contains("dtype = u8"), "{e}");
    assert!(npy::write(&dir.path().join("no/x.npy"), &source, &options(""), &Quiet).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Sums by NumPy.
#[test]
fn real_files_where_they_are_there() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.exists() {
        eprintln!("skipped: ../shared/data is absent");
        return;
    }
    for (name, n, d, sum) in [
        ("sift-photo-100k/base.bvecs", 100_000, 128, 350_776_375.0),
        ("sift-photo-100k/query-2k.fvecs", 2000, 128, 6_904_089.0),
        ("sift-photo-100k/gt-2k.ivecs", 2000, 100, 9_985_194_801.0),
        ("debtext/captions.npy", 60_313, 384, 9236.55501484871),
    ] {
        let source = open(&data.join(name).display().to_string(), Role::Base).unwrap();
        assert_eq!((source.len(), source.dim()), (n, d), "{name}");
        let found: f64 = all(&*source).iter().map(|&x| x as f64).sum();
        assert!((found - sum).abs() <= 1e-9 * sum, "{name}: {found}");
    }
    let shards = data.join("ilias-mini/features_distractors_{idx}.hdf5").display().to_string();
    let source = voisin_io::open_all(&[shards], Role::Base).unwrap();
    assert_eq!((source.len(), source.ids().unwrap().map(|ids| ids.len())), (15_000, Some(15_000)));
    assert!(open(&data.join("debtext").display().to_string(), Role::Base).is_err());
}
