"""Retrieval on COCO's 5,000 test images measured with more positives than their own captions: ECCV Caption and CxC.

"ECCV Caption: Correcting False Negatives by Collecting Machine-and-Human-verified Image-Caption Associations for
MS-COCO" (Chun, Kim, Park, Chang and Oh, ECCV 2022, https://arxiv.org/abs/2204.03359), whose package has the positives
of both; "Crisscrossed Captions" (Parekh, Baldridge, Cer, Waters and Yang, EACL 2021, https://arxiv.org/abs/2004.15020).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

IMAGES, CAPTIONS = 5000, 25_000

MEASURED = ("eccv_map_at_r", "eccv_rprecision", "eccv_r1", "cxc_recalls")
"""What is asked of the package."""


def coco_positives(places: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, float]:
    """The metrics of ECCV Caption and of CxC in percent, such as ``i2t_eccv_map_at_r`` and ``t2i_cxc_r1``.

    Args:
        places: what `first_places` gives for the test split of COCO in the order of
            Karpathy's, which is that of the VSE++ features: ``i2t`` by image, ``t2i`` by caption.

    Raises:
        ValueError: the package eccv_caption is not there, or not as many images and captions as the split has.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it could be a little quicker
            from eccv_caption import Metrics
    except ImportError as problem:
        raise ValueError("eccv: expected the package eccv_caption: pip install eccv-caption") from problem
    counts = (len(places["i2t"]), len(places["t2i"]))
    if counts != (IMAGES, CAPTIONS):
        raise ValueError(f"eccv: got {counts[0]} images and {counts[1]} captions but expected {IMAGES} and {CAPTIONS}")
    metrics = Metrics()
    captions = metrics.coco_ids.tolist()
    images = [metrics.coco_gts["t2i"][captions[row]][0] for row in range(0, CAPTIONS, CAPTIONS // IMAGES)]
    i2t = {images[row]: [captions[c] for c in found] for row, found in enumerate(places["i2t"])}
    t2i = {captions[row]: [images[i] for i in found] for row, found in enumerate(places["t2i"])}
    found = metrics.compute_all_metrics(i2t, t2i, target_metrics=MEASURED, Ks=(1, 5, 10), verbose=False)
    return {f"{way}_{name}": 100 * float(value) for name, ways in found.items() for way, value in ways.items()}
