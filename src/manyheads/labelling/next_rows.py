"""Choose the texts whose labels teach most: uncertain ones that differ from each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.data.labelled import words_for
from manyheads.data.split import first_of_each
from manyheads.data.texts.texts import Texts
from manyheads.errors import DataError, HeadError, listed
from manyheads.features import BranchedSource, FeatureCache, FeatureSource, FeatureTable, identity_of
from manyheads.features.apply_heads import apply_heads
from manyheads.features.running_cores import RunningCores
from manyheads.features.tokenize import tokenize_for
from manyheads.heads import Head
from manyheads.labelling.choose import choose_rows
from manyheads.labelling.uncertainty import uncertainty
from manyheads.taps import BackboneTap, Hidden
from manyheads.types import Features, Tokenizer

# Rows whose features are in memory together before they are pooled.
_CHUNK = 1024


def next_rows(
    core: HeadedCore,
    tokenizer: Tokenizer,
    texts: Texts,
    count: int,
    heads: Iterable[str] | None,
    max_length: int | None,
    cache: FeatureCache | None,
    seed: int,
) -> list[int]:
    """Return the rows to label next; the arguments are those of ``next_to_label``."""
    chosen = _checked(core, core.heads.chosen(heads))
    rows = first_of_each(texts.texts)
    rows = rows[~texts.empty[rows]]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(rows):
        raise DataError(f"n must be a whole number from 1 to {len(rows)}, the number of different texts, got {count!r}")
    uncertainties, features = _read(core, tokenizer, texts, rows, chosen, max_length, cache)
    places: list[int] = rows[choose_rows(uncertainties, features, count, seed)].tolist()
    return places


def _checked(core: HeadedCore, heads: Mapping[str, Head]) -> Mapping[str, Head]:
    """Return the heads that predict labels.

    Raises:
        HeadError: there is none, or one is untrained.
    """
    untrained = [name for name, head in core.heads.with_dependencies(heads).items() if not head.is_usable]
    if untrained:
        raise HeadError(f"Head {listed(untrained)}: is untrained, so it is not uncertain of anything; train it first")
    found = {name: head for name, head in heads.items() if head.spec.has_labels}
    if not found:
        raise HeadError("No head predicts labels; the next rows to label are chosen by how uncertain a label is")
    return found


def _read(
    core: HeadedCore,
    tokenizer: Tokenizer,
    texts: Texts,
    rows: np.ndarray,
    heads: Mapping[str, Head],
    max_length: int | None,
    cache: FeatureCache | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean uncertainty of the heads (rows,) and features of unit length (rows, width), from one pass."""
    words = words_for(heads, texts)
    tokenized = tokenize_for(
        core, tokenizer, texts.texts, max_length, "truncate", taps=core.heads.taps_of(heads), words=words
    )
    digest = core.backbone.digest()
    uncertainties, features = [], []
    for running, group in RunningCores(core).groups(heads):
        source = BranchedSource(core, FeatureSource(running, tokenized, cache, identity_of(running.backbone, digest)))
        taps = core.heads.taps_of(group)
        compared = [tap for tap in taps if tap.needs_pass(core.backbone.facts)] or _default(core)
        tables = source.read([*taps, *compared], rows)
        for name, logits in apply_heads(core, tables, group, rows, tokenized).items():
            spec, decision = group[name].spec, group[name].decision
            scores = logits.map(lambda values, spec=spec, decision=decision: spec.scores(values, decision))  # type: ignore[misc]
            found = uncertainty(spec, scores, decision)
            assert found is not None, "a head with labels has an uncertainty"
            uncertainties.append(found)
        features += [_pooled(tables[tap], rows) for tap in compared]
    return np.mean(uncertainties, axis=0), np.concatenate(features, axis=1)


def _default(core: HeadedCore) -> Sequence[BackboneTap]:
    """Return the tap by which texts are compared if the heads read token ids only."""
    return [Hidden().resolve(core.backbone.facts)]


def _pooled(table: FeatureTable, rows: np.ndarray) -> np.ndarray:
    """Return one vector of unit length per row (rows, width)."""
    chunks = [table.take(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]
    vectors = torch.cat([_mean_over_tokens(chunk) for chunk in chunks])
    unit: np.ndarray = torch.nn.functional.normalize(vectors, dim=1).numpy()
    return unit


def _mean_over_tokens(features: Features) -> torch.Tensor:
    if features.mask is None:
        return features.values.flatten(1)
    mask = features.mask.unsqueeze(-1)
    return (features.values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
