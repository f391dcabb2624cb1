"""Names that others chose lead nowhere but where they should, and weights and matches that are none are refused."""

import json
from pathlib import Path

import pytest
import sympy as sp
import torch

from goal_analysis.files import MOST_CHARACTERS, folder_name
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from goal_analysis.vse.data import load
from goal_analysis.vse.data.split import DataError
from goal_analysis.vse.loop.health import OutOfMemory
from goal_analysis.vse.models.model import build_model, restore_tokenizer
from goal_analysis.vse.models.text import Vocabulary
from losses_catalog.weights import constant_triplet, linear_pair


@pytest.mark.parametrize("name", ["..", ".", "", "../../x", "a" * 500, "\ud800" * 300, "/etc/passwd", "a\0b"])
def test_a_folder_has_a_name_of_its_own(name: str) -> None:
    found = folder_name(name)
    assert Path("x", found).resolve().parent == Path("x").resolve()
    assert 0 < len(found) <= MOST_CHARACTERS
    assert folder_name("a" * 500) != folder_name("a" * 499)


def test_a_picture_with_too_long_a_name_is_none(tmp_path: Path) -> None:
    rows = [{"image": f"{split}{'x' * 300}", "caption": "a dog", "split": split} for split in ("train", "dev")]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"data\.json: row 0: got trainx+ but expected a file"):
        load(tmp_path / "data.json")


@pytest.mark.parametrize(
    ("triplet", "positive", "negative", "said"),
    [
        (sp.Integer(1), sp.Integer(1), sp.sqrt(s_n), r"P⁻: got sqrt\(s_n\), which is not real at s_n = -0\.9"),
        (sp.Integer(1), sp.log(s_p), sp.Integer(1), r"P⁺: got log\(s_p\), which is not real at s_p = -0\.9"),
        (sp.sqrt(s_n - s_p), sp.Integer(1), sp.Integer(1), r"the triplet weight: got .*, which is not real at s_p = "),
    ],
)
def test_a_weight_that_is_not_real_makes_no_objective(
    triplet: sp.Expr, positive: sp.Expr, negative: sp.Expr, said: str
) -> None:
    t = TripletWeight(name="t", expression=triplet)
    p = PairWeights(name="p", positive=positive, negative=negative)
    with pytest.raises(ValueError, match=said + r".*expected what is real from -1 to 1"):
        GradientObjective(composed(t, p))


def test_roots_of_what_is_never_negative_are_weights() -> None:
    p = PairWeights(name="p", positive=sp.sqrt(1 - s_p), negative=sp.log(2 + s_n))
    assert bool(torch.isfinite(GradientObjective(composed(constant_triplet, p))(torch.eye(3), torch.eye(3))))


@pytest.mark.usefixtures("unchecked_shapes")
def test_matches_that_are_none_are_named() -> None:
    objective = GradientObjective(composed(constant_triplet, linear_pair))
    with pytest.raises(TypeError, match="matches"):
        objective.from_scores(torch.eye(3), torch.eye(3).bool())


def test_a_model_wider_than_any_is_refused() -> None:
    config = {"image": {"name": "linear", "dim": 2**40}, "text": {"name": "bag_of_words"}}
    vocabulary = Vocabulary(("a",), (1,), 1)
    with pytest.raises(
        ValueError, match=r"model\.image: linear: dim: got 1099511627776 but expected a whole number from 1 to"
    ):
        build_model(config, (6,), vocabulary)
    with pytest.raises(OutOfMemory, match=r"model\.image: linear: out of memory, with .* in use; try smaller widths"):
        build_model({**config, "image": {"name": "linear", "dim": 10**7, "hidden": 10**7}}, (6,), vocabulary)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], r"got \[\] but expected a table"),
        (None, "got None but expected a table"),
        (
            {"kind": "words", "words": "ab", "document_frequencies": [1, 1], "captions": 1},
            "words: got 'ab' but expected a list of texts",
        ),
        ({"kind": "words", "words": ["a"], "document_frequencies": [1]}, "got no captions but expected a whole number"),
    ],
)
def test_a_tokenizer_of_other_types_is_refused(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"tokenizer: {said}"):
        restore_tokenizer(given)
