"""What the laws compare with: plain transformers on one unpadded row, and batches padded by hand."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import manyheads as mh
from tests.families import HIDDEN, TEXTS, WORDS, Family, tokenizer_for

SIDES = ("right", "left", "inside")

HEADS: dict[str, Any] = {
    "urgency": mh.Multiclass(labels=["routine", "urgent", "emergency"]),
    "symptoms": mh.MultiLabel(labels=["pain", "fever", "cough"]),
    "age": mh.Regression(reads=mh.Hidden(pool="max")),
    "where": mh.Multiclass(
        labels=["chest", "arm"], reads=mh.Hidden(layer=1, pool="attention"), hidden=[8], dropout=0.2
    ),
    "sent": mh.Multiclass(labels=["yes", "no"], reads=[mh.Hidden(), mh.Hidden(layer=-2, pool="mean")]),
    "level": mh.Ordinal(labels=["low", "middle", "high"], hidden=[8]),
    "again": mh.Multiclass(labels=["yes", "no"], reads=[mh.Hidden(), mh.Output("urgency"), mh.Output("level")]),
    "found": mh.Tokens(labels=["symptom", "place"], subword="mean"),
}
ENTITIES = {
    **dict.fromkeys(["pain", "fever", "cough", "rash", "dizzy", "nausea"], "symptom"),
    **dict.fromkeys(["chest", "back", "arm", "stomach", "head", "knee"], "place"),
}


def tags_of(text: str) -> list[str]:
    """Return a tag per word: neighbours of one type are one entity."""
    types = [ENTITIES.get(word) for word in text.split()]
    pairs = zip([None, *types], types, strict=False)
    return ["O" if now is None else f"{'I' if now == before else 'B'}-{now}" for before, now in pairs]


RECORDS: list[dict[str, object]] = [
    {
        "text": text,
        "urgency": ("routine", "urgent", "emergency")[row % 3],
        "symptoms": [word for word in ("pain", "fever", "cough") if word in text],
        "age": float(len(text)),
        "where": ("chest", "arm")[row % 2],
        "sent": ("yes", "no")[row // 2 % 2],
        "again": ("yes", "no")[row // 3 % 2],
        "level": ("low", "middle", "high")[min(len(text.split()) // 5, 2)],
        "found": tags_of(text),
    }
    for row, text in enumerate(TEXTS * 2)
]


def over(law: str, families: Iterable[Family]) -> pytest.MarkDecorator:
    """Parametrise a test over families, with ids such as ``L1-gpt2``."""
    chosen = tuple(families)
    return pytest.mark.parametrize("family", chosen, ids=[f"{law}-{family.name}" for family in chosen])


@functools.cache
def plain_model(family: Family, folder: Path) -> PreTrainedModel:
    """Load the saved family as transformers does, once."""
    return family.auto_class.from_pretrained(folder).eval()


def stack(backbone: PreTrainedModel) -> nn.Module:
    """Return the stack that heads read: the encoder of an encoder-decoder, else the base model."""
    return backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone.base_model


@functools.cache
def rows_of(family: Family) -> tuple[Tensor, ...]:
    """Return the ids (tokens,) of each text."""
    tokenizer = tokenizer_for(family)
    return tuple(torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS)


def padded(rows: Sequence[Tensor], side: str = "right", filler: int = 0) -> dict[str, Tensor]:
    """Pad rows by hand, ``"right"``, ``"left"`` or ``"inside"`` (after the first token).

    ``filler`` may be any id, since only the mask shows what is padding.
    """
    width = max(len(row) for row in rows) + 2
    ids = torch.full((len(rows), width), filler)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        columns = torch.arange(len(row))
        if side != "right":
            columns += (width - len(row)) * (columns > 0 if side == "inside" else 1)
        ids[index, columns] = row
        mask[index, columns] = 1
    return {"input_ids": ids, "attention_mask": mask}


def decoder_inputs(family: Family, rows: int) -> dict[str, Tensor]:
    """Return what the decoder of an encoder-decoder reads, nothing for the others."""
    if not family.encoder_decoder:
        return {}
    start = family.make_config().decoder_start_token_id
    return {"decoder_input_ids": torch.tensor([[start, 9, 8, 7]]).repeat(rows, 1)}


@torch.no_grad()
def plain_logits(family: Family, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """Return the LM logits of plain transformers, (rows, tokens, vocabulary)."""
    return model(**inputs, **decoder_inputs(family, len(inputs["input_ids"]))).logits


@torch.no_grad()
def plain_states(model: PreTrainedModel, row: Tensor, **extra: Tensor) -> tuple[Tensor, ...]:
    """Return each layer's hidden states (tokens, width) of one row alone."""
    output = stack(model)(input_ids=row[None], output_hidden_states=True, **extra)
    return tuple(layer[0] for layer in output.hidden_states)


HAND_POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda states: states[0],
    "mean": lambda states: states.mean(dim=0),
    "max": lambda states: states.max(dim=0).values,
    "last": lambda states: states[-1],
}


def default_pool(family: Family) -> str:
    """Return what ``pool="auto"`` stands for."""
    return "last" if family.causal else "mean"


def headed(folder: Path, specs: dict[str, Any] | None = None, seed: int = 0) -> mh.HeadedModel:
    """Load the folder with these heads beside its backbone; head weights are seeded and not small."""
    model = mh.HeadedModel.from_pretrained(folder)
    add_heads(model, HEADS if specs is None else specs, seed)
    return model.eval()


def add_heads(model: mh.HeadedModel, specs: dict[str, Any], seed: int = 0) -> None:
    """Add heads and draw all their weights anew."""
    draw = torch.Generator().manual_seed(seed)
    for name, spec in specs.items():
        model.add_head(name, spec)
        with torch.no_grad():
            for parameter in model.heads[name].parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)


def probe(*taps: mh.Hidden) -> mh.Multiclass:
    """Return a head whose logits ``open_probes`` turns into the very features that it reads."""
    return mh.Multiclass(labels=list(range(HIDDEN * len(taps))), reads=list(taps))


def probed(folder: Path, specs: dict[str, mh.Multiclass]) -> mh.HeadedModel:
    """Load the folder with probes: heads whose logits are what they read."""
    model = headed(folder, specs)
    open_probes(model)
    return model


def open_probes(model: mh.HeadedModel) -> None:
    """Make every head's output layer the identity, so that its logits are its features."""
    with torch.no_grad():
        for head in model.heads.values():
            head.output.weight.copy_(torch.eye(head.output.in_features))
            head.output.bias.zero_()


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Copy every tensor of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> list[str]:
    """Name the tensors that are no longer bit-identical, or that came or went."""
    now = module.state_dict()
    apart = set(now) ^ set(before)
    return sorted(apart | {name for name in set(now) & set(before) if not torch.equal(now[name], before[name])})


@contextmanager
def rows_read(backbone: nn.Module) -> Iterator[list[int]]:
    """Record how many rows each pass reads: those that the token embeddings are asked for."""
    stack = backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone
    rows: list[int] = []
    hook = stack.get_input_embeddings().register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    try:
        yield rows
    finally:
        hook.remove()


def different_texts(count: int) -> list[str]:
    """Return texts of 1 to 12 words, no two alike."""
    draw = random.Random(0)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[" ".join(draw.choices(WORDS, k=draw.randint(1, 12)))] = None
    return list(texts)
