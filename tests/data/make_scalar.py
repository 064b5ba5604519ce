"""Makes tests/data/scalar: scalar codes by faiss.

    python tests/data/make_scalar.py      (needs numpy, faiss-cpu)

faiss.json: 400 rows to train on and 60 others of 9 dimensions (multiples of 1/64: normal, skewed, with many zeros, constant), and
for each kind of code what FAISS trained (vmin, vdiff), the codes of the 60 rows in hexadecimal, and what they decode to.
"""
import json
import os

import faiss
import numpy as np

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scalar")
os.makedirs(here, exist_ok=True)
rng = np.random.default_rng(11)
n = 460
x = np.empty((n, 9))
x[:, 0:3] = rng.standard_normal((n, 3))
x[:, 3] = 20 + 5 * rng.standard_normal(n)
x[:, 4] = rng.exponential(2, n)
x[:, 5] = np.maximum(rng.standard_normal(n), 0)
x[:, 6] = -1.5
x[:, 7] = rng.standard_t(3, n)
x[:, 8] = rng.integers(-3, 3, n)
x = (np.round(x * 64) / 64).astype(np.float32)
train, rows = x[:400], x[400:]
QT = faiss.ScalarQuantizer
out = {"d": 9, "train": train.flatten().tolist(), "rows": rows.flatten().tolist(), "kinds": {}}
for name, kind in [
    ("SQ8", QT.QT_8bit),
    ("SQ4", QT.QT_4bit),
    ("SQ8(uniform)", QT.QT_8bit_uniform),
    ("SQ4(uniform)", QT.QT_4bit_uniform),
    ("F16", QT.QT_fp16),
]:
    sq = faiss.ScalarQuantizer(9, kind)
    sq.train(np.ascontiguousarray(train))
    codes = sq.compute_codes(np.ascontiguousarray(rows))
    out["kinds"][name] = {
        "trained": faiss.vector_to_array(sq.trained).tolist(),
        "codes": codes.tobytes().hex(),
        "decoded": [float("%.8g" % v) for v in sq.decode(codes).flatten()],
    }
with open(os.path.join(here, "faiss.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
