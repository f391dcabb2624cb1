"""Several processes on one batch: the parameters' gradients are those of one process on the joined batch."""

import contextlib
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
SECONDS = 90


def loaded() -> ModuleType:
    specification = importlib.util.spec_from_file_location("process_worker", WORKER)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


worker = loaded()


@pytest.fixture(scope="module", params=[1, 2, 3], ids=lambda ranks: f"{ranks} ranks")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What every rank of a world of 1, 2 or 3 found."""
    folder = tmp_path_factory.mktemp("world")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with contextlib.ExitStack() as running:
        ranks = []
        for rank in range(request.param):
            command = [sys.executable, str(WORKER), str(rank), str(request.param), str(folder)]
            log = running.enter_context((folder / f"{rank}.log").open("w"))
            ranks.append(running.enter_context(subprocess.Popen(command, env=environment, stdout=log, stderr=log)))
            running.callback(ranks[-1].kill)  # before its end is waited for
        for number, rank in enumerate(ranks):
            assert rank.wait(SECONDS) == 0, (folder / f"{number}.log").read_text()
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def of_one_process(name: str) -> tuple[Tensor, list[Tensor]]:
    """Value and gradients of one process on the joined batch."""
    case = worker.CASES[name]
    model, images, texts, ids = worker.everything()
    value = case.objective()(*model(images, texts), *((ids, ids) if case.with_ids else ()))
    value.backward()
    return value.detach(), worker.gradients(model)


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference, as a share of the largest entry."""
    largest = max(float(e.abs().max()) for e in expected)
    return max(float((f - e).abs().max()) for f, e in zip(found, expected, strict=True)) / largest


@pytest.mark.parametrize("way", ["ddp", "averaged"])
@pytest.mark.parametrize("name", worker.CASES)
def test_the_gradients_are_those_of_one_process(world: list[dict], name: str, way: str) -> None:
    _, expected = of_one_process(name)
    for found in world:
        assert distance(found[name, way], expected) < 1e-12


@pytest.mark.parametrize("name", worker.CASES)
def test_every_rank_has_the_value_of_the_joined_batch(world: list[dict], name: str) -> None:
    expected, _ = of_one_process(name)
    for found in world:
        torch.testing.assert_close(found[name, "value"], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in worker.CASES if "without rows" not in name])
def test_local_negatives_are_not_enough(world: list[dict], name: str) -> None:
    _, expected = of_one_process(name)
    own = [g * len(world) for g in world[0][name, "local negatives"]]
    if len(world) == 1:
        assert distance(own, expected) < 1e-12
    else:
        assert distance(own, expected) > 1e-2
        assert distance([g / len(world) for g in own], expected) > 1e-2


def test_ranks_that_do_not_fit_together_are_refused_everywhere(world: list[dict]) -> None:
    if len(world) == 1:
        pytest.skip("one rank always fits")
    shares, ids, dims, lengths = ([found["refused"][i] for found in world] for i in range(4))
    for said in (shares, ids, dims, lengths):
        assert len(set(said)) == 1
    assert shares[0].startswith("rank 1: got images 3, texts 2,")
    assert shares[0].endswith("expected as many images as texts, or the ids of both")
    assert ids[0].startswith("rank 1: got")
    assert "image_ids given 0" in ids[0]
    assert "image_ids given 1" in ids[0].split("expected")[1]
    assert "image dim 2" in dims[0].split("expected")[0]
    assert "image dim 3" in dims[0].split("expected")[1]
    assert lengths[0].endswith("expected one id for every image and every text")


def test_without_a_process_group_it_is_the_objective() -> None:
    objective = worker.CASES["hardest"].objective()
    model, images, texts, _ = worker.everything()
    x, y = model(images, texts)
    assert AcrossProcesses(objective)(x, y) == objective(x, y)
