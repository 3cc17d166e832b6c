"""``bags.npz``: the arrays from which the inputs ``bag_NAME`` of an exported graph are computed.

It is a zip file of uncompressed ``.npy`` files. Names end in the number of a lexicon ``L``, or of a tokenizer's pieces
of words ``P``::

    head.NAME.columns.L     float32 (terms, width)    what each term of the lexicon adds to the head's first layer
    lexicon.L.settings      int64 (3,)                pairs (0 or 1), first (0 for all words), P (-1 for tokens)
    lexicon.L.terms         int64 (terms,)            keys of the terms, ascending
    lexicon.L.weights       float32 (terms,)          their inverse document frequencies, positive
    lexicon.L.nodes         int64 (nodes,)            only for words: keys of the beginnings of words, ascending
    pieces.P.letters        uint8 (letters,)          UTF-8 of all token ids in lower case, end to end
    pieces.P.offsets        int64 (ids + 1,)          start of the letters of each token id
    pieces.P.joins_last     bool (ids,)               whether a token may continue the word before it, and
    pieces.P.joins_next     bool (ids,)               whether its word may be continued; false without letters

The bag of a text, whose real tokens are ``id[0], id[1], ...``, in a lexicon::

    units of tokens    id[i] + 1
    letters            those of the real tokens, end to end; a new word starts with the letters of a token, unless
                       joins_last[id[i]] and joins_next[id[i - 1]]; an id that has no pieces is an unknown word
    node of a word     from 0, for each of its letters: 1 + place of  node * 2^31 + letter  in nodes; unknown if it has
                       no place, or if the word has more than 48 letters
    units of words     the nodes of the words, the first ones if first > 0; an unknown one is in no term
    keys               unit * 2^31, and with pairs also  unit * 2^31 + next unit
    value of a term    (1 + ln(number of its keys)) * weight
    bag                the values, divided by the square root of the sum of their squares; 0 without terms
    bag_NAME           sum over the lexicons that the head reads of bag @ columns
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manyheads.bags import Lexicon, TokenLexicon, WordLexicon
from manyheads.errors import CorruptCheckpointError, HeadError, one_line
from manyheads.types import WordPieces

# What a damaged file may raise.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
)

# The pieces of a lexicon of tokens.
_NO_PIECES = -1
# A head's name has no dot.
_COLUMNS = re.compile(r"head\.(?P<head>[^.]+)\.columns\.(?P<lexicon>[0-9]{1,9})")

# Head name -> number of a lexicon -> fp32 (terms, width of the head's first layer).
Columns = dict[str, dict[int, np.ndarray]]


def write_arrays(path: Path, lexicons: Mapping[int, Lexicon], columns: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Write a file.

    Args:
        path: Where to.
        lexicons: The lexicons by number.
        columns: Head name -> number of a lexicon -> fp32 (terms, width of the head's first layer).
    """
    arrays = {
        f"head.{name}.columns.{number}": part for name, parts in columns.items() for number, part in parts.items()
    }
    pieces: list[WordPieces] = []
    for number, lexicon in lexicons.items():
        arrays |= {f"lexicon.{number}.{key}": array for key, array in _arrays_of(lexicon, pieces).items()}
    for number, item in enumerate(pieces):
        arrays |= {f"pieces.{number}.{key}": array for key, array in vars(item).items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _arrays_of(lexicon: Lexicon, pieces: list[WordPieces]) -> dict[str, np.ndarray]:
    """Return the arrays of a lexicon by name; its pieces of words join those of others, each once."""
    arrays = {"terms": lexicon.terms, "weights": lexicon.weights}
    if not isinstance(lexicon, WordLexicon):
        return arrays | {"settings": np.array([lexicon.pairs, 0, _NO_PIECES])}
    place = next((place for place, item in enumerate(pieces) if _equal(item, lexicon.pieces)), len(pieces))
    if place == len(pieces):
        pieces.append(lexicon.pieces)
    return arrays | {"nodes": lexicon.nodes, "settings": np.array([lexicon.pairs, lexicon.first or 0, place])}


def _equal(one: WordPieces, other: WordPieces) -> bool:
    return all(np.array_equal(array, getattr(other, key)) for key, array in vars(one).items())


def read_arrays(path: Path) -> tuple[dict[int, Lexicon], Columns]:
    """Return the lexicons of a file by number, and the columns of heads for them.

    Raises:
        CorruptCheckpointError: the file is absent or damaged, or contradicts itself.
    """
    arrays = _stored(path)
    lexicons: dict[int, Lexicon] = {}
    columns: Columns = {}
    for name, numbers in _numbers_by_head(arrays).items():
        audit = _Audit(path, f"head {name!r}", arrays)
        lexicons |= {number: _lexicon(audit, number) for number in numbers if number not in lexicons}
        columns[name] = {number: audit.columns(name, number, len(lexicons[number].terms)) for number in numbers}
        if len({part.shape[1] for part in columns[name].values()}) > 1:
            raise audit.error("the columns of its bags differ in width")
    return lexicons, columns


def _stored(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of a file by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(_members(archive))
    except _DAMAGE as error:
        raise CorruptCheckpointError(f"{path}: cannot be read ({one_line(error)}); export the model again") from None


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, np.ndarray]]:
    for info in archive.infolist():
        # A compressed member may be of any size when it is unpacked.
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename!r} is compressed")
        with archive.open(info) as file:
            yield info.filename.removesuffix(".npy"), np.lib.format.read_array(file, allow_pickle=False)


def _numbers_by_head(arrays: Iterable[str]) -> dict[str, list[int]]:
    """Return the numbers of the lexicons that each head reads."""
    numbers: dict[str, list[int]] = {}
    for match in filter(None, map(_COLUMNS.fullmatch, arrays)):
        numbers.setdefault(match["head"], []).append(int(match["lexicon"]))
    return numbers


def _lexicon(audit: _Audit, number: int) -> Lexicon:
    own = f"lexicon.{number}"
    pairs, first, pieces = audit.array(f"{own}.settings", np.int64, 3).tolist()
    terms = audit.array(f"{own}.terms", np.int64, None)
    weights = audit.array(f"{own}.weights", np.float32, len(terms))
    lexicon: Lexicon
    if pieces == _NO_PIECES:
        lexicon = TokenLexicon(terms, weights, bool(pairs))
    else:
        nodes = audit.array(f"{own}.nodes", np.int64, None)
        lexicon = WordLexicon(terms, weights, bool(pairs), first or None, nodes, _pieces(audit, f"pieces.{pieces}"))
    try:
        lexicon.check()
    except HeadError as error:
        raise audit.error(str(error)) from None
    return lexicon


def _pieces(audit: _Audit, own: str) -> WordPieces:
    joins_last = audit.array(f"{own}.joins_last", np.bool_, None)
    ids = len(joins_last)
    return WordPieces(
        audit.array(f"{own}.letters", np.uint8, None),
        audit.array(f"{own}.offsets", np.int64, ids + 1),
        joins_last,
        audit.array(f"{own}.joins_next", np.bool_, ids),
    )


@dataclass(frozen=True)
class _Audit:
    """The arrays of a file, for one head.

    Attributes:
        path: The file, for messages.
        owner: The head, for messages.
        arrays: The arrays by name.
    """

    path: Path
    owner: str
    arrays: Mapping[str, np.ndarray]

    def error(self, problem: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"{self.path}: {self.owner}: {problem}; export the model again")

    def columns(self, head: str, lexicon: int, terms: int) -> np.ndarray:
        return self.array(f"head.{head}.columns.{lexicon}", np.float32, terms, None)

    def array(self, name: str, dtype: type[np.generic], *shape: int | None) -> np.ndarray:
        """Return an array of this type and shape; ``None`` stands for any size but 0.

        Raises:
            CorruptCheckpointError: it is absent or another one, or has values that are not finite.
        """
        found = self.arrays.get(name)
        if found is None:
            raise self.error(f"{name} is absent")
        if found.dtype != dtype or not _fits(found.shape, shape):
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            raise self.error(f"{name} is {found.dtype} {list(found.shape)}, not {np.dtype(dtype)} [{sizes}]")
        if not np.isfinite(found).all():
            raise self.error(f"{name} holds NaN or infinity")
        return found


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size > 0 if expected is None else size == expected for size, expected in zip(shape, wanted, strict=True)
    )
