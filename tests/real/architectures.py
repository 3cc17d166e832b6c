"""Every text architecture of transformers that builds small from its config, trained, saved, loaded and compared.

``python -m tests.real.architectures TABLE.md [NAME ...]`` runs each one in a process of its own and writes the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Small values for the fields by which configs name their sizes.
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "d_model": 32, "dim": 32, "n_embd": 32, "embedding_size": 32, "emb_dim": 32,
    "word_embed_proj_dim": 32, "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2,
    "encoder_layers": 2, "decoder_layers": 2, "num_decoder_layers": 2, "num_encoder_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "ffn_dim": 64, "d_ff": 64, "d_inner": 64,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "hidden_dim": 64, "d_kv": 8, "head_dim": 8, "kv_channels": 8,
    "max_position_embeddings": 96, "n_positions": 96, "max_seq_len": 96, "n_ctx": 96, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "num_buckets": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2, "cls_token_id": 1, "decoder_start_token_id": 1,
    "layer_types": None, "mlp_layer_types": None, "sliding_window": 16, "first_k_dense_replace": 1, "n_group": 1,
    "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "is_decoder": False, "block_size": 4, "num_random_blocks": 1, "state_size": 8,
    "attention_window": 8, "axial_pos_shape": [8, 12], "axial_pos_embds_dim": [16, 16], "local_attn_chunk_length": 8,
    "lsh_attn_chunk_length": 8, "attn_layers": ["local", "lsh"], "d_embed": 32, "num_landmarks": 4,
    "tpu_short_seq_length": 96, "embedding_multiplier": 1.0, "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 64, "time_step_rank": 8, "conv_dim": 32, "attention_hidden_size": 32,
    "expand": 2, "n_groups": 1, "mamba_num_heads": 8, "mamba_head_dim": 8, "mamba_d_head": 8, "mamba_n_heads": 8,
}  # fmt: skip

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *(f"w{number}" for number in range(55))]


def tokenizer() -> Any:
    """Return a tokenizer of 60 words."""
    import tokenizers
    import transformers

    found = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    found.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    found.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", bos_token="[CLS]", eos_token="[SEP]", model_max_length=90,
    )  # fmt: skip


def architectures() -> dict[str, str]:
    """Return the class of each text architecture by the type of its config: a language model where there is one."""
    from transformers.models.auto import modeling_auto as auto

    found: dict[str, str] = {}
    for mapping in (
        auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    ):
        for kind, name in mapping.items():
            found.setdefault(kind, name if isinstance(name, str) else name[0])
    return found


def small(kind: str, name: str) -> Any:
    """Return a model of two layers with random weights."""
    import torch
    import transformers

    config_class = type(transformers.AutoConfig.for_model(kind))
    known = vars(config_class())
    absent = {key for key, value in known.items() if value is None and not key.endswith("types")}
    config = config_class(**{key: value for key, value in SIZES.items() if key in known.keys() - absent})
    torch.manual_seed(0)
    model_class = getattr(transformers, name)
    if "ForSequenceClassification" in name:
        model_class = getattr(transformers, name.replace("ForSequenceClassification", "Model"))
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in model_class(config).parameters())
    if size > 5_000_000:
        raise ValueError(f"not small: {size:,} parameters")
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.eval()


def tried(kind: str, name: str) -> dict[str, Any]:
    """Train, save, load and compare one architecture; return what happened."""
    import numpy as np
    import torch
    import transformers

    import manyheads as mh

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    try:
        model = small(kind, name)
    except Exception as error:
        return {"outcome": "not built", "reason": f"{type(error).__name__}: {error}"}
    texts = [f"w{i % 50} w{(3 * i) % 50} w{(7 * i) % 50}" + " w5 w6 w7" * (i % 8) for i in range(24)]
    rows = [{"text": text, "label": "ab"[number % 2]} for number, text in enumerate(texts)]
    try:
        headed = mh.HeadedModel.wrap(model, tokenizer())
        headed.add_head("label", mh.Multiclass(labels=["a", "b"]))
        mh.train(headed, rows, "text", mh.Frozen(cache=None), eval_fraction=0)
        together = headed.predict(texts).logits["label"]
        alone = np.concatenate([headed.predict([text]).logits["label"] for text in texts])
        with tempfile.TemporaryDirectory() as folder:
            headed.save_pretrained(f"{folder}/out")
            loaded = mh.HeadedModel.from_pretrained(f"{folder}/out").predict(texts).logits["label"]
    except mh.ManyheadsError as error:
        line = str(error)
        return {"outcome": "error of several lines" if "\n" in line else "one line", "reason": line}
    except Exception as error:
        return {"outcome": "raw error", "reason": f"{type(error).__module__}.{type(error).__name__}: {error}"}
    spread = max(float(together.std()), 1e-9)
    moved, reloaded = abs(together - alone).max() / spread, abs(together - loaded).max() / spread
    right = moved < 1e-2 and reloaded < 1e-3 and bool(np.isfinite(together).all())
    return {
        "outcome": "right" if right else "WRONG", "batching": headed.core.backbone.row_groups.name,
        "reason": "" if right else f"alone {moved:.2g}, loaded {reloaded:.2g} of the logits' spread",
    }  # fmt: skip


def in_a_process(kind: str, name: str) -> dict[str, Any]:
    """Try one architecture in a process of its own."""
    command = [sys.executable, "-m", "tests.real.architectures", "--one", kind, name]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"outcome": "raw error", "reason": "took more than 300 s"}
    except (IndexError, ValueError):
        return {"outcome": "raw error", "reason": (done.stderr.splitlines() or ["no output"])[-1]}


def table(results: dict[str, dict[str, Any]], classes: dict[str, str]) -> str:
    """Return the results as Markdown."""
    lines = ["| architecture | class | outcome | batches | remark |", "|---|---|---|---|---|"]
    for kind, result in sorted(results.items()):
        remark = " ".join(result["reason"].replace("|", "/").split())[:160]
        lines.append(f"| {kind} | {classes[kind]} | {result['outcome']} | {result.get('batching', '')} | {remark} |")
    counts: dict[str, int] = {}
    for result in results.values():
        counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
    total = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    return f"{len(results)} architectures: {total}.\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Try all architectures, or those that are named, and write the table."""
    if sys.argv[1] == "--one":
        print(json.dumps(tried(sys.argv[2], sys.argv[3])))
        return
    classes = architectures()
    chosen = sys.argv[2:] or list(classes)
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(chosen, pool.map(lambda kind: in_a_process(kind, classes[kind]), chosen), strict=True))
    Path(sys.argv[1]).write_text(table(results, classes))


if __name__ == "__main__":
    main()
