"""Which labels mean yes and no."""

from __future__ import annotations

from collections.abc import Sequence

# The label of yes, and that of no, in lower case.
YES_NO = (
    ("yes", "no"),
    ("true", "false"),
    ("1", "0"),
    ("y", "n"),
    ("t", "f"),
    ("ja", "nein"),
    ("oui", "non"),
    ("sí", "no"),
    ("si", "no"),
)


def yes_label(labels: Sequence[object]) -> object | None:
    """Return the label that means yes if two labels are a yes and a no, else ``None``; labels may be of any type."""
    if len(labels) != 2:
        return None
    written = [_written(label) for label in labels]
    for yes, no in YES_NO:
        if sorted(written) == sorted((yes, no)):
            return labels[written.index(yes)]
    return None


def _written(label: object) -> str:
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return str(label).strip().lower()
