"""L30: the graph of all heads gives the logits of the model, alone and in a batch, or an error names the reason."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

import manyheads as mh
from manyheads.backbone.branches.branches import build_fork, build_lora
from manyheads.backbone.branches.lora import LoRASettings, targets_of
from manyheads.backbone.stack.prompts import with_prompt
from manyheads.errors import ExportError
from manyheads.export.onnx import trace as tracing
from manyheads.export.onnx.columns import columns, first_layer
from manyheads.export.onnx.graph import HeadsGraph
from manyheads.export.onnx.save import save
from manyheads.export.onnx.tidy import SCOPES
from manyheads.export.onnx.trace import trace
from manyheads.heads import Head
from manyheads.taps import on_branch
from manyheads.types import Batch, Request
from tests.families import BY_NAME, FAMILIES, VOCABULARY, Family, tokenizer_for

LABELS = ["routine", "urgent", "emergency"]
PROMPT = "{text} fever and cough"
TOLERANCE = 1e-4
# Rows and tokens that no trace is made with; the first row is the longest.
LENGTHS = ([1], [5, 2], [17, 16, 1, 9])
# What each family's graph contains. Mixed kinds, so that a head that reads another one reads every kind of scores.
HEADS: dict[str, Callable[[Family], Any]] = {
    "own": lambda _: mh.Multiclass(labels=LABELS),
    "several": lambda _: mh.MultiLabel(
        labels=LABELS, reads=[mh.Hidden(-2, "mean", normalize=True), mh.Hidden(1, "max")], hidden=[8, 4]
    ),
    "mix": lambda _: mh.Ordinal(labels=LABELS, reads=mh.Hidden("mix", "cls")),
    "attention": lambda _: mh.Count(reads=mh.Hidden(-1, "attention")),
    "last": lambda _: mh.Regression(
        reads=[mh.Hidden(0, "last"), *map(mh.Output, ("own", "several", "mix", "attention"))]
    ),
    "terms": lambda _: mh.Multiclass(labels=LABELS, reads=[mh.Lexical(), mh.Hidden(pool="mean")], hidden=[8]),
    "only_terms": lambda _: mh.Multiclass(labels=LABELS, reads=mh.Lexical()),
    "first_tokens": lambda _: mh.Tokens(labels=LABELS, words="spaces", reads=mh.Hidden(-2)),
    "all_tokens": lambda _: mh.Tokens(labels=LABELS, words="spaces", subword="mean", window=1),
}
# In few families only: what does not depend on the family.
EVERYWHERE = ("own", "several", "mix")
THOROUGH = ("bert",)
# Families whose graph is traced in every run of the tests, beside that of GPT-2 below: a trace takes seconds.
OFTEN = {"bert", "gemma3", "t5"}
# Two layers are traced faster than three. Windows of attention are longer than the texts of a trace, and shorter than
# those that are compared.
CHANGES: dict[str, dict[str, Any]] = {
    "bert": {"num_hidden_layers": 2},
    "gpt2": {"n_layer": 2},
    "t5": {"num_layers": 2},
    "gemma3": {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 12},
    "mistral": {"sliding_window": 12},
    "modernbert": {"local_attention": 24},
}
# Families without a graph, each with the reason.
ERRORS = {"mamba": "holds only for one number of tokens"}


def spec_of(name: str, family: Family) -> Any:
    return HEADS[name](family)


def headed(family: Family, names: Sequence[str], bare: bool = False, **others: Any) -> mh.HeadedModel:
    """Return a model; a bare one has a pooler instead of the language model."""
    built = family.build(model_class=family.pooler_class if bare else None, **CHANGES.get(family.name, {}))
    model = mh.HeadedModel.wrap(built, tokenizer_for(family))
    for name, spec in ({name: spec_of(name, family) for name in names} | others).items():
        model.add_head(name, spec)
    for seed, head in enumerate(model.heads.values()):
        move(head, seed)
    model.core.eval()
    return model


def move(module: torch.nn.Module, seed: int) -> None:
    """Move every weight away from its start, so that one that is left out shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)


def batch_of(family: Family, lengths: Sequence[int]) -> Batch:
    """Return right-padded rows of random tokens, in words of two tokens; a token in three is in no word."""
    generator = torch.Generator().manual_seed(sum(lengths))
    longest = max(lengths)
    ids = torch.randint(0, VOCABULARY, (len(lengths), longest), generator=generator)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    places = torch.arange(longest)
    words = torch.where(places % 3 == 2, -1, places // 3).expand_as(ids).masked_fill(mask == 0, -1)
    types = torch.zeros_like(ids) if family.specials.token_type_ids else None
    return Batch(ids, mask, types, word_ids=words)


def cut(batch: Batch) -> Batch:
    """Return a right-padded batch without columns of padding alone."""
    longest = int(batch.attention_mask.sum(dim=1).max())
    parts = batch.inputs() | {"word_ids": batch.word_ids}
    return Batch(**{name: tensor[:, :longest] for name, tensor in parts.items() if tensor is not None})


def inputs_of(model: mh.HeadedModel, graph: HeadsGraph, batch: Batch) -> dict[str, Tensor]:
    """Return the inputs that stand beside an exported graph's runtime."""
    assert batch.word_ids is not None
    inputs = batch.inputs() | {"word_ids": batch.word_ids, "word_numbers": torch.arange(int(batch.word_ids.max()) + 1)}
    for number, prompt in enumerate(graph.prompts, start=1):
        template = model.core.backbone.templates(Request(prompts={prompt: Request()}))[prompt]
        prompted = with_prompt(batch, batch.attention_mask.bool(), template)
        inputs |= {f"input_ids_{number}": prompted.input_ids, f"attention_mask_{number}": prompted.attention_mask}
    bags = {f"bag_{name}": bag_of(model, head, batch) for name, head in model.heads.items()}
    return {name: (inputs | bags)[name] for name in graph.sample_inputs()}


def bag_of(model: mh.HeadedModel, head: Head, batch: Batch) -> Tensor:
    """Return what a head's bags contribute to its first layer, by the head's own reader and weights."""
    places = dict(columns(head, model.core.backbone.facts))
    layer = first_layer(head)
    total = torch.zeros(len(batch.input_ids), layer.out_features)
    read, _ = model.core.read(batch, list(places))
    for tap, place in places.items():
        bag = head.readers[head.taps.index(tap)](read[tap])
        total += bag @ layer.weight[:, place].T
    return total


def session_of(path: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, settings)


def run(session: onnxruntime.InferenceSession, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {name: value.numpy() for name, value in inputs.items()}), strict=True))


@torch.no_grad()
def assert_equal(model: mh.HeadedModel, graph: HeadsGraph, session: Any, family: Family, lm: bool = False) -> None:
    """Check batches, and each row of them alone."""
    for lengths in LENGTHS:
        batch = batch_of(family, lengths)
        for rows in [torch.arange(len(lengths)), *torch.arange(len(lengths)).unsqueeze(1)]:
            # As everywhere, rows that a family cannot compute together are not.
            for group in model.core.backbone.row_groups.of(torch.tensor(lengths)[rows]):
                part = cut(batch.rows(rows[group]))
                expected = model.core(part, heads=list(graph.outputs), lm=lm)
                found = run(session, inputs_of(model, graph, part))
                assert expected.logits is not None
                for name, logits in expected.logits.items():
                    np.testing.assert_allclose(found[graph.outputs[name]], logits, atol=TOLERANCE, err_msg=name)
                if lm:
                    real = part.attention_mask.bool().numpy()
                    np.testing.assert_allclose(
                        found["lm_logits"][real], expected.lm_logits.numpy()[real], atol=TOLERANCE
                    )


def snapshot(model: mh.HeadedModel) -> dict[str, Any]:
    """Return everything that a trace could change."""
    backbone = model.core.backbone
    modules = dict(model.core.named_modules())
    return {
        "weights": backbone.digest(),
        "heads": {name: value.clone() for name, value in model.core.heads.state_dict().items()},
        "config": copy.deepcopy(backbone.model.config.to_dict()),
        "attention": backbone.model.config._attn_implementation,
        "training": {name: module.training for name, module in modules.items()},
        "hooks": {name: (len(part._forward_hooks), len(part._forward_pre_hooks)) for name, part in modules.items()},
        "gradients": {name: part.requires_grad for name, part in model.core.named_parameters()},
        "random": torch.get_rng_state(),
        "forward": {name: "forward" in vars(module) for name, module in modules.items()},
    }


def assert_unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    assert torch.equal(before["random"], after["random"])
    assert all(torch.equal(value, after["heads"][name]) for name, value in before["heads"].items())
    for part in set(before) - {"random", "heads"}:
        assert before[part] == after[part], part


def heads_of(family: Family) -> tuple[Sequence[str], dict[str, Any]]:
    """Return the names of the heads of a family in the table, and its other heads."""
    thorough = family.name in THOROUGH
    others = {
        "pooler": thorough and mh.Hidden(pool="pooler"),
        "tokens": not family.encoder_decoder and not thorough and mh.LMLogits(top_k=7),
    }
    specs = {name: mh.Multiclass(labels=LABELS, reads=reads) for name, reads in others.items() if reads}
    return (tuple(HEADS) if thorough else EVERYWHERE), specs


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, id=family.name, marks=[] if family.name in OFTEN else pytest.mark.architectures)
        for family in FAMILIES
    ],
)
def test_a_graph_gives_the_logits_of_the_model(family: Family, tmp_path: Path, capfd: Any) -> None:
    names, others = heads_of(family)
    model = headed(family, names, bare=family.name in THOROUGH, **others)
    graph = HeadsGraph(model.core, model.heads, token_types=family.specials.token_type_ids)
    before = snapshot(model)
    capfd.readouterr()
    if family.name in ERRORS:
        with pytest.raises(ExportError, match=ERRORS[family.name]):
            trace(graph)
        return
    traced = trace(graph)
    assert capfd.readouterr() == ("", "")
    assert_unchanged(before, snapshot(model))
    save({"model.onnx": traced}, tmp_path, "model.onnx.data")
    assert b".py" not in (tmp_path / "model.onnx").read_bytes()
    assert_equal(model, graph, session_of(tmp_path / "model.onnx"), family)


def branched(model: mh.HeadedModel, head: str, name: str) -> None:
    """Let a head read a branch, as training does."""
    found, facts = model.heads[head], model.core.backbone.facts
    found.taps = tuple(on_branch(tap, name, facts) for tap in found.taps)


def test_forks_and_adapters_run_beside_the_language_model(tmp_path: Path) -> None:
    family = BY_NAME["gpt2"]
    reads = {"trunk": mh.Hidden(-2), "forked": mh.Hidden(pool="mean"), "adapted": mh.Hidden(prompt=PROMPT)}
    specs = {name: mh.Multiclass(labels=LABELS, reads=tap) for name, tap in reads.items()}
    model = headed(family, [], **specs)
    trunk = model.core.backbone.trunk
    fork = build_fork(trunk, 1)
    lora = build_lora(trunk, LoRASettings(2, 4.0, targets_of(trunk.stack, trunk.path, trunk.layers, "auto"), 0.1))
    for number, (head, branch) in enumerate({"forked": fork, "adapted": lora}.items()):
        model.core.backbone.branches[f"branch{number}"] = branch.eval()
        move(torch.nn.ParameterList(branch.trainable_parameters().values()), number)
        branched(model, head, f"branch{number}")
    graph = HeadsGraph(model.core, model.heads, lm=True)
    before = snapshot(model)
    traced = trace(graph)
    assert_unchanged(before, snapshot(model))
    # Two graphs whose weights are in the file once, and once more where a product needs its transpose.
    save({"model.onnx": traced, "again.onnx": traced}, tmp_path, "model.onnx.data")
    weights = sum(parameter.nbytes for parameter in model.core.parameters())
    assert (tmp_path / "model.onnx.data").stat().st_size < 2 * weights
    assert_equal(model, graph, session_of(tmp_path / "again.onnx"), family, lm=True)
    assert graph.prompts == (PROMPT,)
    assert [graph.passes_of(name) for name in model.heads] == [(0,), (0,), (1,)]


def test_layers_that_no_head_reads_are_not_in_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = BY_NAME["bert"]
    model = headed(family, [], add=mh.Multiclass(labels=LABELS, reads=mh.Hidden(-2, "mean")))
    graph = HeadsGraph(model.core, ["add"], token_types=True)
    # Where transformers' exporter fails, torch's traces the same.
    monkeypatch.setattr(tracing, "_by_transformers", lambda *_: 1 / 0)
    traced = trace(graph)
    scopes = " ".join(node.metadata_props.get(SCOPES, "") for node in traced.graph)
    assert "encoder.layer.0" in scopes
    assert "encoder.layer.1" not in scopes
    assert not [name for name in traced.graph.initializers if "layer.1" in name]
    assert [list(map(str, value.shape or ())) for value in traced.graph.inputs] == [["rows", "tokens"]] * 3
    save({"model.onnx": traced}, tmp_path, "model.onnx.data")
    assert_equal(model, graph, session_of(tmp_path / "model.onnx"), family)


def test_outputs_do_not_have_the_names_of_inputs() -> None:
    names = ["input_ids", "lm_logits", "input_ids_logits", "add"]
    model = headed(BY_NAME["bert"], [], **{name: mh.Multiclass(labels=LABELS) for name in names})
    outputs = HeadsGraph(model.core, ["input_ids", "add"]).outputs
    assert outputs == {"input_ids": "input_ids_logits", "add": "add"}
    outputs = HeadsGraph(model.core, names).outputs
    assert list(outputs) == names
    assert len({*outputs.values(), "input_ids", "attention_mask", "lm_logits"}) == len(names) + 3


@torch.no_grad()
def test_weights_in_half_precision_run_in_fp32() -> None:
    family = BY_NAME["gpt2"]
    model = headed(family, ["own", "several"])
    model.core.backbone.model.to(torch.bfloat16)
    batch = batch_of(family, [9, 4])
    graph = HeadsGraph(model.core, model.heads)
    assert {parameter.dtype for parameter in graph.parameters()} == {torch.float32}
    exact = model.core.backbone.in_precision(torch.float32)
    taps = model.core.heads.taps_of(model.heads)
    states, _ = exact(batch, model.core.request(taps))
    expected = model.core.heads({tap: tap.read(states) for tap in taps})
    for name, logits in graph(**inputs_of(model, graph, batch)).items():
        torch.testing.assert_close(logits, expected[name], rtol=0, atol=1e-5)
    assert model.core.backbone.stack.wte.weight.dtype == torch.bfloat16


def test_weights_are_shared_with_the_model() -> None:
    model = headed(BY_NAME["bert"], ["own"])
    graph = HeadsGraph(model.core, model.heads)
    assert {id(one) for one in model.core.backbone.model.parameters()} <= {id(one) for one in graph.parameters()}


def test_reasons_against_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    model = headed(BY_NAME["t5"], ["own"])
    with pytest.raises(ExportError, match="no language model that reads only the texts"):
        HeadsGraph(model.core, model.heads, lm=True)
    monkeypatch.setattr(model.core.backbone.model, "is_quantized", True, raising=False)
    with pytest.raises(ExportError, match="its weights are quantized; load the model without"):
        HeadsGraph(model.core, model.heads)


def test_a_backbone_that_cannot_be_traced_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = headed(BY_NAME["gpt2"], ["own"])
    block = type(model.core.backbone.blocks()[0])
    forward = block.forward

    def by_value(self: Any, hidden_states: Tensor, *args: Any, **settings: Any) -> Any:
        return forward(self, hidden_states if float(hidden_states.sum()) > 0 else -hidden_states, *args, **settings)

    graph = HeadsGraph(model.core, model.heads)
    monkeypatch.setattr(block, "forward", by_value)
    with pytest.raises(ExportError, match=r"^GPT2LMHeadModel: cannot be traced: .*; use the model itself") as error:
        trace(graph)
    assert "\n" not in str(error.value)
