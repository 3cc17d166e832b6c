"""Token heads on real task statements whose entities a rule marks; entity F1 against seqeval's on the same predictions.

Run with ``python -m benchmarks.tokens [occupation_tasks.csv]``. Actions are the verbs that begin at least 20 of the
statements drawn, where a clause begins; an object is the words behind an action up to a function word or a symbol. The
rival is a list of words, each with its most frequent tag.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import seqeval.metrics
import transformers

import manyheads as mh
from benchmarks.data import draw, minilm
from manyheads.data.texts.words import find_words

Rows = list[dict[str, object]]
TYPES = ("action", "object")
FUNCTION = re.compile(
    r"(a|an|and|any|as|at|be|between|by|for|from|if|in|including|into|of|on|or|such|that|the|their|through|to|under"
    r"|using|when|which|with|within)",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"(?:^|, (?:and |or )?|\b(?:and|or|to) )(\w+)")
HEADS: dict[str, mh.Tokens] = {
    "first sub-word, last layer": mh.Tokens(TYPES, reads=mh.Hidden()),
    "first sub-word, layers searched": mh.Tokens(TYPES),
    "mean of sub-words, last layer": mh.Tokens(TYPES, subword="mean", reads=mh.Hidden()),
    "mean of sub-words, layers searched": mh.Tokens(TYPES, subword="mean"),
    "mean, layer -4": mh.Tokens(TYPES, subword="mean", reads=mh.Hidden(-4)),
    "mean, layers -2, -4 and -6": mh.Tokens(TYPES, subword="mean", reads=[mh.Hidden(-2), mh.Hidden(-4), mh.Hidden(-6)]),
    "mean, layer -4, one hidden layer of 128": mh.Tokens(TYPES, subword="mean", reads=mh.Hidden(-4), hidden=[128]),
}


def verbs_of(texts: Sequence[str]) -> frozenset[str]:
    """Return the lower-cased first words of at least 20 texts."""
    counts = Counter(text.split()[0].lower().rstrip(",") for text in texts)
    return frozenset(word for word, count in counts.items() if count >= 20)


def marked(text: str, verbs: frozenset[str]) -> list[dict[str, object]]:
    """Return the entities of a text, in characters."""
    words, spans, behind = find_words(text, "punctuation"), [], 0
    starts = {match.start(1) for match in CLAUSE.finditer(text)}
    for place, (start, end) in enumerate(words):
        if start < behind or start not in starts or text[start:end].lower() not in verbs:
            continue
        spans.append({"start": start, "end": end, "label": "action"})
        run = []
        for first, last in words[place + 1 :]:
            if not text[first:last].isalnum() or FUNCTION.fullmatch(text[first:last]):
                break
            run.append((first, last))
        if run:
            behind = run[-1][1]
            spans.append({"start": run[0][0], "end": behind, "label": "object"})
    return spans


def tags_of(texts: Sequence[str], spans: Sequence[object]) -> list[list[str]]:
    """Return the tags that spans give the words of texts, by a rule of our own: no code of the library's."""
    rows = []
    for text, entities in zip(texts, spans, strict=True):
        tags = []
        for start, end in find_words(text, "punctuation"):
            inside = [span for span in entities if span["start"] <= start and end <= span["end"]]  # type: ignore[attr-defined]
            tags.append("O" if not inside else f"{'B' if inside[0]['start'] == start else 'I'}-{inside[0]['label']}")
        rows.append(tags)
    return rows


def lexicon(train: Sequence[tuple[str, Sequence[str]]], texts: Sequence[str]) -> list[list[str]]:
    """Return each word's most frequent tag of the training rows, ``O`` for words they do not have."""
    counts: Mapping[str, Counter[str]] = defaultdict(Counter)
    for text, tags in train:
        for (start, end), tag in zip(find_words(text, "punctuation"), tags, strict=True):
            counts[text[start:end].lower()][tag] += 1
    best = {word: seen.most_common(1)[0][0] for word, seen in counts.items()}
    return [[best.get(text[a:b].lower(), "O") for a, b in find_words(text, "punctuation")] for text in texts]


def main() -> None:
    """Print the table."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tables: tuple[pa.Table, pa.Table] = draw()
    texts = [table.column("text").to_pylist() for table in tables]
    verbs = verbs_of([*texts[0], *texts[1]])
    train, test = ([{"text": text, "entities": marked(text, verbs)} for text in part] for part in texts)
    true = tags_of(texts[1], [row["entities"] for row in test])
    learned = tags_of(texts[0], [row["entities"] for row in train])
    said = lexicon(list(zip(texts[0], learned, strict=True)), texts[1])
    print(
        f"{len(verbs)} verbs, {sum(map(len, true)):,} words and {sum(len(row['entities']) for row in test):,} entities"
    )  # type: ignore[arg-type]
    print("| head | entity F1, ours | seqeval's | word accuracy | s |\n|---|---|---|---|---|")
    f1 = seqeval.metrics.f1_score(true, said)
    print(f"| each word's most frequent tag | | {f1:.3f} | {seqeval.metrics.accuracy_score(true, said):.3f} | |")
    for name, spec in HEADS.items():
        started = time.perf_counter()
        model = mh.HeadedModel.from_pretrained(minilm())
        model.add_head("entities", spec)
        result = mh.train(model, train, text="text", eval_data=test, method=mh.Frozen(dtype="float32"))
        seconds = time.perf_counter() - started
        found = [[vars(span) for span in row["entities"].spans] for row in model.predict(texts[1])]
        theirs = seqeval.metrics.f1_score(true, tags_of(texts[1], found))
        ours = result.metrics["entities"]
        assert abs(ours["entity_f1"] - theirs) < 1e-12, (ours, theirs)
        print(f"| {name} | {ours['entity_f1']:.6f} | {theirs:.6f} | {ours['accuracy']:.3f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
