"""Unit vectors with prescribed similarities, and the gradients by similarities that they give away."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.measurement.arrangement import batch_similarities, in_batch, on_plane, plane_similarities
from goal_analysis.numeric.measurement.calling import OF_SCORES, Call, Inputs, Shape
from goal_analysis.numeric.measurement.gradients import pair_gradients
from goal_analysis.numeric.measurement.measuring import measure

IN_PART = (Inputs.ONE_SET, Inputs.VIEWS, Inputs.STACKED, Inputs.MULTIVIEW)
"""Kinds of which unit vectors do not reach every point of the plane."""


@pytest.mark.parametrize("inputs", [inputs for inputs in Inputs if inputs not in OF_SCORES], ids=lambda i: i.name)
def test_vectors_have_the_similarities_that_were_asked_for(inputs: Inputs) -> None:
    s_p, s_n = torch.rand(2, 50) * 1.9 - 0.95
    plane = on_plane(Shape(inputs, dim=7))
    wanted = plane_similarities(plane, s_p, s_n)
    wanted = wanted[plane.reaches(wanted)]
    vectors = plane.points(wanted)
    assert vectors.shape == (len(wanted), wanted.shape[-1], 7)
    torch.testing.assert_close(vectors @ vectors.mT, wanted, rtol=0, atol=1e-12)
    assert (len(wanted) == 50) is (inputs not in IN_PART)


def test_every_anchor_of_a_plane_sees_the_same_two_similarities() -> None:
    for inputs in Inputs:
        arrangement = on_plane(Shape(inputs))
        similarities = plane_similarities(arrangement, torch.tensor([0.4]), torch.tensor([0.1]))[0]
        assert set(similarities[arrangement.positives].tolist()) == {0.4}
        assert set(similarities[arrangement.negatives].tolist()) == {0.1}


def test_unit_vectors_do_not_reach_every_triangle() -> None:
    found = measure(lambda embeddings, labels: (embeddings @ embeddings.T).square().sum(), points=9)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    assert torch.equal(found.reached, 1 + s_p > 2 * s_n.square() + 1e-3)


def test_gradients_of_all_pairs_are_recovered_from_the_embeddings() -> None:
    arrangement = in_batch(Shape(Inputs.ONE_SET, dim=11))
    similarities = batch_similarities(arrangement, seed=3)[None]
    weights = torch.randn(6, 6).triu(1)

    def weighted(embeddings: Tensor, labels: Tensor) -> Tensor:
        unit = normalize(3 * embeddings, dim=1)
        return (weights * (unit @ unit.T)).sum()

    found = pair_gradients(Call(weighted, "weighted", arrangement.shape), arrangement, similarities)
    torch.testing.assert_close(found.gradients[0].triu(1), weights)
    assert found.unexplained < 1e-12
