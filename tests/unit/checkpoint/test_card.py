"""The model card: what it shows, what it never shows, and that a person's edits stay."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

import manyheads as mh
from manyheads.backbone.identity import source
from manyheads.checkpoint.card.seal import CARD

Saved = Callable[[str], Path]
ROWS = [
    {"text": f"{word} since day {row}", "urgency": ["low", "high"][row % 2], "hours": float(row % 5)}
    for row, word in enumerate(["mild cough", "chest pain"] * 20)
]


@pytest.fixture
def model(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    return model


def card_of(folder: Path) -> ModelCard:
    return ModelCard.load(folder / CARD)


def card_with(model: mh.HeadedModel, folder: Path, overwrite: bool = False) -> str:
    model.save_pretrained(folder, overwrite=overwrite)
    return (folder / CARD).read_text("utf-8")


def section(text: str, title: str) -> str:
    """Return the text under a heading, up to the next heading of the same or a higher level."""
    level = len(title) - len(title.lstrip("#"))
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def parsed(text: str) -> Iterator[Token]:
    """Yield all tokens of a card's Markdown, as GitHub and the hub read it."""
    for token in MarkdownIt("commonmark").enable("table").parse(ModelCard(text).text):
        yield token
        yield from token.children or ()


def run_snippets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a card's Python in its folder, and return what it prints."""
    monkeypatch.chdir(folder)
    printed, names = io.StringIO(), {"__name__": "snippet"}
    snippets = re.findall(r"```python\n(.*?)```", (folder / CARD).read_text("utf-8"), re.DOTALL)
    with contextlib.redirect_stdout(printed):
        for snippet in snippets:
            exec(snippet, names)
    assert snippets
    return printed.getvalue()


# --- what it shows --------------------------------------------------------------------------------


def test_the_card_of_a_trained_model(
    model: mh.HeadedModel, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.add_head("hours", mh.Regression())
    model.add_head("later", mh.Multiclass(labels=["a", "b"]))
    out = tmp_path / "private name" / "model"
    result = mh.train(model, ROWS, "text", mh.Frozen(), heads=["urgency", "hours"], eval_fraction=0.25, out=out)
    text, card = (out / CARD).read_text("utf-8"), card_of(out)

    measured = {(one.dataset_config, one.metric_name.replace(" ", "_")): one for one in card.data.eval_results}
    expected = {
        (head, name): value
        for head, values in result.metrics.items()
        for name, value in values.items()
        if name not in ("rows", "majority_accuracy")
    }
    assert {key: one.metric_value for key, one in measured.items()} == {
        key: round(value, 4) for key, value in expected.items()
    }
    assert {one.dataset_args["rows"] for one in measured.values()} == {result.rows["urgency"]["evaluate"]}
    assert (card.data.library_name, card.data.pipeline_tag) == ("manyheads", "text-classification")
    assert card.data.base_model is None
    assert card.data.license is None

    urgency = section(text, "### `urgency`")
    rows = result.rows["urgency"]["train"]
    assert f"`Multiclass`, 2 labels, trained on {rows} rows. It reads `{result.reads['urgency']}`" in urgency
    counts = [
        sum(ROWS[row]["urgency"] == label for row in set(range(40)) - set(result.evaluated))
        for label in ("low", "high")
    ]
    assert f"| `low` | {counts[0]} |\n| `high` | {counts[1]} |" in urgency
    assert "not trained" in section(text, "### `later`")
    assert "is **unchanged**" in section(text, "## Language model")
    assert f"| `hours` | `text` → `hours` | {rows} | {40 - rows} | `Frozen` |" in section(text, "## Data and training")
    for title in ("## Intended use", "## Limitations", "## Origin of the data", "## Contact"):
        assert "[More Information Needed]" in section(text, title)
    for secret in (str(tmp_path), str(saved("gpt2")), "private name"):
        assert secret not in text

    with pytest.warns(mh.errors.UntrainedHeadWarning):
        printed = run_snippets(out, monkeypatch)
    assert "'urgency': Prediction(label=" in printed


def test_every_setting_of_a_decision_is_described(model: mh.HeadedModel, tmp_path: Path) -> None:
    head = model.heads["urgency"]
    neutral = section(card_with(model, tmp_path / "neutral"), "### `urgency`")
    assert "Scores are used as they are" in neutral
    head.decision = mh.Decision(
        temperature=1.75,
        abstain_below=0.625,
        abstain_by="probability",
        max_error=0.03125,
        confidence=0.96875,
        set_threshold=0.0625,
        set_by="aps",
        set_coverage=0.9375,
        costs=[[0, 10], [3.5, 0]],
    )
    described = section(card_with(model, tmp_path / "decided"), "### `urgency`")
    for words in (
        "temperature 1.75",
        "(`probability`) is below 0.625",
        "(APS, Romano et al. 2020) have the threshold 0.0625",
    ):
        assert words in described
    assert "At most 0.03125 of the answers are wrong, with a confidence of 0.9688" in described
    assert "right label of at least 0.9375 of the texts" in described
    assert (
        "| right label | `low` | `high` |\n| --- | --- | --- |\n| `low` | 0 | 10 |\n| `high` | 3.5 | 0 |" in described
    )
    named = {*head.decision.settings, "thresholds", "set_by", "abstain_by"}
    assert named == {item.name for item in fields(mh.Decision)}, "describe the new settings in the card too"


def test_loading_and_saving_again_gives_the_same_card(model: mh.HeadedModel, tmp_path: Path) -> None:
    mh.train(model, ROWS, "text", mh.Full(epochs=1), out=tmp_path / "first")
    first = (tmp_path / "first" / CARD).read_text("utf-8")
    assert "is **changed**" in section(first, "## Language model")
    assert re.search(r"perplexity on .* `urgency` was [\d.]+ before that training and [\d.]+ after it", first)
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "first")
    assert card_with(loaded, tmp_path / "second") == first
    assert card_with(loaded, tmp_path / "first", overwrite=True) == first


def test_heads_saved_without_their_backbone(model: mh.HeadedModel, tmp_path: Path) -> None:
    model.save_head("urgency", tmp_path / "head")
    text = (tmp_path / "head" / CARD).read_text("utf-8")
    assert 'from_pretrained("path/to/its/backbone")\nmodel.load_head(".")' in text
    assert str(tmp_path) not in text
    assert card_of(tmp_path / "head").data.eval_results is None, "nothing was measured"


def test_the_pipeline_tag_follows_the_heads(saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    tags = []
    for number, head in enumerate((None, mh.Tokens(labels=["drug"]), mh.Regression())):
        if head is not None:
            model.add_head(f"head_{number}", head)
        model.save_pretrained(tmp_path / str(number))
        tags.append(card_of(tmp_path / str(number)).data.pipeline_tag)
    assert tags == [None, "token-classification", "text-classification"]


@pytest.fixture
def on_hub(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the hub id ``clinic/notes-gpt2`` is downloaded to."""
    folder = Path(shutil.copytree(saved("gpt2"), tmp_path / "cache" / "snapshot"))
    (folder / CARD).write_text("---\nlicense: apache-2.0\nlanguage: en\n---\n# Notes\n", encoding="utf-8")
    monkeypatch.setattr(source, "download", lambda name, revision, trust_remote_code: folder)
    return folder


def test_a_base_from_the_hub_is_named_through_every_save(on_hub: Path, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained("clinic/notes-gpt2")
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    model.save_pretrained(tmp_path / "0")
    model.save_head("urgency", tmp_path / "head")
    assert 'from_pretrained("clinic/notes-gpt2")' in (tmp_path / "head" / CARD).read_text("utf-8")
    changed = []
    for step in range(4):
        card = card_of(tmp_path / str(step))
        assert (card.data.base_model, card.data.license) == ("clinic/notes-gpt2", "apache-2.0")
        assert "[clinic/notes-gpt2](https://huggingface.co/clinic/notes-gpt2)" in card.text
        changed.append("is **changed**" in card.text)
        model = mh.HeadedModel.from_pretrained(tmp_path / str(step))
        if step == 1:
            with torch.no_grad():
                next(model.backbone.parameters()).add_(0.01)
        model.save_pretrained(tmp_path / str(step + 1))
        shutil.rmtree(tmp_path / str(step))
    assert changed == [False, False, True, True]
    model.save_head("urgency", tmp_path / "changed head")
    assert 'from_pretrained("path/to/its/backbone")' in (tmp_path / "changed head" / CARD).read_text("utf-8")


@pytest.mark.parametrize(
    "content", [b"---\nlicense: [\n---\n", b"\xff\xfe\x00", b"---\n- 1\n---\n", b"---\nlicense: 3\n---"]
)
def test_a_damaged_card_of_the_backbone_states_no_license(on_hub: Path, tmp_path: Path, content: bytes) -> None:
    (on_hub / CARD).write_bytes(content)
    mh.HeadedModel.from_pretrained("clinic/notes-gpt2").save_pretrained(tmp_path / "out")
    assert card_of(tmp_path / "out").data.license is None


# --- edits ----------------------------------------------------------------------------------------

EDITS = {
    "a sentence": lambda text: text.replace("[More Information Needed]", "For nurses.", 1).encode(),
    "metadata": lambda text: text.replace("library_name", "license: mit\nlibrary_name", 1).encode(),
    "its end": lambda text: f"{text}\nOne more line.\n".encode(),
    "no last line": lambda text: text[: text.index("<!-- Written by")].encode(),
    "another text": lambda text: b"\xff not UTF-8",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_card_is_kept(model: mh.HeadedModel, tmp_path: Path, edit: Callable[[str], bytes]) -> None:
    out = tmp_path / "out"
    edited = edit(card_with(model, out))
    (out / CARD).write_bytes(edited)
    model.save_pretrained(out, overwrite=True)
    assert (out / CARD).read_bytes() == edited
    result = mh.train(model, ROWS, "text", out=out, overwrite=True)
    assert (out / CARD).read_bytes() == edited
    assert any("README.md was edited, so it was kept" in note for note in result.notes)
    model.save_pretrained(out, overwrite=True)
    model.save_head("urgency", out, overwrite=True)
    assert (out / CARD).read_bytes() == edited
    assert CARD not in json.loads((out / "heads.json").read_text("utf-8"))["files"]


@pytest.mark.parametrize("change", ["none", "line ends", "spaces at the end", "deleted"])
def test_a_card_that_nobody_edited_follows_the_model(model: mh.HeadedModel, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    text = card_with(model, out)
    if change == "deleted":
        (out / CARD).unlink()
    else:
        ends = {"none": text, "line ends": text.replace("\n", "\r\n"), "spaces at the end": f"{text} \n\n"}
        (out / CARD).write_bytes(ends[change].encode())
    result = mh.train(model, ROWS, "text", out=out, overwrite=True)
    assert "trained on 36 rows" in (out / CARD).read_text("utf-8")
    assert not any("README.md" in note for note in result.notes)


def test_a_damaged_card_does_not_prevent_loading(model: mh.HeadedModel, tmp_path: Path) -> None:
    for content in (b"", b"\xff\x00", b"---\nmodel-index: [\n---\n", b"---\n" * 1000):
        model.save_pretrained(tmp_path / "out", overwrite=True)
        (tmp_path / "out" / CARD).write_bytes(content)
        assert list(mh.HeadedModel.from_pretrained(tmp_path / "out").heads) == ["urgency"]
        (tmp_path / "out" / CARD).unlink()
        assert list(mh.HeadedModel.from_pretrained(tmp_path / "out").heads) == ["urgency"]


# --- hostile texts --------------------------------------------------------------------------------

HOSTILE = [
    "a|b", "`", "``a`", "<script>alert(1)</script>", "<!-- open", "--> closed", "line\nbreak\r\n# heading", "---",
    "[link](https://x.y)", "![i](x)", "**bold**", "\\", "{{ 7 * 7 }}{% raw %}", " spaces ", "\u202eright to left",
    "\x00\x1b[31m", "x" * 5000, "größe", "|", "$$x$$", "a\u2028b", "1. item", "&lt;b&gt;",
]  # fmt: skip


def test_hostile_labels_and_columns_are_inert(saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("__class__", mh.MultiLabel(labels=HOSTILE, column="| <b>\n"))
    head = model.heads["__class__"]
    head.decision = mh.Decision(thresholds=[0.25] * len(HOSTILE))
    head.summary = {
        "method": "<i>|", "text": ["a|b", "\n\n# c"], "settings": {"place": "/home/me/x", "l2": 1},
        "rows": {"train": 9}, "label_rows": [1] * len(HOSTILE), "metrics": {"<b>": 1.0},
    }  # fmt: skip
    text = card_with(model, tmp_path / "out")
    tokens = list(parsed(text))
    comments = [token.content for token in tokens if token.type == "html_block"]
    assert len(comments) == 5
    assert all(comment.startswith("<!-- ") and comment.endswith(" -->\n") for comment in comments)
    kinds = Counter(token.type for token in tokens)
    assert (kinds["html_inline"], kinds["image"]) == (0, 0)
    assert (kinds["link_open"], kinds["strong_open"]) == (1, 1), "more than the template has"
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    assert len(headings) == 11
    shown = [line for line in text.splitlines() if line.endswith("| 1 | 0.25 |")]
    assert len(shown) == len(HOSTILE)
    codes = {token.content for token in tokens if token.type == "code_inline"}
    for label in (
        "a|b",
        "``a`",
        "<script>alert(1)</script>",
        "line break # heading",
        "{{ 7 * 7 }}{% raw %}",
        "[31m",
        "|",
    ):
        assert label in codes
    assert max(map(len, codes)) <= 100
    assert "/home/me" not in text
    cells = sum(token.type == "td_open" for token in tokens)
    assert cells == 3 * len(HOSTILE) + 6, "a table has more cells or fewer"
    assert list(mh.HeadedModel.from_pretrained(tmp_path / "out").heads["__class__"].spec.labels) == HOSTILE


def test_labels_of_other_types_are_told_apart(saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("code", mh.Multiclass(labels=[1, "1", 1.5, "a"]))
    assert 'Labels: `1`, `"1"`, `1.5`, `"a"`.' in card_with(model, tmp_path / "out")


def test_many_labels_are_shortened(saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("topic", mh.Multiclass(labels=[f"topic {number}" for number in range(150)]))
    text = card_with(model, tmp_path / "out")
    assert "`topic 29` and 120 more; `heads.json` has all of them." in text
    assert "topic 30" not in text


@pytest.mark.parametrize(
    "summary",
    [{"method": 3, "rows": 1, "metrics": [1], "settings": "x"}, {"rows": {}, "label_rows": [1], "lm_check": 0}],
)
def test_a_summary_of_another_form_does_not_prevent_saving(
    model: mh.HeadedModel, tmp_path: Path, summary: dict[str, object]
) -> None:
    model.heads["urgency"].summary = summary
    assert "### `urgency`" in card_with(model, tmp_path / "out")
