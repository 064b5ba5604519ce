"""The peers, one class each: build on f32 rows, save, load, search. Nothing here times anything.

A parameter of a search is a tuple; `grid()` gives them as groups within which recall grows from one to the next.
"""
import os

LISTS = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
EF = [10, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768]
SMALL = 16  # rows of the index that shows what a call costs without searching


class Faiss:
    """An index of faiss.index_factory; parameters (nprobe, k_factor), (nprobe,), (ef,) or ()."""

    def __init__(self, job, spec, factors=()):
        import faiss
        import numpy

        self.faiss, self.np, self.job, self.spec, self.factors = faiss, numpy, job, spec, factors
        self.metric = faiss.METRIC_INNER_PRODUCT if job.ip else faiss.METRIC_L2

    def version(self):
        return f"faiss {self.faiss.__version__} ({self.faiss.get_compile_options().strip()})"

    def grid(self):
        if self.spec == "Flat":
            return [[()]]
        if self.spec.startswith("HNSW"):
            return [[(e,) for e in EF]]
        lists = [p for p in LISTS if p <= self.job.nlist]
        return [[(p, f) for p in lists] for f in self.factors] or [[(p,) for p in lists]]

    def threads(self, count):
        self.faiss.omp_set_num_threads(count)

    def build(self, X):
        self.index = self.faiss.index_factory(X.shape[1], self.spec, self.metric)
        if self.spec.startswith("HNSW"):
            self.index.hnsw.efConstruction = 200
        self.index.train(X)
        self.index.add(X)

    def save(self, folder):
        self.faiss.write_index(self.index, os.path.join(folder, "index.faiss"))

    def load(self, folder):
        self.index = self.faiss.read_index(os.path.join(folder, "index.faiss"))

    def set(self, p):
        space = self.faiss.ParameterSpace()
        if self.spec.startswith("HNSW"):
            space.set_index_parameter(self.index, "efSearch", p[0])
        elif p:
            space.set_index_parameter(self.index, "nprobe", p[0])
            self.lists = p[0]
            if len(p) > 1:
                space.set_index_parameter(self.index, "k_factor_rf", p[1])

    def one(self, row):
        return self.index.search(row, self.job.k)[1][0]

    def many(self, rows):
        if "RaBitQfs" not in self.spec:
            return self.index.search(rows, self.job.k)[1]
        # its tables of all queries and lists pass 2^31 bytes unnoticed, which ends the process (faiss 1.15)
        step = max(1, 2**30 // (self.lists * 4 * self.job.d))
        parts = [self.index.search(rows[i : i + step], self.job.k)[1] for i in range(0, len(rows), step)]
        return parts[0] if len(parts) == 1 else self.np.concatenate(parts)

    def empty_call(self, X):
        """The same call on an index with next to nothing in it."""
        small = self.faiss.IndexFlat(X.shape[1], self.metric)
        small.add(X[:SMALL])
        return lambda row: small.search(row, 1)[1][0]


class Hnswlib:
    """hnswlib with M = 16, efConstruction = 200; parameter (ef,)."""

    def __init__(self, job):
        import hnswlib

        self.hnswlib, self.job = hnswlib, job

    def version(self):
        from importlib.metadata import version

        return f"hnswlib {version('hnswlib')}"

    def grid(self):
        return [[(e,) for e in EF]]

    def empty(self, d):
        return self.hnswlib.Index(space="ip" if self.job.ip else "l2", dim=d)

    def threads(self, count):
        self.count = count
        if hasattr(self, "index"):
            self.index.set_num_threads(count)

    def build(self, X):
        self.index = self.empty(X.shape[1])
        self.index.init_index(max_elements=len(X), M=16, ef_construction=200)
        self.index.set_num_threads(self.count)
        self.index.add_items(X)

    def save(self, folder):
        self.index.save_index(os.path.join(folder, "index.hnswlib"))

    def load(self, folder):
        self.index = self.empty(self.job.d)
        self.index.load_index(os.path.join(folder, "index.hnswlib"))
        self.index.set_num_threads(self.count)

    def set(self, p):
        self.index.set_ef(max(p[0], self.job.k))

    def one(self, row):
        return self.index.knn_query(row, k=self.job.k)[0][0]

    def many(self, rows):
        return self.index.knn_query(rows, k=self.job.k)[0]

    def empty_call(self, X):
        small = self.empty(X.shape[1])
        small.init_index(max_elements=SMALL, M=16, ef_construction=10)
        small.set_num_threads(1)
        small.add_items(X[:SMALL])
        small.set_ef(1)
        return lambda row: small.knn_query(row, k=1)[0][0]


class Usearch:
    """usearch, f32, connectivity 16; parameter (expansion,)."""

    def __init__(self, job):
        import usearch
        from usearch.index import Index

        self.name, self.Index, self.job = f"usearch {usearch.__version__}", Index, job

    def version(self):
        return self.name

    def grid(self):
        return [[(e,) for e in EF]]

    def empty(self, d):
        return self.Index(ndim=d, metric="ip" if self.job.ip else "l2sq", dtype="f32", connectivity=16, expansion_add=200)

    def threads(self, count):
        self.count = count

    def build(self, X):
        import numpy as np

        self.index = self.empty(X.shape[1])
        self.index.add(np.arange(len(X)), X, threads=self.count)

    def save(self, folder):
        self.index.save(os.path.join(folder, "index.usearch"))

    def load(self, folder):
        self.index = self.Index.restore(os.path.join(folder, "index.usearch"), view=False)

    def set(self, p):
        self.index.expansion_search = max(p[0], self.job.k)

    def one(self, row):
        return self.index.search(row[0], self.job.k, threads=1).keys

    def many(self, rows):
        return self.index.search(rows, self.job.k, threads=self.count).keys

    def empty_call(self, X):
        import numpy as np

        small = self.empty(X.shape[1])
        small.add(np.arange(SMALL), X[:SMALL])
        return lambda row: small.search(row[0], 1, threads=1).keys


class Scann:
    """ScaNN: tree, anisotropic codes of 2 dimensions in 4 bits, reordering; parameters (leaves, reorder)."""

    def __init__(self, job, soar=False):
        import scann

        self.scann, self.job, self.soar = scann, job, soar

    def version(self):
        from importlib.metadata import version

        return f"scann {version('scann')}"

    def grid(self):
        lists = [p for p in LISTS if p <= self.job.nlist]
        return [[(p, r) for p in lists] for r in (20, 40, 100, 200)]

    def builder(self, X, k):
        return self.scann.scann_ops_pybind.builder(X, k, "dot_product" if self.job.ip else "squared_l2")

    def threads(self, count):
        self.count = count
        if hasattr(self, "index"):
            self.index.set_num_threads(count)

    def build(self, X):
        b = self.builder(X, self.job.k)
        b.set_n_training_threads(self.count)
        more = {"soar_lambda": 1.5} if self.soar else {}
        sample = min(len(X), 250000)
        b = b.tree(num_leaves=self.job.nlist, num_leaves_to_search=10, training_sample_size=sample, **more)
        self.index = b.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def save(self, folder):
        at = os.path.join(folder, "scann")
        os.makedirs(at, exist_ok=True)
        self.index.serialize(at, relative_path=True)

    def load(self, folder):
        self.index = self.scann.scann_ops_pybind.load_searcher(os.path.join(folder, "scann"))
        self.threads(self.count)

    def set(self, p):
        self.how = {"final_num_neighbors": self.job.k, "leaves_to_search": p[0], "pre_reorder_num_neighbors": p[1]}

    def one(self, row):
        return self.index.search(row[0], **self.how)[0]

    def many(self, rows):
        call = self.index.search_batched if self.count == 1 else self.index.search_batched_parallel
        return call(rows, **self.how)[0]

    def empty_call(self, X):
        small = self.builder(X[:SMALL], 1).score_brute_force().build()
        return lambda row: small.search(row[0])[0]


RERANK = (4, 10, 20)
ENGINES = {
    "faiss-flat": lambda job: Faiss(job, "Flat"),
    "faiss-ivfflat": lambda job: Faiss(job, f"IVF{job.nlist},Flat"),
    "faiss-ivfpqfs": lambda job: Faiss(job, f"IVF{job.nlist},PQ{job.d // 2}x4fs,RFlat", RERANK),
    "faiss-rabitqfs": lambda job: Faiss(job, f"IVF{job.nlist},RaBitQfs,RFlat", RERANK),
    "faiss-rabitqfs4": lambda job: Faiss(job, f"IVF{job.nlist},RaBitQfs4,RFlat", (2, 4, 10)),
    "faiss-hnsw32": lambda job: Faiss(job, "HNSW32"),
    "hnswlib": Hnswlib,
    "scann": Scann,
    "scann-soar": lambda job: Scann(job, soar=True),
    "usearch": Usearch,
}
USUAL = ["faiss-flat", "faiss-ivfflat", "faiss-ivfpqfs", "faiss-rabitqfs", "faiss-hnsw32", "hnswlib", "scann", "usearch"]


def describe(name, job):
    """How a peer was set up, in its own words."""
    if name.startswith("faiss"):
        return ENGINES[name](job).spec
    return {
        "hnswlib": "M=16 efConstruction=200",
        "usearch": "f32, connectivity=16 expansion_add=200",
        "scann": f"tree {job.nlist}, AH 2 dims (T=0.2), reorder",
        "scann-soar": f"tree {job.nlist} SOAR 1.5, AH 2 dims (T=0.2), reorder",
    }[name]
