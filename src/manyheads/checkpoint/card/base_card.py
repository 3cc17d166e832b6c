"""Facts on the backbone for the model card that ``heads.json`` does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manyheads.checkpoint.card.seal import CARD

_KEYS = ("license", "license_name", "license_link")


@dataclass(frozen=True)
class BaseCard:
    """Facts on the backbone.

    Attributes:
        language_model: Whether it has a language model.
        transformers_class: The class of transformers that loads it, or ``None`` for a class from elsewhere.
        license: What ``license_in`` returns for its own folder.
    """

    language_model: bool
    transformers_class: str | None
    license: Mapping[str, str]


def license_in(folder: Path) -> dict[str, str]:
    """Return the license in the metadata of a folder's model card: its id, and the name and link of one without an id.

    Nothing is returned for a card that is missing, cannot be read, or states none.
    """
    from huggingface_hub import metadata_load

    try:
        metadata = metadata_load(folder / CARD) or {}
    except Exception:  # a card that somebody else wrote must not prevent saving
        return {}
    found = {key: metadata[key] for key in _KEYS if isinstance(metadata.get(key), str)}
    return found if "license" in found else {}
