#!/usr/bin/env python3
"""Makes the sets of `run.py` in the ann-benchmarks layout (train, test, neighbors, distances; attribute distance).

    data.py debtext    --base base.h5 --queries queries.h5 --truth gold-standard.h5 --out OUT     -> OUT/debtext.hdf5
    data.py debtext768 --base base.h5 --captions captions.npy --rows query_rows.npy --out OUT     -> OUT/debtext768.hdf5

`debtext`: unit vectors f16 (`emb`) as a base, queries of another kind, and the true neighbours that came with them
(`knns` counted from 1, `dists`). `debtext768`: each row is a base row and the caption of the same thing side by side, divided by
sqrt(2), so of unit length again; the rows in query_rows.npy are taken out and asked for, and their 100 neighbours computed with faiss.

1M x 128 SIFT descriptors, or any other file in that layout, is taken as it is: local descriptors (OpenCV's SIFT) of some hundred
photographs, 1,000,000 of them as `train`, 10,000 of other photographs as `test`, exact squared L2 neighbours, distance "euclidean".
"""
import argparse
import pathlib

import h5py
import numpy as np


def write(path, train, test, neighbors, distances):
    with h5py.File(path, "w") as f:
        f.attrs.update(distance="angular", dimension=train.shape[1], type="dense", point_type="float")
        f["train"], f["test"] = np.ascontiguousarray(train, np.float32), np.ascontiguousarray(test, np.float32)
        f["neighbors"], f["distances"] = neighbors.astype(np.int32), distances.astype(np.float32)
    print(f"{path}: {train.shape[0]} x {train.shape[1]}, {len(test)} queries, {neighbors.shape[1]} neighbours each")


def unit(rows):
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors(path, name="emb"):
    if path.suffix == ".npy":
        return np.load(path)
    with h5py.File(path) as f:
        return f[name][:]


def debtext(a):
    with h5py.File(a.truth) as f:
        knns, dists = f["knns"][:], f["dists"][:]
    if knns.min() < 1:
        raise SystemExit(f"{a.truth}: knns are counted from 1; the smallest is {knns.min()}")
    write(a.out / "debtext.hdf5", unit(vectors(a.base)), unit(vectors(a.queries)), knns.astype(np.int64) - 1, dists)


def debtext768(a):
    import faiss

    base, captions = vectors(a.base), vectors(a.captions)
    if len(base) != len(captions):
        raise SystemExit(f"{a.captions}: {len(captions)} rows for {len(base)} of {a.base}")
    rows = unit(np.hstack([unit(base), unit(captions)]) / np.sqrt(2))
    held_out = np.load(a.rows)
    kept = np.ones(len(rows), bool)
    kept[held_out] = False
    train, test = np.ascontiguousarray(rows[kept]), np.ascontiguousarray(rows[held_out])
    dots, ids = faiss.knn(test, train, 100, metric=faiss.METRIC_INNER_PRODUCT)
    write(a.out / "debtext768.hdf5", train, test, ids, 1 - dots)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sets = ap.add_subparsers(dest="name", required=True)
    for make, files in ((debtext, ("base", "queries", "truth")), (debtext768, ("base", "captions", "rows"))):
        one = sets.add_parser(make.__name__)
        one.set_defaults(make=make)
        for name in (*files, "out"):
            one.add_argument(f"--{name}", type=pathlib.Path, required=True)
    a = ap.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    a.make(a)


if __name__ == "__main__":
    main()
