"""Train a copy of the top blocks that only heads read; the language model keeps the originals and cannot change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from manyheads.backbone.branches.branches import build_fork
from manyheads.backbone.branches.fork import ForkBranch, top_blocks
from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.core.output import HeadedOutput
from manyheads.data.batching import plan_batches
from manyheads.errors import MethodError
from manyheads.features import FeatureCache, FeatureSource, FeatureTable, identity_of, open_cache
from manyheads.features.logits import empty_logits
from manyheads.features.precision import feature_core
from manyheads.heads import Head, Logits
from manyheads.taps import off_branch, on_branch
from manyheads.taps.token_states import TokenStates
from manyheads.training.dataset import TrainingData
from manyheads.training.frozen.method import FrozenBeside, FrozenStart
from manyheads.training.method import Outcome
from manyheads.training.tuning.learning_rates import depth_rates, head_rates
from manyheads.training.tuning.loss_weighting import Weighting
from manyheads.training.tuning.method import Tuning, check_trainable, coarse_note
from manyheads.training.tuning.step_module import TrainableCore, TuningPlan, collate_rows, evaluated
from manyheads.types import Batch

# Without a cache, token states of at most this many bytes are stored in memory.
_HELD_BYTES = 1 << 30
# Bytes to leave free on the disk.
_SPARE_BYTES = 1 << 30


@dataclass(frozen=True)
class Fork(Tuning):
    """Train a copy of the top blocks, the final norm and the pooler; heads read both, the LM the originals.

    The states that enter the fork are computed once and stored in the feature cache (two bytes per number), so that the
    blocks below run only once and an epoch costs about top / layers of a full one. If the states do not fit, or a head
    reads layers below the fork, the blocks below run in every epoch, in eval mode and without a graph.

    Args:
        top: Number of blocks to copy.
        frozen_share: Each answer is the mean of the tuned head's logits and those of the head that ``Frozen`` trains on
            all training rows, which have this share, below 1. ``None`` is 0.5, or for each head the share from 0 to 1
            that has less loss on the held-out rows by more than a standard error; with ``start="random"`` it is 0. With
            0, heads read the fork alone, and the blocks that it copies need not run for them. Where tuning leaves no
            trace (``tuned_share`` 0, epoch 0 the best), heads are those of ``Frozen``. Heads with hidden layers or
            learned poolings, and those that read or are read by another head, answer alone.
        layer_decay: Factor on ``lr`` for each block further down.
        cache: Storage of token states: ``"auto"`` for the user's cache folder, a folder, or ``None`` for memory.

    All other settings are those of ``training.tuning.method.Tuning``.

    Raises:
        MethodError: a setting out of its range.
        CacheError: ``cache`` is not a folder.

    Examples:
        >>> method = mh.Fork(top=1, epochs=1, cache=None)
        >>> mh.train(model, table, text="note", method=method).lm_check.bit_identical
        True
    """

    top: int = 2
    frozen_share: float | None = field(default=None, kw_only=True)
    lr: float = field(default=3e-4, kw_only=True)
    layer_decay: float = field(default=1.0, kw_only=True)
    cache: str | Path | None = field(default="auto", kw_only=True, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_whole("top")
        self.check_number("layer_decay", above=0.0)
        if self.frozen_share is None:
            return
        self.check_number("frozen_share")
        if self.frozen_share >= 1 or (self.frozen_share > 0 and self.start != "frozen"):
            raise MethodError(
                f"Fork: frozen_share must be below 1, and above 0 only with start='frozen', got "
                f"{self.frozen_share!r} with start={self.start!r}"
            )

    def frozen_beside(self) -> FrozenBeside | None:
        """Return the method for heads that answer together with the tuned ones."""
        alone = self.start != "frozen" if self.frozen_share is None else self.frozen_share == 0
        return None if alone else FrozenBeside(cache=self.cache, share=self.frozen_share)

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings, without the cache folder."""
        return {name: value for name, value in super().describe().items() if name != "cache"}

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Train the fork and the heads; see ``training.tuning.run.tune``."""
        from manyheads.training.tuning.run import tune  # imports transformers' Trainer, which is slow

        return tune(self, core, heads, data)

    def check(self, core: HeadedCore, heads: Mapping[str, Head]) -> None:
        """Check that the backbone has enough blocks and that every head reads hidden states."""
        facts = core.backbone.facts
        check_trainable(core.backbone, self.name)
        top_blocks(core.backbone.stack, len(facts.widths), self.top)
        open_cache(self.cache)
        for name, head in heads.items():
            if not any(tap.resolve(facts).needs_pass(facts) for tap in head.spec.taps):
                raise MethodError(
                    f"Head {name!r}: reads no hidden states, so a fork does nothing for it; train it with Frozen"
                )

    def frozen_start(self) -> FrozenStart:
        """Return the method that solves the heads for ``start="frozen"``, on layers of the fork alone: so the blocks
        below it run once.
        """
        return FrozenStart(cache=self.cache, top=self.top)

    def plan(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, weighting: Weighting) -> TuningPlan:
        """Add a fork as a branch that the heads read, and return it with the states that enter it."""
        fork = build_fork(core.backbone.trunk, self.top)
        name = core.backbone.branches.free_name("fork")
        core.backbone.branches[name] = fork
        for head in heads.values():
            head.taps = tuple(on_branch(tap, name, core.backbone.facts) for tap in head.taps)
        rates = self._rates(fork) | head_rates(heads, self.head_lr)
        entries, note = self._entries(core, fork, heads, name, data)
        notes = (note, *coarse_note(core.backbone))
        if entries is None:
            module = TrainableCore(core, list(heads), fork.tuned_parts(), weighting)
            return TuningPlan(module, rates, collate_rows, lambda rows: evaluated(core, heads, data, rows), notes=notes)
        stored = StoredEntries(core, name, list(heads), data, entries)
        forked = _TrainableFork(core, list(heads), fork.tuned_parts(), weighting, name)
        return TuningPlan(forked, rates, stored.collate, stored.evaluate, live=False, notes=notes)

    def _rates(self, fork: ForkBranch) -> dict[nn.Parameter, float]:
        blocks = top_blocks(fork.stack, fork.layers, fork.top)
        depth = depth_rates(blocks, self.lr, self.layer_decay)
        return {parameter: depth.get(parameter, self.lr) for parameter in fork.trainable_parameters().values()}

    def _entries(
        self, core: HeadedCore, fork: ForkBranch, heads: Mapping[str, Head], name: str, data: TrainingData
    ) -> tuple[FeatureTable | None, str]:
        """Return the states that enter the fork and a note on their storage; ``None`` if they are not stored."""
        taps = core.heads.taps_of(heads)
        wanted = core.request(taps)
        if wanted.prompts:
            return (
                None,
                "The blocks below the fork ran in every epoch: a head reads a prompt, whose states are not stored.",
            )
        # Heads that are read but not trained do not read the fork.
        below = [tap for tap in taps if tap.needs_pass(core.backbone.facts) and off_branch(tap, name) is tap]
        if below or fork.entry_layers(wanted.branches[name]) != {fork.entry}:
            return None, "The blocks below the fork ran in every epoch: a head reads them, or the fork needs them."
        tap = TokenStates(fork.entry)
        rows = np.concatenate([data.train, data.held_out, data.evaluate])
        size_bytes = 2 * int(data.tokenized.lengths[rows].sum()) * tap.width(core.backbone.facts)
        cache = open_cache(self.cache)
        room = _room(cache)
        if size_bytes > room:
            return None, (
                "The blocks below the fork ran in every epoch: "
                f"storing their output needs {_size(size_bytes)} and only {_size(room)} are free; "
                "free some space, choose another cache, or raise MANYHEADS_CACHE_GB."
            )
        running = feature_core(core, "auto", data.tokenized, [tap], cache, data.digest)
        source = FeatureSource(running, data.tokenized, cache, identity_of(running.backbone, data.digest))
        table = source.read([tap], rows)[tap]
        return table, f"The fork trained on {_size(size_bytes)} of token states, read once."


class StoredEntries:
    """The stored states that enter a fork: batches of training rows, and logits of other rows.

    Args:
        core: The core with the fork.
        fork: Name of the fork.
        names: Names of the heads.
        data: The rows.
        table: Token states of the rows.
    """

    def __init__(
        self, core: HeadedCore, fork: str, names: Sequence[str], data: TrainingData, table: FeatureTable
    ) -> None:
        self._core, self._fork, self._names = core, fork, list(names)
        self._data, self._table = data, table

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch with the states that enter the fork, (rows, tokens, width)."""
        rows = np.array([example["rows"] for example in examples])
        return {**collate_rows(examples), "entry": self._table.take(rows).values}

    def evaluate(self, rows: np.ndarray) -> dict[str, Logits]:
        """Return fp32 logits of some rows."""
        logits = empty_logits(self._core.heads.chosen(self._names), self._data.tokenized, rows)
        with evaluating(self._core):
            for index, batch_logits in self._passes(rows):
                for name, values in batch_logits.items():
                    logits[name].put(index, values.float().cpu().numpy())
        return logits

    def _passes(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Mapping[str, Tensor]]]:
        device = self._core.backbone.device
        for index in plan_batches(self._data.tokenized.lengths[rows]) if len(rows) else []:
            batch = self._data.tokenized.batch(rows[index]).to(device)
            entry = self._table.take(rows[index]).values.to(device)
            output = self._core.resume_from_states(batch, self._fork, entry, None, self._names)
            assert output.logits is not None
            yield index, output.logits


class _TrainableFork(TrainableCore):
    """A fork that trains on the states that enter it."""

    def __init__(
        self, core: HeadedCore, names: Sequence[str], parts: Sequence[nn.Module], weighting: Weighting, fork: str
    ) -> None:
        super().__init__(core, names, parts, weighting)
        self._fork = fork

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        entry: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
        heads: Sequence[str] | None = None,
        lm: bool = False,
        word_ids: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> HeadedOutput:
        """Run the fork; see ``HeadedCore.resume_from_states``."""
        batch = Batch(input_ids, attention_mask, token_type_ids, word_ids=word_ids)
        chosen = self._names if heads is None else heads
        output = self.core.resume_from_states(batch, self._fork, entry, labels, chosen, sample_weight)
        weighted: HeadedOutput = self.weighting(output)
        return weighted


def _room(cache: FeatureCache | None) -> int:
    """Return the number of bytes available for token states."""
    if cache is None:
        return _HELD_BYTES
    folder = next(path for path in [cache.folder, *cache.folder.absolute().parents] if path.exists())
    return max(min(cache.limit, shutil.disk_usage(folder).free - _SPARE_BYTES), 0)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"
