"""Names, labels and texts of the 400 vectors of tests/data/faiss/base.npy, as people keep them beside an index, and neighbours
among these vectors by numpy: tests/data/names. Needs numpy and h5py; run make_faiss.py first."""

import csv
import json
import pickle
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).resolve().parent
OUT = HERE / "names"
CLASSES = ["airplanes", "bonsai", "cup", "ewer"]


def main():
    OUT.mkdir(exist_ok=True)
    base = np.load(HERE / "faiss" / "base.npy")
    n = len(base)
    rng = np.random.default_rng(3)
    labels = rng.integers(0, len(CLASSES), n)
    files = [f"{CLASSES[c]}/image_{i:04}.png" for i, c in enumerate(labels)]
    paths = [f"/home/ana/datasets/caltech/{f}" for f in files]
    texts = [f'row {i}, "a picture" of one {CLASSES[c]}' for i, c in enumerate(labels)]

    (OUT / "paths.pkl").write_bytes(pickle.dumps(paths, protocol=4))
    (OUT / "paths_array.pkl").write_bytes(pickle.dumps(np.array(paths), protocol=5))
    (OUT / "paths_objects.pkl").write_bytes(pickle.dumps(np.array(paths, dtype=object), protocol=4))
    (OUT / "paths_of_rows.pkl").write_bytes(pickle.dumps(dict(enumerate(paths)), protocol=4))
    (OUT / "rows_of_paths.pkl").write_bytes(pickle.dumps({p: i for i, p in enumerate(paths)}, protocol=4))
    (OUT / "both.pkl").write_bytes(pickle.dumps({"filenames": paths, "classes": labels.tolist()}, protocol=4))
    np.save(OUT / "paths.npy", np.array(paths))
    (OUT / "paths_windows.txt").write_text("".join("C:\\data\\caltech\\" + f.replace("/", "\\") + "\r\n" for f in files))
    (OUT / "paths.txt").write_text("\n".join(paths))
    (OUT / "short.txt").write_text("\n".join(paths[:-1]) + "\n")
    (OUT / "labels.pkl").write_bytes(pickle.dumps(labels, protocol=4))
    np.save(OUT / "labels.npy", labels)
    (OUT / "labels.json").write_text(json.dumps([CLASSES[c] for c in labels]))
    with open(OUT / "table.csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["id", "path", "class", "width", "text"])
        for i in rng.permutation(n):
            out.writerow([i, paths[i], CLASSES[labels[i]], 64, texts[i]])
    with open(OUT / "texts.csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerows([t] for t in texts)
    with h5py.File(OUT / "strings.h5", "w") as f:
        f["paths"] = paths
        f["labels"] = labels
        f["group/texts"] = np.array(texts, dtype=h5py.string_dtype())

    rows = [0, 17, 200, 399]
    found = {}
    for i in rows:
        d = np.sqrt(((base.astype("f8") - base[i].astype("f8")) ** 2).sum(1))
        order = np.lexsort((np.arange(n), d))
        order = order[order != i]
        within = order[labels[order] == labels[i]]
        found[i] = {
            "ids": order[:10].tolist(),
            "distances": [float(f"{x:.7g}") for x in d[order[:10]]],
            "within": within[:10].tolist(),
        }
    (OUT / "expected.json").write_text(
        json.dumps({"files": files, "labels": [CLASSES[c] for c in labels], "texts": texts, "found": found})
    )


if __name__ == "__main__":
    main()
