"""From rows of token ids and labels to the tensors of one forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from manyheads.errors import InputError
from manyheads.types import MISSING

# Padding of rows.
_INPUTS = {"input_ids": 0, "token_type_ids": 0, "word_ids": -1}


class CollatedLabels(dict[str, Tensor]):
    """Labels by head as ``collate`` makes them.

    The name is what lets a forward notice that a trainer which cannot count labels per head accumulates gradients.
    """


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a right-padded batch, as a data loader's ``collate_fn`` or a trainer's ``data_collator``.

    Args:
        examples: Dicts with ``input_ids`` (a list of integers), optionally ``token_type_ids`` and ``word_ids`` (the
            index of each token's word, -1 for none), and ``labels``: head name -> a class position, a number, a list of
            zeros and ones, a list with the share of each label as floats, or a list of class positions, one per word,
            or per token without ``word_ids``. A missing label is absent or ``None``. If the rows have weights, each has
            its own as ``sample_weight``.

    Returns:
        ``input_ids``, ``attention_mask`` and the optional inputs, int64 (rows, tokens), ``sample_weight`` fp32 (rows,)
        if given, and ``labels``: head name ->
        int64 (rows,) or (rows, words) with -100 for missing, or fp32 with NaN for missing. Heads without any label are
        absent. The padding id is 0: the mask marks padding, never the id.

    Raises:
        InputError: no example, an example without ``input_ids``, labels of different types for one head, or rows with
            and without a weight.

    Examples:
        >>> batch = mh.collate([
        ...     {"input_ids": [5, 6, 7], "labels": {"urgency": 1}},
        ...     {"input_ids": [8], "labels": {}},
        ... ])
        >>> batch["attention_mask"].tolist(), batch["labels"]["urgency"].tolist()
        ([[1, 1, 1], [1, 0, 0]], [1, -100])
    """
    if not examples or any("input_ids" not in example for example in examples):
        raise InputError("collate: every example needs input_ids; tokenize the texts first")
    batch: dict[str, Any] = {name: _padded(examples, name) for name in _INPUTS if name in examples[0]}
    lengths = torch.tensor([len(example["input_ids"]) for example in examples])
    batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).long()
    weighted = [example["sample_weight"] for example in examples if example.get("sample_weight") is not None]
    if weighted and len(weighted) < len(examples):
        raise InputError("collate: some examples have a sample_weight and some have none; give every example its own")
    if weighted:
        batch["sample_weight"] = torch.tensor([float(weight) for weight in weighted])
    words = [_words(example) for example in examples]
    cut = "word_ids" in examples[0]
    labels = [example.get("labels") or {} for example in examples]
    names = dict.fromkeys(name for row in labels for name in row)
    columns = {name: [row.get(name) for row in labels] for name in names}
    batch["labels"] = CollatedLabels(
        {name: _column(name, cells, words, cut) for name, cells in columns.items() if any(c is not None for c in cells)}
    )
    return batch


def check_collated(labels: object, accumulating: bool) -> None:
    """Raise if a plain Trainer accumulates gradients or runs on several processes.

    Raises:
        InputError: labels of ``collate`` met such a trainer.
    """
    if not isinstance(labels, CollatedLabels):
        return
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if accumulating or several:
        raise InputError(
            "This trainer would average means of batches that hold unequal numbers of labels per head; use mh.Trainer, "
            "or, in a loop of your own that weights them, pass labels=dict(batch['labels'])"
        )


def _padded(examples: Sequence[Mapping[str, Any]], name: str) -> Tensor:
    rows = [torch.as_tensor(example[name], dtype=torch.int64) for example in examples]
    padded: Tensor = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_INPUTS[name])
    return padded


def _words(example: Mapping[str, Any]) -> int:
    """Return how many words an example has; without word ids, every token is one."""
    ids = example.get("word_ids")
    return len(example["input_ids"]) if ids is None else max(max(ids, default=-1) + 1, 0)


def _column(name: str, cells: Sequence[Any], words: Sequence[int], cut: bool) -> Tensor:
    """Return one head's targets; the form of a missing cell depends on the other cells."""
    present = [np.asarray(cell) for cell in cells if cell is not None]
    if _per_word(cells, words, cut):
        # Rows without a label may have more words than this; they stay without one.
        width = max(len(cell) for cell in present)
        rows = [np.empty(0) if cell is None else np.asarray(cell) for cell in cells]
        filled = [np.concatenate([row, np.full(width - len(row), MISSING)]) for row in rows]
        return torch.from_numpy(np.stack(filled).astype(np.int64))
    if len({(cell.shape, cell.dtype.kind in "iub" and not cell.shape) for cell in present}) != 1:
        raise InputError(f"collate: head {name!r}: labels of one batch are of different kinds or lengths")
    if present[0].dtype.kind in "iub" and not present[0].shape:
        return torch.tensor([MISSING if cell is None else int(cell) for cell in cells])
    missing = np.full(present[0].shape, np.nan, dtype=np.float32)
    return torch.from_numpy(
        np.stack([missing if cell is None else np.asarray(cell, dtype=np.float32) for cell in cells])
    )


def _per_word(cells: Sequence[Any], words: Sequence[int], cut: bool) -> bool:
    """Return whether every cell is a list of integers, one per word, with or without those of truncated words."""
    present = [(np.asarray(cell), count) for cell, count in zip(cells, words, strict=True) if cell is not None]
    # An empty list has no integers, and numpy makes fractions of it.
    integers = all(cell.ndim == 1 and (cell.dtype.kind in "iu" or not len(cell)) for cell, _ in present)
    return integers and all(len(cell) == count or (cut and len(cell) > count) for cell, count in present)
