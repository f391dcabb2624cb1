"""Our ranks read by the package of ECCV Caption: all positives first is perfect, and rows mean what it thinks."""

import sys

import pytest

from goal_analysis.vse.retrieval.metrics import COCO_CAPTIONS, COCO_IMAGES, coco_positives


@pytest.fixture(scope="module")
def own() -> dict[str, list[list[int]]]:
    return {
        "i2t": [
            [5 * row + k for k in range(5)] + [(5 * row + 5 + k) % COCO_CAPTIONS for k in range(45)]
            for row in range(COCO_IMAGES)
        ],
        "t2i": [[(row // 5 + k) % COCO_IMAGES for k in range(50)] for row in range(COCO_CAPTIONS)],
    }


def test_rows_are_those_of_the_package(own) -> None:
    pytest.importorskip("eccv_caption")
    found = coco_positives(own)
    for way in ("i2t", "t2i"):
        assert found[f"{way}_cxc_r1"] > 99.9, "all but a few own captions are positives"
        assert found[f"{way}_eccv_r1"] > 99.9
        assert 0 < found[f"{way}_eccv_map_at_r"] < found[f"{way}_eccv_rprecision"] < 50, "and there are many more"
    shifted = coco_positives({way: rows[1000:] + rows[:1000] for way, rows in own.items()})
    assert shifted["i2t_cxc_r1"] < 5


def test_what_cannot_be_measured_is_refused(own, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("eccv_caption")
    with pytest.raises(ValueError, match="eccv: got 1 images and 25000 captions but expected 5000 and 25000"):
        coco_positives({**own, "i2t": [[0]]})
    monkeypatch.setitem(sys.modules, "eccv_caption", None)
    with pytest.raises(
        ValueError, match=r"eccv: got no eccv-caption but expected .*: pip install 'goal-analysis\[eccv\]'"
    ):
        coco_positives(own)
