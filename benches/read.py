#!/usr/bin/env python3
"""Reading HDF5: voisin against h5py, a whole data set into memory as f32; the files are in the page cache."""
import re
import shutil
import subprocess

import h5py
import numpy as np
from common import ROOT, arguments, in_turns, line, median, peer, scratch

a = arguments(__doc__)
subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "voisin-io", "--example", "read_speed"], cwd=ROOT, check=True)


def ours(path):
    out = subprocess.run([ROOT / "target/release/examples/read_speed", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"seconds": float(re.search(r"read ([0-9.]+) ms", out).group(1)) / 1e3}


with scratch() as tmp:
    source = next((a.data / "debtext").glob("base-n=*.h5"))
    shutil.copy(source, f"{tmp}/f16.h5")
    with h5py.File(source) as f:
        X = np.concatenate([f["emb"][:].astype(np.float32)] * 3)
    with h5py.File(f"{tmp}/f32.h5", "w") as f:
        f["emb"] = X
    with h5py.File(f"{tmp}/gzip.h5", "w") as f:
        f.create_dataset("emb", data=X[:60000], chunks=(1000, X.shape[1]), compression="gzip", shuffle=True)
    for name, what in (("f16", "f16 contiguous"), ("f32", "f32 contiguous"), ("gzip", "f32 chunked, gzip + shuffle")):
        path = f"{tmp}/{name}.h5"
        r = in_turns(a.repeat, voisin=lambda: ours(path), h5py=lambda: peer("h5py_read", a.threads, path, "emb"))
        line(f"read {what}", median(r["voisin"], "seconds"), median(r["h5py"], "f32"), goal=1.0)
