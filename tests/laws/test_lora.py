"""L1, L2, L4, L12, L19, L20, L21, L23 with adapters: heads read them, the language model does not, PEFT does too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import manyheads as mh
from manyheads.backbone.branches.branches import build_lora, lora_targets
from manyheads.backbone.branches.lora import LoRABranch, LoRASettings
from manyheads.checkpoint.format import HEADS_JSON, HEADS_WEIGHTS
from manyheads.cli.inspect import run_inspect
from manyheads.runtime.hashes import file_digest
from tests.families import BY_NAME, FAMILIES, TEXTS, Family, tokenizer_for
from tests.laws.oracle import (
    RECORDS,
    changed,
    decoder_inputs,
    padded,
    plain_logits,
    plain_model,
    rows_of,
    snapshot,
    stack,
)
from tests.laws.test_keeping import (
    FRESH_PROCESS,
    assert_rejected,
    assert_same_bits,
    flip_byte,
    logits,
    rewrite_json,
    say,
)

Saved = Callable[[str], Path]
Trained = Callable[[str], mh.HeadedModel]

# Where PEFT can adapt none of what "auto" names: what it shows, and what to name instead.
REJECTED = {"mamba": ("'out_proj' is incompatible", ["in_proj", "x_proj"])}
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FEW = ("gpt2", "bert", "llama", "t5")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*"),  # PEFT's own, of transformers
]


def headed(model: mh.HeadedModel) -> mh.HeadedModel:
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"]))
    model.add_head("age", mh.Regression(reads=[mh.Hidden(layer=-2, pool="mean"), mh.Lexical()], loss_weight=0.5))
    return model


def lora(name: str = "gpt2", **settings: Any) -> mh.LoRA:
    """Return a method that changes much in few steps."""
    targets = REJECTED[name][1] if name in REJECTED else "auto"
    return mh.LoRA(
        **{"r": 4, "epochs": 1, "lr": 1e-2, "weight_decay": 0.1, "start": "random", "targets": targets} | settings
    )


def train(model: mh.HeadedModel, method: mh.LoRA, heads: list[str] | None = None, **settings: Any) -> Any:
    return mh.train(model, RECORDS, "text", method, heads=heads, **{"eval_fraction": 0, **settings})


@pytest.fixture(scope="module")
def trained(saved: Saved) -> Trained:
    """Return a family's model after training adapters; the same one every time."""
    models: dict[str, mh.HeadedModel] = {}

    def model_of(name: str) -> mh.HeadedModel:
        if name not in models:
            models[name] = headed(mh.HeadedModel.from_pretrained(saved(name)))
            train(models[name], lora(name))
        return models[name]

    return model_of


def over(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("family", [BY_NAME[name] for name in names], ids=names)


every_family = over(*(family.name for family in FAMILIES))


def inputs(family: Family) -> dict[str, Tensor]:
    return padded(rows_of(family)[:6], "left", family.special_id("pad") or 0)


def branch_of(model: mh.HeadedModel, name: str = "lora") -> LoRABranch:
    branch = model.core.backbone.branches.named(name)
    assert isinstance(branch, LoRABranch)
    return branch


@contextmanager
def passes(model: mh.HeadedModel) -> Iterator[dict[str, int]]:
    """Count the passes through the backbone's lowest block, and through that of every branch."""
    backbone = model.core.backbone
    parts = {"backbone": backbone.stack, **{name: branch.stack for name, branch in backbone.branches.items()}}
    counts = dict.fromkeys(parts, 0)

    def count(name: str) -> Callable[..., None]:
        return lambda *_: counts.update({name: counts[name] + 1})

    table = model.backbone.get_input_embeddings().weight
    found = {
        name: [m for m in part.modules() if isinstance(m, nn.Embedding) and m.weight is table]
        for name, part in parts.items()
    }
    handles = [modules[0].register_forward_hook(count(name)) for name, modules in found.items()]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


# --- the language model is untouched --------------------------------------------------------------


@every_family
def test_l1_lm_logits_are_plain_transformers(family: Family, saved: Saved, trained: Trained, tmp_path: Path) -> None:
    model, batch = trained(family.name), inputs(family)
    expected = plain_logits(family, plain_model(family, saved(family.name)), batch)
    assert torch.equal(plain_logits(family, model.backbone, batch), expected)
    model.save_pretrained(tmp_path / "out")
    # PEFT's files lie beside it, and transformers does not put them on.
    plain = family.auto_class.from_pretrained(tmp_path / "out").eval()
    assert not hasattr(plain, "peft_config")
    for again in (plain, mh.HeadedModel.from_pretrained(tmp_path / "out").backbone):
        assert torch.equal(plain_logits(family, again, batch), expected)


@every_family
def test_l4_no_backbone_tensor_moves_and_adapters_do(family: Family, saved: Saved, trained: Trained) -> None:
    model = trained(family.name)
    plain = mh.HeadedModel.from_pretrained(saved(family.name))
    assert changed(model.backbone, snapshot(plain.backbone)) == []
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in branch_of(model).modules())
    own = branch_of(model).trainable_parameters()
    assert all(bool(tensor.any()) for name, tensor in own.items() if "lora_B" in name), "an adapter that did not learn"
    shared = {id(tensor) for tensor in model.backbone.parameters()}
    assert all(
        id(tensor) in shared for name, tensor in branch_of(model).stack.named_parameters() if "lora_" not in name
    )


def test_l4_parameters_are_asked_for_gradients_as_before(saved: Saved) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved("bert")))
    asked = dict.fromkeys(model.backbone.parameters(), False)
    asked |= dict.fromkeys(model.core.backbone.blocks()[1].parameters(), True)
    for parameter, wanted in asked.items():
        parameter.requires_grad_(wanted)
    result = train(model, lora(), eval_fraction=0.2)
    assert {parameter: parameter.requires_grad for parameter in model.backbone.parameters()} == asked
    assert result.lm_check.bit_identical


@over("gpt2", "llama", "t5")
@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"do_sample": True}], ids=["greedy", "beam", "sampled"])
def test_l2_the_same_tokens(family: Family, settings: dict[str, Any], saved: Saved, trained: Trained) -> None:
    batch = inputs(family)
    told = []
    for model in (trained(family.name), plain_model(family, saved(family.name))):
        torch.manual_seed(0)
        told.append(model.generate(**batch, max_new_tokens=8, **settings))
    assert torch.equal(*told)


@pytest.mark.parametrize("name", REJECTED)
def test_layers_that_peft_cannot_adapt_are_rejected_before_anything_runs(name: str, saved: Saved) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved(name)))
    with passes(model) as counts, pytest.raises(mh.errors.BackboneError, match=REJECTED[name][0]):
        train(model, mh.LoRA())
    assert counts["backbone"] <= 3  # a few tokens, to see what the stack is
    assert not model.core.backbone.branches
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_layer_that_the_stack_passes_by_is_rejected(saved: Saved) -> None:
    """Mamba multiplies by the weight of its time step itself: PEFT's layer there would never be called."""
    model = headed(mh.HeadedModel.from_pretrained(saved("mamba")))
    with pytest.raises(mh.errors.BackboneError, match=r"does not call 'backbone\.layers\.0\.mixer\.dt_proj'"):
        train(model, mh.LoRA(targets=["dt_proj"]))


# --- cost -----------------------------------------------------------------------------------------


@over(*FEW, "albert", "bart")
def test_l23_one_forward_for_heads_and_two_with_the_lm(family: Family, trained: Trained) -> None:
    model, batch = trained(family.name), inputs(family)
    with torch.no_grad():
        with passes(model) as counts:
            alone = model(**batch)
        assert counts == {"backbone": 0, "lora": 1}
        with passes(model) as counts:
            both = model(**batch, **decoder_inputs(family, 6), lm=True)
        assert counts == {"backbone": 1, "lora": 1}
    assert_same_bits(dict(both.logits), dict(alone.logits))


# --- losses, and PEFT itself ----------------------------------------------------------------------


@over(*FEW)
def test_l12_the_joint_loss_is_the_sum(family: Family, trained: Trained) -> None:
    model, batch = trained(family.name), inputs(family)
    urgency, age = torch.tensor([0, 1, 2, -100, 1, 0]), torch.tensor([1.0, 2.0, float("nan"), 4.0, 5.0, 6.0])
    out = model(**batch, labels={"urgency": urgency, "age": age})
    known = ~age.isnan()
    by_hand = functional.cross_entropy(out.logits["urgency"], urgency) + 0.5 * functional.mse_loss(
        out.logits["age"][known, 0], age[known]
    )
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=0)
    own = list(branch_of(model).trainable_parameters().values())
    for found, expected in zip(
        torch.autograd.grad(out.loss, own, retain_graph=True), torch.autograd.grad(by_hand, own), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


@over(*FEW, "bart")
def test_a_step_is_that_of_a_hand_written_loop_on_peft(
    family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = mh.HeadedModel.wrap(without_dropout(family.build()), tokenizer_for(family))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(pool="mean")))
    model.add_head("sent", mh.Multiclass(["yes", "no"], reads=mh.Hidden(pool="mean"), loss_weight=0.5))
    start: dict[str, Tensor] = {}

    def descent(groups: list[dict[str, Any]], **_: Any) -> torch.optim.Optimizer:
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():  # where half of the matrices are zero, the others have no gradient
            for tensor in branch_of(model).trainable_parameters().values():
                tensor.copy_(torch.randn(tensor.shape, generator=draw) * 0.1)
        start.update(
            snapshot(model.heads)
            | {key: value.detach().clone() for key, value in branch_of(model).trainable_parameters().items()}
        )
        return torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups])

    monkeypatch.setattr(torch.optim, "AdamW", descent)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=len(RECORDS), max_steps=1, max_grad_norm=0.0,
        lr_scheduler_type="constant", report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    train(model, lora(lr=0.1, head_lr=0.1, trainer=arguments))

    base = without_dropout(family.build())
    settings = {
        **LoRASettings.from_json(branch_of(model).settings()).to_peft(),
        "fan_in_fan_out": family.name == "gpt2",
    }
    adapted = peft.get_peft_model(
        base, peft.LoraConfig(**{key: value for key, value in settings.items() if key != "peft_type"})
    )
    peft.set_peft_model_state_dict(
        adapted, {key: value for key, value in start.items() if key.startswith("base_model.")}
    )
    heads = {
        name: (
            start[f"{at}.output.weight"].clone().requires_grad_(),
            start[f"{at}.output.bias"].clone().requires_grad_(),
        )
        for name, at in places(model, start).items()
    }
    texts = padded([torch.tensor(model.tokenizer(record["text"])["input_ids"]) for record in RECORDS])
    states = stack(base)(**texts).last_hidden_state
    mask = texts["attention_mask"].unsqueeze(-1)
    mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
    targets = {
        name: torch.tensor([model.heads[name].spec.labels.index(record[name]) for record in RECORDS]) for name in heads
    }
    losses = {name: functional.cross_entropy(functional.linear(mean, *heads[name]), targets[name]) for name in heads}
    (losses["urgency"] + 0.5 * losses["sent"]).backward()

    own = branch_of(model).trainable_parameters()
    learned = {name: value for name, value in adapted.named_parameters() if value.requires_grad}
    assert len(learned) == len(own)
    for name, value in learned.items():
        assert bool(value.grad.any()), name
        torch.testing.assert_close(own[name.replace(".default", "")], value - 0.1 * value.grad, atol=1e-5, rtol=1e-5)
    for name, (weight, bias) in heads.items():
        output = model.heads[name].output
        torch.testing.assert_close(output.weight, weight - 0.1 * weight.grad, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(output.bias, bias - 0.1 * bias.grad, atol=1e-5, rtol=1e-5)
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


def places(model: mh.HeadedModel, start: dict[str, Tensor]) -> dict[str, str]:
    """Return where each head's tensors are in a snapshot of all heads."""
    ends = [key.removesuffix(".output.weight") for key in start if key.endswith(".output.weight")]
    assert len(ends) == len(model.heads)
    return dict(zip(model.heads, ends, strict=True))


@every_family
def test_peft_loads_what_was_saved(family: Family, trained: Trained, tmp_path: Path) -> None:
    model, batch = trained(family.name), padded(rows_of(family)[:6])
    model.save_pretrained(tmp_path / "out")
    base = family.auto_class.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        before = stack(base)(**batch).last_hidden_state
        peft.PeftModel.from_pretrained(base, tmp_path / "out" / "adapter").eval()
        theirs = stack(base)(**batch).last_hidden_state
        ours = branch_of(model).stack(**batch).last_hidden_state
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(theirs[real], ours[real], atol=1e-5, rtol=1e-5)
    assert float((ours - before)[real].abs().max()) > 1e-3, "the adapter does nothing"


# --- keeping it -----------------------------------------------------------------------------------


def test_l19_a_fresh_process_gets_the_same_bits(trained: Trained, tmp_path: Path) -> None:
    names = [*FEW, "albert", "bart", "gpt_neox", "mamba"]
    for name in names:
        trained(name).save_pretrained(tmp_path / name)
    command = [sys.executable, "-W", "error", "-c", FRESH_PROCESS, str(tmp_path / "told.json")]
    subprocess.run([*command, *(str(tmp_path / name) for name in names)], check=True, cwd=Path(__file__).parents[2])
    told = json.loads((tmp_path / "told.json").read_text())
    for name in names:
        reported = told[str(tmp_path / name)]
        assert not reported["training"]
        for head, values in logits(trained(name)).items():
            shape, data = reported["logits"][head]
            found = np.frombuffer(bytes.fromhex(data), np.float32).reshape(shape)
            assert np.array_equal(found, values.numpy()), (name, head)


@pytest.fixture(scope="module")
def twice(saved: Saved) -> mh.HeadedModel:
    """A model with two adapters of different ranks, each read by one head."""
    model = headed(mh.HeadedModel.from_pretrained(saved("gpt2")))
    train(model, lora(), heads=["urgency"])
    train(model, lora(r=2, alpha=8, targets=["c_attn"], dropout=0.25), heads=["age"])
    return model


@pytest.fixture(scope="module")
def kept(twice: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is saved; never to be written to."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    twice.save_pretrained(folder)
    return folder


def test_l19_two_adapters(twice: mh.HeadedModel, kept: Path, tmp_path: Path) -> None:
    assert list(twice.core.backbone.branches) == ["lora", "lora2"]
    files = {str(path.relative_to(kept / "adapter")) for path in (kept / "adapter").rglob("*") if path.is_file()}
    assert files == {CONFIG, WEIGHTS, f"lora2/{CONFIG}", f"lora2/{WEIGHTS}"}
    loaded = mh.HeadedModel.from_pretrained(kept)
    assert_same_bits(logits(loaded), logits(twice))
    assert branch_of(loaded, "lora2").settings() == branch_of(twice, "lora2").settings()
    assert not any("/" in key for key in load_file(kept / HEADS_WEIGHTS))
    twice.save_pretrained(tmp_path / "again")
    for path in (path for path in kept.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(kept)).read_bytes() == path.read_bytes(), path


def test_l19_dropout_is_at_work_in_training_only(twice: mh.HeadedModel) -> None:
    assert torch.equal(logits(twice)["age"], logits(twice)["age"])
    drops = [
        module for module in branch_of(twice, "lora2").modules() if isinstance(module, nn.Dropout) and module.p == 0.25
    ]
    assert len(drops) == 3


@pytest.mark.parametrize("kind", ["reference", "head"])
def test_l19_without_the_backbone(twice: mh.HeadedModel, saved: Saved, tmp_path: Path, kind: str) -> None:
    if kind == "reference":
        twice.save_pretrained(tmp_path / "out", backbone="reference")
        model = mh.HeadedModel.from_pretrained(tmp_path / "out")
        assert_same_bits(logits(model), logits(twice))
        assert not (tmp_path / "out" / "model.safetensors").exists()
        return
    twice.save_head("age", tmp_path / "out")
    # The only adapter of the folder is its first, whatever it is called.
    assert sorted(path.name for path in (tmp_path / "out" / "adapter").iterdir()) == [CONFIG, WEIGHTS]
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.load_head(tmp_path / "out", name="years")
    assert torch.equal(logits(model)["years"], logits(twice)["age"])
    assert list(model.core.backbone.branches) == ["lora2"]


def test_l20_heads_of_one_adapter_come_one_by_one_and_share_it(saved: Saved, trained: Trained, tmp_path: Path) -> None:
    trained("bert").save_pretrained(tmp_path / "out")
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name in ("age", "urgency"):
        model.load_head(tmp_path / "out", head=name)
    assert list(model.core.backbone.branches) == ["lora"]
    expected = logits(trained("bert"))
    assert all(torch.equal(values, expected[name]) for name, values in logits(model).items())
    model.remove_head("age")
    assert list(model.core.backbone.branches) == ["lora"]
    model.remove_head("urgency")
    assert list(model.core.backbone.branches) == []


def test_l20_another_method_lets_go_of_the_adapter(saved: Saved) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved("bert")))
    train(model, lora())
    train(model, lora())
    assert list(model.core.backbone.branches) == ["lora2"]
    mh.train(model, RECORDS, "text", mh.Frozen(), eval_fraction=0)
    assert list(model.core.backbone.branches) == []


def test_half_precision_keeps_its_bits_and_its_adapters_are_fp32(saved: Saved, tmp_path: Path) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved("llama"), dtype=torch.bfloat16))
    before = snapshot(model.backbone)
    train(model, lora())
    assert changed(model.backbone, before) == []
    assert {tensor.dtype for tensor in branch_of(model).trainable_parameters().values()} == {torch.float32}
    model.save_pretrained(tmp_path / "out")
    assert_same_bits(logits(mh.HeadedModel.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)), logits(model))


def test_inspect_names_the_layers_once(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_inspect(str(kept), as_json=False)
    reported = " ".join(capsys.readouterr().out.split())
    assert "lora: r 4, alpha 32, targets c_attn c_fc c_proj (12 layers), dropout 0.0;" in reported
    run_inspect(str(kept), as_json=True)
    assert len(json.loads(capsys.readouterr().out)["branches"]["lora2"]["settings"]["targets"]) == 3


def test_recomputed_activations_give_the_same_adapter(saved: Saved) -> None:
    found = []
    for recomputed in (False, True):
        model = headed(mh.HeadedModel.from_pretrained(saved("llama")))
        train(model, lora(gradient_checkpointing=recomputed))
        found.append(branch_of(model).trainable_parameters())
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert_same_bits(*found)


# --- nothing random -------------------------------------------------------------------------------


def correct(folder: Path, file: str) -> None:
    """Write down the checksum of the first adapter's file as it is now."""
    say("branches", "lora", "files", file, value=file_digest(folder / "adapter" / file))(folder)


def rewritten(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    """Return a change of an adapter's weights that corrects the checksum, so that only an audit can object."""

    def act(folder: Path) -> None:
        path = folder / "adapter" / WEIGHTS
        stored = load_file(path)
        change(stored)
        save_file(stored, path)
        correct(folder, WEIGHTS)

    return act


def configured(text: str | None = None, **changes: Any) -> Callable[[Path], None]:
    """Return a change of PEFT's config that corrects the checksum."""

    def act(folder: Path) -> None:
        path = folder / "adapter" / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}) if text is None else text)
        correct(folder, CONFIG)

    return act


def swap(one: str, other: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        content = (folder / one).read_bytes()
        (folder / one).write_bytes((folder / other).read_bytes())
        (folder / other).write_bytes(content)

    return act


def linked(folder: Path) -> None:
    """Let ``adapter`` lead out of the folder, to the very same files."""
    shutil.move(folder / "adapter", folder.parent / "elsewhere")
    (folder / "adapter").symlink_to(folder.parent / "elsewhere", target_is_directory=True)


def linked_out(folder: Path) -> None:
    (folder / "adapter" / WEIGHTS).unlink()
    (folder / "adapter" / WEIGHTS).symlink_to("/etc/passwd")


def both(*acts: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda folder: [act(folder) for act in acts] and None


def rename_key(stored: dict[str, Tensor]) -> None:
    key = sorted(stored)[0]
    stored["base_model.model.transformer.h.9.attn.c_attn.lora_A.weight"] = stored.pop(key)


def first(stored: dict[str, Tensor]) -> Tensor:
    return stored[sorted(stored)[0]]


A = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
BROKEN: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "weights missing": (lambda folder: (folder / "adapter" / WEIGHTS).unlink(), (WEIGHTS, "missing", "'lora'")),
    "config missing": (lambda folder: (folder / "adapter" / CONFIG).unlink(), (CONFIG, "missing", "'lora'")),
    "adapter missing": (lambda folder: shutil.rmtree(folder / "adapter"), ("missing", "'lora'")),
    "the second missing": (lambda folder: shutil.rmtree(folder / "adapter" / "lora2"), ("missing", "'lora2'")),
    "weights truncated": (lambda folder: os.truncate(folder / "adapter" / WEIGHTS, 900), (WEIGHTS, "checksum")),
    "weights empty": (lambda folder: (folder / "adapter" / WEIGHTS).write_bytes(b""), (WEIGHTS, "checksum")),
    "weights, last byte flipped": (lambda folder: flip_byte(folder / "adapter" / WEIGHTS, -1), (WEIGHTS, "checksum")),
    "config, a byte flipped": (lambda folder: flip_byte(folder / "adapter" / CONFIG, 40), (CONFIG, "checksum")),
    "weights swapped": (swap(f"adapter/{WEIGHTS}", f"adapter/lora2/{WEIGHTS}"), (WEIGHTS, "checksum")),
    "configs swapped": (swap(f"adapter/{CONFIG}", f"adapter/lora2/{CONFIG}"), (CONFIG, "checksum")),
    "a folder that leads elsewhere": (linked, ("adapter", "leads elsewhere")),
    "a file that leads elsewhere": (linked_out, (WEIGHTS, "checksum")),
    "a pickle": (
        both(
            lambda folder: torch.save({}, folder / "adapter" / WEIGHTS),
            lambda folder: correct(folder, WEIGHTS),
        ),
        (WEIGHTS, "not a safetensors file"),
    ),
    "a NaN": (rewritten(lambda stored: first(stored).view(-1)[0].fill_(float("nan"))), ("'lora'", "NaN")),
    "a weight too few": (rewritten(lambda stored: stored.pop(sorted(stored)[0])), (WEIGHTS, "only one of")),
    "a weight too many": (rewritten(lambda stored: stored.update(spy=torch.zeros(4, 4))), (WEIGHTS, "'spy'")),
    "another layer's weight": (rewritten(rename_key), (WEIGHTS, "only one of")),
    "another rank": (rewritten(lambda stored: stored.update({A: torch.zeros(5, 32)})), (WEIGHTS, A)),
    "another width": (rewritten(lambda stored: stored.update({A: torch.zeros(4, 33)})), ("'lora'", A)),
    "another width, in both files": (
        both(
            rewritten(lambda stored: stored.update({A: torch.zeros(4, 33)})),
            say("branches", "lora", "tensors", A, value=[4, 33]),
        ),
        (HEADS_JSON, "'lora'", A),
    ),
    "integers for weights": (
        rewritten(lambda stored: stored.update({A: torch.zeros(4, 32, dtype=torch.int64)})),
        (HEADS_JSON, "'lora'", A),
    ),
    "config that is no JSON": (configured("{"), (CONFIG, "not JSON")),
    "config that is a list": (configured("[]"), (CONFIG, "object")),
    "config of another rank": (configured(r=5), (CONFIG, "'r'")),
    "config of another scale": (configured(lora_alpha=1), (CONFIG, "'lora_alpha'")),
    "config of another scaling": (configured(use_rslora=True), (CONFIG, "'use_rslora'")),
    "config of other layers": (configured(target_modules=["c_attn"]), (CONFIG, "'target_modules'")),
    "config of another method": (configured(peft_type="IA3"), (CONFIG, "'peft_type'")),
    "settings of another rank": (say("branches", "lora", "settings", "r", value=8), (CONFIG, "'r'")),
    "a rank that is no number": (say("branches", "lora", "settings", "r", value=True), (HEADS_JSON, "'lora'")),
    "a setting too many": (say("branches", "lora", "settings", "path", value="/etc"), (HEADS_JSON, "'lora'", "'path'")),
    "a rank beyond any memory": (
        both(configured(r=10**12), say("branches", "lora", "settings", "r", value=10**12)),
        (WEIGHTS, "rank"),
    ),
    "a path among the files": (
        say("branches", "lora", "files", value={"../../spy.safetensors": "0" * 64}),
        (HEADS_JSON, "'lora'", "'../../spy.safetensors'"),
    ),
    "no checksum": (say("branches", "lora", "files", value={}), (HEADS_JSON, "'lora'")),
    "an adapter called a fork": (say("branches", "lora", "kind", value="fork"), (HEADS_JSON, "'lora'")),
    "a kind that nobody knows": (
        both(say("branches", "lora", "kind", value="os.system"), say("branches", "lora", "files", value={})),
        ("adapter", "differs"),
    ),
    "a branch named outside the folder": (
        lambda folder: rewrite_json(
            folder, lambda record: record["branches"].update({"../spy": record["branches"].pop("lora2")})
        ),
        (HEADS_JSON, "'../spy'"),
    ),
    "the branches in another order": (
        lambda folder: rewrite_json(
            folder, lambda record: record.update(branches=dict(reversed(record["branches"].items())))
        ),
        ("adapter",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_l21_a_broken_adapter_is_rejected_by_name(
    kept: Path, saved: Saved, tmp_path: Path, breaking: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    broken = Path(shutil.copytree(kept, tmp_path / "model"))
    breaking(broken)
    assert_rejected(mh.errors.CorruptCheckpointError, words, lambda: mh.HeadedModel.from_pretrained(broken))
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    assert_rejected(mh.errors.CheckpointError, (), lambda: model.load_head(broken, head="urgency"))
    assert list(model.heads) == list(model.core.backbone.branches) == []


def test_l21_neither_pickle_nor_peft_reads_a_file(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in (
        "pickle.load",
        "pickle.loads",
        "torch.load",
        "peft.PeftModel.from_pretrained",
        "peft.PeftConfig.from_pretrained",
    ):
        monkeypatch.setattr(reader, lambda *_, **__: pytest.fail("not by this"))
    assert list(mh.HeadedModel.from_pretrained(kept).heads) == ["urgency", "age"]


# --- when it goes wrong ---------------------------------------------------------------------------


def test_an_interrupted_run_leaves_no_branch_and_the_heads_as_they_were(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved("bert")))
    before, heads = snapshot(model.backbone), snapshot(model.heads)
    taps = {name: head.taps for name, head in model.heads.items()}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mh.Trainer, "_check_finite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(model, lora())
    assert list(model.core.backbone.branches) == []
    assert changed(model.backbone, before) == changed(model.heads, heads) == []
    assert {name: head.taps for name, head in model.heads.items()} == taps
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(head.trained for head in model.heads.values())


def test_the_same_seed_gives_the_same_adapter_and_leaves_the_callers_draws_alone(saved: Saved) -> None:
    found = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = headed(mh.HeadedModel.from_pretrained(saved("bert")))
        expected = torch.get_rng_state()
        build_lora(
            model.core.backbone.trunk, LoRASettings(2, 4, lora_targets(model.core.backbone.trunk, "auto"), 0.0), seed=7
        )
        assert torch.equal(torch.get_rng_state(), expected)
        train(model, lora())
        found.append(logits(model))
    assert_same_bits(*found)


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"r": 0}, "r must be a positive whole number"),
        ({"r": 2.0}, "r must be a positive whole number"),
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"targets": "q_proj"}, "'auto' or a list"),
        ({"targets": []}, "a list of layers' names"),
        ({"targets": [3]}, "a list of layers' names"),
        ({"epochs": 0}, "epochs must be"),
    ],
)
def test_a_setting_out_of_range_is_rejected(settings: dict[str, Any], reported: str) -> None:
    with pytest.raises(mh.errors.MethodError, match=f"LoRA: .*{reported}"):
        mh.LoRA(**settings)


def test_a_layer_that_is_not_there_is_rejected_with_the_nearest(saved: Saved) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved("llama")))
    with pytest.raises(mh.errors.BackboneError, match=r"no linear layer 'q_porj'; did you mean 'q_proj'\?.*'v_proj'"):
        train(model, mh.LoRA(targets=["v_proj", "q_porj"]))


def test_named_layers_by_their_ends_and_whole(saved: Saved) -> None:
    backbone = headed(mh.HeadedModel.from_pretrained(saved("llama"))).core.backbone
    assert lora_targets(backbone.trunk, ["q_proj"]) == tuple(f"model.layers.{at}.self_attn.q_proj" for at in range(3))
    whole = "model.layers.1.mlp.up_proj"
    assert lora_targets(backbone.trunk, [whole, "1.mlp.up_proj", "layers.1.mlp.up_proj"]) == (whole,)


def test_a_head_that_reads_no_hidden_states_is_rejected(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Lexical()))
    with pytest.raises(mh.errors.MethodError, match=r"'urgency'.*adapters do nothing"):
        train(model, lora())


def test_without_peft_it_names_what_to_install(kept: Path, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved("gpt2")))
    monkeypatch.setitem(sys.modules, "peft", None)
    for act in (lambda: train(model, mh.LoRA()), lambda: mh.HeadedModel.from_pretrained(kept)):
        assert_rejected(mh.errors.MissingExtraError, ("pip install 'manyheads[finetune]'",), act)


WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
import manyheads as mh
from tests.laws.oracle import RECORDS

model = mh.HeadedModel.from_pretrained(sys.argv[1])
model.add_head("age", mh.Regression())
for method in (mh.Frozen(), mh.Fork(top=1, epochs=1), mh.Full(epochs=1)):
    mh.train(model, RECORDS, "text", method, eval_fraction=0)
model.save_pretrained(sys.argv[2])
mh.HeadedModel.from_pretrained(sys.argv[2]).predict(["mild cough"])
mh.LoRA()
"""


def test_no_other_method_needs_peft(saved: Saved, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PEFT, str(saved("gpt2")), str(tmp_path / "out")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


# --- merging --------------------------------------------------------------------------------------


@over(*FEW, "albert", "bart", "gpt_neox")
def test_merging_keeps_the_predictions(family: Family, saved: Saved, tmp_path: Path) -> None:
    model = headed(mh.HeadedModel.from_pretrained(saved(family.name)))
    train(model, lora())
    before = logits(model)
    with pytest.raises(mh.errors.BackboneError, match="would change its language model"):
        model.merge_adapter()
    assert_same_bits(logits(model), before)
    model.merge_adapter(change_lm=True)
    assert list(model.core.backbone.branches) == []
    for name, values in logits(model).items():
        torch.testing.assert_close(values, before[name], atol=1e-5, rtol=1e-5)
    model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / "adapter").exists()
    assert file_digest(tmp_path / "out" / "model.safetensors") != file_digest(saved(family.name) / "model.safetensors")
    assert_same_bits(logits(mh.HeadedModel.from_pretrained(tmp_path / "out")), logits(model))


def test_merging_into_a_backbone_without_a_language_model(tmp_path: Path) -> None:
    model = headed(mh.HeadedModel.wrap(BY_NAME["bert"].build(model_class="BertModel"), tokenizer_for(BY_NAME["bert"])))
    train(model, lora())
    model.add_head("sent", mh.Multiclass(["yes", "no"]))
    with pytest.raises(mh.errors.BackboneError, match="would change the input of the heads 'sent'"):
        model.merge_adapter()
    model.remove_head("sent")
    before = logits(model)
    model.merge_adapter()
    for name, values in logits(model).items():
        torch.testing.assert_close(values, before[name], atol=1e-5, rtol=1e-5)


def test_merging_one_of_two(kept: Path) -> None:
    model = mh.HeadedModel.from_pretrained(kept)
    for name, reported in ((None, "must be named.*'lora', 'lora2'"), ("lora3", "no adapter 'lora3'")):
        with pytest.raises(mh.errors.BackboneError, match=reported):
            model.merge_adapter(name, change_lm=True)
    before = logits(model)["age"]
    model.merge_adapter("lora2", change_lm=True)
    torch.testing.assert_close(logits(model)["age"], before, atol=1e-5, rtol=1e-5)
    assert list(model.core.backbone.branches) == ["lora"]


def test_an_adapter_that_is_not_finite_is_not_merged(kept: Path) -> None:
    model = mh.HeadedModel.from_pretrained(kept)
    before = snapshot(model.backbone)
    with torch.no_grad():
        next(iter(branch_of(model).trainable_parameters().values())).fill_(float("inf"))
    with pytest.raises(mh.errors.BackboneError, match="cannot be added"):
        model.merge_adapter("lora", change_lm=True)
    assert changed(model.backbone, before) == []
    with pytest.raises(mh.errors.BackboneError, match=r"of lora .* not finite in float32"):
        model.predict(TEXTS[:1])
