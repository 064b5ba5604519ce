"""Makes tests/data/captions: images, captions of another distribution, their pairs, and paired k-means by numpy in f64.

    python tests/data/make_captions.py      (needs numpy, h5py)

images.npy (300 x 8), captions.npy (360 x 8; captions lie in a cone of their own) and queries.npy (60 x 8, captions too).
pairs.h5: the nearest image of every caption by cosine, as `exact -k 1 --layout sisap` writes it (knns from 1).
paired.json: for cosine and l2 the centroids of paired k-means (arXiv 2402.04416) after 1, 2 and 3 iterations from the first 6
images: every pair goes to the centroid nearest to its image, every centroid to the mean of the captions of its pairs, at unit
length under cosine.
"""

import json
from pathlib import Path

import h5py
import numpy as np

out = Path(__file__).parent / "captions"
out.mkdir(exist_ok=True)
rng = np.random.default_rng(11)
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
centres = rng.normal(size=(12, 8))
cone, turn = rng.normal(size=8), np.linalg.qr(rng.normal(size=(8, 8)))[0]


def images(n):
    return (centres[rng.integers(0, 12, n)] * 2 + rng.normal(size=(n, 8)) * 0.7).astype(np.float32)


def captions(n):
    meant = centres[rng.integers(0, 12, n)] * 2 + rng.normal(size=(n, 8)) * 0.7
    return (meant + 0.35 * meant @ turn + 2.0 * cone).astype(np.float32)


x, c, q = images(300), captions(360), captions(60)
np.save(out / "images.npy", x)
np.save(out / "captions.npy", c)
np.save(out / "queries.npy", q)

similar = unit(c.astype(np.float64)) @ unit(x.astype(np.float64)).T
pairs = similar.argmax(1)
with h5py.File(out / "pairs.h5", "w") as f:
    f["knns"] = (pairs + 1)[:, None].astype(np.int32)
    f["dists"] = (1 - similar.max(1))[:, None].astype(np.float32)


def clear(keys, what):
    """No two of the best so near that f32 could swap them."""
    best = np.sort(keys, 1)
    assert (best[:, 1] - best[:, 0]).min() > 1e-5, what


clear(-similar, "pairs")
expected = {"start": list(range(6)), "pairs": pairs.tolist()}
for metric in ["cosine", "l2"]:
    a, b = (unit(v.astype(np.float64)) if metric == "cosine" else v.astype(np.float64) for v in (x, c))
    centroids, steps = a[:6].copy(), {}
    for step in (1, 2, 3):
        keys = ((a[:, None, :] - centroids[None]) ** 2).sum(2)
        clear(keys[pairs], f"{metric}, iteration {step}")
        lists = keys.argmin(1)[pairs]
        assert len(np.unique(lists)) == 6, "no list is empty"
        centroids = np.stack([b[lists == l].mean(0) for l in range(6)])
        if metric == "cosine":
            centroids = unit(centroids)
        steps[step] = centroids.round(9).tolist()
    expected[metric] = steps
(out / "paired.json").write_text(json.dumps(expected) + "\n")
