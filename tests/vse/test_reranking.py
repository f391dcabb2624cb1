"""Re-ranking: what is mined and trained in a batch, and what the first few of every query become in evaluation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.vse.data.split import ArrayImages, Split
from goal_analysis.vse.loop.training import probe_weights, surrogate
from goal_analysis.vse.models.dual_encoder import Reranking, choose_hardest, rank_first_anew
from goal_analysis.vse.models.model import build_model
from goal_analysis.vse.models.text import Vocabulary
from goal_analysis.vse.retrieval.scoring import (
    Ways,
    all_scores,
    captions_of_image,
    evaluate_models,
    first_places,
    images_of_caption,
    record_of,
    scores_of,
)
from losses_catalog.weights import linear_pair, nca_triplet

WORDS = ("a", "red", "blue", "dog", "cat", "runs", "sits")
VOCABULARY = Vocabulary.built_on([" ".join(WORDS)], 1)
CONFIG = {
    "image": {"name": "regions", "dim": 8, "pooling": "mean", "drop": 0},
    "text": {"name": "recurrent", "words": 6, "pooling": "mean"},
}
OBJECTIVE = GradientObjective(composed(nca_triplet, linear_pair, "softmax:8"))


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    captions = tuple(" ".join(rng.choice(WORDS, 4)) for _ in range(18))
    return Split("dev", ArrayImages(rng.normal(size=(9, 3, 5)).astype(np.float32)), captions, np.arange(18) // 2)


@pytest.fixture(params=["fusion", "cross_attention"])
def model(request: pytest.FixtureRequest) -> Reranking:
    """With a scorer that is heard, and on another order than that of the dual encoder."""
    torch.manual_seed(0)
    options = {"layers": 1, "heads": 2} if request.param == "fusion" else {}
    config = {**CONFIG, "reranker": {"name": request.param, "negatives": 2, "top": 3, "share": 5.0, **options}}
    built = build_model(config, (3, 5), VOCABULARY)
    if request.param == "fusion":
        torch.nn.init.normal_(built.scorer.linear.weight)
    return built.eval()


def batch(split: Split) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = np.array([0, 1, 2, 3, 3, 4])
    tokens = VOCABULARY([split.captions[2 * row + (k == 4)] for k, row in enumerate(rows)])
    return split.images.batch(rows), tokens, torch.as_tensor(rows)


def test_what_is_mined_is_the_hardest_of_every_row_and_column() -> None:
    scores, positives = torch.randn(7, 7), torch.eye(7, dtype=torch.bool)
    positives[1, 2] = positives[2, 1] = True
    expected = positives.clone()
    for i in range(7):
        for j in sorted((j for j in range(7) if not positives[i, j]), key=lambda j: -scores[i, j])[:2]:
            expected[i, j] = True
        for j in sorted((j for j in range(7) if not positives[j, i]), key=lambda j: -scores[j, i])[:2]:
            expected[j, i] = True
    assert choose_hardest(scores, positives, 2).equal(expected)
    assert choose_hardest(scores, positives, 99).all()


def test_a_batch_has_the_scores_of_what_was_mined(model: Reranking, split: Split) -> None:
    images, tokens, ids = batch(split)
    found = model(images, tokens, ids)
    assert all(a.equal(b) for a, b in zip(found[:2], model.dual(images, tokens), strict=True))
    same = ids[:, None] == ids[None, :]
    assert found.chosen.equal(choose_hardest(found.images @ found.texts.T, same, 2))
    rows, columns = found.chosen.nonzero(as_tuple=True)
    regions, words = model.image.elements(images), model.text.elements(tokens)
    scored = model.scorer.score_elements(regions, words, rows, columns)
    torch.testing.assert_close(found.scores[rows, columns], scored)
    assert not found.scores[~found.chosen].any()
    similarities = (found.images[rows] * found.texts[columns]).sum(1)
    torch.testing.assert_close(model.pair_scores(images, tokens)(rows, columns), similarities + 5 * scored)
    torch.nn.init.normal_(model.of_words.weight)
    mapped = model.scorer.score_elements(regions, (model.of_words(words[0]), words[1]), rows, columns)
    assert not mapped.allclose(scored)
    torch.testing.assert_close(model.pair_scores(images, tokens)(rows, columns), similarities + 5 * mapped)
    found.scores.sum().backward()
    reached = {name.removeprefix("scorer.").split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    own = {name.split(".")[0] for name, _ in model.scorer.named_parameters()} - {"image", "text"}
    assert reached == {"of_regions", "of_words"} | own


def test_the_objective_acts_on_both(model: Reranking, split: Split) -> None:
    images, tokens, ids = batch(split)
    found = model(images, tokens, ids)
    of_scores, of_images = torch.autograd.grad(surrogate(OBJECTIVE, found, ids), [found.scores, found.images])
    matches = Matches.of_image_ids(ids, ids)
    among = Matches(matches.positives, matches.negatives & found.chosen)
    torch.testing.assert_close(of_scores, OBJECTIVE.weight_matrix(found.scores, among))
    assert not of_scores[~found.chosen].any()
    assert of_scores[found.chosen & matches.negatives].all()
    alone = OBJECTIVE(found.images, found.texts, ids, ids)
    torch.testing.assert_close(of_images, torch.autograd.grad(alone, found.images)[0])
    assert "push_share" in probe_weights(OBJECTIVE, found, ids)


def test_the_first_of_every_query_are_ranked_by_both(model: Reranking, split: Split) -> None:
    tokens = VOCABULARY(split.captions)
    with torch.no_grad():
        images, texts = model.dual(split.images.batch(np.arange(9)), tokens)
        pairs = torch.cartesian_prod(torch.arange(9), torch.arange(18))
        every = model.pair_scores(split.images.batch(np.arange(9)), tokens)(*pairs.T).reshape(9, 18)
    expected = [
        rank_first_anew(images @ texts.T, lambda rows, columns: every[rows, columns], 3),
        rank_first_anew(texts @ images.T, lambda rows, columns: every.T[rows, columns], 3).T,
    ]
    ways = Ways([(model, VOCABULARY)], split)
    for found, wanted in zip((ways.of_captions, ways.of_images), expected, strict=True):
        torch.testing.assert_close(all_scores(found, split), wanted, atol=1e-5, rtol=0)
    assert not expected[0].argsort(1).equal((images @ texts.T).argsort(1))
    places = first_places(ways, split, 4)
    assert places["i2t"] == expected[0].topk(4, 1).indices.tolist()
    assert places["t2i"] == expected[1].T.topk(4, 1).indices.tolist()
    of_one = captions_of_image(model, VOCABULARY, split, 4)
    torch.testing.assert_close(of_one.double(), expected[0][4], atol=1e-5, rtol=0)
    of_one = images_of_caption(model, VOCABULARY, split, split.captions[7])
    torch.testing.assert_close(of_one.double(), expected[1][:, 7], atol=1e-5, rtol=0)


def test_both_are_reported(model: Reranking, split: Split) -> None:
    record = record_of(model.train(), split, VOCABULARY)
    assert model.training
    assert model.dual.training
    model.eval()
    assert record["rsum"] == evaluate_models([(model, VOCABULARY)], split).rsum
    assert record["dual_rsum"] == evaluate_models([(model.dual, VOCABULARY)], split).rsum != record["rsum"]
    assert "dual_rsum" not in record_of(model.dual, split, VOCABULARY)
    folds = [evaluate_models([(model, VOCABULARY)], split.subset(range(top, top + 3))) for top in (0, 3, 6)]
    assert evaluate_models([(model, VOCABULARY)], split, 3).rsum == pytest.approx(
        np.mean([fold.rsum for fold in folds])
    )


def test_an_ensemble_averages_what_is_not_re_ranked(model: Reranking, split: Split) -> None:
    torch.manual_seed(1)
    other = build_model(CONFIG, (3, 5), VOCABULARY)
    ways = Ways([(model, VOCABULARY), (other, VOCABULARY)], split)
    parts = [all_scores(scores_of(m, split, VOCABULARY), split) for m in (model.dual, other)]
    torch.testing.assert_close(all_scores(ways.of_captions, split), (parts[0] + parts[1]) / 2)
    with pytest.raises(ValueError, match="got 9 images but expected a multiple of 4 for folds"):
        evaluate_models([(model, VOCABULARY)], split, 4)
