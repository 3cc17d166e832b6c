"""When to use a fitted temperature: the log loss that each rule costs, on logits whose right temperature is known.

Run with ``python -m benchmarks.temperature_rule``. Labels are drawn from 20 logits divided by the right temperature. A
rule decides on 200 or 500 rows. Its cost is the log loss of 20,000 others above that of the right temperature, the mean
of 40 draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import manyheads as mh
from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.temperature import TemperatureFit, fit_temperature, log_losses

LABELS, DRAWS, TEST_ROWS = 20, 40, 20_000
SPEC = mh.Multiclass([str(label) for label in range(LABELS)])
RULES: dict[str, Callable[[TemperatureFit], bool]] = {
    "never": lambda fit: False,
    "gain above its standard error": lambda fit: fit.gain > fit.error,
    "gain above 0": lambda fit: fit.gain > 0,
    "always": lambda fit: True,
}


def drawn(rows: int, temperature: float, seed: int) -> HeldOut:
    """Return logits of a head that is right for about half of the rows, and labels drawn from their scores."""
    draw = np.random.default_rng(seed)
    noise, favored = draw.normal(0, 1.6, (rows, LABELS)), np.eye(LABELS)[draw.integers(0, LABELS, rows)]
    logits = (noise + 2.6 * favored).astype(np.float32)
    scores = SPEC.scores(logits.astype(np.float64), mh.Decision(temperature=temperature))
    labels = (draw.random((rows, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=LABELS - 1)
    return HeldOut(logits, labels, [f"text {row}" for row in range(rows)])


def main() -> None:
    """Print the table."""
    print(f"| right temperature | rows | {' | '.join(RULES)} |\n|{'---|' * (len(RULES) + 2)}")
    for rows in (200, 500):
        for temperature in (1.0, 1.07, 1.15, 1.3):
            test = drawn(TEST_ROWS, temperature, 999)

            def loss(used: float, test: HeldOut = test) -> float:
                return test.mean(log_losses(SPEC, test, used))

            cells: dict[str, list[tuple[bool, float]]] = {rule: [] for rule in RULES}
            for seed in range(DRAWS):
                fit = fit_temperature(SPEC, drawn(rows, temperature, seed))
                assert fit is not None
                for rule, uses in RULES.items():
                    cells[rule].append((uses(fit), loss(fit.fitted if uses(fit) else 1.0) - loss(temperature)))
            shown = [
                f"{np.mean([cost for _, cost in one]):.4f} ({sum(used for used, _ in one)})" for one in cells.values()
            ]
            print(f"| {temperature:g} | {rows} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
