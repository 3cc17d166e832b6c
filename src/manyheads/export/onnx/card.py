"""The model card of an exported graph."""

from __future__ import annotations

from collections.abc import Mapping

from manyheads.checkpoint.card.base_card import license_in
from manyheads.checkpoint.card.markdown import code, table
from manyheads.core import HeadedCore
from manyheads.export.exporter import Written
from manyheads.export.onnx.settings import OnnxSettings

_USE = """```python
import manyheads as mh

predictor = mh.OnnxPredictor(".")  # the folder of this file
for name, prediction in predictor([{text}])[0].items():
    print(name, prediction)
```

It needs onnxruntime, tokenizers and numpy, and neither torch nor transformers:

```sh
pip install onnxruntime tokenizers numpy
pip install --no-deps manyheads
```"""
_FILES = {
    "model.onnx": "the graph, for ONNX Runtime: backbone and heads; its outputs are logits",
    "model.onnx.data": "the weights of all graphs",
    "language_model.onnx": "the same with the language model's logits as one output more",
    "predictor.json": "labels, decisions, prompts and limits",
    "tokenizer.json": "the tokenizer, for the tokenizers library",
    "bags.npz": "terms and weights of the heads that read bags of words; their part of the logits is an input",
    "export.json": "what was compared when this folder was written",
}


def onnx_card(core: HeadedCore, settings: OnnxSettings, heads: Mapping[str, Written], files: frozenset[str]) -> str:
    """Return the card as Markdown.

    Args:
        core: Backbone and heads.
        settings: Settings of the export.
        heads: Head name -> what was written for it.
        files: Names of the files in the folder.
    """
    from huggingface_hub import ModelCardData

    source = core.backbone.source
    license = {} if source is None else license_in(source.folder)
    metadata = ModelCardData(library_name="manyheads", tags=["manyheads", "onnx"], **license).to_yaml()
    sections = {
        "Use": _USE.format(text='("A text.", "Another.")' if _all_read_pairs(core, heads) else '"A text."'),
        "Heads": table(
            ["head", "kind", "largest difference of a logit"],
            [[code(name), core.heads[name].spec.kind, f"{one.difference:.1g}"] for name, one in heads.items()],
        ),
        **_quantized(settings, heads),
        "Files": table(["file", "content"], [[code(name), _FILES[name]] for name in _FILES if name in files]),
        **_differences(heads),
    }
    texts = [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return (
        "\n\n".join([f"---\n{metadata}\n---", f"# {code(core.backbone.name)} with heads", _about(settings), *texts])
        + "\n"
    )


def _about(settings: OnnxSettings) -> str:
    precision = "fp32" if settings.quantize is None else settings.quantize
    return (
        f"The heads of a [manyheads](https://pypi.org/project/manyheads/) model as one ONNX graph in {precision}. "
        "Differences of logits were found on 200 texts, between the graph in fp32 and the model in fp32."
    )


def _quantized(settings: OnnxSettings, heads: Mapping[str, Written]) -> dict[str, str]:
    """Return a section on the answers of the quantized graph."""
    if settings.quantize is None:
        return {}
    rows = []
    for name, one in heads.items():
        found = one.details["quantized"]
        changes = [
            f"{metric} {values['fp32']:.4f}, then {values['quantized']:.4f}"
            for metric, values in found["metrics"].items()
        ]
        refit = "yes" if "refit" in one.details else "no"
        rows.append([code(name), f"{found['items']:,}", f"{found['agreement']:.4f}", "; ".join(changes), refit])
    about = (
        f"Products of the backbone are computed in INT8 ({code(settings.quantize)}). On labelled rows, the answers of "
        "the quantized graph were compared with those of the model in fp32:"
    )
    columns = ["head", "items", "equal answers", "fp32, then quantized", "refitted"]
    return {"Quantized": f"{about}\n\n{table(columns, rows)}"}


def _all_read_pairs(core: HeadedCore, heads: Mapping[str, Written]) -> bool:
    return all(isinstance(core.heads[name].summary.get("text"), list) for name in heads)


def _differences(heads: Mapping[str, Written]) -> dict[str, str]:
    """Return a section with the notes on each head, if there are any."""
    notes = [f"- {code(name)}: {note}" for name, one in heads.items() for note in one.notes]
    return {"Differences": "\n".join(notes)} if notes else {}
