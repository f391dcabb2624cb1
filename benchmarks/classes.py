"""Objectives for images by class: which embeds best the classes that training never saw?

    python benchmarks/classes.py --data DIR/NAME -o benchmarks/results/classes.md

The images of ``DIR/NAME/train_ims.npy`` and ``dev_ims.npy`` are features, their classes stand in ``train_classes.txt``
and ``dev_classes.txt``, a line an image. A seed draws which five classes test while the others train, and the batches.
All objectives have the same: a linear map of the standardised features to unit vectors that begins as their principal
components, as fine-tuning begins with what a network has, AdamW with a cosine schedule, batches of eight classes with
eight images each, and as many trials, at the same points of learning rate and scales. Trials train on three quarters of
the seed's own training classes and are chosen by the MAP@R on the others, as the mean of two such folds; then the
objective trains on all of them, and is tested once. So what is chosen knows nothing of what is tested.

MAP@R is the mean over queries of Σ_i rel(i)·precision@i / R over the R nearest, where R is how many others have the
query's class (Musgrave, Belongie, Lim, "A Metric Learning Reality Check", ECCV 2020). R@1 is the share of queries whose
nearest neighbour has their class. Every test image is a query, the others its gallery. Both are in percent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

import goal_analysis as ga
from goal_analysis.numeric.matches import Matches
from goal_analysis.study.comparison import compare
from goal_analysis.study.scales import LEARNING_RATE, points, scaled, scales_of
from goal_analysis.symbolic.objective import Anchors, Objective
from goal_analysis.vse.loop.experiment import TrainingOptions

OBJECTIVES = (
    "sup_con(scale=12)",
    "sup_con_in(scale=12)",
    "info_nce(tau=12)",
    "dcl(scale=12)",
    "hardness_weighted_info_nce(scale=9, strength=5)",
    "multi_similarity(beta=20, lam=0.5)",
    "circle(gamma=32)",
    "contrastive_cosine",
    "triplet(margin=0.1)",
    "semi_hard_triplet(margin=0.1)",
    "batch_hard_triplet(margin=0.1)",
    "proxy_anchor",
    "proxy_nca_pp",
    "cos_face",
    "constant/linear",
    "circle(gamma=32)/linear",
    "multi_similarity(beta=20, lam=0.5)/linear",
    "nca(tau=12)/linear@softmax:12",
    "nca(tau=12)/sigmoid@softmax:12",
)
TEST, FOLDS, CLASSES, EACH, DIM = 5, 2, 8, 8, 128
RATE = 2e-4
PROXY_RATE = 100.0
"""Times the learning rate: that of proxies ("Proxy Anchor Loss", Kim et al., CVPR 2020)."""


def images(folder: Path) -> tuple[torch.Tensor, np.ndarray]:
    """The features of all images, of mean 0 and deviation 1, and their classes as numbers."""
    parts = [np.load(folder / f"{split}_ims.npy").astype(np.float32) for split in ("train", "dev")]
    x = np.concatenate([part.reshape(len(part), -1) for part in parts])
    names = [line for split in ("train", "dev") for line in (folder / f"{split}_classes.txt").read_text().split()]
    return torch.from_numpy((x - x.mean(0)) / (x.std(0) + 1e-6)), np.unique(names, return_inverse=True)[1]


def trained(objective: Objective, rate: float, x: torch.Tensor, labels: np.ndarray, seed: int, steps: int):
    """The map that an objective trains."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    classes, own = np.unique(labels, return_inverse=True)
    members = [np.flatnonzero(own == c) for c in range(len(classes))]
    model = torch.nn.Linear(x.shape[1], DIM)
    with torch.no_grad():
        model.weight.copy_(torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][:DIM])
        model.bias.zero_()
    proxies = torch.nn.Parameter(torch.randn(len(classes), DIM))
    groups = [{"params": model.parameters(), "lr": rate}]
    if objective.proxies:
        groups.append({"params": [proxies], "lr": PROXY_RATE * rate})
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    module = ga.objective(objective)
    for _ in range(steps):
        drawn = rng.choice(len(classes), CLASSES, replace=False)
        rows = np.concatenate([rng.choice(members[c], EACH, replace=False) for c in drawn])
        e, ids = normalize(model(x[rows])), torch.from_numpy(own[rows])
        if objective.proxies:
            scores, matches = e @ normalize(proxies).T, Matches.of_classes(ids, len(classes))
        else:
            scores, matches = e @ e.T, Matches.of_labels(ids)
        optimizer.zero_grad()
        module.from_scores(scores, matches).backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def measured(embeddings: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """MAP@R and R@1 of every row against the others, in percent."""
    e, own = normalize(embeddings.double()), torch.from_numpy(labels)
    order = (e @ e.T).fill_diagonal_(-torch.inf).argsort(1, descending=True)
    right = (own[order] == own[:, None])[:, :-1].double()
    of_class = right.sum(1, keepdim=True)
    ranks = torch.arange(1, right.shape[1] + 1)
    precision = right.cumsum(1) / ranks
    within = right * precision * (ranks <= of_class)
    return {"map_r": 100 * float((within.sum(1) / of_class[:, 0]).mean()), "r1": 100 * float(right[:, 0].mean())}


def chosen(
    objective: Objective, x: torch.Tensor, labels: np.ndarray, seed: int, steps: int, trials: int
) -> dict[str, float | int]:
    """The point of learning rate and scales with the best mean MAP@R over the folds of classes."""
    scales = scales_of(objective, TrainingOptions(learning_rate=RATE), ("objective", "learning_rate"))
    classes = np.random.default_rng(seed).permutation(np.unique(labels))
    folds = [classes[i::4] for i in range(FOLDS)]

    def reached(point: Mapping[str, float | int]) -> float:
        value, found = scaled(objective, point), []
        for fold in folds:
            held = np.isin(labels, fold)
            model = trained(value, point[LEARNING_RATE], x[~held], labels[~held], seed, steps)
            found.append(measured(model(x[held]), labels[held])["map_r"])
        return float(np.nan_to_num(np.mean(found)))

    return max(points(scales, trials), key=reached)


def rows(given: argparse.Namespace) -> dict[str, dict[int, dict[str, float]]]:
    """MAP@R and R@1 by objective and seed; and of the features as they are."""
    x, labels = images(given.data)
    found: dict[str, dict[int, dict[str, float]]] = {}
    for seed in range(given.seeds):
        test = np.isin(labels, np.random.default_rng(seed).choice(np.unique(labels), TEST, replace=False))
        found.setdefault("the features", {})[seed] = measured(x[test], labels[test])
        for name in given.objective or OBJECTIVES:
            value = ga.objective(name).objective
            objective = value if value.proxies else replace(value, anchors=Anchors.ROWS)
            point = chosen(objective, x[~test], labels[~test], seed, given.steps, given.trials)
            model = trained(scaled(objective, point), point[LEARNING_RATE], x[~test], labels[~test], seed, given.steps)
            found.setdefault(name, {})[seed] = measured(model(x[test]), labels[test])
            said = ", ".join(f"{key} {value:.4g}" for key, value in (point | found[name][seed]).items())
            print(f"seed {seed}, {name}: {said}", flush=True)
    return found


def text(found: Mapping[str, Mapping[int, Mapping[str, float]]], given: argparse.Namespace) -> Iterator[str]:
    """The tables."""
    yield from ("# Images by class", "")
    options = " ".join(f"--{name} {getattr(given, name)}" for name in ("seeds", "trials", "steps"))
    yield f"`python benchmarks/classes.py --data {given.data.name} {options}`: {TEST} unseen classes a seed,"
    yield f"{time.process_time() / 3600:.2f} CPU hours."
    for key, name in (("map_r", "MAP@R"), ("r1", "R@1")):
        compared = compare({o: {s: one[key] for s, one in of.items()} for o, of in found.items()}, given.baseline, name)
        yield from ("", f"## {name}", "", compared.caption, "", *compared.markdown())


def main() -> None:
    """Train, print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--objective", action="append", help="repeatable")
    parser.add_argument("--baseline", default=OBJECTIVES[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = "\n".join(text(rows(given), given)) + "\n"
    print(found)
    if given.output is not None:
        given.output.write_text(found, "utf-8")


if __name__ == "__main__":
    main()
