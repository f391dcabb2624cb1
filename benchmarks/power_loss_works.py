"""What may lose power: a file, a folder, a training run, features being made, and a study, each as small as can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from power_loss import Work

from goal_analysis.api.objectives import objective, text_of, value_of
from goal_analysis.declarations import with_settings
from goal_analysis.files import whole_folder, write_json, write_whole
from goal_analysis.study.driver import DECLARED, Driver
from goal_analysis.study.engine import Job
from goal_analysis.study.search import Setting, storage
from goal_analysis.study.tuning import run_study, tuning_of
from goal_analysis.vse.data.extraction import extract_features
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split
from goal_analysis.vse.folder.run import run_experiment
from goal_analysis.vse.folder.run_folder import RESULT, RUN
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping, preset, read_experiment
from goal_analysis.vse.models.encoders.networks import Network

OLD, NEW = b"old" * 10, b"new, and longer" * 10
LINE = "nca(tau=8)/constant@softmax:8"
SETTINGS = (
    "data.name=made_up",
    "model.image.dim=4",
    "model.tokenizer.name=words",
    "model.tokenizer.min_count=1",
    "training.epochs=2",
    "training.batch_size=8",
    "training.checkpoint_steps=2",
    "training.log_steps=1",
)


def split(name: str, images: int, shape: tuple[int, ...]) -> Split:
    """Noise with a caption each."""
    made = np.random.default_rng(images).random((images, *shape), np.float32)
    return Split(name, ArrayImages(made), tuple(f"a dog {row % 3}" for row in range(images)), np.arange(images))


def file(folder: Path) -> None:
    """A file that takes the place of another."""
    write_whole(folder / "report.html", NEW)


def old_file(folder: Path) -> None:
    """That other one."""
    (folder / "report.html").write_bytes(OLD)


def model(folder: Path) -> None:
    """A folder that takes the place of another, with a folder in it."""
    with whole_folder(folder / "model") as made:
        (made / "text").mkdir()
        for path in (made / "weights", made / "text" / "tokenizer"):
            path.write_bytes(NEW)


def old_model(folder: Path) -> None:
    """That other one."""
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(OLD)


def run(folder: Path) -> None:
    """Two epochs of four steps, with three checkpoints."""
    experiment = experiment_from_mapping(with_settings(preset("bag_of_words"), SETTINGS))
    data = RetrievalData("made up", split("train", 32, (6,)), split("dev", 8, (6,)))
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    run_experiment(experiment, objective(LINE), data, folder / "run", fabric)


def features(folder: Path) -> None:
    """Features of two splits in batches of two."""
    torch.manual_seed(0)
    module = torch.nn.Conv2d(3, 2, 2)
    network = Network(
        module, lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255.0, _run(module), {}
    )
    splits = {name: split(name, images, (3, 4, 4)) for name, images in (("train", 7), ("dev", 2))}
    extract_features(splits, network, folder / "features", {"model": "made up"}, batch=2)


def _run(module: torch.nn.Module):
    return lambda pictures: (module(pictures), None)


class StandIn:
    """An engine whose jobs write what a run would, without training."""

    places = 1

    def __init__(self) -> None:
        self.begun: list[Job] = []

    def submit(self, job: Job) -> None:
        """Note the job."""
        self.begun.append(job)

    def wait(self, seconds: float) -> dict[Job, str]:
        """The first of the jobs, which has ended."""
        job = self.begun.pop(0)
        declared = read_experiment(str(job.folder / DECLARED))
        record = {"experiment": declared.mapping(), "data": {"name": "x", "fingerprint": "0" * 16, "shape": [8, 6]}}
        write_json(job.folder / RUN, record)
        rsum = 100 + len(declared.objective) + declared.seed % 7 + 1000 * declared.training.learning_rate
        write_json(job.folder / RESULT, {"best": {"rsum": rsum}, "stopped": ""})
        return {job: "ended with 0"}

    def cancel(self, job: Job) -> None:
        """Nothing is running."""

    def close(self) -> None:
        """Nothing is running."""


def study(folder: Path) -> None:
    """Two objectives, two trials each, over two seeds."""
    base: Experiment = experiment_from_mapping(with_settings(preset("bag_of_words"), SETTINGS))
    where = folder / "study"
    with Driver(where, StandIn()) as driver:
        setting = Setting(where, storage(driver), base, {base.data_name: base.data}, text_of, value_of)
        run_study(driver, [tuning_of(name, value_of(name), setting, 2) for name in ("vse_pp", "info_nce(tau=12)")], 2)


WORKS = (
    Work("a file in the place of another", file, old_file),
    Work("a folder in the place of another", model, old_model),
    Work("a training run", run, volatile=("seconds.jsonl",)),
    Work("features of pictures", features),
    Work("a study of eight runs", study, volatile=("trials.journal", "progress.json")),
)
