"""Laws over every encoder of images and of captions, and over every pooling."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from goal_analysis.vse.models.encoders import IMAGE_ENCODERS, TEXT_ENCODERS
from goal_analysis.vse.models.encoders.networks import Backbone
from goal_analysis.vse.models.encoders.pooling import (
    POOLINGS,
    Dropout,
    Fixed,
    GeneralisedPooling,
    Pooled,
    drop_elements,
    pool_by_place,
)
from goal_analysis.vse.models.encoders.trained import BagOfWords, Linear, Standardise
from goal_analysis.vse.models.text import Tokens, Vocabulary

pytestmark = pytest.mark.usefixtures("float64")

DIM = 16
CAPTIONS = ["a dog runs", "a red cat sits near a tree", "dog", "the the the dog and a cat", "zebra", "a cat"]
VOCABULARY = Vocabulary.built_on(CAPTIONS, 1)
TINY_BERT = {
    "model_type": "bert",
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}


class Trunk(nn.Module):
    """A backbone as timm gives them: a map of features."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 6, 3, stride=4)
        self.num_features = 6
        self.channels_last = channels_last

    def forward(self, images: Tensor) -> Tensor:
        found = self.layer(images).relu()
        return found.movedim(1, -1) if self.channels_last else found


class Other:
    """A tokenizer that is no vocabulary."""

    def __call__(self, captions: Sequence[str]) -> Tokens:
        return VOCABULARY(captions)

    def __len__(self) -> int:
        return len(VOCABULARY)

    def to_json(self) -> dict:
        return {}


def statistics(features: int) -> tuple[Tensor, Tensor]:
    return torch.linspace(-1, 1, features), torch.linspace(0.5, 2, features)


AT_ONE_PLACE = ("first", "last")  # poolings that an order makes a difference to
# What every encoder is built with here; the test below demands that none is missing.
IMAGES: dict[str, tuple[tuple[int, ...], dict]] = {
    "linear": ((10,), {}),
    "linear, hidden": ((10,), {"hidden": 8}),
    **{f"regions, {name}": ((5, 10), {"pooling": name, "hidden": 8}) for name in POOLINGS if name not in AT_ONE_PLACE},
    "convolution": ((3, 32, 24), {"width": 8}),
    "convolution, gpo": ((3, 16, 16), {"width": 8, "pooling": "max"}),
    "timm": ((3, 16, 20), {}),
    "torchvision": ((3, 16, 20), {}),
}
TEXTS: dict[str, dict] = {
    "bag_of_words": {},
    "bag_of_words, hidden": {"hidden": 8},
    **{f"recurrent, {name}": {"pooling": name, "words": 6} for name in POOLINGS if name not in AT_ONE_PLACE},
    "transformer": {"heads": 4, "layers": 2, "dropout": 0.0},
    "transformer, gpo": {"heads": 4, "layers": 1, "pooling": "gpo", "dropout": 0.0},
    "hugging_face": {"architecture": TINY_BERT, "pooling": "attention"},
}


def image_encoder(case: str, **more) -> nn.Module:
    name = case.split(",")[0]
    shape, options = IMAGES[case]
    features = shape[0] if len(shape) == 3 else shape[-1]
    if name in ("timm", "torchvision"):  # neither is a dependency: a trunk of our own is handed to the same seam
        return Pooled(Backbone(Trunk(name == "timm"), shape, statistics(features), DIM), Fixed("mean"))
    return IMAGE_ENCODERS[name](shape, statistics(features), **{"dim": DIM, **options, **more})


def text_encoder(case: str, **more) -> nn.Module:
    if case == "hugging_face":
        pytest.importorskip("transformers", minversion="5")
    return TEXT_ENCODERS[case.split(",")[0]](VOCABULARY, **{"dim": DIM, **TEXTS[case], **more})


CASES = [*(f"image: {case}" for case in IMAGES), *(f"text: {case}" for case in TEXTS)]


def made(case: str) -> tuple[nn.Module, Tensor | Tokens]:
    """The encoder, and something for it to encode."""
    side, name = case.split(": ")
    if side == "text":
        return text_encoder(name), VOCABULARY(CAPTIONS)
    return image_encoder(name), torch.randn(6, *IMAGES[name][0])


def permuted(given: Tensor | Tokens, order: Tensor) -> Tensor | Tokens:
    return given[order] if isinstance(given, Tensor) else Tokens(given.ids[order], given.lengths[order])


def test_every_encoder_is_here() -> None:
    assert {case.split(",")[0] for case in IMAGES} == set(IMAGE_ENCODERS) - {"hugging_face", "open_clip"}
    assert {case.split(",")[0] for case in TEXTS} == set(TEXT_ENCODERS) - {"open_clip"}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_unit_vectors(case: str) -> None:
    encoder, given = made(case)
    for mode in (True, False):
        found = encoder.train(mode)(given)
        assert found.shape == (6, DIM)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("case", CASES)
def test_in_evaluation_it_is_the_same_twice_and_the_batch_does_not_matter(case: str) -> None:
    encoder, given = made(case)
    encoder.eval()
    with torch.no_grad():
        found = encoder(given)
        assert encoder(given).equal(found)
        order = torch.tensor([3, 1, 5, 0, 4, 2])
        torch.testing.assert_close(encoder(permuted(given, order)), found[order])
        alone = [given[k : k + 1] if isinstance(given, Tensor) else given.rows([k]) for k in range(6)]
        torch.testing.assert_close(torch.cat([encoder(one) for one in alone]), found)
        assert (found[0] - found[1]).abs().max() > 1e-3, "everything has one vector"


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_reaches_every_parameter(case: str) -> None:
    encoder, given = made(case)
    (encoder.eval()(given) * torch.randn(6, DIM)).sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # Attention does not see what is added to all keys, nor a transformer the second of two kinds of segment.
    assert [n for n in without if "token_type" not in n and "key.bias" not in n] == []


@pytest.mark.parametrize("case", CASES)
def test_the_state_makes_the_same_encoder(case: str) -> None:
    encoder, given = made(case)
    torch.manual_seed(1)
    other, _ = made(case)
    if isinstance(given, Tensor):
        for one in other.modules():
            if isinstance(one, Standardise):
                one.mean.zero_()
    assert not other.eval()(given).allclose(encoder.eval()(given))
    other.load_state_dict(encoder.state_dict())
    assert other(given).equal(encoder(given))


@pytest.mark.parametrize("case", CASES)
def test_float32_is_finite_and_close(case: str) -> None:
    encoder, given = made(case)
    expected = encoder.eval()(given)
    found = encoder.float()(given.float() if isinstance(given, Tensor) else given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("case", TEXTS)
def test_longer_padding_does_not_matter(case: str) -> None:
    encoder, tokens = text_encoder(case).eval(), VOCABULARY(CAPTIONS)
    longer = Tokens(torch.cat((tokens.ids, torch.zeros(6, 5, dtype=torch.int64)), 1), tokens.lengths)
    torch.testing.assert_close(encoder(longer), encoder(tokens))
    one_word_more = Tokens(longer.ids.masked_fill(longer.ids == 0, 2), tokens.lengths + 1)
    assert not encoder(one_word_more).allclose(encoder(tokens))


BART = {"encoder_layers": 1, "encoder_attention_heads": 2, "decoder_layers": 1, "decoder_attention_heads": 2}
"""A model with a decoder, which is of no use here."""


@pytest.mark.parametrize(
    ("kind", "fits", "more"),
    [
        ("bert", 20, {}),
        ("roberta", 18, {"pad_token_id": 1}),  # its positions begin behind that of the padding
        ("mpnet", 18, {"pad_token_id": 1}),
        ("bart", 20, {"d_model": 12, **BART}),
    ],
)
def test_a_language_model_cuts_what_is_longer_than_its_positions(kind: str, fits: int, more: dict) -> None:
    encoder = text_encoder("hugging_face", architecture={**TINY_BERT, "model_type": kind, **more}).eval()
    most = fits // 2
    whole = VOCABULARY(["a dog " * most, "a dog"])
    longer = VOCABULARY(["a dog " * most + "runs runs runs", "a dog"])
    other = VOCABULARY(["a dog " * (most - 1) + "a runs", "a dog"])
    assert (whole.ids.shape[1], longer.ids.shape[1]) == (fits, fits + 3)
    torch.testing.assert_close(encoder(longer), encoder(whole))
    assert not encoder(other)[0].allclose(encoder(whole)[0])


def test_a_language_model_has_no_decoder() -> None:
    encoder = text_encoder("hugging_face", architecture={**TINY_BERT, "model_type": "bart", "d_model": 12, **BART})
    assert not [name for name, _ in encoder.named_parameters() if "decoder" in name]
    t5 = {"model_type": "t5", "vocab_size": 40, "d_model": 12, "d_kv": 6, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    assert text_encoder("hugging_face", architecture=t5).eval()(VOCABULARY(["a dog " * 40])).shape == (1, DIM)


@pytest.mark.parametrize("case", [c for c in IMAGES if not c.startswith("t")])
def test_statistics_standardise(case: str) -> None:
    shape = IMAGES[case][0]
    behind = (1, 1) if len(shape) == 3 else ()
    encoder = image_encoder(case).eval()
    mean, deviation = (s.reshape(-1, *behind) for s in statistics(shape[0] if behind else shape[-1]))
    images = torch.randn(4, *shape)
    plain = image_encoder(case).eval()
    state = {k: v for k, v in encoder.state_dict().items() if not k.endswith(("mean", "deviation"))}
    plain.load_state_dict({**plain.state_dict(), **state})
    for one in plain.modules():
        if isinstance(one, Standardise):
            one.mean.zero_()
            one.deviation.fill_(1)
    torch.testing.assert_close(encoder(images), plain((images - mean) / deviation))


def test_a_feature_that_does_not_vary_is_only_centred() -> None:
    found = Standardise((2,), (torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])))(torch.tensor([[1.5, 7.0]]))
    assert found.tolist() == [[0.5, 2.0]]


def test_linear_is_the_formula() -> None:
    encoder = Linear((10,), statistics(10), dim=DIM)
    mean, deviation = statistics(10)
    images = torch.randn(3, 10)
    last = encoder.layers[-1]
    expected = (images - mean) / deviation @ last.weight.T + last.bias
    torch.testing.assert_close(encoder(images), expected / expected.norm(dim=1, keepdim=True))


def test_the_bag_is_that_of_scikit_learn() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    options = {"vocabulary": VOCABULARY.words, "token_pattern": r"\w+", "sublinear_tf": True}
    expected = text.TfidfVectorizer(**options).fit(CAPTIONS).transform([*CAPTIONS, "a a dog unseen"]).toarray()
    tokens = VOCABULARY([*CAPTIONS, "a a dog unseen"])
    found = torch.zeros(7, len(VOCABULARY))
    found.scatter_add_(1, tokens.ids, BagOfWords(VOCABULARY).weights(tokens))
    torch.testing.assert_close(found[:, 2:], torch.from_numpy(expected))
    assert not found[:, :2].any()


def test_dropout_of_the_bag_leaves_out_a_word_wherever_it_stands() -> None:
    encoder = BagOfWords(VOCABULARY, dim=DIM, dropout=0.5)
    tokens = VOCABULARY(["the the the"])
    with torch.no_grad():
        found = {tuple(encoder(tokens)[0].tolist()) for _ in range(40)}
    assert len(found) == 2


@pytest.mark.parametrize("shape", [(1000, 100), (7, 3), (1,), (0, 4)])
def test_dropout_keeps_the_mean(shape: tuple[int, ...]) -> None:
    dropout = Dropout(0.3)
    found = dropout(torch.ones(shape))
    assert found.shape == shape
    assert set(found.unique().tolist()) <= {0.0, 1 / (1 - round(0.3 * 2**16) / 2**16)}
    assert dropout.eval()(torch.ones(shape)).equal(torch.ones(shape))
    if len(found) == 1000:
        assert abs(found.mean() - 1) < 0.01
        assert abs((found == 0).double().mean() - 0.3) < 0.01
        neighbours = [(found[:, k::4] == 0).double() - 0.3 for k in range(4)]  # of one random number
        assert all((a * b).mean().abs() < 0.01 for a in neighbours for b in neighbours if a is not b)


@pytest.mark.parametrize("name", list(POOLINGS))
def test_poolings_pass_over_what_is_not_there(name: str) -> None:
    pooling = POOLINGS[name](DIM)
    elements, mask = torch.randn(4, 6, DIM), torch.rand(4, 6) < 0.6
    mask[:, 2] = True
    mask[:, 0] = name != "first"
    mask[:, -1] = name != "last"
    found = pooling(elements, mask)
    torch.testing.assert_close(pooling(elements.masked_fill(~mask[:, :, None], 1e6), mask), found)
    order = torch.arange(6) if name in AT_ONE_PLACE else torch.randperm(6)
    torch.testing.assert_close(pooling(elements[:, order], mask[:, order]), found)
    alone = torch.cat([pooling(e[None, m], m[None, m]) for e, m in zip(elements, mask, strict=True)])
    torch.testing.assert_close(alone, found)
    assert not pooling(elements, torch.ones_like(mask)).allclose(found)


def test_uniform_weights_are_the_mean_and_one_hot_the_greatest() -> None:
    elements, mask = torch.randn(4, 6, DIM), torch.arange(6) < torch.tensor([6, 3, 1, 4])[:, None]
    uniform = mask / mask.sum(1, keepdim=True)
    one_hot = torch.zeros(4, 6)
    one_hot[:, 0] = 1
    mean, greatest = (POOLINGS[name](DIM)(elements, mask) for name in ("mean", "max"))
    torch.testing.assert_close(pool_by_place(elements, mask, uniform), mean)
    torch.testing.assert_close(pool_by_place(elements, mask, one_hot), greatest)
    assert not pool_by_place(elements, mask, uniform).allclose(greatest)
    assert not pool_by_place(elements, mask, one_hot.roll(1, 1)).allclose(greatest)


def test_gpo_is_the_papers_formula() -> None:
    pooling = GeneralisedPooling(DIM)
    elements, lengths = torch.randn(5, 7, DIM), torch.tensor([7, 2, 4, 2, 1])
    found = pooling(elements, torch.arange(7) < lengths[:, None])
    for row, length in enumerate(lengths.tolist()):
        places = torch.zeros(1, length, 32)
        for k in range(length):
            for i in range(16):
                angle = torch.tensor(k / 10_000 ** (2 * i / 32))
                places[0, k, 2 * i], places[0, k, 2 * i + 1] = angle.sin(), angle.cos()
        both = pooling.gru(places)[0][0]
        theta = (pooling.score((both[:, :32] + both[:, 32:]) / 2)[:, 0] / 0.1).softmax(0)
        expected = (theta[:, None] * elements[row, :length].sort(dim=0, descending=True).values).sum(0)
        torch.testing.assert_close(found[row], expected)
    assert pooling.weights(lengths, 7).sum(1).allclose(torch.ones(5))


def test_features_of_regions_and_of_the_whole_fit_either_encoder() -> None:
    regions, whole = torch.randn(3, 4, 10), torch.randn(3, 10)
    of_whole = Linear((4, 10), statistics(10), dim=DIM)
    standardised = of_whole.layers[0](regions).mean(1)
    expected = nn.functional.normalize(of_whole.layers[2](standardised))
    torch.testing.assert_close(of_whole(regions), expected)
    of_regions = IMAGE_ENCODERS["regions"]((10,), statistics(10), dim=DIM).eval()
    torch.testing.assert_close(of_regions(whole), nn.functional.normalize(of_regions.local(whole)[0][:, 0]))


def test_dropped_leaves_one_at_least_and_adds_none() -> None:
    mask = torch.arange(8) < torch.tensor([8, 1, 4])[:, None].repeat(400, 1)
    left = drop_elements(mask, 0.5)
    assert not (left & ~mask).any()
    assert (left.sum(1) >= 1).all()
    assert abs(left[::3].double().mean() - 0.5) < 0.03
    assert drop_elements(mask, 0.0).equal(mask)


@pytest.mark.parametrize("case", ["recurrent, mean", "transformer"])
def test_forgetting_and_dropping_are_for_training(case: str) -> None:
    encoder, tokens = text_encoder(case, forget=0.5, drop=0.5), VOCABULARY(CAPTIONS)
    assert not encoder(tokens).allclose(encoder(tokens))
    assert encoder.eval()(tokens).equal(encoder(tokens))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image_encoder("regions, gpo", pooling="sum"), "pooling: got 'sum' but expected one of mean, max"),
        (lambda: image_encoder("convolution", width=12), "width: got 12 but expected a multiple of 8"),
        (lambda: Linear((3, 8, 8)), r"linear: got images of shape \(3, 8, 8\) but expected features.*convolution"),
        (lambda: IMAGE_ENCODERS["regions"]((3, 8, 8)), r"regions: got images of shape \(3, 8, 8\) but expected"),
        (lambda: IMAGE_ENCODERS["convolution"]((3, 8, 64)), r"convolution: got images of shape \(3, 8, 64\)"),
        (lambda: Backbone(Trunk(), (10,), None, DIM), r"backbone: got images of shape \(10,\) but expected pictures"),
        (lambda: Standardise((4,), statistics(3)), r"statistics: got the mean of shape \(3,\) .* but expected \(4,\)"),
        (lambda: text_encoder("transformer", heads=3), "heads: got 3 but expected a divisor of dim, 16"),
        (lambda: text_encoder("hugging_face", path="x"), "hugging_face: got path 'x' and architecture"),
        (
            lambda: text_encoder("hugging_face", architecture={"model_type": "none"}),
            "hugging_face: got .* architect",
        ),
        (lambda: BagOfWords(Other()), "bag_of_words: got Other as tokenizer but expected Vocabulary"),
    ],
)
def test_what_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
