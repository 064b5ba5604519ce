#!/usr/bin/env python3
"""voisin and its peers on one file (ann-benchmarks HDF5) in one go: curves of recall against speed, build, size, memory, one chart.

    run.py DATA.hdf5 --specs 'IVF4096,RaBitQ4,Refine(SQ8)' --threads 1 --mode both --cache CACHE --out results.json --chart chart.html

Every contestant is built, and searched, in a process of its own. First it is found which search parameters lie around the recalls asked
for (--targets); then every contestant is measured once at each of these in every round, in turns; medians over rounds are reported.
With --cache, indexes and recalls are kept, and a second run only searches; an index of voisin is rebuilt when the binary has changed.
Resident memory: what loading the saved index and searching it added to a peer's process; of voisin the whole process that opened the
folder and searched at the recall of the middle target, pages of mapped files as far as touched, queries included.
"""
import argparse
import datetime
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chart  # noqa: E402
from contestants import Failed, Peer, Run, Unreachable, Voisin, key  # noqa: E402
from curves import around, front, median_points, ratios_table, results_table, speed_at, worth  # noqa: E402
from engines import ENGINES, USUAL  # noqa: E402
from worker import machine_seconds, share_of_others  # noqa: E402

ENOUGH = 0.9985  # recall beyond which a group of parameters is not followed


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", help="train, test, neighbors and the attribute distance (euclidean, angular or ip)")
    ap.add_argument("--specs", nargs="*", default=[], metavar="SPEC", help="indexes of voisin [default: IVFn,Flat with n = --nlist]")
    ap.add_argument("--peers", nargs="*", default=USUAL, metavar="NAME", help=f"of {', '.join(ENGINES)} [default: {', '.join(USUAL)}]")
    ap.add_argument("--mode", choices=["single", "batch", "both"], default="single")
    ap.add_argument("--threads", type=int, default=1, help="of searching [default: 1]")
    ap.add_argument("--build-threads", type=int, default=os.cpu_count())
    ap.add_argument("-k", type=int, default=10)
    ap.add_argument("--queries", type=int, default=2000, metavar="N", help="the first N, 0 for all [default: 2000]")
    ap.add_argument("--nlist", type=int, default=0, help="lists of the peers [default: the power of two nearest to 4 sqrt(n)]")
    ap.add_argument("--targets", nargs="+", type=float, default=[0.9, 0.95, 0.99], metavar="R", help="recalls [default: .90 .95 .99]")
    ap.add_argument("--refines", nargs="+", default=["2", "4", "8"], metavar="R", help="candidates k R of voisin's Refine [default: 2 4 8]")
    ap.add_argument("--by", choices=["nprobe", "recall", "both"], default="nprobe", help="how voisin chooses lists: as many for every query, or by a recall asked for, from the index's calibration")
    ap.add_argument("--metric", help="for voisin [default: what the file says]")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=3.0, help="a measurement takes about so long at most: slow points get fewer queries")
    ap.add_argument("--voisin", default=os.path.join(os.path.dirname(__file__), "..", "..", "target", "release", "voisin"), help="binary")
    ap.add_argument("--cache", metavar="DIR", help="keeps indexes and recalls")
    ap.add_argument("--rebuild", nargs="*", default=[], metavar="NAME", help="build these anew: a peer, `voisin`, `peers` or `all`")
    ap.add_argument("--keep-voisin", action="store_true", help="use voisin's kept indexes though the binary has changed")
    ap.add_argument("--build-only", action="store_true", help="stop when everything is built and the recalls are known")
    ap.add_argument("--out", metavar="JSON")
    ap.add_argument("--chart", metavar="HTML|SVG")
    return ap.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def guard(c, do, *words):
    """The result, or None when the contestant fails, which is then said and kept."""
    if c.failed:
        return None
    try:
        return do(*words)
    except (Failed, OSError, ValueError, KeyError) as e:
        c.failed = str(e) or type(e).__name__
        say(f"{c.name}: not measured: {c.failed}")
        c.stop()
        return None


def recalls(c):
    """(recall, point) of the grid, group by group, each as far as it gets better."""
    c.groups = []
    for group in c.grid:
        found = []
        for point in group:
            try:
                found.append((c.recall(point), point))
            except Unreachable as e:
                say(f"{c.name}: {e}")
                break
            stuck = len(found) > 3 and found[-1][0] - found[-3][0] < 5e-4
            if found[-1][0] >= ENOUGH or (stuck and found[-1][0] > 0.5):
                break
        c.groups += [found] if found else []
    if c.asked and not c.voisin:
        c.open()  # a process anew, so that what those searches took does not count as its memory
    best = max(r for group in c.groups for r, _ in group)
    say(f"{c.name}: recall up to {best:.4f} at {sum(map(len, c.groups))} points")


def choose(c, mode, targets):
    """The points to measure: of every group those around the targets are tried quickly, the best of them stay."""
    tried = {p for group in c.groups for p in around(sorted(group), targets)}
    if not tried:  # all beyond the highest target or all below the lowest
        tried = {group[-1] for group in c.groups}
    quick = [(r, c.quick(p, mode), p) for r, p in sorted(tried)]
    chosen = worth(quick, targets) or front(quick)[-1:]
    c.plan[mode] = [(p, queries_for(c.run, speed, c.limit)) for _, speed, p in chosen]
    c.measured[mode] = {p: [] for _, _, p in chosen}
    reach = [p for r, _, p in chosen if r >= targets[len(targets) // 2]] or [chosen[-1][2]]
    c.note_memory(mode, reach[0])
    say(f"{c.name}, {mode}: " + ", ".join(f"({key(p)}) {r:.4f} {s:,.0f}/s" for r, s, p in chosen))


def queries_for(run, speed, seconds):
    return max(min(100, run.queries), min(run.queries, int(speed * seconds)))


def one_point(c, mode, i):
    if i < len(c.plan[mode]):
        point, queries = c.plan[mode][i]
        got = c.measure(point, mode, queries)
        if queries < c.run.queries:  # the recall of all, not of those few
            got["recall"] = c.recall(point)
        c.measured[mode][point].append(got)


def measure_rounds(contestants, modes, rounds):
    """Every point once a round, the contestants in turns; each round begins with another one."""
    idle = []
    for turn in range(rounds):
        used, pause = machine_seconds(), 0.5
        time.sleep(pause)
        idle.append(share_of_others(machine_seconds() - used, 0, pause))
        say(f"round {turn + 1} of {rounds}; others take {idle[-1]:.0%} of the machine")
        order = contestants[turn % len(contestants) :] + contestants[: turn % len(contestants)]
        for mode in modes:
            for i in range(max((len(c.plan[mode]) for c in contestants if mode in c.plan), default=0)):
                for c in order:
                    guard(c, one_point, c, mode, i)
    return idle


def result(c, modes, targets, threads):
    if c.failed:
        return {"name": c.name, "voisin": c.voisin, "failed": c.failed}
    build = {**c.built, "busy": c.built.get("others", 1) > 0.05}
    row = {"name": c.name, "voisin": c.voisin, "build": build, "overhead_seconds": c.overhead, "modes": {}}
    for mode in modes:
        points = median_points(c.measured[mode])
        plain = [(p["recall"], p["qps"], tuple(p["point"])) for p in points]
        at = {f"{t:g}": speed_at(plain, t) for t in targets}
        row["modes"][mode] = {"points": points, "at": at, **c.resident[mode]}
    return row


def machine():
    with open("/proc/cpuinfo") as f:
        names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {len(names)} cores"


def report(run, results, modes, others, a):
    facts = f"{os.path.basename(run.data)}: {run.n:,} x {run.d}, {run.distance}, {run.queries:,} queries, k = {run.k}"
    how = f"{machine()}; {run.threads} thread{'s' if run.threads > 1 else ''} searching, {run.build_threads} building; medians of {a.rounds} rounds; {datetime.date.today()}"
    if max(others) > 0.05:
        how += f"; the machine was busy with other work (up to {max(others):.0%})"
    print(f"{facts}\n{how}\n")
    for r in results:
        if not r.get("failed"):
            print(f"- {r['name']}: {r['build']['what']} ({r['build']['version']})")
    for mode in modes:
        print(f"\n## {mode}\n\n" + results_table(results, mode, a.targets, run.n * run.d * 4))
        print("\n" + ratios_table(results, mode, a.targets))
    print("\n`*`: built while the machine was busy; --rebuild NAME measures it again. `call µs`: a call on an index of 16 rows, which a peer's")
    print("single queries include. voisin's build includes reading the file and writing the index; a peer's does not.")
    whole = {"data": facts, "how": how, "n": run.n, "d": run.d, "k": run.k, "threads": run.threads, "targets": a.targets, "others": others, "results": results}
    if a.out:
        with open(a.out, "w") as f:
            json.dump(whole, f, indent=1)
    if a.chart:
        chart.write(a.chart, facts, how, results, modes, run.k)


def prepare(contestants, a, targets, modes):
    for c in contestants:
        names = {"all", "voisin" if c.voisin else "peers", c.name, getattr(c, "spec", c.name)}
        c.plan, c.measured, c.limit = {}, {}, a.seconds
        guard(c, c.ensure, bool(names & set(a.rebuild)))
        if not c.failed:
            say(f"{c.name}: built in {c.built['build_seconds']:.1f} s, {c.built['bytes'] / 2**20:,.0f} MiB")
    for c in contestants:
        guard(c, c.open)
        guard(c, recalls, c)
        if a.build_only:
            c.stop()
    for mode in () if a.build_only else modes:
        for c in contestants:
            guard(c, choose, c, mode, targets)


def main():
    a = arguments()
    a.targets = sorted(a.targets)
    modes = ["single", "batch"] if a.mode == "both" else [a.mode]
    with tempfile.TemporaryDirectory(prefix="voisin-peers-") as scratch:
        run = Run(a, scratch)
        if not run.has("--warm-up"):
            say(f"{a.voisin} has no --warm-up: its figures include the first touch of every page")
        specs = a.specs or [f"IVF{run.nlist},Flat"]
        contestants = [Voisin(s, run) for s in specs if s != "none"] + [Peer(p, run) for p in a.peers]
        try:
            prepare(contestants, a, a.targets, modes)
            if a.build_only:
                return
            others = measure_rounds(contestants, modes, a.rounds)
        finally:
            for c in contestants:
                c.stop()
        report(run, [result(c, modes, a.targets, run.threads) for c in contestants], modes, others, a)


if __name__ == "__main__":
    main()
