"""FAISS index files and FAISS's own answers: tests/data/faiss. Needs numpy and faiss-cpu (written with 1.15)."""

import json
from pathlib import Path

import faiss
import numpy as np

OUT = Path(__file__).parent / "faiss"
N, D, NQ, K = 400, 16, 6, 5
rng = np.random.default_rng(7)
centres = rng.normal(size=(12, D)) * 3
base = (centres[rng.integers(12, size=N)] + rng.normal(size=(N, D))).astype("f4")
queries = (base[rng.choice(N, NQ, replace=False)] + rng.normal(size=(NQ, D)) * 0.3).astype("f4")
ids = (10_000 + rng.permutation(N) * 3).astype("i8")

# int64 hashes, as people take them for ids
hashes = rng.integers(-(2**62), 2**62, size=N).astype("i8")

KEPT = []  # what FAISS refers to without owning it
L2, IP = faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT


def ivf_pq(residual, bits=8, metric=L2):
    quantiser = faiss.IndexFlat(D, metric)
    index = faiss.IndexIVFPQ(quantiser, D, 8, 4, bits, metric)
    index.by_residual = residual
    KEPT.append(quantiser)
    return index


def ivf_sq(kind, residual=True, metric=L2):
    quantiser = faiss.IndexFlat(D, metric)
    index = faiss.IndexIVFScalarQuantizer(quantiser, D, 8, kind, metric, residual)
    KEPT.append(quantiser)
    return index


def ivf_flat(metric):
    quantiser = faiss.IndexFlat(D, metric)
    KEPT.append(quantiser)
    return faiss.IndexIVFFlat(quantiser, D, 8, metric)


def refine():
    index = faiss.index_factory(D, "IVF8,PQ4x4,RFlat")
    index.k_factor = 6
    return index


SQ = faiss.ScalarQuantizer
MAKE = {
    "flat_l2": lambda: faiss.IndexFlatL2(D),
    "flat_ip": lambda: faiss.IndexFlatIP(D),
    "ivf_flat": lambda: faiss.index_factory(D, "IVF8,Flat"),
    "ivf_flat_ip": lambda: faiss.index_factory(D, "IVF8,Flat", IP),
    "ivf_pq": lambda: ivf_pq(True),
    "ivf_pq_plain": lambda: ivf_pq(False),
    "ivf_pq4": lambda: ivf_pq(True, 4),
    "ivf_pq_ip": lambda: ivf_pq(True, 8, IP),
    "ivf_pq4_ip": lambda: ivf_pq(True, 4, IP),
    "ivf_sq8": lambda: ivf_sq(SQ.QT_8bit),
    "ivf_sq8_plain": lambda: ivf_sq(SQ.QT_8bit, False),
    "ivf_sq4": lambda: ivf_sq(SQ.QT_4bit),
    "ivf_sq4_plain": lambda: ivf_sq(SQ.QT_4bit, False),
    "ivf_f16": lambda: ivf_sq(SQ.QT_fp16),
    "ivf_sq8_ip": lambda: ivf_sq(SQ.QT_8bit_uniform, True, IP),
    "pq": lambda: faiss.index_factory(D, "PQ4"),
    "pq4": lambda: faiss.index_factory(D, "PQ4x4"),
    "sq8": lambda: faiss.index_factory(D, "SQ8"),
    "sq4_uniform": lambda: faiss.IndexScalarQuantizer(D, SQ.QT_4bit_uniform, L2),
    "f16": lambda: faiss.index_factory(D, "SQfp16"),
    "pca": lambda: faiss.index_factory(D, "PCA8,IVF8,Flat"),
    "pcar": lambda: faiss.index_factory(D, "PCAR8,Flat"),
    "opq": lambda: faiss.index_factory(D, "OPQ4_8,IVF8,PQ4"),
    "rotation": lambda: faiss.index_factory(D, "RR16,IVF8,PQ4"),
    "norm": lambda: faiss.index_factory(D, "L2norm,IVF8,Flat"),
    "norm_pca": lambda: faiss.index_factory(D, "L2norm,PCA8,SQ8"),
    "pca_norm": lambda: faiss.index_factory(D, "PCA8,L2norm,IVF8,Flat", IP),
    "id_map": lambda: faiss.index_factory(D, "IDMap,Flat"),
    "id_map2": lambda: faiss.index_factory(D, "IDMap2,PQ4"),
    "ivf_ids": lambda: faiss.index_factory(D, "IVF8,SQ8"),
    "refine": refine,
    "hnsw": lambda: faiss.index_factory(D, "HNSW8,Flat"),
    "hnsw_ip": lambda: faiss.index_factory(D, "HNSW8,Flat", IP),
    "neg_map": lambda: faiss.index_factory(D, "IDMap,SQ8"),
    "neg_ivf": lambda: faiss.index_factory(D, "IVF8,SQ8"),
    "flat_refined": lambda: faiss.index_factory(D, "IVF8,Flat,RFlat"),
    "empty": lambda: faiss.index_factory(D, "IVF8,PQ4"),
}
WITH_IDS = {"id_map", "id_map2", "ivf_ids"}


def nprobe_of(index):
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def main():
    OUT.mkdir(exist_ok=True)
    answers = {}
    for name, make in MAKE.items():
        faiss.omp_set_num_threads(1)
        index = make()
        index.train(base)
        if name == "empty":
            pass
        elif name.startswith("neg_"):
            index.add_with_ids(base, hashes)
        elif name in WITH_IDS:
            index.add_with_ids(base, ids)
        else:
            index.add(base)
        ivf = nprobe_of(index)
        if ivf is not None:
            ivf.nprobe = 3
        faiss.write_index(index, str(OUT / f"{name}.index"))
        found = {}
        for nprobe in [1, 3, 8] if ivf is not None else [1]:
            if ivf is not None:
                ivf.nprobe = nprobe
            distances, labels = index.search(queries, K)
            found[nprobe] = {"ids": labels.tolist(), "distances": [[float(f"{x:.7g}") for x in row] for row in distances]}
        answers[name] = {"metric": "ip" if index.metric_type == IP else "l2", "ivf": ivf is not None, "found": found}
        if name == "ivf_pq4_ip":
            # further than k, so that all vectors of a distance are there
            distances, labels = index.search(queries, 80)
            answers[name]["deep"] = {"ids": labels.tolist(), "distances": [[float(f"{x:.7g}") for x in r] for r in distances]}
    answers["empty"]["found"] = {}
    np.save(OUT / "queries.npy", queries)
    np.save(OUT / "base.npy", base)
    np.save(OUT / "ids.npy", ids)
    (OUT / "answers.json").write_text(json.dumps(answers))


# Lists under ip: vectors are added where FAISS's quantiser finds the largest product. Trained on all rows; some are filled by
# FAISS with the first half, all are filled with the rest by the test, and FAISS's answers are those of everything.
FILL = {
    "flat_none": (lambda: ivf_flat(IP), 0),
    "flat_half": (lambda: ivf_flat(IP), 200),
    "sq8_none": (lambda: ivf_sq(SQ.QT_8bit, True, IP), 0),
    "sq8_plain_half": (lambda: ivf_sq(SQ.QT_8bit, False, IP), 200),
    "pq_half": (lambda: ivf_pq(True, 4, IP), 200),
    "pq_plain_none": (lambda: ivf_pq(False, 4, IP), 0),
}


def fill():
    out = OUT / "fill"
    out.mkdir(exist_ok=True)
    answers = {}
    # rows and so centroids of many lengths: the nearest is often not that of the largest product
    rows = (rng.normal(size=(N, D)) * rng.uniform(0.3, 3, size=(N, 1)) + 0.5).astype("f4")
    asked = rows[:: N // 10]
    np.save(out / "base.npy", rows)
    np.save(out / "queries.npy", asked)
    for name, (make, first) in FILL.items():
        index = make()
        # of unit length, as FAISS makes them under ip, centroids are nearest in L2 where their product is largest
        index.cp.spherical = name == "flat_none"
        index.train(rows)
        index.nprobe = 1
        if first:
            index.add(rows[:first])
        faiss.write_index(index, str(out / f"{name}.index"))
        np.save(out / f"rest_{first}.npy", rows[first:])
        index.add(rows[first:])
        lists = [faiss.rev_swig_ptr(index.invlists.get_ids(l), index.invlists.list_size(l)).tolist() for l in range(8)]
        nearest = ((rows[:, None] - index.quantizer.reconstruct_n(0, 8)) ** 2).sum(2).argmin(1)
        others = sum(int(nearest[i] != l) for l in range(8) for i in lists[l])
        found = {}
        for nprobe in [1, 2, 3, 5, 8]:
            index.nprobe = nprobe
            distances, labels = index.search(asked, K)
            found[nprobe] = {"ids": labels.tolist(), "distances": [[float(f"{x:.7g}") for x in row] for row in distances]}
        answers[name] = {"first": first, "lists": lists, "others": others, "found": found}
        print(name, others, "of", N, "not in the list of the nearest centroid")
    (out / "answers.json").write_text(json.dumps(answers))


def small():
    """A few vectors each, so that a fuzzer reaches what stands around them: fuzz/fuzz_targets/faiss_search.rs."""
    out = OUT / "small"
    out.mkdir(exist_ok=True)
    few = rng.normal(size=(300, 8)).astype("f4")
    for word in [
        *("Flat", "IVF2,Flat", "IVF2,PQ2x4", "IVF2,SQ8", "IVF2,SQfp16", "IVF2,SQ4", "PQ2x4", "SQ8", "SQ4", "HNSW2,Flat", "IDMap,SQ8", "IDMap,HNSW2,Flat"),
        *("PCA4,IVF2,SQ8", "L2norm,Flat", "OPQ2_4,PQ2x4", "PCA4,L2norm,Flat", "IVF2,PQ2x4,RFlat", "IVF2_HNSW2,Flat", "PCA4,IVF2,Flat,RFlat"),
    ]:
        for metric, end in [(L2, ""), (IP, "_ip")]:
            if end and word not in ("Flat", "IVF2,Flat", "IVF2,PQ2x4", "IVF2,SQ8", "HNSW2,Flat"):
                continue
            index = faiss.index_factory(8, word, metric)
            index.train(few)
            ids = np.arange(8, dtype="i8") * 3 - (4 if word.startswith("IDMap,SQ") else 0)
            index.add_with_ids(few[:8], ids) if word.startswith("IDMap") else index.add(few[:8])
            faiss.write_index(index, str(out / f"small_{word.replace(',', '_')}{end}.index"))


if __name__ == "__main__":
    main()
    fill()
    small()
