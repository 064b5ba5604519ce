"""Searches the file of an index with faiss: INDEX QUERIES.npy K NPROBE REPEAT OUT.npz; queries a second, all at once and one at a time."""
import json
import os
import statistics
import sys
import time

import faiss
import numpy as np

path, queries, k, nprobe, repeat, out = sys.argv[1:]
k = int(k)
faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
index = faiss.read_index(path)
faiss.extract_index_ivf(index).nprobe = int(nprobe)
Q = np.ascontiguousarray(np.load(queries), np.float32)
index.search(Q, k)


def timed(search):
    start = time.perf_counter()
    found = search()
    return time.perf_counter() - start, found


runs = [timed(lambda: index.search(Q, k)) for _ in range(int(repeat))]
ones = [timed(lambda: [index.search(Q[i : i + 1], k) for i in range(len(Q))])[0] for _ in range(int(repeat))]
distances, ids = runs[0][1]
np.savez(out, neighbors=ids, distances=np.sqrt(distances))
print(json.dumps({"batch": len(Q) / statistics.median(r[0] for r in runs), "single": len(Q) / statistics.median(ones)}))
