"""The server against the same model without one: rows per second, latency, rejections, memory, and equal answers.

MiniLM with two heads in fp32, on the short texts of the table of occupation tasks. The clients are a process of their
own on the same cores; the processor time that they take is a column of its own.

Run with ``python -m benchmarks.serve [occupation_tasks.csv] [--rows 2048] [--requests 20000] [--repeats 3]``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers

import manyheads as mh
from benchmarks.data import HEADS, draw, minilm

CLIENTS = 64
AT_ONCE = 400
# Texts of a request.
TOGETHER = (1, 8)


def saved_model(folder: Path) -> Path:
    """Train two heads on a few rows, and save them with MiniLM."""
    model = mh.HeadedModel.from_pretrained(minilm())
    train, _ = draw(500, 1)
    for name in HEADS:
        labels = sorted(set(train.column(name).to_pylist()))
        model.add_head(name, mh.Multiclass(labels=labels, reads=mh.Hidden(pool="mean")))
    mh.train(model, train, text="text", method=mh.Frozen(dtype="float32"), eval_fraction=0)
    model.save_pretrained(folder)
    return folder


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve a model in a process of its own."""
    command = [sys.executable, "-m", "manyheads", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # its log
    try:
        while process.poll() is None and not _is_ready(port):
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready") as response:
            return bool(response.status == 200)
    except OSError:
        return False


class Load:
    """Sends texts to a server from another process.

    Args:
        port: The server's.
        texts: The texts.
        folder: Where the texts are written for the other process.
        together: Texts of each request.
    """

    def __init__(self, port: int, texts: list[str], folder: Path, together: int = 1) -> None:
        self._port = port
        self.together = together
        self._texts = folder / f"texts-{together}.json"
        requests = [texts[start : start + together] for start in range(0, len(texts), together)]
        self._texts.write_text(json.dumps(texts if together == 1 else requests))

    def run(self, clients: int, requests: int, keep: bool = False) -> dict[str, Any]:
        """Send requests; see ``benchmarks.http_load.run``."""
        arguments = [self._port, clients, self._texts, requests, "keep" if keep else "drop"]
        command = [sys.executable, "-m", "benchmarks.http_load", *map(str, arguments)]
        found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return found


def rates(load: Load, offline: Callable[[], object], rows: int, repeats: int) -> None:
    """Print rows per second of 64 clients, over those of ``Predictor`` on all texts."""
    served, alone, client = [], [], []
    for _ in range(repeats):
        started = time.perf_counter()
        offline()
        alone.append(rows / (time.perf_counter() - started))
        found = load.run(CLIENTS, rows // load.together)
        served.append(rows / found["seconds"])
        client.append(found["processor_seconds"] / found["seconds"])
    ratio = statistics.median(served) / statistics.median(alone)
    print("| clients | texts per request | rows/s | offline, rows/s | ratio | processor time of clients, share |")
    print("|---|---|---|---|---|---|")
    found = f"{np.median(served):.0f} | {np.median(alone):.0f} | {ratio:.2f} | {np.median(client):.2f}"
    print(f"| {CLIENTS} | {load.together} | {found} |\n", flush=True)


def latency(load: Load, texts: list[str], requests: int) -> None:
    """Print the median latency of one client, and that of tokenizing and a bare forward."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    backbone = transformers.AutoModel.from_pretrained(minilm()).eval()
    bare = []
    with torch.no_grad():
        for text in texts[:requests]:
            started = time.perf_counter()
            backbone(**tokenizer(text, return_tensors="pt"))
            bare.append(1000 * (time.perf_counter() - started))
    times = 1000 * np.array(load.run(1, requests)["times"])
    forward, one = np.median(bare[10:]), np.median(times[10:])
    limit = 1.3 * forward + 5
    print("| one client, p50 ms | p95 ms | bare forward, p50 ms | 1.3 x + 5 ms |\n|---|---|---|---|")
    print(f"| {one:.1f} | {np.quantile(times, 0.95):.1f} | {forward:.1f} | {limit:.1f} |\n", flush=True)


def rejections(load: Load, repeats: int) -> None:
    """Print how 400 requests at once are answered, and how long a 429 takes."""
    print("| at once | statuses | 429, p50 ms | 429, slowest ms |\n|---|---|---|---|")
    for _ in range(repeats):
        found = load.run(AT_ONCE, AT_ONCE)
        took = 1000 * np.array(found["times"])[np.array(found["statuses"]) == 429]
        shown = f"{np.median(took):.1f} | {took.max():.1f}" if len(took) else "none | none"
        print(f"| {AT_ONCE} | {found['counts']} | {shown} |")
    print(flush=True)


def memory(load: Load, process: int, requests: int) -> None:
    """Print the slope of the server's resident memory."""
    steps, sizes = 20, []
    load.run(CLIENTS, max(1, requests // 2))  # until the allocator has what it needs
    for _ in range(steps):
        load.run(CLIENTS, requests // steps)
        sizes.append(_resident_kilobytes(process) / 1024)
    slope = np.polyfit(np.arange(steps) * requests / steps / 10_000, sizes, 1)[0]
    print("| requests | first MB | last MB | MB per 10,000 requests |\n|---|---|---|---|")
    print(f"| {requests:,} | {sizes[0]:.1f} | {sizes[-1]:.1f} | {slope:.2f} |\n", flush=True)


def _resident_kilobytes(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def equality(load: Load, model: mh.HeadedModel, texts: list[str]) -> None:
    """Print how far answers through HTTP are from ``model.predict`` on the same text."""
    bodies = [json.loads(body)["predictions"][0] for body in load.run(1, len(texts), keep=True)["bodies"]]
    expected = [model.predict([text])[0] for text in texts]
    apart = max(
        abs(body[name]["score"] - row[name].score) for body, row in zip(bodies, expected, strict=True) for name in HEADS
    )
    print(f"Largest difference from model.predict of the same batch, {len(texts)} texts: {apart}\n", flush=True)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    sys.argv = [sys.argv[0], *([str(options.table)] if options.table else [])]
    transformers.utils.logging.disable_progress_bar()
    texts = draw(options.rows, 1)[0].column("text").to_pylist()
    with tempfile.TemporaryDirectory() as name:
        folder = saved_model(Path(name) / "model")
        model = mh.HeadedModel.from_pretrained(folder)
        predictor, load = mh.Predictor(model), Load(options.port, texts, Path(name))
        with serving(folder, options.port) as process:
            load.run(CLIENTS, CLIENTS)
            for together in TOGETHER:
                several = Load(options.port, texts, Path(name), together)
                rates(several, lambda: predictor(texts).scores, len(texts), options.repeats)
            latency(load, texts, min(500, len(texts)))
            rejections(load, options.repeats)
            equality(load, model, texts[:50])
            memory(load, process.pid, options.requests)


if __name__ == "__main__":
    main()
