"""Run both stories, then print the folders of the models and the next commands."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from manyheads.demo.job_ads import JobAdsSettings, job_ads, minilm_folder
from manyheads.demo.quiet import quiet
from manyheads.demo.report import heading, say
from manyheads.demo.samples import occupation_tasks, split
from manyheads.demo.triage import TriageSettings, triage
from manyheads.errors import OutputExistsError

JOB_ADS, LANGUAGE_MODEL, TRIAGE, HELD_OUT = "job_ads", "language_model", "triage", "job_ads_held_out.csv"


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of both stories."""

    job_ads: JobAdsSettings = field(default_factory=JobAdsSettings)
    triage: TriageSettings = field(default_factory=TriageSettings)


def run_demo(folder: Path | None, console: Console, settings: DemoSettings | None = None) -> None:
    """Run both stories and print a report.

    Args:
        folder: Where to keep the models; a temporary folder by default.
        console: To print on.
        settings: Smaller sizes, for tests.

    Raises:
        OutputExistsError: the folder holds a demo already.
        MissingExtraError: MiniLM is not installed.
        AssertionError: a claim that is printed does not hold.
    """
    started = time.perf_counter()
    chosen = settings or DemoSettings()
    if chosen.job_ads.backbone is None:
        minilm_folder()
    with _place(folder) as place, quiet():
        say(
            console,
            "manyheads: any number of heads on one Transformer, and the head it came with. About three minutes.",
        )
        job_ads(place / JOB_ADS, console, chosen.job_ads)
        triage(place / LANGUAGE_MODEL, place / TRIAGE, console, chosen.triage)
        heading(console, f"Done in {time.perf_counter() - started:.0f} s")
        if folder is None:
            say(console, "The models were not saved; `manyheads demo --out demo-output` saves them.")
        else:
            _write_held_out(place / HELD_OUT, chosen.job_ads.rows)
            _print_next_commands(place, console)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with TemporaryDirectory(prefix="manyheads-demo-") as temporary:
            yield Path(temporary)
        return
    for name in (JOB_ADS, LANGUAGE_MODEL, TRIAGE, HELD_OUT):
        if (folder / name).exists():
            raise OutputExistsError(f"{folder}: holds {name!r} of another demo; name another folder, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _write_held_out(path: Path, rows: int | None) -> None:
    """Write rows that the job-ads heads never saw, for the command that is shown."""
    held_out = split(occupation_tasks(), rows)[1]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(held_out[0]))
        writer.writeheader()
        writer.writerows(held_out)


def _print_next_commands(place: Path, console: Console) -> None:
    say(console, f"The models are in {place}: {JOB_ADS}, {LANGUAGE_MODEL} (plain), {TRIAGE} (with heads). Next:")
    for command in (
        f"manyheads predict {place / JOB_ADS} {place / HELD_OUT} --text text",
        f"manyheads inspect {place / TRIAGE}",
    ):
        console.print(Text(f"  {command}", style="bold"), soft_wrap=True)
