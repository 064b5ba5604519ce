"""Exact neighbours with faiss: BASE.npy QUERIES.npy K METRIC OUT.npz, vectors as f32; the batch, then queries one at a time."""
import json
import os
import statistics
import sys
import time

import faiss
import numpy as np

base, queries, k, metric, out = sys.argv[1:]
faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
X, Q = np.load(base), np.load(queries)
index = faiss.IndexFlatIP(X.shape[1]) if metric == "ip" else faiss.IndexFlatL2(X.shape[1])
index.add(X)
index.search(Q[:1], int(k))


def timed(q):
    start = time.perf_counter()
    found = index.search(q, int(k))
    return time.perf_counter() - start, found


seconds, (distances, ids) = timed(Q)
single = statistics.median(timed(Q[i : i + 1])[0] for i in range(min(100, len(Q))))
np.savez(out, neighbors=ids, distances=distances if metric == "ip" else np.sqrt(distances))
print(json.dumps({"seconds": {"search": seconds, "single": single}}))
