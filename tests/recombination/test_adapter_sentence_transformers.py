"""Objectives inside sentence-transformers itself: its trainer on a small model of random weights, without a network."""

import json
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from goal_analysis.api.objectives import objective as door
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.adapters.sentence_transformers import SentenceObjective
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.recombination.recombine import composed
from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.primitives import detach, gap, s_n, s_p, softplus, y_n
from goal_analysis.symbolic.objective import Anchors, Objective, Term
from losses_catalog.weights import linear_pair, nca_triplet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ENGLISH = ["red", "blue", "green", "old", "new", "big", "cat", "dog", "bird", "fish"]
FRENCH = ["rouge", "bleu", "vert", "vieux", "neuf", "grand", "chat", "chien", "oiseau", "poisson"]
ANCHORS, POSITIVES = ([f"{a} {b}" for a in words[:6] for b in words[6:]] for words in (ENGLISH, FRENCH))


class FromFeatures(nn.Module):
    """A model whose features have the embeddings already."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return features


def objective() -> GradientObjective:
    return GradientObjective(composed(nca_triplet, linear_pair))


def columns(*embeddings: Tensor) -> list[dict[str, Tensor]]:
    return [{"sentence_embedding": e} for e in embeddings]


def unit(*embeddings: Tensor) -> list[Tensor]:
    return [nn.functional.normalize(e, dim=1) for e in embeddings]


def embeddings(count: int, rows: int = 6) -> list[Tensor]:
    return [torch.randn(rows, 5, requires_grad=True) for _ in range(count)]


def test_pairs_have_the_gradients_of_direct_use() -> None:
    x, y = embeddings(2)
    loss = SentenceObjective(FromFeatures(), objective())
    expected = torch.autograd.grad(objective()(*unit(x, y)), (x, y))
    torch.testing.assert_close(torch.autograd.grad(loss(columns(x, y)), (x, y)), expected)
    across = SentenceObjective(FromFeatures(), AcrossProcesses(objective()))
    torch.testing.assert_close(torch.autograd.grad(across(columns(x, y)), (x, y)), expected)


def test_further_columns_are_negatives_of_every_anchor() -> None:
    x, y, z = embeddings(3)
    found = torch.autograd.grad(SentenceObjective(FromFeatures(), objective())(columns(x, y, z)), (x, y, z))
    scores = unit(x)[0] @ torch.cat(unit(y, z)).T
    positives = torch.cat((torch.eye(6), torch.zeros(6, 6)), 1).bool()
    expected = torch.autograd.grad(objective().from_scores(scores, Matches(positives, ~positives)), (x, y, z))
    torch.testing.assert_close(found, expected)
    assert float(found[2].abs().max()) > 0.001


def test_equal_labels_are_no_negatives() -> None:
    x, y = embeddings(2)
    ids = torch.tensor([7, 8, 7, 9, 8, 10])
    loss = SentenceObjective(FromFeatures(), objective())
    expected = torch.autograd.grad(objective()(*unit(x, y), ids), (x, y))
    torch.testing.assert_close(torch.autograd.grad(loss(columns(x, y), ids), (x, y)), expected)
    assert not torch.allclose(torch.autograd.grad(loss(columns(x, y)), (x, y))[0], expected[0])


def test_what_does_not_fit_is_refused() -> None:
    x, y = embeddings(2)
    loss = SentenceObjective(FromFeatures(), objective())
    for given, rows in (([x], "1 columns of 6"), ([x, y, y[:4]], "3 columns of 6 and 6 and 4")):
        with pytest.raises(ValueError, match=rf"features: got {rows} rows but expected \(anchor, positive, …\), of as"):
            loss(columns(*given))
    with pytest.raises(ValueError, match=r"labels: got a tensor of torch.float64 of shape \(6,\) but expected whole"):
        loss(columns(x, y), torch.rand(6))


# --- the forms of batches, beside the library's own loss ------------------------------------------


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> "SentenceTransformer":
    """A model of weights for words, with a dense layer on them."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    package = pytest.importorskip("sentence_transformers")
    try:
        from sentence_transformers.sentence_transformer.modules import BoW, Dense
    except ImportError:  # before 5.5
        from sentence_transformers.models import BoW, Dense

    torch.set_default_dtype(torch.float32)  # which the weights of words are
    model = package.SentenceTransformer(modules=[BoW(vocab=ENGLISH + FRENCH), Dense(20, 8)], device="cpu")
    if not hasattr(model, "preprocess"):
        model.preprocess = model.tokenize
    return model


def of_library(name: str, *given: object, **options: object) -> nn.Module:
    """A loss of the library, wherever that version of it has it."""
    try:
        losses = import_module("sentence_transformers.sentence_transformer.losses")
    except ImportError:
        losses = import_module("sentence_transformers.losses")
    try:
        return getattr(losses, name)(*given, **options)
    except TypeError as error:
        pytest.skip(f"this version of sentence-transformers has not all of {', '.join(options)}: {error}")


def of_columns(loss: nn.Module, model: "SentenceTransformer", count: int) -> Tensor:
    """The gradient of a batch of so many columns: anchor, positive, and negatives of its own for every anchor."""
    given = [ANCHORS[:9], POSITIVES[:9], POSITIVES[9:18], POSITIVES[12:21]][:count]
    value = loss([model.preprocess(texts) for texts in given], None)
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(value, [p for p in model.parameters() if p.requires_grad])]
    )


HARDNESS = {"hardness": "all_negatives", "hardness in the batch": "in_batch_negatives"}
HARDNESS |= {"hardness of own negatives": "hard_negatives"}
"""What of the library's modes weighs which negatives more, which is the gradient of no loss."""


def hard(form: str, alpha: float = 5) -> GradientObjective:
    """InfoNCE whose negatives weigh more the more similar they are."""
    more = {"hardness": 1, "hardness in the batch": 1 - y_n, "hardness of own negatives": y_n}[form]
    negatives = LOGSUMEXP(20 * s_n + alpha * more * detach(s_n))
    term = Term(outer=softplus(gap), positives=EACH(20 * s_p), negatives=negatives)
    return GradientObjective(Objective(name="hard", title="Hard", terms=(term,), anchors=Anchors.ROWS))


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize(
    "form", ["pairs", "symmetric pairs", "triplets", "passages of a query", *HARDNESS, "Matryoshka"]
)
def test_every_form_of_a_batch_is_that_of_the_library(
    words: "SentenceTransformer", form: str, chunk: int | None
) -> None:
    """With InfoNCE inside, the gradients are those of `MultipleNegativesRankingLoss`."""
    columns = {"triplets": 3, "passages of a query": 4}.get(form, 4 if form in HARDNESS else 2)
    options = {
        "symmetric pairs": {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"},
        **{form: {"hardness_mode": mode, "hardness_strength": 5.0} for form, mode in HARDNESS.items()},
    }
    inside = hard(form) if form in HARDNESS else door("info_nce(tau=20)", anchors="both" if "symm" in form else "rows")
    ours = SentenceObjective(words, inside, chunk)
    theirs = of_library("MultipleNegativesRankingLoss", words, **options.get(form, {}))
    plain = of_columns(of_library("MultipleNegativesRankingLoss", words), words, columns)
    if form == "Matryoshka":
        ours, theirs = (of_library("MatryoshkaLoss", words, loss, [8, 4]) for loss in (ours, theirs))
    try:
        expected, found = (of_columns(loss, words, columns) for loss in (theirs, ours))
    except KeyError as error:
        pytest.skip(f"this version of sentence-transformers shortens no bag of words: {error}")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(expected, plain) == (form in ("pairs", "triplets", "passages of a query"))


def test_without_gradients_it_is_the_loss_and_where_there_is_none_it_says_so(words: "SentenceTransformer") -> None:
    def features() -> list[dict[str, Tensor]]:
        return [words.preprocess(texts) for texts in (ANCHORS, POSITIVES)]

    with torch.no_grad():
        found = SentenceObjective(words, AcrossProcesses(door("info_nce(tau=20)", anchors="rows")))(features())
        torch.testing.assert_close(found, of_library("MultipleNegativesRankingLoss", words)(features(), None))
        without = SentenceObjective(words, objective())
        with pytest.warns(UserWarning, match=r"eval_loss is a surrogate.*load_best_model_at_end needs"):
            value = without(features())
        assert without(features()) == value, "said once"


# --- the trainer ----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "SentenceTransformer":
    """A BERT of one layer, its weights random, its vocabulary the words above."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.set_default_dtype(torch.float32)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ENGLISH, *FRENCH]
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=16, **size, **dropout)
    BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast.from_pretrained(tmp_path / "bert").save_pretrained(tmp_path / "bert")
    return SentenceTransformer(str(tmp_path / "bert"), device="cpu")


def recall(model: "SentenceTransformer") -> float:
    with torch.no_grad():
        x, y = (torch.as_tensor(model.encode(texts, normalize_embeddings=True)) for texts in (ANCHORS, POSITIVES))
    return float(((x @ y.T).argmax(1) == torch.arange(len(x))).double().mean())


def test_the_trainer_of_the_library_trains_with_it(model: "SentenceTransformer", tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    loss = SentenceObjective(model, objective())
    before = recall(model)
    accepted = signature(SentenceTransformerTrainingArguments).parameters
    evaluate = "eval_strategy" if "eval_strategy" in accepted else "evaluation_strategy"  # before transformers 4.41
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=40,
        per_device_train_batch_size=24,
        learning_rate=5e-3,
        use_cpu=True,
        report_to=[],
        save_steps=40,
        **{evaluate: "steps"},
        eval_steps=40,
        load_best_model_at_end=True,
        logging_steps=40,
        disable_tqdm=True,
    )
    if not hasattr(arguments, "dataloader_prefetch_factor"):
        pytest.skip("sentence-transformers 3.0 trains with transformers from 4.38 on, though it asks for 4.34")
    data = Dataset.from_dict({"anchor": ANCHORS, "positive": POSITIVES})
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, eval_dataset=data, loss=loss)
    with pytest.warns(UserWarning, match="load_best_model_at_end needs a metric_for_best_model that is a metric"):
        trainer.train()
    assert trainer.state.global_step == 40
    assert before < 0.3
    assert recall(model) > 0.8


def test_the_gradients_in_the_model_are_those_of_direct_use(model: "SentenceTransformer") -> None:
    features = [model.tokenize(texts) for texts in (ANCHORS, POSITIVES)]
    parameters = [p for p in model.parameters() if p.requires_grad]

    def gradients(value: Tensor) -> list[Tensor | None]:
        return list(torch.autograd.grad(value, parameters, allow_unused=True))

    x, y = unit(*(model({**f})["sentence_embedding"] for f in features))
    expected = gradients(objective()(x, y))
    found = gradients(SentenceObjective(model, objective())([{**f} for f in features]))
    assert sum(g is not None for g in found) > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)


def test_the_card_of_a_model_names_the_objective(model: "SentenceTransformer") -> None:
    said = SentenceObjective(model, objective()).get_config_dict()
    assert "nca/linear" in json.loads(json.dumps(said))["objective"]
