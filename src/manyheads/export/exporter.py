"""The contract of an exporter, and what comes out of it. A new format is one file, and a line in ``exporters.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from manyheads.core import HeadedCore


@dataclass(frozen=True)
class Written:
    """What an exporter wrote.

    Attributes:
        card: The model card, as Markdown.
        difference: Largest difference of a logit between the files, loaded again, and the model in fp32.
        scale: The largest logit.
        drift: Largest difference of a logit between fp32 and the precision that the model answers in; 0 for fp32.
        notes: What was folded into weights or left out, in sentences.
        details: What else ``export.json`` records, as plain JSON.
    """

    card: str
    difference: float
    scale: float
    drift: float
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """What became of heads that were to be exported.

    Attributes:
        to: The format.
        folders: Head name -> the folder that it was exported to.
        errors: Head name -> why the format cannot express it, and what can be done.
        written: Head name -> what was written.
    """

    to: str
    folders: Mapping[str, Path] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, Written] = field(default_factory=dict)


class Exporter(ABC):
    """A format that heads can be exported to.

    Attributes:
        name: Its name, as in ``--to``.
        purpose: What the files are for, in a few words.
        has_one_folder: Whether all heads go to one folder, rather than each to its own.
    """

    name: ClassVar[str]
    purpose: ClassVar[str]
    has_one_folder: ClassVar[bool] = False

    @abstractmethod
    def export(self, core: HeadedCore, tokenizer: Any, heads: Mapping[str, Path], overwrite: bool = False) -> Exported:
        """Export heads; one that the format cannot express is listed with the reason, and the others are exported.

        Args:
            core: Backbone and heads.
            tokenizer: The backbone's own.
            heads: Head name -> the folder to export it to; a format with one folder for all heads gets it for each, and
                exports all of them or none.
            overwrite: Whether an earlier export may be replaced.

        Raises:
            OutputExistsError: a folder is not free.
            OutputError: files cannot be written.
        """
