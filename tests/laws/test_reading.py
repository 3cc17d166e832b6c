"""L6 to L11: every tap reads the real tokens' states, at their positions, with the inputs that were given.

Most heads here are probes: their logits are their features, so that one can compare states, not just labels.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

import manyheads as mh
from tests.families import (
    BY_NAME,
    ENCODER_DECODERS,
    ENCODERS,
    FAMILIES,
    HIDDEN,
    LAYERS,
    TEXTS,
    Family,
    tokenizer_for,
)
from tests.laws.oracle import (
    HAND_POOLS,
    SIDES,
    add_heads,
    default_pool,
    headed,
    open_probes,
    over,
    padded,
    plain_model,
    plain_states,
    probe,
    probed,
    rows_of,
    stack,
)

Saved = Callable[[str], Path]
Readings = Callable[[Family], "Reading"]
TOLERANCE = 1e-5

POOLS = {pool: probe(mh.Hidden(pool=pool)) for pool in ("cls", "mean", "max", "last", "attention", "auto")}
POOLS["unit"] = probe(mh.Hidden(pool="mean", normalize=True))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def special(family: Family) -> int:
    """Return the id that ends a text, or separates two where there is no end."""
    found = family.special_id("eos")
    return family.special_id("sep") if found is None else found


@dataclass(frozen=True)
class Reading:
    """A family with a probe per pool, and what those must read of each row alone.

    Attributes:
        model: Shared by tests: what one changes, it must put back.
        rows: Ids of texts, and of the same texts with two end tokens after the first token.
        texts: The texts of the first rows.
        expected: Pool -> (rows, width), pooled by hand from plain transformers' states of each row alone.
    """

    model: mh.HeadedModel
    rows: list[Tensor]
    texts: list[str]
    expected: dict[str, Tensor]


@pytest.fixture(scope="module")
def reading(saved: Saved) -> Callable[[Family], Reading]:
    @functools.cache
    def of(family: Family) -> Reading:
        texts = list(rows_of(family)[:6])
        end = torch.tensor([special(family)] * 2)
        rows = texts + [torch.cat([row[:1], end, row[1:]]) for row in texts[:3]]
        model = probed(saved(family.name), POOLS)
        expected = hand_pooled_rows(family, model, rows, saved(family.name))
        return Reading(model, rows, TEXTS[:6], expected)

    return of


def hand_pooled_rows(family: Family, model: mh.HeadedModel, rows: Sequence[Tensor], folder: Path) -> dict[str, Tensor]:
    """Pool every row's own states in every way, with the learned scores for ``"attention"``."""
    states = [plain_states(plain_model(family, folder), row)[-1] for row in rows]
    pooled = {name: torch.stack([pool(each) for each in states]) for name, pool in HAND_POOLS.items()}
    weight, bias = (parameter.detach() for parameter in model.heads["attention"].readers.parameters())
    attended = [torch.softmax(each @ weight[0] + bias, dim=0) @ each for each in states]
    unit = pooled["mean"] / pooled["mean"].norm(dim=1, keepdim=True)
    return {**pooled, "attention": torch.stack(attended), "auto": pooled[default_pool(family)], "unit": unit}


# --- L6: pooling by mask ---


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("filler", ["pad", "end", "word", "outside"])
@over("L6", FAMILIES)
def test_pooling_follows_the_mask_and_never_an_id(
    family: Family, filler: str, side: str, reading: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = reading(family)
    outside = case.model.backbone.config.vocab_size
    ids = {"pad": family.special_id("pad") or 0, "end": special(family), "word": 17, "outside": outside}
    if filler == "end":  # then it is also what the config calls padding
        monkeypatch.setattr(case.model.backbone.config, "pad_token_id", ids["end"])
    with torch.no_grad():
        logits = case.model(**padded(case.rows, side, ids[filler])).logits
    for pool in POOLS:
        close(logits[pool], case.expected[pool])


@over("L6", FAMILIES)
def test_pooling_of_a_row_alone(family: Family, reading: Readings) -> None:
    case = reading(family)
    for index, row in enumerate(case.rows):
        with torch.no_grad():
            masked = case.model(row[None], torch.ones_like(row)[None]).logits
            unmasked = case.model(row[None]).logits
        for pool in POOLS:
            close(masked[pool][0], case.expected[pool][index])
            assert torch.equal(masked[pool], unmasked[pool])


@pytest.mark.parametrize("change", ["unset", "other"])
@over("L6", FAMILIES)
def test_pooling_whatever_the_pad_id(
    family: Family, change: str, reading: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = reading(family)
    monkeypatch.setattr(case.model.backbone.config, "pad_token_id", None if change == "unset" else 17)
    with torch.no_grad():
        logits = case.model(**padded(case.rows, "left", family.special_id("pad") or 0)).logits
    for pool in POOLS:
        close(logits[pool], case.expected[pool])


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pad_token", ["kept", "end", "word", "unset", "outside"])
@over("L6", FAMILIES)
def test_a_predicted_batch_equals_each_text_alone(
    family: Family, pad_token: str, side: str, reading: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``outside``: a pad token after the vocabulary, as people give GPT-2 one without a row for it."""
    case = reading(family)
    tokenizer = tokenizer_for(family)
    if pad_token == "outside":
        missing = case.model.backbone.config.vocab_size - len(tokenizer)
        tokenizer.add_tokens([f"[{index}]" for index in range(missing)])
        tokenizer.add_special_tokens({"pad_token": "[OUTSIDE]"})
        assert tokenizer.pad_token_id == case.model.backbone.config.vocab_size
    else:
        end = tokenizer.convert_ids_to_tokens(special(family))
        others = {"kept": tokenizer.pad_token, "end": end, "word": tokenizer.unk_token, "unset": None}
        tokenizer.pad_token = others[pad_token]
    tokenizer.padding_side = side
    monkeypatch.setattr(case.model, "tokenizer", tokenizer)
    scores = case.model.predict(case.texts).scores
    for pool in POOLS:
        close(torch.as_tensor(scores[pool]), case.expected[pool][: len(case.texts)].softmax(dim=-1))


@pytest.mark.parametrize("side", SIDES)
@over("L6", FAMILIES)
def test_the_pooled_position_itself(family: Family, side: str, reading: Readings) -> None:
    """A hook sees what the stack got and gave; the feature must be the state of one certain real token."""
    case = reading(family)
    seen: dict[str, Tensor] = {}

    def record(_module: object, _arguments: object, inputs: dict[str, Tensor], output: ModelOutput) -> None:
        seen.update(mask=inputs["attention_mask"].bool(), states=output.last_hidden_state)

    handle = reading_stack(case.model.backbone).register_forward_hook(record, with_kwargs=True)
    with torch.no_grad():
        logits = case.model(**padded(case.rows, side, special(family))).logits
    handle.remove()
    for index, row in enumerate(case.rows):
        real = seen["states"][index][seen["mask"][index]]
        assert len(real) == len(row)
        for pool, position in {"cls": 0, "last": len(row) - 1}.items():
            equal = (real == logits[pool][index]).all(dim=-1)
            assert equal.nonzero().flatten().tolist() == [position]


def reading_stack(backbone: PreTrainedModel) -> torch.nn.Module:
    """Return the module whose output heads read: OPT's LM passes over its own base model."""
    return backbone.model.decoder if backbone.config.model_type == "opt" else stack(backbone)


# --- L7: positions ---

# What a family adds to a position counted from 0 before it looks it up, where the caller is to add it.
OFFSETS = {"roberta": 2, "xlm_roberta": 2}
# These turn no position ids into anything, or take them in a way that left padding cannot use.
WITHOUT_POSITION_IDS = {
    "bloom": "ALiBi, from the mask",
    "mamba": "a recurrence has no positions",
    "t5": "relative positions, from distances",
    "bart": "its encoder counts columns and takes no position ids: left-padded, plain transformers is wrong",
}


@over("L7", [family for family in FAMILIES if family.name not in WITHOUT_POSITION_IDS])
def test_left_padding_equals_position_ids_from_the_mask(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mean": POOLS["mean"]})
    batch = padded(rows_of(family)[:6], "left", family.special_id("pad") or 0)
    mask = batch["attention_mask"]
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + OFFSETS.get(family.name, 0)
    with torch.no_grad():
        plain = stack(plain_model(family, folder))(**batch, position_ids=positions).last_hidden_state
        found = model(**batch).logits["mean"]
    expected = (plain * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    close(found, expected)


@over("L7", [BY_NAME[name] for name in WITHOUT_POSITION_IDS])
def test_families_without_position_ids_say_so(family: Family, reading: Readings) -> None:
    assert "position_ids" not in family.takes
    row = rows_of(family)[0][None]
    with pytest.raises(mh.errors.InputError, match="position_ids"):
        reading(family).model(row, position_ids=torch.arange(row.shape[1])[None])


@over("L7", [BY_NAME[name] for name in OFFSETS])
def test_roberta_positions_start_after_the_pad_id(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mean": POOLS["mean"]})
    row = rows_of(family)[0][None]
    counted = torch.arange(row.shape[1])[None]
    base = plain_model(family, folder).base_model
    with torch.no_grad():
        found = model(row).logits["mean"][0]
        right = base(row, position_ids=counted + 2).last_hidden_state[0].mean(dim=0)
        wrong = base(row, position_ids=counted).last_hidden_state[0].mean(dim=0)
    close(found, right)
    assert (found - wrong).abs().max() > 0.1


@over("L7", [family for family in ENCODERS if family.special_id("cls") is not None])
def test_cls_is_the_first_real_token(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"cls": POOLS["cls"]})
    rows = rows_of(family)[:6]
    cls = family.special_id("cls")
    with torch.no_grad():
        found = model(**padded(rows, "left", cls)).logits["cls"]
    for index, row in enumerate(rows):
        assert row[0] == cls
        close(found[index], plain_states(plain_model(family, folder), row)[-1][row == cls][0])


# --- L8: the pooler ---

POOLED = [family for family in FAMILIES if family.pooler_class is not None]
POOLER = {"pooler": probe(mh.Hidden(pool="pooler"))}


def relabel(folder: Path, architecture: str) -> Path:
    """Change the class that a saved config names."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": [architecture]}))
    return folder


def save_with_pooler(family: Family, folder: Path) -> Path:
    """Save LM and pooler in one file whose config names the LM's class, as bert-base-german-cased is."""
    model = family.build()
    bare = family.build(seed=1, model_class=family.pooler_class)
    assert not hasattr(model.base_model, "pooler") or model.base_model.pooler is None
    setattr(model, model.base_model_prefix, bare)
    model.save_pretrained(folder)
    tokenizer_for(family).save_pretrained(folder)
    return relabel(folder, family.lm_class)


def pooler_outputs(family: Family, folder: Path, rows: tuple[Tensor, ...]) -> Tensor:
    bare, report = getattr(transformers, family.pooler_class).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    with torch.no_grad():
        return torch.cat([bare.eval()(row[None]).pooler_output for row in rows])


def stored_names(folder: Path) -> set[str]:
    return set(load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("side", SIDES)
@over("L8", POOLED)
def test_a_pooler_that_the_class_leaves_out_is_read(family: Family, side: str, tmp_path: Path) -> None:
    folder = save_with_pooler(family, tmp_path / "source")
    model = probed(folder, POOLER)
    assert type(model.backbone).__name__ == family.lm_class
    rows = rows_of(family)
    with torch.no_grad():
        found = model(**padded(rows, side, 1)).logits["pooler"]
    close(found, pooler_outputs(family, folder, rows))


def tune(model: mh.HeadedModel) -> None:
    """Change the backbone, so that its files can no longer be copied."""
    with torch.no_grad():
        model.backbone.get_input_embeddings().weight.mul_(1.5)


@pytest.mark.parametrize("tuned", [False, True], ids=["as loaded", "tuned"])
@over("L8", POOLED)
def test_the_pooler_is_kept_by_saving_and_loading(family: Family, tuned: bool, tmp_path: Path) -> None:
    folder = save_with_pooler(family, tmp_path / "source")
    model = probed(folder, POOLER)
    rows = rows_of(family)[:4]
    if tuned:
        tune(model)
    model.save_pretrained(tmp_path / "saved")
    again = mh.HeadedModel.from_pretrained(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(again(**padded(rows)).logits["pooler"], model(**padded(rows)).logits["pooler"])
    same = torch.equal(pooler_outputs(family, tmp_path / "saved", rows), pooler_outputs(family, folder, rows))
    assert same != tuned
    assert stored_names(tmp_path / "saved") == stored_names(folder)


@pytest.mark.parametrize("files", ["shards", "bin"])
def test_l8_a_pooler_in_any_kind_of_file_is_read(files: str, tmp_path: Path) -> None:
    family = BY_NAME["bert"]
    folder = save_with_pooler(family, tmp_path)
    rows = rows_of(family)
    expected = pooler_outputs(family, folder, rows)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if files == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        family.build(model_class="BertForPreTraining").save_pretrained(folder, state_dict=state, max_shard_size="20KB")
        relabel(folder, family.lm_class)
        assert len(list(folder.glob("model-*.safetensors"))) > 2
    model = probed(folder, POOLER)
    with torch.no_grad():
        close(model(**padded(rows)).logits["pooler"], expected)


def test_l8_the_pooler_of_a_pretraining_checkpoint(tmp_path: Path) -> None:
    """``BertForPreTraining`` re-labelled, which is how bert-base-german-cased came to be."""
    family = BY_NAME["bert"]
    family.build(model_class="BertForPreTraining").save_pretrained(tmp_path)
    tokenizer_for(family).save_pretrained(tmp_path)
    rows = rows_of(family)
    model = probed(relabel(tmp_path, "BertForMaskedLM"), POOLER)
    with torch.no_grad():
        found = model(**padded(rows)).logits["pooler"]
    close(found, pooler_outputs(family, tmp_path, rows))


@over("L8", POOLED)
def test_a_pooler_of_the_class_itself_is_read(family: Family, tmp_path: Path) -> None:
    family.build(model_class=family.pooler_class).save_pretrained(tmp_path)
    tokenizer_for(family).save_pretrained(tmp_path)
    rows = rows_of(family)
    expected = pooler_outputs(family, tmp_path, rows)
    wrapped = mh.HeadedModel.wrap(family.build(model_class=family.pooler_class))
    add_heads(wrapped, POOLER)
    open_probes(wrapped)
    for model in (probed(tmp_path, POOLER), wrapped):
        with torch.no_grad():
            close(model(**padded(rows, "left")).logits["pooler"], expected)


@over("L8", FAMILIES)
def test_without_a_trained_pooler_there_is_an_error(family: Family, saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved(family.name))
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        model.add_head("pooler", POOLER["pooler"])
    assert "pooler" not in model.heads


@pytest.mark.parametrize("tuned", [False, True], ids=["as loaded", "tuned"])
@over("L8", POOLED)
def test_a_random_pooler_is_neither_read_nor_saved(family: Family, tuned: bool, saved: Saved, tmp_path: Path) -> None:
    """The class has a pooler and the file has none: transformers draws one."""
    folder = relabel(shutil.copytree(saved(family.name), tmp_path / "source"), family.pooler_class)
    model = mh.HeadedModel.from_pretrained(folder)
    assert type(model.backbone).__name__ == family.pooler_class
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        model.add_head("pooler", POOLER["pooler"])
    add_heads(model, {"urgency": mh.Multiclass(["routine", "urgent"])})
    if tuned:
        tune(model)
    model.save_pretrained(tmp_path / "saved")
    assert not [name for name in stored_names(tmp_path / "saved") if "pooler" in name]
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        mh.HeadedModel.from_pretrained(tmp_path / "saved").add_head("pooler", POOLER["pooler"])


@over("L8", POOLED)
def test_a_random_pooler_of_a_model_object_is_neither_read_nor_saved(family: Family, tmp_path: Path) -> None:
    bare = getattr(transformers, family.pooler_class)(family.make_config())
    model = mh.HeadedModel.wrap(bare, tokenizer_for(family))
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        model.add_head("pooler", POOLER["pooler"])
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        mh.HeadedModel.from_pretrained(tmp_path / "saved").add_head("pooler", POOLER["pooler"])
    assert not [name for name in stored_names(tmp_path / "saved") if "pooler" in name]


# --- L9: encoder-decoders ---


@pytest.mark.parametrize("side", SIDES)
@over("L9", ENCODER_DECODERS)
def test_any_number_of_ends_in_an_encoders_text(family: Family, side: str, saved: Saved) -> None:
    """Stock heads look for the last eos, demand equal numbers of them, and fail without any."""
    folder = saved(family.name)
    model = probed(folder, POOLS)
    end = special(family)
    endless = [row[row != end] for row in rows_of(family)[:5]]
    rows = [torch.cat([row, torch.full((index,), end)]) for index, row in enumerate(endless)]
    assert [int((row == end).sum()) for row in rows] == [0, 1, 2, 3, 4]
    expected = hand_pooled_rows(family, model, rows, folder)
    with torch.no_grad():
        found = model(**padded(rows, side, family.special_id("pad"))).logits
    for pool in POOLS:
        close(found[pool], expected[pool])


@over("L9", ENCODER_DECODERS)
def test_heads_read_the_encoder_whatever_the_decoder_reads(family: Family, saved: Saved) -> None:
    model = probed(saved(family.name), POOLS)
    batch = padded(rows_of(family)[:3])
    with torch.no_grad():
        alone = model(**batch).logits
        beside = model(**batch, decoder_input_ids=torch.tensor([[0, 9], [0, 8], [0, 7]]), lm=True).logits
    for pool in POOLS:
        close(beside[pool], alone[pool])


# --- L10, the part that this issue has: layers and lists of taps ---


@over("L10", FAMILIES)
def test_every_layer_is_transformers_own(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    taps = [(layer, pool) for layer in range(-LAYERS - 1, LAYERS + 1) for pool in ("mean", "last")]
    specs = {f"{pool}_{layer}": probe(mh.Hidden(layer=layer, pool=pool)) for layer, pool in taps}
    model = probed(folder, specs)
    rows = rows_of(family)[:4]
    with torch.no_grad():
        found = model(**padded(rows, "left")).logits
    for index, row in enumerate(rows):
        states = plain_states(plain_model(family, folder), row)
        assert len(states) == LAYERS + 1
        for layer, pool in taps:
            close(found[f"{pool}_{layer}"][index], HAND_POOLS[pool](states[layer]))


@over("L10", FAMILIES)
def test_a_list_of_taps_is_their_concatenation(family: Family, saved: Saved) -> None:
    taps = (mh.Hidden(pool="max"), mh.Hidden(layer=1, pool="cls"), mh.Hidden(layer=-2, pool="mean"))
    singles = {f"tap{index}": probe(tap) for index, tap in enumerate(taps)}
    model = probed(saved(family.name), {"all": probe(*taps), **singles})
    with torch.no_grad():
        found = model(**padded(rows_of(family)[:4], "left")).logits
    assert found["all"].shape == (4, HIDDEN * 3)
    assert torch.equal(found["all"], torch.cat([found[name] for name in singles], dim=-1))


@over("L10", FAMILIES)
def test_a_mix_of_layers_is_the_hand_written_mix(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mix": probe(mh.Hidden(layer="mix", pool="mean"))})
    weights, scale = model.heads["mix"].readers.parameters()
    rows = rows_of(family)[:4]
    with torch.no_grad():
        found = model(**padded(rows, "left")).logits["mix"]
        for index, row in enumerate(rows):
            means = torch.stack([layer.mean(dim=0) for layer in plain_states(plain_model(family, folder), row)])
            close(found[index], scale * (torch.softmax(weights, dim=0) @ means))


@over("L10", FAMILIES)
def test_a_layer_that_does_not_exist_is_an_error(family: Family, saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved(family.name))
    for layer in (LAYERS + 1, -LAYERS - 2):
        with pytest.raises(mh.errors.HeadError, match=f"layer {layer} "):
            model.add_head("deep", mh.Regression(reads=mh.Hidden(layer=layer)))


# --- L11: token types, positions, pairs ---


def typed(rows: tuple[Tensor, ...]) -> list[Tensor]:
    """Return token types that are 1 in the second half of each row."""
    return [(torch.arange(len(row)) >= len(row) // 2).long() for row in rows]


def extra(values: list[Tensor], side: str) -> Tensor:
    return padded(values, side)["input_ids"]


TYPED = [family for family in FAMILIES if "token_type_ids" in family.takes]
# One row in the table of token types: 1 does not exist.
ONE_TYPE = {"roberta": "type_vocab_size is 1", "xlm_roberta": "type_vocab_size is 1"}


@pytest.mark.parametrize("side", SIDES)
@over("L11", [family for family in FAMILIES if "token_type_ids" in family.takes and family.name not in ONE_TYPE])
def test_token_types_reach_the_backbone(family: Family, side: str, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mean": POOLS["mean"]})
    rows = rows_of(family)[:5]
    types = typed(rows)
    batch = padded(rows, side)
    with torch.no_grad():
        found = model(**batch, token_type_ids=extra(types, side)).logits["mean"]
        without = model(**batch).logits["mean"]
    assert (found - without).abs().max() > 0.01
    for index, row in enumerate(rows):
        states = plain_states(plain_model(family, folder), row, token_type_ids=types[index][None])
        close(found[index], states[-1].mean(dim=0))


@over("L11", [BY_NAME[name] for name in ONE_TYPE])
def test_the_only_token_type_changes_nothing(family: Family, saved: Saved) -> None:
    model = probed(saved(family.name), {"mean": POOLS["mean"]})
    assert model.backbone.config.type_vocab_size == 1
    row = rows_of(family)[0][None]
    with torch.no_grad():
        found = model(row, token_type_ids=torch.zeros_like(row)).logits["mean"]
        close(found, model(row).logits["mean"])


@pytest.mark.parametrize("side", SIDES)
@over("L11", [family for family in FAMILIES if "position_ids" in family.takes])
def test_position_ids_of_the_caller_reach_the_backbone(family: Family, side: str, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mean": POOLS["mean"]})
    rows = rows_of(family)[:5]
    positions = [torch.arange(len(row)) * 2 + 3 for row in rows]  # rotary embeddings would not notice a mere shift
    batch = padded(rows, side)
    with torch.no_grad():
        found = model(**batch, position_ids=extra(positions, side)).logits["mean"]
        without = model(**batch).logits["mean"]
    assert (found - without).abs().max() > 1e-4
    for index, row in enumerate(rows):
        states = plain_states(plain_model(family, folder), row, position_ids=positions[index][None])
        close(found[index], states[-1].mean(dim=0))


@over("L11", [family for family in FAMILIES if "token_type_ids" not in family.takes])
def test_token_types_that_a_family_does_not_take_are_an_error(family: Family, reading: Readings) -> None:
    row = rows_of(family)[0][None]
    with pytest.raises(mh.errors.InputError, match="token_type_ids"):
        reading(family).model(row, token_type_ids=torch.zeros_like(row))


@over("L11", FAMILIES)
def test_an_unknown_input_is_an_error(family: Family, reading: Readings) -> None:
    row = rows_of(family)[0][None]
    with pytest.raises((TypeError, mh.errors.InputError), match="token_types"):
        reading(family).model(row, token_types=torch.zeros_like(row))


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
@over("L11", FAMILIES)
def test_a_pair_of_texts_reaches_the_backbone_as_the_tokenizer_wrote_it(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mean": POOLS["mean"]})
    pairs = model.tokenizer(TEXTS[:3], TEXTS[3:6])
    names = [name for name in pairs if name not in {"input_ids", "attention_mask"}]
    assert names == (["token_type_ids"] if family.specials.token_type_ids else [])
    rows = [torch.tensor(row) for row in pairs["input_ids"]]
    types = {name: [torch.tensor(row) for row in pairs[name]] for name in names}
    expected = torch.stack(
        [
            plain_states(
                plain_model(family, folder), row, **{name: values[index][None] for name, values in types.items()}
            )[-1].mean(dim=0)
            for index, row in enumerate(rows)
        ]
    )
    with torch.no_grad():
        inputs = {name: extra(values, "left") for name, values in types.items()}
        close(model(**padded(rows, "left"), **inputs).logits["mean"], expected)
    scores = model.predict(list(zip(TEXTS[:3], TEXTS[3:6], strict=True))).scores["mean"]
    close(torch.as_tensor(scores), expected.softmax(dim=-1))


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
@pytest.mark.parametrize("name", ["gpt2", "gptj"])
def test_l11_token_types_are_given_if_and_only_if_the_tokenizer_emits_them(name: str, saved: Saved) -> None:
    """GPT-2 looks types up among its words: all zeros is not the same as none."""
    family, folder = BY_NAME[name], saved(name)
    model = headed(folder, {"sent": mh.Multiclass(["yes", "no"])})
    row = rows_of(family)[0]
    scores = {}
    for types in (False, True):
        names = ["input_ids", "attention_mask"]
        model.tokenizer.model_input_names = [*names, "token_type_ids"] if types else names
        given = {"token_type_ids": torch.zeros_like(row)[None]} if types else {}
        states = plain_states(plain_model(family, folder), row, **given)[-1]
        expected = model.heads["sent"].output(states[-1]).softmax(-1).detach()
        scores[types] = torch.as_tensor(model.predict(TEXTS[:1]).scores["sent"][0])
        close(scores[types], expected)
    assert (scores[True] - scores[False]).abs().max() > 1e-3


def test_l8_the_probes_can_fail() -> None:
    """A probe is an identity: two states that differ by 1e-4 are not close."""
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))
    add_heads(model, {"last": POOLS["last"]})
    open_probes(model)
    row = rows_of(BY_NAME["gpt2"])[0]
    with torch.no_grad():
        found = model(row[None]).logits["last"][0]
    with pytest.raises(AssertionError):
        close(found, plain_states(model.backbone, row)[-1][-1] + 1e-4)
    with pytest.raises(AssertionError):
        close(found, plain_states(model.backbone, row)[-1][-2])
