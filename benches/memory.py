#!/usr/bin/env python3
"""Exact search in a base four times larger than --memory-limit: the peak of the process, as the kernel counts it."""
import json
import subprocess
import time

import numpy as np
from common import arguments, command, scratch


def high_water(pid):
    try:
        lines = open(f"/proc/{pid}/status").read().splitlines()
        return next(int(l.split()[1]) * 1024 for l in lines if l.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0


a = arguments(__doc__, limit=(256, "memory limit in MiB"), d=(384, "dimensions"))
limit = a.limit << 20
n = 4 * limit // (4 * a.d)
rng = np.random.default_rng(1)
with scratch() as tmp:
    out = np.lib.format.open_memmap(f"{tmp}/base.npy", "w+", np.float32, (n, a.d))
    for i in range(0, n, 65536):
        out[i : i + 65536] = rng.standard_normal((min(65536, n - i), a.d), np.float32)
    out.flush()
    del out
    np.save(f"{tmp}/queries.npy", rng.standard_normal((1000, a.d), np.float32))
    words = ["--base", f"{tmp}/base.npy", "--queries", f"{tmp}/queries.npy", "--memory-limit", limit, "--threads", a.threads]
    run = subprocess.Popen(command("exact", *words, "-o", f"{tmp}/r.h5"), stdout=subprocess.PIPE, text=True)
    seen = 0
    while run.poll() is None:  # the kernel's own mark of the most that was resident, until the process is gone
        seen = max(seen, high_water(run.pid))
        time.sleep(0.005)
    r = json.loads(run.stdout.read())
print(f"base {n * a.d * 4 >> 20} MiB, limit {a.limit} MiB, search {r['seconds']['search']:.2f} s")
for who, peak in (("from outside", seen), ("as voisin says", r["peak_rss_bytes"])):
    print(f"peak {peak / 2**20:.1f} MiB {who}: {peak / limit:.3f} of the limit   goal at most 1.05: {'reached' if peak <= 1.05 * limit else 'MISSED'}")
