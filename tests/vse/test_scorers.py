"""Scorers against the formulas of their papers, written as loops, and the laws that both obey."""

import math

import pytest
import torch
from torch import Tensor, nn

from goal_analysis.vse.models import dual_encoder, scorers
from goal_analysis.vse.models.dual_encoder import rank_first_anew
from goal_analysis.vse.models.encoders.pooling import Fixed, Pooled
from goal_analysis.vse.models.encoders.trained import Recurrent, Regions
from goal_analysis.vse.models.scorers import SCORERS, CrossAttention, Fusion, Scorer
from goal_analysis.vse.models.text import Tokens, Vocabulary

pytestmark = pytest.mark.usefixtures("float64")

DIM = 8
CAPTIONS = ["a dog runs", "a red cat sits near a tree", "dog", "the the the dog and a cat", "zebra"]
VOCABULARY = Vocabulary.built_on(CAPTIONS, 1)
OPTIONS = {"cross_attention": {}, "fusion": {"layers": 2, "heads": 2, "dropout": 0.0}}


class SomeRegions(nn.Module):
    """Regions of which some images lack the last."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = DIM
        self.regions = Regions((4, 10), dim=DIM)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        elements, mask = self.regions(images)
        return elements, mask & (torch.arange(4) < 4 - (images[:, 0, 0] > 0).long()[:, None])


def scorer(name: str, local: nn.Module | None = None, **options) -> nn.Module:
    image = Pooled(local or SomeRegions(), Fixed("mean"))
    text = Pooled(Recurrent(VOCABULARY, dim=DIM, words=6), Fixed("mean"))
    return SCORERS[name](image, text, **{**OPTIONS[name], **options})


def elements(model: nn.Module, images: Tensor, tokens: Tokens) -> tuple[list[Tensor], list[Tensor]]:
    """The unit vectors of every image's regions and of every caption's words, without those that are not there."""
    found = []
    for vectors, there in (model.image.elements(images), model.text.elements(tokens)):
        found.append([(v / v.norm(dim=1, keepdim=True))[t] for v, t in zip(vectors, there, strict=True)])
    return found[0], found[1]


def attended(queries: Tensor, keys: Tensor, smoothing: float) -> list[float]:
    """R of every query, as equations 1 to 4 of the paper have it."""
    found = []
    for q in range(len(queries)):
        logits = []
        for k in keys:
            length = math.sqrt(sum(max(float(k @ other), 0) ** 2 for other in queries))
            logits.append(smoothing * max(float(k @ queries[q]), 0) / length if length else 0.0)
        total = sum(math.exp(x) for x in logits)
        context = sum(math.exp(x) / total * k for x, k in zip(logits, keys, strict=True))
        found.append(float(queries[q] @ context / context.norm()))
    return found


def pooled(relevance: list[float], pool: str, sharpness: float) -> float:
    if pool == "mean":
        return sum(relevance) / len(relevance)
    return math.log(sum(math.exp(sharpness * r) for r in relevance)) / sharpness


@pytest.mark.parametrize("queries", ["both", "words", "regions"])
@pytest.mark.parametrize("pool", ["mean", "logsumexp"])
def test_cross_attention_is_the_papers_formula(queries: str, pool: str) -> None:
    model = scorer("cross_attention", queries=queries, pool=pool, sharpness=5.0)
    images, tokens = torch.randn(6, 4, 10), VOCABULARY(CAPTIONS)
    with torch.no_grad():
        found = model.score(images, tokens)
        regions, words = elements(model, images, tokens)
    assert {len(v) for v in regions} == {3, 4}
    for i, v in enumerate(regions):
        for c, e in enumerate(words):
            by_words = pooled(attended(e, v, 9.0), pool, 5.0)
            by_regions = pooled(attended(v, e, 4.0), pool, 5.0)
            expected = {"words": by_words, "regions": by_regions, "both": (by_words + by_regions) / 2}[queries]
            assert abs(float(found[i, c]) - expected) < 1e-10
    options = {"queries": queries, "pool": pool, "sharpness": 5.0, "word_smoothing": 8.0, "region_smoothing": 3.0}
    other = scorer("cross_attention", **options)
    other.load_state_dict(model.state_dict())
    assert not other.score(images, tokens).allclose(found)


def aligned(v: Tensor, e: Tensor) -> Tensor:
    cosines = nn.functional.cosine_similarity(v[:, None], e[None], dim=2)
    return cosines.amax(0).mean() + cosines.amax(1).mean()


def test_fusion_reads_one_pair_at_a_time() -> None:
    model = scorer("fusion").eval()
    nn.init.normal_(model.linear.weight)
    nn.init.normal_(model.linear.bias)
    images, tokens = torch.randn(4, 4, 10), VOCABULARY(CAPTIONS)
    with torch.no_grad():
        found = model.score(images, tokens)
        regions, words = elements(model, images, tokens)
    for i, v in enumerate(regions):
        for c, e in enumerate(words):
            kinds = torch.cat((model.kinds[:1].expand(len(v), -1), model.kinds[1:].expand(len(e), -1)))
            x = torch.cat((model.gather[None], DIM**0.5 * torch.cat((v, e)) + kinds))[None]
            for layer in model.layers.layers:
                x = attention_layer(layer, x)
            x = nn.functional.layer_norm(x, (DIM,), model.layers.norm.weight, model.layers.norm.bias)
            expected = aligned(v, e) + model.linear(x[0, 0])[0]
            torch.testing.assert_close(found[i, c], expected, atol=1e-10, rtol=0)


def test_fusion_begins_as_the_alignment_of_what_it_reads() -> None:
    model = scorer("fusion").eval()
    images, tokens = torch.randn(4, 4, 10), VOCABULARY(CAPTIONS)
    with torch.no_grad():
        found = model.score(images, tokens)
        regions, words = elements(model, images, tokens)
        expected = torch.stack([torch.stack([aligned(v, e) for e in words]) for v in regions])
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def attention_layer(layer: nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    """Pre-norm self-attention written out, for one sequence of shape ``(1, elements, dim)``."""
    heads, width = layer.self_attn.num_heads, DIM // layer.self_attn.num_heads
    z = layer.norm1(x)[0]
    q, k, v = (z @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, 1)
    gathered = []
    for h in range(heads):
        here = slice(h * width, (h + 1) * width)
        gathered.append((q[:, here] @ k[:, here].T / math.sqrt(width)).softmax(1) @ v[:, here])
    x = x + layer.self_attn.out_proj(torch.cat(gathered, 1))
    return x + layer.linear2(nn.functional.gelu(layer.linear1(layer.norm2(x))))


@pytest.fixture(params=list(OPTIONS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_scorer_keeps_the_protocol(name: str) -> None:
    model = scorer(name)
    assert isinstance(model, Scorer)
    assert not isinstance(nn.Linear(1, 1), Scorer)
    images, tokens = torch.randn(3, 4, 10), VOCABULARY(CAPTIONS)
    found = model.score(images, tokens)
    assert found.shape == (3, 5)
    assert found.dtype == torch.float64
    assert model(images, tokens).equal(found)
    assert found.std() > 1e-3


def test_pairs_are_entries_of_the_whole(name: str) -> None:
    model = scorer(name).eval()
    images, tokens = torch.randn(3, 4, 10), VOCABULARY(CAPTIONS)
    rows, columns = torch.tensor([2, 0, 0, 1]), torch.tensor([4, 1, 1, 3])
    found = model.pair_scores(images, tokens)(rows, columns)
    torch.testing.assert_close(found, model.score(images, tokens)[rows, columns])
    assert not found.allclose(model.score(images, tokens)[columns % 3, rows])


def test_permuting_permutes_and_padding_does_not_matter(name: str) -> None:
    model = scorer(name).eval()
    images, tokens = torch.randn(3, 4, 10), VOCABULARY(CAPTIONS)
    found = model.score(images, tokens)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = Tokens(tokens.ids[order], tokens.lengths[order])
    torch.testing.assert_close(model.score(images[[1, 2, 0]], shuffled), found[[1, 2, 0]][:, order])
    longer = Tokens(torch.cat((tokens.ids, torch.zeros(5, 4, dtype=torch.int64)), 1), tokens.lengths)
    torch.testing.assert_close(model.score(images, longer), found)
    by_region = model.score(images[:, [0, 2, 1, 3]], tokens)
    torch.testing.assert_close(by_region, found)
    torch.testing.assert_close(torch.cat([model.score(images, tokens.rows([k])) for k in range(5)], 1), found)


def test_the_gradient_reaches_every_parameter(name: str) -> None:
    model = scorer(name).eval()
    if name == "fusion":
        nn.init.normal_(model.linear.weight)  # which begins as 0, and lets nothing through to the stream
    (model.score(torch.randn(3, 4, 10), VOCABULARY(CAPTIONS)) * torch.randn(3, 5)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_strips_change_neither_scores_nor_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scorer(name).eval()
    images, tokens, upstream = torch.randn(5, 4, 10), VOCABULARY(CAPTIONS), torch.randn(5, 5)
    whole = model.score(images, tokens)
    expected = torch.autograd.grad((whole * upstream).sum(), list(model.parameters()))
    asked, real = [], dual_encoder.checkpoint
    monkeypatch.setattr(dual_encoder, "checkpoint", lambda f, rows, **kw: asked.append(rows) or real(f, rows, **kw))
    monkeypatch.setattr(dual_encoder, "NUMBERS_AT_A_TIME", 300)
    found = model.score(images, tokens)
    assert len(asked) > 1
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(torch.autograd.grad((found * upstream).sum(), list(model.parameters())), expected)
    with torch.no_grad():
        torch.testing.assert_close(model.score(images, tokens), whole)


def test_dropout_in_strips_is_the_same_when_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_encoder, "NUMBERS_AT_A_TIME", 700)
    model = scorer("fusion", dropout=0.5)
    monkeypatch.setattr(scorers, "alignment", lambda v, *_: v.new_zeros(len(v)))
    nn.init.normal_(model.linear.weight)
    images, tokens = torch.randn(3, 4, 10), VOCABULARY(CAPTIONS)
    scores = model.score(images, tokens)
    assert not model.score(images, tokens).allclose(scores)
    # Scores are linear in the last layer, so its gradient times its weights gives them back: with one dropout only.
    of_weight, of_bias = torch.autograd.grad((scores * scores.detach()).sum(), [model.linear.weight, model.linear.bias])
    given_back = (of_weight * model.linear.weight).sum() + of_bias * model.linear.bias
    torch.testing.assert_close(given_back, scores.square().sum().reshape(1))


def test_regions_of_zero_give_numbers(name: str) -> None:
    model = scorer(name)
    for p in model.image.parameters():
        nn.init.zeros_(p)
    found = model.score(torch.zeros(2, 4, 10), VOCABULARY(CAPTIONS))
    found.sum().backward()
    assert found.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_float32_and_bfloat16_autocast(name: str) -> None:
    model = scorer(name).eval()
    images, tokens = torch.randn(3, 4, 10), VOCABULARY(CAPTIONS)
    expected = model.score(images, tokens)
    model = model.float()
    torch.testing.assert_close(model.score(images.float(), tokens).double(), expected, atol=1e-4, rtol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.score(images.float(), tokens)
    torch.testing.assert_close(found.double(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("top", [1, 2, 3, 9])
def test_reranking_orders_the_first_and_leaves_the_rest_behind(top: int) -> None:
    old, by = torch.randn(6, 4), torch.randn(6, 4)
    new = rank_first_anew(old, lambda rows, columns: by[rows, columns], top)
    for row in range(len(old)):
        first = old[row].argsort(descending=True)[:top]
        rest = old[row].argsort(descending=True)[top:]
        expected = [*first[by[row, first].argsort(descending=True)].tolist(), *rest.tolist()]
        assert new[row].argsort(descending=True).tolist() == expected


def test_reranking_by_the_same_scores_changes_no_order() -> None:
    scores = torch.randn(6, 4)
    found = rank_first_anew(scores, lambda rows, columns: scores[rows, columns], 3)
    assert found.argsort(dim=1).equal(scores.argsort(dim=1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scorer("fusion", heads=3), "heads: got 3 but expected a divisor of dim, 8"),
        (
            lambda: rank_first_anew(torch.randn(2, 2), lambda r, c: r[:1], 1),
            r"score_pairs: got shape \(1,\) but expected \(2,\)",
        ),
    ],
)
def test_what_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_both_are_here() -> None:
    assert {SCORERS[name] for name in OPTIONS} == {CrossAttention, Fusion}
