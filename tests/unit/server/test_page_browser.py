"""The page at ``/``, clicked through in a headless Chromium against the real server.

Skipped on machines without Chromium; ``test_page_files.py`` and ``test_page_table.py`` test what needs none.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import manyheads as mh
from manyheads.server import ServerSettings
from manyheads.server.engine import PredictWork, TableWork
from tests.browser import CHROMIUM, Tab, browser_tab, wait_for
from tests.families import TEXTS
from tests.unit.server.page_tools import every_kind, served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; install the package chromium")

KEY = "correct horse"
TEXT = "severe chest pain 😀 since two hours"
CTRL, SHIFT = 2, 8


@pytest.fixture(scope="module")
def model(saved: Callable[[str], Path]) -> mh.HeadedModel:
    return every_kind(saved("gpt2"))


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def url(model: mh.HeadedModel) -> Iterator[str]:
    with served(model, ServerSettings(max_characters=5000)) as url:
        yield url


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Tab]:
    with browser_tab(downloads) as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab, url: str) -> Tab:
    """The page, freshly loaded."""
    browser.show_as(1280)
    browser.open("about:blank")
    browser.console.clear()
    browser.requested.clear()
    browser.open(url)
    browser.until("!document.getElementById('main').hidden")
    return browser


def ask(tab: Tab, text: str) -> None:
    tab.fill("#text", text)
    tab.click("#send")
    tab.until("document.getElementById('text-status').textContent.startsWith('Answered')")


def bars(tab: Tab, head: str) -> dict[str, str]:
    found = tab.value(
        f"[...document.querySelectorAll('[data-head={head}] .labels li')]"
        ".map((row) => [row.querySelector('bdi').textContent, row.querySelector('.percent').textContent])"
    )
    return dict(found)


def test_the_answers_are_those_of_predict(tab: Tab, model: mh.HeadedModel, url: str) -> None:
    row = model.predict([TEXT])[0]
    ask(tab, TEXT)
    for head in ("urgency", "pain", "symptoms"):
        for label, shown in bars(tab, head).items():
            expected = row[head].scores[label] * 100
            assert shown in ("< 0.1%", "> 99.9%") or float(shown[:-1]) == pytest.approx(expected, abs=0.0501)
    assert tab.text("[data-head=pain] .answer bdi") == row["pain"].label
    assert list(bars(tab, "pain")) == ["none", "mild", "strong"]
    assert tab.text("[data-head=urgency] .answer") == "Abstained"
    assert f"Its best label is {row['urgency'].label}" in tab.text("[data-head=urgency] .note.strong")
    assert tab.text("[data-head=urgency] .chip") == "in the set"
    assert tab.text("[data-head=symptoms] .answer") == ", ".join(row["symptoms"].labels) or "None of the labels"
    assert float(tab.text("[data-head=days] .answer")) == pytest.approx(row["days"].value, rel=1e-4)
    assert "Hidden(layer=-1" in tab.text("[data-head=urgency] .reads")
    assert tab.console == []
    assert {one for one in tab.requested if not one.startswith(("data:", url))} == set()


def test_spans_are_marked_where_they_are(tab: Tab, model: mh.HeadedModel) -> None:
    ask(tab, TEXT)
    spans = model.predict([TEXT])[0]["words"].spans
    marks = tab.value("[...document.querySelectorAll('[data-head=words] mark')].map((one) => one.firstChild.data)")
    assert spans
    assert marks == [TEXT[span.start : span.end] for span in spans]
    assert tab.text("[data-head=words] .tag").startswith(spans[0].label)


def test_nothing_moves_when_the_answers_arrive(tab: Tab) -> None:
    tops = "[...document.querySelectorAll('.card h3, #call')].map((one) => one.getBoundingClientRect().top + scrollY)"
    before = tab.value(tops)
    ask(tab, TEXT)
    # The card with the marked text is the last one: only what is below it may move.
    assert tab.value(tops)[:-1] == before[:-1]


def test_it_works_with_the_keyboard_alone(tab: Tab) -> None:
    tab.press("Tab", 9)
    assert tab.value("document.activeElement.className") == "skip"
    tab.press("Enter", 13)
    assert tab.value("location.hash") == "#text"
    tab.press("Tab", 9)
    tab.press("Tab", 9, SHIFT)
    assert tab.value("document.activeElement.id") == "text"
    tab.type("mild cough")
    tab.press("Enter", 13, CTRL)
    tab.until("document.getElementById('text-status').textContent.startsWith('Answered by 5 heads')")
    tab.press("Tab", 9)
    assert tab.value("document.activeElement.id") == "send"
    assert tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert tab.value("document.getElementById('text-status').getAttribute('aria-live')") == "polite"


def test_a_screen_reader_has_a_name_for_everything(tab: Tab) -> None:
    ask(tab, TEXT)
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    parts = [(node["role"]["value"], node["name"]["value"]) for node in nodes if "name" in node and not node["ignored"]]
    controls = {
        "button",
        "textbox",
        "combobox",
        "checkbox",
        "radio",
        "spinbutton",
        "link",
        "region",
        "group",
        "article",
    }
    assert {"Ask the heads", "Continue the text", "Copy"} <= {name for role, name in parts if role == "button"}
    assert {("textbox", "Write or paste a text"), ("spinbutton", "by at most"), ("article", "Head pain")} <= set(parts)
    assert [role for role, name in parts if role in controls and not name.strip()] == []


def test_the_call_is_copied(tab: Tab) -> None:
    tab.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    ask(tab, TEXT)
    tab.click("#copy")
    tab.until("document.getElementById('copy-status').textContent === 'The call is copied.'")
    assert tab.value("navigator.clipboard.readText()") == tab.text("#code")


def test_what_is_unusual_is_told_in_words(tab: Tab) -> None:
    ask(tab, "pain " * 100)
    assert tab.text("#text-status").endswith("longer than 64 tokens: only its beginning was read.")
    ask(tab, "  ")
    assert "empty" in tab.text("#text-status")
    tab.fill("#text", "pain " * 1001)
    tab.click("#send")
    tab.until("document.getElementById('text-problem').textContent")
    assert tab.text("#text-problem") == "The text has 5,005 characters, at most 5,000 are allowed."
    assert tab.text("#text-status") == ""
    assert tab.text("[data-head=days] .answer") == "—"
    tab.fill("#text", "")
    tab.click("#send")
    assert tab.text("#text-problem") == "Write or paste a text first."


def test_a_question_can_be_stopped(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, run = threading.Event(), PredictWork.run

    def held(work: PredictWork, *rest: object) -> object:
        assert opened.wait(20)
        return run(work, *rest)

    monkeypatch.setattr(PredictWork, "run", held)
    tab.fill("#text", TEXT)
    tab.value("document.getElementById('send').focus()")
    tab.press("Enter", 13)
    tab.until("document.activeElement.id === 'stop'")
    assert tab.value("document.getElementById('text-progress').className") == "bar busy"
    assert tab.text("#text-status").startswith("The heads read the text")
    tab.press("Enter", 13)
    tab.until("document.getElementById('text-status').textContent === 'Stopped.'")
    assert tab.value("document.activeElement.id") == "send"
    assert tab.value("document.getElementById('text-progress').className") == "bar"
    opened.set()
    ask(tab, TEXT)
    assert tab.text("#text-problem") == ""


def test_another_model_is_told_of(tab: Tab) -> None:
    tab.value(
        "{ const real = window.fetch; window.fetch = async (...given) => new Response("
        '(await (await real(...given)).text()).replace(/("fingerprint":")\\w+/, \'$1other\')); }'
    )
    ask(tab, TEXT)
    assert tab.text("#text-status").endswith("The server has loaded another model: reload this page.")


NASTY = 'it\'s "fever" \\ $HOME `id` \n</script> {{ 1 }} ü\u2028'


NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


@pytest.mark.parametrize("language", [pytest.param("curl", marks=NEEDS_CURL), "python", "javascript"])
def test_the_call_that_is_shown_gets_the_same_answer(tab: Tab, model: mh.HeadedModel, language: str) -> None:
    ask(tab, NASTY)
    tab.click(f"label:has([value={language}])")
    code = tab.value("document.getElementById('code').textContent")
    if language == "javascript":
        # In the page, so that no other server has to allow the call; the console's line becomes the result.
        code = code.replace("console.log(", "return (")
        answer = tab.value(f"(async () => {{ {code} }})()")
    else:
        command = ["bash", "-c", code] if language == "curl" else [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
        answer = json.loads(done.stdout)["predictions"][0] if language == "curl" else eval(done.stdout)
    expected = model.predict([NASTY])[0]
    assert answer["pain"]["score"] == expected["pain"].score
    assert answer["days"]["value"] == expected["days"].value


def test_a_key_is_asked_for_and_never_shown(browser: Tab, model: mh.HeadedModel) -> None:
    with served(model, ServerSettings(api_key=KEY)) as url:
        browser.open(url)
        browser.until("!document.getElementById('key-form').hidden")
        browser.fill("#key", "wrong")
        browser.press("Enter", 13)
        browser.until("document.getElementById('key-problem').textContent === 'This is not the key.'")
        browser.fill("#key", KEY)
        browser.press("Enter", 13)
        browser.until("!document.getElementById('main').hidden")
        assert browser.value("document.getElementById('key-form').hidden")
        ask(browser, TEXT)
        assert "$MANYHEADS_KEY" in browser.text("#code")
        assert KEY not in browser.value("document.documentElement.outerHTML")
        assert browser.value("document.getElementById('key').value") == ""
        assert (
            browser.value("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])") == '[{},{},""]'
        )
        browser.open("about:blank")


def table_file(folder: Path, rows: int) -> Path:
    path = folder / "notes.csv"
    lines = [f'{row};"{TEXTS[row % len(TEXTS)]}";=1+{row};-5' for row in range(rows)]
    path.write_text("\n".join(["id;note;sum;less", *lines, "x;too;many;cells;here"]) + "\n", "utf-8")
    return path


def test_a_table_is_scored_and_saved(tab: Tab, model: mh.HeadedModel, tmp_path: Path, downloads: Path) -> None:
    source = table_file(tmp_path, 600)
    tab.choose_file("#file", source)
    tab.until("!document.getElementById('table-options').hidden")
    assert tab.value("document.getElementById('column').value") == "note"
    assert TEXTS[0] in tab.text("#preview")
    tab.click("#table-heads label:has([value=words])")
    tab.click("#score")
    tab.until("document.getElementById('table-status').textContent.startsWith('601 rows scored')")
    assert "1 row could not be scored" in tab.text("#table-status")
    assert tab.value("document.getElementById('table-progress').value") == 1
    assert tab.text("#preview th").lower() == "note"
    assert "heads=urgency,pain,symptoms,days" in tab.text("#code")
    tab.click("#save")
    tab.click("#save-spreadsheet")
    exact, marked = (
        wait_for(lambda name=name: complete(downloads / name), name)
        for name in ("scored.csv", "scored-spreadsheet.csv")
    )
    out = tmp_path / "out.csv"
    heads = ["urgency", "pain", "symptoms", "days"]
    mh.Predictor(model).score_table(source, out, text="note", heads=heads)
    expected = list(csv.DictReader(io.StringIO(out.read_text("utf-8"))))
    found = list(csv.DictReader(io.StringIO(exact)))
    assert [row["pain_label"] for row in found] == [row["pain_label"] for row in expected]
    assert [row["sum"] for row in found] == [row["sum"] for row in expected]
    assert marked.startswith("\ufeff")
    for_people = list(csv.DictReader(io.StringIO(marked.removeprefix("\ufeff"))))
    assert for_people[1]["sum"] == "'=1+1"
    assert [{**row, "sum": row["sum"].removeprefix("'")} for row in for_people] == found
    assert tab.console == []


def complete(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def test_scoring_a_table_can_be_cancelled_and_begun_again(
    tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, run, blocks = threading.Event(), TableWork.run, []

    def held(work: TableWork, *rest: object) -> object:
        blocks.append(work)
        if len(blocks) == 2:
            assert opened.wait(20)
        return run(work, *rest)

    monkeypatch.setattr(TableWork, "run", held)
    tab.choose_file("#file", table_file(tmp_path, 1200))
    tab.until("!document.getElementById('table-options').hidden")
    tab.click("#score")
    tab.until("/ [1-9][0-9]* of 1,201 rows/.test(document.getElementById('table-status').textContent)")
    tab.click("#cancel")
    tab.until("document.getElementById('table-status').textContent === 'Stopped.'")
    opened.set()
    assert tab.value("document.getElementById('save').hidden")
    tab.click("#score")
    tab.until("document.getElementById('table-status').textContent.startsWith('1,201 rows scored')")


def test_a_table_can_be_dropped(tab: Tab) -> None:
    dropped = "const data = new DataTransfer(); data.items.add(new File(['note\\tx\\nmild cough\\t1\\n'], 'few.tsv'));"
    event = "new DragEvent('drop', {dataTransfer: data, cancelable: true})"
    tab.value(f"{{ {dropped} document.getElementById('drop').dispatchEvent({event}); }}")
    tab.until("!document.getElementById('table-options').hidden")
    tab.click("#score")
    tab.until("document.getElementById('table-status').textContent === '1 row scored.'")
    assert "text/tab-separated-values" in tab.text("#code")


def test_a_table_that_is_none_is_told(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_bytes(b"PK\x03\x04\0\0\0")
    tab.choose_file("#file", path)
    tab.until("document.getElementById('file-problem').textContent")
    assert "Export it as CSV (UTF-8)" in tab.text("#file-problem")


def test_the_text_is_continued_by_the_language_model(tab: Tab, url: str) -> None:
    body = json.dumps({"text": TEXT, "max_new_tokens": 12}).encode()
    request = urllib.request.Request(f"{url}generate", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    tab.fill("#text", TEXT)
    tab.fill("#tokens", "12")
    tab.click("#generate")
    tab.until("document.getElementById('generate-status').textContent.endsWith('generated.')")
    assert tab.value("document.getElementById('generated-text').textContent") == TEXT + answer["texts"][0]
    assert tab.text("#generate-status").split()[0] == str(answer["usage"]["output_tokens"])
    assert json.dumps({"text": TEXT, "max_new_tokens": 12}, separators=(",", ":"), ensure_ascii=False) in tab.text(
        "#code"
    )


def test_more_tokens_than_allowed_are_told_of(tab: Tab) -> None:
    tab.fill("#text", TEXT)
    tab.fill("#tokens", "1000000")
    tab.click("#generate")
    tab.until("document.getElementById('generate-problem').textContent")
    assert tab.text("#generate-problem").startswith("The number of tokens is 1,000,000, at most ")


STREAM = """
window.fetch = async () => new Response(new ReadableStream({start(control) {
  const bytes = new TextEncoder().encode(%s);
  for (let at = 0; at < bytes.length; at += 7) control.enqueue(bytes.slice(at, at + 7));
  control.close();
}}), {status: 200})
"""


def sse(*events: tuple[str, object]) -> str:
    return ": alive\r\n\r\n" + "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)


@pytest.mark.parametrize(
    ("stream", "text", "status", "problem"),
    [
        (
            sse(
                ("predictions", {}),
                ("text", {"text": " wörse 😀"}),
                ("text", {"text": "\n\n."}),
                ("end", {"usage": {"output_tokens": 4}}),
            ),
            f"{TEXT} wörse 😀\n\n.",
            "4 tokens generated.",
            "",
        ),
        (
            sse(("text", {"text": " and"}), ("error", {"detail": {"message": "too slow"}})),
            f"{TEXT} and",
            "",
            "Too slow.",
        ),
        (sse(("text", {"text": " and"})), f"{TEXT} and", "", "The connection ended before the text did."),
    ],
)
def test_generated_text_is_shown_while_it_arrives(tab: Tab, stream: str, text: str, status: str, problem: str) -> None:
    tab.fill("#text", TEXT)
    tab.value(f"void ({STREAM % json.dumps(stream)})")
    tab.click("#generate")
    done = "document.getElementById('generate-stop').hidden"
    tab.until(f"{done} && document.getElementById('generated-text').textContent === {json.dumps(text)}")
    assert tab.text("#generate-status") == status
    assert tab.text("#generate-problem") == problem
    assert '"max_new_tokens":40' in tab.text("#code")


def test_a_server_that_does_not_generate_is_told_of(tab: Tab) -> None:
    tab.value('void (window.fetch = async () => new Response(\'{"detail": "Not Found"}\', {status: 404}))')
    tab.fill("#text", TEXT)
    tab.click("#generate")
    tab.until("document.getElementById('generate-problem').textContent")
    assert tab.text("#generate-problem") == "This server does not offer to generate text."


def test_a_language_model_without_heads_is_asked_for_text(browser: Tab, saved: Callable[[str], Path]) -> None:
    with served(mh.HeadedModel.from_pretrained(saved("gpt2"))) as url:
        browser.open(url)
        browser.until("!document.getElementById('main').hidden")
        assert browser.value("['send', 'table', 'answers'].every((id) => document.getElementById(id).hidden)")
        assert "generate" in browser.text("#code")
        browser.value(f"void ({STREAM % json.dumps(sse(('text', ' and'), ('end', {})))})")
        browser.fill("#text", TEXT)
        browser.press("Enter", 13, CTRL)
        browser.until("document.getElementById('generate-status').textContent === 'The text is complete.'")
        assert browser.text("#generated-text") == f"{TEXT} and"
        browser.open("about:blank")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(tab: Tab, width: int) -> None:
    tab.show_as(width)
    ask(tab, "cough" * 60)
    assert tab.value("document.documentElement.scrollWidth") <= width


def test_dark_is_dark(tab: Tab) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    assert tab.value(color) == "rgb(255, 255, 255)"
    tab.show_as(1280, is_dark=True)
    assert tab.value(color) == "rgb(20, 24, 29)"


def test_heads_with_many_labels_show_the_most_probable_ones(browser: Tab, saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("group", mh.Multiclass(list(range(50))))
    model.add_head("code", mh.Multiclass(list(range(250))))
    rows = [{"note": TEXTS[row % 12], "group": row % 50, "code": row} for row in range(250)]
    mh.train(model, rows, text="note", method=mh.Frozen(l2=0.1, cache=None), eval_fraction=0)
    with served(model) as url:
        browser.open(url)
        browser.until("!document.getElementById('main').hidden")
        assert browser.value("document.getElementById('generate-form').hidden")
        ask(browser, TEXTS[0])
        for head, total, words in (("group", 50, "Show all 50"), ("code", 200, "Show 200 of 250")):
            scores = model.predict([TEXTS[0]])[0][head].scores
            most = sorted(scores, key=lambda label, scores=scores: -scores[label])[:total]
            assert list(bars(browser, head)) == [str(label) for label in most]
            visible = f"[...document.querySelectorAll('[data-head={head}] li')].filter((row) => !row.hidden).length"
            assert browser.value(visible) == 5
            assert browser.text(f"[data-head={head}] .more") == words
            browser.click(f"[data-head={head}] .more button")
            assert browser.value(visible) == total
        browser.open("about:blank")
