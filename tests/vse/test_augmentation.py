"""Pictures varied for training: where cuts lie, what mirrors, and that nothing varies in evaluation."""

from typing import Any

import pytest
import torch

from goal_analysis.vse.models.encoders import IMAGE_ENCODERS
from goal_analysis.vse.models.encoders.pictures import Augmentation, augment


def test_variations_follow_their_generator() -> None:
    images = torch.rand(4, 3, 10, 14)
    one, again = (augment(images, torch.Generator().manual_seed(1)) for _ in range(2))
    other = augment(images, torch.Generator().manual_seed(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == images.shape
    assert one.min() >= images.min()
    assert one.max() <= images.max()


@pytest.mark.parametrize("flip", [0, 1])
def test_the_whole_image_is_itself_or_its_mirror_image(flip: int) -> None:
    images = torch.rand(4, 3, 10, 14)
    found = augment(images, torch.Generator(), scale=(1, 1), ratio=1, flip=flip)
    assert torch.allclose(found, images.flip(3) if flip else images, atol=1e-5)
    assert not torch.allclose(found, images if flip else images.flip(3), atol=1e-2)


def test_a_cut_lies_inside_and_has_the_area() -> None:
    across = torch.linspace(0, 1, 101).expand(200, 1, 101, 101)
    images = torch.cat([across, across.transpose(2, 3)], 1)
    found = augment(images, torch.Generator().manual_seed(0), scale=(0.25, 0.25), ratio=1, flip=0)
    extents = found.amax((2, 3)) - found.amin((2, 3))
    assert torch.allclose(extents, torch.full_like(extents, 0.5), atol=0.02)
    assert found[:, 0].amin((1, 2)).std() > 0.1


@pytest.mark.parametrize("options", [{"scale": (0, 1)}, {"scale": (0.9, 0.5)}, {"ratio": 0.5}, {"flip": 2}])
def test_variations_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"augmented: .*{next(iter(options))}.* but expected"):
        augment(torch.rand(1, 3, 4, 4), torch.Generator(), **options)


def test_an_encoder_varies_what_it_is_trained_on_and_nothing_else() -> None:
    encoder = IMAGE_ENCODERS["convolution"]((3, 16, 16), dim=4, width=8, crop=0.5, flip=0.5)
    images = torch.rand(4, 3, 16, 16)
    torch.manual_seed(0)
    one = encoder(images)
    torch.manual_seed(0)
    assert torch.equal(encoder(images), one)
    assert not torch.allclose(encoder(images), one)
    assert torch.equal(encoder.eval()(images), encoder(images))
    assert torch.equal(Augmentation(1, 0)(images), images)


@pytest.mark.parametrize(
    ("crop", "flip", "message"),
    [(0, 0, "crop: got 0 but expected a number above 0"), (1, -0.1, "flip: got -0.1 but expected a probability")],
)
def test_shares_out_of_range_are_refused(crop: float, flip: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(crop, flip)
