"""Models from tables: every encoder and scorer by its name, rebuilt from its state, and what errors say."""

import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from goal_analysis.vse.folder.run import ARCHITECTURE, load_model
from goal_analysis.vse.folder.run_folder import RunError
from goal_analysis.vse.models.dual_encoder import Reranking
from goal_analysis.vse.models.encoders import IMAGE_ENCODERS, TEXT_ENCODERS
from goal_analysis.vse.models.encoders.pooling import GeneralisedPooling, Pooled
from goal_analysis.vse.models.encoders.trained import Linear
from goal_analysis.vse.models.model import DualEncoder, build_model, build_tokenizer, portable_tables, restore_tokenizer
from goal_analysis.vse.models.scorers import Scorer
from goal_analysis.vse.models.text import Subwords, Vocabulary, tokenizer_json

os.environ.setdefault("HF_HUB_OFFLINE", "1")

CAPTIONS = ["a dog runs", "a red cat sits", "the dog"]
VOCABULARY = Vocabulary.built_on(CAPTIONS, 1)
BERT = {
    "vocab_size": 30,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
IMAGES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "linear": ((10,), {"dropout": 0.3}),
    "regions": ((4, 10), {"pooling": "gpo"}),
    "convolution": ((3, 16, 16), {"width": 8}),
    "timm": ((3, 16, 16), {"model": "tiny"}),
    "torchvision": ((3, 16, 16), {"model": "tiny"}),
}
TEXTS: dict[str, dict[str, Any]] = {
    "bag_of_words": {"dropout": 0.3},
    "recurrent": {"words": 6},
    "transformer": {"heads": 4, "layers": 1},
    "hugging_face": {},
}


class Trunk(nn.Module):
    """A network in the place of one of timm's or torchvision's."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.num_features = 6
        self.features = nn.Conv2d(3, 6, 3, stride=4)
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.1, 0.2, 0.3)}
        self.fc = nn.Linear(6, classes) if classes else None

    def forward(self, images: Tensor) -> Tensor:
        found = self.features(images).relu()
        return found if self.fc is None else self.fc(found.mean((2, 3)))


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Stand-ins for timm and torchvision, which are no dependencies; what they were asked for."""
    asked: list[dict] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        asked.append(options)
        return Trunk(options["num_classes"])

    def get_model(name: str, weights: str | None) -> nn.Module:
        asked.append({"weights": weights})
        return Trunk(1000)

    timm, torchvision = ModuleType("timm"), ModuleType("torchvision")
    timm.list_models, timm.create_model = (lambda: ["tiny", "small"]), create_model
    torchvision.models = SimpleNamespace(list_models=lambda module: ["tiny", "small"], get_model=get_model)
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    return asked


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model of random weights and its tokenizer."""
    transformers = pytest.importorskip("transformers", minversion="5")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["a", "red", "dog", "cat", "runs", "sit", "##s", "the"]]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(folder)
    return folder


def config(image: str, text: str, folder: Path | None = None, **more: Any) -> dict[str, Any]:
    found = {
        "image": {"name": image, "dim": 16, **IMAGES[image][1]},
        "text": {"name": text, **TEXTS[text]},
        "tokenizer": {"name": "words", "min_count": 1},
        **more,
    }
    if text == "hugging_face":
        del found["tokenizer"]
        found["text"]["path"] = str(folder)
    return found


def statistics(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    features = shape[0] if len(shape) == 3 else shape[-1]
    return torch.rand(features), torch.rand(features) + 0.5


def test_every_encoder_is_here() -> None:
    assert set(IMAGES) == set(IMAGE_ENCODERS) - {"hugging_face", "open_clip"}
    assert set(TEXTS) == set(TEXT_ENCODERS) - {"open_clip"}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("text", TEXTS)
def test_any_two_make_a_dual_encoder_that_its_state_makes_again(
    image: str, text: str, packages: list, bert: Path
) -> None:
    given, shape = config(image, text, bert), IMAGES[image][0]
    tokenizer = build_tokenizer(given, CAPTIONS)
    model = build_model(given, shape, tokenizer, statistics(shape)).eval()
    assert isinstance(model, DualEncoder)
    images, tokens = torch.rand(2, *shape), tokenizer(CAPTIONS)
    x, y = model(images, tokens)
    assert (x.shape, y.shape) == ((2, 16), (3, 16))
    assert x.equal(model.embed_images(images))
    assert y.equal(model.embed_texts(tokens))

    record = json.loads(json.dumps([portable_tables(given, model), tokenizer_json(tokenizer)]))
    other_tokenizer = restore_tokenizer(record[1])
    other = build_model(record[0], shape, other_tokenizer).eval()
    assert not other(images, tokens)[1].allclose(y)
    other.load_state_dict(model.state_dict())
    other_tokens = other_tokenizer(CAPTIONS)
    assert all(a.equal(b) for a, b in zip((x, y), other(images, other_tokens), strict=True))


def test_a_run_needs_nothing_of_where_its_language_model_came_from(trained_small, bert: Path, tmp_path: Path) -> None:
    origin, run = tmp_path / "origin", tmp_path / "run"
    shutil.copytree(bert, origin)
    text = ("model.text.name=hugging_face", f"model.text.path={origin}")
    trained_small(run, "training.epochs=1", *text, f"model.tokenizer={{name='subwords', path='{origin}'}}")
    before = load_model(run)
    tokens = before.tokenizer(CAPTIONS)
    shutil.rmtree(origin)
    after = load_model(run)
    assert after.model.embed_texts(after.tokenizer(CAPTIONS)).equal(before.model.embed_texts(tokens))
    (run / ARCHITECTURE).write_text(json.dumps(after.experiment.model))  # as it was given, it does need that
    with pytest.raises(RunError, match="origin"):
        load_model(run)


@pytest.mark.parametrize("name", ["cross_attention", "fusion"])
def test_a_scorer_takes_the_place_of_the_pooling(name: str, bert: Path) -> None:
    for text in ("recurrent", "transformer", "hugging_face"):
        given = config("regions", text, bert, scorer={"name": name})
        del given["image"]["pooling"]
        tokenizer = build_tokenizer(given, CAPTIONS)
        model = build_model(given, (4, 10), tokenizer, statistics((4, 10))).eval()
        assert isinstance(model, Scorer)
        assert not any(isinstance(part, GeneralisedPooling) for part in model.modules())
        images, tokens = torch.rand(2, 4, 10), tokenizer(CAPTIONS)
        found = model(images, tokens)
        assert found.shape == (2, 3)
        other = build_model(portable_tables(given, model), (4, 10), tokenizer).eval()
        other.load_state_dict(model.state_dict())
        assert other(images, tokens).equal(found)


def test_a_reranker_stands_beside_the_pooling() -> None:
    given = {**RERANKED, "reranker": {"name": "fusion", "negatives": 1, "top": 3}}
    model = build_model(given, (4, 10), VOCABULARY, statistics((4, 10))).eval()
    assert isinstance(model, Reranking)
    assert (model.negatives, model.top) == (1, 3)
    assert any(isinstance(part, GeneralisedPooling) for part in model.modules())
    other = build_model(portable_tables(given, model), (4, 10), VOCABULARY).eval()
    other.load_state_dict(model.state_dict())
    images, tokens = torch.rand(3, 4, 10), VOCABULARY(CAPTIONS)
    assert all(a.equal(b) for a, b in zip(model.dual(images, tokens), other.dual(images, tokens), strict=True))


def test_pictures_take_the_encoder_for_pictures() -> None:
    given = {**config("linear", "bag_of_words"), "pictures": {"name": "convolution", "width": 8}}
    for shape, kind in (((10,), Linear), ((4, 10), Linear), ((3, 16, 16), Pooled)):
        model = build_model(given, shape, VOCABULARY, statistics(shape))
        assert isinstance(model.image, kind)
        assert model(torch.rand(2, *shape), VOCABULARY(CAPTIONS))[0].shape == (2, 16)


def test_the_seed_makes_the_weights() -> None:
    given = config("linear", "bag_of_words")
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_model(given, (10,), VOCABULARY).state_dict())
    assert all(states[0][key].equal(states[1][key]) for key in states[0])
    assert not all(states[0][key].equal(states[2][key]) for key in states[0])


def test_the_width_may_stand_at_either_encoder() -> None:
    for image, text in (({"dim": 7}, {}), ({}, {"dim": 7}), ({"dim": 7}, {"dim": 7})):
        given = {"image": {"name": "linear", **image}, "text": {"name": "bag_of_words", **text}}
        x, y = build_model(given, (10,), VOCABULARY)(torch.rand(2, 10), VOCABULARY(CAPTIONS))
        assert x.shape[1] == y.shape[1] == 7
    assert given == {"image": {"name": "linear", "dim": 7}, "text": {"name": "bag_of_words", "dim": 7}}


def test_a_language_model_brings_its_weights_and_its_tokenizer(bert: Path) -> None:
    given = config("linear", "hugging_face", bert)
    tokenizer = build_tokenizer(given, CAPTIONS)
    assert isinstance(tokenizer, Subwords)
    assert tokenizer(["the cat sits"]).ids.tolist() == [[2, 12, 8, 10, 11, 3]]
    assert tokenizer(["the cat sits", "dog"]).lengths.tolist() == [6, 3]
    models = [build_model(given, (10,), tokenizer).text.local.model.state_dict() for _ in range(2)]
    assert all(models[0][key].equal(models[1][key]) for key in models[0])


def test_long_captions_are_cut(bert: Path) -> None:
    tokenizer = Subwords.built_on(CAPTIONS, path=str(bert), longest=6)
    assert restore_tokenizer(tokenizer_json(tokenizer))(["dog " * 50]).ids.shape == (1, 6)


def test_pretrained_networks_are_standardised_as_they_were_trained(packages: list) -> None:
    for name, first in (("timm", 0.5), ("torchvision", 0.485)):
        given = config(name, "bag_of_words")
        given["image"]["pretrained"] = True
        model = build_model(given, (3, 16, 16), VOCABULARY, statistics((3, 16, 16)))
        assert float(model.image.local.given[0].mean[0]) == pytest.approx(first)
        assert portable_tables(given, model)["image"]["pretrained"] is False
        assert given["image"]["pretrained"] is True
    assert packages == [{"pretrained": True, "num_classes": 0, "global_pool": ""}, {"weights": "DEFAULT"}]


def test_the_network_of_torchvision_loses_its_classifier(packages: list) -> None:
    model = build_model(config("torchvision", "bag_of_words"), (3, 16, 16), VOCABULARY)
    assert model.image.local.linear.in_features == 6


@pytest.mark.parametrize(("image", "package"), [("timm", "timm"), ("torchvision", "torchvision")])
def test_an_absent_package_is_named(image: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ValueError, match=f"model.image: {package}: got no {package} but expected it: pip install {package}"
    ):
        build_model(config(image, "bag_of_words"), (3, 16, 16), VOCABULARY)


def test_without_transformers_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", minversion="5")  # an older one is named by its version
    monkeypatch.setitem(sys.modules, "transformers", None)
    given = config("linear", "hugging_face", Path("nowhere"))
    said = r"got no transformers but expected transformers>=5,<6: pip install 'goal-analysis\[transformers\]'"
    with pytest.raises(ValueError, match=f"model.tokenizer: subwords: {said}"):
        build_tokenizer(given, CAPTIONS)
    with pytest.raises(ValueError, match=f"model.text: hugging_face: {said}"):
        build_model(given, (10,), VOCABULARY)


@pytest.mark.parametrize(
    ("version", "said"), [("4.57.6", "got transformers 4.57.6 but expected"), ("5.0.0", "nowhere")]
)
def test_an_older_transformers_is_named(
    version: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in, which has what is looked for, and finds nothing."""
    info = tmp_path / f"transformers-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")
    (tmp_path / "transformers.py").write_text(
        "class AutoConfig:\n    def from_pretrained(path, **more):\n        raise OSError(path)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    try:
        with pytest.raises(ValueError, match=f"model.tokenizer: .*{said}"):
            build_tokenizer(config("linear", "hugging_face", Path("nowhere")), CAPTIONS)
    finally:
        sys.modules.pop("transformers", None)


def test_a_pickled_language_model_is_refused(bert: Path, tmp_path: Path) -> None:
    for file in bert.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    given = config("linear", "hugging_face", tmp_path)
    with pytest.raises(ValueError, match=r"expected a folder with config.json and model.safetensors"):
        build_model(given, (10,), build_tokenizer(given, CAPTIONS))


def changed(part: str, **options: Any) -> dict[str, Any]:
    found = config("linear", "bag_of_words")
    return {**found, part: {**found.get(part, {}), **options}}


TIMM = config("timm", "bag_of_words")
CONVOLUTION = config("convolution", "bag_of_words")
RERANKED = config("regions", "recurrent", reranker={"name": "fusion"})


def test_what_is_changed_below_is_right_before() -> None:
    assert isinstance(build_model(config("linear", "bag_of_words"), (10,), VOCABULARY), DualEncoder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "model.image: got None but expected a table with a name"),
        ({**TIMM, "text": "bag_of_words"}, "model.text: got 'bag_of_words' but expected a table with a name"),
        (
            {**TIMM, "txt": {}},
            "model: got the key 'txt' but expected one of text, checkpoint, image, pict",
        ),
        (changed("image", name="liner"), "model.image: name: got 'liner' but expected one of linear, regions"),
        (changed("text", name="gru"), "model.text: name: got 'gru' but expected one of bag_of_words, recurrent"),
        (
            changed("text", droput=0.1),
            "model.text: bag_of_words: got the key 'droput' but expected one of dropout, dim, hidden",
        ),
        (changed("text", tokenizer=1), "model.text: bag_of_words: got the key 'tokenizer' but expected one of dim"),
        (changed("image", dropout="0.3"), "model.image: linear: dropout: got '0.3' but expected a number"),
        (
            changed("image", dropout=1.0),
            "model.image: linear: dropout: got 1.0 but expected a number from 0 to below 1",
        ),
        (changed("image", dropout=float("nan")), "model.image: linear: dropout: got nan but expected"),
        (
            changed("image", dim=True),
            "model.image: linear: dim: got True but expected a whole number from 1 to 10,000,000",
        ),
        (
            {**CONVOLUTION, "image": {"name": "convolution", "crop": 0}},
            "model.image: convolution: crop: got 0 but expected a number above 0, and 1 at most",
        ),
        (
            {**CONVOLUTION, "image": {"name": "convolution", "flip": -0.1}},
            "model.image: convolution: flip: got -0.1 but expected a probability",
        ),
        ({**RERANKED, "image": {"name": "regions", "drop": 1.5}}, "regions: drop: got 1.5 but expected a number from"),
        ({**RERANKED, "text": {"name": "recurrent", "forget": 2}}, "recurrent: forget: got 2 but expected a number"),
        (
            {**RERANKED, "reranker": {"name": "fusion", "layers": 0}},
            "model.reranker: fusion: layers: got 0 but expected a whole number from 1",
        ),
        (
            {**RERANKED, "reranker": {"name": "cross_attention", "queries": "all"}},
            "cross_attention: queries: got 'all' but expected one of both, regions, words",
        ),
        (
            {**RERANKED, "reranker": {"name": "cross_attention", "pool": "max"}},
            "cross_attention: pool: got 'max' but expected one of logsumexp, mean",
        ),
        (
            {**RERANKED, "reranker": {"name": "cross_attention", "sharpness": 0}},
            "cross_attention: sharpness: got 0 but expected a number above 0",
        ),
        (changed("image", dim=0), "model.image: linear: dim: got 0 but expected a whole number from 1 to 10,000,000"),
        (changed("image", hidden=-1), "model.image: linear: hidden: got -1 but expected a whole number from 0 to"),
        (changed("text", dim=8), "model.text: dim: got 8 but expected 16, as model.image has it"),
        ({**TIMM, "image": {"name": "convolution"}}, r"model.image: convolution: .*\(10,\) but expected pictures"),
        ({**TIMM, "image": {"name": "timm"}}, "model.image: timm: got no model but expected text"),
        (
            {**TIMM, "image": {"name": "timm", "model": "tinny"}},
            "got 'tinny' but expected one of the 2 .* such as tiny",
        ),
        (changed("scorer", name="dot"), "model.scorer: name: got 'dot' but expected one of cross_attention"),
        (
            changed("scorer", name="fusion"),
            "model.image: name: got 'linear' but expected beside a scorer: regions",
        ),
        (
            {**changed("scorer", name="fusion"), "image": {"name": "regions", "pooling": "gpo"}},
            "model.image: got pooling 'gpo' but expected none beside a scorer",
        ),
        (changed("reranker", name="fusion"), "name: got 'linear' but expected beside a reranker: regions"),
        ({**RERANKED, "scorer": {"name": "fusion"}}, "got a scorer and a reranker but expected one of them at most"),
        (
            {**RERANKED, "reranker": {"name": "fusion", "top": 0}},
            "model.reranker: top: got 0 but expected a whole number",
        ),
        (
            {**RERANKED, "reranker": {"name": "fusion", "tops": 1}},
            "model.reranker: fusion: got the key 'tops' but expected one of",
        ),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str, packages: list) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(given, (10,), VOCABULARY)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokenizer": {"name": "word"}}, "model.tokenizer: name: got 'word' but expected one of words, subwords"),
        ({"tokenizer": {"name": "words", "min_count": 9}}, "model.tokenizer: min_count: got 9 but expected at most 2"),
        (
            {"tokenizer": {"name": "words", "min_count": 0}},
            "model.tokenizer: words: min_count: got 0 but expected a whole",
        ),
        (
            {"tokenizer": {"name": "words", "least": 1}},
            "model.tokenizer: words: got the key 'least' but expected one of min_count",
        ),
        ({"tokenizer": {"name": "subwords", "path": "/nowhere"}}, "model.tokenizer: path: got '/nowhere'"),
        ({"tokenizer": {"name": "subwords"}}, "model.tokenizer: subwords: got no path but expected text"),
    ],
)
def test_what_tokenizers_are_refused(given: dict[str, Any], message: str) -> None:
    if "nowhere" in message:  # an older transformers is named by its version
        pytest.importorskip("transformers", minversion="5")
    with pytest.raises(ValueError, match=message):
        build_tokenizer(given, CAPTIONS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "pickle"}, "tokenizer: name: got 'pickle' but expected one of words, subwords, open_clip"),
        ({"kind": "words"}, "tokenizer: got no words but expected a list of texts"),
        (
            {"kind": "subwords", "definition": "{}", "longest": 5},
            "subwords: got .* expected the text of a tok",
        ),
    ],
)
def test_what_is_not_restored(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore_tokenizer(given)
