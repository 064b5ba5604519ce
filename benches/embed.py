"""`voisin embed`: images a second on one core, and precision@10 by class beside an RGB histogram.

    python benches/embed.py --data DIR      DIR with icons/ (folders are classes) and photos/ (JPEG of about 640 pixels)

Both sides of the precision are compared by L2, an image itself left out; the histogram has 8 x 8 x 8 bins of the image as
it is, over white. Photographs have no classes: those of a series (the name before its number) are taken for one. Needs
numpy, h5py and Pillow.
"""
import argparse
import json
import pathlib
import re
import subprocess
import tempfile

import h5py
import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent


def histogram(path):
    image = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    white.alpha_composite(image)
    r, g, b = np.asarray(white.convert("RGB")).reshape(-1, 3).T // 32
    counts = np.bincount(r.astype(int) * 64 + g * 8 + b, minlength=512)
    return counts / counts.sum()


def precision(rows, labels, k=10):
    rows = np.asarray(rows, np.float32)
    squares, hits = (rows**2).sum(1), 0
    for i in range(0, len(rows), 512):
        d = squares - 2 * rows[i : i + 512] @ rows.T
        d[np.arange(len(d)), np.arange(i, i + len(d))] = np.inf
        near = np.argpartition(d, k, axis=1)[:, :k]
        hits += (labels[near] == labels[i : i + 512, None]).sum()
    return hits / len(rows) / k


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data", help="folder with icons/ and photos/")
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--speed", action="store_true", help="the speed alone")
    a = ap.parse_args()
    for name in ["icons", "photos"]:
        folder = a.data / name
        with tempfile.TemporaryDirectory() as d:
            out = pathlib.Path(d) / "f.h5"
            words = ["embed", folder, "-o", out, "--threads", "1", "--json", "--quiet"]
            runs = []
            for _ in range(a.repeat):
                done = subprocess.run([ROOT / "target/release/voisin", *map(str, words)], check=True, stdout=subprocess.PIPE)
                runs.append(json.loads(done.stdout))
            seconds = sorted(r["seconds"]["total"] for r in runs)[len(runs) // 2]
            print(f"{name}: {runs[0]['n']} images in {seconds:.2f} s on one core, {runs[0]['n'] / seconds:.0f}/s", flush=True)
            if a.speed:
                continue
            with h5py.File(out) as f:
                rows, ids = f["features"][:], f["index"].asstr()[:]
        labels = np.array([i.split("/")[0] if "/" in i else re.sub(r"[-_]?\d*\.\w+$", "", i) for i in ids])
        ours = precision(rows, labels)
        theirs = precision([histogram(folder / i) for i in ids], labels)
        print(f"{name}: precision@10 {ours:.4f}, RGB histogram {theirs:.4f}: {ours / theirs:.2f} x", flush=True)


if __name__ == "__main__":
    main()
