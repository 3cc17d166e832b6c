"""How the demo looks: headings, tables and ticked facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manyheads.inference import Predictions

_SHOWN_LABEL = 34


@dataclass(frozen=True)
class Comparison:
    """One head's accuracy on held-out rows, with the baselines to beat.

    Attributes:
        head: Its name.
        labels: Its number of labels.
        majority: Of always saying the most frequent label.
        tfidf: Of TF-IDF and logistic regression.
        manyheads: Of the head.
    """

    head: str
    labels: int
    majority: float
    tfidf: float
    manyheads: float


def heading(console: Console, title: str) -> None:
    """Print a title over a story."""
    console.print()
    console.rule(Text(title, style="bold"), align="left")


def say(console: Console, sentence: str) -> None:
    """Print a plain sentence; brackets in it mean nothing."""
    console.print(Text(sentence))


def tick(console: Console, fact: str) -> None:
    """Print a fact that has just been checked."""
    console.print(Text("checked ", style="green").append(fact, style="default"))


def comparison_table(comparisons: Sequence[Comparison], rows: int) -> Table:
    """Return head by method, as accuracies; the best of a row is highlighted."""
    table = Table(title=f"Accuracy on {rows:,} held-out rows", title_justify="left")
    table.add_column("head", overflow="fold")
    for name in ("labels", "majority", "TF-IDF + logistic", "manyheads"):
        table.add_column(name, justify="right")
    for item in comparisons:
        scores = (item.majority, item.tfidf, item.manyheads)
        cells = [Text(f"{score:.1%}", style="bold" if score == max(scores) else "") for score in scores]
        table.add_row(item.head, str(item.labels), *cells)
    return table


def prediction_table(texts: Sequence[str], predictions: Predictions, titles: Mapping[str, str]) -> Table:
    """Return text by head, as labels with their probabilities.

    Args:
        texts: The texts.
        predictions: One row per text.
        titles: Head to show -> title of its column.
    """
    table = Table(show_lines=True)
    for name in ("text", *titles.values()):
        table.add_column(name)
    for text, row in zip(texts, predictions, strict=True):
        cells = []
        for head in titles:
            label = _shortened(str(row[head].label))
            cells.append(Text(label).append(f"  {row[head].score:.0%}", style="dim"))
        table.add_row(Text(text), *cells)
    return table


def _shortened(label: str) -> str:
    return label if len(label) <= _SHOWN_LABEL else label[: _SHOWN_LABEL - 3].rstrip() + "..."
