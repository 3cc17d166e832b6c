"""The tokenizer of an export: the backbone's own, from ``tokenizer.json`` alone.

Truncation is what transformers' fast tokenizers do with ``truncation=True``: from both texts of a pair, the longer one
first, on the side that ``tokenizer.json`` names. Its other settings of truncation and padding are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, cast

from manyheads.errors import CorruptCheckpointError, one_line
from manyheads.onnx.extras import import_extra
from manyheads.onnx.layout import TOKENIZER_JSON, Layout
from manyheads.types import Tokenizer


def load_tokenizer(folder: Path, layout: Layout) -> Tokenizer:
    """Return the tokenizer of an export; it has the part of ``types.Tokenizer`` that ``data.texts`` uses.

    Raises:
        MissingExtraError: tokenizers is not installed.
        CorruptCheckpointError: tokenizers cannot read the file.
    """
    tokenizers = import_extra("tokenizers")
    path = folder / TOKENIZER_JSON
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain exceptions
        raise CorruptCheckpointError(f"{path}: tokenizers cannot read it: {one_line(error)}; export again") from None
    return cast(Tokenizer, FileTokenizer(tokenizer, layout))


class FileTokenizer:
    """Encodes texts with tokenizers, in the form in which transformers does.

    Args:
        tokenizer: ``tokenizers.Tokenizer``; it is changed.
        layout: The ids of special tokens, and the inputs that the backbone takes.

    Attributes:
        bos_token_id: The id that stands for a text without tokens.
        eos_token_id: ``None``.
        pad_token_id: The id of padding.
        is_fast: It reports the characters of each token.
    """

    is_fast = True
    eos_token_id = None

    def __init__(self, tokenizer: Any, layout: Layout) -> None:
        self.bos_token_id = layout.start
        self.pad_token_id = layout.pad
        self._side = (tokenizer.truncation or {}).get("direction", "right")
        self._has_segments = "token_type_ids" in layout.accepted
        self._tokenizer = tokenizer
        self._lock = Lock()  # truncation is a state of the tokenizer
        tokenizer.no_padding()

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[tuple[str, str]],
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = False,
        padding: bool = False,
        verbose: bool = True,
    ) -> dict[str, Any]:
        """Return the encoding of one text, or of several texts or pairs; the arguments are those of transformers.

        Args:
            text: One text, or a list of texts or pairs.
            add_special_tokens: Whether to add the special tokens around texts.
            truncation: Whether to truncate.
            max_length: Most tokens of a row, special tokens included; needed to truncate.
            return_offsets_mapping: Whether to return the characters of each token.
            padding: Only ``False``.
            verbose: Not used.
        """
        if isinstance(text, str):
            rows = self([text], add_special_tokens, truncation, max_length, return_offsets_mapping)
            return {name: values[0] for name, values in rows.items()}
        with self._lock:
            if truncation:
                self._tokenizer.enable_truncation(max_length, direction=self._side)
            else:
                self._tokenizer.no_truncation()
            encodings = self._tokenizer.encode_batch(list(text), add_special_tokens=add_special_tokens)
        encoded = {"input_ids": [encoding.ids for encoding in encodings]}
        if self._has_segments:
            encoded["token_type_ids"] = [encoding.type_ids for encoding in encodings]
        if return_offsets_mapping:
            encoded["offset_mapping"] = [encoding.offsets for encoding in encodings]
        return encoded
