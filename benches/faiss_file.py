#!/usr/bin/env python3
"""The file of a FAISS index in voisin beside FAISS itself: queries a second at nprobe lists, all at once and one at a time, and whether the ids are the same.

Without --index the published IVF100,PQ8 index of 9,144 features of Caltech101 (2048 dimensions) of --data. Ids may differ where distances are the same to
1e-5: FAISS sums in f32. --copies repeats the queries, so that a run takes long enough to be timed.
"""
import pathlib

import numpy as np
from common import arguments, in_turns, line, median, peer, scratch, voisin

a = arguments(
    __doc__,
    index=("", "file of a FAISS index with lists"),
    queries=("", ".npy of queries"),
    nprobe=(4, "lists to visit"),
    k=(10, "neighbours"),
    copies=(10, "times the queries"),
)
index = pathlib.Path(a.index) if a.index else a.data / "caltech" / "index_ivfpq_caltech.index"
queries = np.load(a.queries or a.data / "caltech" / "queries.npy").astype(np.float32)
with scratch() as dir:
    dir = pathlib.Path(dir)
    np.save(dir / "queries.npy", np.tile(queries, (a.copies, 1)))
    common = ["search", index, "--queries", dir / "queries.npy", "-k", a.k, "--nprobe", a.nprobe, "--threads", a.threads, "--warm-up", 3]
    sides = in_turns(
        a.repeat,
        batch=lambda: voisin(*common, "-o", dir / "ours.npz"),
        single=lambda: voisin(*common, "--mode", "single", "-o", dir / "one.npz"),
        faiss=lambda: peer("faiss_file", a.threads, index, dir / "queries.npy", a.k, a.nprobe, 3, dir / "theirs.npz"),
    )
    ours, one, theirs = (np.load(dir / f"{name}.npz") for name in ("ours", "one", "theirs"))
for mode in ["batch", "single"]:
    rate = median(sides[mode], "queries_per_second")
    line(f"{index.name}, nprobe {a.nprobe}, {mode}", rate, median(sides["faiss"], mode), "q/s", goal=2 if mode == "batch" else None)
differ = ours["neighbors"] != theirs["neighbors"]
apart = np.abs(ours["distances"] - theirs["distances"]) / theirs["distances"]
print(f"ids: {differ.sum()} of {differ.size} differ, at distances that differ by at most {apart[differ].max(initial=0):.1e}; distances by at most {apart.max():.1e}")
assert (ours["neighbors"] == one["neighbors"]).all() and (ours["distances"] == one["distances"]).all(), "a batch finds what single queries find"
