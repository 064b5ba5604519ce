#!/usr/bin/env python3
"""Makes tests/data/torch: small torch files and expected.json, what torch itself reads from them. Needs torch.

The same values each time; only the keys of storages in the older files (addresses) differ from run to run.
"""
import collections
import json
import pathlib
import pickle

import torch

here = pathlib.Path(__file__).parent / "torch"
here.mkdir(exist_ok=True)
torch.manual_seed(1)
x = torch.arange(12, dtype=torch.float32).reshape(4, 3) / 4 - 1
expected = {}


def table(t):
    """Shape and rows as f32 values."""
    return {"shape": list(t.shape), "values": t.detach().to(torch.float64).flatten().tolist()}


def note(name, sets):
    expected[name] = {k: table(v) for k, v in sets.items()}


def both(stem, value, sets):
    """The same value in the zip and in the older container."""
    torch.save(value, here / f"{stem}.pt")
    torch.save(value, here / f"{stem}_legacy.pt", _use_new_zipfile_serialization=False)
    note(f"{stem}.pt", sets)
    note(f"{stem}_legacy.pt", sets)


for t in [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int32, torch.int64]:
    name = str(t).split(".")[1]
    y = (torch.arange(12).reshape(4, 3) * 5 - (0 if name == "uint8" else 20)).to(t)
    torch.save(y, here / f"{name}.pt")
    note(f"{name}.pt", {"": y})
both("tensor", x, {"": x})
both("transposed", x.T, {"": x.T})
big = torch.arange(60, dtype=torch.float32).reshape(6, 10)
sliced = big[1:6:2, 2:9:3]
both("sliced", sliced, {"": sliced})
both("pair", (x, torch.arange(8).reshape(4, 2)), {"0": x, "1": torch.arange(8).reshape(4, 2)})
both("rows", list(x), {"": x})
both("dict", {"base": x, "test": x + 1, "note": "text"}, {"base": x, "test": x + 1})
shared = {"a": big[:3], "b": big[3:]}
both("shared", shared, shared)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
state = model.state_dict()
both("mlp", state, state)
both("nested", {"epoch": 3, "state_dict": state, "args": None}, {f"state_dict/{k}": v for k, v in state.items()})
wrapped = collections.OrderedDict((f"module.{k}", v) for k, v in state.items())
both("wrapped", {"model": wrapped}, {f"model/{k}": v for k, v in wrapped.items()})
both("parameters", dict(model.named_parameters()), dict(model.named_parameters()))
with open(here / "tensor.pkl", "wb") as f:
    pickle.dump({"emb": x, "ids": list("abcd")}, f)
note("tensor.pkl", {"emb": x})
torch.save(model, here / "module.pt")  # a whole module: code, which must be refused
(here / "expected.json").write_text(json.dumps(expected, indent=0))
