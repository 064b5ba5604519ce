"""A whole HDF5 data set into memory with h5py: FILE DATASET. Seconds as stored, and as f32; the median of three."""
import json
import statistics
import sys
import time

import h5py
import numpy as np


def seconds(f):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


with h5py.File(sys.argv[1]) as f:
    data = f[sys.argv[2]]
    stored = seconds(lambda: data[:])
    as_f32 = seconds(lambda: data[:].astype(np.float32, copy=False))
print(json.dumps({"stored": stored, "f32": as_f32}))
