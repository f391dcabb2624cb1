"""Features of pictures by the real networks of timm and torchvision with random weights, and by SigLIP 2 and Swin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from goal_analysis.vse.models.encoders.networks import Network, open_network
from goal_analysis.vse.models.model import build_model, build_tokenizer


def picture(width: int = 90, height: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def features(network: Network, regions: tuple[int, int] | None = None) -> Tensor:
    return network.features([network.prepare(picture()), network.prepare(picture(60, 90))], regions)


def opened(kind: str, module: torch.nn.Module, name: str, folder: Path) -> tuple[Network, Tensor]:
    """The network with a module's weights, and both pictures as it is given them."""
    save_file(module.state_dict(), folder / "w.safetensors")
    network = open_network(f"{kind}:{name}", folder / "w.safetensors")
    return network, torch.stack([network.prepare(picture()), network.prepare(picture(60, 90))])


@pytest.mark.parametrize(
    "name", ["resnet10t", "vit_tiny_patch16_224", "edgenext_xx_small", "xcit_nano_12_p16_224", "vgg11"]
)
def test_features_are_those_of_timm(name: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    own = timm.create_model(name, num_classes=0).eval()
    network, given = opened("timm", own, name, tmp_path)
    with torch.no_grad():
        found = own.forward_features(given)
        pooled = own.forward_head(found, pre_logits=True)
    assert torch.allclose(features(network), pooled, atol=1e-4)
    places = found[:, -((found.shape[1] // 7) * 7) :].mT if found.ndim == 3 else found.flatten(2)  # without the first
    assert torch.allclose(features(network, (1, 1))[:, 0], places.mean(2), atol=1e-4)
    assert features(network, (3, 2)).shape == (2, 6, places.shape[1])
    other = timm.create_model(name, num_classes=0).eval()
    assert not torch.allclose(features(network), other(given), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "squeezenet1_1"])
def test_features_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision", reason="torchvision is not installed").models
    torch.manual_seed(0)
    own = models.get_model(name).eval()
    network, given = opened("torchvision", own, name, tmp_path)
    with torch.no_grad():
        if name == "vit_b_32":
            own.heads = torch.nn.Identity()
        elif name == "resnet18":
            own.fc = torch.nn.Identity()
        else:
            own = torch.nn.Sequential(own.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        assert torch.allclose(features(network), own(given), atol=1e-4)
    assert features(network, (3, 3)).shape[:2] == (2, 9)


@pytest.mark.parametrize("kind", ["timm", "torchvision"])
def test_a_real_backbone_is_an_encoder_of_pictures(kind: str) -> None:
    pytest.importorskip(kind, reason=f"{kind} is not installed")
    name = {"timm": "resnet10t", "torchvision": "resnet18"}[kind]
    config: dict[str, Any] = {
        "image": {"name": kind, "model": name, "dim": 8},
        "text": {"name": "bag_of_words"},
        "tokenizer": {"name": "words", "min_count": 1},
    }
    captions = ["a dog runs", "a red cat"]
    tokenizer = build_tokenizer(config, captions)
    model = build_model(config, (3, 64, 64), tokenizer)
    x, y = model(torch.rand(2, 3, 64, 64), tokenizer(captions))
    (x @ y.T).square().sum().backward()
    assert all(p.grad is not None for p in model.image.parameters())


def test_places_of_siglip_2_follow_the_picture(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", minversion="5")
    from random_models import siglip2

    siglip2(tmp_path)
    network, own = open_network(f"hf:{tmp_path}"), transformers.AutoModel.from_pretrained(tmp_path).eval()
    given = transformers.AutoImageProcessor.from_pretrained(tmp_path)([picture(), picture(60, 90)], return_tensors="pt")
    with torch.no_grad():
        states = own.vision_model(**given).last_hidden_state
        assert torch.allclose(features(network), own.get_image_features(**given).pooler_output, atol=1e-5)
    counts = given["spatial_shapes"].prod(1).tolist()
    means = torch.stack([one[:count].mean(0) for one, count in zip(states, counts, strict=True)])
    assert torch.allclose(features(network, (1, 1))[:, 0], means, atol=1e-5)
    assert features(network, (2, 2)).shape == (2, 4, 16)


def test_merged_places_are_a_map(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", minversion="5")
    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    own = transformers.SwinModel(transformers.SwinConfig(**sizes)).eval()
    own.save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    network = open_network(f"hf:{tmp_path}")
    given = transformers.AutoImageProcessor.from_pretrained(tmp_path)([picture(), picture(60, 90)], return_tensors="pt")
    with torch.no_grad():
        states = own(**given).last_hidden_state
    places = states.view(2, 2, 2, 2, 2, 16).mean((2, 4)).view(2, 4, 16)  # 4 × 4 places as 2 × 2 regions
    assert torch.allclose(features(network, (2, 2)), places, atol=1e-5)
