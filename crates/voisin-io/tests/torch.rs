//! Files that torch made, weights that it must be able to read, and damaged ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;
use voisin_io::{Role, Tensor, read_state, safetensors, torch, write_state};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch")
}

fn expected() -> serde_json::Map<String, Json> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str::<Json>(&text).unwrap().as_object().unwrap().clone()
}

fn numbers(want: &Json) -> (Vec<usize>, Vec<f32>) {
    let list = |key: &str| want[key].as_array().unwrap();
    let shape = list("shape").iter().map(|v| v.as_u64().unwrap() as usize).collect();
    (shape, list("values").iter().map(|v| v.as_f64().unwrap() as f32).collect())
}

/// Opens everything in a file; the errors are of no interest, only that they are errors.
fn exercise(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let (sets, open): (_, fn(&Path, Option<&str>, Role) -> _) = match path.extension().unwrap().to_str().unwrap() {
        "safetensors" => (safetensors::describe(path), safetensors::open),
        _ => (torch::describe(path), torch::open),
    };
    for set in sets.unwrap_or_default() {
        if let Ok(source) = open(path, Some(&set.name), Role::Base) {
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
    let _ = read_state(path);
}

#[test]
fn tensors_of_both_containers_and_every_type() {
    let mut tables = 0;
    for (file, sets) in expected() {
        let path = folder().join(&file);
        for (name, want) in sets.as_object().unwrap() {
            let (shape, values) = numbers(want);
            let &[n, d] = &shape[..] else { continue };
            let wanted = (!name.is_empty()).then_some(name.as_str());
            let open = if file.ends_with(".pkl") { voisin_io::pickle::open } else { torch::open };
            let source = open(&path, wanted, Role::Base).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!((source.len() as usize, source.dim()), (n, d), "{file} {name}");
            let mut all = vec![0.0; n * d];
            source.read(0, &mut all).unwrap();
            assert_eq!(all, values, "{file} {name}");
            source.read(1, &mut all[d..]).unwrap();
            assert_eq!(all, values, "{file} {name} from row 1");
            tables += 1;
        }
    }
    assert!(tables > 30);
}

#[test]
fn weights_with_and_without_wrapping() {
    for (file, sets) in expected() {
        if file.ends_with(".pkl") || sets.as_object().unwrap().values().any(|v| v["shape"] == 0) {
            continue;
        }
        if file.starts_with("rows") {
            continue; // a list of vectors is one table for open() and three tensors for read_state()
        }
        let state = read_state(&folder().join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(state.len(), sets.as_object().unwrap().len(), "{file}");
        for (name, want) in sets.as_object().unwrap() {
            let (shape, values) = numbers(want);
            let short = ["state_dict/", "model/"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
            let short = short.strip_prefix("module.").unwrap_or(short);
            let found = state.iter().find(|(n, _)| n == short).unwrap_or_else(|| panic!("{file}: {short}"));
            assert_eq!(found.1, Tensor { shape, data: values }, "{file} {short}");
        }
    }
    let axes = read_state(&folder().join("../pickle/axes.pkl")).unwrap();
    assert_eq!(axes[0].1.shape, [4, 2, 3]);
    assert_eq!(axes[0].1.data[..6], [0., 2., 4., 1., 3., 5.]);
}

#[test]
fn a_lone_vector_is_one_query() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.pkl");
    voisin_io::pickle::write(&path, &voisin_io::pickle::Py::F32(vec![3], &[1.0, 2.0, 3.0])).unwrap();
    let source = voisin_io::pickle::open(&path, None, Role::Queries).unwrap();
    let mut out = [0.0; 3];
    source.read(0, &mut out).unwrap();
    assert_eq!((source.len(), out), (1, [1.0, 2.0, 3.0]));
    assert!(voisin_io::pickle::open(&path, None, Role::Base).is_err());
}

#[test]
fn a_module_is_code_and_refused() {
    let e = torch::describe(&folder().join("module.pt")).unwrap_err().to_string();
    assert!(e.contains("refers to torch.nn.modules.container.Sequential, which voisin does not run"), "{e}");
}

fn mlp() -> Vec<(String, Tensor)> {
    let tensor = |shape: &[usize], from: f32| {
        let n = shape.iter().product::<usize>();
        Tensor { shape: shape.into(), data: (0..n).map(|i| from + i as f32 / 8.0).collect() }
    };
    [("0.weight", &[5, 3][..], -1.0), ("0.bias", &[5], 0.5), ("2.weight", &[300, 5], -3.0), ("2.bias", &[300], 0.25)]
        .map(|(name, shape, from)| (name.to_string(), tensor(shape, from)))
        .into()
}

#[test]
fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = mlp();
    state.push(("one".into(), Tensor { shape: vec![], data: vec![7.0] }));
    state.push(("none".into(), Tensor { shape: vec![0, 4], data: vec![] }));
    for name in ["a.pth", "a.pt", "a.npz", "a.safetensors"] {
        let path = dir.path().join(name);
        write_state(&path, &state).unwrap();
        assert_eq!(read_state(&path).unwrap(), state, "{name}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4, "no temporary file is left");
    let bytes = std::fs::read(dir.path().join("a.safetensors")).unwrap();
    let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.tensor("2.weight").unwrap().shape(), [300, 5]);
    let e = write_state(&dir.path().join("a.bin"), &state).unwrap_err();
    assert!(e.to_string().contains(".pth, .npz or .safetensors") && e.is_usage(), "{e}");
    state[0].1.shape = vec![5, 4];
    assert!(write_state(&dir.path().join("b.pth"), &state).unwrap_err().to_string().contains("0.weight"));
}

/// Runs Python with torch and numpy, where there is one; `VOISIN_PYTHON` names it.
fn python(needs: &str, script: &str, args: &[&Path]) -> bool {
    let python = std::env::var("VOISIN_PYTHON").unwrap_or_else(|_| "python3".into());
    let here = Command::new(&python).args(["-c", needs]).output();
    if !here.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: {python} cannot run `{needs}` (set VOISIN_PYTHON)");
        return false;
    }
    let out = Command::new(&python).args(["-c", script]).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    true
}

#[test]
fn torch_itself_loads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (pth, npz) = (dir.path().join("mlp.pth"), dir.path().join("mlp.npz"));
    write_state(&pth, &mlp()).unwrap();
    write_state(&npz, &mlp()).unwrap();
    let script = r#"
import sys, numpy, torch
from torch import nn
for mmap in (False, True):
    state = torch.load(sys.argv[1], weights_only=True, mmap=mmap)
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 300))
    net.load_state_dict(state)
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"], list(state)
    want = (torch.arange(1500).reshape(300, 5) / 8 - 3).float()
    assert torch.equal(net[2].weight, want)
    assert net(torch.ones(2, 3)).shape == (2, 300)
z = numpy.load(sys.argv[2])
assert numpy.array_equal(z["2.weight"], want.numpy()) and z["0.bias"].shape == (5,)
"#;
    python("import torch, numpy", script, &[&pth, &npz]);
}

#[test]
fn python_itself_loads_a_written_pickle() {
    use voisin_io::pickle::{Py, write};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.pkl");
    let (sims, ranks) = ([0.5f32, -1.0, 2.0, 3.0, 4.0, 5.0], [0i64, -1, i64::MAX, 3, 4, 5]);
    let long = "é".repeat(300);
    let value = Py::Dict(vec![
        ("query_ids", Py::List(vec![Py::Str("a"), Py::Str(&long)])),
        ("sims", Py::F32(vec![2, 3], &sims)),
        ("ranks", Py::I64(vec![3, 2], &ranks)),
        ("numbers", Py::List([0, 255, 256, -1, 1 << 40].map(Py::Int).into())),
        ("rest", Py::List(vec![Py::None, Py::Bool(true), Py::Float(0.1), Py::List(vec![]), Py::Dict(vec![])])),
        ("vector", Py::F32(vec![6], &sims)),
    ]);
    write(&path, &value).unwrap();
    let sets = voisin_io::pickle::describe(&path).unwrap();
    assert_eq!(sets[1].shape, [2, 3]);
    let source = voisin_io::pickle::open(&path, Some("ranks"), Role::Base).unwrap();
    let mut out = [0.0; 6];
    source.read(0, &mut out).unwrap();
    assert_eq!(out[..2], [0.0, -1.0]);
    let script = r#"
import pickle, sys, numpy
v = pickle.load(open(sys.argv[1], "rb"))
assert list(v) == ["query_ids", "sims", "ranks", "numbers", "rest", "vector"]
assert v["query_ids"] == ["a", "\u00e9" * 300] and v["rest"] == [None, True, 0.1, [], {}]
assert v["numbers"] == [0, 255, 256, -1, 1 << 40]
assert v["sims"].dtype == "f4" and v["sims"].tolist() == [[0.5, -1, 2], [3, 4, 5]]
assert v["ranks"].dtype == "i8" and v["ranks"].tolist() == [[0, -1], [2**63 - 1, 3], [4, 5]]
assert v["vector"].shape == (6,)
v["sims"] += 1  # an array of its own, not a view of read-only bytes
"#;
    python("import numpy", script, &[&path]);
    assert!(write(&path, &Py::F32(vec![2, 2], &sims)).is_err());
}

#[test]
fn a_linear_layer_from_the_field() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ilias-mini/lin_adapt_384_to_256.pth");
    if !path.exists() {
        eprintln!("skipped: no shared data");
        return;
    }
    let state = read_state(&path).unwrap();
    let shapes: Vec<_> = state.iter().map(|(n, t)| (n.as_str(), &t.shape[..])).collect();
    assert_eq!(shapes, [("layer.weight", &[256, 384][..]), ("layer.bias", &[256])]);
}

#[test]
fn every_truncation_and_flip_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    write_state(&dir.path().join("s.safetensors"), &mlp()[..2]).unwrap();
    let theirs = std::fs::read(dir.path().join("s.safetensors")).unwrap();
    let file = |name: &str| std::fs::read(folder().join(name)).unwrap();
    for (name, bytes) in
        [("x.pt", file("mlp_legacy.pt")), ("x.pt", file("sliced.pt")), ("x.pt", file("tensor.pkl")), ("x.safetensors", theirs)]
    {
        let path = dir.path().join(name);
        for n in 0..bytes.len() {
            exercise(&path, &bytes[..n]);
        }
        for i in 0..bytes.len() {
            for flip in [0x01, 0xff] {
                let mut b = bytes.clone();
                b[i] ^= flip;
                exercise(&path, &b);
            }
        }
    }
}

#[test]
fn expanded_and_absurd_tensors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pt");
    let legacy = std::fs::read(folder().join("tensor_legacy.pt")).unwrap();
    // (4, 3) with strides (3, 1): each size and stride in turn becomes 255
    let at = legacy.windows(5).position(|w| w == b"K\x04K\x03\x86").unwrap();
    for i in [at + 1, at + 3] {
        let mut b = legacy.clone();
        b[i] = 255;
        std::fs::write(&path, &b).unwrap();
        let e = torch::describe(&path).unwrap_err().to_string();
        assert!(e.contains("where 12 f32 elements are stored"), "{e}");
    }
    let at = legacy.windows(5).position(|w| w == b"K\x03K\x01\x86").unwrap();
    let mut b = legacy.clone();
    b[at + 1] = 255;
    std::fs::write(&path, &b).unwrap();
    assert!(torch::describe(&path).unwrap_err().to_string().contains("reach beyond the 12 f32"));
}
