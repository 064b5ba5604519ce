"""Makes tests/data/arrays/* with NumPy and FAISS, the references for npy, npz, vecs and bins. Run: python make_arrays.py

expected.json holds, for every file, what NumPy makes of it as float32. Deterministic.
"""
import json
import os

import numpy as np
from faiss.contrib.vecs_io import fvecs_write, ivecs_write

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "arrays")
os.makedirs(OUT, exist_ok=True)
os.chdir(OUT)
rng = np.random.RandomState(7)
expected = {}


def values(dtype, n=6, d=5):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        x = rng.standard_normal((n, d))
        x[0, :3] = [0.0, -0.0, 65504.0]
        return x.astype(dtype)
    info = np.iinfo(dtype)
    x = rng.randint(max(info.min, -(1 << 31)), min(info.max, (1 << 31) - 1), (n, d), dtype=np.int64).astype(dtype)
    x[0, :2] = [info.min, info.max]
    return x


def keep(name, x):
    with np.errstate(over="ignore"):
        expected[name] = {"shape": list(x.shape), "values": x.astype(np.float32).ravel().tolist()}


for code in ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "|u1", "|i1", "<i2", ">u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8"]:
    x = values(code)
    for order in "CF":
        name = f"{code.replace('<', 'le_').replace('>', 'be_').replace('|', '')}_{order}.npy"
        np.save(name, np.asarray(x, order=order))
        assert np.load(name).dtype == np.dtype(code)
        keep(name, x)

x = values("<f4")
for version in [(1, 0), (2, 0), (3, 0)]:
    name = f"version{version[0]}.npy"
    with open(name, "wb") as f:
        np.lib.format.write_array(f, x, version=version)
    keep(name, x)
np.save("tall_F.npy", np.asfortranarray(values("<f2", 300, 19)))
keep("tall_F.npy", np.load("tall_F.npy"))
np.save("one.npy", x[0])
keep("one.npy", x[:1])
np.save("bool.npy", x > 0)
keep("bool.npy", x > 0)
np.save("three.npy", np.zeros((2, 3, 4), np.float32))
np.save("zero_rows.npy", np.zeros((0, 5), np.float32))
np.save("object.npy", np.array([["a", 1]], dtype=object))
np.save("records.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")]))
np.save("complex.npy", np.zeros((2, 2), np.complex64))
np.save("strings.npy", np.array(["a", "bc"]))

base, test = values("<f4", 9, 4), values("<f2", 3, 4)
names = np.array(["alpha", "β", "", "d", "e", "f", "g", "h", "i"])
np.savez("stored.npz", train=base, test=test, ids=names)
np.savez_compressed("deflated.npz", emb=base, names=np.array([f"n{i}".encode() for i in range(9)]), k=np.int64(3))
np.savez("two.npz", a=base, b=test)
keep("stored.npz::train", base)
keep("stored.npz::test", test)
keep("deflated.npz", base)

f, i, u = values("<f4", 7, 6), values("<i4", 7, 6) % 1000, values("|u1", 7, 6)
fvecs_write("x.fvecs", f)
ivecs_write("x.ivecs", i)
np.hstack([np.full((7, 1), 6, "<i4").view(np.uint8), u]).tofile("x.bvecs")
for name, a in [("x.fvecs", f), ("x.ivecs", i), ("x.bvecs", u)]:
    keep(name, a)

for name, a in [("x.fbin", f), ("x.u8bin", u), ("x.i8bin", values("|i1", 7, 6)), ("x.ibin", i), ("x.f16bin", values("<f2", 7, 6))]:
    with open(name, "wb") as out:
        np.array(a.shape, "<u4").tofile(out)
        a.tofile(out)
    keep(name, a)
with open("truth.ibin", "wb") as out:
    np.array([7, 6], "<u4").tofile(out)
    i.tofile(out)
    f.tofile(out)

with open("expected.json", "w") as out:
    json.dump(expected, out, separators=(",", ":"))
    out.write("\n")
