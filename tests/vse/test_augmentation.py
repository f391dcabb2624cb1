"""Pictures varied for training: where cuts lie, what mirrors, and that nothing varies in evaluation."""

import torch

from goal_analysis.vse.models.encoders import IMAGE_ENCODERS
from goal_analysis.vse.models.encoders.trained import Augmentation


def test_variations_follow_the_seed() -> None:
    images, vary = torch.rand(4, 3, 10, 14), Augmentation(0.5, 0.5)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(vary(images))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].shape == images.shape
    assert found[0].min() >= images.min()
    assert found[0].max() <= images.max()


def test_the_whole_image_may_become_its_mirror_image() -> None:
    images = torch.rand(4, 3, 10, 14)
    found = Augmentation(1, 1)(images)
    assert torch.allclose(found, images.flip(3), atol=1e-5)
    assert not torch.allclose(found, images, atol=1e-2)
    assert Augmentation(1, 0)(images).equal(images)


def test_cuts_lie_inside_and_have_the_area_and_the_shape() -> None:
    across = torch.linspace(0, 1, 101).expand(400, 1, 101, 101)
    images = torch.cat([across, across.transpose(2, 3)], 1)
    torch.manual_seed(0)
    found = Augmentation(0.25, 0)(images)
    width, height = (found.amax((2, 3)) - found.amin((2, 3))).T
    areas = width * height
    assert areas.min() > 0.23
    assert areas.max() <= 1
    assert abs(areas.mean() - 0.62) < 0.03  # a little below the middle: what would be wider than the picture is not
    elongated = torch.maximum(width / height, height / width)
    assert 1.2 < elongated.max() < 4 / 3 + 0.02
    assert found[:, 0].amin((1, 2)).std() > 0.1


def test_an_encoder_varies_what_it_is_trained_on_and_nothing_else() -> None:
    encoder = IMAGE_ENCODERS["convolution"]((3, 16, 16), dim=4, width=8, crop=0.5, flip=0.5)
    images = torch.rand(4, 3, 16, 16)
    torch.manual_seed(0)
    one = encoder(images)
    torch.manual_seed(0)
    assert torch.equal(encoder(images), one)
    assert not torch.allclose(encoder(images), one)
    assert torch.equal(encoder.eval()(images), encoder(images))
