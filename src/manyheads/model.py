"""``HeadedModel``, the public face of a backbone with heads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from manyheads.checkpoint import save_checkpoint
from manyheads.checkpoint.hub.push import push_checkpoint
from manyheads.checkpoint.open_model import core_around, load_head, open_model
from manyheads.core import HeadedCore
from manyheads.core.add_head import add_head
from manyheads.core.add_tokens import add_tokens as add_tokens_to_core
from manyheads.core.attention_mask import full_mask
from manyheads.core.output import HeadedOutput
from manyheads.core.prompt_tokenizer import use_tokenizer
from manyheads.data.collate import check_collated
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.data.vocabulary.added_tokens import AddedTokens
from manyheads.errors import CheckpointError, InputError
from manyheads.export import export_head, export_onnx
from manyheads.export.onnx.settings import OnnxSettings
from manyheads.features import open_cache
from manyheads.heads import Head, HeadCollection, HeadSpec
from manyheads.inference import Continuations, GenerationEnd, Predictions, Scorer, ScoringSettings, TextPiece
from manyheads.inference.generating import generate_and_predict
from manyheads.inference.streaming import stream_generation
from manyheads.taps import Tap
from manyheads.types import Batch, Tokenizer

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


class HeadedModel(nn.Module):
    """A pretrained Transformer with any number of named prediction heads beside its own head.

    Create one with ``from_pretrained`` or ``wrap``.

    Attributes:
        core: The backbone and the heads as one module on tensors.

    Examples:
        >>> model = mh.HeadedModel.from_pretrained(gpt2)
        >>> head = model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent", "emergency"]))
        >>> list(model.heads)
        ['urgency']
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
        """Load a Hugging Face checkpoint, or a model saved by ``save_pretrained``, in eval mode.

        Args:
            name: A folder or a hub id.
            dtype: Dtype of the backbone's weights; ``None`` for transformers' default. Heads are always fp32.
            device: The device to load to.
            revision: Revision of the hub repository.
            trust_remote_code: Whether Python code in the checkpoint may run.
            quantization_config: As in transformers.
            backbone: The present path of the backbone, if the model was saved with ``backbone="reference"`` and the
                backbone has moved.

        Raises:
            UnknownBackboneError: no such checkpoint.
            IncompleteBackboneError: weights are missing and would be random.
            CorruptCheckpointError: the saved heads are inconsistent or do not match their checksum.
            WrongBackboneError: the saved heads belong to another backbone.
            UnsupportedHeadError: a stock classifier whose head cannot be converted.

        Examples:
            >>> mh.HeadedModel.from_pretrained(gpt2).lm is not None
            True
        """
        core, tokenizer = open_model(name, dtype, device, revision, trust_remote_code, quantization_config, backbone)
        return cls(core, tokenizer).eval()

    @classmethod
    def wrap(cls, model: nn.Module, tokenizer: Tokenizer | None = None) -> HeadedModel:
        """Return a model around a Hugging Face model object, which is used as it is, without a copy.

        Examples:
            >>> from transformers import AutoModelForCausalLM, AutoTokenizer
            >>> language_model = AutoModelForCausalLM.from_pretrained(gpt2)
            >>> model = mh.HeadedModel.wrap(language_model, AutoTokenizer.from_pretrained(gpt2))
            >>> model.backbone is language_model
            True
        """
        wrapped = cls(core_around(model), tokenizer)
        wrapped.training = model.training
        return wrapped

    def __deepcopy__(self, memo: dict[int, Any]) -> HeadedModel:
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise CheckpointError(
            f"{type(self).__name__}: cannot be pickled; save it with model.save_pretrained(folder) and load it with "
            "HeadedModel.from_pretrained(folder)"
        )

    @property
    def tokenizer(self) -> Any:
        """The backbone's tokenizer, or ``None``.

        Examples:
            >>> len(model.tokenizer("mild cough").input_ids)
            2
        """
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        use_tokenizer(self.core, tokenizer)

    @property
    def backbone(self) -> nn.Module:
        """The Hugging Face model object, exactly as transformers loaded it.

        Examples:
            >>> type(model.backbone).__name__
            'GPT2LMHeadModel'
        """
        return self.core.backbone.model

    @property
    def lm(self) -> nn.Module | None:
        """The backbone if it is a language model, else ``None``.

        Examples:
            >>> model.lm is model.backbone
            True
        """
        return self.core.backbone.lm

    @property
    def heads(self) -> HeadCollection:
        """The heads by name, in the order in which they were added.

        Examples:
            >>> model.heads["urgency"].spec.labels
            ('routine', 'urgent', 'emergency')
        """
        return self.core.heads

    @property
    def device(self) -> torch.device:
        """The device of the backbone's weights.

        Examples:
            >>> model.device
            device(type='cpu')
        """
        return self.core.backbone.device

    def add_head(self, name: str, spec: HeadSpec) -> Head:
        """Add a new, untrained head and return it.

        Raises:
            HeadNameError: the name is taken, reserved, or contains a dot or a slash.
            HeadError: a tap that this backbone does not have, or an ``Output`` of a head that does not exist.

        Examples:
            >>> head = model.add_head("age", mh.Regression(reads=mh.Hidden(layer=-2, pool="mean")))
            >>> list(model.heads)
            ['urgency', 'age']
        """
        return add_head(self.core, name, spec)

    def remove_head(self, name: str) -> None:
        """Remove a head.

        Raises:
            UnknownHeadError: no head has this name.
            HeadError: another head reads this one.

        Examples:
            >>> model.remove_head("urgency")
            >>> len(model.heads)
            0
        """
        self.core.heads.remove(name)
        self.core.prune()

    def add_tokens(self, words: Iterable[str], init: str = "mean of sub-words") -> AddedTokens:
        """Add words to the tokenizer, each as one token, and rows for them to the backbone.

        Only whole words become the new token, never parts of longer words. The rows of existing tokens do not change.
        A new row is the mean of the rows of the word's previous tokens, in the input embeddings and, where they are
        separate, in the LM head and its bias. New tokens take some probability from the others, so the language model's
        output changes. Only tuning the backbone (``Full``) trains the new rows.

        Args:
            words: Words without spaces. Words that are one token already are skipped.
            init: Initial value of the new rows; only ``"mean of sub-words"`` exists.

        Raises:
            InputError: no tokenizer, a word that cannot be one token, or another ``init``.
            TextError: a word that is not a string.
            BackboneError: embeddings that cannot be resized, or quantized weights.

        Examples:
            >>> import warnings
            >>> with warnings.catch_warnings(action="ignore"):
            ...     added = model.add_tokens(["metformin"])
            >>> added.words
            ('metformin',)
        """
        return add_tokens_to_core(self.core, self.tokenizer, words, init)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
        heads: Iterable[str] | None = None,
        lm: bool = False,
        word_ids: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> HeadedOutput:
        """Run the backbone once for all heads and, if requested, the language model.

        Heads that read LoRA adapters need a second pass, since the language model runs without the adapters.

        Args:
            input_ids: (rows, tokens) int64.
            attention_mask: (rows, tokens), 1 for real tokens, with padding anywhere; by default all tokens are real.
            token_type_ids: (rows, tokens), for a backbone that takes them.
            position_ids: (rows, tokens), for a backbone that takes them.
            decoder_input_ids: (rows, decoder tokens); an encoder-decoder needs them for ``lm=True``.
            labels: Head name -> targets: int64 positions (rows,) with -100 missing, or the share of each label as
                floats (rows, labels) with NaN missing (multi-class, ordinal), zeros and ones or probabilities (rows,
                labels) with NaN missing (multi-label), numbers (rows,) with NaN missing (regression), int64 positions
                (rows, words), or (rows, tokens) without ``word_ids``, with -100 missing (tokens).
            heads: Names of the heads to run; all by default.
            lm: Whether to return ``lm_logits`` too.
            word_ids: (rows, tokens) int64 for token heads: the index, within the row, of the word that each token
                belongs to, -1 for none. By default every real token is a word.
            sample_weight: (rows,) weight of each row in the losses, at least 0; all count alike by default. Each head's
                loss is the mean weighted by row and class, so that integer weights equal repeated rows.

        Returns:
            ``loss``, ``losses``, ``counts``, ``logits`` and ``lm_logits``.

        Raises:
            UnknownHeadError: a name that no head has.
            InputError: a tensor of a wrong shape, dtype or range, one that this backbone does not accept, or labels of
                ``collate`` under a trainer that would weight heads incorrectly.
            NoLanguageModelError: ``lm=True`` without a language model.

        Examples:
            >>> ids = model.tokenizer("mild cough", return_tensors="pt").input_ids
            >>> output = model(ids, labels={"urgency": torch.tensor([0])}, lm=True)
            >>> output.logits["urgency"].shape
            torch.Size([1, 3])
        """
        if not isinstance(input_ids, Tensor):
            raise InputError(
                f"input_ids must be a tensor (rows, tokens), got {type(input_ids).__name__}; call the model with "
                "**tokenizer(texts, padding=True, return_tensors='pt'), or predict texts with model.predict(texts)"
            )
        check_collated(labels, self.core.is_accumulating())
        mask = full_mask(input_ids, self.tokenizer) if attention_mask is None else attention_mask
        batch = Batch(input_ids, mask, token_type_ids, position_ids, decoder_input_ids, word_ids)
        return self.core(batch, labels, heads, lm, sample_weight)  # type: ignore[no-any-return]

    def predict(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]] | Sequence[list[str]],
        heads: Iterable[str] | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
        cache: str | Path | None = None,
    ) -> Predictions:
        """Predict texts, or pairs of texts, with all heads in one pass of the backbone.

        Args:
            texts: The texts. A tuple of two strings is a pair of texts; a list of strings is one text split into words.
                An empty text is predicted too, and flagged in ``.empty``.
            heads: Names of the heads; all by default.
            max_length: Maximum tokens per text; the backbone's limit by default.
            long_text: ``"truncate"`` longer texts, which are then flagged in ``.truncated``; take the ``"mean"`` or the
                ``"max"`` of the scores of overlapping windows, flagged in ``.split`` (see ``Predictor``); or raise an
                ``"error"``.
            cache: Folder of a feature cache, or ``"auto"`` for the user's own, to compute nothing twice for texts that
                are predicted again; by default, nothing is kept.

        Returns:
            A sequence of ``{head: Prediction}``, backed by arrays.

        Raises:
            TextError: a text that is not a string.
            InputError: no tokenizer, or a text beyond the limit with ``long_text="error"``.

        Examples:
            >>> predictions = trained.predict(texts)
            >>> predictions[0]["urgency"].label in ("routine", "urgent", "emergency")
            True
        """
        read = read_texts_from_list(texts)
        scorer = Scorer(self.core, self.tokenizer, ScoringSettings(max_length, long_text), open_cache(cache))
        return scorer(read, heads)

    def features(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        taps: Tap | Sequence[Tap],
        max_length: int | None = None,
        dtype: torch.dtype | str = "auto",
        cache: str | Path | None = None,
    ) -> Any:
        """Return features of texts, such as embeddings, from one pass of the backbone: what a head on these taps reads.

        Args:
            texts: As in ``predict``.
            taps: What to read: ``mh.Hidden(...)`` or ``mh.LMLogits(...)``, or several of them.
            max_length: Maximum tokens per text; the backbone's limit by default.
            dtype: Precision of the pass: ``"auto"`` for that of the loaded weights, or a torch dtype or its name.
            cache: As in ``predict``. Training with ``Frozen`` keeps its features there, in its own precision.

        Returns:
            For one tap, fp32 (rows, width), or a sequence of (tokens, width) if the tap reads every token; for several
            taps, such arrays by tap.

        Raises:
            HeadError: a tap that this backbone does not have, or one without features of its own.
            TextError: a text that is not a string.

        Examples:
            >>> model.features(texts, mh.Hidden(layer=-2, pool="mean")).shape
            (3, 32)
        """
        chosen = [taps] if isinstance(taps, Tap) else [*taps]
        settings = ScoringSettings(max_length, dtype=dtype)
        scorer = Scorer(self.core, self.tokenizer, settings, open_cache(cache))
        found = scorer.features(read_texts_from_list(texts), chosen)
        return found[taps] if isinstance(taps, Tap) else found

    @property
    def generate(self) -> Callable[..., Any]:
        """The backbone's own ``generate``, with the same signature and the same tokens as without heads.

        Raises:
            NoLanguageModelError: the backbone does not generate text.

        Examples:
            >>> ids = model.tokenizer("mild cough", return_tensors="pt").input_ids
            >>> tokens = model.generate(ids, max_new_tokens=2, min_new_tokens=2, do_sample=False, pad_token_id=0)
            >>> tokens.shape[1] - ids.shape[1]
            2
        """
        self.core.backbone.check_generates()
        backbone: Any = self.backbone
        generate: Callable[..., Any] = backbone.generate
        return generate

    def generate_and_predict(
        self,
        prompts: Sequence[str],
        heads: Iterable[str] | None = None,
        max_new_tokens: int | None = None,
        # Names and defaults of the options are transformers' own; ``generate`` raises for unknown ones.
        **generate_options: Any,
    ) -> tuple[Continuations, Predictions]:
        """Generate text after prompts and predict the prompts, which run through the backbone once.

        The tokens are those of ``generate`` for the same batch of prompts, the predictions those of ``predict``. Heads
        under a prompt, of LoRA adapters, on a pooler, or trained in another precision than the loaded one need a second
        pass.

        Args:
            prompts: The texts; all of them are one batch.
            heads: Names of the heads; all by default.
            max_new_tokens: As in ``generate``: the model's generation config decides by default.
            generate_options: Any other options of ``generate``, such as ``num_beams`` or ``generation_config``.

        Returns:
            For each prompt the text after it (of an encoder-decoder, the decoder's), without special tokens, or a list
            of texts with ``num_return_sequences`` above 1; and one row of predictions for each prompt.

        Raises:
            NoLanguageModelError: the backbone does not generate text.
            HeadError: there is no head.
            InputError: no tokenizer, an option that is made from the prompts, or a prompt that leaves no room for new
                tokens.
            TextError: a prompt that is not a string.

        Examples:
            >>> written, predictions = trained.generate_and_predict(texts, max_new_tokens=3, do_sample=False)
            >>> len(written), len(predictions), predictions.heads
            (3, 3, ('urgency',))
        """
        options = generate_options if max_new_tokens is None else {**generate_options, "max_new_tokens": max_new_tokens}
        return generate_and_predict(self.core, self.tokenizer, read_texts_from_list(prompts), heads, options)

    def stream_generation(
        self,
        prompts: Sequence[str],
        heads: Iterable[str] | None = None,
        max_new_tokens: int | None = None,
        **generate_options: Any,
    ) -> Iterator[Predictions | TextPiece | GenerationEnd]:
        """Generate text after prompts as ``generate_and_predict`` does, and yield each result once it is known.

        The heads' answers come first, after the prompts have run and before the first piece of text. The generation
        runs in a thread of its own, without the caller's ``torch.autocast``. It stops at the next token once the
        iterator is closed, as when a ``for`` loop over it ends early.

        Args:
            prompts: The texts; all of them are one batch.
            heads: Names of the heads; all by default, perhaps none.
            max_new_tokens: As in ``generate``: the model's generation config decides by default.
            generate_options: Any other options of ``generate``. With beams, each text is one piece, at the end.

        Yields:
            First the predictions of all prompts; then pieces of the texts, which joined are those of
            ``generate_and_predict``; last why each text ended, and the numbers of tokens.

        Raises:
            NoLanguageModelError: the backbone does not generate text.
            InputError: no tokenizer, an option that is made from the prompts, or a prompt that leaves no room for new
                tokens.
            TextError: a prompt that is not a string.

        Examples:
            >>> events = trained.stream_generation(texts[:1], max_new_tokens=3, do_sample=False)
            >>> next(events)[0]["urgency"].label in trained.heads["urgency"].spec.labels
            True
            >>> [type(event).__name__ for event in events][-1]
            'GenerationEnd'
        """
        options = generate_options if max_new_tokens is None else {**generate_options, "max_new_tokens": max_new_tokens}
        return stream_generation(self.core, self.tokenizer, read_texts_from_list(prompts), heads, options)

    def merge_adapter(self, name: str | None = None, change_lm: bool = False) -> None:
        """Merge a LoRA adapter into the backbone's weights; its heads then read the backbone itself.

        The predictions of these heads stay equal up to rounding. The language model and all other heads change.

        Args:
            name: Name of the adapter, such as ``"lora"``; optional if there is only one.
            change_lm: Whether the language model and other heads may change.

        Raises:
            BackboneError: no such adapter, several adapters without a name, or ``change_lm=False`` although the
                language model or another head would change.

        Examples:
            >>> result = mh.train(model, table, text="note", method=mh.LoRA(r=2, epochs=1))
            >>> model.merge_adapter("lora", change_lm=True)
            >>> len(model.core.backbone.branches)
            0
        """
        self.core.merge_adapter(name, change_lm)

    def save_pretrained(self, folder: str | Path, backbone: str = "full", overwrite: bool = False) -> None:
        """Save backbone, tokenizer and heads atomically; the folder is also a plain Hugging Face checkpoint.

        A model card, ``README.md``, is written with them, unless the folder has one that a person edited.

        Args:
            folder: A new or empty folder, unless ``overwrite`` is true.
            backbone: ``"full"``, or ``"reference"`` to save only the backbone's name and fingerprint with the heads.
            overwrite: Whether to replace the folder.

        Raises:
            OutputExistsError: the folder is not empty.
            CheckpointError: a reference to weights that are in no file.

        Examples:
            >>> trained.save_pretrained(folder / "triage")
            >>> list(mh.HeadedModel.from_pretrained(folder / "triage").heads)
            ['urgency']
        """
        if backbone not in ("full", "reference"):
            raise CheckpointError(f"backbone must be 'full' or 'reference', got {backbone!r}")
        save_checkpoint(Path(folder), self.core.backbone, self.tokenizer, self.heads, backbone, overwrite)

    def push_to_hub(
        self,
        repo: str,
        private: bool | None = None,
        heads_only: bool = False,
        revision: str | None = None,
        commit_message: str | None = None,
        token: str | bool | None = None,
    ) -> CommitInfo:
        """Push backbone, tokenizer, heads and model card to the Hugging Face hub, in one commit.

        The repository is created if it does not exist. It receives the files of the model and nothing else: no path,
        name or other file of this machine. Files of a previous push that this model does not have are deleted. Other
        files stay, and so does a model card that a person edited.

        Args:
            repo: The hub id, ``"owner/name"``, or ``"name"`` for a repository of the token's user.
            private: Whether a new repository is private; ``None`` for the owner's default.
            heads_only: Whether to push the heads without the backbone, which must then be unchanged and from the hub;
                it is named with its commit.
            revision: The branch to push to, created if it does not exist; the main branch by default.
            commit_message: ``"Upload model"`` by default.
            token: An access token; by default, the one that ``hf auth login`` saved.

        Returns:
            The commit, as ``huggingface_hub`` describes it: a string, its URL, with ``oid`` and ``repo_url``.

        Raises:
            HubError: no token, no permission, no network, or a commit of somebody else during the push.
            CheckpointError: ``heads_only`` with a backbone that is not on the hub as it is.

        Examples:
            >>> try:
            ...     trained.push_to_hub("clinic/triage", token=False)
            ... except mh.errors.HubError as error:
            ...     print(error)
            clinic/triage: pushing needs an access token with write permission; log in with `hf auth login`, ...
        """
        return push_checkpoint(
            repo,
            self.core.backbone,
            self.tokenizer,
            self.heads,
            private,
            heads_only,
            revision,
            commit_message,
            token,
        )

    def save_head(self, name: str, folder: str | Path, overwrite: bool = False) -> None:
        """Save one head with the fingerprint of its backbone.

        Raises:
            UnknownHeadError: no head has this name.
            OutputExistsError: the folder is not empty.
            CheckpointError: the head reads another head; ``save_pretrained`` saves both.

        Examples:
            >>> trained.save_head("urgency", folder / "urgency")
            >>> (folder / "urgency" / "heads.json").exists()
            True
        """
        save_checkpoint(Path(folder), self.core.backbone, self.tokenizer, {name: self.heads[name]}, "heads", overwrite)

    def load_head(self, folder: str | Path, name: str | None = None, head: str | None = None) -> Head:
        """Load a saved head, add it to the model and return it.

        Args:
            folder: A folder written by ``save_head`` or ``save_pretrained``.
            name: The head's new name; its saved name by default.
            head: The saved name; optional if the folder contains one head.

        Raises:
            UnknownHeadError: the folder has no such head, or has several and ``head`` is missing.
            WrongBackboneError: the head belongs to another backbone.
            HeadNameError: the name is taken.
            HeadError: the head reads another head, which this model does not have under the same name.

        Examples:
            >>> trained.save_head("urgency", folder / "urgency")
            >>> head = trained.load_head(folder / "urgency", name="urgency2")
            >>> list(trained.heads)
            ['urgency', 'urgency2']
        """
        return load_head(self.core, self.tokenizer, Path(folder), name, head)

    def export_head(self, name: str, folder: str | Path, to: str = "transformers", overwrite: bool = False) -> None:
        """Export one head with the part of the backbone that it needs, in the format of another library.

        The written files are loaded again and compared with the head: logits, divided by the decision's temperature,
        are equal to 1e-5 in fp32, or nothing is written. The folder is written atomically, with a model card.

        Args:
            name: The head's name.
            folder: A new or empty folder, or an earlier export with ``overwrite``.
            to: ``"transformers"`` for a stock classifier, which ``pipeline`` loads; ``"sentence-transformers"`` for
                modules whose embeddings are the head's logits.
            overwrite: Whether to replace an earlier export.

        Raises:
            UnknownHeadError: no head has this name.
            ExportError: the format cannot express the head; the message says why, and what can be done.
            ConfigError: an unknown format.
            OutputExistsError: the folder is not free.
            CheckpointError: the disk has no room for the files.
            OutputError: the files cannot be written.

        Examples:
            >>> model = mh.HeadedModel.from_pretrained(bert)
            >>> head = model.add_head("age", mh.Regression(reads=mh.Hidden(pool="pooler")))
            >>> result = mh.train(model, table, text="note", heads=["age"])
            >>> model.export_head("age", folder / "age")
            >>> from transformers import pipeline
            >>> classify = pipeline("text-classification", model=str(folder / "age"))
            >>> abs(classify("mild cough")[0]["score"] - model.predict(["mild cough"])[0]["age"].value) < 1e-4
            True
        """
        export_head(self.core, self.tokenizer, name, Path(folder), to, overwrite)

    def export_onnx(
        self,
        folder: str | Path,
        heads: Iterable[str] | None = None,
        language_model: bool = False,
        quantize: str | None = None,
        data: object = None,
        text: str | Sequence[str] | None = None,
        min_agreement: float = 0.99,
        refit: object = None,
        overwrite: bool = False,
    ) -> None:
        """Export heads as one ONNX graph, which ``OnnxPredictor`` runs without torch.

        The written files are opened again and compared with the model on 200 texts: in fp32, logits are equal to 1e-4,
        or nothing is written. A quantized graph is then compared with the model in fp32 on ``data``. The folder is
        written atomically, with a model card.

        Args:
            folder: A new or empty folder, or an earlier export with ``overwrite``.
            heads: Names of the heads; all by default.
            language_model: Whether to write a second graph that gives the language model's logits too.
            quantize: ``"int8"`` for INT8 with a scale for each token, ``"int8-tensor"`` for ONNX Runtime's own scheme,
                with one scale for each batch; ``None`` for fp32.
            data: Labelled rows on which the quantized heads are compared, as in ``evaluate``.
            text: The text column of ``data`` and ``refit``, or two for pairs; by default that of training.
            min_agreement: The least share of equal answers for each quantized head; below it nothing is written.
            refit: A table of texts, best those of training, to which heads without hidden layers are fitted on the
                quantized graph; labels are not needed.
            overwrite: Whether to replace an earlier export.

        Raises:
            UnknownHeadError: no head has one of these names.
            ExportError: a head is not trained, the backbone cannot be traced, or a quantized head agrees too little.
            ConfigError: an unknown quantizer, or settings that do not go together.
            DataError: a table that cannot be used.
            MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
            OutputExistsError: the folder is not free.
            CheckpointError: the disk has no room for the files.
            OutputError: the files cannot be written.

        Examples:
            >>> trained.export_onnx(folder / "graph")
            >>> mh.OnnxPredictor(folder / "graph")(texts)[0]["urgency"].label in ("routine", "urgent", "emergency")
            True
        """
        settings = OnnxSettings(language_model, quantize, data, text, min_agreement, refit)
        export_onnx(self.core, self.tokenizer, Path(folder), heads, settings, overwrite)
