"""All errors and warnings of manyheads, as one tree.

Each class stands for one decision that a caller could make. Each also derives from the builtin that fits, so that
``except ValueError`` works as expected. ::

    ManyheadsError
    ├── BackboneError (ValueError)             the backbone does not support the request
    │   ├── UnknownBackboneError (OSError)     no checkpoint of that name or at that path
    │   ├── IncompleteBackboneError            the checkpoint lacks weights, which would be random
    │   ├── UnsupportedHeadError               a stock classification head of an unsupported shape
    │   ├── PoolerError                        no trained pooler
    │   └── NoLanguageModelError               the backbone has no language model
    ├── InputError (ValueError)                an invalid tensor or text
    ├── HeadError (ValueError)                 a head's settings contradict each other or the backbone
    │   ├── HeadNameError                      an invalid head name, or one in use
    │   └── UnknownHeadError (KeyError)        no head of that name
    ├── DataError (ValueError)                 an unusable table
    │   ├── EmptyTableError                    no rows
    │   ├── MissingColumnError (KeyError)      no column of that name
    │   ├── TextError (TypeError)              a text that is not a string
    │   └── LabelError                         a label that its head does not have or cannot learn from
    ├── CheckpointError (ValueError)           a saved model cannot be read or written
    │   ├── NotACheckpointError (FileNotFoundError)
    │   ├── CorruptCheckpointError             files that contradict themselves, each other or their checksum
    │   ├── WrongBackboneError                 heads of another backbone
    │   ├── WrongRunError                      checkpoints of another training run
    │   ├── WrongManifestError                 scored parts of another model, input or settings
    │   └── OutputExistsError (FileExistsError)
    ├── OutputError (OSError)                  an output cannot be written: no space, no permission, in use
    ├── ExportError (ValueError)               a head that the target format cannot express
    ├── MethodError (ValueError)               invalid settings of a training method, or ones that do not fit the run
    ├── TrainingError (ArithmeticError)        training stopped because a number is not finite
    ├── CacheError (OSError)                   an unusable folder or size limit of the feature cache
    ├── HubError (OSError)                     the Hugging Face hub cannot be reached, or rejects a request
    ├── ConfigError (ValueError)               an invalid configuration file or option
    ├── ClusterError (RuntimeError)            a worker of a cluster cannot start, or died
    └── MissingExtraError (ImportError)        an optional dependency is not installed

    ManyheadsWarning (UserWarning)
    ├── UntrainedHeadWarning                   predictions of an untrained head
    ├── InputWarning                           an input that is probably a mistake
    ├── BatchingWarning                        texts cannot share padded batches, so a pass is slower
    ├── SecondPassWarning                      heads could not read the prompts in the pass of generation
    ├── NewTokensWarning                       tokens were added after heads were trained
    ├── CheckpointWarning                      a damaged training checkpoint; an older one is used
    └── CacheWarning                           cached features were damaged or could not be stored

Examples:
    >>> issubclass(mh.errors.LabelError, ValueError)
    True
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ManyheadsError(Exception):
    """Base of every error.

    Examples:
        >>> try:
        ...     mh.Multiclass(["one"])
        ... except mh.errors.ManyheadsError as error:
        ...     print(type(error).__name__)
        HeadError
    """

    def __str__(self) -> str:
        # KeyError shows the repr of its message, with quotes and escapes.
        return str(self.args[0]) if self.args else ""


class BackboneError(ManyheadsError, ValueError):
    """The backbone does not support the request."""


class UnknownBackboneError(BackboneError, OSError):
    """There is no checkpoint of that name or at that path."""


class IncompleteBackboneError(BackboneError):
    """The checkpoint lacks weights, which transformers would initialize at random."""


class UnsupportedHeadError(BackboneError):
    """The shape of a stock classification head is not supported."""


class PoolerError(BackboneError):
    """The backbone has no trained pooler."""


class NoLanguageModelError(BackboneError):
    """The backbone has no language model."""


class InputError(ManyheadsError, ValueError):
    """A tensor or text is invalid as input of the model."""


class HeadError(ManyheadsError, ValueError):
    """The settings of a head contradict each other or the backbone."""


class HeadNameError(HeadError):
    """A head name is invalid or in use."""


class UnknownHeadError(HeadError, KeyError):
    """There is no head of that name."""


class DataError(ManyheadsError, ValueError):
    """A table is unusable."""


class EmptyTableError(DataError):
    """A table has no rows."""


class MissingColumnError(DataError, KeyError):
    """A table has no column of that name."""


class TextError(DataError, TypeError):
    """A text is not a string."""


class LabelError(DataError):
    """A head does not have a label, or cannot learn from it."""


class CheckpointError(ManyheadsError, ValueError):
    """A saved model cannot be read or written."""


class NotACheckpointError(CheckpointError, FileNotFoundError):
    """A folder contains no saved model."""


class CorruptCheckpointError(CheckpointError):
    """Files contradict themselves, each other or their checksum."""


class WrongBackboneError(CheckpointError):
    """Heads belong to another backbone."""


class WrongRunError(CheckpointError):
    """Checkpoints belong to another training run than the one to resume."""


class WrongManifestError(CheckpointError):
    """Scored parts belong to another model, input or settings than those to go on with."""


class OutputExistsError(CheckpointError, FileExistsError):
    """The output path is in use or cannot be written to."""


class OutputError(ManyheadsError, OSError):
    """An output cannot be written: no space is left, it is not allowed, or another process is writing it."""


class ExportError(ManyheadsError, ValueError):
    """The format to export to cannot express a head, or the exported files would not give the head's logits."""


class MethodError(ManyheadsError, ValueError):
    """The settings of a training method are invalid, or do not fit the heads, the data or the processes."""


class TrainingError(ManyheadsError, ArithmeticError):
    """Training stopped because a number is not finite."""


class CacheError(ManyheadsError, OSError):
    """The folder or the size limit of the feature cache is unusable."""


class HubError(ManyheadsError, OSError):
    """The Hugging Face hub cannot be reached, or rejects a request."""


class ConfigError(ManyheadsError, ValueError):
    """A configuration file or an option is invalid: an unknown key, a wrong value, or a required one is absent."""


class ClusterError(ManyheadsError, RuntimeError):
    """A worker of a cluster cannot start, or died again and again."""


class MissingExtraError(ManyheadsError, ImportError):
    """An optional dependency is not installed."""


class ManyheadsWarning(UserWarning):
    """Base of every warning.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", mh.errors.ManyheadsWarning)
        ...     len(trained.predict(texts))
        3
    """


class UntrainedHeadWarning(ManyheadsWarning):
    """An untrained head predicts."""


class InputWarning(ManyheadsWarning):
    """An input is probably a mistake."""


class BatchingWarning(ManyheadsWarning):
    """A backbone's states of a text depend on padding or on other texts, so that fewer texts share a pass."""


class SecondPassWarning(ManyheadsWarning):
    """Heads read prompts in a second pass, since the pass of generation does not compute what they were trained on."""


class NewTokensWarning(ManyheadsWarning):
    """Tokens were added after heads were trained, so texts may be tokenized differently from the training texts."""


class CheckpointWarning(ManyheadsWarning):
    """A training checkpoint is damaged or incomplete; training resumes from an older one."""


class CacheWarning(ManyheadsWarning):
    """Cached features were damaged or could not be stored; results are unaffected."""


def did_you_mean(value: object, known: Iterable[object]) -> str:
    """Return the end of a message: ``"; did you mean 'x'?"`` for the closest of ``known``, else a full stop."""
    by_text = {str(item): item for item in known}
    lowered = {text.casefold(): text for text in by_text}
    close = difflib.get_close_matches(str(value).casefold(), lowered, n=1, cutoff=0.6)
    return f"; did you mean {by_text[lowered[close[0]]]!r}?" if close else "."


def one_line(error: BaseException, most: int = 200) -> str:
    """Return the message of another library's error on one line, cut to ``most`` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 3] + "..."


def counted(number: int, noun: str) -> str:
    """Return ``"1 row"`` or ``"1,200 rows"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items: Iterable[object], most: int = 8) -> str:
    """Return ``"'a', 'b', 'c'"``; after ``most`` items, only the number of the others follows."""
    shown = [repr(item) for item in items]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more if shown else "none"
