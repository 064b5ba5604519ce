#!/usr/bin/env python3
"""Makes tests/data/pickle: small pickles and expected.json, what Python itself reads from them. Needs numpy."""
import collections
import json
import os
import pathlib
import pickle

import numpy as np

here = pathlib.Path(__file__).parent / "pickle"
here.mkdir(exist_ok=True)
x = (np.arange(12).reshape(4, 3) / 4 - 1).astype("f4")
names = ["one", "two", "drei", "vier\u00e9"]
expected = {}


def save(name, value, sets, ids=None, protocols=(5,)):
    for p in protocols:
        file = f"{name}.pkl" if len(protocols) == 1 else f"{name}_p{p}.pkl"
        (here / file).write_bytes(pickle.dumps(value, protocol=p))
        note = {k: {"shape": list(v.shape), "values": v.astype("f8").ravel().tolist()} for k, v in sets.items()}
        expected[file] = {"sets": note, "ids": ids}


every = (0, 1, 2, 3, 4, 5)
save("array", x, {"": x}, protocols=every)
save("fortran", np.asfortranarray(x), {"": x}, protocols=every)
save("lists", x.tolist(), {"": x}, protocols=every)
for t in ["f2", "f8", "u1", "i1", "i4", "i8", ">f4", ">f8", ">i2", "?"]:
    y = (np.arange(12).reshape(4, 3) * 3).astype(t)
    save("type_" + t.replace(">", "big_").replace("?", "bool"), y, {"": y}, protocols=(2, 5))

save("axes", np.arange(24, dtype="f4").reshape(4, 3, 2).transpose(0, 2, 1), {})
save("rows", list(x), {"": x}, protocols=(2, 5))
save("rows_2d", [r[None] for r in x], {"": x})
save("scalars", [list(r) for r in x], {"": x}, protocols=(2, 5))
save("by_name", dict(zip(names, x)), {"": x}, names, protocols=every)
save("by_name_ordered", collections.OrderedDict(zip(names, x.tolist())), {"": x}, names, protocols=(2, 4))
save("default", collections.defaultdict(list, {n: r.tolist() for n, r in zip(names, x)}), {"": x}, names)
save("pairs", list(zip(names, x)), {"": x}, names)
save("with_ids", {"features": x, "ids": names}, {"features": x}, names, protocols=(2, 5))
save("with_ids_u", {"features": x, "names": np.array(names)}, {"features": x}, names, protocols=(2, 5))
save("with_ids_s", {"features": x, "names": np.array([b"a", b"bc", b"d", b"e"])}, {"features": x}, ["a", "bc", "d", "e"])
save("with_ids_o", {"features": x, "index": np.array(names, dtype=object)}, {"features": x}, names)
save("tuple", (names, x), {"1": x}, names)
save("two", {"train": x, "test": x[:2]}, {"train": x, "test": x[:2]})
save("nested", {"a": {"b": {"c": x}}}, {"a/b/c": x})
save("shared", {"a": x, "b": x}, {"a": x, "b": x})
ilias = {"query_ids": ["q1", "q2"], "db_ids": names, "sims": np.ones((2, 4), "f4"), "ranks": np.arange(8).reshape(2, 4)}
save("ilias", ilias, {"ranks": ilias["ranks"]}, ["q1", "q2"])


class Code:
    def __reduce__(self):
        return os.system, ("touch executed",)


class Eval:
    def __reduce__(self):
        return eval, ("open('executed', 'w')",)


for p in every:
    (here / f"code_p{p}.pkl").write_bytes(pickle.dumps(Code(), protocol=p))
(here / "eval.pkl").write_bytes(pickle.dumps({"x": x, "y": Eval()}))
(here / "class.pkl").write_bytes(pickle.dumps(collections.Counter(a=1)))
buffers = []
(here / "out_of_band.pkl").write_bytes(pickle.dumps(x, protocol=5, buffer_callback=buffers.append))
(here / "expected.json").write_text(json.dumps(expected, indent=0))
