#!/usr/bin/env python3
"""Learned metric index: `LMI320,Flat` against the usual Python recipe (peers/lmi_recipe.py) on debtext.

Compared are build (`seconds.total` without `read` and `write`; the peer's clock runs from vectors in memory to its buckets), recall@10 at 1, 4
and 16 lists, and queries/s at 4 lists on one thread (voisin in a batch, the recipe one query at a time, as it does)."""
import h5py
import numpy as np
from common import arguments, in_turns, line, median, peer, scratch, voisin

a = arguments(__doc__, lists=(320, "lists"))
PROBES = (1, 4, 16)
RECIPES = {"default": [], "original recipe": ["--epochs", 10, "--batch", 256, "--precision", "f32"]}
text = a.data / "debtext"
base, queries, gold = next(text.glob("base-n=*.h5")), text / "queries-2k.h5", text / "gold-standard-2k.h5"


def ours(tmp, options):
    built = voisin("build", "--base", base, "--index", f"LMI{a.lists},Flat", "--threads", a.threads, *options, "-o", f"{tmp}/index")["seconds"]
    points = {}
    for nprobe in PROBES:
        runs = [
            voisin("search", f"{tmp}/index", "--queries", queries, "--nprobe", nprobe, "--threads", 1, "--truth", gold, "-o", f"{tmp}/r.npz")
            for _ in range(3)
        ]
        points[nprobe] = {"recall": runs[0]["recall"]["10"], "queries_per_second": median(runs, "queries_per_second")}
    return {"build": built["total"] - built["read"] - built["write"], "points": points}


with scratch() as tmp:
    files = [f"{tmp}/{n}.npy" for n in ("base", "queries", "truth")]
    for source, name, to in ((base, "emb", files[0]), (queries, "emb", files[1]), (gold, "knns", files[2])):
        with h5py.File(source) as f:
            x = f[name][:]
        np.save(to, x[:, :10].astype(np.int64) - 1 if name == "knns" else x.astype(np.float32))
    probes = ",".join(map(str, PROBES))
    sides = {name: (lambda o=options: ours(tmp, o)) for name, options in RECIPES.items()}
    r = in_turns(a.repeat, **sides, peer=lambda: peer("lmi_recipe", a.threads, *files, a.lists, probes, 1))
for name, goal in (("default", 3.0), ("original recipe", 1.5)):
    line(f"build LMI{a.lists},Flat, {name}", median(r[name], "build"), median(r["peer"], "build"), goal=goal)
for name in RECIPES:
    speeds = [median(r[name], "points", 4, "queries_per_second"), median(r["peer"], "points", "4", "queries_per_second")]
    line(f"search at 4 lists, one thread, {name}", *speeds, unit="q/s", goal=5.0)
    for nprobe in PROBES:
        x, y = median(r[name], "points", nprobe, "recall"), median(r["peer"], "points", str(nprobe), "recall")
        print(f"  recall@10 at {nprobe:2d} lists: {x:.4f} against {y:.4f} ({x - y:+.4f}   goal at least -0.01: {'reached' if x >= y - 0.01 else 'MISSED'})")
