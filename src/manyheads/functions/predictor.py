"""``Predictor``: the one object that answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from manyheads.data.tables.streams.find import find_streams
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.features import open_cache
from manyheads.inference import Predictions, Scorer, ScoringSettings
from manyheads.inference.text_columns import list_text_columns
from manyheads.model import HeadedModel
from manyheads.scoring.outputs import output_at
from manyheads.scoring.score_tables import TableScoring, score_tables
from manyheads.scoring.summary import ScoringSummary
from manyheads.taps import Tap
from manyheads.types import Prediction


class Predictor:
    """Answers texts with a model's heads: lists, streams and tables, all in the same way.

    Make one and keep it: the backbone is converted once to the precision that heads were trained in, where
    ``model.predict`` does so in each call, and the fastest batch size is measured once. Heads that are trained, added
    or removed later, and weights that an optimizer changes, are followed.

    Args:
        model: The model.
        dtype: Precision of the backbone's pass. ``"auto"`` is the one that each head was trained in, where the hardware
            is fast at it: bf16 for heads whose features were read in bf16. ``"float32"`` is exact.
        long_text: What becomes of a text beyond the limit. ``"truncate"`` cuts it (and flags it). ``"mean"`` and
            ``"max"`` read all of it in overlapping windows, each with the special tokens and the prompt, and take the
            mean or the largest of the windows' scores; each word of a token head is read in the window that sees most
            around it. ``"error"`` raises.
        batch_tokens: Tokens per batch, padding included. ``"auto"`` measures the fastest number in the first long list;
            a number makes the last bits of the answers the same on every run.
        max_length: Maximum tokens per text; the backbone's limit by default.
        cache: Folder of a feature cache, or ``"auto"``, as in ``model.predict``.

    Raises:
        InputError: another value.

    Examples:
        >>> predictor = mh.Predictor(trained)
        >>> predictor(texts)[0]["urgency"].label in ("routine", "urgent", "emergency")
        True
    """

    def __init__(
        self,
        model: HeadedModel,
        dtype: torch.dtype | str = "auto",
        long_text: str = "truncate",
        batch_tokens: int | str = "auto",
        max_length: int | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self._model = model
        self._settings = ScoringSettings(max_length, long_text, dtype, batch_tokens)
        self._scorer = Scorer(model.core, model.tokenizer, self._settings, open_cache(cache))

    def __call__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]] | Sequence[list[str]],
        heads: Iterable[str] | None = None,
        features: Sequence[Tap] = (),
    ) -> Predictions:
        """Predict texts, and return features of them from the same pass.

        Args:
            texts: As in ``model.predict``.
            heads: Names of the heads; all by default.
            features: Taps whose features are returned too, in ``.features``, in the precision of the first head. Those
                of a text in several windows are their mean.

        Raises:
            TextError: a text that is not a string.
            HeadError: no head, or a tap without features of its own.
            InputError: no tokenizer, a text beyond the limit with ``long_text="error"``, or features of every token of
                a text in several windows.

        Examples:
            >>> tap = mh.Hidden(pool="mean")
            >>> predictions = mh.Predictor(trained)(texts, features=[tap])
            >>> predictions.features[tap].shape
            (3, 32)
        """
        return self._scorer(read_texts_from_list(texts), heads, features)

    def stream(self, texts: Iterable[object], heads: Iterable[str] | None = None) -> Iterator[Mapping[str, Prediction]]:
        """Yield the predictions of any iterable of texts, in its order and in bounded memory.

        Texts are read 2,048 at a time; the next ones are tokenized while the backbone runs.

        Args:
            texts: Any iterable of what ``__call__`` takes, such as a generator over a file.
            heads: Names of the heads; all by default.

        Raises:
            TextError: a text that is not a string, after the predictions of the blocks before it.
            HeadError: no head.
            InputError: as from ``__call__``.

        Examples:
            >>> answers = [row["urgency"].label for row in mh.Predictor(trained).stream(iter(texts))]
            >>> len(answers)
            3
        """
        return self._scorer.stream(texts, heads)

    def score_table(
        self,
        source: object,
        out: str | os.PathLike[str],
        text: str | Sequence[str] | None = None,
        heads: Iterable[str] | None = None,
        all_scores: bool = False,
        overwrite: bool = False,
    ) -> ScoringSummary:
        """Score a table of any size into a folder or a file, in constant memory.

        Rows are scored some thousands at a time, and each part is written before the next is read. A run that was
        killed goes on when it is started again, and ends with the same bytes. A row that cannot be answered has its
        reason in the column ``error``.

        Args:
            source: A path, a folder, a pattern such as ``"in/*.parquet"``, or a URL that fsspec opens, of CSV, TSV,
                JSON Lines or Parquet files with the same columns, also with ``.gz``; or a table in memory, as in
                ``train``.
            out: A ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file, or else a folder for the parts.
            text: The column of texts, or two for pairs; those of training by default.
            heads: Names of the heads; all by default.
            all_scores: Whether to add one probability column per label.
            overwrite: Whether other results in ``out`` are replaced.

        Returns:
            How many rows were scored, and what failed.

        Raises:
            WrongManifestError: ``out`` has parts of another model, of other settings or of other files.
            OutputExistsError: ``out`` is something else.
            OutputError: ``out`` cannot be written, or another process is writing it.
            DataError: no table can be read.

        Examples:
            >>> summary = mh.Predictor(trained).score_table(table, folder / "scored.csv", text="note")
            >>> summary.rows, summary.errors
            (24, 0)
        """
        core, names = self._model.core, None if heads is None else list(heads)
        columns = list_text_columns(text, core.heads.chosen(names).values(), str(source)[:80])
        scoring = TableScoring(columns, names, self._settings, all_scores, overwrite)
        return score_tables(core, self._model.tokenizer, find_streams(source), output_at(out), scoring)
