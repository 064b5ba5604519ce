"""Small base, queries and true neighbours for the tests of the binary; the truth is computed by numpy in f64."""

import json
from pathlib import Path

import h5py
import numpy as np

out = Path(__file__).parent / "cli"
rng = np.random.default_rng(7)
centres = rng.normal(size=(10, 8)) * 3
base = (centres[rng.integers(0, 10, 240)] + rng.normal(size=(240, 8))).astype(np.float32)
queries = (centres[rng.integers(0, 10, 15)] + rng.normal(size=(15, 8))).astype(np.float32)
np.save(out / "base.npy", base)
np.save(out / "queries.npy", queries)

b, q = base.astype(np.float64), queries.astype(np.float64)
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
keys = {
    "l2": np.sqrt(((q[:, None, :] - b[None, :, :]) ** 2).sum(2)),
    "ip": -(q @ b.T),
    "cosine": 1 - unit(q) @ unit(b).T,
}
truth = {}
for metric, key in keys.items():
    ids = np.argsort(key, axis=1, kind="stable")[:, :10]
    distances = np.take_along_axis(key, ids, 1)
    truth[metric] = {"ids": ids.tolist(), "distances": (-distances if metric == "ip" else distances).round(6).tolist()}
(out / "truth.json").write_text(json.dumps(truth))

# an ann-benchmarks file (angular) with names for the rows of `train` is not usual; ids come from an ILIAS-like file
with h5py.File(out / "angular.hdf5", "w") as f:
    f.attrs["distance"] = "angular"
    f["train"] = base
    f["test"] = queries
    f["neighbors"] = np.array(truth["cosine"]["ids"], dtype=np.int32)
    f["distances"] = np.array(truth["cosine"]["distances"], dtype=np.float32)
with h5py.File(out / "named.hdf5", "w") as f:
    f["features"] = base
    f.create_dataset("index", data=[f"class{i % 7}/img_{i:03}.jpg" for i in range(240)], dtype=h5py.string_dtype())
with h5py.File(out / "gold_cosine_sisap.h5", "w") as f:
    f["knns"] = np.array(truth["cosine"]["ids"], dtype=np.int32) + 1
    f["dists"] = np.array(truth["cosine"]["distances"], dtype=np.float32)
