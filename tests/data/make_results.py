"""Makes tests/data/results/: tables of neighbours as numpy and the layouts of TEXMEX and big-ann hold them.

Query i of 4 has the neighbours 10i, 10i + 1, 10i + 2 at distances i, i + 0.25, i + 0.5; the last query has only one.
"""
import os
import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
ids = (10 * np.arange(4)[:, None] + np.arange(3)).astype(np.int64)
distances = (np.arange(4)[:, None] + np.arange(3) / 4).astype(np.float32)
ids[3, 1:] = -1
distances[3, 1:] = np.nan


def path(name):
    return os.path.join(OUT, name)


np.save(path("ids_fortran.npy"), np.asfortranarray(ids.astype(">i4")))
np.save(path("ids.npy"), ids)
np.savez(path("faiss.npz"), I=ids, D=distances**2)
np.savez_compressed(path("ours.npz"), neighbors=ids, distances=distances)
np.hstack([np.full((4, 1), 3), ids]).astype("<i4").tofile(path("truth.ivecs"))
with open(path("truth.ibin"), "wb") as f:
    np.array([4, 3], "<u4").tofile(f)
    ids.astype("<i4").tofile(f)
    (distances**2).tofile(f)
with open(path("ids.ibin"), "wb") as f:
    np.array([4, 3], "<u4").tofile(f)
    ids.astype("<i4").tofile(f)
