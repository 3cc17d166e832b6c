"""A small GPT-2 trained from scratch: plain tokenizers, transformers and PyTorch, nothing of manyheads' models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.runtime.progress import progress_bar

END = "<|endoftext|>"


@dataclass(frozen=True)
class LMSettings:
    """Sizes of the language model and of its training.

    Attributes:
        layers: Transformer blocks.
        width: Of the hidden states.
        attention_heads: Per block.
        context: Most tokens, and the length of a training block.
        vocabulary: Tokens of the byte-level BPE.
        steps: Optimiser steps.
        blocks: Training blocks per step.
        learning_rate: Its peak.
        seed: For weights and order.
    """

    layers: int = 4
    width: int = 256
    attention_heads: int = 4
    context: int = 64
    vocabulary: int = 4000
    steps: int = 260
    blocks: int = 16
    learning_rate: float = 2e-3
    seed: int = 0


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Return a GPT-2 tokenizer whose byte-level BPE was learnt on the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_input_names=["input_ids", "attention_mask"],
    )


def new_language_model(settings: LMSettings, tokenizer: Any) -> Any:
    """Return an untrained ``GPT2LMHeadModel`` in eval mode."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=settings.context,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.attention_heads,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return GPT2LMHeadModel(config).eval()


def train_language_model(model: Any, tokenizer: Any, texts: Sequence[str], settings: LMSettings) -> None:
    """Train in place on the texts, one after the other, cut into blocks anew in every epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.1
    )
    sequences = [[tokenizer.eos_token_id, *ids] for ids in tokenizer(list(texts))["input_ids"]]
    model.train()
    with torch.random.fork_rng(devices=[]), progress_bar("training a GPT-2", settings.steps, "steps") as advance:
        torch.manual_seed(settings.seed)
        blocks = _endless_blocks(sequences, settings)
        for _ in range(settings.steps):
            ids = next(blocks)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            advance(1)
    model.eval()


def _endless_blocks(sequences: Sequence[Sequence[int]], settings: LMSettings) -> Iterator[Tensor]:
    """Yield (up to ``blocks``, context) token ids; every epoch shuffles the texts."""
    while True:
        order = torch.randperm(len(sequences)).tolist()
        stream = torch.tensor([token for place in order for token in sequences[place]])
        count = len(stream) // settings.context
        blocks = stream[: count * settings.context].view(count, settings.context)
        yield from torch.split(blocks, settings.blocks)


@torch.no_grad()
def perplexity(model: Any, tokenizer: Any, texts: Sequence[str]) -> float:
    """Return exp of the mean negative log-likelihood of every token after its text's first."""
    total, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"][: model.config.n_positions]])
        if ids.shape[1] > 1:
            logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            total += float(F.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
    return math.exp(total / count)
