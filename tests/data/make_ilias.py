"""A small data set in the layout of ILIAS, and what numpy makes of it in f64.

Features are f16, chunked and gzipped, ids variable-length strings; shards of distractors differ in size, one is empty.
Expected are similarities of the nearest k for each query (plain; through a linear layer; with query expansion; with selected
distractors), and the evaluation of the plain ones as the figures are defined: AP@k over groups of equal similarity, positives
of other groups of scale or clutter taken out.
"""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np

out = Path(__file__).parent / "ilias"
out.mkdir(exist_ok=True)
(out / "image_ids").mkdir(exist_ok=True)
rng = np.random.default_rng(11)
d, d_out, k, expand = 24, 10, 40, 3
names = [f"object-{i:02}" for i in range(12)]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def save(name, rows, ids, chunks):
    with h5py.File(out / f"{name}.hdf5", "w", track_order=False) as f:
        f.create_dataset("index", data=ids, dtype=h5py.string_dtype(encoding="ascii"))
        more = dict(chunks=chunks, compression="gzip", compression_opts=4) if len(rows) else {}
        f.create_dataset("features", data=rows, **more)
    return rows.astype(np.float64)


centres = unit(rng.standard_normal((12, d)))
f16 = lambda x: unit(x).astype(np.float16)
queries_ids = [f"{n}/query/Q{j}.jpg" for n in names for j in range(1 + (n == "object-03"))]
of = [names.index(q.split("/")[0]) for q in queries_ids]
queries = save("image_queries", f16(centres[of] + 0.12 * rng.standard_normal((len(of), d))), queries_ids, (5, 8))
positives_ids = [f"{n}/pos/P{j}.jpg" for i, n in enumerate(names) for j in range(1 + i % 4)]
of_positive = [names.index(p.split("/")[0]) for p in positives_ids]
positives = save("positives", f16(centres[of_positive] + 0.2 * rng.standard_normal((len(of_positive), d))), positives_ids, (7, 24))
shards, shard_ids = [], []
for s, n in enumerate([90, 0, 35, 151]):
    near = centres[rng.integers(0, 12, n)] + 0.25 * rng.standard_normal((n, d))
    shard_ids.append([f"{s:06}.tar/img{s}_{i:03}.jpg" for i in range(n)])
    shards.append(save(f"distractors_{s:05}", f16(near) if n else np.zeros((0, d), np.float16), shard_ids[-1], (32, 7)))

scales, clutters = np.round(rng.random(len(positives)) ** 2, 4), rng.integers(1, 80, len(positives))
lists = out / "image_ids"
(lists / "image_query_ids.txt").write_text("".join(f"{q},0.5\n" for q in queries_ids))
(lists / "text_query_ids.txt").write_text("".join(f"{n}/text/T0\n" for n in names))
(lists / "positive_ids.txt").write_text("".join(f"{p},{s:.4f},{c}\n" for p, s, c in zip(positives_ids, scales, clutters)))
category = {n: (f"kind{i % 3}", f"sub{i % 2}") for i, n in enumerate(names)}
taxonomy = {}
for n, (c, s) in category.items():
    taxonomy.setdefault(c, {}).setdefault(s, {}).setdefault("leaf", []).append(n)
(out / "taxonomy.json").write_text(json.dumps(taxonomy, indent=1))
gt = {n: [p for p in positives_ids if p.startswith(n + "/")] for n in names}
(out / "gt.json").write_text(json.dumps(gt, indent=1))
chosen = [i for i in shard_ids[0] + shard_ids[2] + shard_ids[3] if rng.random() < 0.3]
(out / "selected.txt").write_text("".join(i.split("/")[1] + "\n" for i in chosen) + "unknown_1.jpg\nunknown_2.jpg\n")

# one linear layer, with the names of a state dict of torch
weight, bias = rng.standard_normal((d_out, d)).astype(np.float32), (0.1 * rng.standard_normal(d_out)).astype(np.float32)
np.savez(out / "layer.npz", **{"layer.weight": weight, "layer.bias": bias})

base, base_ids = np.vstack([positives, *shards]), positives_ids + sum(shard_ids, [])
adapt = lambda x: unit(x @ weight.astype(np.float64).T + bias)


def search(q, x, k):
    sims = q @ x.T
    order = np.argsort(-sims, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(sims, order, 1)


def expanded(q, x, n):
    order, sims = search(q, x, n)
    return unit(q + (sims[:, :, None] * x[order]).sum(1))


def as_rows(order, sims, ids):
    return {q: [[ids[i] for i in o], [round(float(s), 7) for s in row]] for q, o, row in zip(queries_ids, order, sims)}


def average_precision(found, scores, relevant, k):
    """Sum over groups of equal scores of (hits in the group) * precision at its end, over min(k, relevant)."""
    found, scores = np.asarray(found[:k], float), np.asarray(scores[:k])
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(found)[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / min(k, relevant)) if found.any() else 0.0


def evaluate(order, sims, k):
    scale_groups = [(0, 0.06880213760855043), (0.06880213760855043, 0.13526567164179104), (0.13526567164179104, 0.2729876723163842), (0.2729876723163842, float("inf"))]
    groups = {"scale": (scales, scale_groups), "clutter": (clutters, [(0, 18), (18, 33), (33, 53), (53, float("inf"))])}
    aps, oracles, by = [], [], {"scale": {}, "clutter": {}}
    categories, subcategories = {}, {}
    for q, o, s in zip(queries_ids, order, sims):
        own = q.split("/")[0]
        mine = [i for i, p in enumerate(positives_ids) if p.startswith(own + "/")]
        s = np.float32(s)
        ap = 100 * average_precision(np.isin(o, mine), s, len(mine), k)
        aps.append(ap)
        oracles.append(100 * np.isin(o[:k], mine).sum() / len(mine))
        for name, (values, bounds) in groups.items():
            for a, b in bounds:
                kept = [i for i in mine if a <= values[i] < b]
                left = ~np.isin(o, [i for i in mine if i not in kept])
                if kept:
                    value = 100 * average_precision(np.isin(o[left], kept), s[left], len(kept), k)
                    by[name].setdefault(f"{a}-{b}", []).append(value)
        c, sub = category[own]
        categories.setdefault(c, {}).setdefault(own, []).append(ap)
        subcategories.setdefault(f"{c}-{sub}", {}).setdefault(own, []).append(ap)
    mean = lambda groups: {g: float(np.mean(v)) for g, v in groups.items()}
    nested = lambda groups: {g: float(np.mean([np.mean(v) for v in of.values()])) for g, of in groups.items()}
    out = dict(map=float(np.mean(aps)), oracle=float(np.mean(oracles)), aps=aps)
    return out | {n: mean(v) for n, v in by.items()} | dict(categories=nested(categories), subcategories=nested(subcategories))


def relevance(order, k):
    """mAP, precision, nDCG by rank."""
    aps, precision, gains = [], [], []
    for q, o in zip(queries_ids, order):
        mine = [i for i, p in enumerate(positives_ids) if p.startswith(q.split("/")[0] + "/")]
        hit = np.isin(o[:k], mine)
        at = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        aps.append((at * hit).sum() / min(k, len(mine)))
        precision.append(hit.sum() / k)
        discount = 1 / np.log2(np.arange(k) + 2)
        gains.append((hit * discount[: len(hit)]).sum() / discount[: min(k, len(mine))].sum())
    return dict(map=float(np.mean(aps)), precision=float(np.mean(precision)), ndcg=float(np.mean(gains)))


plain = search(queries, base, k)
selected = [i for i, name in enumerate(base_ids) if i < len(positives) or name in chosen]
few = search(queries, base[selected], k)
few_ids = [base_ids[i] for i in selected]
expected = {
    "plain": as_rows(*plain, base_ids),
    "adapt": as_rows(*search(adapt(queries), adapt(base), k), base_ids),
    "qe": as_rows(*search(expanded(queries, base, expand), base, k), base_ids),
    "selected": as_rows(*few, few_ids),
    "selected_qe": as_rows(*search(expanded(queries, base[selected], expand), base[selected], k), few_ids),
    "adapt_qe": as_rows(*search(expanded(adapt(queries), adapt(base), expand), adapt(base), k), base_ids),
    "evaluation": evaluate(*plain, k),
    "evaluation_10": evaluate(*plain, 10),
    "relevance": {str(at): relevance(plain[0], at) for at in (1, 5, 40)},
}
(out / "expected.json").write_text(json.dumps(expected))

# the nearest five as the data set's search pickles them, and under the names that its evaluation asks for
order, sims = (x[:, :5] for x in plain)
rows, ranks = np.unique(order, return_inverse=True)
table = dict(query_ids=np.array(queries_ids), db_ids=np.array([base_ids[i] for i in rows]))
table |= dict(sims=sims.astype(np.float32), ranks=ranks.reshape(order.shape))
(out / "sims.pkl").write_bytes(pickle.dumps(table))
table = dict(query_ids=table["query_ids"].astype(object), db_ids=table["db_ids"].astype(object), similarities=table["sims"], ranks=table["ranks"])
(out / "similarities.pkl").write_bytes(pickle.dumps(table))
