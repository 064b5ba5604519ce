#!/usr/bin/env python3
"""Exact neighbours: voisin against faiss.IndexFlat, k = 10: 1,000 queries in a batch, and one query at a time with one and two
threads; without and with the codes of `exact --prepare`. Both have the vectors in memory or in cached files.

Compared is the search alone. Ids and distances of `voisin exact` are compared with those of faiss, and its bytes with and
without codes."""
import filecmp
import json
import os
import subprocess

import h5py
import numpy as np
from common import ROOT, arguments, in_turns, line, median, peer, scratch, voisin


def vecs(path, dtype, head):
    raw = np.fromfile(path, dtype)
    d = int(raw[:head].view(np.int32)[0])
    return np.ascontiguousarray(raw.reshape(-1, d + head)[:, head:].astype(np.float32))


def sets(data):
    text = data / "debtext"
    with h5py.File(next(text.glob("base-n=*.h5"))) as b, h5py.File(text / "queries-2k.h5") as q:
        yield "debtext", b["emb"][:].astype(np.float32), q["emb"][:].astype(np.float32), "ip"
    large, small = data / "sift-photo-1m", data / "sift-photo-100k"
    if large.is_dir():
        yield large.name, vecs(large / "base.fvecs", np.float32, 1), vecs(large / "query.fvecs", np.float32, 1), "l2"
    else:
        yield small.name, vecs(small / "base.bvecs", np.uint8, 4), vecs(small / "query-2k.fvecs", np.float32, 1), "l2"


def speed(threads, *words):
    """One run of the library: batch and single queries."""
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    out = subprocess.run([ROOT / "target/release/examples/exact_speed", *map(str, words)], check=True, stdout=subprocess.PIPE, env=env)
    result = json.loads(out.stdout)
    assert result["same"], "codes must not change the result"
    return result


a = arguments(__doc__, queries=(1000, "queries"), k=(10, "neighbours"), only=("", "the data set whose name begins so"))
subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "voisin-io", "--example", "exact_speed"], cwd=ROOT, check=True)
with scratch() as tmp:
    for name, X, Q, metric in sets(a.data):
        if not name.startswith(a.only):
            continue
        base, queries, theirs, ours, coded = (f"{tmp}/{f}" for f in ("base.npy", "queries.npy", "theirs.npz", "ours.npz", "coded.npz"))
        np.save(base, X)
        np.save(queries, Q[: a.queries])
        what = f"{name} {X.shape[0]}x{X.shape[1]} {metric}"
        for threads in sorted({1, a.threads}):
            r = in_turns(
                a.repeat,
                voisin=lambda: speed(threads, base, queries, metric, a.k),
                faiss=lambda: peer("faiss_flat", threads, base, queries, a.k, metric, theirs),
            )
            print(f"{what}, {threads} threads")
            for mode, goal, other in (("batch", 4, "search"), ("single", 3, "single")):
                for codes, text in (("", "plain"), ("_codes", "with codes"), ("_flat", "Flat index")):
                    wanted = goal if codes or mode == "batch" else None
                    line(f"  {mode}, {text}", median(r["voisin"], "seconds", mode + codes), median(r["faiss"], "seconds", other), goal=wanted)
        words = ("exact", "--base", base, "--queries", queries, "-k", a.k, "--metric", metric)
        voisin(*words, "-o", ours)
        made = voisin("exact", "--prepare", "--base", base, "--metric", metric)
        voisin(*words, "-o", coded)
        x, y = np.load(ours), np.load(theirs)
        same = np.mean([len(np.intersect1d(i, j)) for i, j in zip(x["neighbors"], y["neighbors"])]) / a.k
        apart = np.abs(x["distances"] - y["distances"]).max()
        print(f"  codes: {made['bytes'] / X.nbytes:.3f} of the f32 bytes, made in {made['seconds']['total']:.2f} s; with and without them: "
              f"{'the same bytes' if filecmp.cmp(ours, coded, shallow=False) else 'OTHER BYTES'}")
        print(f"  the same ids as faiss: {same:.4%}; distances differ by at most {apart:.2g} (equal ones may swap ids)")
        os.remove(base + ".codes8")
