"""Makes tests/data/partition: what torch and faiss compute on small inputs.

    python tests/data/make_partition.py      (needs numpy, torch, faiss-cpu)

torch.json: a perceptron 6-8-5-4, its logits on 11 rows, and its weights after 1 and after 5 steps of Adam on all of them.
faiss.json: 300 points of 8 integers, and the objective faiss.Kmeans ends with (k = 10, 25 iterations, best of 5 runs).
"""
import json
import os

import faiss
import numpy as np
import torch

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "partition")
os.makedirs(here, exist_ok=True)


def save(name, value):
    with open(os.path.join(here, name), "w") as f:
        json.dump(value, f)
        f.write("\n")


def state(net):
    return [
        {"weight": [[float(x) for x in row] for row in layer.weight.detach().numpy()], "bias": layer.bias.detach().tolist()}
        for layer in net
        if isinstance(layer, torch.nn.Linear)
    ]


torch.manual_seed(7)
net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
x = torch.randn(11, 6)
y = torch.randint(0, 4, (11,))
out = {"x": x.tolist(), "y": y.tolist(), "layers": state(net), "logits": net(x).tolist()}
adam = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(1, 6):
    adam.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    adam.step()
    if step in (1, 5):
        out[f"after_{step}"] = state(net)
    if step == 1:
        out["loss"] = loss.item()
save("torch.json", out)

rng = np.random.default_rng(3)
centers = rng.integers(-50, 50, (14, 8))
points = (centers[rng.integers(0, 14, 300)] + rng.integers(-12, 13, (300, 8))).astype(np.float32)
km = faiss.Kmeans(8, 10, niter=25, nredo=5, seed=1, min_points_per_centroid=1)
km.train(points)
save("faiss.json", {"points": points.astype(int).tolist(), "objective": float(km.obj[-1])})
