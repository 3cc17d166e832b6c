"""L6 to L11: every tap reads the real tokens' states, at their positions, with the inputs that were given.

Most heads here are probes: their logits are their features, so that one can compare states, not just labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
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
from torch import Tensor
from transformers import PreTrainedModel

import manyheads as mh

Saved = Callable[[str], Path]
TOLERANCE = 1e-5

POOLS = {pool: probe(mh.Hidden(pool=pool)) for pool in ("cls", "mean", "max", "last", "attention", "auto")}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def hand_pooled(family: Family, model: mh.HeadedModel, states: Tensor) -> dict[str, Tensor]:
    """Pool one row's states in every way, with the learned scores for ``"attention"``."""
    pooled = {name: pool(states) for name, pool in HAND_POOLS.items()}
    weight, bias = model.heads["attention"].readers.parameters()
    pooled["attention"] = torch.softmax(states @ weight[0] + bias, dim=0) @ states
    return {**pooled, "auto": pooled[default_pool(family)]}


def special(family: Family) -> int:
    """Return the id that ends a text, or separates two where there is no end."""
    found = family.special_id("eos")
    return family.special_id("sep") if found is None else found


def with_end_inside(family: Family, rows: tuple[Tensor, ...]) -> list[Tensor]:
    end = torch.tensor([special(family)])
    return [torch.cat([row[:1], end, end, row[1:]]) for row in rows]


# --- L6: pooling by mask ---


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("filler", ["pad", "end", "word"])
@over("L6", FAMILIES)
def test_pooling_follows_the_mask_and_never_an_id(
    family: Family, filler: str, side: str, saved: Saved
) -> None:
    folder = saved(family.name)
    model = probed(folder, POOLS)
    rows = list(rows_of(family)[:6]) + with_end_inside(family, rows_of(family)[:3])
    ids = {"pad": family.special_id("pad") or 0, "end": special(family), "word": 17}
    if filler == "end":  # then it is also what config and tokenizer call padding
        model.backbone.config.pad_token_id = model.tokenizer.pad_token_id = ids["end"]
    with torch.no_grad():
        logits = model(**padded(rows, side, ids[filler])).logits
    for index, row in enumerate(rows):
        expected = hand_pooled(family, model, plain_states(plain_model(family, folder), row)[-1])
        for pool in POOLS:
            close(logits[pool][index], expected[pool])


@over("L6", FAMILIES)
def test_pooling_of_a_row_alone(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, POOLS)
    for row in rows_of(family)[:4]:
        expected = hand_pooled(family, model, plain_states(plain_model(family, folder), row)[-1])
        with torch.no_grad():
            masked = model(row[None], torch.ones_like(row)[None]).logits
            unmasked = model(row[None]).logits
        for pool in POOLS:
            close(masked[pool][0], expected[pool])
            assert torch.equal(masked[pool], unmasked[pool])


@pytest.mark.parametrize("change", ["unset", "other"])
@over("L6", FAMILIES)
def test_pooling_whatever_the_pad_id_is_said_to_be(family: Family, change: str, saved: Saved) -> None:
    model = probed(saved(family.name), POOLS)
    batch = padded(rows_of(family)[:5], "left", family.special_id("pad") or 0)
    with torch.no_grad():
        before = model(**batch).logits
        model.backbone.config.pad_token_id = None if change == "unset" else 17
        after = model(**batch).logits
    for pool in POOLS:
        assert torch.equal(before[pool], after[pool])


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("pad_token", ["kept", "end", "other", "unset"])
@over("L6", FAMILIES)
def test_a_predicted_batch_equals_each_text_alone(
    family: Family, pad_token: str, side: str, saved: Saved
) -> None:
    folder = saved(family.name)
    labels = ["a", "b", "c"]
    pools = ("cls", "mean", "max", "last")
    specs = {pool: mh.Multiclass(labels, reads=mh.Hidden(pool=pool)) for pool in pools}
    model = headed(folder, specs)
    model.tokenizer.padding_side = side
    unknown, end = model.tokenizer.unk_token, model.tokenizer.convert_ids_to_tokens(special(family))
    changes = {"kept": model.tokenizer.pad_token, "end": end, "other": unknown, "unset": None}
    model.tokenizer.pad_token = changes[pad_token]
    predictions = model.predict(TEXTS)
    for index, row in enumerate(rows_of(family)):
        states = plain_states(plain_model(family, folder), row)[-1]
        for pool, head in model.heads.items():
            expected = head.output(HAND_POOLS[pool](states)).softmax(-1).detach()
            close(torch.as_tensor(predictions.scores[pool][index]), expected)


@pytest.mark.parametrize("side", SIDES)
@over("L6", FAMILIES)
def test_the_pooled_position_itself(family: Family, side: str, saved: Saved) -> None:
    """A hook sees what the stack got and gave; the feature must be the state of one certain real token."""
    model = probed(saved(family.name), {pool: POOLS[pool] for pool in ("cls", "last")})
    rows = with_end_inside(family, rows_of(family)[:6])
    seen: dict[str, Tensor] = {}

    def record(_module: object, _arguments: object, inputs: dict[str, Tensor], output: object) -> None:
        seen.update(mask=inputs["attention_mask"].bool(), states=output.last_hidden_state)  # type: ignore[attr-defined]

    handle = reading_stack(model.backbone).register_forward_hook(record, with_kwargs=True)
    with torch.no_grad():
        logits = model(**padded(rows, side, special(family))).logits
    handle.remove()
    for index, row in enumerate(rows):
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
def test_families_without_position_ids_say_so(family: Family, saved: Saved) -> None:
    assert "position_ids" not in family.takes
    row = rows_of(family)[0][None]
    with pytest.raises(mh.errors.InputError, match="position_ids"):
        headed(saved(family.name))(row, position_ids=torch.arange(row.shape[1])[None])


@over("L7", [BY_NAME[name] for name in OFFSETS])
def test_roberta_positions_start_behind_the_pad_id(family: Family, saved: Saved) -> None:
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
    bare, report = getattr(transformers, family.pooler_class).from_pretrained(
        folder, output_loading_info=True
    )
    assert not report["missing_keys"]
    with torch.no_grad():
        return torch.cat([bare.eval()(row[None]).pooler_output for row in rows])


def stored_names(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


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


@over("L8", POOLED)
def test_the_pooler_is_kept_by_saving_and_loading(family: Family, tmp_path: Path) -> None:
    folder = save_with_pooler(family, tmp_path / "source")
    model = probed(folder, POOLER)
    rows = rows_of(family)[:4]
    model.save_pretrained(tmp_path / "saved")
    again = mh.HeadedModel.from_pretrained(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(again(**padded(rows)).logits["pooler"], model(**padded(rows)).logits["pooler"])
    assert torch.equal(pooler_outputs(family, tmp_path / "saved", rows), pooler_outputs(family, folder, rows))
    assert stored_names(tmp_path / "saved") == stored_names(folder)


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
    model = probed(tmp_path, POOLER)
    rows = rows_of(family)
    with torch.no_grad():
        found = model(**padded(rows, "left")).logits["pooler"]
    close(found, pooler_outputs(family, tmp_path, rows))


@over("L8", FAMILIES)
def test_without_a_trained_pooler_there_is_an_error(family: Family, saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved(family.name))
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        model.add_head("pooler", POOLER["pooler"])
    assert "pooler" not in model.heads


@over("L8", POOLED)
def test_a_random_pooler_is_neither_read_nor_saved(family: Family, saved: Saved, tmp_path: Path) -> None:
    """The class has a pooler and the file has none: transformers draws one."""
    transformers.AutoModel.from_pretrained(saved(family.name), add_pooling_layer=False).save_pretrained(
        tmp_path / "a"
    )
    tokenizer_for(family).save_pretrained(tmp_path / "a")
    model = mh.HeadedModel.from_pretrained(relabel(tmp_path / "a", family.pooler_class))
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        model.add_head("pooler", POOLER["pooler"])
    add_heads(model, {"urgency": mh.Multiclass(["routine", "urgent"])})
    model.save_pretrained(tmp_path / "b")
    assert not [name for name in stored_names(tmp_path / "b") if "pooler" in name]


@over("L8", POOLED)
def test_a_random_pooler_of_a_model_object_is_not_read(family: Family) -> None:
    bare = getattr(transformers, family.pooler_class)(family.make_config())
    model = mh.HeadedModel.wrap(bare, tokenizer_for(family))
    with pytest.raises(mh.errors.PoolerError, match="no trained pooler"):
        model.add_head("pooler", POOLER["pooler"])


# --- L9: encoder-decoders ---


@pytest.mark.parametrize("side", SIDES)
@over("L9", ENCODER_DECODERS)
def test_any_number_of_ends_in_an_encoders_text(family: Family, side: str, saved: Saved) -> None:
    """Stock heads look for the last eos, demand equal numbers of them, and fail without any."""
    folder = saved(family.name)
    model = probed(folder, POOLS)
    end = special(family)
    plain_rows = [row[row != end] for row in rows_of(family)[:5]]
    rows = [torch.cat([row, torch.full((index,), end)]) for index, row in enumerate(plain_rows)]
    assert [int((row == end).sum()) for row in rows] == [0, 1, 2, 3, 4]
    with torch.no_grad():
        found = model(**padded(rows, side, family.special_id("pad"))).logits
    for index, row in enumerate(rows):
        expected = hand_pooled(family, model, plain_states(plain_model(family, folder), row)[-1])
        for pool in POOLS:
            close(found[pool][index], expected[pool])


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


@pytest.mark.parametrize("side", SIDES)
@over("L10", FAMILIES)
def test_every_layer_is_transformers_own(family: Family, side: str, saved: Saved) -> None:
    folder = saved(family.name)
    taps = [(layer, pool) for layer in range(-LAYERS - 1, LAYERS + 1) for pool in ("mean", "last")]
    specs = {f"{pool}_{layer}": probe(mh.Hidden(layer=layer, pool=pool)) for layer, pool in taps}
    model = probed(folder, specs)
    rows = rows_of(family)[:4]
    with torch.no_grad():
        found = model(**padded(rows, side)).logits
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
            means = torch.stack(
                [layer.mean(dim=0) for layer in plain_states(plain_model(family, folder), row)]
            )
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
@over(
    "L11", [family for family in FAMILIES if "token_type_ids" in family.takes and family.name not in ONE_TYPE]
)
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
    positions = [
        torch.arange(len(row)) * 2 + 3 for row in rows
    ]  # rotary embeddings would not notice a mere shift
    batch = padded(rows, side)
    with torch.no_grad():
        found = model(**batch, position_ids=extra(positions, side)).logits["mean"]
        without = model(**batch).logits["mean"]
    assert (found - without).abs().max() > 1e-4
    for index, row in enumerate(rows):
        states = plain_states(plain_model(family, folder), row, position_ids=positions[index][None])
        close(found[index], states[-1].mean(dim=0))


@over("L11", [family for family in FAMILIES if "token_type_ids" not in family.takes])
def test_token_types_that_a_family_does_not_take_are_an_error(family: Family, saved: Saved) -> None:
    row = rows_of(family)[0][None]
    with pytest.raises(mh.errors.InputError, match="token_type_ids"):
        headed(saved(family.name))(row, token_type_ids=torch.zeros_like(row))


@over("L11", FAMILIES)
def test_an_unknown_input_is_an_error(family: Family, saved: Saved) -> None:
    row = rows_of(family)[0][None]
    with pytest.raises((TypeError, mh.errors.InputError), match="token_types"):
        headed(saved(family.name))(row, token_types=torch.zeros_like(row))


@over("L11", [family for family in FAMILIES if family.specials.pair])
def test_a_pair_of_texts_reaches_the_backbone_as_the_tokenizer_wrote_it(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = probed(folder, {"mean": POOLS["mean"]})
    pairs = model.tokenizer(TEXTS[:3], TEXTS[3:6])
    names = [name for name in pairs if name not in {"input_ids", "attention_mask"}]
    assert names == (["token_type_ids"] if family.specials.token_type_ids else [])
    rows = [torch.tensor(row) for row in pairs["input_ids"]]
    types = {name: [torch.tensor(row) for row in pairs[name]] for name in names}
    with torch.no_grad():
        inputs = {name: extra(values, "left") for name, values in types.items()}
        found = model(**padded(rows, "left"), **inputs).logits["mean"]
    for index, row in enumerate(rows):
        alone = {name: values[index][None] for name, values in types.items()}
        states = plain_states(plain_model(family, folder), row, **alone)[-1]
        close(found[index], states.mean(dim=0))


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
