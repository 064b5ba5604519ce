#!/usr/bin/env python3
"""k-means: voisin against faiss.Kmeans, k = 320, 25 iterations, all points used by both; the objective of both by the same program."""
import faiss
import h5py
import numpy as np
from common import arguments, in_turns, line, median, peer, scratch, voisin

a = arguments(__doc__, k=(320, "centroids"), iterations=(25, "iterations"))
raw = np.fromfile(a.data / "sift-photo-100k" / "base.bvecs", np.uint8)
sets = {"sift-photo-100k": raw.reshape(-1, 132)[:, 4:].astype(np.float32)}
with h5py.File(next((a.data / "debtext").glob("base-n=*.h5"))) as f:
    sets["debtext"] = f["emb"][:].astype(np.float32)


def objective(X, path):
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(np.ascontiguousarray(np.load(path), np.float32))
    return float(index.search(X, 1)[0].astype(np.float64).sum())


with scratch() as tmp:
    for name, X in sets.items():
        base, ours, theirs = (f"{tmp}/{f}.npy" for f in ("base", "ours", "theirs"))
        np.save(base, X)
        r = in_turns(
            a.repeat,
            voisin=lambda: voisin("kmeans", "--base", base, "-k", a.k, "--niter", a.iterations, "--threads", a.threads, "-o", ours),
            faiss=lambda: peer("faiss_kmeans", a.threads, base, a.k, a.iterations, theirs),
        )
        line(f"k-means {name} {X.shape[0]}x{X.shape[1]}", median(r["voisin"], "seconds", "train"), median(r["faiss"], "seconds", "train"), goal=1.7)
        x, y = objective(X, ours), objective(X, theirs)
        print(f"  objective {x:.6g} against {y:.6g}: {(x / y - 1) * 100:+.3f} % (at most +0.5 %)")
