"""In which precision a feature pass runs: bf16 where the hardware has it and the features agree, else fp32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from manyheads.backbone.precision import is_in_precision
from manyheads.backbone.stack.probe import evaluating
from manyheads.core import HeadedCore
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import BackboneError
from manyheads.features.cache import FeatureCache
from manyheads.features.extract import check_finite
from manyheads.features.source import identity_of, store_of
from manyheads.heads import Head
from manyheads.taps import BackboneTap
from manyheads.types import Features

# Names of the precisions of a feature pass.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Rows that are read twice to see whether the precisions agree.
_COMPARED_ROWS = 8
# Least cosine between a row's features in the two precisions; bf16 alone stays above .999 in most layers.
_AGREES = 0.99


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware computes bf16 matrix products."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type == "mps":
        return True
    # Elsewhere bf16 products are emulated, slower than fp32. torch has no public question for this.
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(supported()) for supported in asked if supported is not None)


def feature_core(
    core: HeadedCore,
    dtype: torch.dtype | str,
    tokenized: Tokenized,
    taps: Sequence[BackboneTap],
    cache: FeatureCache | None,
    digest: str,
) -> HeadedCore:
    """Return the core that a feature pass runs on: this one, or a temporary one whose stack is in another precision.

    Args:
        core: As it was loaded.
        dtype: A precision, or ``"auto"``: bf16 where the hardware has it and a few rows' features agree, else fp32; a
            backbone that was loaded in a chosen precision keeps it, which saves memory.
        tokenized: Rows to compare on.
        taps: Taps to compare.
        cache: The feature cache; bf16 features in it were compared before and are not compared again.
        digest: Of the loaded weights.
    """
    backbone = core.backbone
    if isinstance(dtype, torch.dtype):
        return in_precision(core, dtype)
    if backbone.provenance.dtype_chosen:
        return core
    reading = [tap for tap in _resolved(core, taps) if tap.needs_pass(backbone.facts)]
    if is_in_precision(backbone.stack, torch.float16):
        # The language model runs in the loaded precision: an overflow there must be an error before training in fp32.
        compared_features(core, tokenized, reading)
    if has_fast_bfloat16(backbone.device):
        fast = _fast_core(core, tokenized, reading, cache, digest)
        if fast is not None:
            return fast
    return in_precision(core, torch.float32)


def precision_record(core: HeadedCore, running: HeadedCore) -> dict[str, str]:
    """Return the precision of the features that heads are trained on, and that of the loaded weights, as plain JSON."""
    return {"precision": precision_of(running), "loaded_precision": precision_of(core)}


def trained_precision(core: HeadedCore, head: Head) -> torch.dtype | None:
    """Return the precision of the features that a head was trained on, or ``None`` to keep that of the loaded weights;
    see ``RunningCores.groups``.
    """
    dtype = DTYPES.get(str(head.summary.get("precision")))
    backbone = core.backbone
    reloaded = backbone.provenance.dtype_chosen and head.summary.get("loaded_precision") != precision_of(core)
    slow = dtype == torch.bfloat16 and head.summary.get("dtype") == "auto" and not has_fast_bfloat16(backbone.device)
    return None if reloaded or slow else dtype


def precision_of(core: HeadedCore) -> str:
    """Return the name of the precision of a core's stack, such as ``"float32"``."""
    return str(next(core.backbone.stack.parameters()).dtype).removeprefix("torch.")


def _fast_core(
    core: HeadedCore, tokenized: Tokenized, taps: Sequence[BackboneTap], cache: FeatureCache | None, digest: str
) -> HeadedCore | None:
    """Return the core in bf16 if its features of a few rows agree with those in fp32."""
    try:
        fast = in_precision(core, torch.bfloat16)
        known = cache is not None and _kept(fast, cache, digest, taps)
        return fast if known or agree(in_precision(core, torch.float32), fast, tokenized, taps) else None
    except (
        BackboneError,
        RuntimeError,
    ):  # overflow; some architectures mix precisions and then cannot multiply (M2M100), or have no bf16 kernel
        return None


def _resolved(core: HeadedCore, taps: Sequence[BackboneTap]) -> list[BackboneTap]:
    return list(dict.fromkeys(tap.resolve(core.backbone.facts) for tap in taps))


def _kept(core: HeadedCore, cache: FeatureCache, digest: str, taps: Sequence[BackboneTap]) -> bool:
    identity = identity_of(core.backbone, digest)
    return all(store_of(cache, identity, tap.stored, core.backbone).used for tap in taps)


def compared_features(
    core: HeadedCore, tokenized: Tokenized, taps: Sequence[BackboneTap]
) -> dict[BackboneTap, Features]:
    """Return the features of the rows on which precisions are compared.

    Raises:
        BackboneError: some are not finite.
    """
    rows = np.unique(np.linspace(0, len(tokenized) - 1, _COMPARED_ROWS).astype(np.int64))
    with evaluating(core):
        read, _ = core.read(tokenized.batch(rows).to(core.backbone.device), taps)
    check_finite(core, rows, read)
    return read


def agree(exact: HeadedCore, fast: HeadedCore, tokenized: Tokenized, taps: Sequence[BackboneTap]) -> bool:
    """Return whether two cores compute nearly the same features of a few rows, by cosine similarity."""
    one, other = (compared_features(core, tokenized, taps) for core in (exact, fast))
    for tap, features in one.items():
        if not features.values.is_floating_point():
            continue
        near = torch.nn.functional.cosine_similarity(features.values.float(), other[tap].values.float(), dim=-1)
        near = near if features.mask is None else near[features.mask]
        if not bool((near > _AGREES).all()):
            return False
    return True


def in_precision(core: HeadedCore, dtype: torch.dtype) -> HeadedCore:
    """Return a core without heads on the backbone in this precision, or the core itself if it is in it already."""
    converted = core.backbone.in_precision(dtype)
    return core if converted is core.backbone else HeadedCore(converted)
