"""A loss is found by what a library calls it, and by its name however that is written."""

import re

import pytest
from coverage_rows import SHIPPED

import goal_analysis as ga
from losses_catalog import catalog, libraries

NAMES = {loss.name for loss in catalog}
CALLED = {(kind, name) for classes in libraries.values() for kind, name in classes.items()}


def test_every_class_has_a_loss_of_the_catalog() -> None:
    assert {name for _, name in CALLED} <= NAMES
    assert not NAMES & {kind for kind, _ in CALLED}


def test_the_classes_are_those_that_are_compared_with_their_libraries() -> None:
    declared = {(row.library, row.name) for row in SHIPPED if row.value}
    assert {(library, kind) for library, classes in libraries.items() for kind in classes} == declared
    every = {(row.library, row.name, row.objective.name) for row in SHIPPED if row.value}
    assert {(library, *named) for library, classes in libraries.items() for named in classes.items()} <= every


@pytest.mark.parametrize(("kind", "name"), sorted(CALLED))
def test_a_class_of_a_library_is_answered_with_the_name(kind: str, name: str) -> None:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind)
    for written in (kind, kind.lower(), apart.lower(), apart.replace("_", "-"), kind.removesuffix("Loss") + "_loss"):
        said = rf"got '{written}' but expected .*\b{name}\b.*, as that loss is called here"
        with pytest.raises(ValueError, match=said):
            ga.objective(f"{written}@hardest")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("multi-similarity", "multi_similarity"),
        ("MultiSimilarity", "multi_similarity"),
        ("MULTI_SIMILARITY", "multi_similarity"),
        ("multi similarity loss", "multi_similarity"),
        ("pytorch_metric_learning.losses.CircleLoss", "circle"),
        ("losses.SupConLoss", "sup_con"),
        ("MNRL", "info_nce"),
        ("NT-Xent", "info_nce"),
        ("CLIP", "info_nce"),
        ("VSE++", "vse_pp"),
        ("ProxyNCA++", "proxy_nca_pp"),
        ("GISTEmbed", "guided_info_nce"),
        ("DPO", "dpo"),
    ],
)
def test_a_name_is_found_however_it_is_written(written: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"expected .*\b{name}\b.*, as that loss is called here"):
        ga.decompose(written)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("multi_similarty", "multi_similarity"),
        ("MultipleNegativeRankingLoss", "info_nce"),
        ("hardness", "hardness_weighted_info_nce"),
        ("semi-hard", "semi_hard_triplet"),
    ],
)
def test_one_that_is_not_quite_a_name_has_near_ones(written: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"got {written!r} but expected one of {name}, "):
        ga.decompose(written)


def test_another_name_has_no_answer() -> None:
    with pytest.raises(ValueError, match="got 'NoLoss' but expected one of apo_down, apo_zero, arc_face, "):
        ga.decompose("NoLoss")
