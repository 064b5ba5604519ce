"""Exact neighbours with faiss: BASE.npy QUERIES.npy K METRIC OUT.npz, vectors as f32."""
import json
import os
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
start = time.perf_counter()
distances, ids = index.search(Q, int(k))
seconds = time.perf_counter() - start
np.savez(out, neighbors=ids, distances=distances if metric == "ip" else np.sqrt(distances))
print(json.dumps({"seconds": {"search": seconds}}))
