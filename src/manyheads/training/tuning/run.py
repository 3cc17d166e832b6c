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
    return _Run(method, core, heads, _with_held_out_rows(method, heads, data)).outcome(restored_on_failure)


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
    return _Run(method, core, heads, _with_held_out_rows(method, heads, data), watch).outcome(restored_afterwards)


def _with_held_out_rows(method: Tuning, heads: Mapping[str, Head], data: TrainingData) -> TrainingData:
    """Return the data with rows held out, if the share of the tuned weights or a decision is to be chosen on them."""
    decides = any(head.spec.decided_by for head in heads.values())
    return holding_out(data, method.held_out) if decides or method.chooses_share else data


@dataclass(frozen=True)
class _Run:
    """One call of ``tune`` or ``try_out``."""

    method: Tuning
    core: HeadedCore
    heads: Mapping[str, Head]
    data: TrainingData
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
            started = start_heads(method, core, heads, data)
            weighting = LearnedWeighting(heads, core.backbone.device) if method.weighting == "learned" else Weighting()
            plan = method.plan(core, heads, data, weighting)
            trained = [*plan.rates, *weighting.parameters()]
            evaluator = EpochEvaluator(heads, data, plan.evaluate, trained, selection, solved=method.start == "frozen")
            mixture = WeightMixture(plan.rates) if method.mixes_weights else None
            watched, watching = self._watching(plan, mixture)
            state, notes = self._train(watched, evaluator, watching, folder)
            logits = evaluator.finish(state.global_step)
            share = 1.0 if mixture is None else self._mix(mixture, plan)
            temperatures = self._decide(plan) if share > 0 else {name: fit.temperature for name, fit in started.items()}
            if logits is None or share < 1 or not plan.live:
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
        learned = {name: {"learned_weight": weight} for name, weight in weighting.weights().items()}
        fits = {
            name: FitResult(
                {}, settings | learned.get(name, {}), [], evaluator.history[name], temperature=temperatures.get(name)
            )
            for name in heads
        }
        chosen = (*self._decision_notes(share), *self._share_notes(share))
        notes = (*chosen, *plan.notes, *notes, *evaluator.notes(logits))
        return Outcome(fits, logits, (before, after), notes)

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

    def _decide(self, plan: TuningPlan) -> dict[str, TemperatureFit | None]:
        """Fit each decision anew to the held-out rows, since tuning has changed the scores; without such rows, leave
        out the temperature. Return how the temperatures were found.
        """
        if not len(self.data.held_out):
            for head in self.heads.values():
                head.decision = head.decision.with_temperature(1.0)
            return {}
        logits = plan.evaluate(self.data.held_out)
        found = from_first(decide_on_held_out(self.heads, self.data, logits))
        for name, (decision, _) in found.items():
            self.heads[name].decision = decision
        return {name: temperature for name, (_, temperature) in found.items()}

    def _decision_notes(self, share: float) -> list[str]:
        """Return a sentence on the rows that the decisions were fitted to, or on why there were none."""
        names = [name for name, head in self.heads.items() if "temperature" in head.spec.decided_by]
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
