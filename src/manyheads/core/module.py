"""The core module: backbone -> taps -> heads -> losses, in one forward.

It knows nothing of texts, tables, files or training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from manyheads.backbone import Backbone
from manyheads.core.lm_init import start_from_lm_head
from manyheads.errors import InputError, UnknownHeadError, did_you_mean, listed
from manyheads.heads import Head, HeadCollection, HeadSpec, LossTerms
from manyheads.taps import Branched, Tap, off_branch, request_of
from manyheads.types import Batch, Features, HeadedOutput, Request


class HeadedCore(nn.Module):
    """A backbone and the heads beside it.

    Args:
        backbone: The backbone.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = HeadCollection()

    def build_head(self, spec: HeadSpec, taps: Iterable[Tap] | None = None) -> Head:
        """Return an untrained head for this backbone, in fp32, on its device, in this module's mode.

        Args:
            spec: The head's.
            taps: What it reads, where that is not simply what the spec names.

        Raises:
            HeadError: the head reads what the backbone does not have, or a head that is not there.
        """
        resolved = self.resolved(spec.taps if taps is None else taps)
        return Head(spec, resolved, self.backbone.facts).to(self.backbone.device).train(self.training)

    def resolved(self, taps: Iterable[Tap]) -> list[Tap]:
        """Return taps with all that they leave open decided for this backbone and the heads beside it, each once.

        Raises:
            HeadError: one reads what there is not.
        """
        facts = self.backbone.facts
        return list(dict.fromkeys(tap.resolve(facts) for tap in self.heads.with_score_counts(taps)))

    def start_head(self, head: Head) -> Head:
        """Give a head the weights that its ``init`` asks for, and return it.

        Raises:
            HeadError: it reads nothing that the LM head's rows fit, or the backbone has no such rows or no tokenizer.
        """
        self.backbone.check_prompts(request_of(head.taps, self.backbone.facts))
        if head.spec.init == "lm_head":
            start_from_lm_head(self.backbone, head)
        return head

    def request(self, taps: Iterable[Tap]) -> Request:
        """Return what these resolved taps need, together, from one pass."""
        return request_of(taps, self.backbone.facts)

    def read(self, batch: Batch, taps: Iterable[Tap], lm: bool = False) -> tuple[dict[Tap, Features], Tensor | None]:
        """Run the backbone once and return every tap's features, and the language model's logits if asked for."""
        taps = list(dict.fromkeys(taps))
        states, lm_logits = self.backbone(batch, self.request(taps), lm)
        return {tap: tap.read(states) for tap in taps}, lm_logits

    def forward(
        self,
        batch: Batch,
        labels: Mapping[str, Tensor] | None = None,
        heads: Iterable[str] | None = None,
        lm: bool = False,
    ) -> HeadedOutput:
        """Run the backbone once for all chosen heads.

        Args:
            batch: Token tensors, padded anywhere.
            labels: Head name -> targets; a head that is absent, and a missing cell, is unlabelled.
            heads: Names of the heads to run; all by default.
            lm: Whether to return the language model's logits too.

        Raises:
            UnknownHeadError: a name that no head has, among ``heads`` or ``labels``.
            InputError: tensors of a wrong shape, dtype or range.
        """
        chosen = self.heads.chosen(heads)
        read, lm_logits = self.read(batch, self.heads.taps_of(chosen), lm)
        return self._output(read, chosen, labels, batch, lm_logits)

    def resume_from_states(
        self, batch: Batch, fork: str, entry: Tensor, labels: Mapping[str, Tensor] | None, heads: Iterable[str] | None
    ) -> HeadedOutput:
        """Run a fork alone, from hidden states below it, for heads that read nothing else of the backbone.

        Args:
            batch: Token tensors, right-padded.
            fork: The fork's name.
            entry: (rows, tokens, width) hidden states that enter it.
            labels: As in :meth:`forward`.
            heads: Names of the heads to run.
        """
        chosen = self.heads.chosen(heads)
        taps = self.heads.taps_of(chosen)
        wanted = self.request(taps).branches.get(fork, Request())
        states = self.backbone.resume_from_states(batch, fork, wanted, entry)
        read = {tap: tap.read(states) for tap in taps}
        return self._output(read, chosen, labels, batch, None)

    def _output(
        self,
        read: Mapping[Tap, Features],
        chosen: Mapping[str, Head],
        labels: Mapping[str, Tensor] | None,
        batch: Batch,
        lm_logits: Tensor | None,
    ) -> HeadedOutput:
        # Heads are fp32 whatever precision the backbone runs in.
        with torch.autocast(self.backbone.device.type, enabled=False):
            if labels is None:
                return HeadedOutput(logits=self.heads(read, chosen), lm_logits=lm_logits)
            targets = self.targets(labels, batch)
            labelled = {name for name, target in targets.items() if bool(self.heads[name].spec.labelled(target).any())}
            logits = self.heads(read, chosen, labelled)
            terms = self.loss_terms(logits, targets)
            loss, losses = self.joint_loss(terms)
        counts = {name: term.count for name, term in terms.items()}
        weights = {name: term.weight.detach() for name, term in terms.items()}
        return HeadedOutput(
            loss=loss, losses=losses, counts=counts, weights=weights, logits=logits, lm_logits=lm_logits
        )

    def merge(self, name: str) -> None:
        """Fold a branch's adapters into the backbone's own weights; its heads then read the backbone itself.

        Raises:
            BackboneError: no such branch, one without adapters, or weights that cannot be added to.
        """
        self.backbone.merge(name)
        for head in self.heads.values():
            head.taps = tuple(off_branch(tap, name) for tap in head.taps)

    def reading_besides(self, name: str) -> list[str]:
        """Return the heads that read something of the backbone, or of another branch, beside this branch."""
        facts = self.backbone.facts
        own = {head: [tap for tap in part.taps if tap.needs_pass(facts)] for head, part in self.heads.items()}
        return [head for head, taps in own.items() if any(off_branch(tap, name) is tap for tap in taps)]

    def prune(self) -> None:
        """Let go of branches that no head reads."""
        read = {tap.branch for head in self.heads.values() for tap in head.taps if isinstance(tap, Branched)}
        for name in set(self.backbone.branches) - read:
            del self.backbone.branches[name]

    def targets(self, labels: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return labels of a batch checked, on this module's device, in the form that the losses take.

        Raises:
            UnknownHeadError: labels of a head that does not exist.
            InputError: labels of a wrong shape, dtype or range.
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

    def loss_terms(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, LossTerms]:
        """Return each head's loss before averaging, for heads that have both logits and checked targets."""
        return {
            name: self.heads[name].spec.loss(value, targets[name], self.heads[name].loss_weights(name))
            for name, value in logits.items()
            if name in targets
        }

    def joint_loss(self, terms: Mapping[str, LossTerms]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the mean losses, and the mean losses.

        A head without a labelled cell is 0 and outside the graph, so that no optimiser moves it; if none has any,
        the sum is a zero that ``backward`` accepts and that reaches no weight.
        """
        losses = {name: term.mean if term.count else _zero(term.total) for name, term in terms.items()}
        present = [self.heads[name].spec.loss_weight * losses[name] for name, term in terms.items() if term.count]
        if not present:
            return torch.zeros((), device=self.backbone.device, requires_grad=torch.is_grad_enabled()), losses
        return torch.stack(present).sum(), losses


def _zero(like: Tensor) -> Tensor:
    return torch.zeros((), device=like.device, dtype=like.dtype)
