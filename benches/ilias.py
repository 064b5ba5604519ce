#!/usr/bin/env python3
"""ILIAS search: `voisin ilias search` beside the usual way in Python (shards loaded, faiss.knn, results merged).

Makes queries, positives and shards of distractors in the layout of the data set's extractor (float16, chunked, gzip of level 0,
ids as strings), of real vectors repeated and perturbed: `debtext` descriptions beside their captions, 768 dimensions. Files that
are in --scratch already are taken as they are. The peer is a script that takes --queries, --base FILES, -k and --threads and
prints JSON with seconds and peak_rss_mb as its last line; it writes no result, voisin does.
"""
import json
import pathlib
import subprocess
import sys

import h5py
import numpy as np
from common import arguments, in_turns, line, median, voisin

a = arguments(
    __doc__,
    scratch=("", "folder for the files, about 1.6 GB; they stay there"),
    peer=("", "the script of the other side"),
    shards=(10, "files of distractors"),
    rows=(100_000, "rows of each"),
    queries=(1000, "queries"),
    k=(1000, "neighbours"),
)
if not a.scratch:
    sys.exit("--scratch names a folder for the files")
scratch = pathlib.Path(a.scratch)
scratch.mkdir(parents=True, exist_ok=True)


def real_vectors():
    """Rows of two encodings of the same packages, side by side."""
    with h5py.File(next((a.data / "debtext").glob("base-n=*.h5"))) as f:
        long = f["emb"][:].astype(np.float32)
    x = np.hstack([long, np.load(a.data / "debtext" / "captions.npy").astype(np.float32)])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def save(name, rows, noise, ids):
    path = scratch / f"{name}.hdf5"
    if path.exists():
        return path
    global x
    if x is None:
        x = real_vectors()
    rng = np.random.default_rng([len(ids), sum(name.encode())])
    chosen = rng.permutation(len(x))[rows] if rows is not None else rng.integers(0, len(x), len(ids))
    v = x[chosen] + rng.standard_normal((len(ids), x.shape[1]), np.float32) * (noise / x.shape[1] ** 0.5)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    temp = path.with_suffix(".part")
    with h5py.File(temp, "w") as f:
        f.create_dataset("index", data=ids, dtype=h5py.string_dtype(encoding="ascii"))
        f.create_dataset("features", data=v.astype(np.float16), compression="gzip", compression_opts=0)
    temp.rename(path)
    return path


x = None
own = np.arange(a.queries)
queries = save(f"queries_{a.queries}", own, 0.5, [f"i{i:05}/query/Q.jpg" for i in own])
positives = save(f"positives_{a.queries}", np.repeat(own, 5), 0.7, [f"i{i // 5:05}/pos/P{i % 5}.jpg" for i in range(5 * a.queries)])
shards = [
    save(f"distractors_{a.rows}_{s:05}", None, 0.6, [f"{s:06}.tar/img{i:06}" for i in range(a.rows)]) for s in range(a.shards)
]
words = ["--query_hdf5", queries, "--positive_hdf5", positives, "--k", a.k, "--save_dir", scratch / "out", "--save_as", "pickle"]
words += ["--distractor_hdf5", str(scratch / f"distractors_{a.rows}_{{idx}}.hdf5"), "--total_distractors", a.shards]


def ours():
    return voisin("ilias", "search", *words, "--threads", a.threads)


def theirs():
    base = [positives, *shards]
    words = [sys.executable, a.peer, "--queries", queries, "--base", *base, "-k", a.k, "--threads", a.threads]
    out = subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout.splitlines()[-1])


what = f"{a.shards} x {a.rows:,} distractors, {a.queries:,} queries, k = {a.k:,}"
r = in_turns(a.repeat, ours=ours, **({"theirs": theirs} if a.peer else {}))
seconds, peak = median(r["ours"], "seconds", "total"), median(r["ours"], "peak_rss_bytes") / 2**20
parts = ", ".join(f"{part} {median(r['ours'], 'seconds', part):.2f}" for part in ("read", "search", "write"))
print(f"{what}: voisin {seconds:.2f} s ({parts}), {peak:.0f} MiB")
if a.peer:
    line(what, seconds, median(r["theirs"], "seconds"), goal=2)
    other = median(r["theirs"], "peak_rss_mb")
    verdict = "reached" if peak <= other / 4 else "MISSED"
    print(f"peak memory: voisin {peak:.0f} MiB, peer {other:.0f} MiB, {peak / other:.2f} of it   goal at most 0.25: {verdict}")
