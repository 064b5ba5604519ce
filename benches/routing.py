#!/usr/bin/env python3
"""Choosing lists for queries of another kind: recall@10 against vectors compared, for `IVF`, `LMI` and `Paired` lists with and without a
router, on debtext (one-line descriptions of packages search long ones).

Routers and paired centroids see the captions whose rows are not among the test queries (`query_rows-2k.npy`). (a) The test queries are captions
(`queries-2k.h5`, the captions of those rows). (b) Queries of the base's own kind: 2,000 descriptions, which are left out of another base, with
routers and centroids from the same captions. Lists hold plain vectors, so that recall is the share of the true ten in the lists visited. Figures at
equal vectors compared are read off between two numbers of lists, straight in (log vectors, recall)."""
import h5py
import numpy as np
from common import arguments, scratch, voisin

a = arguments(__doc__, lists=(1024, "lists"), queries=(0, "captions for training, 0 for all"))
TARGETS = (0.6, 0.7, 0.8, 0.9, 0.95)
PROBES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256)
KINDS = {"IVF": f"IVF{a.lists}", "LMI": f"LMI{a.lists}({a.lists})", "Paired": f"Paired{a.lists}"}


def routed(word):
    return word[:-1] + ",router)" if word.endswith(")") else word + "(router)"


def curve(tmp, base, queries, spec, files):
    """(vectors compared, recall) for each number of lists, and what the build says of the router."""
    more = ["--captions", files["train"]] if spec.startswith("Paired") else []
    more += ["--queries", files["train"]] if "router" in spec else []
    built = voisin("build", "--base", base, "--metric", "cosine", "--index", f"{spec},Flat", "--calibrate", 0, *more, "--threads", a.threads, "-o", f"{tmp}/index")
    points = []
    for nprobe in PROBES:
        found = voisin("search", f"{tmp}/index", "--queries", queries, "--nprobe", nprobe, "--truth", files["truth"], "-o", f"{tmp}/r.npz")
        points.append((found["scanned_per_query"], found["recall"]["10"]))
    return np.array(points), built


def table(tmp, title, base, queries, files):
    voisin("exact", "--base", base, "--queries", queries, "--metric", "cosine", "-k", 10, "-o", files["truth"])
    plain, rows, told = None, [], []
    for kind, word in KINDS.items():
        for spec in (word, routed(word)):
            points, built = curve(tmp, base, queries, spec, files)
            plain = points if plain is None else plain
            budgets = [np.interp(t, plain[:, 1], np.log(plain[:, 0]), left=np.nan, right=np.nan) for t in TARGETS]
            rows.append((spec, [np.interp(b, np.log(points[:, 0]), points[:, 1], left=np.nan, right=np.nan) for b in budgets]))
            told.append(f"{spec}: build {built['seconds']['total']:.1f} s, of which training {built['seconds']['train']:.1f} s; {built.get('router', '')}")
    print(f"\n{title}\n\n| vectors compared a query |", " | ".join(f"{np.exp(b):,.0f}" for b in budgets), "|\n|---|" + "---|" * len(TARGETS))
    for spec, recalls in rows:
        print(f"| `{spec}` |", " | ".join("-" if np.isnan(r) else f"{r:.3f}".lstrip("0") for r in recalls), "|")
    print("\n" + "\n".join(told), flush=True)
    return dict(rows)


with scratch() as tmp:
    text = a.data / "debtext"
    test = np.load(text / "query_rows-2k.npy")
    captions = np.load(text / "captions.npy")
    with h5py.File(next(text.glob("base-n=*.h5"))) as f:
        base = f["emb"][:]
    left = np.setdiff1d(np.arange(len(base)), test)
    train = left if not a.queries else np.random.default_rng(1).permutation(left)[: a.queries]
    files = {name: f"{tmp}/{name}.npy" for name in ("base", "rest", "train", "captions", "descriptions")} | {"truth": f"{tmp}/truth.h5"}
    for name, rows in (("base", base), ("rest", base[left]), ("train", captions[train]), ("captions", captions[test]), ("descriptions", base[test])):
        np.save(files[name], rows)
    print(f"{len(train):,} captions to train on")
    found = table(tmp, "(a) captions search descriptions", files["base"], files["captions"], files)
    at = TARGETS.index(0.8)
    gain = found[routed(KINDS["IVF"])][at] - found[KINDS["IVF"]][at]
    print(f"\nrouter against plain IVF at {TARGETS[at]}: {100 * gain:+.1f} points   goal +3: {'reached' if gain >= 0.03 else 'MISSED'}")
    table(tmp, "(b) descriptions search descriptions", files["rest"], files["descriptions"], files)
