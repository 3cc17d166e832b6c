"""Every refusal of manyheads, as one tree.

A caller decides by class: one class stands for one thing that a program could do about it. Each class also
derives from the builtin that fits, so ``except ValueError`` works as people expect. ::

    ManyheadsError
    ├── BackboneError (ValueError)             the backbone cannot do what was asked
    │   ├── UnknownBackboneError (OSError)     no checkpoint of that name or at that path
    │   ├── IncompleteBackboneError            the checkpoint lacks weights that the model would draw at random
    │   ├── UnsupportedHeadError               a stock classification head of a shape that cannot be taken in
    │   ├── PoolerError                        no trained pooler to read
    │   └── NoLanguageModelError               the backbone holds no language model
    ├── InputError (ValueError)                a tensor or text handed to the model is not what it takes
    ├── HeadError (ValueError)                 a head's settings contradict each other, or the backbone
    │   ├── HeadNameError                      a name that no head may have, or that is taken
    │   └── UnknownHeadError (KeyError)        no head of that name
    ├── DataError (ValueError)                 a table cannot be used as it is
    │   ├── EmptyTableError                    no rows
    │   ├── MissingColumnError (KeyError)      no column of that name
    │   ├── TextError (TypeError)              a text is not a string
    │   └── LabelError                         a label that its head cannot learn from or does not know
    ├── CheckpointError (ValueError)           a saved model cannot be read or written
    │   ├── NotACheckpointError (FileNotFoundError)
    │   ├── CorruptCheckpointError             files that contradict themselves or their checksum
    │   ├── WrongBackboneError                 heads that were made for another backbone
    │   ├── WrongRunError                      checkpoints of another training run
    │   └── OutputExistsError (FileExistsError)
    ├── TrainingError (ArithmeticError)         training cannot go on, or would go on wrongly
    ├── CacheError (OSError)                   the feature cache cannot be where or as large as it was told
    ├── ConfigError (ValueError)               a configuration file or option that tells no run
    └── MissingExtraError (ImportError)        an optional dependency is not installed

    ManyheadsWarning (UserWarning)
    ├── UntrainedHeadWarning                   a head predicts that never saw a label
    ├── InputWarning                           an input that is probably not what was meant
    ├── NewTokensWarning                       trained heads read other tokens than they were trained on
    ├── CheckpointWarning                      a training run's checkpoint was damaged; an older one is taken
    └── CacheWarning                           cached features were damaged, or could not be kept
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ManyheadsError(Exception):
    """Base of every refusal: catch this to catch them all."""

    def __str__(self) -> str:
        # KeyError would show the message as a repr, quotes and escapes included.
        return str(self.args[0]) if self.args else ""


class BackboneError(ManyheadsError, ValueError):
    """The backbone cannot do what was asked."""


class UnknownBackboneError(BackboneError, OSError):
    """No checkpoint of that name, or at that path."""


class IncompleteBackboneError(BackboneError):
    """The checkpoint lacks weights, which transformers would have drawn at random."""


class UnsupportedHeadError(BackboneError):
    """A stock classification head whose shape cannot be taken in."""


class PoolerError(BackboneError):
    """There is no trained pooler to read."""


class NoLanguageModelError(BackboneError):
    """The backbone holds no language model."""


class InputError(ManyheadsError, ValueError):
    """A tensor or a text handed to the model is not what it takes."""


class HeadError(ManyheadsError, ValueError):
    """A head's settings contradict each other, or the backbone."""


class HeadNameError(HeadError):
    """A name that no head may have, or that is taken."""


class UnknownHeadError(HeadError, KeyError):
    """There is no head of that name."""


class DataError(ManyheadsError, ValueError):
    """A table cannot be used as it is."""


class EmptyTableError(DataError):
    """A table without rows."""


class MissingColumnError(DataError, KeyError):
    """A table without the column that was named."""


class TextError(DataError, TypeError):
    """A text that is not a string."""


class LabelError(DataError):
    """A label that its head cannot learn from, or does not know."""


class CheckpointError(ManyheadsError, ValueError):
    """A saved model cannot be read or written."""


class NotACheckpointError(CheckpointError, FileNotFoundError):
    """A folder that holds no saved model."""


class CorruptCheckpointError(CheckpointError):
    """Files that contradict themselves, each other, or their checksum."""


class WrongBackboneError(CheckpointError):
    """Heads that were made for another backbone."""


class WrongRunError(CheckpointError):
    """Checkpoints of another training run than the one that is to go on."""


class OutputExistsError(CheckpointError, FileExistsError):
    """The place to write to already holds something."""


class TrainingError(ManyheadsError, ArithmeticError):
    """Training cannot go on, or would go on wrongly without a word."""


class CacheError(ManyheadsError, OSError):
    """The feature cache cannot be where, or as large, as it was told."""


class ConfigError(ManyheadsError, ValueError):
    """A configuration file, or an option, that tells no run: an unknown key, a wrong value, or something left out."""


class MissingExtraError(ManyheadsError, ImportError):
    """An optional dependency is not installed."""


class ManyheadsWarning(UserWarning):
    """Base of every warning."""


class UntrainedHeadWarning(ManyheadsWarning):
    """A head predicts that never saw a label."""


class InputWarning(ManyheadsWarning):
    """An input that is probably not what was meant."""


class NewTokensWarning(ManyheadsWarning):
    """Trained heads will read other tokens than they were trained on: the tokenizer learned words since."""


class CheckpointWarning(ManyheadsWarning):
    """A training run's checkpoint was damaged or not written to its end; an older one is gone on from."""


class CacheWarning(ManyheadsWarning):
    """Cached features were damaged, or could not be kept; the results are right all the same."""


def did_you_mean(value: object, known: Iterable[object]) -> str:
    """Return the end of a sentence: ``"; did you mean 'x'?"`` for the closest of ``known``, else a full stop."""
    by_text = {str(item): item for item in known}
    lowered = {text.casefold(): text for text in by_text}
    close = difflib.get_close_matches(str(value).casefold(), lowered, n=1, cutoff=0.6)
    return f"; did you mean {by_text[lowered[close[0]]]!r}?" if close else "."


def one_line(error: BaseException, most: int = 200) -> str:
    """Return another library's message on one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 3] + "..."


def listed(items: Iterable[object], most: int = 8) -> str:
    """Return the items as ``'a', 'b', 'c'``, cut after ``most`` with the number left out."""
    shown = [repr(item) for item in items]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more if shown else "none"
