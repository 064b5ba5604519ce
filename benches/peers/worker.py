"""A process that builds, or loads and searches, one peer: `worker.py NAME FOLDER DATA THREADS NLIST K QUERIES`.

Orders come as JSON objects, one a line, on standard input; each is answered by one on standard output, {"error": ...} if it failed.
A process is given one peer, so that its resident memory is that peer's.
"""
import json
import os
import sys
import time
import types

import h5py
import numpy as np

from engines import ENGINES


def resident():
    """Bytes in memory now, and at most so far."""
    with open("/proc/self/status") as f:
        at = dict(line.split(":", 1) for line in f)
    return int(at["VmRSS"].split()[0]) * 1024, int(at["VmHWM"].split()[0]) * 1024


def machine_seconds():
    """Seconds of CPU that all processes of the machine have used, and those taken from it."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def share_of_others(used, own, wall):
    """The part of the machine's CPU time that others took during `wall` seconds."""
    return round(max(0.0, used - own) / (wall * os.cpu_count()), 3)


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class Data:
    """One file in the ann-benchmarks layout; angular vectors at unit length, so that the inner product ranks."""

    def __init__(self, path, queries):
        with h5py.File(path) as f:
            distance = f.attrs.get("distance", "euclidean")
            distance = distance.decode() if isinstance(distance, bytes) else str(distance)
            self.path, self.angular = path, distance in ("angular", "cosine")
            self.ip = self.angular or distance in ("ip", "dot")
            self.n, self.d = f["train"].shape
            self.Q = self.rows(f["test"], queries)
            self.truth = f["neighbors"][: len(self.Q)]

    def rows(self, dataset, count=None):
        rows = np.ascontiguousarray(dataset[:count] if count else dataset[:], np.float32)
        return np.ascontiguousarray(unit(rows), np.float32) if self.angular else rows

    def base(self):
        with h5py.File(self.path) as f:
            return self.rows(f["train"])

    def recall(self, found, k):
        hits = sum(len(np.intersect1d(row[:k], true[:k])) for row, true in zip(found, self.truth))
        return hits / (len(found) * k)


class Worker:
    def __init__(self, name, folder, data, threads, nlist, k, queries):
        self.data, self.folder, self.k = Data(data, queries), folder, k
        self.job = types.SimpleNamespace(n=self.data.n, d=self.data.d, ip=self.data.ip, nlist=nlist, k=k)
        self.engine = ENGINES[name](self.job)
        self.count = threads
        self.engine.threads(threads)

    def build(self):
        """Trains on all rows (as the peer samples them), adds them, saves; reading and saving are not part of the seconds."""
        X = self.data.base()
        before, _ = resident()
        used, own = machine_seconds(), time.process_time()
        start = time.perf_counter()
        self.engine.build(X)
        seconds = time.perf_counter() - start
        others = share_of_others(machine_seconds() - used, time.process_time() - own, seconds)
        after, peak = resident()
        self.engine.save(self.folder)
        return {
            "build_seconds": seconds,
            "build_threads": self.count,
            "others": others,
            "rss_grew_bytes": after - before,
            "peak_grew_bytes": peak - before,
            "version": self.engine.version(),
        }

    def load(self):
        self.one_row = [self.data.Q[i : i + 1] for i in range(len(self.data.Q))]
        self.before, _ = resident()
        start = time.perf_counter()
        self.engine.load(self.folder)
        return {"load_seconds": time.perf_counter() - start, "version": self.engine.version(), "grid": self.engine.grid()}

    def memory(self):
        """What loading and searching added."""
        return {"resident_bytes": resident()[0] - self.before}

    def recall(self, point):
        """Of all queries, in one call."""
        self.engine.set(point)
        start = time.perf_counter()
        found = self.engine.many(self.data.Q)
        return {"recall": self.data.recall(found, self.k), "seconds": time.perf_counter() - start}

    def measure(self, point, mode, queries, warm=0):
        """Queries a second over the first `queries`, after `warm` that do not count; also in seconds of this process's CPU."""
        self.engine.set(point)
        call, rows = (self.engine.one, self.one_row) if mode == "single" else (self.engine.many, self.data.Q)
        if mode == "single":
            for row in rows[:warm]:
                call(row)
            # rows of one table: small arrays kept between the calls would split the heap, which costs some peers memory and time
            found = np.full((queries, self.k), -1, np.int64)
            start, cpu = time.perf_counter(), time.process_time()
            for i, row in enumerate(rows[:queries]):
                ids = call(row)
                found[i, : len(ids)] = ids
        else:
            if warm:
                call(rows[:warm])
            start, cpu = time.perf_counter(), time.process_time()
            found = call(rows[:queries])
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return {"qps": queries / seconds, "cpu_qps": queries / max(cpu, 1e-9), "recall": self.data.recall(found, self.k)}

    def overhead(self):
        """Seconds of a call on an index of a few rows: the way through Python, which a caller in another language does not pay."""
        call, rows = self.engine.empty_call(np.ascontiguousarray(self.data.Q)), self.one_row[:1000]
        times = []
        for _ in range(5):
            start = time.perf_counter()
            for row in rows:
                call(row)
            times.append((time.perf_counter() - start) / len(rows))
        return {"seconds": sorted(times)[2]}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not mix with the answers
    name, folder, data, *numbers = sys.argv[1:]
    try:
        worker = Worker(name, folder, data, *map(int, numbers))
        answer = {"ready": True}
    except BaseException as e:
        worker, answer = None, {"error": f"{type(e).__name__}: {e}"[:300]}
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin if worker else ():
        order = json.loads(line)
        try:
            answer = getattr(worker, order.pop("do"))(**order)
        except BaseException as e:  # the parent names it; a peer that fails is not hidden
            answer = {"error": f"{type(e).__name__}: {e}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
