"""Makes tests/data/explain/map.json: what scikit-learn computes on rows that the tests make from the same formula.

    python tests/data/make_explain.py      (needs numpy, scikit-learn)

pca: places on the two largest components, their shares of the variance, and the trustworthiness of that plane. trust:
trustworthiness of places that are partly right. tsne: divergence and trustworthiness of exact t-SNE, perplexity 30.
"""
import json
import os

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "explain")
os.makedirs(here, exist_ok=True)


def noise(n, seed):
    """Numbers in [-1, 1), multiples of 2^-23: exact in f32."""
    i = np.arange(n, dtype=np.uint64)
    i = (i * 2 + 1) * (seed * 2 + 1) * 0x9E3779B97F4A7C15
    i = (i ^ (i >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    i = i ^ (i >> np.uint64(32))
    return (i >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def blobs(n, d, lists, seed):
    """Rows around places, shrinking from one dimension to the next, then mixed."""
    places = noise(lists * d, seed).reshape(lists, d)
    z = (3 * places[np.arange(n) % lists] + noise(n * d, seed + 1).reshape(n, d)) * 0.85 ** np.arange(d)
    mix = noise(d * d, seed + 2).reshape(d, d)
    return (z @ mix).astype(np.float32)


def case(n, d, lists, seed):
    return {"n": n, "d": d, "lists": lists, "seed": seed}, blobs(n, d, lists, seed).astype(np.float64)


out = {"pca": [], "trust": [], "tsne": []}
for n, d, lists in [(120, 12, 9), (90, 600, 7), (30, 400, 30)]:
    c, x = case(n, d, lists, 3)
    p = PCA(n_components=2, svd_solver="full").fit(x)
    y = p.transform(x)
    trust = trustworthiness(x, y, n_neighbors=min(12, (n - 1) // 2))
    out["pca"].append({**c, "places": np.round(y, 5).tolist(), "shares": p.explained_variance_ratio_.tolist(), "trustworthiness": trust})
for n, d, lists in [(100, 6, 9), (26, 6, 4), (9, 4, 3)]:
    c, x = case(n, d, lists, 5)
    y = np.round(x[:, :2] + 2 * noise(2 * n, 8).reshape(n, 2), 4)
    trust = trustworthiness(x, y, n_neighbors=min(12, (n - 1) // 2))
    out["trust"].append({**c, "places": y.tolist(), "trustworthiness": trust})
for n, d, lists in [(300, 16, 11), (200, 500, 40)]:
    c, x = case(n, d, lists, 3)
    t = TSNE(method="exact", init="pca", perplexity=30, learning_rate="auto", random_state=0)
    y = t.fit_transform(x)
    out["tsne"].append({**c, "divergence": float(t.kl_divergence_), "trustworthiness": trustworthiness(x, y, n_neighbors=12)})
with open(os.path.join(here, "map.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
for name in out:
    print(name, [{k: v for k, v in c.items() if k != "places"} for c in out[name]])
