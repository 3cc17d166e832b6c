"""Exported graphs in fp32 and INT8 against the model in torch: rows per second, agreement and accuracy.

Run with ``python -m benchmarks.onnx occupation_tasks.csv [--heads occupation_group,activity] [--rows 2000]
[--test 1000] [--speed 256] [--threads 1] [--repeats 3] [--base]``. MiniLM's heads are trained on ``--rows`` rows and
compared on ``--test`` others; a refit is to the training texts. ``--base`` measures the speed of a random model shaped
like BERT base too. Ways alternate, and ratios are of medians, of wall time and of processor time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import onnx_ir
import pyarrow as pa
import torch

import manyheads as mh
from benchmarks.compare import Timed, alternate
from benchmarks.data import bert_base, draw, minilm
from manyheads.data.labelled import Reading
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.export.onnx.exporter import OnnxExporter
from manyheads.export.onnx.gate import Agreement, agreements
from manyheads.export.onnx.quantize import quantize, rewrite
from manyheads.export.onnx.quantizers.quantizers import QUANTIZERS
from manyheads.onnx.graph_inputs import graph_inputs
from manyheads.onnx.layout import GRAPH

# Texts on which the sizes of activations are measured.
_SAMPLES = 200
Way = Callable[[], object]


def export(model: mh.HeadedModel, folder: Path) -> onnx_ir.Model:
    """Export all heads in fp32, and return the graph."""
    found = OnnxExporter().export(model.core, model.tokenizer, dict.fromkeys(model.heads, folder))
    assert not found.errors
    return loaded(folder)


def loaded(folder: Path) -> onnx_ir.Model:
    """Return an exported graph with its weights."""
    graph = onnx_ir.load(folder / GRAPH)
    onnx_ir.external_data.load_to_model(graph)
    return graph


def in_int8(model: mh.HeadedModel, exact: Path, scheme: str, texts: Sequence[str], refit: bool, folder: Path) -> Path:
    """Copy an export with a quantized graph, and return the folder."""
    names, graph = list(model.heads), loaded(exact)
    batches = [list(graph_inputs(exact, read_texts_from_list(list(some)), names)) for some in (texts[:_SAMPLES], texts)]
    found = quantize(model.core, {GRAPH: graph}, names, QUANTIZERS[scheme], batches[0], batches[1] if refit else None)
    folder.mkdir()
    for path in exact.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    rewrite(found.models, folder)
    return folder


def speeds(model: mh.HeadedModel, folders: Mapping[str, Path], texts: Sequence[str], options: Any) -> None:
    """Print rows per second of every way, and the size of its weights."""
    predictors: dict[str, Any] = {f"torch, {dtype}": mh.Predictor(model, dtype=dtype) for dtype in ("float32", "auto")}
    predictors |= {
        f"ONNX, {name}": mh.OnnxPredictor(folder, threads=options.threads) for name, folder in folders.items()
    }
    ways: dict[str, Way] = {name: lambda one=one: one(texts).scores for name, one in predictors.items()}  # type: ignore[misc]
    alternate(ways, 1)
    found = alternate(ways, options.repeats)
    print(
        "| way | rows/s | times torch fp32, wall time | times torch fp32, processor time | MB |\n|---|---|---|---|---|"
    )
    base = found["torch, float32"]
    for name, entry in found.items():
        print(f"| {name} | {row(entry, base, len(texts))} | {megabytes(folders.get(name.removeprefix('ONNX, ')))} |")
    print(flush=True)


def row(entry: Timed, base: Timed, rows: int) -> str:
    """Return the figures of one way."""
    wall, used = base.median / entry.median, base.processor_median / entry.processor_median
    return f"{rows / entry.processor_median:.0f} | {wall:.2f} | {used:.2f}"


def megabytes(folder: Path | None) -> str:
    """Return the size of a graph's weights."""
    return "" if folder is None else f"{(folder / f'{GRAPH}.data').stat().st_size / 1e6:.0f}"


def compare(model: mh.HeadedModel, folders: Mapping[str, Path], test: pa.Table) -> None:
    """Print how far quantized graphs answer like the model in fp32."""
    print("| graph | head | agreement | fp32 -> INT8 |\n|---|---|---|---|")
    for name, folder in folders.items():
        found = agreements(model.core, model.tokenizer, mh.OnnxPredictor(folder), test, Reading("text"))
        for head, one in found.items():
            print(f"| {name} | {head} | {one.agreement:.4f} | {metrics(one)} |", flush=True)
    print()


def metrics(one: Agreement) -> str:
    """Return the metrics before and after."""
    return ", ".join(f"{name} {before:.4f} -> {after:.4f}" for name, (before, after) in one.metrics.items())


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--heads", default="occupation_group,activity")
    for name, default in {"rows": 2000, "test": 1000, "speed": 256, "threads": 1, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--base", action="store_true")
    options = parser.parse_args()
    sys.argv = [sys.argv[0], *([str(options.table)] if options.table else [])]
    torch.set_num_threads(options.threads)
    train, test = draw(options.rows, options.test)
    texts = test.column("text").to_pylist()[: options.speed]
    print(
        f"{options.threads} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}\n", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        model = trained(train, options.heads.split(","))
        folders = exports(model, train.column("text").to_pylist(), Path(folder) / "minilm", refits=(False, True))
        compare(model, {name: path for name, path in folders.items() if name != "fp32"}, test)
        speeds(model, {name: path for name, path in folders.items() if "refitted" not in name}, texts, options)
        if options.base:
            large = untrained(bert_base(Path(folder) / "bert"))
            folders = exports(large, train.column("text").to_pylist(), Path(folder) / "base", refits=(False,))
            speeds(large, folders, texts, options)


def trained(train: pa.Table, heads: Sequence[str]) -> mh.HeadedModel:
    """Return MiniLM with heads that were trained on its frozen features."""
    model = mh.HeadedModel.from_pretrained(minilm())
    for head in heads:
        labels = sorted(set(train.column(head).to_pylist()))
        model.add_head(head, mh.Multiclass(labels, reads="auto"))
    mh.train(model, train, text="text", method=mh.Frozen(cache=None, dtype="float32"), eval_fraction=0)
    return model


def untrained(path: str) -> mh.HeadedModel:
    """Return a model with a random head, whose answers do not matter."""
    model = mh.HeadedModel.from_pretrained(path)
    model.add_head("head", mh.Multiclass(list(range(37)), reads=mh.Hidden(pool="mean"))).trained = True
    return model


def exports(model: mh.HeadedModel, texts: Sequence[str], folder: Path, refits: Sequence[bool]) -> dict[str, Path]:
    """Return the folders of the export in fp32 and of those in INT8, by name."""
    folder.mkdir()
    exact = folder / "fp32"
    export(model, exact)
    found = {"fp32": exact}
    for scheme in QUANTIZERS:
        for refit in refits:
            name = f"{scheme}, refitted" if refit else scheme
            found[name] = in_int8(model, exact, scheme, texts, refit, folder / name.replace(", ", "-"))
    return found


if __name__ == "__main__":
    main()
