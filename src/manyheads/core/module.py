"""The core module: backbone -> taps -> heads -> losses, in one forward pass.

It does not depend on texts, tables, files or training.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from manyheads.backbone import Backbone
from manyheads.backbone.stack.prompts import check_room
from manyheads.core.lm_init import start_from_lm_head
from manyheads.core.output import HeadedOutput
from manyheads.errors import BackboneError, InputError, UnknownHeadError, did_you_mean, listed
from manyheads.heads import Head, HeadCollection, HeadSpec, LossTerms
from manyheads.taps import BackboneTap, Branched, Tap, off_branch, request_of
from manyheads.types import Batch, Features, Request


class HeadedCore(nn.Module):
    """A backbone and its heads.

    Args:
        backbone: The backbone.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = HeadCollection()

    def with_copied_heads(self) -> HeadedCore:
        """Return a core on the same backbone with copies of the heads, which can be trained without a trace."""
        copied = HeadedCore(self.backbone)
        copied.heads = copy.deepcopy(self.heads)
        copied.training = self.training
        return copied

    def build_head(self, spec: HeadSpec, taps: Iterable[Tap] | None = None) -> Head:
        """Return an untrained head for this backbone, in fp32, on its device and in this module's mode.

        Args:
            spec: The head's spec.
            taps: The head's taps; the spec's by default.

        Raises:
            HeadError: the backbone does not provide a tap, or the head reads a head that does not exist.
        """
        resolved = self.resolved(spec.taps if taps is None else taps)
        return Head(spec, resolved, self.backbone.facts).to(self.backbone.device).train(self.training)

    def resolved(self, taps: Iterable[Tap]) -> list[Tap]:
        """Return distinct taps with every open setting resolved for this backbone and its heads.

        Raises:
            HeadError: the backbone does not provide a tap.
        """
        facts = self.backbone.facts
        return list(dict.fromkeys(tap.resolve(facts) for tap in self.heads.with_score_counts(taps)))

    def start_head(self, head: Head) -> Head:
        """Initialize a head's weights according to its ``init``, and return the head.

        Raises:
            HeadError: a prompt leaves no room for text, or ``init="lm_head"`` does not fit the head or the backbone.
        """
        prompts = self.backbone.templates(request_of(head.backbone_taps, self.backbone.facts))
        check_room(prompts, self.backbone.name)
        if head.spec.init == "lm_head":
            start_from_lm_head(self.backbone, head)
        return head

    def request(self, taps: Iterable[BackboneTap]) -> Request:
        """Return the states that these resolved taps need from one pass."""
        return request_of(taps, self.backbone.facts)

    def read(
        self, batch: Batch, taps: Iterable[BackboneTap], lm: bool = False
    ) -> tuple[dict[BackboneTap, Features], Tensor | None]:
        """Run the backbone once and return each tap's features, and the language model's logits if requested."""
        taps = list(dict.fromkeys(taps))
        states, lm_logits = self.backbone(batch, self.request(taps), lm)
        return {tap: tap.read(states) for tap in taps}, lm_logits

    def forward(
        self,
        batch: Batch,
        labels: Mapping[str, Tensor] | None = None,
        heads: Iterable[str] | None = None,
        lm: bool = False,
        sample_weight: Tensor | None = None,
    ) -> HeadedOutput:
        """Run the backbone once for all chosen heads.

        Args:
            batch: Token tensors, padded anywhere.
            labels: Head name -> targets; heads without an entry have no labels.
            heads: Names of the heads to run; all by default.
            lm: Whether to return the language model's logits too.
            sample_weight: Weight of each row in the losses, (rows,).

        Raises:
            UnknownHeadError: ``heads`` or ``labels`` names a head that does not exist.
            InputError: a tensor with a wrong shape, dtype or range.
        """
        chosen = self.heads.chosen(heads)
        read, lm_logits = self.read(batch, self.heads.taps_of(chosen), lm)
        return self._output(read, chosen, labels, batch, lm_logits, sample_weight)

    def resume_from_states(
        self,
        batch: Batch,
        fork: str,
        entry: Tensor,
        labels: Mapping[str, Tensor] | None,
        heads: Iterable[str] | None,
        sample_weight: Tensor | None = None,
    ) -> HeadedOutput:
        """Run a fork alone, from hidden states below it, for heads that read only this fork.

        Args:
            batch: Token tensors, right-padded.
            fork: The fork's name.
            entry: Hidden states (rows, tokens, width) that enter the fork.
            labels: As in ``forward``.
            heads: Names of the heads to run.
            sample_weight: As in ``forward``.
        """
        chosen = self.heads.chosen(heads)
        taps = self.heads.taps_of(chosen)
        request = self.request(taps).branches.get(fork, Request())
        states = self.backbone.resume_from_states(batch, fork, request, entry)
        read = {tap: tap.read(states) for tap in taps}
        return self._output(read, chosen, labels, batch, None, sample_weight)

    def _output(
        self,
        read: Mapping[BackboneTap, Features],
        chosen: Mapping[str, Head],
        labels: Mapping[str, Tensor] | None,
        batch: Batch,
        lm_logits: Tensor | None,
        sample_weight: Tensor | None,
    ) -> HeadedOutput:
        # Heads are fp32 in every precision of the backbone.
        with torch.autocast(self.backbone.device.type, enabled=False):
            if labels is None:
                return HeadedOutput(logits=self.heads(read, chosen), lm_logits=lm_logits)
            targets, weight = self.targets(labels, batch), self._checked_weight(sample_weight, batch)
            labelled = {name for name, target in targets.items() if self._counts(name, target, weight)}
            logits = self.heads(read, chosen, labelled)
            terms = self.loss_terms(logits, targets, weight)
            loss, losses = self.joint_loss(terms)
        counts = {name: term.count for name, term in terms.items()}
        weights = {name: term.weight.detach() for name, term in terms.items()}
        return HeadedOutput(
            loss=loss, losses=losses, counts=counts, weights=weights, logits=logits, lm_logits=lm_logits
        )

    def merge_adapter(self, name: str | None = None, change_lm: bool = False) -> None:
        """Fold a LoRA adapter into the backbone's weights; its heads then read the backbone.

        Args:
            name: The adapter's; the only one by default.
            change_lm: Whether the language model, and other heads that read the backbone, may change.

        Raises:
            BackboneError: no such adapter, several and none was named, weights that cannot be added to, or
                something would change without ``change_lm``.
        """
        chosen = self.backbone.branches.adapter_name(name)
        others = self._heads_outside(chosen)
        if not change_lm and (self.backbone.lm is not None or others):
            changed = (
                "its language model" if self.backbone.lm is not None else f"the input of the heads {listed(others)}"
            )
            raise BackboneError(
                f"{self.backbone.name}: merging {chosen!r} would change {changed}; keep the adapter, or pass "
                "change_lm=True"
            )
        self.backbone.merge(chosen)
        for head in self.heads.values():
            head.taps = tuple(off_branch(tap, chosen) for tap in head.taps)

    def _heads_outside(self, branch: str) -> list[str]:
        """Return the heads with a tap that reads the backbone or another branch."""
        facts = self.backbone.facts
        taps = {name: [tap for tap in head.taps if tap.needs_pass(facts)] for name, head in self.heads.items()}
        return [name for name, own in taps.items() if any(off_branch(tap, branch) is tap for tap in own)]

    def is_accumulating(self) -> bool:
        """Return whether gradients of earlier batches are kept for the next one."""
        kept = any(parameter.grad is not None for head in self.heads.values() for parameter in head.parameters())
        return self.training and torch.is_grad_enabled() and kept

    def prune(self) -> None:
        """Remove branches that no head reads."""
        read = {tap.branch for head in self.heads.values() for tap in head.taps if isinstance(tap, Branched)}
        for name in set(self.backbone.branches) - read:
            del self.backbone.branches[name]

    def targets(self, labels: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Check labels and return them on this module's device, in the form that the losses need.

        Raises:
            UnknownHeadError: labels of a head that does not exist.
            InputError: labels with a wrong shape, dtype or range.
        """
        if not isinstance(labels, Mapping):
            raise InputError(f"labels must be a mapping of head names to tensors, got {type(labels).__name__}")
        checked: dict[str, Tensor] = {}
        for name, target in labels.items():
            if name not in self.heads:
                raise UnknownHeadError(
                    f"labels: no head {name!r}{did_you_mean(name, self.heads)} The heads: {listed(self.heads)}"
                )
            if not isinstance(target, Tensor):
                raise InputError(f"Head {name!r}: labels must be a tensor, got {type(target).__name__}")
            checked[name] = self.heads[name].spec.check_targets(target.to(self.backbone.device), batch, name)
        return checked

    def _checked_weight(self, sample_weight: Tensor | None, batch: Batch) -> Tensor | None:
        """Return the weights of the rows on this module's device.

        Raises:
            InputError: another shape or dtype, or a weight that is negative or not finite.
        """
        if sample_weight is None:
            return None
        if not isinstance(sample_weight, Tensor) or sample_weight.shape != (len(batch.input_ids),):
            is_tensor = isinstance(sample_weight, Tensor)
            given = tuple(sample_weight.shape) if is_tensor else type(sample_weight).__name__
            raise InputError(f"sample_weight must be a tensor ({len(batch.input_ids)},), one per row, got {given}")
        weight = sample_weight.to(self.backbone.device).float()
        wrong = ~(torch.isfinite(weight) & (weight >= 0))
        if bool(wrong.any()):
            raise InputError(f"sample_weight must be finite and at least 0, got {float(weight[wrong][0])}")
        return weight

    def _counts(self, name: str, target: Tensor, sample_weight: Tensor | None) -> bool:
        """Return whether a labelled row of a head counts in the loss."""
        labelled = self.heads[name].spec.labelled(target)
        return bool((labelled if sample_weight is None else labelled & (sample_weight > 0)).any())

    def loss_terms(
        self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor], sample_weight: Tensor | None = None
    ) -> dict[str, LossTerms]:
        """Return each head's loss before averaging, for heads with both logits and checked targets."""
        return {
            name: self.heads[name].spec.loss(value, targets[name], self.heads[name].loss_weights(name), sample_weight)
            for name, value in logits.items()
            if name in targets
        }

    def joint_loss(self, terms: Mapping[str, LossTerms]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the mean losses, and the mean losses.

        The loss of a head without labels is zero and not part of the graph, so no optimizer updates the head. If no
        head has labels, the sum is a zero with no gradients on which ``backward`` can still be called.
        """
        losses = {name: term.mean if term.count else _zero(term.total) for name, term in terms.items()}
        present = [self.heads[name].spec.loss_weight * losses[name] for name, term in terms.items() if term.count]
        if not present:
            return torch.zeros((), device=self.backbone.device, requires_grad=torch.is_grad_enabled()), losses
        return torch.stack(present).sum(), losses


def _zero(like: Tensor) -> Tensor:
    return torch.zeros((), device=like.device, dtype=like.dtype)
