"""k-means with faiss.Kmeans on all points: BASE.npy K ITERATIONS OUT.npy."""
import json
import os
import sys
import time

import faiss
import numpy as np

base, k, iterations, out = sys.argv[1:]
faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
X = np.load(base)
km = faiss.Kmeans(X.shape[1], int(k), niter=int(iterations), seed=1234, max_points_per_centroid=len(X), min_points_per_centroid=1)
start = time.perf_counter()
km.train(X)
seconds = time.perf_counter() - start
np.save(out, km.centroids)
print(json.dumps({"seconds": {"train": seconds}}))
