"""Small random models of open_clip as dual encoders, against the library itself; skipped where it is not installed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from goal_analysis.vse.models.exporting import export_model
from goal_analysis.vse.models.model import build_model, build_tokenizer, portable_tables, restore_tokenizer
from goal_analysis.vse.models.text import tokenizer_json

open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
functional = pytest.importorskip("torchvision.transforms.functional", reason="torchvision is not installed")
from random_models import write_tokenizer  # noqa: E402 - what needs transformers

SIDE, CAPTIONS = 32, ["a dog runs", "the red cat &amp; the grass", "Dog", "a cat on grass " * 9]
VISION = {"image_size": SIDE, "layers": 1, "width": 64, "patch_size": 16}
TEXT = {"context_length": 16, "width": 16, "heads": 2, "layers": 1}
HUGGING_FACE = {"hf_tokenizer_name": "its-folder", "vocab_size": 20, "no_causal_mask": True, "pool_type": "last"}
DECODER = {"width": 16, "heads": 2, "layers": 1}
KINDS: dict[str, dict[str, Any]] = {
    "clip": {"vision_cfg": VISION, "text_cfg": TEXT},
    "resnet": {"vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT},
    "siglip": {"vision_cfg": VISION, "text_cfg": TEXT | HUGGING_FACE, "custom_text": True, "init_logit_bias": -10},
    "timm": {
        "vision_cfg": {"timm_model_name": "resnet10t", "image_size": SIDE, "timm_pool": "avg"},
        "text_cfg": TEXT,
    },
    "coca": {
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": DECODER | {"context_length": 16},
        "custom_text": True,
    },
}


def written(kind: str, folder: Path) -> Path:
    said = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    config = {"model_cfg": {"embed_dim": 8, **KINDS[kind]}, "preprocess_cfg": said}
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    if kind == "siglip":
        write_tokenizer(folder)
    torch.manual_seed(0)
    own = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(own.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def pictures(side: int = SIDE) -> Tensor:
    return torch.randint(0, 256, (3, 3, side, side), generator=torch.Generator().manual_seed(1)) / 255


@torch.no_grad()
def embedded_by_itself(folder: Path) -> tuple[Tensor, Tensor]:
    own, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = torch.stack([prepare(functional.to_pil_image(picture)) for picture in pictures()])
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(CAPTIONS)
    return own.eval().encode_image(images, normalize=True), own.encode_text(tokens, normalize=True)


@pytest.mark.parametrize("kind", KINDS)
def test_it_embeds_as_its_library_does_and_goes_back(kind: str, tmp_path: Path) -> None:
    folder = written(kind, tmp_path)
    config = {"checkpoint": f"open_clip:{folder}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, (3, SIDE, SIDE), tokenizer)

    def agree(folder: Path) -> bool:
        with torch.no_grad():
            found = model.eval().embed_images(pictures()), model.embed_texts(tokenizer(CAPTIONS))
        return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(found, embedded_by_itself(folder), strict=True))

    assert agree(folder)
    x, y = model.train()(pictures(), tokenizer(CAPTIONS[:3]))
    (x @ y.T).logsumexp(1).sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    torch.optim.SGD(trained, 1.0).step()
    assert not agree(folder)
    if kind == "coca":
        with pytest.raises(ValueError, match="got CoCa, of which text_decoder is not trained but expected a model of"):
            export_model(model, tokenizer, tmp_path / "out")
    else:
        assert "open_clip" in export_model(model, tokenizer, tmp_path / "out")[0]
        assert agree(tmp_path / "out")

    said = json.loads(json.dumps([tokenizer_json(tokenizer), portable_tables(config, model)]))
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    own = restore_tokenizer(said[0])
    again = build_model(said[1], (3, SIDE, SIDE), own).eval()
    again.load_state_dict(model.state_dict())
    assert again.embed_texts(own(CAPTIONS)).equal(model.embed_texts(tokenizer(CAPTIONS)))


def test_a_new_projection_and_other_sizes(tmp_path: Path) -> None:
    side = {"name": "open_clip", "model": str(written("clip", tmp_path))}
    config = {"image": side, "text": {**side, "dim": 5}}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, (3, 40, 40), tokenizer)
    x, y = model(pictures(40), tokenizer(CAPTIONS))
    assert x.shape == (3, 5)
    assert y.shape == (4, 5)
    with pytest.raises(ValueError, match="got towers of two models but expected one of open_clip, with its own"):
        export_model(model, tokenizer, tmp_path / "out")


@pytest.mark.parametrize(
    ("tables", "shape", "message"),
    [
        ({"checkpoint": "open_clip:no-such"}, (3, 8, 8), r"got 'no-such' .* but expected a folder with open_clip_conf"),
        ({"checkpoint": {"name": "open_clip", "model": "FOLDER", "pretrained": 3}}, (3, 8, 8), "pretrained: got 3 but"),
        ({"checkpoint": "open_clip:FOLDER"}, (10,), r"got images of shape \(10,\) but expected pictures"),
        (
            {"image": "open_clip:FOLDER", "text": "open_clip:FOLDER", "tokenizer": {"name": "words", "min_count": 1}},
            (3, 8, 8),
            "got the tokenizer words but expected that of the model: leave model.tokenizer out",
        ),
    ],
)
def test_what_is_refused(tables: dict, shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    given = json.loads(json.dumps(tables).replace("FOLDER", str(written("clip", tmp_path))))
    with pytest.raises(ValueError, match=message):
        build_model(given, shape, build_tokenizer(given, CAPTIONS))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    folder = written("clip", tmp_path)
    torch.save({}, folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    given = {"checkpoint": f"open_clip:{folder}"}
    with pytest.raises(ValueError, match="no file of safetensors"):
        build_model(given, (3, SIDE, SIDE), build_tokenizer(given, CAPTIONS))
