"""The page at ``/`` continues a text by ``POST /generate``, and stops when told so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manyheads.server import ServerSettings
from tests.browser import CHROMIUM, browser_tab
from tests.families import TEXTS
from tests.unit.server.page_tools import served
from tests.unit.server.test_generate_requests import ENDLESS, endless_model

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; install the package chromium")


def test_the_page_shows_the_text_of_the_server(tmp_path: Path) -> None:
    model = endless_model()
    texts, _ = model.generate_and_predict(TEXTS[:1], max_new_tokens=8)
    with served(model, ServerSettings(max_new_tokens=ENDLESS)) as url, browser_tab(tmp_path) as tab:
        tab.open(url)
        tab.until("!document.getElementById('main').hidden")
        tab.fill("#text", TEXTS[0])
        tab.fill("#tokens", "8")
        tab.click("#generate")
        tab.until("document.getElementById('generate-status').textContent === '8 tokens generated.'")
        assert tab.text("#generated-text") == TEXTS[0] + texts[0]
        tab.fill("#tokens", str(ENDLESS))
        tab.click("#generate")
        tab.until(
            f"document.getElementById('generated-text').textContent.startsWith({json.dumps(TEXTS[0] + texts[0])})"
        )
        tab.click("#generate-stop")
        tab.until("document.getElementById('generate-stop').hidden")
        assert tab.text("#generated-text").startswith(TEXTS[0] + texts[0])
        tab.open("about:blank")
