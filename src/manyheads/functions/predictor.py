"""``Predictor``: the one object that answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from manyheads.data.texts.texts import read_texts_from_list
from manyheads.features import open_cache
from manyheads.inference import Predictions, Scorer, ScoringSettings
from manyheads.model import HeadedModel
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
        settings = ScoringSettings(max_length, long_text, dtype, batch_tokens)
        self._scorer = Scorer(model.core, model.tokenizer, settings, open_cache(cache))

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
            The same as ``__call__``; a text that cannot be used, after the predictions of the blocks before it.

        Examples:
            >>> answers = [row["urgency"].label for row in mh.Predictor(trained).stream(iter(texts))]
            >>> len(answers)
            3
        """
        return self._scorer.stream(texts, heads)
