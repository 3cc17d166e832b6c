"""``manyheads predict``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Console

from manyheads.cli.tables import read_input
from manyheads.data.tables.writing import check_output, write_output
from manyheads.data.texts.texts import read_texts
from manyheads.errors import DataError
from manyheads.inference import Predictions, predict
from manyheads.inference.score_table import FLAG_COLUMN, _scored
from manyheads.model import HeadedModel


@dataclass(frozen=True)
class PredictRequest:
    """What the options say."""

    model: str
    data: str
    out: str
    text: tuple[str, ...]
    heads: tuple[str, ...] | None
    all_scores: bool
    max_length: int | None
    long_text: str
    file_format: str
    overwrite: bool
    trust_remote_code: bool


def run_predict(request: PredictRequest, as_json: bool) -> None:
    """Read, predict, write, and say what was flagged."""
    check_output(request.out, request.overwrite)
    table = read_input(request.data, request.file_format)
    model = HeadedModel.from_pretrained(request.model, trust_remote_code=request.trust_remote_code)
    texts = read_texts(table, _text_columns(request, model))
    predictions = predict(model.core, model.tokenizer, texts, request.heads, request.max_length, request.long_text)
    write_output(_scored(table, predictions, request.all_scores), request.out)
    _report(request, predictions, as_json)


def _text_columns(request: PredictRequest, model: HeadedModel) -> str | tuple[str, ...]:
    """Return the text columns named, or those that the heads were trained on."""
    if request.text:
        return request.text[0] if len(request.text) == 1 else request.text
    known = {json.dumps(head.summary["text"]) for head in model.heads.values() if "text" in head.summary}
    if len(known) != 1:
        raise DataError(f"{request.data}: the model does not say which column holds the text; name it with --text")
    remembered: str | list[str] = json.loads(known.pop())
    return remembered if isinstance(remembered, str) else tuple(remembered)


def _report(request: PredictRequest, predictions: Predictions, as_json: bool) -> None:
    facts = {
        "rows": len(predictions),
        "heads": list(predictions.heads),
        "empty": int(predictions.empty.sum()),
        "truncated": int(predictions.truncated.sum()),
        "out": request.out,
    }
    if as_json and request.out != "-":
        print(json.dumps(facts, ensure_ascii=False))
        return
    console = Console(stderr=True, highlight=False)
    console.print(f"{facts['rows']:,} rows scored by {len(predictions.heads)} heads: {request.out}", markup=False)
    if facts["empty"] or facts["truncated"]:
        console.print(
            f"{facts['empty']} texts were empty and {facts['truncated']} were cut; see column {FLAG_COLUMN}.",
            markup=False,
        )
