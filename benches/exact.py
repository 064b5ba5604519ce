#!/usr/bin/env python3
"""Exact neighbours: voisin against faiss.IndexFlat, 1,000 queries, k = 10, both from vectors in memory or cached files.

Compared is the search alone (`seconds.search` leaves out waiting for input; faiss searches what it has been given)."""
import numpy as np
import h5py
from common import arguments, in_turns, line, median, peer, scratch, voisin


def bvecs(path):
    raw = np.fromfile(path, np.uint8)
    d = int(raw[:4].view(np.int32)[0])
    return raw.reshape(-1, d + 4)[:, 4:].astype(np.float32)


def fvecs(path):
    raw = np.fromfile(path, np.float32)
    d = int(raw[:1].view(np.int32)[0])
    return np.ascontiguousarray(raw.reshape(-1, d + 1)[:, 1:])


a = arguments(__doc__, queries=(1000, "queries"), k=(10, "neighbours"))
text, sift = a.data / "debtext", a.data / "sift-photo-100k"
with h5py.File(next(text.glob("base-n=*.h5"))) as b, h5py.File(text / "queries-2k.h5") as q:
    sets = {"debtext": (b["emb"][:].astype(np.float32), q["emb"][:].astype(np.float32), "ip")}
sets["sift-photo-100k"] = (bvecs(sift / "base.bvecs"), fvecs(sift / "query-2k.fvecs"), "l2")
with scratch() as tmp:
    for name, (X, Q, metric) in sets.items():
        base, queries, theirs, ours = (f"{tmp}/{f}" for f in ("base.npy", "queries.npy", "theirs.npz", "ours.npz"))
        np.save(base, X)
        np.save(queries, Q[: a.queries])
        r = in_turns(
            a.repeat,
            voisin=lambda: voisin("exact", "--base", base, "--queries", queries, "-k", a.k, "--metric", metric, "--threads", a.threads, "-o", ours),
            faiss=lambda: peer("faiss_flat", a.threads, base, queries, a.k, metric, theirs),
        )
        x, y = np.load(ours), np.load(theirs)
        same = np.mean([len(np.intersect1d(i, j)) for i, j in zip(x["neighbors"], y["neighbors"])]) / a.k
        apart = np.abs(x["distances"] - y["distances"]).max()
        line(f"exact {name} {X.shape[0]}x{X.shape[1]} {metric}", median(r["voisin"], "seconds", "search"), median(r["faiss"], "seconds", "search"), goal=1.7)
        print(f"  the same ids: {same:.4%}; distances differ by at most {apart:.2g} (equal ones may swap ids)")
