"""Every text architecture of transformers, built tiny from its config, and one trial of each.

A config is shrunk by the names of its fields, so that new architectures need no line here unless their fields are
coupled. Each trial runs in a process of its own: a crash or a hang ends one trial.

``python -m tests.real.architectures`` tries all architectures, prints the counts and writes ``architectures.md``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers.models.auto import modeling_auto

import manyheads as mh
from tests.families import TEXTS, WORDS, perturb

VOCABULARY = 96
SECONDS = 60
TABLE = Path(__file__).with_name("architectures.md")
_MOST_PARAMETERS = 3_000_000
# Largest difference of a row's logits alone and in a batch, relative to the spread of all logits.
TOLERANCE = 2e-3

_HIDDEN, _HEADS, _HEAD, _FFN, _LAYERS, _POSITIONS, _EXPERTS = 32, 4, 8, 48, 2, 128, 4
_SIZES: tuple[tuple[int, str], ...] = (
    (
        _HIDDEN,
        "hidden_size d_model n_embd dim emb_dim word_embed_proj_dim embedding_size d_embed hidden_dim units "
        "input_embedding_size lru_width attention_hidden_size hidden_size_per_layer_input linear_attn_hidden_size "
        "mamba_expand_hidden cardinality_dim decoder_hidden_size",
    ),
    (
        _LAYERS,
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers "
        "num_encoder_layers num_blocks",
    ),
    (
        _HEADS,
        "num_attention_heads n_head n_heads encoder_attention_heads decoder_attention_heads num_heads "
        "attention_heads num_decoder_attention_heads num_encoder_attention_heads linear_num_value_heads",
    ),
    (
        2,
        "num_key_value_heads num_kv_heads multi_query_group_num num_experts_per_tok moe_topk moe_k top_k_experts "
        "num_experts_per_token linear_num_key_heads num_selected_experts mamba_n_groups",
    ),
    (
        _HEAD,
        "head_dim d_kv d_head attention_head_size kv_channels v_head_dim qk_nope_head_dim qk_rope_head_dim "
        "global_head_dim linear_key_head_dim linear_value_head_dim index_head_dim swa_head_dim swa_v_head_dim "
        "mamba_headdim mamba_d_head mamba_head_dim",
    ),
    (2 * _HEAD, "qk_head_dim q_lora_rank kv_lora_rank o_lora_rank"),
    (
        _FFN,
        "intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim n_inner d_inner moe_intermediate_size "
        "shared_expert_intermediate_size ffn_hidden_size feed_forward_size expert_ffn_hidden_size dff "
        "shared_intermediate_size moe_shared_expert_intermediate_size intermediate_size_mlp block_ff_dim ffn_dim_exp "
        "num_ffn dense_intermediate_size moe_ffn_hidden_size vocab_size_per_layer_input_ffn mlp_hidden_size",
    ),
    (
        VOCABULARY,
        "vocab_size vocab_size_per_layer_input decoder_vocab_size src_vocab_size tgt_vocab_size text_vocab_size",
    ),
    (
        _POSITIONS,
        "max_position_embeddings n_positions max_seq_len max_sequence_length seq_length n_ctx max_length "
        "max_source_positions max_target_positions context_length",
    ),
    (4, "rotary_dim num_hash_functions"),
    (_EXPERTS, "num_experts num_local_experts n_routed_experts moe_num_experts"),
    (
        1,
        "n_group topk_group n_shared_experts num_shared_experts first_k_dense_replace num_dense_layers "
        "moe_layer_start_index num_nextn_predict_layers zero_expert_num",
    ),
    (
        8,
        "state_size ssm_state_size mamba_d_state time_step_rank mamba_dt_rank sliding_window attention_window_size "
        "index_topk local_attention chunk_size mamba_chunk_size",
    ),
)
_SMALL = {name: size for size, names in _SIZES for name in names.split()}
_IDS = {"pad_token_id": 0, "unk_token_id": 1, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2}
_IDS |= {"eos_token_id": 3, "mask_token_id": 4, "decoder_start_token_id": 2, "forced_eos_token_id": None}
_IDS |= {"forced_bos_token_id": None}

# Fields that are coupled to others.
COUPLED: dict[str, dict[str, Any]] = {
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "dots3_note_text": {"num_key_value_heads": _HEADS},
    "esmc": {"num_key_value_heads": _HEADS},
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "phi3": {
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * (_HEAD // 2),
            "long_factor": [4.0] * (_HEAD // 2),
            "original_max_position_embeddings": 10,
        },
        "original_max_position_embeddings": 10,
    },
    "funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1},
    "mobilebert": {"intra_bottleneck_size": 16},
    "reformer": {
        "axial_pos_embds_dim": (16, 16),
        "axial_pos_shape": (8, 16),
        "attn_layers": ["local", "lsh"],
        "num_hidden_layers": ...,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
    },
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8},
    "zamba": {"num_hidden_layers": ..., "layer_types": ["linear_attention", "linear_attention", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8},
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one trial.

    Attributes:
        architecture: transformers' ``model_type``.
        kind: ``"right"``, ``"error"`` (one clear line), ``"wrong"`` (anything else) or ``"not built"``.
        grouping: How its rows run together.
        detail: The message, or the largest difference.
    """

    architecture: str
    kind: str
    grouping: str = ""
    detail: str = ""


def architectures() -> list[str]:
    """Return the ``model_type`` of every architecture that transformers lists for text."""
    listed = [
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    ]
    return sorted({name for names in listed for name in names} | {"canine", "splinter", "lilt", "bros"})


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer of whole words with BERT's special tokens, the first ids."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = list(dict.fromkeys([*specials, *WORDS]))[:VOCABULARY]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, **roles, model_input_names=["input_ids", "attention_mask"]
    )


def build(architecture: str) -> transformers.PreTrainedModel:
    """Return a tiny model of an architecture in eval mode, with an LM head if it has one."""
    config = small_config(architecture)
    factory = _factory(architecture)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in factory.from_config(config).parameters())
    if size > _MOST_PARAMETERS:
        raise ValueError(f"{size} parameters")
    torch.manual_seed(0)
    model = factory.from_config(config, dtype=torch.float32)
    perturb(model)
    return model.eval()


def small_config(architecture: str) -> Any:
    """Return a tiny config: the default one with every field of a known name made small."""
    config_class = transformers.CONFIG_MAPPING[architecture]
    default = config_class()
    keywords = {name: size for name, size in (_SMALL | _IDS).items() if _has(default, config_class, name)}
    if "kv_lora_rank" in keywords:
        keywords["num_key_value_heads"] = _HEADS
    coupled = COUPLED.get(architecture, {})
    keywords |= coupled
    return config_class(**{name: value for name, value in keywords.items() if value is not ...})


def _has(default: Any, config_class: type, name: str) -> bool:
    return (
        name in vars(default)
        or name in config_class.attribute_map
        or name in getattr(config_class, "__annotations__", {})
    )


def _factory(architecture: str) -> Any:
    for mapping, factory in (
        (modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, transformers.AutoModelForMaskedLM),
        (modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, transformers.AutoModelForCausalLM),
        (modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, transformers.AutoModelForSeq2SeqLM),
    ):
        if architecture in mapping:
            return factory
    return transformers.AutoModel


def trial(architecture: str) -> Outcome:
    """Build an architecture, train a head on it, save, load and predict, and predict beside a generation; compare rows
    alone with rows in a batch.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone = build(architecture)
    except Exception as error:
        return Outcome(architecture, "not built", detail=_line(error))
    grouping = ""
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = mh.HeadedModel.wrap(backbone, tokenizer())
            model.add_head("a", mh.Multiclass(labels=["x", "y"]))
            grouping = model.core.backbone.row_groups.name
            detail = _moved(model, Path(folder) / "saved")
            return Outcome(architecture, "wrong" if detail else "right", grouping, detail)
    except mh.ManyheadsError as error:
        lines = str(error).strip().splitlines()
        return Outcome(architecture, "error" if len(lines) == 1 else "wrong", grouping, _line(error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(architecture, "wrong", grouping, f"{_line(error)} ({Path(place.filename).name}:{place.lineno})")


def _moved(model: mh.HeadedModel, folder: Path) -> str:
    """Return how predictions move between memory and disk, alone and batch, and the LM before and after; or nothing."""
    texts = [f"{text} {extra}" for text in TEXTS for extra in ("", "today")][:20]
    rows = [{"text": text, "a": "xy"[at % 2]} for at, text in enumerate(texts)]
    ids = torch.arange(5, 29).reshape(2, 12)
    before = _lm(model.backbone, ids)
    result = mh.train(model, rows[:16], text="text", eval_fraction=0)
    together = model.predict(texts).logits["a"]
    if not np.isfinite(together).all():
        return "predictions are not finite"
    spread = float(together.std()) or 1.0
    alone = np.concatenate([model.predict([text]).logits["a"] for text in texts])
    model.save_pretrained(folder)
    loaded = mh.HeadedModel.from_pretrained(folder)
    loaded.tokenizer = model.tokenizer
    again = loaded.predict(texts).logits["a"]
    moved = {
        "alone": float(np.abs(alone - together).max()) / spread,
        "loaded": float(np.abs(again - together).max()) / spread,
        "beside generation": _moved_by_generation(model, texts[:6]),
        "lm": 0.0 if before is None else float((_lm(model.backbone, ids) - before).abs().max()),  # type: ignore[operator]
    }
    if result.lm_check is not None and not result.lm_check.bit_identical:
        moved["lm_check"] = 1.0
    return ", ".join(f"{name} {value:.2g}" for name, value in moved.items() if not value <= TOLERANCE)


def _moved_by_generation(model: mh.HeadedModel, texts: list[str]) -> float:
    """Return how predictions move if a generation computes them; 0 where plain ``generate`` raises an error."""
    try:
        model.generate(**model.tokenizer(texts[:1], return_tensors="pt"), max_new_tokens=2, do_sample=False)
    except Exception:
        return 0.0
    model.add_head("b", mh.Multiclass(labels=["x", "y"]))  # of no other precision than the loaded one
    expected = model.predict(texts, heads=["b"]).logits["b"]
    _, found = model.generate_and_predict(texts, heads=["b"], max_new_tokens=2, do_sample=False)
    model.remove_head("b")
    return float(np.abs(found.logits["b"] - expected).max()) / (float(expected.std()) or 1.0)


def _lm(model: Any, ids: torch.Tensor) -> torch.Tensor | None:
    """Return the backbone's own logits, or nothing where it cannot be run in this plain way."""
    try:
        with torch.no_grad():
            given = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
            return model(input_ids=ids, attention_mask=torch.ones_like(ids), **given).logits
    except Exception:
        return None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:230]


def isolated_trial(architecture: str) -> Outcome:
    """Run one trial in a forked process, for at most ``SECONDS``."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(architecture, sender))
    process.start()
    sender.close()
    try:
        if receiver.poll(SECONDS):
            return receiver.recv()
        return Outcome(architecture, "wrong", detail=f"more than {SECONDS} seconds")
    except EOFError:
        return Outcome(architecture, "wrong", detail="the process died")
    finally:
        process.kill()
        process.join()


def _send(architecture: str, sender: Connection) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache, open(os.devnull, "w") as null:
        os.environ["MANYHEADS_CACHE"] = cache
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
        transformers.logging.set_verbosity_error()
        sender.send(trial(architecture))


def table(outcomes: Sequence[Outcome]) -> str:
    """Return outcomes as a Markdown table, the counts first."""
    rows = [
        f"| {one.architecture} | {one.kind} | {one.grouping} | {one.detail.replace('|', '/')} |" for one in outcomes
    ]
    head = ["| architecture | outcome | computed together | remark |", "|---|---|---|---|"]
    return "\n".join([f"transformers {transformers.__version__}: {counts(outcomes)}.", "", *head, *rows]) + "\n"


def counts(outcomes: Sequence[Outcome]) -> str:
    """Return how often each kind of outcome occurs."""
    found = Counter(one.kind for one in outcomes)
    return ", ".join(f"{found[kind]} {kind}" for kind in ("right", "error", "wrong", "not built"))


def recorded() -> dict[str, tuple[str, str]]:
    """Return the outcome and the rows computed together of each architecture in the committed table."""
    lines = TABLE.read_text("utf-8").splitlines()[4:] if TABLE.exists() else []
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[1]: (row[2], row[3]) for row in cells}


def main(names: Sequence[str]) -> None:
    """Try architectures, all by default, and print their outcomes; trying all writes the table."""
    torch.set_num_threads(1)
    outcomes = []
    for name in names or architectures():
        outcomes.append(isolated_trial(name))
        print(*astuple(outcomes[-1]), sep="  ", flush=True)
    print(counts(outcomes))
    if not names:
        TABLE.write_text(table(outcomes), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
