"""Count the structure of a source tree: parts and imports of each folder, sizes, and where head kinds are known.

    python -m benchmarks.structure [FOLDER OF THE PACKAGE ...]

Several folders, such as those of two checkouts, are printed side by side.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

KINDS = frozenset(
    {"Multiclass", "MultiLabel", "Regression", "Ordinal", "Tokens", "Count", "LabelledSpec", "OneLabelSpec"}
)
# Where knowing a kind by its class is the point: the files that define kinds, and the table of metrics.
HOMES = frozenset(
    {"multiclass.py", "multilabel.py", "regression.py", "ordinal.py", "tokens.py", "count.py", "labelled.py"}
    | {"one_label.py", "metrics.py"}
)


class Tree:
    """The parsed files of one package."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {str(path.relative_to(root)): ast.parse(path.read_text("utf-8")) for path in root.rglob("*.py")}

    def classes(self) -> Iterator[tuple[int, str]]:
        """Yield the number of lines of every class, with its place."""
        for name, tree in self.files.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{name}:{node.name}"

    def functions(self) -> list[int]:
        """Return the number of lines of every function."""
        return [
            (node.end_lineno or node.lineno) - node.lineno + 1
            for tree in self.files.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def imports(self) -> set[tuple[str, str]]:
        """Return every pair of files of which the first imports the second, within the package."""
        package = self.root.name
        return {
            (name, target)
            for name, tree in self.files.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package
            for target in self._targets(node)
        }

    def _targets(self, node: ast.ImportFrom) -> Iterator[str]:
        base = "/".join((node.module or "").split(".")[1:])
        for alias in node.names:
            places = (f"{base}/{alias.name}.py", f"{base}.py", f"{base}/__init__.py")
            found = next((place.lstrip("/") for place in places if place.lstrip("/") in self.files), None)
            if found is not None:
                yield found

    def inside(self, folder: str) -> tuple[int, int]:
        """Return the parts of a folder, a subfolder being one part, and the imports between them."""
        parts = {_part(name, folder) for name in self.files if name.startswith(f"{folder}/")}
        parts.discard("__init__.py")
        inner = [(one, other) for one, other in self.imports() if _within(one, other, folder)]
        between = {(_part(one, folder), _part(other, folder)) for one, other in inner}
        return len(parts), len({pair for pair in between if pair[0] != pair[1] and "__init__.py" not in pair})

    def from_to(self, source: str, target: str) -> int:
        """Return how many pairs of files cross from one folder into another."""
        return sum(one.startswith(f"{source}/") and other.startswith(f"{target}/") for one, other in self.imports())

    def kind_tests(self) -> list[str]:
        """Return the places outside their homes where ``isinstance`` tests a head kind."""
        found = []
        for name, tree in self.files.items():
            if Path(name).name in HOMES and not name.startswith("data/"):
                continue
            for node in ast.walk(tree):
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
                if called and KINDS & {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}:  # type: ignore[attr-defined]
                    found.append(f"{name}:{node.lineno}")  # type: ignore[attr-defined]
        return found

    def by_word_tests(self) -> list[str]:
        """Return the places outside heads/ and taps/ that read ``by_word``."""
        return [
            f"{name}:{node.lineno}"
            for name, tree in self.files.items()
            if not name.startswith(("heads/", "taps/"))
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "by_word"
        ]

    def counts(self) -> dict[str, str]:
        """Return every count, by its name."""
        largest = max(self.classes())
        sizes = self.functions()
        rows = {
            "files": str(len(self.files)),
            "largest class": f"{largest[0]} ({largest[1]})",
            "classes above 200 lines": str(sum(size > 200 for size, _ in self.classes())),
            "function lines, median / 90% / max": (
                f"{statistics.median(sizes):g} / {sorted(sizes)[int(0.9 * len(sizes))]} / {max(sizes)}"
            ),
            "imports training -> inference": str(self.from_to("training", "inference")),
            "isinstance tests on head kinds outside the kinds' files and metrics": str(len(self.kind_tests())),
            "by_word read outside heads/ and taps/": str(len(self.by_word_tests())),
        }
        for folder in ("training", "backbone", "data", "heads"):
            parts, between = self.inside(folder)
            rows[f"{folder}/: parts, imports between them"] = f"{parts}, {between}"
        return rows


def _part(name: str, folder: str) -> str:
    return name.removeprefix(f"{folder}/").split("/")[0]


def _within(one: str, other: str, folder: str) -> bool:
    return one.startswith(f"{folder}/") and other.startswith(f"{folder}/")


def main(folders: list[str]) -> None:
    """Print the counts of each folder side by side."""
    trees = [Tree(Path(folder)).counts() for folder in folders or ["src/manyheads"]]
    for name in trees[0]:
        print(f"| {name} | " + " | ".join(counts[name] for counts in trees) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
