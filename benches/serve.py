"""`voisin serve`: the time from an uploaded JPEG to its neighbours, and searches by id a second.

    python benches/serve.py --data DIR      DIR with icons/

The server has one core (`taskset -c 0`) for uploads: a JPEG of 1600 x 1250 pixels, made here, a new connection each, the
client on the other core. Searches by id have two cores that server and client share; wrk sends them over 16 connections
that stay open, one item after the other. Needs numpy, Pillow, taskset and wrk.
"""
import argparse
import http.client
import io
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = """
local ids = {}
for line in io.lines("%s") do ids[#ids + 1] = line end
local i = 0
request = function()
  i = i %% #ids + 1
  return wrk.format("GET", "/api/search?collection=icons&k=20&id=" .. ids[i])
end
"""


def jpeg(width=1600, height=1250):
    """Something between a photograph and noise: 2 megapixels."""
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (height // 50, width // 50, 3), np.uint8))
    image = np.asarray(small.resize((width, height), Image.BICUBIC), np.int16) + rng.integers(-12, 13, (height, width, 3))
    out = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=88)
    return out.getvalue()


class Server:
    def __init__(self, data, kept, cores):
        words = ["taskset", "-c", cores, ROOT / "target" / "release" / "voisin", "serve", "--port", "0", "--json", "--quiet"]
        words += ["--collection", f"icons={data / 'icons'}", "--keep", kept]
        self.process = subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.port = int(self.ready["url"].rsplit(":", 1)[1])

    def ask(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status == 200, (answer.status, text)
        return json.loads(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def uploads(server, repeat):
    image, seconds = jpeg(), []
    for _ in range(repeat + 3):
        began = time.perf_counter()
        answer = server.ask("POST", "/api/search/image?collection=icons&k=20", image, {"Content-Type": "image/jpeg"})
        seconds.append(time.perf_counter() - began)
        assert len(answer["hits"]) == 20
    seconds = sorted(seconds[3:])
    print(f"upload of {len(image) / 1e6:.2f} MB: median {1e3 * statistics.median(seconds):.1f} ms, largest of {repeat} {1e3 * seconds[-1]:.1f} ms")
    print("  of which", {k: f"{1e3 * v:.1f} ms" for k, v in answer["seconds"].items()})


def searches(server, folder, seconds):
    items = server.ask("GET", "/api/items?collection=icons&limit=500&seed=1")["items"]
    names, script = folder / "ids", folder / "ask.lua"
    names.write_text("".join(re.sub(r"[^\w./-]", lambda m: f"%{ord(m[0]):02X}", i["id"]) + "\n" for i in items))
    script.write_text(SCRIPT % names)
    words = ["taskset", "-c", "0,1", "wrk", "-t", "1", "-c", "16", "-d", f"{seconds}s", "--latency", "-s", script, server.ready["url"]]
    out = subprocess.run([str(w) for w in words], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "Non-2xx" not in out, out
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", out)[1])
    slow = re.search(r"99%\s*(\S+)", out)[1]
    print(f"searches by id: {rate:,.0f} requests/s, 99 % within {slow}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    ap.add_argument("--keep", type=pathlib.Path, help="folder with the index of an earlier run")
    ap.add_argument("--repeat", type=int, default=40)
    ap.add_argument("--seconds", type=int, default=10)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="voisin-bench-") as folder:
        folder = pathlib.Path(folder)
        kept = a.keep or folder / "kept"
        with Server(a.data, kept, "0") as server:
            print("collection", server.ready["collections"][0])
            uploads(server, a.repeat)
        with Server(a.data, kept, "0,1") as server:
            searches(server, folder, a.seconds)
