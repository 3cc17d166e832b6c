"""``manyheads predict``."""

from __future__ import annotations

import json

from rich.console import Console

from manyheads.cli.predict_options import PredictInput, PredictOutput
from manyheads.cli.tables import read_input, text_columns
from manyheads.data.tables.writing import check_output, write_output
from manyheads.data.texts.texts import read_texts
from manyheads.errors import counted
from manyheads.inference import Predictions, Scorer, ScoringSettings
from manyheads.inference.score_table import FLAG_COLUMN, score_table
from manyheads.model import HeadedModel


def run_predict(source: PredictInput, output: PredictOutput) -> None:
    """Read the table, predict it, write it with the scores, and report flagged texts."""
    check_output(output.out, output.overwrite)
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    texts = read_texts(table, text_columns(source.text, model.heads.values(), source.data))
    settings = ScoringSettings(source.max_length, source.long_text)
    predictions = Scorer(model.core, model.tokenizer, settings)(texts, source.head or None)
    write_output(score_table(table, predictions, output.all_scores), output.out)
    _report(predictions, output)


def _report(predictions: Predictions, output: PredictOutput) -> None:
    flags = {"empty": predictions.empty, "truncated": predictions.truncated, "split": predictions.split}
    rows, flagged = len(predictions), {name: int(flag.sum()) for name, flag in flags.items()}
    if output.as_json and output.out != "-":
        counts = {"rows": rows, "heads": list(predictions.heads), **flagged}
        print(json.dumps({**counts, "out": output.out}, ensure_ascii=False))
        return
    console = Console(stderr=True, highlight=False)
    target = "standard output" if output.out == "-" else output.out
    heads = counted(len(predictions.heads), "head")
    console.print(f"{counted(rows, 'row')} predicted with {heads}: {target}", markup=False)
    marked = [counted(count, f"{name} text") for name, count in flagged.items() if count]
    if marked:
        console.print(f"Column {FLAG_COLUMN} marks {', '.join(marked)}.", markup=False)
