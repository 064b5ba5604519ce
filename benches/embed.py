"""`voisin embed`: images a second on one core, and precision@10 by class beside an RGB histogram; models beside onnxruntime.

    python benches/embed.py --data DIR      DIR with icons/ (folders are classes) and photos/ (JPEG of about 640 pixels)
    python benches/embed.py resnet18 --data DIR [--threads 1] [--onnxruntime libonnxruntime.so]

Both sides of the precision are compared by L2, an image itself left out; the histogram has 8 x 8 x 8 bins of the image as
it is, over white. Photographs have no classes: those of a series (the name before its number) are taken for one. Needs
numpy, h5py and Pillow.

resnet18: torchvision's architecture with random weights on photos/ at 224 pixels, exported by torch. onnxruntime gets the
images from Pillow (decoded, shorter side 256, bilinear, the middle), one at a time. The time of the model alone is here
that of the whole less that of a model which only takes the mean of the pixels; there it is taken around `run`. With
--onnxruntime voisin (built with --features ort) runs on that library too. Needs torch, torchvision and onnxruntime.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

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


def voisin(*words, library=None):
    environment = os.environ | ({"VOISIN_ONNXRUNTIME": str(library)} if library else {})
    words = [ROOT / "target/release/voisin", *map(str, words), "--json", "--quiet"]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def median(seconds):
    return sorted(seconds)[len(seconds) // 2]


def export_models(folder):
    import torch
    import torchvision

    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    torch.manual_seed(0)
    resnet = torchvision.models.resnet18()
    resnet.fc = torch.nn.Identity()
    x = torch.randn(1, 3, 224, 224)
    for name, model in [("resnet18", resnet), ("mean", Mean())]:
        names = {"input_names": ["input"], "output_names": ["features"], "dynamic_axes": {"input": {0: "n"}}}
        torch.onnx.export(model.eval(), x, folder / f"{name}.onnx", dynamo=False, opset_version=17, **names)


def with_onnxruntime(session, paths):
    """Vectors, seconds in all, seconds in the model."""
    start, inside, rows = time.perf_counter(), 0.0, []
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    for path in paths:
        image = Image.open(path).convert("RGB")
        w, h = image.size
        w, h = (256, 256 * h // w) if w <= h else (256 * w // h, 256)
        image = image.resize((w, h), Image.Resampling.BILINEAR)
        left, top = round((w - 224) / 2), round((h - 224) / 2)
        x = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
        x = np.ascontiguousarray(((x - mean) / std).transpose(2, 0, 1)[None])
        before = time.perf_counter()
        rows.append(session.run(None, {"input": x})[0][0])
        inside += time.perf_counter() - before
    return np.stack(rows), time.perf_counter() - start, inside


def resnet18(a):
    import onnxruntime

    photos = a.data / "photos"
    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        export_models(d)
        out = d / "f.h5"

        def ours(model, library):
            return voisin("embed", photos, "-o", out, "--model", d / f"{model}.onnx", "--threads", a.threads, library=library)

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = a.threads
        session = onnxruntime.InferenceSession(d / "resnet18.onnx", options, ["CPUExecutionProvider"])
        ours("resnet18", None)
        with h5py.File(out) as f:
            rows, ids = f["features"][:], f["index"].asstr()[:]
        paths = [photos / i for i in ids]
        expected = with_onnxruntime(session, paths)[0]
        cosines = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
        n = len(ids)
        print(f"{n} photographs, {a.threads} threads, medians of {a.repeat}; smallest cosine {cosines.min():.6f}", flush=True)
        figures = {}
        for library in [None, a.onnxruntime] if a.onnxruntime else [None]:
            runs = [(ours("resnet18", library), ours("mean", library)) for _ in range(a.repeat)]
            whole, rest = (median([r[i]["seconds"]["total"] for r in runs]) for i in range(2))
            figures[f"voisin, {runs[0][0]['runtime']}"] = whole, whole - rest
        runs = [with_onnxruntime(session, paths)[1:] for _ in range(a.repeat)]
        peer = median([r[0] for r in runs]), median([r[1] for r in runs])
        for name, (whole, inside) in [*figures.items(), ("onnxruntime, Pillow", peer)]:
            ratios = f"{whole / peer[0]:.2f} x and {inside / peer[1]:.2f} x the time"
            print(f"{name:24} {n / whole:6.1f} images/s whole, {1000 * inside / n:6.2f} ms an image in the model: {ratios}", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data", help="folder with icons/ and photos/")
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--speed", action="store_true", help="the speed alone")
    ap.add_argument("what", nargs="?", default="descriptor", choices=["descriptor", "resnet18"])
    ap.add_argument("--threads", type=int, default=1, help="resnet18: threads on both sides")
    ap.add_argument("--onnxruntime", type=pathlib.Path, help="resnet18: library that voisin is to use too")
    a = ap.parse_args()
    if a.what == "resnet18":
        return resnet18(a)
    for name in ["icons", "photos"]:
        folder = a.data / name
        with tempfile.TemporaryDirectory() as d:
            out = pathlib.Path(d) / "f.h5"
            runs = [voisin("embed", folder, "-o", out, "--threads", 1) for _ in range(a.repeat)]
            seconds = median([r["seconds"]["total"] for r in runs])
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
