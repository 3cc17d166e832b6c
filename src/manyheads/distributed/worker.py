"""What a worker of a cluster does: load the model once, and answer tables of rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pyarrow as pa
import torch

from manyheads.checkpoint.open_model import open_model
from manyheads.core import HeadedCore
from manyheads.data.tables.streams.conform import conformed
from manyheads.data.tables.streams.stream import ERROR_COLUMN
from manyheads.errors import ConfigError, WrongBackboneError
from manyheads.inference.flags import FLAG_COLUMN
from manyheads.inference.scorer import Scorer
from manyheads.inference.settings import ScoringSettings
from manyheads.inference.text_columns import list_text_columns
from manyheads.runtime.progress import quietly
from manyheads.scoring.fingerprint import model_fingerprint
from manyheads.scoring.manifest import differences
from manyheads.scoring.row_answers import AnswerSettings, check_names, check_text_columns, columns_of, predict_with
from manyheads.scoring.score_tables import fixed_token_budget
from manyheads.types import Tokenizer


@dataclass(frozen=True)
class ModelSource:
    """Where every machine finds the model.

    Attributes:
        path: A folder, or a hub id.
        trust_remote_code: Whether Python code in the checkpoint may run.
    """

    path: str
    trust_remote_code: bool = False

    @classmethod
    def of(cls, model: object, trust_remote_code: bool) -> ModelSource:
        """Return the source of what a caller gave.

        Raises:
            ConfigError: a model in memory, which cannot be sent to other machines.
        """
        if not isinstance(model, str | os.PathLike):
            raise ConfigError(
                f"model must be a folder that every machine sees, or a hub id, got {type(model).__name__}; save it "
                "with model.save_pretrained(folder), and give the folder"
            )
        path = os.fspath(model)
        return cls(os.path.abspath(path) if os.path.exists(path) else path, trust_remote_code)

    def load(self, device: str | None = None) -> tuple[HeadedCore, Tokenizer]:
        """Load the model; errors are those of ``HeadedModel.from_pretrained``."""
        core, tokenizer = open_model(self.path, device=device, trust_remote_code=self.trust_remote_code)
        return core, cast(Tokenizer, tokenizer)


@dataclass(frozen=True)
class WorkerSettings:
    """All that a worker has to know, as values that can be sent to it.

    Attributes:
        source: Where the model is.
        fingerprint: The model's, as JSON: a worker that finds another model there must not answer with it.
        answers: How rows are answered.
    """

    source: ModelSource
    fingerprint: str
    answers: AnswerSettings

    @classmethod
    def of(
        cls,
        source: ModelSource,
        text: str | Sequence[str] | None,
        heads: Sequence[str] | None,
        settings: ScoringSettings,
        all_scores: bool,
        name: str,
        uses_gpu: bool = False,
    ) -> WorkerSettings:
        """Load the model once here, and return what workers are to do with it.

        Args:
            source: Where the model is.
            text: The column of texts, or two; ``None`` for those of training.
            heads: Names of heads; all by default.
            settings: How texts are scored.
            all_scores: Whether to add one column per label.
            name: The table's name, for messages.
            uses_gpu: Whether workers have GPUs.

        Raises:
            ManyheadsError: the model cannot be loaded, or its heads or the settings allow no prediction.
        """
        core, tokenizer = source.load()
        chosen = core.heads.chosen(heads)
        columns = list_text_columns(text, chosen.values(), name)
        settings = replace(settings, batch_tokens=settings.token_budget or fixed_token_budget(core, uses_gpu))
        added = columns_of(predict_with(Scorer(core, tokenizer, settings), list(chosen)), len(columns) == 2, all_scores)
        answers = AnswerSettings(list(chosen), columns, settings, False, added, all_scores)
        return cls(source, json.dumps(model_fingerprint(core, tokenizer, chosen)), answers)

    @property
    def added(self) -> pa.Schema:
        """The names and types of the columns that are added to every row."""
        more = [pa.field(name, pa.string()) for name in (FLAG_COLUMN, ERROR_COLUMN)]
        return pa.schema([*self.answers.columns, *more])

    def check(self, columns: Sequence[str], name: str) -> None:
        """Check the columns of a table.

        Raises:
            MissingColumnError: a column of texts is not there.
            DataError: a column has the name of an added one.
        """
        check_text_columns(columns, self.answers.text, name)
        check_names(columns, self.answers.columns.names, name)


class Worker:
    """Answers tables of rows with a model of its own.

    Args:
        settings: What it answers with.
        device: Device of the model; the CPU by default.
        threads: Threads of torch; those that torch chooses by default.

    Raises:
        WrongBackboneError: the model that this machine finds is another one than the caller's.
        ManyheadsError: it cannot be loaded.
    """

    def __init__(self, settings: WorkerSettings, device: str | None = None, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        core, tokenizer = settings.source.load(device)
        self._text = settings.answers.text
        self._answers = settings.answers.answers(Scorer(core, tokenizer))
        _check_same(
            json.loads(settings.fingerprint), model_fingerprint(core, tokenizer, settings.answers.heads), settings
        )

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return rows with their answers, ``text_flag`` and ``error``."""
        return self.answer(conformed(rows, rows.schema.remove_metadata(), self._text, "the rows"))

    def answer(self, rows: pa.Table) -> pa.Table:
        """Return rows that have a column of errors already with their answers."""
        with quietly():
            return self._answers(rows)


def _check_same(expected: Mapping[str, Any], found: Mapping[str, Any], settings: WorkerSettings) -> None:
    different = differences(expected, found)
    if different:
        raise WrongBackboneError(
            f"{settings.source.path}: is another model on this machine ({different}); give a folder that all see"
        )
