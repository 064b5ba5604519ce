"""Makes tests/data/text/* with NumPy and Python's csv module, the references for text. Run: python make_text.py

expected.json holds what numpy.loadtxt reads from each file, as float32, and the names. Deterministic.
"""
import csv
import json
import os

import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "text")
os.makedirs(OUT, exist_ok=True)
os.chdir(OUT)
rng = np.random.RandomState(11)
x = rng.standard_normal((12, 4)).astype(np.float32)
x[0] = [1e-30, -2.5e20, 0.1, -0.0]
names = ["plain", "with space", "comma, inside", 'quo"te', "ünïcode", "7", "a/b.jpg", "x", "y", "z", "last one", "12"]
expected = {}


def keep(name, ids=None, **options):
    if ids is None:
        y = np.loadtxt(name, ndmin=2, dtype=np.float64, **options)
    else:
        with open(name, newline="", encoding="utf-8-sig") as f:
            rows = list(csv.reader(f, delimiter=options["delimiter"]))[options.get("skiprows", 0):]
        ids = [r[0] for r in rows]
        y = np.array([[float(v) for v in r[1:]] for r in rows])
    expected[name] = {"shape": list(y.shape), "values": y.astype(np.float32).ravel().tolist(), "ids": ids}


np.savetxt("savetxt.txt", x)
keep("savetxt.txt")
np.savetxt("savetxt.csv", x, delimiter=",", header="four columns\nof numbers")
keep("savetxt.csv", delimiter=",")
np.savetxt("short.tsv", x, delimiter="\t", fmt="%.4g")
keep("short.tsv", delimiter="\t")
np.savetxt("semicolon.dat", x, delimiter=";", fmt="%.9g")
keep("semicolon.dat", delimiter=";")
np.savetxt("header.csv", x, delimiter=",", header="w,x,y,z", comments="")
keep("header.csv", delimiter=",", skiprows=1)
np.savetxt("crlf.csv", x, delimiter=",", newline="\r\n")
keep("crlf.csv", delimiter=",")
np.savetxt("one_column.txt", x[:, :1])
keep("one_column.txt")
for name, dialect, start in [("names.csv", ",", ["id", "a", "b", "c", "d"]), ("names.tsv", "\t", None)]:
    with open(name, "w", newline="", encoding="utf-8-sig" if start else "utf-8") as f:
        w = csv.writer(f, delimiter=dialect)
        if start:
            w.writerow(start)
        for n, row in zip(names, x):
            w.writerow([n] + [repr(float(v)) for v in row])
    keep(name, ids=names, delimiter=dialect, skiprows=1 if start else 0)
with open("messy.txt", "w") as f:
    f.write("# a comment\n\n   1   2.5\t-3 \n#another\n\t+4 5e0 .5\n\n-0 1E+2 7.\n")
keep("messy.txt")
with open("trailing.csv", "w") as f:
    f.write("1,2,3,\n4,5,6,\n")
expected["trailing.csv"] = {"shape": [2, 3], "values": [1, 2, 3, 4, 5, 6], "ids": None}
with open("words.vec", "w") as f:
    f.write("3 4\nthe 1 2 3 4\n12 5 6 7 8\nof 9 10 11 12\n")
expected["words.vec"] = {"shape": [3, 4], "values": list(range(1, 13)), "ids": ["the", "12", "of"]}

with open("expected.json", "w") as out:
    json.dump(expected, out, separators=(",", ":"))
    out.write("\n")
