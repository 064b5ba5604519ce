"""Makes tests/data/hdf5/*.h5 with h5py, the reference for the HDF5 reader. Run from anywhere: python make_hdf5.py

Every value follows a formula that the tests repeat: row i, column j of a signed set is ((7i + 3j) mod 64 - 32) / 8,
which f16 holds exactly; of an unsigned set (7i + 3j) mod 251.
"""
import os
import h5py
import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hdf5")
N, D = 37, 5


def signed(n=N, d=D, dtype=np.float32):
    i, j = np.indices((n, d))
    return (((7 * i + 3 * j) % 64 - 32) / 8).astype(dtype)


def whole(n=N, d=D, dtype=np.int32):
    i, j = np.indices((n, d))
    return ((7 * i + 3 * j) % 64 - 32).astype(dtype)


def unsigned(n=N, d=D):
    i, j = np.indices((n, d))
    return ((7 * i + 3 * j) % 251).astype(np.uint8)


def new(name, **options):
    return h5py.File(os.path.join(OUT, name), "w", track_order=False, **options)


def names(n=N):
    return [f"Süd/img_{i:03d}.jpg" for i in range(n)]


with new("contiguous_f16.h5") as f:
    f["emb"] = signed(dtype=np.float16)
with new("types.h5") as f:
    f["f32"] = signed()
    f["f64_be"] = signed(dtype=">f8")
    f["f16_be"] = signed(dtype=">f2")
    f["f32_be"] = signed(dtype=">f4")
    f["u8"] = unsigned()
    f["i8"] = whole(dtype=np.int8)
    f["i16"] = whole(dtype=np.int16)
    f["i32"] = whole(dtype=np.int32)
    f["i64_be"] = whole(dtype=">i8")
    f["flags"] = np.array([True, False])
    f["scalar"] = 3.5
    f["cube"] = np.zeros((2, 3, 4), "f4")
    f["line"] = np.arange(4, dtype="f4")
    f["empty"] = np.zeros((0, D), "f4")
with new("chunked.h5") as f:
    # the last chunk row and chunk column are cut by the extent
    f.create_dataset("plain", data=signed(), chunks=(8, 2))
    f.create_dataset("gzip", data=signed(), chunks=(8, 5), compression="gzip", shuffle=True)
    f.create_dataset("f16", data=signed(dtype=np.float16), chunks=(10, 3), compression="gzip", shuffle=True, fletcher32=True)
    f.create_dataset("lzf", data=signed(), chunks=(16, 5), compression="lzf", shuffle=True)
    f.create_dataset("one", data=signed(), chunks=(N, D), compression="gzip")
    grown = f.create_dataset("grown", (8, D), maxshape=(None, D), chunks=(8, D), dtype="f4")
    grown.resize((N, D))
    grown[...] = signed()
    holes = f.create_dataset("holes", (N, D), chunks=(8, D), dtype="f4")
    holes[:8] = signed(8)
with new("latest.h5", libver="latest") as f:
    f.create_dataset("contiguous", data=signed())
    f.create_dataset("single", data=signed(), chunks=(N, D), compression="gzip")
    f.create_dataset("fixed_array", data=signed(), chunks=(8, 2), compression="gzip", shuffle=True)
    f.create_dataset("implicit", data=signed(), chunks=(8, 2))
    f.create_dataset("extensible", data=signed(), chunks=(8, D), maxshape=(None, D), compression="gzip")
    f.create_dataset("btree2", data=signed(), chunks=(8, 2), maxshape=(None, None), compression="gzip")
    f["names"] = names()
with new("ilias.h5") as f:
    f.create_dataset("features", data=signed(dtype=np.float16), chunks=(10, D))
    f.create_dataset("index", data=names(), dtype=h5py.string_dtype())
with new("fixed_ids.h5") as f:
    f["emb"] = signed()
    f["ids"] = np.array([s.encode() for s in names()])
with new("sisap2025.h5") as f:
    f["train"] = signed(dtype=np.float16)
    for part in ("itest", "otest"):
        g = f.create_group(part)
        g["queries"] = signed(4, dtype=np.float16)
        g["knns"] = (np.arange(12, dtype="i4").reshape(4, 3) % N) + 1
        g["dists"] = np.linspace(0, 0.5, 12, dtype="f4").reshape(4, 3)
with new("ann_benchmarks.h5") as f:
    f.attrs["type"] = "dense"
    f.attrs["distance"] = "angular"
    f.attrs["dimension"] = D
    f.attrs["point_type"] = "float"
    f["train"] = signed()
    f["test"] = signed(4)
    f["neighbors"] = np.arange(12, dtype="i4").reshape(4, 3)
    f["distances"] = np.linspace(0, 0.5, 12, dtype="f4").reshape(4, 3)
with new("sisap_truth.h5") as f:
    f.attrs["algo"] = "gold"
    f["knns"] = np.arange(1, 13, dtype="i4").reshape(4, 3)
    f["dists"] = np.linspace(0, 0.5, 12, dtype="f4").reshape(4, 3)
with new("user_block.h5", userblock_size=512) as f:
    f["emb"] = signed()
