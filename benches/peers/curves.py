"""Points of recall and speed: which are worth measuring, what lies between them, and the tables."""
import math
import statistics


def front(points, slack=1.0):
    """Those than which none with at least their recall is more than `slack` times as fast; by recall. Points: (recall, speed, ...)."""
    keep = [p for p in points if not any(q[0] >= p[0] and q[1] > slack * p[1] for q in points)]
    return sorted(keep, key=lambda p: p[:2])


def around(points, targets):
    """Of points by recall, for every target the nearest below and the nearest at or above."""
    chosen = []
    for t in targets:
        below = [p for p in points if p[0] < t]
        above = [p for p in points if p[0] >= t]
        chosen += below[-1:] + above[:1]
    return sorted(set(chosen))


def worth(points, targets, slack=1.1):
    """Of the front the two points around each target, and what is nearly as fast between them."""
    chosen = set()
    for t in targets:
        best = around(front(points), [t])
        chosen.update(best)
        chosen.update(p for p in front(points, slack) if best and best[0][0] <= p[0] <= best[-1][0])
    return sorted(chosen)


def speed_at(points, target):
    """Queries a second at a recall: between the two nearest points of the front, straight in (recall, log speed); None if not reached."""
    line = front(points)
    above = [p for p in line if p[0] >= target]
    if not above:
        return None
    below = [p for p in line if p[0] < target]
    (r1, q1), (r0, q0) = above[0][:2], (below[-1] if below else above[0])[:2]
    if r1 == r0:
        return q1
    share = (target - r0) / (r1 - r0)
    return math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0)))


def number(x, unit=1, digits=3):
    if x is None:
        return "–"
    x = x / unit
    if abs(x) >= 10 ** (digits - 1):
        return f"{x:,.0f}"
    return f"{x:.{digits}g}"


def markdown(head, rows):
    cells = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


MIB = 2**20


def results_table(results, mode, targets, floats):
    """A row for each contestant; those that failed say why."""
    speeds = [f"q/s at {t:g}" for t in targets]
    head = ["contestant", "build s", "index MiB", "of f32", "resident MiB", *speeds, "call µs"]
    rows = []
    for r in results:
        if r.get("failed"):
            rows.append([r["name"], f"not measured: {r['failed']}"] + [""] * (len(head) - 2))
            continue
        at = [number(r["modes"][mode]["at"].get(f"{t:g}")) for t in targets]
        b = r["build"]
        seconds = number(b["build_seconds"]) + ("*" if b["busy"] else "")
        call = number(r["overhead_seconds"], 1e-6) if mode == "single" and r["overhead_seconds"] else "–"
        resident = number(r["modes"][mode]["resident_bytes"], MIB)
        if r["modes"][mode].get("anonymous_bytes"):
            resident += f" (own {number(r['modes'][mode]['anonymous_bytes'], MIB)})"
        rows.append([r["name"], seconds, number(b["bytes"], MIB), f"{b['bytes'] / floats:.3f}", resident, *at, call])
    return markdown(head, rows)


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else "–"


def ratios_table(results, mode, targets):
    """How many times faster each index of voisin is than each peer, and what it takes compared with it."""
    ok = [r for r in results if not r.get("failed")]
    peers = [r for r in ok if not r["voisin"]]
    middle = f"{targets[len(targets) // 2]:g}"
    speeds = [f"speed at {t:g}" for t in targets]
    head = ["voisin / peer", *speeds, f"at {middle}, calls taken off", "build: times faster", "index: part of", "resident: part of"]
    rows = []
    for ours in (r for r in ok if r["voisin"]):
        for peer in peers:
            x, y = ours["modes"][mode], peer["modes"][mode]
            at = [ratio(x["at"].get(f"{t:g}"), y["at"].get(f"{t:g}")) for t in targets]
            net = y["at"].get(middle)
            if net and mode == "single" and peer["overhead_seconds"]:
                net = 1 / max(1 / net - peer["overhead_seconds"], 1e-9)
            faster = ratio(peer["build"]["build_seconds"], ours["build"]["build_seconds"])
            if peer["build"]["busy"] or ours["build"]["busy"]:
                faster += "*"
            size = ratio(ours["build"]["bytes"], peer["build"]["bytes"])
            memory = ratio(x["resident_bytes"], y["resident_bytes"])
            name = f"{ours['name'].removeprefix('voisin ')} / {peer['name']}"
            rows.append([name, *at, ratio(x["at"].get(middle), net), faster, size, memory])
    return markdown(head, rows) if rows else ""


def median_points(measured):
    """{point: [one result a round]} to dicts with medians and the spread between rounds."""
    points = []
    for point, rounds in measured.items():
        speeds = [r["qps"] for r in rounds]
        middle = statistics.median(speeds)
        row = {"point": list(point), "recall": rounds[-1]["recall"], "qps": middle, "rounds": [round(s, 1) for s in speeds]}
        row["spread"] = round((max(speeds) - min(speeds)) / middle, 3)
        if "latency_ms" in rounds[0]:
            row["latency_ms"] = {q: statistics.median(r["latency_ms"][q] for r in rounds) for q in rounds[0]["latency_ms"]}
        points.append(row)
    return sorted(points, key=lambda p: p["recall"])
