"""Makes tests/data/codes/faiss.json: what faiss and scikit-learn compute on rows that the tests make from the same formula.

    python tests/data/make_codes.py      (needs numpy, faiss-cpu, scikit-learn)

codes: codes of 60 rows under given codebooks, 8 and 4 bits. errors: mean squared error of codes that faiss trained.
pca: components and variances of scikit-learn. opq: mean squared error of faiss's codes without and with its OPQ.
"""
import json
import os

import faiss
import numpy as np
from sklearn.decomposition import PCA

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "codes")
os.makedirs(here, exist_ok=True)
faiss.omp_set_num_threads(1)


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


def error(x, y):
    return float(((x.astype(np.float64) - y) ** 2).sum(1).mean())


out = {"codes": [], "errors": [], "opq": []}
for d, m, bits in [(24, 6, 8), (24, 3, 8), (20, 5, 4), (24, 8, 4)]:
    pq = faiss.ProductQuantizer(d, m, bits)
    faiss.copy_array_to_vector(noise(pq.centroids.size(), 5).astype(np.float32), pq.centroids)
    codes = pq.compute_codes(noise(60 * d, 6).reshape(60, d).astype(np.float32))
    out["codes"].append({"d": d, "m": m, "bits": bits, "codes": codes.tolist()})
for bits in [8, 4]:
    x = blobs(10_000, 16, 60, 1)
    pq = faiss.ProductQuantizer(16, 4, bits)
    pq.train(x)
    out["errors"].append({"bits": bits, "error": error(x, pq.decode(pq.compute_codes(x)))})
x = blobs(700, 12, 9, 3)
p = PCA(n_components=12).fit(x.astype(np.float64))
out["pca"] = {"components": p.components_.tolist(), "variances": (p.explained_variance_ * 699 / 700).tolist()}
for bits in [4, 8]:
    x = blobs(6000, 16, 60, 7)
    plain = faiss.ProductQuantizer(16, 4, bits)
    plain.train(x)
    opq = faiss.OPQMatrix(16, 4)
    inner = faiss.ProductQuantizer(16, 4, bits)
    opq.pq = inner
    opq.train(x)
    y = opq.apply(x)
    pq = faiss.ProductQuantizer(16, 4, bits)
    pq.train(y)
    out["opq"].append(
        {"bits": bits, "plain": error(x, plain.decode(plain.compute_codes(x))), "turned": error(y, pq.decode(pq.compute_codes(y)))}
    )
with open(os.path.join(here, "faiss.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
print(out["errors"], out["opq"], out["pca"]["variances"])
