"""What a search for taps found, layer by layer, from the record that is saved with a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# How a search measures alternatives: the error of ridge regression, each row predicted from all others.
LEAVE_ONE_OUT = "leave one out"

_Record = Mapping[str, Any]


def explained_by_tap(tried: Sequence[_Record], chosen: Sequence[_Record]) -> list[tuple[str, float]]:
    """Return the share of the labels' variance that each layer with its best pooling explains, then each bag of tokens
    or words, and the chosen taps together if they are several; none without a search.

    Args:
        tried: The alternatives in the head's summary.
        chosen: The head's taps, as plain JSON.
    """
    screened = [one for one in tried if one.get("by") == LEAVE_ONE_OUT]
    singles = [one for one in screened if len(one["reads"]) == 1]
    if not singles:
        return []
    fewest = min(one["settings"]["rows"] for one in singles)
    alike = [one for one in singles if one["settings"]["rows"] == fewest]
    rows = [(_name(one["reads"]), 1 - float(one["loss"])) for one in _best_of_each(alike)]
    final = [one for one in screened if _same(one["reads"], chosen)]
    if final and len(chosen) > 1:
        rows.append((_name(final[-1]["reads"]), 1 - float(final[-1]["loss"])))
    return rows


def _best_of_each(alike: Sequence[_Record]) -> list[_Record]:
    """Return the best alternative of each layer, in their order, and of each bag."""
    layers: dict[int, _Record] = {}
    bags: dict[str, _Record] = {}
    for one in sorted(alike, key=lambda one: float(one["loss"])):
        tap = one["reads"][0]
        if "layer" in tap:
            layers.setdefault(tap["layer"], one)
        else:
            bags.setdefault(tap_name(tap), one)
    return [*(layers[layer] for layer in sorted(layers)), *(bags[name] for name in sorted(bags))]


def tap_name(tap: _Record) -> str:
    """Return a tap, given as plain JSON, in a few words."""
    if "reads" in tap:  # a tap around another one
        return tap_name(tap["reads"])
    if tap["tap"] == "lexical":
        return _bag_name(tap)
    window = f" ±{tap['window']}" if tap.get("window") else ""
    return f"{tap['layer']} {tap['pool'] if 'pool' in tap else tap['subword']}{window}"


def _name(reads: Sequence[_Record]) -> str:
    return " + ".join(tap_name(tap) for tap in reads)


def _bag_name(tap: _Record) -> str:
    if tap["first"]:
        return "first word" if tap["first"] == 1 else f"first {tap['first']} words"
    return f"{tap['unit']}s" + (" and pairs" if tap["ngrams"][1] == 2 else "")


def _same(reads: Sequence[_Record], chosen: Sequence[_Record]) -> bool:
    """Return whether two sets of taps are equal, apart from the number of terms of a lexical tap."""
    return {tap_name(tap) for tap in reads} == {tap_name(tap) for tap in chosen}
