"""Peers and voisin seen from outside: built once into a folder, asked for recall and speed at a point of their parameters.

Both have the same methods; a point is a tuple, `grid` groups of points within which recall grows.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np

from engines import ENGINES, LISTS, describe
from worker import machine_seconds, share_of_others

ASKED = [0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.996, 0.998]  # of --recall
HERE = os.path.dirname(os.path.abspath(__file__))


class Failed(Exception):
    """A contestant that could not be built or searched, with its reason."""


class Unreachable(Failed):
    """A recall asked for that the index says it cannot deliver: its curve ends there."""


def environment(threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", **{name: str(threads) for name in names})


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(folder) for f in files)


def follow(pid, most):
    """Keeps the highest RssAnon and RssFile of a process until it ends; not while something is timed."""
    try:
        while True:
            with open(f"/proc/{pid}/status") as f:
                at = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in f if line.startswith("Rss")}
            if not at:  # it has ended
                return
            for name, value in at.items():
                most[name] = max(value, most.get(name, 0))
            time.sleep(0.005)
    except OSError:
        return


def tail(path):
    with open(path, errors="replace") as f:
        lines = [line.strip() for line in f if line.strip()]
    return lines[-1][:200] if lines else ""


def kept(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def keep(path, value):
    with open(path + ".new", "w") as f:
        json.dump(value, f, indent=1)
    os.replace(path + ".new", path)


def key(point):
    return " ".join(map(str, point))


class Contestant:
    """What both kinds share: a folder `at` with `index/`, `build.json` (seconds, bytes) and `recalls.json`."""

    def __init__(self, name, run, folder):
        self.name, self.run, self.at = name, run, os.path.join(run.cache, folder)
        self.index = os.path.join(self.at, "index")
        self.resident, self.overhead, self.failed, self.asked = {}, None, None, False

    def ensure(self, anew):
        """Builds unless that was done before; what was known of the old index goes with it."""
        self.built = kept(os.path.join(self.at, "build.json"))
        if anew or not self.usable(self.built):
            shutil.rmtree(self.at, ignore_errors=True)
            os.makedirs(self.index)
            self.built = self.build()
            self.built["bytes"] = size_of(self.index)
            keep(os.path.join(self.at, "build.json"), self.built)
        return self.built

    def usable(self, built):
        return bool(built)

    def recall(self, point):
        """Of all queries; it does not depend on mode and threads, so it is kept."""
        path = os.path.join(self.at, "recalls.json")
        known = kept(path)
        name = f"k={self.run.k} queries={self.run.queries} {key(point)}"
        if name not in known:
            self.asked = True
            known[name] = self.ask_recall(point)
            keep(path, known)
        return known[name]


class Peer(Contestant):
    """A peer in a process of its own, which stays for the whole run with its index in memory."""

    voisin = False

    def __init__(self, name, run):
        if name not in ENGINES:
            raise SystemExit(f"--peers: no peer {name}; there are {', '.join(ENGINES)}")
        super().__init__(name, run, name)
        self.process = None

    def start(self, threads):
        self.log = os.path.join(self.at, "worker.log")
        words = [self.name, self.index, self.run.data, threads, self.run.nlist, self.run.k, self.run.queries]
        with open(self.log, "a") as log:
            command = [sys.executable, os.path.join(HERE, "worker.py"), *map(str, words)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(threads)
            )
        self.hear()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process = None
            raise Failed(f"its process ended with {code}: {tail(self.log)}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, do, **more):
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def stop(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def build(self):
        self.start(self.run.build_threads)
        try:
            return {**self.ask("build"), "what": describe(self.name, self.run)}
        finally:
            self.stop()

    def open(self):
        self.stop()
        self.start(self.run.threads)
        loaded = self.ask("load")
        self.grid = [[tuple(p) for p in group] for group in loaded["grid"]]

    def ask_recall(self, point):
        return self.ask("recall", point=point)["recall"]

    def quick(self, point, mode):
        """A first idea of the speed, in CPU seconds where one thread works, so that other work on the machine matters less."""
        few = self.run.few
        if mode == "single":  # an exhaustive search takes its time
            first = self.ask("measure", point=point, mode=mode, queries=10)
            few = max(10, min(few, int(first["cpu_qps"])))
        got = self.ask("measure", point=point, mode=mode, queries=few, warm=min(few, 50))
        return got["cpu_qps" if self.run.threads == 1 else "qps"]

    def measure(self, point, mode, queries):
        return self.ask("measure", point=point, mode=mode, queries=queries, warm=min(queries, 100))

    def note_memory(self, mode, point):
        """After some searches in this mode: everything that a search touches is in memory."""
        self.resident[mode] = {"resident_bytes": self.ask("memory")["resident_bytes"]}
        if mode == "single":
            self.overhead = self.ask("overhead")["seconds"]


class Voisin(Contestant):
    """An index of voisin, searched by its binary: a process for every measurement, timed inside, warmed up by a pass that does not count."""

    voisin = True

    def __init__(self, spec, run):
        super().__init__(f"voisin {spec}", run, "voisin-" + re.sub(r"[^A-Za-z0-9.-]+", "_", spec).strip("_"))
        self.spec = spec

    def call(self, *words, threads, most=None):
        """The JSON object of one run, the most memory it took (pages of mapped files as far as touched), its seconds of CPU."""
        os.makedirs(self.at, exist_ok=True)
        log = os.path.join(self.at, "voisin.log")
        command = [self.run.binary, *map(str, words), "--threads", str(threads), "--json", "--quiet"]
        with open(log, "w") as err:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, env=environment(threads))
            if most is not None:
                follow(process.pid, most)
            out = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stdout.close()
        if process.returncode:
            with open(log, errors="replace") as f:
                said = " ".join(f.read().split("hint:")[0].split()).removeprefix("error: ")
                if said.startswith("recall = "):
                    raise Unreachable(said)
                raise Failed(said[:200] or f"exit code {process.returncode}")
        return json.loads(out), used.ru_maxrss * 1024, used.ru_utime + used.ru_stime

    def usable(self, built):
        return bool(built) and (built["binary"] == self.run.digest() or self.run.keep_voisin)

    def build(self):
        words = ["build", "--base", f"{self.run.data}::train", "--index", self.spec, "-o", self.index, *self.run.metric]
        used, start = machine_seconds(), time.perf_counter()
        report, peak, own = self.call(*words, threads=self.run.build_threads)
        seconds = time.perf_counter() - start
        return {
            "build_seconds": seconds,  # reading, writing and the start of the process included
            "stages": report["seconds"],
            "build_threads": self.run.build_threads,
            "others": share_of_others(machine_seconds() - used, own, seconds),
            "peak_grew_bytes": peak,
            "rss_grew_bytes": None,
            "what": report["spec"],
            "version": f"voisin {report['version']}",
            "binary": self.run.digest(),
        }

    def open(self):
        refines = self.run.refines if "Refine" in self.built["what"] and self.run.has("--refine") else []
        nlist = re.search(r"(?:IVF|LMI)(\d+)", self.built["what"])
        lists = [p for p in LISTS if nlist and p <= int(nlist[1])] or [1]
        ways = []
        if self.run.by != "recall" or not nlist:
            ways.append([("--nprobe", p) for p in lists])
        if self.run.by != "nprobe" and nlist:
            ways.append([("--recall", r) for r in ASKED])
        self.grid = [[(*p, "--refine", r) for p in way] for way in ways for r in refines] or ways

    def stop(self):
        pass

    def search(self, point, mode, queries, threads, warm, most=None):
        out = os.path.join(self.at, "found.npz")
        words = ["search", self.index, "--queries", self.run.queries_file(queries), "-k", self.run.k, *point]
        words += ["--mode", mode, "-o", out] + (["--warm-up", warm] if warm and self.run.has("--warm-up") else [])
        report, peak, _ = self.call(*words, threads=threads, most=most)
        with np.load(out) as z:
            return report, peak, self.run.recall(z["neighbors"])

    def ask_recall(self, point):
        return self.search(point, "batch", self.run.queries, self.run.build_threads, 0)[2]

    def quick(self, point, mode):
        return self.search(point, mode, self.run.few, self.run.threads, 1)[0]["queries_per_second"]

    def measure(self, point, mode, queries):
        report, _, recall = self.search(point, mode, queries, self.run.threads, 1)
        got = {"qps": report["queries_per_second"], "recall": recall}
        if "latency_ms" in report:
            got["latency_ms"] = report["latency_ms"]
        return got

    def note_memory(self, mode, point):
        """Of a process that searches all queries at this point: at most, and of that what is not a page of a mapped file."""
        most = {}
        peak = self.search(point, mode, self.run.queries, self.run.threads, 0, most)[1]
        self.resident[mode] = {"resident_bytes": peak, "anonymous_bytes": most.get("RssAnon"), "point": list(point)}


class Run:
    """What all contestants of a run share: the file, the numbers, where things are kept."""

    def __init__(self, a, scratch):
        self.data, self.k, self.threads, self.build_threads = os.path.abspath(a.data), a.k, a.threads, a.build_threads
        self.binary, self.refines, self.scratch = a.voisin, a.refines, scratch
        self.keep_voisin, self.by = a.keep_voisin, a.by
        self.metric = ["--metric", a.metric] if a.metric else []
        with h5py.File(self.data) as f:
            self.n, self.d = f["train"].shape
            self.queries = min(a.queries or len(f["test"]), len(f["test"]))
            self.truth = f["neighbors"][: self.queries]
            distance = f.attrs.get("distance", "euclidean")
            self.distance = distance.decode() if isinstance(distance, bytes) else str(distance)
        self.ip = self.distance != "euclidean"
        if self.truth.shape[1] < self.k:
            raise SystemExit(f"-k {self.k}: {a.data} has {self.truth.shape[1]} true neighbours a query")
        self.few = min(self.queries, 500)
        self.nlist = a.nlist or int(2 ** round(np.log2(4 * np.sqrt(self.n))))
        stem = os.path.splitext(os.path.basename(a.data))[0]
        self.cache = os.path.join(a.cache or scratch, f"{stem}-{self.n}x{self.d}-nlist{self.nlist}")
        os.makedirs(self.cache, exist_ok=True)
        self._digest = self._help = None

    def digest(self):
        if self._digest is None:
            with open(self.binary, "rb") as f:
                self._digest = hashlib.file_digest(f, "sha256").hexdigest()
        return self._digest

    def has(self, option):
        """Whether `voisin search` knows an option, also one that its help does not name."""
        if self._help is None:
            self._help = {}
        if option not in self._help:
            tried = subprocess.run([self.binary, "search", "/nowhere", "--id", "0", option, "1"], capture_output=True, text=True)
            self._help[option] = "unexpected argument" not in tried.stderr
        return self._help[option]

    def queries_file(self, count):
        """The first `count` queries in a file of their own."""
        path = os.path.join(self.scratch, f"queries-{count}.hdf5")
        if not os.path.exists(path):
            with h5py.File(self.data) as f, h5py.File(path, "w") as g:
                g["test"] = f["test"][:count]
        return path

    def recall(self, found):
        hits = sum(len(np.intersect1d(row[: self.k], true[: self.k])) for row, true in zip(found, self.truth))
        return hits / (len(found) * self.k)
