"""HeadedModel: the thin face that users hold. Everything it does is done by the parts below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone import Backbone, load_backbone
from manyheads.backbone.limits import token_limit
from manyheads.backbone.load import load_tokenizer, read_tokenizer, wrap_model
from manyheads.checkpoint import save_checkpoint
from manyheads.checkpoint.open_model import core_around, load_head, open_model
from manyheads.core import HeadedCore
from manyheads.core.add_head import add_head
from manyheads.core.add_tokens import add_tokens as add_tokens_to_core
from manyheads.core.attention_mask import full_mask
from manyheads.core.prompt_tokenizer import use_tokenizer
from manyheads.data.collate import check_collated
from manyheads.data.labelled import Reading
from manyheads.data.tables.table import read_table
from manyheads.data.texts.texts import read_texts, read_texts_from_list
from manyheads.data.vocabulary.added_tokens import AddedTokens
from manyheads.data.vocabulary.propose import WordProposals, propose
from manyheads.errors import CheckpointError, NoLanguageModelError
from manyheads.evaluation.lm_check import LMCheck, compare_logits
from manyheads.heads import Head, HeadCollection, HeadSpec
from manyheads.inference import Predictions
from manyheads.inference import predict as predict_texts
from manyheads.training import Frozen, Method, TrainResult, run_training
from manyheads.training.dataset import Evaluation
from manyheads.types import Batch, HeadedOutput, Tokenizer


class HeadedModel(nn.Module):
    """A pretrained Transformer with named prediction heads beside whatever head it came with.

    Make one with :meth:`from_pretrained` or :meth:`wrap`.

    Attributes:
        core: The computation, without texts.
        tokenizer: The backbone's own tokenizer, or ``None``.
    """

    def __init__(self, core: HeadedCore, tokenizer: Tokenizer | None = None) -> None:
        super().__init__()
        self.core = core
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        quantization_config: Any = None,
        backbone: str | Path | None = None,
    ) -> HeadedModel:
        """Load a Hugging Face checkpoint, or a model that :meth:`save_pretrained` saved, in eval mode.

        Args:
            name: A folder, or a hub id.
            dtype: Of the backbone's weights; ``None`` takes what transformers takes. Heads are always fp32.
            device: Where to put it.
            revision: Of a hub repository.
            trust_remote_code: Whether Python code in the checkpoint may run.
            quantization_config: As in transformers.
            backbone: Where the backbone of a ``backbone="reference"`` save lies now, if it moved.

        Raises:
            UnknownBackboneError: no such checkpoint.
            IncompleteBackboneError: weights are missing that would have been random.
            CorruptCheckpointError: the saved heads contradict themselves or their checksum.
            WrongBackboneError: the saved heads belong to another backbone.
            UnsupportedHeadError: a stock classifier whose head cannot be taken in.
        """
        core, tokenizer = open_model(name, dtype, device, revision, trust_remote_code, quantization_config, backbone)
        return cls(core, tokenizer).eval()

    @classmethod
    def wrap(cls, model: nn.Module, tokenizer: Tokenizer | None = None) -> HeadedModel:
        """Put heads beside a Hugging Face model object that you already hold; it is used as it is, not copied."""
        wrapped = cls(core_around(model), tokenizer)
        wrapped.training = model.training
        return wrapped

    @property
    def tokenizer(self) -> Any:
        """The backbone's tokenizer, or ``None``."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        use_tokenizer(self.core, tokenizer)

    @property
    def backbone(self) -> nn.Module:
        """The Hugging Face model object, exactly as its checkpoint loaded it."""
        return self.core.backbone.model

    @property
    def lm(self) -> nn.Module | None:
        """The language model (the backbone, with its LM head), or ``None`` if it has none."""
        return self.core.backbone.lm

    @property
    def heads(self) -> HeadCollection:
        """The heads by name, in the order in which they were added."""
        return self.core.heads

    @property
    def device(self) -> torch.device:
        """Where the backbone's weights lie."""
        return self.core.backbone.device

    def add_head(self, name: str, spec: HeadSpec) -> Head:
        """Put a new, untrained head beside the others, and return it.

        Raises:
            HeadNameError: the name is taken, reserved, or holds a dot or a slash.
            HeadError: the head reads what this backbone does not have, or a head that is not here yet.
        """
        return add_head(self.core, name, spec)

    def remove_head(self, name: str) -> None:
        """Take a head away.

        Raises:
            UnknownHeadError: there is none of that name.
            HeadError: another head reads it.
        """
        self.core.heads.remove(name)
        self.core.prune()

    def add_tokens(self, words: Iterable[str], init: str = "mean of sub-words") -> AddedTokens:
        """Teach the tokenizer words that it splits, each as one token, and give the backbone rows for them.

        A word is found as a whole, never inside a longer one. Rows of old tokens keep their bits; a new one starts as
        the mean of the rows of the tokens that the word was split into, in the embeddings, in the language model's head
        where that has rows of its own, and in its bias. The language model gives new tokens some of its probability, so
        it is no longer what it was; both learn what a word means only in tuning the backbone (:class:`Full`).

        Args:
            words: Without blanks; those that are one token already are left as they are.
            init: What new rows start as; there is only ``"mean of sub-words"``.

        Raises:
            InputError: no tokenizer, a word that cannot be one token, or another ``init``.
            TextError: a word that is not a string.
            BackboneError: embeddings that cannot be resized, or quantised weights.
        """
        return add_tokens_to_core(self.core, self.tokenizer, words, init)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
        heads: Iterable[str] | None = None,
        lm: bool = False,
        word_ids: Tensor | None = None,
    ) -> HeadedOutput:
        """Run the backbone once, for every head and, if asked, for the language model.

        Heads that read LoRA adapters have a pass of their own, as the language model runs without the adapters.

        Args:
            input_ids: (rows, tokens) int64.
            attention_mask: (rows, tokens), 1 for real tokens; padding may stand anywhere. Without one, every token
                counts as real.
            token_type_ids: (rows, tokens), for a backbone that takes them.
            position_ids: (rows, tokens), for a backbone that takes them.
            decoder_input_ids: (rows, decoder tokens); an encoder-decoder needs them for ``lm=True``.
            labels: Head name -> targets: int64 positions (rows,) with -100 missing (multi-class, ordinal), zeros and
                ones (rows, labels) with NaN missing (multi-label), numbers (rows,) with NaN missing (regression), int64
                positions (rows, words), or (rows, tokens) without ``word_ids``, with -100 missing (tokens).
            heads: Names of the heads to run; all by default.
            lm: Whether to return ``lm_logits`` too.
            word_ids: (rows, tokens) int64 for token heads: the number, in its row, of the word that each token belongs
                to, -1 for none. Without them every real token is a word of its own.

        Returns:
            ``loss``, ``losses``, ``counts``, ``logits`` and ``lm_logits``.

        Raises:
            UnknownHeadError: a name that no head has.
            InputError: a tensor of a wrong shape, dtype or range, one that this backbone does not accept, or labels of
                :func:`manyheads.collate` under a trainer that would weight heads incorrectly.
            NoLanguageModelError: ``lm=True`` without a language model.
        """
        check_collated(labels, self.core.is_accumulating())
        mask = full_mask(input_ids, self.tokenizer) if attention_mask is None else attention_mask
        batch = Batch(input_ids, mask, token_type_ids, position_ids, decoder_input_ids, word_ids)
        return self.core(batch, labels, heads, lm)  # type: ignore[no-any-return]

    def predict(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]] | Sequence[list[str]],
        heads: Iterable[str] | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
    ) -> Predictions:
        """Predict texts, or pairs of texts, with every chosen head in one pass.

        Args:
            texts: The texts. An empty one is predicted and flagged in ``.empty``. A tuple of two is a pair; a list of
                strings is the words of one text, which is them with one blank between.
            heads: Names of heads; all by default.
            max_length: Most tokens of a text; the backbone's own limit by default.
            long_text: ``"truncate"`` a longer one (flagged in ``.truncated``), or ``"error"``.

        Returns:
            A sequence of ``{head: Prediction}``, with the arrays inside.

        Raises:
            TextError: something that is not a string.
            InputError: no tokenizer, or a text beyond the limit under ``long_text="error"``.
        """
        return predict_texts(self.core, self.tokenizer, read_texts_from_list(texts), heads, max_length, long_text)

    @property
    def generate(self) -> Callable[..., Any]:
        """The backbone's own ``generate``: same signature, same tokens as without heads.

        Raises:
            NoLanguageModelError: the backbone does not generate.
        """
        backbone: Any = self.backbone
        if not backbone.can_generate():
            raise NoLanguageModelError(f"{type(backbone).__name__}: does not generate text; load a generating model")
        generate: Callable[..., Any] = backbone.generate
        return generate

    def merge_adapter(self, name: str | None = None, change_lm: bool = False) -> None:
        """Fold a LoRA adapter into the backbone's own weights; its heads then read the backbone itself.

        Predictions of those heads stay what they were, up to rounding; what else reads the backbone changes with it.

        Args:
            name: The adapter's, such as ``"lora"``; the only one by default.
            change_lm: Whether the language model, and heads that read the backbone besides, may change.

        Raises:
            BackboneError: no such adapter, several and none was named, or something would change that may not.
        """
        self.core.merge_adapter(name, change_lm)

    def save_pretrained(self, folder: str | Path, backbone: str = "full", overwrite: bool = False) -> None:
        """Save everything, atomically; the folder is still a plain Hugging Face checkpoint.

        Args:
            folder: New or empty, unless ``overwrite``.
            backbone: ``"full"``, or ``"reference"``: kilobytes, with only the backbone's name and fingerprint.
            overwrite: Whether to replace what is there.

        Raises:
            OutputExistsError: the folder holds something.
            CheckpointError: a reference to weights that no file holds.
        """
        if backbone not in ("full", "reference"):
            raise CheckpointError(f"backbone must be 'full' or 'reference', got {backbone!r}")
        save_checkpoint(Path(folder), self.core.backbone, self.tokenizer, self.heads, backbone, overwrite)

    def save_head(self, name: str, folder: str | Path, overwrite: bool = False) -> None:
        """Save one head, with its backbone's fingerprint.

        Raises:
            UnknownHeadError: there is none of that name.
            OutputExistsError: the folder holds something.
            CheckpointError: it reads another head; :meth:`save_pretrained` saves both.
        """
        save_checkpoint(Path(folder), self.core.backbone, None, {name: self.heads[name]}, "heads", overwrite)

    def load_head(self, folder: str | Path, name: str | None = None, head: str | None = None) -> Head:
        """Attach a saved head, and return it.

        Args:
            folder: What :meth:`save_head` or :meth:`save_pretrained` wrote.
            name: The name to have here; its own by default.
            head: Which one, if the folder holds several.

        Raises:
            UnknownHeadError: the folder holds no such head, or several and none was named.
            WrongBackboneError: it was made for another backbone.
            HeadNameError: the name is taken.
            HeadError: it reads another head, and that very one is not here under its name.
        """
        return load_head(self.core, Path(folder), name, head)


def train(
    model: HeadedModel,
    data: object,
    text: str | Sequence[str],
    method: Method | None = None,
    heads: Iterable[str] | None = None,
    eval_data: object = None,
    eval_fraction: float = 0.1,
    max_length: int | None = None,
    long_text: str = "truncate",
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Train a model's heads on a table, in place.

    Args:
        model: Backbone and heads.
        data: A path (CSV, TSV, JSONL, Parquet), a pandas, polars or pyarrow table, a ``datasets.Dataset``, or a list
            of dicts. A missing label leaves its row to the other heads.
        text: The text column, or two of them for text pairs.
        method: ``Frozen()`` by default; ``Fork()`` and ``LoRA()`` tune a copy of the backbone that only heads read;
            ``Full()`` tunes the backbone too.
        heads: Names of the heads to train; all by default.
        eval_data: A table to evaluate on; without it, rows are held out.
        eval_fraction: Share of the rows held out, grouped by text; 0 evaluates nothing.
        max_length: Most tokens of a text; the backbone's own limit by default.
        long_text: ``"truncate"`` a longer one, or ``"error"``.
        seed: For every random choice.
        out: Where to save the model afterwards; checked before the work begins.
        overwrite: Whether ``out`` may be replaced.

    Returns:
        Metrics on the evaluation rows, what was tried, and whether the language model is untouched.

    Raises:
        DataError: a table, column, text or label that cannot be used; names the head and the row.
        OutputExistsError: ``out`` holds something.
    """
    return run_training(
        model.core,
        model.tokenizer,
        data,
        method if method is not None else Frozen(),
        heads,
        Reading(text, max_length, long_text),
        Evaluation(eval_data, eval_fraction, seed),
        None if out is None else Path(out),
        overwrite,
    )


def check_lm(model: HeadedModel, reference: HeadedModel | nn.Module | str | Path, texts: Sequence[str]) -> LMCheck:
    """Compare a model's language model with a reference, on texts.

    Args:
        model: The model in question.
        reference: Another model, a Hugging Face model object, or a checkpoint's path or hub id.
        texts: At least one.

    Raises:
        NoLanguageModelError: one of the two has no language model.
    """
    other, tokenizer = _as_backbone(reference, model)
    limit = token_limit(model.backbone, model.tokenizer)
    return compare_logits(model.core.backbone, other, model.tokenizer, texts, limit, tokenizer)


def propose_words(
    model: HeadedModel | str | Path,
    data: object,
    text: str | Sequence[str],
    top: int = 50,
    min_count: int = 5,
    trust_remote_code: bool = False,
) -> WordProposals:
    """Return the words of a table that would be worth tokens of their own, those first that save the most tokens.

    Words are runs of letters; numbers, ids and punctuation are none. ``model.add_tokens`` teaches them.

    Args:
        model: Whose tokenizer: a model, or a checkpoint's folder or hub id, of which no weights are read.
        data: As in :func:`train`.
        text: The text column, or two of them for text pairs.
        top: How many words at most.
        min_count: How often a word must stand in the table.
        trust_remote_code: Whether Python code in the checkpoint may run.

    Returns:
        A sequence of words, each with its count, its pieces and what it saves, and the table's tokens before and after.

    Raises:
        InputError: no tokenizer, or a ``top`` or ``min_count`` that is no positive number.
        UnknownBackboneError: no such checkpoint.
        DataError: a table, column or text that cannot be used.
    """
    texts = read_texts(read_table(data), text)
    if isinstance(model, HeadedModel):
        return propose(model.tokenizer, texts, top, min_count)
    return propose(read_tokenizer(model, trust_remote_code), texts, top, min_count)


def _as_backbone(reference: HeadedModel | nn.Module | str | Path, model: HeadedModel) -> tuple[Backbone, Any]:
    """Return a reference's backbone and its tokenizer, as far as it has one."""
    if isinstance(reference, HeadedModel):
        return reference.core.backbone, reference.tokenizer
    if isinstance(reference, nn.Module):
        return wrap_model(reference), None
    dtype = next(model.backbone.parameters()).dtype
    loaded = load_backbone(reference, dtype=dtype, device=model.device)
    assert loaded.source is not None
    return loaded, load_tokenizer(loaded.source)
