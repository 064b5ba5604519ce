#!/usr/bin/env python3
"""Builds in parts: how fast a part is encoded, against finding the lists of its vectors alone, and what 2.3 billion vectors would take.

Rows are those of `--source` (an HDF5 file with `train`, 768 dimensions: `peers/data.py` makes `debtext768`), repeated and moved a little, as half
floats in NPY files of 50,000 rows. The lists are trained once with few iterations. Then, in turns: `job run` of a part, timed inside from opening the
plan to its receipt (reading, SHA-256, unit lengths, lists, codes, writing, syncing), and `examples/assign_speed` on the rows of that part in memory."""
import json
import pathlib
import subprocess

import h5py
import numpy as np
from common import ROOT, arguments, in_turns, median, scratch, voisin

a = arguments(
    __doc__,
    source=("", "HDF5 file with `train`"),
    rows=(400_000, "rows of a part"),
    segments=(8, "segments of a part; a part of forty million vectors has about as many"),
    lists=(16384, "lists"),
    specs=("SQ4 RaBitQ4", "codes"),
    keep=("", "folder for files and indexes, kept for the next run"),
)
FILE, BILLIONS, MACHINES = 50_000, 2.3e9, 58
GOAL = 0.8
subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "voisin-io", "--example", "assign_speed"], cwd=ROOT, check=True)


def make(folder, n):
    with h5py.File(a.source) as f:
        rows = f["train"][:].astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    g = np.random.default_rng(1)
    for i in range(-(-n // FILE)):
        some = rows[g.integers(0, len(rows), min(FILE, n - i * FILE))]
        some = some + g.standard_normal(some.shape, dtype=np.float32) * np.float32(0.3 / np.sqrt(rows.shape[1]))
        np.save(folder / f"rows_{i:04d}.npy", (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float16))


def assign(index, files):
    out = subprocess.run([ROOT / "target/release/examples/assign_speed", index, files, str(a.threads)], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)


def part(plan, index):
    # done again: without its receipt
    (index / "job/part-00000.json").unlink(missing_ok=True)
    return voisin("job", "run", plan, "--part", 0, "--threads", a.threads)


with scratch() as tmp:
    folder = pathlib.Path(a.keep or tmp)
    folder.mkdir(exist_ok=True)
    if not list(folder.glob("rows_*.npy")):
        make(folder, a.rows)
    for code in a.specs.split():
        plan = folder / f"{code}.json"
        if not (folder / code / "manifest.json").exists():
            spec = ["--index", f"IVF{a.lists},{code}", "--metric", "cosine", "--niter", 2, "--calibrate", 0, "--segment-rows", -(-a.rows // a.segments)]
            voisin("job", "plan", "--base", str(folder / "rows_*.npy"), *spec, "-o", plan)
            voisin("job", "train", plan, "--threads", a.threads)
            voisin("job", "run", plan, "--part", 0, "--threads", a.threads)
            voisin("job", "commit", plan)
        r = in_turns(a.repeat, part=lambda: part(plan, folder / code), assign=lambda: assign(folder / code, str(folder / "rows_*.npy")))
        n = r["part"][0]["n"]
        whole, alone = n / median(r["part"], "seconds", "total"), n / median(r["assign"], "seconds")
        stages = ", ".join(f"{s} {median(r['part'], 'seconds', s):.2f}" for s in ("read", "assign", "encode", "write", "total"))
        days = BILLIONS / MACHINES / whole / 86400
        verdict = "reached" if whole >= GOAL * alone else "MISSED"
        print(f"IVF{a.lists},{code}: {n:,} x {r['assign'][0]['d']}; a part {whole:,.0f} vectors/s, lists alone {alone:,.0f}: {whole / alone:.2f}   goal {GOAL}: {verdict}")
        print(f"  seconds: {stages}; 2.3 billion vectors on {MACHINES} such machines: {days:.2f} days each ({days * 24:.1f} hours)", flush=True)
