"""A learned metric index the usual way, with faiss and torch: BASE.npy QUERIES.npy TRUTH.npy LISTS PROBES SEARCH_THREADS.

k-means of faiss.Kmeans labels the rows; an MLP d-512-384-LISTS (ReLU) learns the labels: cross-entropy, Adam 1e-3, ten epochs of shuffled
batches of 256; each row is stored where the MLP says; a query scans its most probable lists, one query at a time.
"""
import json
import os
import sys
import time

import faiss
import numpy as np
import torch
from torch import nn

base, queries, truth, lists, probes, search_threads = sys.argv[1:]
lists, threads = int(lists), int(os.environ["OMP_NUM_THREADS"])
faiss.omp_set_num_threads(threads)
torch.set_num_threads(threads)
torch.manual_seed(1234)
X, Q, gt = np.load(base), np.load(queries), np.load(truth)
n, d = X.shape
k = gt.shape[1]

clock = time.perf_counter()
km = faiss.Kmeans(d, lists, niter=25, seed=1234)
km.train(X)
labels = torch.from_numpy(km.index.search(X, 1)[1][:, 0])
model = nn.Sequential(nn.Linear(d, 512), nn.ReLU(), nn.Linear(512, 384), nn.ReLU(), nn.Linear(384, lists))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_of, rows = nn.CrossEntropyLoss(), torch.from_numpy(X)
for _ in range(10):
    for batch in torch.randperm(n).split(256):
        optimizer.zero_grad()
        loss_of(model(rows[batch]), labels[batch]).backward()
        optimizer.step()
with torch.no_grad():
    stored = torch.cat([model(block).argmax(1) for block in rows.split(8192)]).numpy()
order = np.argsort(stored, kind="stable")
bounds = np.searchsorted(stored[order], np.arange(lists + 1))
members = [order[bounds[i] : bounds[i + 1]] for i in range(lists)]
vectors = [np.ascontiguousarray(X[m]) for m in members]
build = time.perf_counter() - clock

faiss.omp_set_num_threads(int(search_threads))
torch.set_num_threads(int(search_threads))
points = {}
with torch.no_grad():
    for nprobe in map(int, probes.split(",")):
        hits, clock = 0, time.perf_counter()
        for i in range(len(Q)):
            visited = model(torch.from_numpy(Q[i : i + 1])).topk(nprobe).indices[0].tolist()
            ids = np.concatenate([members[v] for v in visited])
            near = faiss.knn(Q[i : i + 1], np.concatenate([vectors[v] for v in visited]), min(k, len(ids)))[1][0]
            hits += np.isin(ids[near], gt[i]).sum()
        seconds = time.perf_counter() - clock
        points[nprobe] = {"recall": hits / gt.size, "queries_per_second": len(Q) / seconds}
print(json.dumps({"build": build, "points": points}))
