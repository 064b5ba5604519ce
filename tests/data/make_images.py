"""Small images of every kind that `voisin embed` reads, some that it must refuse, and descriptors computed here.

Needs numpy and Pillow. The descriptor follows the description in crates/voisin-embed/src/describe.rs, written a second
time with whole arrays; pixels are decoded, turned, laid over white and shrunk by Pillow.

    python make_images.py            writes tests/data/images
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

HERE = Path(__file__).resolve().parent / "images"


def scene(width, height, seed):
    """Shapes and a ramp: no two sides alike, so that a wrong turn shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1)
    image = Image.fromarray(ramp.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x0, y0 = rng.integers(0, width), rng.integers(0, height)
        box = [int(x0), int(y0), int(x0 + rng.integers(4, width)), int(y0 + rng.integers(4, height // 2))]
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=color)
    return image


def with_alpha(image):
    width, height = image.size
    y, x = np.mgrid[0:height, 0:width]
    alpha = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 2.5) ** 2, 255, x * 200 // width)
    return Image.fromarray(np.dstack([np.asarray(image), alpha.astype(np.uint8)]))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_images():
    for folder in ["colour", "grey/deep", "turned", "bad"]:
        (HERE / folder).mkdir(parents=True, exist_ok=True)
    a, b = scene(72, 48, 1), scene(40, 90, 2)
    a.save(HERE / "a.png", optimize=True)
    a.save(HERE / "colour/a.bmp")
    a.save(HERE / "colour/a.webp", lossless=True)
    b.save(HERE / "colour/b.jpg", quality=92)
    b.save(HERE / "colour/b.JPEG", quality=90, progressive=True)
    b.quantize(32).save(HERE / "colour/palette.png", optimize=True)
    a.quantize(16).save(HERE / "colour/first.gif", save_all=True, append_images=[b.resize(a.size).quantize(16)])
    with_alpha(a).save(HERE / "colour/alpha.png", optimize=True)
    with_alpha(b).save(HERE / "colour/alpha.webp", lossless=True)
    clear = a.quantize(16)
    clear.save(HERE / "colour/palette-alpha.png", transparency=3, optimize=True)
    a.convert("L").save(HERE / "grey/grey.png", optimize=True)
    a.convert("L").save(HERE / "grey/grey.jpg", quality=90)
    with_alpha(a).convert("LA").save(HERE / "grey/grey-alpha.png", optimize=True)
    a.convert("1").save(HERE / "grey/bits.png", optimize=True)
    Image.new("RGB", (1, 1), (200, 30, 60)).save(HERE / "grey/deep/one-pixel.png")
    Image.new("RGB", (300, 1), (255, 255, 255)).save(HERE / "grey/deep/white-line.png")
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        scene(64, 40, 5).save(HERE / f"turned/{turn}.jpg", quality=85, exif=exif)
    (HERE / "bad/text.png").write_text("not an image\n")
    (HERE / "bad/empty.png").write_bytes(b"")
    (HERE / "bad/truncated.png").write_bytes((HERE / "a.png").read_bytes()[:200])
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    huge = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (HERE / "bad/huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + huge)
    (HERE / "bad/notes.txt").write_text("no image, and not taken for one\n")


def small(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB").resize((64, 64), Image.BILINEAR)).astype(np.int64)


def cells(values, g):
    side = len(values) // g
    return values.reshape(g, side, g, side, -1).mean((1, 3))


def describe(rgb):
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    opponent = np.stack([(r + g + b) / 3, r - g, (r + g - 2 * b) / 2], -1)
    layout = cells(opponent - [0.5, 0, 0], 8).ravel() / 8

    axes = np.clip(opponent * [1, 0.8, 0.8] + [0, 0.5, 0.5], 0, 1) * 5
    levels = np.arange(6)
    weights = np.maximum(0, 1 - np.abs(axes[..., None] - levels))  # tents: linear interpolation
    colours = np.einsum("yxi,yxj,yxk->ijk", *np.moveaxis(weights, -2, 0)).ravel() / 4096

    luma = rgb @ [299, 587, 114]
    dx, dy = np.zeros((64, 64)), np.zeros((64, 64))
    dx[:, 1:-1] = (luma[:, 2:] - luma[:, :-2]) / 1000
    dy[1:-1] = (luma[2:] - luma[:-2]) / 1000
    turn = 2 * np.arctan2(dy, dx)[..., None] - np.arange(8) * np.pi / 4
    gradients = cells(np.hypot(dx, dy)[..., None] * np.maximum(0, np.cos(turn)) ** 2, 4).ravel()
    gradients = gradients / max(gradients.sum(), 1e-12)

    uniform = [v for v in range(256) if sum((v >> i & 1) != (v >> (i + 1) % 8 & 1) for i in range(8)) <= 2]
    number = {v: i for i, v in enumerate(uniform)}
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    counts = np.zeros((3, 3, 59))
    for y in range(62):
        for x in range(62):
            limit = luma[y + 1, x + 1] + 1000
            code = sum(int(luma[y + i, x + j] > limit) << bit for bit, (i, j) in enumerate(around))
            counts[y * 3 // 62, x * 3 // 62, number.get(code, 58)] += 1
    texture = counts.ravel() / 62**2

    row = np.concatenate([layout, np.sqrt(0.5 * colours), np.sqrt(gradients), np.sqrt(5 * texture)])
    return row / np.linalg.norm(row)


if __name__ == "__main__":
    write_images()
    paths = [p for p in sorted(HERE.rglob("*")) if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}]
    paths = [p for p in paths if p.parent.name != "bad"]
    np.save(HERE / "expected.npy", np.stack([describe(small(p)) for p in paths]).astype(np.float32))
    (HERE / "expected.json").write_text(json.dumps([p.relative_to(HERE).as_posix() for p in paths], indent=0) + "\n")
