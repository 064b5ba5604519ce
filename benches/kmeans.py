#!/usr/bin/env python3
"""k-means: voisin against faiss.Kmeans, k = 320, 25 iterations, all points used by both; the objective of both by the same program.

With --large FILE (rows as .fvecs, such as a million SIFT descriptors) and --large-queries FILE also k = 4096 (--large-k) once: seconds, and the vectors that
lists around both sets of centroids make a query scan for recall@10 = .95. Minutes, nearly all of them the peer's; --large-iterations N trains the peer less and scales its
seconds to 25.
"""
import faiss
import h5py
import numpy as np
from common import arguments, in_turns, line, median, peer, scratch, voisin

a = arguments(
    __doc__,
    **{
        "k": (320, "centroids"),
        "iterations": (25, "iterations"),
        "large": ("", ".fvecs of many rows"),
        "large-queries": ("", ".fvecs of queries"),
        "large-k": (4096, "centroids of the large set"),
        "large-iterations": (25, "iterations of the peer on the large set"),
    },
)
raw = np.fromfile(a.data / "sift-photo-100k" / "base.bvecs", np.uint8)
sets = {"sift-photo-100k": raw.reshape(-1, 132)[:, 4:].astype(np.float32)}
with h5py.File(next((a.data / "debtext").glob("base-n=*.h5"))) as f:
    sets["debtext"] = f["emb"][:].astype(np.float32)


def objective(X, path):
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(np.ascontiguousarray(np.load(path), np.float32))
    return float(index.search(X, 1)[0].astype(np.float64).sum())


def fvecs(path):
    d = int(np.fromfile(path, np.int32, 1)[0])
    return np.ascontiguousarray(np.fromfile(path, np.float32).reshape(-1, d + 1)[:, 1:])


def scanned(X, Q, truth, path, recall=0.95):
    """Mean number of vectors in the lists that 2,000 queries visit for this recall, read off between two numbers of lists."""
    C = np.ascontiguousarray(np.load(path), np.float32)
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(C)
    own = index.search(X, 1)[1][:, 0]
    order = index.search(Q, min(len(C), 512))[1]
    visited = np.cumsum(np.bincount(own, minlength=len(C))[order], 1).mean(0)
    found = np.array([(order[:, None, :p] == own[truth][:, :, None]).any(2).mean() for p in range(1, order.shape[1] + 1)])
    return float(np.interp(recall, found, visited))


def large(tmp):
    X, Q = fvecs(a.large), fvecs(a.large_queries)[:2000]
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    truth = index.search(Q, 10)[1]
    base, ours, theirs = (f"{tmp}/{f}.npy" for f in ("base", "ours", "theirs"))
    np.save(base, X)
    x = voisin("kmeans", "--base", base, "-k", a.large_k, "--threads", a.threads, "-o", ours)["seconds"]["train"]
    y = peer("faiss_kmeans", a.threads, base, a.large_k, a.large_iterations, theirs)["seconds"]["train"] * 25 / a.large_iterations
    line(f"k-means k={a.large_k} {X.shape[0]}x{X.shape[1]}", x, y, goal=10)
    x, y = scanned(X, Q, truth, ours), scanned(X, Q, truth, theirs)
    print(f"  vectors scanned at recall .95: {x:.0f} against {y:.0f}: {(x / y - 1) * 100:+.1f} % (at most +5 %)")


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
    if a.large:
        large(tmp)
