#!/usr/bin/env python3
"""Makes debtext-demo.h5, the data of `voisin demo`, from the larger debtext set.

    apt-cache dumpavail > available.txt        # on Debian 12 (bookworm), for the one-line descriptions
    python3 data/make_demo.py --debtext DIR --available available.txt

DIR holds base-n=60313.h5 (`emb`: sentence embeddings of the long descriptions of Debian packages), captions.npy
(the same for the one-line descriptions), query_rows-2k.npy (rows whose captions are held out as queries) and ids.txt.
Needs numpy and h5py; the same input gives the same bytes.
"""
import argparse
import pathlib
import re

import h5py
import numpy as np

N, QUERIES, SEED = 5000, 400, 2024
# libraries, bindings and data packages by the thousand say little to a reader
PLAIN = re.compile(r"^(lib|golang-|node-|ruby-|r-|php-|python\d*-|haskell-|fonts-|rust-|elpa-|gir\d|task-|linux-|gcc-|g\+\+-)|-(dev|doc|data|dbg|common|l10n|perl|udeb)$")


def one_liners(path):
    """Package name -> one-line description, as `apt-cache dumpavail` prints them."""
    out, name = {}, None
    for line in open(path, encoding="utf-8"):
        if line.startswith("Package: "):
            name = line[9:].strip()
        elif line.startswith("Description: "):
            out.setdefault(name, line[13:].strip())
    return out


def strings(values):
    raw = [v.encode() for v in values]
    return np.array(raw, dtype=h5py.string_dtype("utf-8", max(map(len, raw))))


ap = argparse.ArgumentParser()
ap.add_argument("--debtext", type=pathlib.Path, required=True)
ap.add_argument("--available", type=pathlib.Path, required=True)
ap.add_argument("-o", "--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("debtext-demo.h5"))
a = ap.parse_args()

names = (a.debtext / "ids.txt").read_text().split()
texts = one_liners(a.available)
good = np.array([n in texts and not PLAIN.search(n) for n in names])
rng = np.random.default_rng(SEED)
held_out = np.load(a.debtext / "query_rows-2k.npy")
asked = held_out[good[held_out]]
asked = np.sort(rng.choice(asked, min(QUERIES, len(asked)), replace=False))
rest = np.setdiff1d(np.flatnonzero(good), asked)
rows = np.sort(np.concatenate([asked, rng.choice(rest, N - len(asked), replace=False)]))
print(f"{good.sum()} candidates, {len(rows)} rows, {len(asked)} queries")

with h5py.File(next(a.debtext.glob("base-n=*.h5"))) as f:
    emb = f["emb"][:][rows]
queries = np.load(a.debtext / "captions.npy", mmap_mode="r")[asked]
with h5py.File(a.out, "w") as f:
    f.attrs["distance"] = "cosine"
    f.attrs["source"] = "descriptions of Debian 12 packages, embedded with all-MiniLM-L6-v2; see data/README.md"
    f["emb"] = emb
    packed = dict(compression="gzip", compression_opts=9, shuffle=False)
    f.create_dataset("ids", data=strings([names[i] for i in rows]), **packed)
    f.create_dataset("texts", data=strings([texts[names[i]] for i in rows]), **packed)
    f["queries"] = queries
    f.create_dataset("query_ids", data=strings([names[i] for i in asked]), **packed)
    f.create_dataset("query_texts", data=strings([texts[names[i]] for i in asked]), **packed)
print(f"{a.out}: {a.out.stat().st_size / 1e6:.2f} MB")
