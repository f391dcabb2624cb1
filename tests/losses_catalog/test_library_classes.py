"""A loss is found by what a library calls it, and by its name however that is written."""

import pytest

import goal_analysis as ga
from losses_catalog import catalog, library_classes

NAMES = {loss.name for loss in catalog}


def test_every_class_has_a_loss_of_the_catalog() -> None:
    assert set(library_classes.values()) <= NAMES
    assert not NAMES & set(library_classes)


@pytest.mark.parametrize("name", library_classes)
def test_a_class_of_a_library_is_answered_with_the_name(name: str) -> None:
    with pytest.raises(
        ValueError, match=f"got {name!r} but expected {library_classes[name]}, as that loss is called here"
    ):
        ga.objective(f"{name}@hardest")


@pytest.mark.parametrize(
    "name", ["multi-similarity", "MultiSimilarity", "MULTI_SIMILARITY", "multisimilarity", "multi_similarty"]
)
def test_a_name_is_found_however_it_is_written(name: str) -> None:
    with pytest.raises(ValueError, match=f"got {name!r} but expected one of multi_similarity, "):
        ga.decompose(name)


def test_another_name_has_no_answer() -> None:
    with pytest.raises(ValueError, match="got 'NoLoss' but expected one of arc_face, batch_hard_triplet, "):
        ga.decompose("NoLoss")
