"""``OnnxPredictor``: answers with an exported graph, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from manyheads.data.texts.row_limit import row_limit
from manyheads.data.texts.texts import Texts, check_is_list, read_texts_from_list
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import BackboneError, HeadError, InputError, NoLanguageModelError, listed
from manyheads.heads import Logits, Ragged
from manyheads.heads.choose import choose_heads
from manyheads.inference.blocks import row_blocks, stream_predictions
from manyheads.inference.pairs import check_pairs
from manyheads.inference.predictions import Predictions
from manyheads.inference.settings import ScoringSettings
from manyheads.onnx.bags import Bags
from manyheads.onnx.check_graph import check_graph
from manyheads.onnx.inputs import Inputs
from manyheads.onnx.language_model import read_lm_logits
from manyheads.onnx.layout import GRAPH, LANGUAGE_MODEL_GRAPH, HeadLayout
from manyheads.onnx.layout_file import read_layout
from manyheads.onnx.rows import Part, TextRows, as_rows
from manyheads.onnx.runner import Runner
from manyheads.onnx.session import Provider, Session
from manyheads.onnx.tokenizer import load_tokenizer
from manyheads.types import Prediction


class OnnxPredictor:
    """Answers texts with the heads of a model that was exported to ONNX, as ``Predictor`` does with the model.

    It needs onnxruntime, tokenizers and numpy, and neither torch nor transformers; and regex, where heads label the
    words of texts that are not given as lists of words.

    Args:
        folder: The folder that ``manyheads export --to onnx`` wrote.
        long_text: What becomes of a text beyond the limit, as in ``Predictor``: ``"truncate"``, ``"mean"``, ``"max"``
            or ``"error"``.
        batch_tokens: Tokens per batch, padding included. ``"auto"`` measures the fastest number in the first long list;
            a number makes the last bits of the answers the same on every run.
        max_length: Maximum tokens per text; the backbone's limit by default.
        threads: Number of threads of ONNX Runtime; as many as there are cores by default.
        providers: What runs the graph, in ONNX Runtime's names, the preferred one first, such as
            ``["CUDAExecutionProvider", "CPUExecutionProvider"]``; the CPU by default.

    Raises:
        NotACheckpointError: the folder contains no exported graph.
        CorruptCheckpointError: a file is missing, or was not written by the export.
        MissingExtraError: onnxruntime or tokenizers is not installed.
        InputError: another value.

    Examples:
        >>> predictor = mh.OnnxPredictor(exported)
        >>> predictor(texts)[0]["urgency"].label in ("routine", "urgent", "emergency")
        True
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        long_text: str = "truncate",
        batch_tokens: int | str = "auto",
        max_length: int | None = None,
        threads: int | None = None,
        providers: Sequence[Provider] | None = None,
    ) -> None:
        self._settings = ScoringSettings(max_length, long_text, batch_tokens=batch_tokens)
        _check_threads(threads)
        self._folder = Path(folder)
        self._layout = read_layout(self._folder)
        row_limit(max_length, self._layout.limit)
        self._threads, self._providers = threads, providers
        self._tokenizer = load_tokenizer(self._folder, self._layout)
        self._bags = Bags.load(self._folder, self._layout)
        self._runner = self._open(GRAPH)

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the heads.

        Examples:
            >>> mh.OnnxPredictor(exported).heads
            ('urgency',)
        """
        return tuple(self._layout.heads)

    def __call__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]] | Sequence[list[str]],
        heads: Iterable[str] | None = None,
    ) -> Predictions:
        """Predict texts.

        Args:
            texts: As in ``model.predict``.
            heads: Names of the heads; all by default. The graph computes all of them anyway.

        Raises:
            TextError: a text that is not a string.
            HeadError: no head, or none of that name.
            InputError: a text beyond the limit with ``long_text="error"``.

        Examples:
            >>> mh.OnnxPredictor(exported)(texts).scores["urgency"].shape
            (3, 3)
        """
        return self._score(self._prepare(read_texts_from_list(texts), self._chosen(heads)))

    def stream(self, texts: Iterable[object], heads: Iterable[str] | None = None) -> Iterator[Mapping[str, Prediction]]:
        """Yield the predictions of any iterable of texts, in its order and in bounded memory.

        Texts are read 2,048 at a time; the next ones are tokenized while the graph runs.

        Args:
            texts: Any iterable of what ``__call__`` takes, such as a generator over a file.
            heads: Names of the heads; all by default.

        Raises:
            TextError: a text that is not a string, after the predictions of the blocks before it.
            HeadError: no head, or none of that name.
            InputError: as from ``__call__``.

        Examples:
            >>> answers = [row["urgency"].label for row in mh.OnnxPredictor(exported).stream(iter(texts))]
            >>> len(answers)
            3
        """
        check_is_list(texts)
        chosen = self._chosen(heads)
        return stream_predictions(texts, lambda block, where: self._prepare(block, chosen, where), self._score)

    def lm_logits(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> Ragged:
        """Return the language model's logits: a sequence of fp32 (tokens, vocabulary), one per text.

        The tokens are those that the heads read, special tokens included. A text beyond the limit is truncated, unless
        ``long_text="error"``.

        Args:
            texts: As in ``__call__``.

        Raises:
            NoLanguageModelError: the export has no language model.
            TextError: a text that is not a string.
            InputError: a text beyond the limit with ``long_text="error"``.

        Examples:
            >>> logits = mh.OnnxPredictor(exported).lm_logits(texts)
            >>> len(logits), logits[0].shape
            (3, (6, 96))
        """
        runner = self._language_model
        found = read_texts_from_list(texts).texts
        return read_lm_logits(runner, self._layout, self._tokenizer, self._bags, found, self._settings)

    @cached_property
    def _language_model(self) -> Runner:
        if not self._layout.language_model:
            raise NoLanguageModelError(
                f"{self._folder}: has no language model; export the model again with its logits: "
                "manyheads export MODEL --to onnx --language-model"
            )
        return self._open(LANGUAGE_MODEL_GRAPH)

    def _open(self, graph: str) -> Runner:
        session = Session(self._folder / graph, self._providers, self._threads)
        check_graph(session, self._layout, self._bags)
        return Runner(session, self._layout.row_groups, self._settings.token_budget)

    def _chosen(self, names: Iterable[str] | None) -> dict[str, HeadLayout]:
        chosen = choose_heads(self._layout.heads, names)
        if not chosen:
            raise HeadError(f"There is no head to predict with: heads=[] names none; there are {listed(self.heads)}")
        return chosen

    def _prepare(self, texts: Texts, heads: Mapping[str, HeadLayout], where: Sequence[str] | None = None) -> TextRows:
        check_pairs({name: head.pairs for name, head in heads.items()}, texts, {})
        return as_rows(self._layout, self._tokenizer, texts, heads, self._settings, where)

    def _score(self, prepared: TextRows) -> Predictions:
        logits: dict[str, Logits] = {}
        for part in prepared.parts:
            logits |= self._run(part)
        heads = prepared.heads
        return Predictions(
            {name: head.spec for name, head in heads.items()},
            {name: logits[name] for name in heads},
            prepared.texts.empty,
            prepared.truncated,
            prepared.words,
            {name: head.decision for name, head in heads.items()},
            windows=prepared.windows,
            tokens=prepared.tokens,
        )

    def _run(self, part: Part) -> dict[str, Logits]:
        """Return the logits of the texts of a part, by head; some thousands of rows are in memory together."""
        tokenized, heads = part.tokenized, {name: self._layout.heads[name] for name in part.heads}
        read = {number for head in heads.values() for number in head.passes}
        logits = _empty_logits(heads, tokenized)
        for block in row_blocks(tokenized.lengths):
            inputs = Inputs(self._layout, self._bags, tokenized.part(block), read)
            for rows, outputs in self._runner.run(inputs, [head.output for head in heads.values()]):
                for name, head in heads.items():
                    logits[name].put(block[rows], outputs[head.output])
        for name, own in logits.items():
            self._check_finite(name, own, part)
        return {name: self._of_texts(heads[name], own, part) for name, own in logits.items()}

    def _of_texts(self, head: HeadLayout, logits: Logits, part: Part) -> Logits:
        """Return the logits of texts from those of their windows."""
        if not part.windows.split.any():
            return logits
        return head.spec.logits_of_texts(logits, part.windows, self._settings.long_text)

    def _check_finite(self, name: str, logits: Logits, part: Part) -> None:
        bad = logits.map(lambda values: ~np.isfinite(values).all(axis=1))
        rows = bad.rows[bad.values] if isinstance(bad, Ragged) else np.flatnonzero(bad)
        if len(rows):
            text = int(np.searchsorted(part.windows.offsets, rows[0], side="right"))
            raise BackboneError(
                f"{self._layout.name}: logits of head {name!r} (text {text}) are not finite; check the exported model"
            )


def _empty_logits(heads: Mapping[str, HeadLayout], tokenized: Tokenized) -> dict[str, Logits]:
    """Return uninitialized logits of some rows, by head."""
    counts = [0] * len(tokenized) if tokenized.words is None else [len(words) for words in tokenized.words]
    words = np.array(counts, dtype=np.int64)
    return {name: head.spec.logits_type.empty(head.spec.outputs, words) for name, head in heads.items()}


def _check_threads(threads: object) -> None:
    if threads is not None and (type(threads) is not int or threads < 1):
        raise InputError(f"threads must be a positive whole number or None, got {threads!r}")
