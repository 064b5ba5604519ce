"""What the comparisons share: both sides run in turns, a process each, and medians are compared."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches" / "peers"


def arguments(text, **more):
    """Options of every comparison; `more` are further ones: name=(default, help)."""
    ap = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data", help="folder with debtext/ and sift-photo-100k/")
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--repeat", type=int, default=3)
    for name, (default, what) in more.items():
        ap.add_argument("--" + name, type=type(default), default=default, help=what)
    a = ap.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    print(f"# {processor()}, {a.threads} threads, medians of {a.repeat} runs in turns")
    return a


def processor():
    try:
        lines = open("/proc/cpuinfo").read().splitlines()
        return next(l.split(":", 1)[1].strip() for l in lines if l.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


def voisin(*words):
    """One run of voisin with --json."""
    out = subprocess.run(command(*words), check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)


def command(*words):
    return [ROOT / "target" / "release" / "voisin", *map(str, words), "--json", "--quiet"]


def peer(name, threads, *words):
    """One run of a script of peers/, which prints one JSON object as its last line."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    out = subprocess.run([sys.executable, PEERS / f"{name}.py", *map(str, words)], check=True, stdout=subprocess.PIPE, env=env)
    return json.loads(out.stdout.splitlines()[-1])


def in_turns(repeat, **sides):
    """Runs every side once, then again, `repeat` times; the results by side."""
    results = {name: [] for name in sides}
    for _ in range(repeat):
        for name, run in sides.items():
            results[name].append(run())
    return results


def median(results, *path):
    def value(r):
        for key in path:
            r = r[key]
        return r

    return statistics.median(value(r) for r in results)


def line(what, ours, theirs, unit="s", goal=None):
    """Both figures and how many times better ours is (smaller seconds, larger rates)."""
    ratio = theirs / ours if unit == "s" else ours / theirs
    verdict = "" if goal is None else f"   goal {goal:g} x: {'reached' if ratio >= goal else 'MISSED'}"
    print(f"{what:44s} voisin {ours:10.4g} {unit:4s} peer {theirs:10.4g} {unit:4s} {ratio:6.2f} x{verdict}", flush=True)
    return ratio


def scratch():
    return tempfile.TemporaryDirectory(prefix="voisin-bench-")
