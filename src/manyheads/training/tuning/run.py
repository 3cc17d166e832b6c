"""The training loop of every method that trains by gradient steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers

from manyheads.core import HeadedCore
from manyheads.deciding.temperature import TemperatureFit
from manyheads.errors import listed
from manyheads.evaluation.lm_loss import perplexity
from manyheads.features import FeatureSource
from manyheads.heads import Head, Logits
from manyheads.runtime.processes import from_first, is_first, wait_for_all
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import FitResult
from manyheads.training.frozen.head_fit import HeadFit
from manyheads.training.method import Outcome
from manyheads.training.resuming.run_folder import RunFolder, run_facts
from manyheads.training.solving.adamw import parameter_groups
from manyheads.training.tuning.arguments import training_arguments
from manyheads.training.tuning.best_epoch import EpochEvaluator
from manyheads.training.tuning.epoch_log import EpochLog
from manyheads.training.tuning.frozen_heads import Evaluate, FrozenHeads, suited_heads
from manyheads.training.tuning.held_out_rows import decide_on_held_out, holding_out
from manyheads.training.tuning.loss_weighting import LearnedWeighting, Weighting
from manyheads.training.tuning.method import Tuning
from manyheads.training.tuning.rollback import (
    recomputing,
    requiring_gradients,
    restored_afterwards,
    restored_on_failure,
)
from manyheads.training.tuning.selection import selection_of
from manyheads.training.tuning.step_module import TrainingRows, TuningPlan, evaluated
from manyheads.training.tuning.trainer import Trainer
from manyheads.training.tuning.watch import CountingCollate, Watch, WatchedRun
from manyheads.training.tuning.weight_mixture import DEFAULT_SHARE, WeightMixture, losses_of_shares


def tune(method: Tuning, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
    """Start the heads, then train everything together; if it fails, the model is unchanged.

    Args:
        method: The settings.
        core: The backbone and all heads.
        heads: The heads to train, changed in place.
        data: Training and evaluation rows.
    """
    method.check(core, heads)
    return _Run(method, core, heads, _with_held_out_rows(method, heads, data), data).outcome(restored_on_failure)


def try_out(
    method: Tuning, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, watch: Watch | None = None
) -> Outcome:
    """Return the outcome of ``tune``, and leave the model as before.

    Args:
        method: The settings.
        core: The backbone and all heads.
        heads: The heads to train.
        data: Training and evaluation rows.
        watch: May end the run.

    Raises:
        StoppedRunError: the watch ended the run.
    """
    method.check(core, heads)
    held_out = _with_held_out_rows(method, heads, data)
    return _Run(method, core, heads, held_out, data, watch).outcome(restored_afterwards)


def _with_held_out_rows(method: Tuning, heads: Mapping[str, Head], data: TrainingData) -> TrainingData:
    """Return the data with rows held out, if the share of the tuned weights or a decision is to be chosen on them."""
    decides = any(head.spec.decided_by for head in heads.values())
    return holding_out(data, method.held_out) if decides or method.chooses_share else data


@dataclass(frozen=True)
class _Run:
    """One call of ``tune`` or ``try_out``.

    Attributes:
        method: The settings.
        core: The backbone and all heads.
        heads: The heads to train.
        data: Training rows, rows held out of them, and evaluation rows.
        all_data: The same, with the held-out rows among the training rows.
        watch: May end the run.
    """

    method: Tuning
    core: HeadedCore
    heads: Mapping[str, Head]
    data: TrainingData
    all_data: TrainingData
    watch: Watch | None = None

    def outcome(self, restored: Callable[..., AbstractContextManager[None]]) -> Outcome:
        """Train, and return the result.

        Args:
            restored: Restores the model, always or on failure.
        """
        method, core, heads, data = self.method, self.core, self.heads, self.data
        selection = selection_of(method.best_by, method.patience, heads, data)
        folder = self._run_folder()
        changing = list(method.changing(core))
        before = perplexity(core, data.tokenized, data.evaluate) if changing else None
        with restored(core, heads, changing):
            frozen = self._frozen_heads()
            started = start_heads(method, core, heads, data)
            weighting = LearnedWeighting(heads, core.backbone.device) if method.weighting == "learned" else Weighting()
            plan = method.plan(core, heads, data, weighting)
            evaluate = plan.evaluate
            if frozen is not None:
                plan = replace(plan, evaluate=frozen.averaged(evaluate))
            trained = [*plan.rates, *weighting.parameters()]
            evaluator = EpochEvaluator(heads, data, plan.evaluate, trained, selection, solved=method.start == "frozen")
            mixture = WeightMixture(plan.rates) if method.mixes_weights else None
            watched, watching = self._watching(plan, mixture)
            state, notes = self._train(watched, evaluator, watching, folder)
            logits = evaluator.finish(state.global_step)
            share = 1.0 if mixture is None else self._mix(mixture, plan)
            shares: dict[str, float] = {}
            if frozen is not None:
                helped = share > 0 and evaluator.best_epoch != 0
                shares = frozen.shares_of(evaluate, data) if helped else dict.fromkeys(frozen.heads, 1.0)
                evaluate = frozen.averaged(evaluate, shares)
            if share > 0:
                temperatures = self._decide(evaluate, frozen, shares)
            else:
                temperatures = {name: fit.temperature for name, fit in started.items()}
            if frozen is not None:
                frozen.join(heads, shares)
                temperatures |= {name: frozen.fits[name].temperature for name, own in shares.items() if own == 1}
            if logits is None or share < 1 or shares or not plan.live:
                logits = evaluated(core, heads, data, data.evaluate)
            after = perplexity(core, data.tokenized, data.evaluate) if changing else None
            for head in heads.values():
                head.trained = True
        settings = {
            "epochs": float(state.epoch or 0),
            "steps": float(state.global_step),
            "lr": method.rate(core.backbone),
        }
        if evaluator.best_epoch is not None:
            settings["best_epoch"] = evaluator.best_epoch
        if mixture is not None:
            settings["tuned_share"] = share
        own = {name: {"learned_weight": weight} for name, weight in weighting.weights().items()}
        own |= {name: own.get(name, {}) | {"frozen_share": found} for name, found in shares.items()}
        fits = {
            name: FitResult(
                {}, settings | own.get(name, {}), [], evaluator.history[name], temperature=temperatures.get(name)
            )
            for name in heads
        }
        as_frozen = [name for name, found in shares.items() if found == 1]
        tuned = {name: logits[name] for name in heads if name not in as_frozen}
        chosen = (
            *self._decision_notes(share, list(tuned)),
            *self._share_notes(share),
            *self._frozen_notes(frozen, shares),
        )
        notes = (*chosen, *plan.notes, *notes, *evaluator.notes(tuned))
        return Outcome(fits, logits, (before, after), notes)

    def _frozen_heads(self) -> FrozenHeads | None:
        """Train the heads that answer together with the tuned ones, if the method has any."""
        method = self.method.frozen_beside()
        if method is None or not suited_heads(self.core, self.heads):
            return None
        return FrozenHeads.trained(method, self.core, self.heads, self.all_data)

    def _watching(self, plan: TuningPlan, mixture: WeightMixture | None) -> tuple[TuningPlan, list[WatchedRun]]:
        """Return the plan and the callback that let the watch follow the run, if there is one."""
        if self.watch is None:
            return plan, []

        def logits_of(share: float) -> dict[str, Logits]:
            with nullcontext() if mixture is None else mixture.mixed_meanwhile(share):
                return plan.evaluate(self.data.evaluate)

        collate = CountingCollate(plan.collate)
        tokens = int(self.data.tokenized.lengths[self.data.train].sum())
        return replace(plan, collate=collate), [WatchedRun(self.watch, collate, tokens, logits_of)]

    def _mix(self, mixture: WeightMixture, plan: TuningPlan) -> float:
        """Mix the weights before and after tuning; return the share of the tuned ones."""
        share = self.method.tuned_share
        if share is None:
            share = DEFAULT_SHARE
            if len(self.data.held_out):
                losses = losses_of_shares(mixture, plan.evaluate, self.heads, self.data)
                share = from_first(min(losses, key=lambda tried: losses[tried]))
        mixture.mix(share)
        return share

    def _decide(
        self, evaluate: Evaluate, frozen: FrozenHeads | None, shares: Mapping[str, float]
    ) -> dict[str, TemperatureFit | None]:
        """Fit each decision anew to the held-out rows, since tuning has changed the scores; without such rows, leave
        out the temperature. Return how the temperatures were found.
        """
        if not len(self.data.held_out):
            for head in self.heads.values():
                head.decision = head.decision.with_temperature(1.0)
            return {}
        logits = evaluate(self.data.held_out)
        others = {name: head for name, head in self.heads.items() if name not in shares}
        found = decide_on_held_out(others, self.data, logits)
        if frozen is not None:
            found |= frozen.decide(shares, logits, self.data)
        found = from_first(found)
        for name, (decision, _) in found.items():
            self.heads[name].decision = decision
        return {name: temperature for name, (_, temperature) in found.items()}

    def _decision_notes(self, share: float, tuned: Sequence[str]) -> list[str]:
        """Return a sentence on the rows that the decisions of tuned heads were fitted to, or on why there were none."""
        names = [name for name in tuned if "temperature" in self.heads[name].spec.decided_by]
        rows = len(self.data.held_out)
        if not names or share == 0:
            return []
        if not rows:
            why = f"{len(self.data.train)} training rows are too few to hold some out for it"
            return [
                f"Scores of {listed(names)} are not calibrated: {why if self.method.held_out else 'held_out is 0'}."
            ]
        return [f"The decisions of {listed(names)} are fitted to {rows} held-out training rows."]

    def _share_notes(self, share: float) -> list[str]:
        """Return a sentence on a share that was chosen."""
        rows = len(self.data.held_out)
        if not rows or not self.method.chooses_share:
            return []
        if share == 0:
            return [f"Tuning did not lower the loss on {rows} held-out training rows, so the weights are as before it."]
        return [f"The share of the tuned weights is {share:g}, the best on {rows} held-out training rows."]

    def _frozen_notes(self, frozen: FrozenHeads | None, shares: Mapping[str, float]) -> list[str]:
        """Return a sentence on the shares of frozen heads, if there are any."""
        if frozen is None:
            return []
        found = ", ".join(f"{share:g} for {name!r}" for name, share in shares.items())
        rows = len(self.data.held_out)
        chosen = (
            f", within a standard error of the best on {rows} held-out training rows"
            if rows and frozen.share is None
            else ""
        )
        trained = f"the heads that Frozen trains on all {len(self.all_data.train)} training rows"
        return [f"The share in the answers of {trained} is {found}{chosen}."]

    def _run_folder(self) -> RunFolder | None:
        """Return the folder of the checkpoints, checked to be free or this run's, if there is one."""
        if self.method.checkpoints is None:
            return None
        folder = RunFolder(Path(self.method.checkpoints), run_facts(self.method.describe(), self.heads, self.data))
        folder.check()
        return folder

    def _train(
        self, plan: TuningPlan, evaluator: EpochEvaluator, watching: Sequence[WatchedRun], folder: RunFolder | None
    ) -> tuple[transformers.TrainerState, tuple[str, ...]]:
        """Run the trainer; return its final state and notes for the user."""
        backbone = self.core.backbone
        with (
            requiring_gradients(self.core, plan.rates),
            recomputing(backbone) if self.method.gradient_checkpointing else nullcontext(),
            tempfile.TemporaryDirectory() as scratch,
        ):
            trainer = self._trainer(plan, str(self.method.checkpoints or scratch))
            logging = [] if self.method.trainer is None else [EpochLog(trainer, evaluator.history)]
            for callback in (evaluator, *logging, *watching):
                trainer.add_callback(callback)
            trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
            checkpoint = checkpoint_of(self.method, folder)
            trainer.train(checkpoint)
        resumed = folder is not None and checkpoint is not None
        return trainer.state, (f"Training resumed from {checkpoint}.",) if resumed else ()

    def _trainer(self, plan: TuningPlan, output_dir: str) -> Trainer:
        method, data = self.method, self.data
        rates = dict(plan.rates) | dict.fromkeys(plan.module.weighting.parameters(), method.head_lr)
        # One fused kernel per group: six times as fast as torch's default on a CPU.
        groups = parameter_groups(rates, method.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=method.rate(self.core.backbone), fused=True)
        return Trainer(
            model=plan.module,
            args=training_arguments(method, len(data.train), data.seed, self.core.backbone.device, output_dir),
            data_collator=plan.collate,
            train_dataset=TrainingRows(data, self.heads),
            optimizers=(optimizer, None),
            lm_weight=method.lm_factor,
        )


def start_heads(
    method: Tuning, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData
) -> Mapping[str, FitResult]:
    """Give the heads initial weights for the backbone as it is: solved on frozen features, or random. Return the fits
    of solved heads.
    """
    if method.start == "frozen":
        return method.frozen_start().fit(core, heads, data).fits
    source = FeatureSource(core, data.tokenized)  # for readers that choose tokens by the training rows
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data.seed)
        for name, head in heads.items():
            fit = HeadFit(core, data, name)
            fit.install(fit.prepared_head(source, core.resolved(head.spec.taps)))
    return {}


def checkpoint_of(method: Tuning, folder: RunFolder | None) -> str | bool | None:
    """Return the checkpoint to resume from: the newest complete one in the run's folder, or the one that
    ``method.trainer`` names; ``None`` to start from the beginning."""
    if folder is None:
        named = None if method.trainer is None else method.trainer.resume_from_checkpoint
        return named if named not in ("True", "true") else True
    wait_for_all()  # until every process has checked the folder
    if is_first():
        folder.begin()
    newest = from_first(folder.newest() if is_first() else None)
    return None if newest is None else str(newest)
