"""Laws of the scenes that the program makes: the same every time, told truly, and with a known ceiling."""

import itertools
import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch

from goal_analysis.vse.data import load
from goal_analysis.vse.data.scenes import (
    ABSENT,
    ATTRIBUTES,
    COLOUR,
    COLOURS,
    COLUMN,
    RELATIONS,
    ROW,
    SHAPE,
    WORDS,
    Said,
    load_scenes,
    make_scenes,
    render,
    tell,
)
from goal_analysis.vse.data.split import ArrayImages, ChosenImages, DataError, Images, RetrievalData, Split


class Told(NamedTuple):
    """The scenes of a dev split, and of every one what its captions claim, of which the share ``noise`` is false."""

    scenes: np.ndarray
    said: list[list[Said]]
    noise: float | int


def told_of(split: Split, completeness: float = 0.6, noise: float | int = 0.02) -> Told:
    """What is told by the dev split that `made` makes with these options."""
    worlds, _, words = np.random.default_rng([0, 1]).spawn(3)
    scenes = make_scenes(len(split.images), 4, worlds)
    told = [tell(scene, completeness, noise, words) for scene in scenes]
    assert split.captions == tuple(text for captions in told for text, _ in captions)
    return Told(scenes, [[said for _, said in captions] for captions in told], noise)


def oracle_scores(split: Split, told: Told) -> np.ndarray:
    """How well each caption fits the truth of each image of scenes: the most that retrieval can know.

    As captions tell only a part, and some of it false, even these scores do not rank every pair first.
    """
    images, rows = split.images, np.arange(len(split.images))
    while isinstance(images, ChosenImages):
        images, rows = images.images, images.rows[rows]
    said = [claims for row in rows.tolist() for claims in told.said[row]]
    return np.stack([fit(told.scenes[rows], claims, told.noise) for claims in said], 1)


GAINS = np.log([len(values) for values in ATTRIBUTES.values()])  # what a claim that holds says, by attribute
DOUBT = 0.001  # the least probability of a false claim that is reckoned with


def fit(scenes: np.ndarray, said: Said, noise: float | int) -> np.ndarray:
    """How well a caption fits each scene: Σ gain over claims that hold + Σ log(noise) over those that do not.

    Of all ways to say which thing is meant by which mention the best counts. Of captions that are true of a scene, the
    one that says more fits better.
    """
    loss = float(np.log(max(float(noise), DOUBT)))
    claimed = said.mentions != ABSENT
    holds = said.mentions[None, :, None] == scenes[:, None]  # (scenes, mentions, things, attributes)
    fits = np.where(claimed[None, :, None], np.where(holds, GAINS, loss), 0.0).sum(-1)
    # A mention without a thing: every claim is false, and so is that there is something.
    nothing = loss * (claimed.sum(1) + 1)
    there = scenes[:, :, SHAPE] != ABSENT
    fits = np.where(there[:, None], fits, nothing[None, :, None])
    mentions, things = len(said.mentions), scenes.shape[1]
    best = np.full(len(scenes), -np.inf)
    if mentions > things:
        fits = np.concatenate([fits, np.broadcast_to(nothing[None, :, None], (len(scenes), mentions, mentions))], 2)
    for meant in itertools.permutations(range(fits.shape[2]), mentions):
        total = fits[:, range(mentions), meant].sum(1)
        if said.relation is not None:
            total = total + _related(scenes, meant, said.relation, there, loss)
        best = np.maximum(best, total)
    if said.things is not None:
        best += np.where(there.sum(1) == said.things, np.log(max(things, 2)), loss)
    return best


def _related(
    scenes: np.ndarray,
    meant: tuple[int, ...],
    relation: int,
    there: np.ndarray,
    loss: float,
) -> np.ndarray:
    axis, sign, _ = RELATIONS[relation]
    first, second = meant[:2]
    if max(first, second) >= scenes.shape[1]:
        return np.full(len(scenes), loss)
    holds = np.sign(scenes[:, first, axis] - scenes[:, second, axis]) == sign
    return np.where(holds & there[:, first] & there[:, second], np.log(2), loss)


def made(count: int = 60, **options: object) -> RetrievalData:
    return load_scenes(**({"train": count, "dev": count, "test": count} | options))  # type: ignore[arg-type]


def rsum(scores: np.ndarray, image_of: np.ndarray) -> float:
    """Recall@1, 5 and 10 both ways, summed; what ties with the right answer comes before it."""
    found = 0.0
    own = scores[image_of, np.arange(len(image_of))]
    text_ranks = (scores >= own).sum(0) - 1
    image_ranks = np.array([(row[image_of != i] >= row[image_of == i].max()).sum() for i, row in enumerate(scores)])
    for ranks in (text_ranks, image_ranks):
        found += sum(100 * float((ranks < k).mean()) for k in (1, 5, 10))
    return found


def test_pictures_and_captions_are_there() -> None:
    data = made(12)
    assert data.name == "scenes"
    assert [split.name for split in data.splits()] == ["train", "dev", "test"]
    for split in data.splits():
        assert isinstance(split.images, Images)
        assert split.images.shape == (12, 3, 64, 64)
        assert len(split) == 60
        assert split.image_of.tolist() == [i for i in range(12) for _ in range(5)]
        found = split.images.batch(np.arange(12))
        assert found.dtype == torch.float32
        assert found.min() >= 0
        assert found.max() <= 1
        assert found.flatten(1).std(1).min() > 0.01


def test_the_same_seed_makes_the_same_bytes() -> None:
    one, other = made(12), made(12)
    assert one.fingerprint() == other.fingerprint()
    assert isinstance(one.dev.images, ArrayImages)
    assert torch.equal(*(data.dev.images.batch(np.arange(12)) for data in (one, other)))
    assert made(12, seed=1).fingerprint() != one.fingerprint()


def test_a_split_does_not_depend_on_the_size_of_another() -> None:
    one, other = made(12), made(12, train=3)
    assert one.dev.fingerprint() == other.dev.fingerprint()
    assert len({split.images.fingerprint() for split in one.splits()}) == 3


def test_pictures_do_not_depend_on_captions() -> None:
    one, other = made(12), made(12, completeness=0.2)
    assert one.dev.images.fingerprint() == other.dev.images.fingerprint()
    assert one.dev.captions != other.dev.captions


def test_pickled_scenes_are_the_same() -> None:
    split = made(5).dev
    again = pickle.loads(pickle.dumps(split))
    assert again.fingerprint() == split.fingerprint()


@pytest.mark.parametrize("most", [1, 3, 6])
def test_things_stand_in_different_places(most: int) -> None:
    scenes = make_scenes(200, most, np.random.default_rng(0))
    counts = (scenes[:, :, SHAPE] != ABSENT).sum(1)
    assert set(counts.tolist()) == set(range(1, most + 1))
    for scene, count in zip(scenes, counts, strict=True):
        places = {(thing[ROW], thing[COLUMN]) for thing in scene[:count].tolist()}
        assert len(places) == count
        assert (scene[count:] == ABSENT).all()
        assert (scene[:count] >= 0).all()
        assert (scene[:count] < [len(values) for values in ATTRIBUTES.values()]).all()


def test_every_value_can_be_drawn_and_said() -> None:
    for name, words in WORDS.items():
        assert set(words) == set(ATTRIBUTES[name])
        spoken = [word for synonyms in words.values() for word in synonyms]
        assert len(set(spoken)) == len(spoken)


@pytest.mark.parametrize("attribute", range(len(ATTRIBUTES)))
def test_every_attribute_is_seen(attribute: int) -> None:
    pictures = []
    for value in range(len(list(ATTRIBUTES.values())[attribute])):
        scene = np.array([[[0, 0, 1, 0, 0, 0]]])
        scene[0, 0, attribute] = value
        pictures.append(render(scene, np.random.default_rng(0)).astype(int))
    for k, one in enumerate(pictures):
        for other in pictures[:k]:
            assert (np.abs(one - other) > 40).sum() > 20


def test_a_thing_has_its_colour_where_it_stands() -> None:
    for number, (name, (colour, _)) in enumerate(COLOURS.items()):
        scene = np.array([[[0, number, 1, 0, 2, 0]]])
        found = render(scene, np.random.default_rng(3))[0, :, 52, 12] / 255
        assert np.abs(found - colour).max() < 0.15, name
    assert scene[0, 0, COLOUR] == len(COLOURS) - 1


def test_without_noise_every_claim_is_true() -> None:
    truth = told_of(made(100, noise=0).dev, noise=0)
    for scene, told in zip(truth.scenes, truth.said, strict=True):
        there = scene[scene[:, SHAPE] != ABSENT]
        for said in told:
            assert said.things in (None, len(there))
            assert (said.mentions != ABSENT).any(1).all()
            for mention in said.mentions:
                assert ((there == mention) | (mention == ABSENT)).all(1).any()


def test_captions_say_what_is_claimed() -> None:
    split = made(100, noise=0.2).dev
    claims = [said for told in told_of(split, noise=0.2).said for said in told]
    for caption, said in zip(split.captions, claims, strict=True):
        for name, words in WORDS.items():
            number = list(ATTRIBUTES).index(name)
            for value in said.mentions[:, number]:
                spoken = [] if value == ABSENT else words[ATTRIBUTES[name][value]]
                assert value == ABSENT or any(word in caption for word in spoken), (caption, said)
        if said.relation is not None:
            assert any(f" {word} " in caption for word in RELATIONS[said.relation][2])


def test_captions_are_partial_and_differ() -> None:
    split = made(100).dev
    told = [set(split.captions[5 * i : 5 * i + 5]) for i in range(100)]
    assert all(len(captions) == 5 for captions in told)
    shares = [(said.mentions != ABSENT).mean() for told in told_of(split).said for said in told]
    assert 0.3 < np.mean(shares) < 0.9


def test_the_oracle_knows_much_but_not_all() -> None:
    split = made(200, train=1, test=1).dev
    scores = oracle_scores(split, told_of(split))
    assert 450 < rsum(scores, split.image_of) < 600
    assert rsum(scores[np.random.default_rng(0).permutation(200)], split.image_of) < 100
    assert rsum(np.zeros((200, 1000)), split.image_of) == 0


@pytest.mark.parametrize(("name", "from_easy_to_hard"), [("completeness", (0.9, 0.3)), ("noise", (0, 0.2, 0.5))])
def test_difficulty_lowers_the_ceiling(name: str, from_easy_to_hard: tuple[float, ...]) -> None:
    ceilings = []
    for value in from_easy_to_hard:
        split = made(100, train=1, test=1, **{name: value}).dev
        ceilings.append(rsum(oracle_scores(split, told_of(split, **{name: value})), split.image_of))
    assert all(easier > harder + 5 for easier, harder in itertools.pairwise(ceilings))


def test_the_oracle_of_a_subset_is_a_part_of_the_oracle() -> None:
    split = made(20).dev
    told = told_of(split)
    rows = [7, 3, 11]
    columns = [5 * row + k for row in rows for k in range(5)]
    expected = oracle_scores(split, told)[np.ix_(rows, columns)]
    assert np.array_equal(oracle_scores(split.subset(rows), told), expected)
    assert np.array_equal(oracle_scores(split.subset([3, 7, 11]).subset([1, 0, 2]), told), expected)


def test_the_oracle_reckons_with_relations_and_numbers() -> None:
    left, right = [0, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 2]
    swapped = [[*left[:COLUMN], 2], [*right[:COLUMN], 0]]
    pair = np.array([[left, right], swapped, [left, [ABSENT] * 6]])
    shapes = np.full((2, 6), ABSENT)
    shapes[:, SHAPE] = 0, 1
    truth, reversed_places, alone = fit(pair, Said(shapes, 0, None), 0.01)
    assert truth > reversed_places > alone
    one, two = fit(pair[[2, 0]], Said(shapes[:1], None, 1), 0.01)
    assert one > two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0}, "scenes: train: got 0 but expected a whole number from 1"),
        ({"objects": 7}, "scenes: objects: got 7 but expected a whole number from 1 to 6"),
        ({"completeness": 0}, r"scenes: completeness: got 0 but expected a number in \(0, 1\]"),
        ({"noise": 1.0}, r"scenes: noise: got 1.0 but expected a number in \[0, 1\)"),
        ({"seed": -1}, "scenes: seed: got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("scenes", **options)
