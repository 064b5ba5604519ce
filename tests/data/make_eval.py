#!/usr/bin/env python3
"""Fixture of the evaluation tests: random results with near-ties, and the numbers numpy gives for them. Deterministic."""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(7)
n, nq, k = 60, 24, 10
out = {}
for metric in ("l2", "ip"):
    # few distinct values and steps near the 1e-3 slack, so that ties and the threshold matter
    all_d = np.round(rng.integers(0, 40, (nq, n)) * 0.05 + rng.integers(0, 4, (nq, n)) * 0.0006, 4).astype(np.float32)
    sign = -1 if metric == "ip" else 1
    order = np.argsort(sign * all_d, axis=1, kind="stable")
    truth = order[:, :k]
    seen = np.stack([np.sort(rng.choice(n, 34, replace=False)) for _ in range(nq)])
    found = np.stack([s[np.argsort(sign * all_d[i, s], kind="stable")][:k] for i, s in enumerate(seen)])
    td, fd = (np.take_along_axis(all_d, x, 1) for x in (truth, found))
    case = {"truth": truth.tolist(), "truth_d": td.tolist(), "found": found.tolist(), "found_d": fd.tolist(), "expected": {}}
    for m in (1, 5, 10):
        by_id = np.array([len(np.intersect1d(found[i, :m], truth[i, :m])) / m for i in range(nq)])
        slack = np.float64(1e-3)
        limit = td[:, m - 1 : m].astype(np.float64) + sign * slack
        f64 = fd[:, :m].astype(np.float64)
        by_d = (f64 >= limit if metric == "ip" else f64 <= limit).mean(1)
        case["expected"][str(m)] = {
            name: {
                "mean": v.mean(),
                "half": 1.96 * v.std(ddof=1) / np.sqrt(nq),
                "worst_tenth": np.sort(v)[: -(-nq // 10)].mean(),
            }
            for name, v in (("id", by_id), ("distance", by_d))
        }
    ranks = [np.flatnonzero(found[i] == truth[i, 0]) for i in range(nq)]
    case["mrr"] = float(np.mean([1 / (r[0] + 1) if len(r) else 0.0 for r in ranks]))
    case["truth_d"], case["found_d"] = (np.round(x.astype(float), 4).tolist() for x in (td, fd))
    out[metric] = case
path = pathlib.Path(__file__).with_name("eval") / "numpy.json"
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
