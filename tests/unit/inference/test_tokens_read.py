"""``predictions.tokens`` counts the tokens of each text that were read."""

from __future__ import annotations

import pytest

import manyheads as mh
from tests.families import BY_NAME, POSITIONS, TEXTS, tokenizer_for


@pytest.mark.filterwarnings("ignore::manyheads.errors.UntrainedHeadWarning")
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_tokens_are_those_of_the_tokenizer_up_to_the_limit(family: str) -> None:
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    model.add_head("kind", mh.Multiclass(["a", "b"]))
    texts = [*TEXTS, "cough " * 90]
    found = model.predict(texts)
    (split,) = model.predict(["cough " * 90], long_text="mean").tokens.tolist()
    lengths = [len(ids) for ids in model.tokenizer(texts, verbose=False)["input_ids"]]
    assert found.tokens.tolist() == [min(length, POSITIONS) for length in lengths]
    assert found[2:4].tokens.tolist() == lengths[2:4]
    assert split > lengths[-1]  # windows overlap
