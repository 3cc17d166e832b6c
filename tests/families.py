"""Tiny backbones of every family, and a tokenizer for each, built from configs without a network.

Every parameter is moved away from zero, biases included: a bias that someone drops must show.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 96
BYTE_PAIRS = 320
POSITIONS = 64
HIDDEN = 32
LAYERS = 3

_WORDS = """
the a patient man woman child nurse doctor has had with without no and or in on at of for after before since
pain fever cough rash chest head back leg arm knee throat stomach left right severe mild sudden chronic acute
breath short blood pressure high low heart rate fast slow days hours weeks two three red swollen fall cut burn
broken calm dizzy nausea sleep well poor eats drinks walks stable urgent routine sent home today again new old
pale dry warm cold hand foot , night eye ear skin bone sugar weak tired thirsty
"""
WORDS = _WORDS.split()

TEXTS = [
    "severe chest pain since two hours",
    "mild cough",
    "the patient has had fever and a dry cough for three days",
    "rash on left arm",
    "sudden pain in the back after a fall , woman walks slow",
    "child eats and drinks well",
    "old man with high blood pressure and short breath at night , heart rate fast , pale , cold hand",
    "burn",
    "knee swollen and red since days",
    "dizzy after fall",
    "a nurse sent the child home today",
    "chronic stomach pain without fever , no nausea , stable for weeks , sleep poor",
]


@dataclass(frozen=True, eq=False)
class Specials:
    """The special tokens of a tokenizer (the first ids, in this order) and where it puts them.

    ``single`` and ``pair`` are templates of tokenizers' TemplateProcessing; None adds nothing.
    """

    tokens: tuple[str, ...]
    roles: dict[str, str]
    single: str | None = None
    pair: str | None = None
    token_type_ids: bool = False
    byte_pairs: bool = False


_BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_ROBERTA_ROLES = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BERT_PAIR = "[CLS] $A [SEP] $B:1 [SEP]:1"

# No special token is ever added, and there is no pad token: ids are 0 end of text, 1 unknown.
GPT = Specials(
    ("<|endoftext|>", "<unk>"),
    {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"},
)
# Pad is the end of the text.
QWEN3 = Specials(
    ("<|endoftext|>", "<unk>"),
    {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"},
)
# For this model type AutoTokenizer takes Qwen2Tokenizer, whatever the file shows: byte pairs, not words.
QWEN2 = replace(QWEN3, byte_pairs=True)
# Starts with a token, has no pad token.
LLAMA = Specials(
    ("<unk>", "<s>", "</s>"),
    {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "<s> $A",
    "<s> $A <s> $B",
)
GEMMA = Specials(
    ("<pad>", "<eos>", "<bos>", "<unk>"),
    {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
    "<bos> $A",
    "<bos> $A <bos> $B",
)
OPT = Specials(
    ("<s>", "<pad>", "</s>", "<unk>"),
    {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
    "</s> $A",
    "</s> $A </s> $B",
)
BLOOM = Specials(
    ("<unk>", "<s>", "</s>", "<pad>"),
    {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
)
BERT = Specials(_BERT_TOKENS, _BERT_ROLES, "[CLS] $A [SEP]", _BERT_PAIR, token_type_ids=True)
# DistilBERT and ModernBERT: BERT's tokens, but no token types.
BERT_UNTYPED = Specials(_BERT_TOKENS, _BERT_ROLES, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
ROBERTA = Specials(
    ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    _ROBERTA_ROLES,
    "<s> $A </s>",
    "<s> $A </s> </s> $B </s>",
)
T5 = Specials(
    ("<pad>", "</s>", "<unk>"),
    {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    "$A </s>",
    "$A </s> $B </s>",
)


@dataclass(frozen=True, eq=False)
class Family:
    """One architecture: how to build it tiny, and the facts that tests ask about.

    Attributes:
        name: the ``model_type`` with underscores, such as ``"gpt2"``.
        lm_class: transformers' class with the LM head.
        config_class: transformers' config class.
        config: the config's own keywords.
        specials: the special tokens, which fix ``pad_token_id`` and the others.
        causal: a decoder that reads from left to right.
        encoder_decoder: T5 and BART.
        pooler_class: the bare class that holds a pooler, or None.
        takes: the optional inputs that the model takes.
    """

    name: str
    lm_class: str
    config_class: str
    config: dict[str, Any] = field(repr=False)
    specials: Specials = field(repr=False)
    causal: bool = False
    encoder_decoder: bool = False
    pooler_class: str | None = None
    takes: frozenset[str] = frozenset()

    @property
    def encoder(self) -> bool:
        """Whether it is an encoder alone."""
        return not self.causal and not self.encoder_decoder

    @property
    def generates(self) -> bool:
        """Whether ``generate`` works."""
        return self.causal or self.encoder_decoder

    @property
    def auto_class(self) -> Any:
        """Transformers' Auto class that loads it with its LM head."""
        if self.causal:
            return transformers.AutoModelForCausalLM
        if self.encoder_decoder:
            return transformers.AutoModelForSeq2SeqLM
        return transformers.AutoModelForMaskedLM

    def special_id(self, role: str) -> int | None:
        """Return the id of the special token of that role (``"pad"``, ``"eos"``...), or None."""
        token = self.specials.roles.get(f"{role}_token")
        return None if token is None else self.specials.tokens.index(token)

    def make_config(self, **changes: Any) -> Any:
        """Build the config, with ``changes`` to its keywords."""
        ids = {f"{role}_token_id": self.special_id(role) for role in ("pad", "bos", "eos", "cls", "sep")}
        if self.name != "modernbert":  # the only config that knows these two
            del ids["cls_token_id"], ids["sep_token_id"]
        keywords = {"vocab_size": VOCABULARY, **ids, **self.config, **changes}
        return getattr(transformers, self.config_class)(**keywords)

    def build(self, seed: int = 0, model_class: str | None = None, **changes: Any) -> PreTrainedModel:
        """Build the model with its LM head (or another class), in eval mode, all its weights non-zero."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = getattr(transformers, model_class or self.lm_class)(self.make_config(**changes))
            perturb(model)
        return model.eval()


def perturb(model: PreTrainedModel, scale: float = 0.05) -> None:
    """Add noise to every parameter and every saved floating-point buffer (BART's logits bias)."""
    saved = model.state_dict().keys()
    buffers = [b for name, b in model.named_buffers() if name in saved and b.is_floating_point()]
    with torch.no_grad():
        for tensor in [*model.parameters(), *buffers]:
            tensor.add_(torch.randn_like(tensor) * scale)


_COMMON = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2}
_GPT2 = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": 4, "n_positions": POSITIONS}
_ROBERTA = {**_COMMON, "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}
_POSITIONS = frozenset({"position_ids"})
_TYPES = frozenset({"position_ids", "token_type_ids"})

FAMILIES: tuple[Family, ...] = (
    Family("gpt2", "GPT2LMHeadModel", "GPT2Config", _GPT2, GPT, causal=True, takes=_TYPES),
    Family(
        "gptj",
        "GPTJForCausalLM",
        "GPTJConfig",
        {**_GPT2, "rotary_dim": 4},
        GPT,
        causal=True,
        takes=_TYPES,
    ),
    Family("gpt_neox", "GPTNeoXForCausalLM", "GPTNeoXConfig", _COMMON, GPT, causal=True, takes=_POSITIONS),
    Family(
        "opt",
        "OPTForCausalLM",
        "OPTConfig",
        {
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "ffn_dim": 48,
            "max_position_embeddings": POSITIONS,
            "word_embed_proj_dim": HIDDEN,
        },
        OPT,
        causal=True,
        takes=_POSITIONS,
    ),
    Family(
        "bloom",
        "BloomForCausalLM",
        "BloomConfig",
        {"hidden_size": HIDDEN, "n_layer": LAYERS, "n_head": 4},
        BLOOM,
        causal=True,
    ),
    Family("llama", "LlamaForCausalLM", "LlamaConfig", _GROUPED, LLAMA, causal=True, takes=_POSITIONS),
    Family("mistral", "MistralForCausalLM", "MistralConfig", _GROUPED, LLAMA, causal=True, takes=_POSITIONS),
    Family(
        "qwen2",
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {**_GROUPED, "tie_word_embeddings": True, "vocab_size": BYTE_PAIRS},
        QWEN2,
        causal=True,
        takes=_POSITIONS,
    ),
    Family(
        "qwen3",
        "Qwen3ForCausalLM",
        "Qwen3Config",
        {**_GROUPED, "head_dim": 8},
        QWEN3,
        causal=True,
        takes=_POSITIONS,
    ),
    Family(
        "gemma3",
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            **_GROUPED,
            "head_dim": 8,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        GEMMA,
        causal=True,
        takes=_POSITIONS,
    ),
    Family(
        "mamba",
        "MambaForCausalLM",
        "MambaConfig",
        {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "state_size": 4},
        GPT,
        causal=True,
    ),
    Family("bert", "BertForMaskedLM", "BertConfig", _COMMON, BERT, pooler_class="BertModel", takes=_TYPES),
    Family(
        "roberta",
        "RobertaForMaskedLM",
        "RobertaConfig",
        _ROBERTA,
        ROBERTA,
        pooler_class="RobertaModel",
        takes=_TYPES,
    ),
    Family(
        "xlm_roberta",
        "XLMRobertaForMaskedLM",
        "XLMRobertaConfig",
        _ROBERTA,
        ROBERTA,
        pooler_class="XLMRobertaModel",
        takes=_TYPES,
    ),
    Family(
        "albert",
        "AlbertForMaskedLM",
        "AlbertConfig",
        {**_COMMON, "embedding_size": 16},
        BERT,
        pooler_class="AlbertModel",
        takes=_TYPES,
    ),
    Family(
        "deberta_v2",
        "DebertaV2ForMaskedLM",
        "DebertaV2Config",
        {
            **_COMMON,
            "type_vocab_size": 2,
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        },
        BERT,
        takes=_TYPES,
    ),
    Family(
        "distilbert",
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        {
            "dim": HIDDEN,
            "n_layers": LAYERS,
            "n_heads": 4,
            "hidden_dim": 48,
            "max_position_embeddings": POSITIONS,
        },
        BERT_UNTYPED,
        takes=_POSITIONS,
    ),
    Family(
        "electra",
        "ElectraForMaskedLM",
        "ElectraConfig",
        {**_COMMON, "embedding_size": 16},
        BERT,
        takes=_TYPES,
    ),
    Family(
        "modernbert",
        "ModernBertForMaskedLM",
        "ModernBertConfig",
        {**_COMMON, "local_attention": 8},
        BERT_UNTYPED,
        takes=_POSITIONS,
    ),
    Family(
        "t5",
        "T5ForConditionalGeneration",
        "T5Config",
        {
            "d_model": HIDDEN,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": LAYERS,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
        T5,
        encoder_decoder=True,
    ),
    Family(
        "bart",
        "BartForConditionalGeneration",
        "BartConfig",
        {
            "d_model": HIDDEN,
            "encoder_layers": LAYERS,
            "decoder_layers": LAYERS,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": POSITIONS,
            "decoder_start_token_id": 2,
            "forced_eos_token_id": 2,
        },
        ROBERTA,
        encoder_decoder=True,
    ),
)

BY_NAME = {family.name: family for family in FAMILIES}
CAUSAL = tuple(family for family in FAMILIES if family.causal)
ENCODERS = tuple(family for family in FAMILIES if family.encoder)
ENCODER_DECODERS = tuple(family for family in FAMILIES if family.encoder_decoder)
GENERATING = tuple(family for family in FAMILIES if family.generates)


def _words(specials: Specials) -> Tokenizer:
    entries = [*specials.tokens, *WORDS][:VOCABULARY]
    vocabulary = {token: index for index, token in enumerate(entries)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials.roles["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _byte_pairs(specials: Specials) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=BYTE_PAIRS, special_tokens=list(specials.tokens), show_progress=False)
    tokenizer.train_from_iterator([" ".join(WORDS), *TEXTS], trainer)
    return tokenizer


def tokenizer_for(family: Family) -> PreTrainedTokenizerFast:
    """Make a tokenizer whose ids, special tokens and emitted inputs suit the family."""
    specials = family.specials
    tokenizer = _byte_pairs(specials) if specials.byte_pairs else _words(specials)
    if specials.single is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=specials.single,
            pair=specials.pair,
            special_tokens=[(token, index) for index, token in enumerate(specials.tokens)],
        )
    types = ["token_type_ids"] if specials.token_type_ids else []
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", *types, "attention_mask"],
        model_max_length=POSITIONS,
        **specials.roles,
    )


def save_family(family: Family, folder: Path, seed: int = 0) -> Path:
    """Save the model and its tokenizer as transformers does, and return the folder."""
    family.build(seed).save_pretrained(folder)
    tokenizer_for(family).save_pretrained(folder)
    return folder
