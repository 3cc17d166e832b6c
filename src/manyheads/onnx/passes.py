"""The passes over the texts: the texts alone, and with each prompt around them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from manyheads.onnx.layout import Layout


def rows_by_pass(layout: Layout, rows: Sequence[Sequence[int]], read: Collection[int]) -> list[Sequence[Sequence[int]]]:
    """Return the token ids of each row in each pass of the graph.

    Args:
        layout: What stands beside the graph.
        rows: The token ids of the texts, as the tokenizer encodes them.
        read: The passes that heads read. In the others, which the graph computes all the same, rows have one token.
    """
    passes: list[Sequence[Sequence[int]]] = [rows]
    passes += [
        [prompt.around(row) for row in rows] if number in read else []
        for number, prompt in enumerate(layout.prompts, start=1)
    ]
    unread = [[layout.start]] * len(rows)
    return [found if number in read else unread for number, found in enumerate(passes)]


def room_for_text(layout: Layout, passes: Iterable[int]) -> int | None:
    """Return the most tokens of a text that fits into every prompt of some passes; ``None`` for no limit."""
    prompts = [layout.prompts[number - 1] for number in passes if number]
    return min((prompt.limit - prompt.added for prompt in prompts if prompt.limit is not None), default=None)
