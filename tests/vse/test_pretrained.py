"""Checkpoints of Hugging Face as dual encoders, towers and matching models, against the classes that wrote them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from goal_analysis.cli import app
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.vse.data.split import ArrayImages, Split
from goal_analysis.vse.folder.run import load_model
from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset
from goal_analysis.vse.loop.training import learning_rate, surrogate
from goal_analysis.vse.models import dual_encoder
from goal_analysis.vse.models.dual_encoder import Reranking, choose_hardest
from goal_analysis.vse.models.encoders.pretrained import WordAugmentation
from goal_analysis.vse.models.exporting import export_model
from goal_analysis.vse.models.model import build_model, build_tokenizer, portable_tables, restore_tokenizer
from goal_analysis.vse.models.text import Tokens, Vocabulary, tokenizer_json
from goal_analysis.vse.retrieval.scoring import Ways, all_scores, record_of
from losses_catalog.weights import linear_pair, nca_triplet

transformers = pytest.importorskip("transformers", minversion="5")
from random_models import SIDE, WRITERS  # noqa: E402 - what needs transformers

CAPTIONS = ["a dog runs", "the red cat sits on the grass", "dog", "a cat on grass"]
SHAPE = (3, SIDE, SIDE)
DUAL = ("clip", "siglip", "siglip2", "chinese_clip")
OBJECTIVE = GradientObjective(composed(nca_triplet, linear_pair, "softmax:8"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind of model, written once."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(sum(map(ord, kind)))
            made[kind] = tmp_path_factory.mktemp(kind)
            WRITERS[kind](made[kind])
        return made[kind]

    return folder


def pictures(count: int = 3, side: int = SIDE) -> Tensor:
    """Of whole 256ths, as photographs are."""
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1)) / 255


def told(folder: Path, images: Tensor) -> dict[str, Tensor]:
    """What the checkpoint's own processor makes of images."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    bits = [(image * 255).round().byte().numpy() for image in images]
    return dict(processor(images=bits, return_tensors="pt", input_data_format="channels_first"))


def said(folder: Path, captions: list[str], **options: Any) -> dict[str, Tensor]:
    """What the checkpoint's own tokenizer makes of captions."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = tokenizer(captions, return_tensors="pt", **{"padding": True, **options})
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


def unit(found: Any) -> Tensor:
    return torch.nn.functional.normalize(found if isinstance(found, Tensor) else found.pooler_output, dim=1)


@pytest.mark.parametrize("side", [SIDE, 24])
@pytest.mark.parametrize("kind", DUAL)
def test_a_checkpoint_embeds_as_its_own_class_does(kind: str, side: int, checkpoint, tmp_path: Path) -> None:
    folder = checkpoint(kind)
    config = {"checkpoint": f"hf:{folder}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, (3, side, side), tokenizer).eval()
    own = transformers.AutoModel.from_pretrained(folder).eval()
    images = pictures(side=side)
    text = said(folder, CAPTIONS, **({"padding": "max_length"} if "siglip" in kind else {}))
    if "siglip" in kind:
        del text["attention_mask"]
    with torch.no_grad():
        torch.testing.assert_close(model.embed_images(images), unit(own.get_image_features(**told(folder, images))))
        torch.testing.assert_close(model.embed_texts(tokenizer(CAPTIONS)), unit(own.get_text_features(**text)))
        record = json.loads(json.dumps([portable_tables(config, model), tokenizer_json(tokenizer)]))
        again = build_model(record[0], (3, side, side), restore_tokenizer(record[1])).eval()
        again.load_state_dict(model.state_dict())
        assert again.embed_images(images).equal(model.embed_images(images))
        assert restore_tokenizer(record[1])(CAPTIONS).ids.equal(tokenizer(CAPTIONS).ids)
    halves = [sum(p.numel() for p in part.parameters()) for part in (model.image, model.text)]
    assert max(halves) < sum(p.numel() for p in own.parameters())  # neither side holds the other's weights


@pytest.mark.parametrize("kind", DUAL)
def test_all_that_is_trained_has_a_gradient(kind: str, checkpoint) -> None:
    for more in ({}, {"projection": "new"}, {"dim": 5}):
        config = {"checkpoint": {"name": "hugging_face", "path": str(checkpoint(kind)), **more}}
        tokenizer = build_tokenizer(config, CAPTIONS)
        model = build_model(config, SHAPE, tokenizer).train()
        x, y = model(pictures(4), tokenizer(CAPTIONS))
        assert x.shape[1] == y.shape[1] == more.get("dim", x.shape[1])
        (x @ y.T).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        assert ("linear.weight" in dict(model.image.local.named_parameters())) == bool(more)


@pytest.mark.parametrize(
    ("image", "text", "dim"),
    [("hf:clip", "hf:bert", 8), ("hf:vit", "hf:bert", 16), ("hf:vit", "hf:clip", 16), ("hf:vit", "transformer", 16)],
)
def test_any_two_towers_stand_together(image: str, text: str, dim: int, checkpoint) -> None:
    def table(side: str) -> Any:
        return f"hf:{checkpoint(side[3:])}" if side.startswith("hf:") else {"name": side}

    config = {"image": table(image), "text": table(text), "tokenizer": f"hf:{checkpoint('bert')}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    x, y = build_model(config, SHAPE, tokenizer)(pictures(), tokenizer(CAPTIONS))
    assert x.shape == (3, dim)
    assert y.shape == (4, dim)


def test_features_take_the_width_of_a_text_tower(checkpoint) -> None:
    config = {"image": {"name": "linear"}, "text": f"hf:{checkpoint('bert')}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, (10,), tokenizer).eval()
    states = transformers.AutoModel.from_pretrained(checkpoint("bert"))(**(given := said(checkpoint("bert"), CAPTIONS)))
    mask = given["attention_mask"][:, :, None]
    mean = (states.last_hidden_state * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(model.embed_texts(tokenizer(CAPTIONS)), unit(mean))
    assert model(torch.rand(2, 10), tokenizer(CAPTIONS))[0].shape == (2, 16)


def test_a_caption_is_embedded_alike_among_others_of_any_lengths(checkpoint) -> None:
    config = {"image": {"name": "linear"}, "text": f"hf:{checkpoint('bert')}"}
    captions = [" ".join(["dog", "cat", "runs"][: 1 + k % 3] * (1 + k % 2)) for k in range(70)]
    tokenizer = build_tokenizer(config, captions)
    model = build_model(config, (10,), tokenizer).eval()
    alone = torch.cat([model.embed_texts(tokenizer([caption])) for caption in captions])
    torch.testing.assert_close(model.embed_texts(tokenizer(captions)), alone, atol=1e-5, rtol=1e-4)
    elements, there = model.text.elements(tokenizer(captions))
    assert there.sum(1).equal(tokenizer(captions).lengths)
    assert elements.shape[1] == tokenizer(captions).ids.shape[1]
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


@pytest.mark.parametrize("mode", ["cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens"])
@pytest.mark.parametrize("dense", [False, True])
def test_a_model_of_sentence_transformers_embeds_as_it_does_itself(
    mode: str, dense: bool, checkpoint, tmp_path: Path
) -> None:
    sentence = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    parts = [modules.Transformer(str(checkpoint("bert"))), modules.Pooling(16, pooling_mode=mode)]
    if dense:
        parts.append(modules.Dense(16, 6, activation_function=torch.nn.Identity()))
    own = sentence.SentenceTransformer(modules=[*parts, modules.Normalize()], device="cpu")
    own.save(str(tmp_path))
    config = {"image": {"name": "linear"}, "text": f"hf:{tmp_path}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    if dense and mode in ("max", "mean_sqrt_len_tokens"):  # the maximum of mapped tokens is no mapped maximum
        with pytest.raises(ValueError, match=f"got a projection behind the pooling {mode} but expected mean, cls"):
            build_model(config, (10,), tokenizer)
        return
    model = build_model(config, (10,), tokenizer).eval()
    found = model.embed_texts(tokenizer(CAPTIONS))
    torch.testing.assert_close(found, own.encode(CAPTIONS, convert_to_tensor=True), atol=1e-5, rtol=1e-4)
    again = build_model(portable_tables(config, model), (10,), tokenizer).eval()
    again.load_state_dict(model.state_dict())
    assert again.embed_texts(tokenizer(CAPTIONS)).equal(found)


MATCHED: dict[str, tuple[tuple[int, ...], Callable[[Any, dict, dict], Tensor]]] = {
    "blip": (SHAPE, lambda m, text, image: m(**text, **image).itm_score.diff(dim=1)[:, 0]),
    "vilt": (SHAPE, lambda m, text, image: m(**text, **image).logits[:, 0]),
    "visual_bert": (
        (4, 6),
        lambda m, text, image: (
            -m(
                **text,
                visual_embeds=image["regions"],
                visual_token_type_ids=torch.ones(len(image["regions"]), 4).long(),
            ).seq_relationship_logits.diff(dim=1)[:, 0]
        ),
    ),
    "lxmert": (
        (4, 6),
        lambda m, text, image: m(
            **text,
            visual_feats=image["regions"],
            visual_pos=torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(image["regions"]), 4, 4),
        ).cross_relationship_score.diff(dim=1)[:, 0],
    ),
}
CLASSES = {
    "blip": "BlipForImageTextRetrieval",
    "vilt": "ViltForImageAndTextRetrieval",
    "visual_bert": "VisualBertForPreTraining",
    "lxmert": "LxmertForPreTraining",
}


def images_of(shape: tuple[int, ...], count: int = 3) -> Tensor:
    return (
        pictures(count) if len(shape) == 3 else torch.randn(count, *shape, generator=torch.Generator().manual_seed(2))
    )


@pytest.mark.parametrize("kind", MATCHED)
def test_a_head_scores_as_its_own_class_does_in_strips_too(kind: str, checkpoint, monkeypatch) -> None:
    folder, (shape, score) = checkpoint(kind), MATCHED[kind]
    config = {"scorer": f"hf:{folder}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, shape, tokenizer).eval()
    own = getattr(transformers, CLASSES[kind]).from_pretrained(folder).eval()
    images, tokens = images_of(shape), tokenizer(CAPTIONS)
    read = told(folder, images) if len(shape) == 3 else {"regions": images}
    rows, columns = torch.cartesian_prod(torch.arange(3), torch.arange(4)).T
    with torch.no_grad():
        expected = score(
            own,
            {name: value[columns] for name, value in said(folder, CAPTIONS).items()},
            {name: value[rows] for name, value in read.items()},
        )
    torch.testing.assert_close(model.score(images, tokens).flatten(), expected, atol=1e-5, rtol=1e-4)
    found = model.pair_scores(images, tokens)(rows.flip(0), columns.flip(0))
    torch.testing.assert_close(found.flip(0), expected, atol=1e-5, rtol=1e-4)

    whole = torch.autograd.grad(model.score(images, tokens).square().sum(), list(model.parameters()), allow_unused=True)
    monkeypatch.setattr(dual_encoder, "NUMBERS_AT_A_TIME", 3000)
    cut = torch.autograd.grad(model.score(images, tokens).square().sum(), list(model.parameters()), allow_unused=True)
    for a, b in zip(whole, cut, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)

    record = json.loads(json.dumps(portable_tables(config, model)))
    again = build_model(record, shape, tokenizer).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.score(images, tokens), expected.reshape(3, 4), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", MATCHED)
def test_a_head_re_ranks_what_a_dual_encoder_finds_and_is_trained_on_what_it_mines(kind: str, checkpoint) -> None:
    shape = MATCHED[kind][0]
    image = {"name": "convolution", "width": 8} if len(shape) == 3 else {"name": "linear"}
    reranker = {"name": "hugging_face", "path": str(checkpoint(kind)), "negatives": 1, "top": 2, "share": 50.0}
    config = {"image": {**image, "dim": 8}, "text": f"hf:{checkpoint('bert')}", "reranker": reranker}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, shape, tokenizer).eval()
    assert isinstance(model, Reranking)
    images, tokens, ids = images_of(shape, 4), tokenizer(CAPTIONS), torch.arange(4)
    found = model(images, tokens, ids)
    assert found.chosen.equal(choose_hardest(found.images @ found.texts.T, torch.eye(4, dtype=torch.bool), 1))
    gradient = torch.autograd.grad(surrogate(OBJECTIVE, found, ids), found.scores, retain_graph=True)[0]
    matches = Matches.of_image_ids(ids, ids)
    among = Matches(matches.positives, matches.negatives & found.chosen)
    torch.testing.assert_close(gradient, OBJECTIVE.weight_matrix(found.scores, among))
    surrogate(OBJECTIVE, found, ids).backward()
    assert any(float(p.grad.abs().sum()) for p in model.scorer.model.parameters() if p.grad is not None)

    split = Split("dev", ArrayImages(images.numpy()), tuple(CAPTIONS), np.arange(4))
    with torch.no_grad():
        x, y = model.dual(images, tokens)
        pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
        every = model.pair_scores(images, tokens)(*pairs).reshape(4, 4)
    ways = Ways([(model, tokenizer)], split)
    scores = all_scores(ways.of_captions, split)
    first = (x @ y.T).topk(2, 1).indices
    assert scores.topk(2, 1).indices.sort(1).values.equal(first.sort(1).values)
    rows = torch.arange(4)[:, None]
    assert scores[rows, first].argsort(1).equal(every[rows, first].argsort(1))
    assert {"rsum", "dual_rsum"} <= record_of(model, split, tokenizer).keys()


def test_regions_of_another_width_are_mapped(checkpoint) -> None:
    config = {"scorer": f"hf:{checkpoint('lxmert')}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    for shape in ((5,), (2, 5)):
        model = build_model(config, shape, tokenizer, (torch.rand(5), torch.rand(5) + 1))
        assert model.score(torch.rand(2, *shape), tokenizer(CAPTIONS)).shape == (2, 4)


@pytest.mark.parametrize(
    ("tables", "shape", "message"),
    [
        ({"checkpoint": "hf:CLIP"}, (10,), r"model.image: hugging_face: got images of shape \(10,\) but expected pict"),
        (
            {"image": "hf:BERT", "text": "hf:BERT"},
            SHAPE,
            "model.image: got a model of the type BertModel .*but expected one that embeds pixel_values",
        ),
        ({"image": {"name": "linear"}, "text": "hf:VIT"}, (10,), "tokenizer"),
        (
            {"checkpoint": "hug:CLIP"},
            SHAPE,
            "model.checkpoint: got 'hug:.*' but expected a table with a name, or hf:P",
        ),
        ({"checkpoint": "hf:NOWHERE"}, SHAPE, "got '.*NOWHERE' .*expected a folder with tokenizer.json"),
        ({"scorer": "hf:BERT"}, SHAPE, "model: type: got 'bert' but expected one of lxmert, blip, vilt, visual_bert"),
        ({"scorer": "hf:LXMERT"}, SHAPE, r"lxmert: got pictures \(3, 16, 16\) but expected features of regions"),
        (
            {"text": "hf:OTHER", "image": {"name": "linear"}, "reranker": "hf:LXMERT"},
            (4, 6),
            "got a tokenizer in which '(a|the)' is . but expected ., as in .*: set model.tokenizer to hf:",
        ),
        (
            {"checkpoint": {"name": "hugging_face", "path": "CLIP", "projection": "old"}},
            SHAPE,
            "projection: got 'old' but expected one of new, own",
        ),
    ],
)
def test_what_is_refused(tables: dict, shape: tuple[int, ...], message: str, checkpoint, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(checkpoint("bert"), other)
    definition = json.loads((other / "tokenizer.json").read_text())
    swapped = definition["model"]["vocab"]
    swapped["a"], swapped["the"] = swapped["the"], swapped["a"]
    (other / "tokenizer.json").write_text(json.dumps(definition))
    text = json.dumps(tables).replace("OTHER", str(other)).replace("NOWHERE", str(tmp_path / "NOWHERE"))
    for kind in ("clip", "bert", "lxmert", "vit"):
        text = text.replace(kind.upper(), str(checkpoint(kind)))
    config = json.loads(text)
    with pytest.raises(ValueError, match=message):
        build_model(config, shape, build_tokenizer(config, CAPTIONS))


def test_nothing_is_unpickled(checkpoint, tmp_path: Path) -> None:
    shutil.copytree(checkpoint("clip"), tmp_path / "clip")
    (tmp_path / "clip" / "model.safetensors").unlink()
    (tmp_path / "clip" / "pytorch_model.bin").write_bytes(b"c__builtin__\nprint\n(S'run'\ntR.")
    config = {"checkpoint": f"hf:{tmp_path / 'clip'}"}
    with pytest.raises(ValueError, match=r"expected a folder with config.json and model.safetensors"):
        build_model(config, SHAPE, build_tokenizer(config, CAPTIONS))


# --- saved, and read by those who wrote the class ---------------------------------------------------


def moved(model: torch.nn.Module) -> None:
    """As if it had been trained: all weights that are trained are others."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize("kind", DUAL)
def test_a_trained_dual_encoder_goes_back(kind: str, checkpoint, tmp_path: Path) -> None:
    config = {"checkpoint": f"hf:{checkpoint(kind)}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, SHAPE, tokenizer).eval()
    before = model.embed_images(pictures())
    moved(model)
    model = model.eval()
    assert not model.embed_images(pictures()).allclose(before)
    assert export_model(model, tokenizer, tmp_path / "out") == [
        f"{tmp_path / 'out'}: a dual encoder, for transformers.AutoModel.from_pretrained"
    ]
    own = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    text = said(tmp_path / "out", CAPTIONS, **({"padding": "max_length"} if "siglip" in kind else {}))
    if "siglip" in kind:
        del text["attention_mask"]
    images = pictures()
    with torch.no_grad():
        torch.testing.assert_close(
            unit(own.get_image_features(**told(tmp_path / "out", images))), model.embed_images(images)
        )
        torch.testing.assert_close(unit(own.get_text_features(**text)), model.embed_texts(tokenizer(CAPTIONS)))
    if kind in ("clip", "siglip"):
        assert own.logit_scale.equal(transformers.AutoModel.from_pretrained(checkpoint(kind)).logit_scale)
    again = build_model({"checkpoint": f"hf:{tmp_path / 'out'}"}, SHAPE, tokenizer).eval()
    assert again.embed_images(images).equal(model.embed_images(images))


@pytest.mark.parametrize(("dim", "pooling"), [(0, "own"), (0, "max"), (6, "mean"), (6, "first"), (6, "last")])
def test_a_trained_text_tower_goes_back(dim: int, pooling: str, checkpoint, tmp_path: Path) -> None:
    sentence = pytest.importorskip("sentence_transformers")
    text = {"name": "hugging_face", "path": str(checkpoint("bert")), "dim": dim, "pooling": pooling}
    config = {"image": {"name": "linear"}, "text": text}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, (10,), tokenizer).eval()
    moved(model)
    export_model(model, tokenizer, tmp_path / "out")
    found = sentence.SentenceTransformer(str(tmp_path / "out" / "text"), device="cpu")
    expected = model.embed_texts(tokenizer(CAPTIONS))
    torch.testing.assert_close(found.encode(CAPTIONS, convert_to_tensor=True), expected, atol=1e-5, rtol=1e-4)
    again = build_model({**config, "text": f"hf:{tmp_path / 'out' / 'text'}"}, (10,), tokenizer).eval()
    torch.testing.assert_close(again.embed_texts(tokenizer(CAPTIONS)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", MATCHED)
def test_a_trained_head_goes_back(kind: str, checkpoint, tmp_path: Path) -> None:
    shape, score = MATCHED[kind]
    config = {"scorer": f"hf:{checkpoint(kind)}"}
    tokenizer = build_tokenizer(config, CAPTIONS)
    model = build_model(config, shape, tokenizer).eval()
    moved(model)
    export_model(model, tokenizer, tmp_path / "out")
    own = getattr(transformers, CLASSES[kind]).from_pretrained(tmp_path / "out" / "matching").eval()
    images = images_of(shape)
    read = told(tmp_path / "out" / "matching", images) if len(shape) == 3 else {"regions": images}
    text = said(tmp_path / "out" / "matching", CAPTIONS)
    with torch.no_grad():
        found = score(own, {name: value[:1].expand(3, -1) for name, value in text.items()}, read)
    torch.testing.assert_close(found, model.score(images, tokenizer(CAPTIONS))[:, 0], atol=1e-5, rtol=1e-4)


def test_a_run_is_exported_whole_or_not_at_all(checkpoint, trained_small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = str(checkpoint("bert"))
    trained_small(run, "training.epochs=1", f"model.text=hf:{path}", f"model.tokenizer=hf:{path}")
    before = load_model(run)
    result = CliRunner().invoke(app, ["export", str(run), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "/text: captions, for sentence_transformers.SentenceTransformer" in result.output
    assert (tmp_path / "out" / "text" / "modules.json").is_file()
    expected = before.model.embed_texts(before.tokenizer(CAPTIONS))
    config = {"image": {"name": "linear"}, "text": f"hf:{tmp_path / 'out' / 'text'}"}
    again = build_model(config, (10,), build_tokenizer(config, CAPTIONS)).eval()
    torch.testing.assert_close(again.embed_texts(before.tokenizer(CAPTIONS)), expected, atol=1e-5, rtol=1e-4)
    result = CliRunner().invoke(app, ["export", str(run), "-o", "-"])
    assert result.exit_code == 2
    assert "got - but expected a folder" in result.output


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"image": {"name": "linear"}, "text": {"name": "recurrent"}}, "got a model without a checkpoint"),
        ({"image": {"name": "linear"}, "text": {"name": "hugging_face", "pooling": "gpo"}}, "the pooling Generalised"),
        (
            {"image": {"name": "linear"}, "text": {"name": "hugging_face", "pooling": "max", "dim": 6}},
            "the pooling max behind a pro",
        ),
    ],
)
def test_what_is_not_exported(tables: dict, message: str, checkpoint, tmp_path: Path) -> None:
    config = json.loads(json.dumps(tables))
    if config["text"]["name"] == "hugging_face":
        config["text"]["path"] = str(checkpoint("bert"))
    config["tokenizer"] = f"hf:{checkpoint('bert')}"
    tokenizer = build_tokenizer(config, CAPTIONS)
    with pytest.raises(ValueError, match=message):
        export_model(build_model(config, (10,), tokenizer), tokenizer, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_words_are_masked_exchanged_and_left_out_in_training_alone(checkpoint) -> None:
    tokenizer = build_tokenizer({"text": f"hf:{checkpoint('bert')}"}, CAPTIONS)
    augment = WordAugmentation(tokenizer, 0.2)
    numbers = tokenizer.vocabulary
    row = [numbers[w] for w in ["[CLS]", *["dog", "##s", "a", "cat", "red"] * 4, "[SEP]"]]
    tokens = Tokens(torch.tensor(row).repeat(4000, 1), torch.full((4000,), len(row)))
    assert augment.eval()(tokens) is tokens
    found = augment.train()(tokens)
    assert found.ids[:, 0].eq(row[0]).all()
    assert found.ids.gather(1, found.lengths[:, None] - 1).eq(row[-1]).all()
    masked = float((found.ids.eq(numbers["[MASK]"]) & found.mask).sum()) / (4000 * 20)
    assert masked == pytest.approx(0.1 + 0.02 / len(tokenizer), abs=0.01)
    assert float((len(row) - found.lengths).sum()) / (4000 * 20) == pytest.approx(0.08, abs=0.01)
    whole = found.ids[found.lengths == len(row)]
    pieces = whole.eq(numbers["[MASK]"])
    first, second = pieces[:, 1:-1:5], pieces[:, 2:-1:5]  # "dog" and "##s" are one word
    assert float((first == second).double().mean()) > 0.95
    with pytest.raises(
        ValueError, match=r"augment: got 0.2 beside a tokenizer without a token that masks but expected 0"
    ):
        WordAugmentation(Vocabulary.built_on(CAPTIONS, 1), 0.2)


def test_the_published_recipe_of_vse_infty() -> None:
    experiment = experiment_from_mapping(preset("vse_infty_bert"))
    options = experiment.training
    assert [(g.match, g.learning_rate) for g in options.groups] == [("text.model.*", 5e-5)]
    rates = [learning_rate(options, epoch * 10, 10) for epoch in (0, 14, 15, 24)]
    assert rates == pytest.approx([5e-4, 5e-4, 5e-5, 5e-5])
    assert (options.batch_size, options.epochs, options.clip, options.epochs_on_all) == (128, 25, 2.0, 1)
    assert experiment.model["text"]["augment"] == experiment.model["image"]["drop"] == 0.2
