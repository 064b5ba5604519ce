#!/usr/bin/env python3
"""Paired k-means with many centroids: `Paired131072,SQ4` on a million pairs of 384 dimensions under a memory limit, and faiss.Kmeans on the same
images with fewer centroids and iterations, scaled by both. Seconds of the clock and of the processors (user time), which other work on the machine
moves less.

The pairs are rows and captions of debtext, repeated and perturbed (f16, 768 MB each); the image of a caption is the row it was made with."""
import json
import pathlib
import resource
import tempfile
import time

import h5py
import numpy as np
from common import arguments, voisin

a = arguments(__doc__, n=(1_000_000, "pairs"), k=(131_072, "centroids"), limit=("8G", "memory limit"), keep=("", "folder for the pairs, kept"), peer=(4096, "centroids of the peer, 0 for none"))


def make(folder):
    """images.npy, captions.npy, pairs.npy."""
    text = a.data / "debtext"
    with h5py.File(next(text.glob("base-n=*.h5"))) as f:
        base = f["emb"][:].astype(np.float32)
    captions = np.load(text / "captions.npy").astype(np.float32)
    rng = np.random.default_rng(3)
    out = {name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (a.n, base.shape[1])) for name in ("images", "captions")}
    for first in range(0, a.n, 20_000):
        rows = np.arange(first, min(first + 20_000, a.n)) % len(base)
        for name, source in (("images", base), ("captions", captions)):
            x = source[rows] + rng.normal(size=(len(rows), base.shape[1]), scale=0.5 / np.sqrt(base.shape[1])).astype(np.float32)
            out[name][first : first + len(rows)] = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.save(folder / "pairs.npy", np.arange(a.n)[:, None])


with tempfile.TemporaryDirectory(prefix="voisin-bench-") as tmp:
    folder = pathlib.Path(a.keep or tmp)
    if not (folder / "pairs.npy").exists():
        make(folder)
    start = time.time()
    built = voisin("build", "--base", folder / "images.npy", "--metric", "cosine", "--index", f"Paired{a.k},SQ4", "--captions", folder / "captions.npy", "--pairs", folder / "pairs.npy", "--memory-limit", a.limit, "--calibrate", 0, "--threads", a.threads, "-o", f"{tmp}/index")
    processors = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"voisin: k = {a.k}, {built['pairs']:,} pairs, {len(built['objective'])} iterations: training {built['seconds']['train']:.1f} s of {time.time() - start:.1f} s ({processors:.0f} s of processors); peak {built['peak_rss_bytes'] / 2**30:.2f} GiB of {a.limit}")
    info = voisin("info", f"{tmp}/index")
    print(json.dumps({"list_sizes": info["list_sizes"], "empty_lists": info["empty_lists"]}))
    if a.peer:
        import faiss

        faiss.omp_set_num_threads(a.threads)
        x = np.load(folder / "images.npy").astype(np.float32)
        km = faiss.Kmeans(x.shape[1], a.peer, niter=1, max_points_per_centroid=len(x), seed=1)
        start, spent = time.time(), time.process_time()
        km.train(x)
        one, spent = time.time() - start, time.process_time() - spent
        print(f"faiss.Kmeans: k = {a.peer}, 1 iteration of {len(x):,}: {one:.1f} s ({spent:.1f} s of processors); k = {a.k} scaled: {one * a.k / a.peer:,.0f} s an iteration")
