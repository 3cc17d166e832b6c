"""``manyheads cache``: list and clear cached features."""

from __future__ import annotations

import datetime
import json
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from manyheads.features.cache import Entry, FeatureCache, open_cache

_MEGABYTE = 1e6


def run_list(folder: str, as_json: bool) -> None:
    """List the stores, the last used first."""
    cache = open_cache(folder)
    assert cache is not None
    entries = cache.entries()
    if as_json:
        print(
            json.dumps({"folder": str(cache.folder), "limit": cache.limit, "stores": [_record(one) for one in entries]})
        )
    else:
        _show(cache, entries)


def run_clear(folder: str) -> None:
    """Delete every store."""
    cache = open_cache(folder)
    assert cache is not None
    freed = cache.clear()
    print(f"{cache.folder}: {freed / _MEGABYTE:,.1f} MB freed")


def _record(entry: Entry) -> dict[str, Any]:
    return {
        **entry.description,
        "rows": entry.rows,
        "bytes": entry.size_bytes,
        "used": entry.used,
        "folder": str(entry.folder),
    }


def _show(cache: FeatureCache, entries: list[Entry]) -> None:
    console = Console(highlight=False)
    table = RichTable(box=box.SIMPLE)
    for title in ("backbone", "tap", "precision", "texts", "MB", "last used"):
        table.add_column(title, justify="right" if title in {"texts", "MB"} else "left", overflow="fold")
    for entry in entries:
        table.add_row(*_cells(entry))
    if entries:
        console.print(table)
    total = sum(entry.size_bytes for entry in entries) / _MEGABYTE
    console.print(
        f"{cache.folder}: {total:,.1f} of {cache.limit / _MEGABYTE:,.0f} MB, {len(entries)} stores", markup=False
    )


def _cells(entry: Entry) -> list[str]:
    description = entry.description
    tap = description.get("tap")
    reads = " ".join(str(value) for value in tap.values()) if isinstance(tap, dict) else "?"
    name = f"{description.get('backbone', '?')} {str(description.get('fingerprint', '?')).partition(':')[2][:8]}"
    used = datetime.datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
    return [
        name,
        reads,
        str(description.get("precision", "?")),
        f"{entry.rows:,}",
        f"{entry.size_bytes / _MEGABYTE:,.1f}",
        used,
    ]
