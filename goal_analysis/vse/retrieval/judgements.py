"""Pairs of an image and a caption that people judged: those of a high score are right answers beside an image's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from goal_analysis.vse.data.layouts import SHOWN, delimited_rows, read_content
from goal_analysis.vse.data.pictures import by_names, names_of
from goal_analysis.vse.data.split import DataError, Split, read_lines


class Scale(NamedTuple):
    """What a score is, the least and the largest, and from where on a pair is right unless something else is said."""

    title: str
    low: float
    high: float
    right: float


EXPERTS = Scale("the mean of Flickr8k's experts", 1, 4, 3)
CROWD = Scale("the share of yes of Flickr8k's crowd", 0, 1, 0.5)
CXC = Scale("the score of Crisscrossed Captions", 0, 5, 3)
ECCV = Scale("the judgement of ECCV Caption", 1, 1, 1)


@dataclass(frozen=True)
class Judgements:
    """The scores of pairs of an image and a caption, by their ids: of Flickr8k's experts, or the share of yes of its
    crowd (Hodosh, Young and Hockenmaier, JAIR 47, 2013, https://doi.org/10.1613/jair.3994), or of Crisscrossed Captions
    (Parekh et al., EACL 2021, https://arxiv.org/abs/2004.15020); or right pairs alone, of ECCV Caption (Chun et al.,
    ECCV 2022, https://arxiv.org/abs/2204.03359), by images or by captions.
    """

    source: Path
    scale: Scale
    scores: Mapping[tuple[str, str], float]

    def applied(self, split: Split, least: float | None = None) -> tuple[Split, str]:
        """The split with the pairs as right answers whose score is ``least`` or more, and in words what they are."""
        least = self.scale.right if least is None else least
        if not self.scale.low <= least <= self.scale.high:
            expected = f"a number from {self.scale.low:g} to {self.scale.high:g}, {self.scale.title}"
            raise DataError(f"{self.source}: judged: got {least:g} but expected {expected}")
        images = by_names(dict(zip(split.names, split.names, strict=True)))

        def called(name: str) -> str:
            of, mark, number = name.partition("#")
            return next((images[one] for one in names_of(of) if one in images), of) + mark + number

        keys, names = {called(key): key for key in split.keys}, set(split.names)
        turned = {(key, i): score for (i, key), score in self.scores.items()} if self.scale is ECCV else {}
        ways = [[(called(i), keys.get(called(k)), n) for (i, k), n in way.items()] for way in (self.scores, turned)]
        there = max(({(i, k): n for i, k, n in way if i in names and k} for way in ways), key=len)
        if not there:
            image, key = next(iter(self.scores))
            shown = f"{', '.join(split.names[:1]) or 'nothing'} and {', '.join(split.keys[:1]) or 'nothing'}"
            given = f"{self.source}: got pairs such as {image} and {key}"
            raise DataError(f"{given} but expected some of {split.name}, whose images and captions are called {shown}")
        right = tuple(pair for pair, score in there.items() if score >= least)
        said = f"{len(right)} of {len(there)} judged pairs are right too: {self.scale.title} is {least:g} or more."
        return replace(split, judged=(*split.judged, *right)), said


def read_judgements(path: Path) -> Judgements:
    """The judgements in a file, whose layout is recognised; a DataError names the row that is wrong."""
    lines = read_lines(path)
    if lines and lines[0].startswith("{"):
        found = read_content(path)
        ids = found.items() if isinstance(found, dict) else ()
        pairs = [(of, one) for of, those in ids if isinstance(those, list) for one in those]
        scale, rows = ECCV, {number: [of, str(one), "1"] for number, (of, one) in enumerate(pairs)}
    elif lines and "agg_score" in lines[0]:
        header, _, found = delimited_rows("\n".join(lines))
        whole = {number: dict(zip(header, row, strict=False)) if isinstance(row, list) else {} for number, row in found}
        wanted = ("image", "caption", "agg_score")
        scale, rows = CXC, {number: [row[name] for name in wanted if name in row] for number, row in whole.items()}
    else:
        rows = {number: line.split("\t") for number, line in enumerate(lines) if line}
        scale = EXPERTS if all(field in "1234" for row in rows.values() for field in row[2:]) else CROWD
    scores = {}
    for number, fields in rows.items():
        try:
            image, key, *rest = fields
            numbers = [float(field) for field in rest]
            score = fmean(numbers) if scale is EXPERTS else numbers[0]
            if len(numbers) != (3 if scale in (EXPERTS, CROWD) else 1) or not scale.low <= score <= scale.high:
                raise ValueError
        except (ValueError, IndexError):
            given = f"{path}: row {number}: got {' '.join(fields)[:SHOWN]!r}"
            expected = f"an image, a caption and {scale.title} from {scale.low:g} to {scale.high:g}"
            raise DataError(f"{given} but expected {expected} (read as {scale.title})") from None
        scores[image, key.rpartition(":")[2]] = score
    if not scores:
        raise DataError(
            f"{path}: got no pair but expected judgements of Flickr8k, Crisscrossed Captions or ECCV Caption"
        )
    return Judgements(path, scale, scores)
