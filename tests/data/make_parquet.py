"""Makes tests/data/parquet/*.parquet with pyarrow. Values as in make_hdf5.py: ((7i + 3j) mod 64 - 32) / 8, or times 8 for integers."""
import os
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parquet")
N, D = 37, 5
i, j = np.indices((N, D))
whole = (7 * i + 3 * j) % 64 - 32
signed = (whole / 8).astype(np.float32)
names = [f"Süd/img_{k:03d}.jpg" for k in range(N)]


def fixed(values, kind):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), D)


def ragged(rows, kind):
    return pa.array(rows, pa.list_(kind))


def write(name, columns, **options):
    pq.write_table(pa.table(columns), os.path.join(OUT, name), **{"row_group_size": 10, "compression": "zstd", **options})


write("fixed_f32.parquet", {"id": names, "emb": fixed(signed, pa.float32()), "caption": ["x"] * N}, compression="snappy")
write("list_f64.parquet", {"emb": ragged(signed.tolist(), pa.float64()), "index": pa.array(np.arange(N) * 3)}, compression="gzip")
write("f16.parquet", {"emb": fixed(signed.astype(np.float16), pa.float16())}, use_dictionary=False)
write(
    "integers.parquet",
    {
        "i8": fixed(whole, pa.int8()),
        "u8": fixed(whole + 32, pa.uint8()),
        "i64": fixed(whole, pa.int64()),
        "score": pa.array(np.arange(N), pa.float32()),
    },
)
write("v2_lz4.parquet", {"emb": ragged(signed.tolist(), pa.float32())}, compression="lz4", data_page_version="2.0", row_group_size=100)
write("small_pages.parquet", {"emb": fixed(signed, pa.float32())}, data_page_size=64, write_batch_size=3, use_byte_stream_split=True, use_dictionary=False)
rows = signed.tolist()
write("short_row.parquet", {"emb": ragged(rows[:23] + [rows[23][:4]] + rows[24:], pa.float32())})
write("null_row.parquet", {"emb": ragged(rows[:23] + [None] + rows[24:], pa.float32())})
write("null_value.parquet", {"emb": ragged(rows[:23] + [rows[23][:4] + [None]] + rows[24:], pa.float32())})
write("null_id.parquet", {"emb": ragged(rows, pa.float32()), "id": names[:11] + [None] + names[12:]})
write("two.parquet", {"a": ragged(rows, pa.float32()), "b": fixed(signed, pa.float32())})
write("no_rows.parquet", {"emb": ragged([], pa.float32())})
