"""Several processes on one batch: the parameters' gradients are those of one process on the joined batch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from goal_analysis.recombination.processes import AcrossProcesses

WORKER = Path(__file__).with_name("process_worker.py")
SECONDS = 45.0
"""For the steps of all ranks; two or three are ordinary."""

STARTING = 60.0
"""Beyond those, for importing what the ranks share, on a busy machine."""


def loaded() -> ModuleType:
    specification = importlib.util.spec_from_file_location("process_worker", WORKER)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


worker = loaded()


def run(ranks: int, folder: Path, seconds: float, **environment: str) -> str:
    """Start the ranks and wait for all; what went wrong, with the logs of all."""
    command = [sys.executable, str(WORKER), str(ranks), str(folder), str(seconds)]
    told = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **environment}
    with (folder / "start.log").open("w") as log:
        code = subprocess.run(command, env=told, stdout=log, stderr=log, timeout=seconds + STARTING).returncode
    if not code:
        return ""
    logs = [f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("*.log"))]
    return "\n".join([f"{code} of {ranks} ranks failed", *logs])


@pytest.fixture(scope="module", params=[1, 3], ids=lambda ranks: f"{ranks} ranks")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What every rank of a world of one or of three found."""
    folder = tmp_path_factory.mktemp("world")
    wrong = run(request.param, folder, SECONDS)
    assert not wrong, wrong
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def of_one_process(name: str, ranks: int) -> tuple[Tensor, list[Tensor]]:
    """Value and gradients of one process on the joined batch."""
    case = worker.CASES[name]
    model, *given = worker.everything(case.dtype, case.times)
    joined = sum(case.shared(ranks))
    return worker.step(case, case.objective(), model, *(part[:joined] for part in given)), worker.gradients(model)


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference, as a share of the largest entry."""
    largest = max(float(e.abs().max()) for e in expected)
    return max(float((f - e).abs().max()) for f, e in zip(found, expected, strict=True)) / (largest or 1)


@pytest.mark.parametrize("way", ["ddp", "averaged"])
@pytest.mark.parametrize("name", worker.CASES)
def test_the_gradients_are_those_of_one_process(world: list[dict], name: str, way: str) -> None:
    _, expected = of_one_process(name, len(world))
    for found in world:
        assert distance(found[name, way], expected) < worker.CASES[name].tolerance


@pytest.mark.parametrize("name", worker.CASES)
def test_every_rank_has_the_value_of_the_joined_batch(world: list[dict], name: str) -> None:
    expected, _ = of_one_process(name, len(world))
    tolerance = worker.CASES[name].tolerance
    for found in world:
        torch.testing.assert_close(found[name, "value"], expected, rtol=tolerance, atol=tolerance)
        assert found[name, "value"].equal(world[0][name, "value"])


@pytest.mark.parametrize("name", [name for name in worker.CASES if "rows" not in name and name != "autocast"])
def test_local_negatives_are_not_enough(world: list[dict], name: str) -> None:
    _, expected = of_one_process(name, len(world))
    own = [g * len(world) for g in world[0][name, "local negatives"]]
    if len(world) == 1:
        assert distance(own, expected) < worker.CASES[name].tolerance
    else:
        assert distance(own, expected) > 1e-2
        assert distance([g / len(world) for g in own], expected) > 1e-2


@pytest.mark.parametrize("way", worker.WAYS)
def test_in_chunks_the_gradients_are_those_of_one_process(world: list[dict], way: str) -> None:
    """A gradient cache within or around data parallel training of either kind, without a word about either."""
    _, expected = of_one_process("hardest", len(world))
    for found in world:
        assert distance(found[way], [worker.WAYS[way] * g for g in expected]) < 1e-12


@pytest.mark.parametrize("name", worker.SENTENCES)
def test_sentences_of_all_ranks_are_one_batch(world: list[dict], name: str) -> None:
    labels, columns = worker.SENTENCES[name]
    torch.set_default_dtype(torch.float64)
    value, expected = worker.sentences(worker.CASES["hardest"].objective(), slice(None), labels, columns)
    for found in world:
        start, stop, of_rank, gradients = found[name]
        torch.testing.assert_close(of_rank, value, rtol=1e-12, atol=1e-12)
        assert distance([g / len(world) for g in gradients], [g[start:stop] for g in expected]) < 1e-12


SAID = {
    "not as many": "rank 1: got 3 images and 2 texts without image_ids but expected the ids, or as many",
    "ids of some": "rank 1: got torch.float64 and torch.float64 embeddings of dim 3 with no ids "
    "but expected torch.float64 and torch.float64 embeddings of dim 3 with image_ids, as rank 0 has them",
    "other dims": "rank 1: got torch.float64 and torch.float64 embeddings of dim 2 with no ids "
    "but expected torch.float64 and torch.float64 embeddings of dim 3 with no ids, as rank 0 has them",
    "too few ids": "rank 1: image_ids: got a tensor of torch.int64 of shape (2,) "
    "but expected whole numbers of shape (3,), one an embedding",
    "not finite": "rank {last}: text_embeddings: row 1: got a number that is not finite but expected finite numbers",
    "one axis": "rank {last}: image_embeddings: got a tensor of torch.float64 of shape (3,) "
    "but expected floating-point numbers of shape (embeddings, dim)",
    "another dtype": "rank {last}: got torch.float32 and torch.float64 embeddings of dim 3 with no ids "
    "but expected torch.float64 and torch.float64 embeddings of dim 3 with no ids, as rank 0 has them",
    "whole numbers": "rank {last}: image_embeddings: got a tensor of torch.int64 of shape (3, 3) "
    "but expected floating-point numbers of shape (embeddings, dim)",
    "ids that are no numbers": "rank {last}: image_ids: got a tensor of torch.float64 of shape (3,) "
    "but expected whole numbers of shape (3,), one an embedding",
    "nothing": "",
}


@pytest.mark.parametrize("wrong", SAID)
def test_what_one_rank_refuses_all_refuse_and_name_it(world: list[dict], wrong: str) -> None:
    if len(world) == 1:
        pytest.skip("one rank always fits")
    for found in world:
        assert found["refused"][wrong] == SAID[wrong].format(last=len(world) - 1)


def test_ranks_that_do_not_end_fail_with_the_logs_of_all(tmp_path: Path) -> None:
    wrong = run(2, tmp_path, 0.05)  # too short for any world
    assert "ranks failed" in wrong
    assert "Timeout (0:00:00.05" in wrong
    assert "0.log:" in wrong
    assert "1.log:" in wrong


def test_without_a_process_group_it_is_the_objective() -> None:
    objective = worker.CASES["hardest"].objective()
    model, images, texts, _ = worker.everything()
    x, y = model(images, texts)
    across = AcrossProcesses(objective)
    assert across.place == (0, 1)
    assert across(x, y) == objective(x, y)
