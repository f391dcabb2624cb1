"""Which loss was it? Known ones are found again with their hyperparameters, others are not."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as pml
from torch import Tensor

from goal_analysis.numeric.measurement import Inputs, Neighbour, measure, nearest
from goal_analysis.numeric.measurement.fitting import coordinate, distances, fit
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive, real, unit
from losses_catalog.circle import circle_loss
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.multi_similarity import multi_similarity_loss
from losses_catalog.neighbourhood_components import neighbourhood_components_loss
from losses_catalog.siglip import siglip_loss
from losses_catalog.sup_con import sup_con_loss
from losses_catalog.triplet import triplet_loss

LOSSES = (
    circle_loss,
    info_nce_loss,
    multi_similarity_loss,
    neighbourhood_components_loss,
    siglip_loss,
    sup_con_loss,
    triplet_loss,
)


def found_for(loss: torch.nn.Module, points: int = 7) -> tuple[Neighbour, ...]:
    return nearest(measure(loss, Inputs.QUERIES, points=points), LOSSES)


def test_nt_xent_is_info_nce_with_the_temperature_inverted() -> None:
    neighbours = found_for(pml.NTXentLoss(temperature=0.13))
    first = neighbours[0]
    assert first.loss is info_nce_loss
    assert first.on_batches < 1e-9
    assert first.settings == pytest.approx({"tau": 1 / 0.13}, rel=1e-6)
    # On one triplet the supervised loss is the same; with two positives it is another.
    supervised = next(n for n in neighbours if n.loss is sup_con_loss)
    assert supervised.distance < 1e-9
    assert supervised.on_batches > 0.01


def test_multi_similarity_is_found_with_its_three_hyperparameters() -> None:
    first, second, *_ = found_for(pml.MultiSimilarityLoss(alpha=2.5, beta=30, base=0.4))
    assert first.loss is multi_similarity_loss
    assert first.on_batches < 1e-8
    assert first.settings == pytest.approx({"alpha": 2.5, "beta": 30, "lam": 0.4}, rel=1e-5)
    assert first.ties == ()
    assert second.best > 0.05


def test_circle_loss_is_found_where_the_gradient_is_stopped() -> None:
    first, second, *_ = found_for(pml.CircleLoss(m=0.3, gamma=7))
    assert first.loss is circle_loss
    assert first.on_batches < 1e-8
    assert sorted(first.settings.values()) == pytest.approx([0.3, 7], rel=1e-5)
    assert second.best > 0.05


def test_a_margin_is_found_up_to_the_grid() -> None:
    def hinge(scores: Tensor) -> Tensor:
        return torch.relu(scores - scores.diagonal()[:, None] + 0.33).triu(1).sum()

    first, *_ = nearest(measure(hinge, points=21), LOSSES)
    assert first.loss is triplet_loss
    assert first.distance < 1e-9
    (margin,) = first.settings.values()
    assert abs(margin - 0.33) < 1.9 / 20


def test_softmax_of_squared_distances_is_told_from_that_of_each_positive() -> None:
    neighbours = {n.loss.name: n for n in found_for(pml.NCALoss(softmax_scale=1))}
    assert neighbours["neighbourhood_components"].on_batches < 1e-9
    assert neighbours["info_nce"].distance < 1e-9
    assert neighbours["info_nce"].on_batches > 0.01


def test_a_loss_that_none_of_them_is() -> None:
    def sinusoidal(scores: Tensor) -> Tensor:
        return torch.cos(9 * scores.diagonal()).sum() + torch.sin(7 * scores).sum()

    neighbours = nearest(measure(sinusoidal, points=9), LOSSES)
    assert all(n.best > 0.3 for n in neighbours)
    on_batches = [n.on_batches for n in neighbours if n.on_batches == n.on_batches]
    assert on_batches == pytest.approx(sorted(on_batches), abs=1e-6)


def test_the_record_and_the_text_name_the_ties() -> None:
    def softmax(images: Tensor, texts: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(5 * images @ texts.T, torch.arange(len(images)))

    first = nearest(measure(softmax, points=5), LOSSES)[0]
    assert "sup_con" in first.record()["ties"]
    assert "sup_con" in repr(first)


def test_nothing_to_compare_is_named() -> None:
    silent = measure(lambda scores: 0 * scores.sum(), points=3)
    with pytest.raises(ValueError, match="weights vanish everywhere"):
        nearest(silent, LOSSES)
    with pytest.raises(ValueError, match="got no losses"):
        nearest(measure(lambda scores: scores.sum(), points=3), ())


@pytest.mark.parametrize("domain", [positive, nonnegative, unit, real], ids=str)
def test_coordinates_stay_in_their_domain_and_come_back(domain) -> None:
    to_value, of_value = coordinate(Hyperparameter("h", 0.5, domain))
    assert to_value(of_value(0.25)) == pytest.approx(0.25, rel=1e-9)
    assert all(to_value(u) in domain for u in (-30.0, -1.0, 0.5, 30.0))


def test_distances_ignore_scale_and_nothing_else() -> None:
    target = np.array([1.0, 2.0, 3.0])
    others = [7 * target, 1.001 * target + [0, 0, 0.01], -target, np.full(3, math.nan)]
    same, moved, reverse, nothing = distances(np.stack(others), target)
    assert same == pytest.approx(0, abs=1e-15)
    assert moved > 1e-4
    assert reverse == 0
    assert nothing == 1


def test_a_fit_finds_the_digits_of_two_entangled_hyperparameters() -> None:
    x = np.linspace(-1, 1, 30)

    def weights(values) -> np.ndarray:
        return 1 / (1 + np.exp(-values[0] * (x - values[1])))

    knobs = [Hyperparameter("scale", 10, positive), Hyperparameter("shift", 0.5, real)]
    values = fit(weights, knobs, 3 * weights((37.5, -0.21)))
    assert values == pytest.approx((37.5, -0.21), rel=1e-6)


def test_a_loss_without_hyperparameters_is_compared_as_it_is() -> None:
    assert fit(lambda _: np.ones(3), [], np.ones(3)) == ()
