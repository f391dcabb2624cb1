"""Words, vocabularies and padded rows of numbers."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goal_analysis.vse.models.model import restore_tokenizer
from goal_analysis.vse.models.text import PADDING, UNKNOWN, Tokens, Vocabulary, pad, tokenizer_json, words

CAPTIONS = ["A dog runs.", "A cat and a dog!", "the CAT sits", "a tree", "…"]


def of(*frequencies: int, captions: int = 10) -> Vocabulary:
    return Vocabulary(tuple("abcdefg"[: len(frequencies)]), frequencies, captions)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A Dog's life", ["a", "dog", "s", "life"]),
        ("Cafe\u0301 and caf\u00e9", ["café", "and", "café"]),
        ("ﬁsh ２ ÄPFEL", ["fish", "2", "äpfel"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("犬、猫", ["犬", "猫"]),
        ("snake_case—dash", ["snake", "case", "dash"]),
        ("  ", []),
    ],
)
def test_words(caption: str, expected: list[str]) -> None:
    assert words(caption) == expected


@given(st.text(max_size=40))
def test_a_caption_of_its_words_has_the_same_words(caption: str) -> None:
    assert words(" ".join(words(caption))) == words(caption)


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=40))
def test_ascii_goes_the_way_of_all_scripts(caption: str) -> None:
    assert words(caption) == words(caption + " é")[:-1]


def test_the_vocabulary_counts_captions_not_words() -> None:
    vocabulary = Vocabulary.built_on(["a a a", "a b", "b c c"], min_count=2)
    assert vocabulary.words == ("a", "b")
    assert vocabulary.document_frequencies == (2, 2)
    assert vocabulary.captions == 3
    assert Vocabulary.built_on(["a a a", "a b", "b c c"], min_count=1).words == ("a", "b", "c")


def test_the_order_of_the_captions_does_not_matter() -> None:
    assert Vocabulary.built_on(CAPTIONS, 1) == Vocabulary.built_on(CAPTIONS[::-1], 1)


def test_captions_become_numbers() -> None:
    vocabulary = Vocabulary.built_on(CAPTIONS, 2)
    tokens = vocabulary(["dog, zebra a", "…", "cat"])
    number = {word: k + 2 for k, word in enumerate(vocabulary.words)}
    expected = [[number["dog"], UNKNOWN, number["a"]], [UNKNOWN, PADDING, PADDING], [number["cat"], PADDING, PADDING]]
    assert tokens.ids.tolist() == expected
    assert tokens.lengths.tolist() == [3, 1, 1]
    assert tokens.mask.tolist() == [[True] * 3, [True, False, False], [True, False, False]]
    assert int(vocabulary(CAPTIONS).ids.max()) < len(vocabulary)


def test_no_captions_are_no_rows() -> None:
    assert len(of(1)([])) == 0


@pytest.mark.parametrize("index", [[2, 1], torch.tensor([2, 1]), slice(1, 3)])
def test_rows_are_trimmed(index: list[int] | torch.Tensor | slice) -> None:
    tokens = pad([[5, 6, 7, 8], [3], [4, 2]])
    rows = tokens.rows(index)
    assert rows.ids.shape == (2, 2)
    assert sorted(rows.ids.tolist()) == [[3, 0], [4, 2]]
    assert sorted(rows.lengths.tolist()) == [1, 2]
    assert rows.to("cpu").ids.equal(rows.ids)


def test_a_vocabulary_comes_back_from_json() -> None:
    vocabulary = Vocabulary.built_on(CAPTIONS, 1)
    assert restore_tokenizer(json.loads(json.dumps(tokenizer_json(vocabulary)))) == vocabulary


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary.built_on(CAPTIONS, 9), "min_count: got 9 but expected at most 3"),
        (lambda: Vocabulary.built_on(["…"], 1), "captions: got 1 without any word"),
        (lambda: Vocabulary(("a", "b", "a"), (1, 1, 1), 3), "words: got 'a' more than once"),
        (lambda: Vocabulary(("a", "b"), (1,), 3), "document_frequencies: got 1 for 2 words"),
        (lambda: of(1, 4, captions=3), "document_frequencies: got 4 for 'b' but expected 1 to 3 captions"),
        (lambda: Tokens(torch.zeros(2, 3).long(), torch.tensor([3, 0])), "lengths: got 0 for caption 1 but expected 1"),
        (
            lambda: Tokens(torch.zeros(1, 3).long(), torch.tensor([4])),
            "lengths: got 4 for caption 0 but expected 1 to 3",
        ),
    ],
)
def test_what_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
