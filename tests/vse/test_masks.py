"""False negatives that a teacher masks: which pairs of a batch they are, in training too, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from goal_analysis.vse.data.answers import Answers, TaughtMatches
from goal_analysis.vse.folder.run_folder import RUN, RunError, read_log
from goal_analysis.vse.loop.health import TrainingTrouble


def test_pairs_that_a_teacher_finds_more_alike_than_a_positive_are_neither() -> None:
    captions = ["a dog", "a cat", "a tree", "a bird"]
    image_of = np.array([0, 0, 1, 2])
    answers = Answers.of(captions, image_of, "negatives")
    images, texts = torch.randn(3, 4), torch.randn(4, 4)
    ids, places = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 2])
    for margin in (0.0, 0.5):
        found = TaughtMatches(answers, images, texts, margin)(ids, places)
        t = images @ texts.T
        for k in range(3):
            for j in range(3):
                same = bool(ids[k] == image_of[places[j]])
                least = min(float(t[ids[k], places[k]]), float(t[ids[j], places[j]]))
                alike = float(t[ids[k], places[j]]) > least - margin
                assert bool(found.positives[k, j]) == same
                assert bool(found.negatives[k, j]) == (not same and not alike)


def test_a_run_is_another_one_with_a_teacher(trained_small, tmp_path: Path) -> None:
    trained_small(tmp_path / "teacher")
    trained_small(tmp_path / "alone", "seed=1")
    trained_small(tmp_path / "taught", "seed=1", f"training.teacher={tmp_path / 'teacher'}")
    with pytest.raises(TrainingTrouble, match="vanishing gradient"):  # all negatives are masked
        trained_small(
            tmp_path / "wide", "seed=1", f"training.teacher={tmp_path / 'teacher'}", "training.teacher_margin=9"
        )
    alone, taught = (read_log(tmp_path / name) for name in ("alone", "taught"))
    assert [r["step"] for r in alone] == [r["step"] for r in taught]
    assert alone != taught


@pytest.mark.filterwarnings("error")
def test_what_is_no_teacher_is_refused_before_a_run_begins(trained_small, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere.* but expected the folder of a run"):
        trained_small(tmp_path / "run", f"training.teacher={tmp_path / 'nowhere'}")
    assert not (tmp_path / "run" / RUN).exists()
