"""The probe as a callback: what it sees of a training goes to the loggers of the trainer, step by step."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import goal_analysis
from goal_analysis.api.objectives import objective as door
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.adapters.lightning import ProbeCallback

ROWS, BATCH = 48, 6
"""Eight batches an epoch, two a step: four steps."""


class Towers(nn.Module):
    """The smallest model of images and texts, with its objective, as transformers' trainer calls it."""

    def __init__(self, probe: GradientProbe | None = None) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(5, 4), nn.Linear(6, 4)
        self.objective, self.probe = door("nca/linear"), probe

    def forward(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        x, y = normalize(self.image(images), dim=1), normalize(self.text(texts), dim=1)
        if self.probe is None:
            return {"loss": self.objective(x, y)}
        scores = x @ y.T
        self.probe.watch(scores, Matches.of_pairs(len(x)))
        return {"loss": self.objective.from_scores(scores, Matches.of_pairs(len(x)))}


def rows() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"images": torch.randn(5, generator=generator), "texts": torch.randn(6, generator=generator)}
        for _ in range(ROWS)
    ]


def model(probe: GradientProbe | None = None) -> Towers:
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    return Towers(probe)


# --- transformers ---------------------------------------------------------------------------------


def trained(tmp_path: Path, towers: Towers, probe: GradientProbe | None) -> list[dict]:
    """What the trainer logged of a training."""
    transformers = pytest.importorskip("transformers")
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=2,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to=["tensorboard"],
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(towers, arguments, train_dataset=rows())
    if probe is not None:
        from goal_analysis.recombination.adapters import transformers as adapter

        followed = probe if towers.probe else probe.follow(towers.objective)
        trainer.add_callback(adapter.ProbeCallback(followed, trainer.log))
    trainer.train()
    return trainer.state.log_history


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "log"))  # before transformers 5 it is the output's own


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*pin_memory.*")
def test_the_trainer_of_transformers_logs_what_the_probe_sees(logged: None, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    followed = trained(tmp_path, model(), probe := GradientProbe(every=2))
    found = [record for record in followed if "probe/push_share" in record]
    assert [record["step"] for record in found] == list(probe.frame().step) == [2, 4]
    assert [record["probe/push_share"] for record in found] == pytest.approx(list(probe.frame().push_share))
    assert list(probe.frame().backwards) == [2, 2]
    events = EventAccumulator(str(next(tmp_path.rglob("*tfevents*")))).Reload()
    assert [scalar.step for scalar in events.Scalars("train/probe/push_share")] == [2, 4]

    watching = GradientProbe(every=2)
    watched = trained(tmp_path, model(watching), watching)
    assert [r["probe/push_share"] for r in watched if "probe/push_share" in r] == pytest.approx(
        [r["probe/push_share"] for r in found], rel=1e-4
    )
    assert len(unseen := [r for r in trained(tmp_path, model(), None) if "loss" in r]) == 4
    for own in (followed, watched):
        assert [r["loss"] for r in own if "loss" in r] == pytest.approx([r["loss"] for r in unseen])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*pin_memory.*")
@pytest.mark.parametrize(
    ("metric", "has_own_value", "warns"), [(None, False, True), (None, True, False), ("recall", False, False)]
)
def test_a_surrogate_that_would_choose_the_best_model_is_warned_of(
    metric: str | None, has_own_value: bool, warns: bool, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    from goal_analysis.recombination.adapters import transformers as adapter

    class Evaluated(Towers):
        """The trainer reads ``return_loss``, and asks for the loss of an evaluation then."""

        def forward(self, images: Tensor, texts: Tensor, return_loss: bool = True) -> dict[str, Tensor]:
            x, y = normalize(self.image(images), dim=1), normalize(self.text(texts), dim=1)
            own = has_own_value and not self.training
            return {"loss": self.objective.value(x, y) if own else self.objective(x, y)}

    class Trainer(transformers.Trainer):
        def evaluate(self, *given, **more) -> dict[str, float]:
            return {**super().evaluate(*given, **more), "eval_recall": 0.5}

    towers = Evaluated()
    towers.objective = door("nca/constant")
    evaluate = "eval_strategy" if hasattr(transformers.TrainingArguments, "eval_strategy") else "evaluation_strategy"
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=BATCH,
        use_cpu=True,
        save_steps=2,
        **{evaluate: "steps"},
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(towers, arguments, train_dataset=rows(), eval_dataset=rows())
    trainer.add_callback(adapter.ProbeCallback(GradientProbe().follow(towers.objective), trainer.log))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer.train()
    assert any("load_best_model_at_end needs" in str(one.message) for one in said) is warns


# --- Lightning ------------------------------------------------------------------------------------


class Logger:
    """What Lightning hands numbers to."""

    def __init__(self) -> None:
        self.records: list[tuple[int, dict]] = []

    def log_metrics(self, metrics: dict, step: int) -> None:
        self.records.append((step, metrics))


def test_lightning_logs_what_the_probe_sees() -> None:
    """A stand-in for its trainer, which calls the hooks as Lightning documents; two batches make a step."""
    towers, loggers = model(), [Logger(), Logger()]
    trainer = SimpleNamespace(global_step=0, loggers=loggers)
    watching = ProbeCallback(probe := GradientProbe(every=2).follow(towers.objective))
    batches = torch.utils.data.DataLoader(rows(), BATCH)
    for number, batch in enumerate(batches):
        watching.on_train_batch_start(trainer, towers, batch, number)
        towers(**batch)["loss"].backward()
        trainer.global_step += number % 2
        watching.on_train_batch_end(trainer, towers, {}, batch, number)
    assert loggers[0].records == loggers[1].records
    assert [step for step, _ in loggers[0].records] == list(probe.frame().step) == [0, 2]
    assert [r["probe/push_share"] for _, r in loggers[0].records] == pytest.approx(list(probe.frame().push_share))
    assert probe.take() == {}


@pytest.mark.filterwarnings("default")  # Lightning has its own
def test_the_page_runs_where_lightning_is_installed() -> None:
    pytest.importorskip("lightning")
    page = (Path(__file__).parents[2] / "docs" / "plugging-in.md").read_text(encoding="utf-8")
    (body,) = (block for block in re.findall(r"```py\n(.*?)```", page, re.DOTALL) if "import lightning" in block)
    names = {"torch": torch, "normalize": normalize, "ga": goal_analysis, "GradientProbe": GradientProbe}
    torch.set_default_dtype(torch.float32)
    exec(body, names | {"images": torch.randn(128, 16), "texts": torch.randn(128, 24)})
