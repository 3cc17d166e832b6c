"""What a browser makes of a page."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.browser import CHROMIUM

OPTIONS = (
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
)

# Measures the page in frames of several widths, with everything that is folded opened.
MEASURE = """<!doctype html><title>measure</title><pre></pre>
FRAMES
<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach(one => one.open = true);
    const width = page.documentElement.clientWidth;
    const pictures = [...page.querySelectorAll("svg")];
    const outside = [...page.querySelectorAll("svg text")].filter(text => {
      const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
      return box.x < -1 || box.x + box.width > view.width + 1 || box.y < -1 || box.y + box.height > view.height + 1;
    });
    return {
      width: width,
      scrolled: page.documentElement.scrollWidth,
      pictures: pictures.length,
      unseen: pictures.filter(one => one.getBoundingClientRect().width < 20).length,
      outside: outside.map(text => text.textContent),
    };
  });
  document.querySelector("pre").textContent = JSON.stringify(found);
});
</script>"""


def measured_in_browser(page: Path, widths: Sequence[int]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what is measured of a page in a frame of each width, and the lines of the console."""
    frame = '<iframe src="{}" style="border:0;width:{}px;height:900px"></iframe>'
    frames = "".join(frame.format(page.name, width) for width in widths)
    folder = page.parent
    (folder / "measure.html").write_text(MEASURE.replace("FRAMES", frames), encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *OPTIONS, profile, "--dump-dom", (folder / "measure.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    measured = re.search("<pre>(.*?)</pre>", done.stdout, re.S)
    assert measured, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(measured[1])), console
