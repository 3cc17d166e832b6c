"""L12, L14, L15: the joint loss is the sum that a person would write, and a missing label is no row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import manyheads as mh
from tests.families import BY_NAME, FAMILIES, TEXTS, tokenizer_for

ROWS = 8
LABELS = ["routine", "urgent", "emergency"]
WEIGHTS = [0.5, 1.0, 3.0]
NAN = float("nan")


@dataclass(frozen=True)
class Kind:
    """A head kind: its spec, labels for ``ROWS`` rows, and its loss as torch computes it."""

    spec: Callable[..., object]
    targets: Tensor
    by_hand: Callable[[Tensor, Tensor], Tensor]
    weighted: Callable[[Tensor, Tensor], Tensor] | None = None


def multilabel_loss(logits: Tensor, targets: Tensor, **keywords: Tensor) -> Tensor:
    cells = F.binary_cross_entropy_with_logits(logits, targets.nan_to_num(0.0), reduction="none", **keywords)
    return cells[~targets.isnan()].mean()


def conditional_loss(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Task by task, torch's own loss on the rows that reach it (Shi et al. 2021), averaged over all of these cells."""
    cells, weights = [], []
    for task in range(logits.shape[1]):
        subset = targets >= task
        beyond = (targets[subset] > task).float()
        cells.append(F.binary_cross_entropy_with_logits(logits[subset, task], beyond, reduction="none"))
        weights.append(torch.ones(len(beyond)) if weight is None else weight[targets[subset]])
    return (torch.cat(cells) * torch.cat(weights)).sum() / torch.cat(weights).sum()


KINDS = {
    "multiclass": Kind(
        spec=lambda **keywords: mh.Multiclass(labels=LABELS, **keywords),
        targets=torch.tensor([0, 2, 1, 1, 0, 2, 2, 0]),
        by_hand=F.cross_entropy,
        weighted=lambda logits, targets: F.cross_entropy(logits, targets, weight=torch.tensor(WEIGHTS)),
    ),
    "multilabel": Kind(
        spec=lambda **keywords: mh.MultiLabel(labels=LABELS, **keywords),
        targets=torch.tensor(
            [[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 0]]
        ),
        by_hand=multilabel_loss,
        weighted=lambda logits, targets: multilabel_loss(logits, targets, pos_weight=torch.tensor(WEIGHTS)),
    ),
    "ordinal": Kind(
        spec=lambda **keywords: mh.Ordinal(labels=LABELS, **keywords),
        targets=torch.tensor([2, 0, 1, 2, 1, 2, 0, 0]),
        by_hand=conditional_loss,
        weighted=lambda logits, targets: conditional_loss(logits, targets, torch.tensor(WEIGHTS)),
    ),
    "regression": Kind(
        spec=lambda **keywords: mh.Regression(**keywords),
        targets=torch.tensor([0.5, -2.0, 3.25, 0.0, 1.0, -0.75, 8.0, 0.1]),
        by_hand=lambda logits, targets: F.mse_loss(logits[:, 0], targets),
    ),
    "count": Kind(
        spec=lambda **keywords: mh.Count(**keywords),
        targets=torch.tensor([0.0, 2.0, 1.0, 0.0, 1.0, 4.0, 3.0, 1.0]),
        by_hand=lambda logits, targets: (
            F.poisson_nll_loss(logits[:, 0], targets) + (torch.xlogy(targets, targets) - targets).mean()
        ),
    ),
}
HIDDEN = {"linear": (), "stacked": (8,)}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_depth = pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
three_families = pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])


def headed(family: str = "bert", **specs: object) -> mh.HeadedModel:
    """Wrap a tiny backbone, add heads, and give every head weights that are visibly not zero."""
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    generator = torch.Generator().manual_seed(1)
    for name, spec in specs.items():
        model.add_head(name, spec)
        with torch.no_grad():
            for parameter in model.heads[name].parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def batch_of(family: str = "bert", rows: int = ROWS) -> dict[str, Tensor]:
    """Tokenize the first texts, padded on the right by hand: not every tokenizer has a pad token."""
    ids = [tokenizer_for(BY_NAME[family])(text)["input_ids"] for text in TEXTS[:rows]]
    width = max(map(len, ids))
    return {
        "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
    }


def rows_of(batch: dict[str, Tensor], keep: Tensor) -> dict[str, Tensor]:
    return {name: tensor[keep] for name, tensor in batch.items()}


def parameters(model: mh.HeadedModel) -> Iterator[tuple[str, torch.nn.Parameter]]:
    yield from model.backbone.named_parameters()
    for name, head in model.heads.items():
        yield from ((f"{name}: {inner}", parameter) for inner, parameter in head.named_parameters())


def gradients(model: mh.HeadedModel, loss: Tensor) -> dict[str, Tensor]:
    """Return the gradients of one backward, by name, and clear them; absent where there is none."""
    loss.backward()
    found = {name: parameter.grad for name, parameter in parameters(model) if parameter.grad is not None}
    for _, parameter in parameters(model):
        parameter.grad = None
    return found


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare to 2e-6 of each tensor's largest gradient, or of 1 where that is smaller: some pass through gradients
    that are a hundred times as large, and on some processors the sum of roundings reaches 1.1e-6.
    """
    assert found.keys() == expected.keys()
    assert any(tensor.abs().max() > 0 for tensor in found.values())
    for name, tensor in found.items():
        largest = max(1.0, float(expected[name].abs().max()))
        torch.testing.assert_close(tensor / largest, expected[name] / largest, atol=2e-6, rtol=0, msg=name)


def joint_by_hand(model: mh.HeadedModel, batch: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Write the joint loss down: each head's torch loss on its labelled rows, times its weight."""
    logits = model(**batch).logits
    losses = []
    for name, targets in labels.items():
        kind = KINDS[name.split("_")[0]]
        present = present_rows(targets)
        by_hand = kind.by_hand if model.heads[name].spec.class_weights is None else kind.weighted
        losses.append(model.heads[name].spec.loss_weight * by_hand(logits[name][present], targets[present]))
    return torch.stack(losses).sum()


def present_rows(targets: Tensor) -> Tensor:
    if not targets.is_floating_point():
        return targets != -100
    return ~targets.isnan() if targets.ndim == 1 else ~targets.isnan().all(dim=1)


def cells_of(kind: str, targets: Tensor) -> int:
    """Return how many cells these targets label."""
    if kind == "ordinal":
        return int(sum((targets >= task).sum() for task in range(len(LABELS) - 1)))
    return int(present_rows(targets).sum()) * (3 if kind == "multilabel" else 1)


def without(targets: Tensor, rows: list[int]) -> Tensor:
    """Mark the labels of some rows as missing."""
    changed = targets.clone()
    changed[rows] = -100 if not targets.is_floating_point() else NAN
    return changed


def all_kinds(**keywords: object) -> dict[str, object]:
    return {name: kind.spec(**keywords) for name, kind in KINDS.items()}


def all_targets() -> dict[str, Tensor]:
    return {name: kind.targets for name, kind in KINDS.items()}


# --- L12: the sum ---------------------------------------------------------------------------------


@three_families
@every_depth
def test_l12_joint_loss_and_gradients_equal_the_sum_by_hand(family: str, hidden: tuple[int, ...]) -> None:
    specs = {
        "multiclass": KINDS["multiclass"].spec(hidden=hidden, loss_weight=0.5),
        "multiclass_weighted": KINDS["multiclass"].spec(hidden=hidden, class_weights=WEIGHTS),
        "multilabel": KINDS["multilabel"].spec(hidden=hidden, loss_weight=2.0),
        "multilabel_weighted": KINDS["multilabel"].spec(hidden=hidden, class_weights=WEIGHTS),
        "ordinal": KINDS["ordinal"].spec(hidden=hidden, loss_weight=0.7),
        "ordinal_weighted": KINDS["ordinal"].spec(hidden=hidden, class_weights=WEIGHTS),
        "regression": KINDS["regression"].spec(hidden=hidden, loss_weight=0.1),
    }
    model, batch = headed(family, **specs), batch_of(family)
    labels = {name: KINDS[name.split("_")[0]].targets for name in specs}

    out = model(**batch, labels=labels)
    by_hand = joint_by_hand(model, batch, labels)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)

    found = gradients(model, out.loss)
    assert any(name.split(": ")[0] not in specs for name in found), "nothing reached the backbone"
    assert_same_gradients(found, gradients(model, by_hand))


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_l12_holds_on_every_family(family: str) -> None:
    model, batch = headed(family, **all_kinds()), batch_of(family)
    loss, by_hand = model(**batch, labels=all_targets()).loss, joint_by_hand(model, batch, all_targets())
    torch.testing.assert_close(loss, by_hand, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, loss), gradients(model, by_hand))


@every_kind
def test_l12_losses_are_unweighted_means_and_the_loss_is_weight_times_mean(kind: str) -> None:
    model, batch = headed(**{kind: KINDS[kind].spec(loss_weight=0.25)}), batch_of()
    out = model(**batch, labels={kind: KINDS[kind].targets})
    torch.testing.assert_close(out.losses[kind], KINDS[kind].by_hand(out.logits[kind], KINDS[kind].targets))
    torch.testing.assert_close(out.loss, 0.25 * out.losses[kind])


def test_l12_logits_are_fp32_whatever_the_backbone_holds() -> None:
    model = headed(**all_kinds())
    model.backbone.to(torch.bfloat16)
    out = model(**batch_of(), labels=all_targets())
    assert {logits.dtype for logits in out.logits.values()} == {torch.float32}
    assert out.loss.dtype == torch.float32


@three_families
@every_kind
@every_depth
def test_l12_detach_gives_no_gradient_to_the_backbone(family: str, kind: str, hidden: tuple[int, ...]) -> None:
    model = headed(family, **{kind: KINDS[kind].spec(hidden=hidden, detach=True)})
    found = gradients(model, model(**batch_of(family), labels={kind: KINDS[kind].targets}).loss)
    assert found
    assert all(name.startswith(f"{kind}: ") for name in found)


def test_l12_detach_of_one_head_leaves_the_others_gradient_as_it_is() -> None:
    alone = headed(multiclass=KINDS["multiclass"].spec())
    both = headed(multiclass=KINDS["multiclass"].spec(), multilabel=KINDS["multilabel"].spec(detach=True))
    batch = batch_of()
    expected = gradients(alone, alone(**batch, labels={"multiclass": KINDS["multiclass"].targets}).loss)
    targets = {name: KINDS[name].targets for name in ("multiclass", "multilabel")}
    found = gradients(both, both(**batch, labels=targets).loss)
    assert_same_gradients({name: found[name] for name in expected}, expected)


def test_l12_labels_for_a_head_that_does_not_exist_are_rejected() -> None:
    model, batch = headed(**all_kinds()), batch_of()
    with pytest.raises(mh.errors.UnknownHeadError, match="multiklass"):
        model(**batch, labels={"multiklass": KINDS["multiclass"].targets})


# --- L14: missing labels --------------------------------------------------------------------------


@three_families
@every_kind
@every_depth
def test_l14_missing_rows_are_no_rows(family: str, kind: str, hidden: tuple[int, ...]) -> None:
    model, batch = headed(family, **{kind: KINDS[kind].spec(hidden=hidden)}), batch_of(family)
    targets = without(KINDS[kind].targets, [0, 3, 4])
    keep = present_rows(targets)

    out = model(**batch, labels={kind: targets})
    present = model(**rows_of(batch, keep), labels={kind: targets[keep]})

    torch.testing.assert_close(out.loss, present.loss, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, out.loss), gradients(model, present.loss))
    assert out.counts[kind] == present.counts[kind] == cells_of(kind, targets)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "ordinal"])
def test_l14_class_weights_see_only_the_rows_that_are_present(kind: str) -> None:
    model, batch = headed(**{kind: KINDS[kind].spec(class_weights=WEIGHTS)}), batch_of()
    targets = without(KINDS[kind].targets, [1, 6])
    keep = present_rows(targets)
    out = model(**batch, labels={kind: targets})
    by_hand = KINDS[kind].weighted(model(**batch).logits[kind][keep], targets[keep])
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, out.loss), gradients(model, by_hand))


@three_families
def test_l14_missing_at_random_per_head(family: str) -> None:
    model, batch = headed(family, **all_kinds()), batch_of(family)
    labels = {
        name: without(kind.targets, rows)
        for (name, kind), rows in zip(KINDS.items(), ([0, 1], [2], [3, 7], [5, 6, 7], [4]), strict=True)
    }
    out = model(**batch, labels=labels)
    by_hand = joint_by_hand(model, batch, labels)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, out.loss), gradients(model, by_hand))
    assert out.counts == {name: cells_of(name, labels[name]) for name in KINDS}
    assert out.counts == {"multiclass": 6, "multilabel": 21, "ordinal": 10, "regression": 5, "count": 7}


@every_depth
def test_l14_multilabel_cells_may_be_missing_one_by_one(hidden: tuple[int, ...]) -> None:
    model, batch = (
        headed(multilabel=KINDS["multilabel"].spec(hidden=hidden, class_weights=WEIGHTS)),
        batch_of(),
    )
    targets = KINDS["multilabel"].targets.clone()
    targets[0, 1] = targets[3, 0] = targets[3, 2] = targets[7] = NAN
    out = model(**batch, labels={"multilabel": targets})
    by_hand = KINDS["multilabel"].weighted(model(**batch).logits["multilabel"], targets)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, out.loss), gradients(model, by_hand))
    assert out.counts["multilabel"] == 24 - 6


@every_depth
@pytest.mark.parametrize("unlabelled", KINDS)
@pytest.mark.parametrize("absent", [True, False], ids=["key absent", "all missing"])
def test_l14_a_head_without_labels_gets_no_gradient(unlabelled: str, absent: bool, hidden: tuple[int, ...]) -> None:
    model, batch = headed(**all_kinds(hidden=hidden)), batch_of()
    labels = {name: targets for name, targets in all_targets().items() if name != unlabelled}
    by_hand = joint_by_hand(model, batch, labels)
    if not absent:
        labels[unlabelled] = without(KINDS[unlabelled].targets, list(range(ROWS)))

    out = model(**batch, labels=labels)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)
    expected = gradients(model, by_hand)
    found = gradients(model, out.loss)

    assert not any(name.startswith(f"{unlabelled}: ") for name in found)
    assert_same_gradients(found, {name: g for name, g in expected.items() if not name.startswith(f"{unlabelled}: ")})
    assert out.counts.get(unlabelled, 0) == 0


@every_depth
@pytest.mark.parametrize("unlabelled", KINDS)
def test_l14_adamw_does_not_move_a_head_without_labels(unlabelled: str, hidden: tuple[int, ...]) -> None:
    model, batch = headed(**all_kinds(hidden=hidden)), batch_of()
    optimizer = torch.optim.AdamW([p for _, p in parameters(model)], lr=1e-2, weight_decay=0.1)
    model(**batch, labels=all_targets()).loss.backward()
    optimizer.step()  # one step with labels: from here on there is momentum that could move it
    before = {name: parameter.detach().clone() for name, parameter in model.heads[unlabelled].named_parameters()}

    labels = {**all_targets(), unlabelled: without(KINDS[unlabelled].targets, list(range(ROWS)))}
    for _ in range(20):
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()

    for name, parameter in model.heads[unlabelled].named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name]), name
    other = next(name for name in KINDS if name != unlabelled)
    assert any(parameter.grad is not None for parameter in model.heads[other].parameters())


@three_families
@every_depth
@pytest.mark.parametrize("empty", [True, False], ids=["labels={}", "all missing"])
def test_l14_no_label_at_all_is_a_loss_of_zero_that_touches_nothing(
    family: str, empty: bool, hidden: tuple[int, ...]
) -> None:
    model = headed(family, **all_kinds(hidden=hidden))
    missing = {name: without(targets, list(range(ROWS))) for name, targets in all_targets().items()}
    out = model(**batch_of(family), labels={} if empty else missing)
    assert out.loss.item() == 0.0
    found = gradients(model, out.loss)
    assert all((tensor == 0).all() for tensor in found.values())
    assert not any(name.split(": ")[0] in KINDS for name in found)


@three_families
@every_kind
@pytest.mark.parametrize("pool", ["auto", "cls", "mean", "max", "last", "attention"])
def test_l14_a_row_without_a_token_never_becomes_nan(family: str, kind: str, pool: str) -> None:
    model, batch = headed(family, **{kind: KINDS[kind].spec(reads=mh.Hidden(pool=pool))}), batch_of(family)
    batch["attention_mask"][2] = 0
    keep = torch.arange(ROWS) != 2
    targets = KINDS[kind].targets

    unlabelled = model(**batch, labels={kind: without(targets, [2])})
    present = model(**rows_of(batch, keep), labels={kind: targets[keep]})
    torch.testing.assert_close(unlabelled.loss, present.loss, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, unlabelled.loss), gradients(model, present.loss))

    labelled = model(**batch, labels={kind: targets})
    assert labelled.logits[kind].isfinite().all()
    assert all(tensor.isfinite().all() for tensor in gradients(model, labelled.loss).values())


# --- L15: shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [ROWS, 1])
def test_l15_regression_takes_a_column_as_it_takes_a_row(rows: int) -> None:
    model, batch = headed(regression=mh.Regression()), batch_of(rows=rows)
    targets = KINDS["regression"].targets[:rows]
    flat = model(**batch, labels={"regression": targets}).loss
    column = model(**batch, labels={"regression": targets.unsqueeze(1)}).loss
    assert torch.equal(flat, column)
    torch.testing.assert_close(flat, F.mse_loss(model(**batch).logits["regression"][:, 0], targets))


R, C = KINDS["regression"].targets, KINDS["multiclass"].targets
REJECTED = {
    "regression, a row": ("regression", R.unsqueeze(0)),
    "regression, two columns": ("regression", torch.stack([R, R], dim=1)),
    "regression, three axes": ("regression", R[:, None, None]),
    "regression, a scalar": ("regression", R[0]),
    "regression, one for all": ("regression", R[:1]),
    "regression, too few": ("regression", R[:-1]),
    "regression, infinite": ("regression", torch.where(R > 3, torch.inf, R)),
    "regression, infinite in fp32": ("regression", torch.where(R > 3, 1e300, R.double())),
    "multiclass, a column": ("multiclass", C.unsqueeze(1)),
    "multiclass, a row": ("multiclass", C.unsqueeze(0)),
    "multiclass, a scalar": ("multiclass", C[0]),
    "multiclass, too few": ("multiclass", C[:-1]),
    "multiclass, one-hot": ("multiclass", F.one_hot(C, 3)),
    "multiclass, negative shares": ("multiclass", F.one_hot(C, 3).float() - 0.1),
    "multiclass, infinite shares": ("multiclass", F.one_hot(C, 3).float() * torch.inf),
    "multiclass, shares of zero": ("multiclass", torch.zeros(ROWS, 3)),
    "multiclass, shares in part": ("multiclass", torch.tensor([0.5, 0.5, NAN]).expand(ROWS, 3)),
    "multiclass, too few shares": ("multiclass", torch.full((ROWS, 2), 0.5)),
    "multiclass, floats": ("multiclass", C.float()),
    "multiclass, booleans": ("multiclass", C > 0),
    "multiclass, one too large": ("multiclass", torch.where(C == 2, 3, C)),
    "multiclass, negative": ("multiclass", torch.where(C == 2, -1, C)),
    "ordinal, a column": ("ordinal", C.unsqueeze(1)),
    "ordinal, ranks as numbers": ("ordinal", C.float()),
    "ordinal, one too large": ("ordinal", torch.where(C == 2, 3, C)),
    "ordinal, negative": ("ordinal", torch.where(C == 2, -1, C)),
    "ordinal, one column per task": ("ordinal", torch.stack([C > 0, C > 1], dim=1)),
    "multilabel, class positions": ("multilabel", C),
    "multilabel, one column too few": ("multilabel", KINDS["multilabel"].targets[:, :2]),
    "multilabel, one column": ("multilabel", KINDS["multilabel"].targets[:, :1]),
    "multilabel, one row": ("multilabel", KINDS["multilabel"].targets[:1]),
    "multilabel, a count": ("multilabel", KINDS["multilabel"].targets * 2),
    "multilabel, infinite": ("multilabel", KINDS["multilabel"].targets * torch.inf),
}


@pytest.mark.parametrize(("kind", "targets"), REJECTED.values(), ids=REJECTED)
def test_l15_labels_of_another_shape_dtype_or_range_are_rejected(kind: str, targets: Tensor) -> None:
    model = headed(**{kind: KINDS[kind].spec()})
    with pytest.raises(mh.errors.InputError, match=f"Head '{kind}'") as caught:
        model(**batch_of(), labels={kind: targets})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [[0] * ROWS, "urgent"], ids=["a list", "a name"])
def test_l15_labels_that_are_not_a_tensor_are_rejected(value: object) -> None:
    model = headed(multiclass=KINDS["multiclass"].spec())
    with pytest.raises(mh.errors.InputError, match="multiclass"):
        model(**batch_of(), labels={"multiclass": value})


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_l15_any_integer_dtype_names_the_same_classes(dtype: torch.dtype) -> None:
    model, batch = headed(multiclass=KINDS["multiclass"].spec()), batch_of()
    targets = without(C, [1])
    expected = model(**batch, labels={"multiclass": targets}).loss
    assert torch.equal(model(**batch, labels={"multiclass": targets.to(dtype)}).loss, expected)


# --- label smoothing ------------------------------------------------------------------------------


def test_l12_a_smoothed_multiclass_loss_is_that_of_smoothed_targets() -> None:
    targets = KINDS["multiclass"].targets
    model, batch = headed(smooth=mh.Multiclass(labels=LABELS, label_smoothing=0.2)), batch_of()
    out = model(**batch, labels={"smooth": without(targets, [1, 6])})
    kept = [row for row in range(ROWS) if row not in (1, 6)]
    logits = model(**batch).logits["smooth"][kept]
    by_hand = F.cross_entropy(logits, F.one_hot(targets[kept], 3) * 0.8 + 0.2 / 3)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)
    assert_same_gradients(gradients(model, out.loss), gradients(model, by_hand))


def test_l12_a_smoothed_multilabel_loss_is_that_of_smoothed_targets() -> None:
    targets = without(KINDS["multilabel"].targets, [2])
    model, batch = headed(smooth=mh.MultiLabel(labels=LABELS, label_smoothing=0.2)), batch_of()
    out = model(**batch, labels={"smooth": targets})
    by_hand = multilabel_loss(model(**batch).logits["smooth"], targets * 0.8 + 0.1)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)


def test_l12_a_smoothed_ordinal_loss_is_that_of_smoothed_tasks() -> None:
    targets = without(KINDS["ordinal"].targets, [2])
    model, batch = headed(smooth=mh.Ordinal(labels=LABELS, label_smoothing=0.2)), batch_of()
    out = model(**batch, labels={"smooth": targets})
    cells = [(row, task) for row in range(ROWS) for task in range(2) if targets[row] >= task]
    logits = torch.stack([model(**batch).logits["smooth"][cell] for cell in cells])
    beyond = torch.tensor([float(targets[row] > task) for row, task in cells])
    by_hand = F.binary_cross_entropy_with_logits(logits, beyond * 0.8 + 0.1)
    torch.testing.assert_close(out.loss, by_hand, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, NAN, True, "0.1"])
def test_a_smoothing_out_of_range_is_rejected(smoothing: object) -> None:
    with pytest.raises(mh.errors.HeadError, match="label_smoothing must be a number"):
        mh.Multiclass(labels=LABELS, label_smoothing=smoothing)
