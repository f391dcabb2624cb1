"""The commands `data` and `features` as a user calls them, and what `evaluate` says of right answers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from typer.testing import CliRunner

from goal_analysis.cli import app
from goal_analysis.vse.data import load, load_splits
from goal_analysis.vse.data.extraction import RECORD, extract_features
from goal_analysis.vse.data.split import DataError, DataWarning
from goal_analysis.vse.models.encoders.networks import open_network

COUNT = 7


def call(*words: object, fails: bool = False) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})
    assert found.exit_code == (2 if fails else 0), found.output
    return found.output


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with two captions each, one of which all share."""
    folder = tmp_path_factory.mktemp("photographs")
    for k in range(COUNT):
        values = np.random.default_rng(k).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{k}.png")
    rows = "".join(f'{k}.png,"A dog, number {k}"\n{k}.png,a cat\n' for k in range(COUNT))
    (folder / "captions.txt").write_text(f"image,caption\n{rows}")
    return folder / "captions.txt"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vision transformer with its processor, as a folder."""
    pytest.importorskip("transformers", minversion="5")
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_data_says_what_is_there(captions: Path) -> None:
    said = call("data", captions, "--set", "split.dev=2", "--set", "split.seed=1")
    assert "a table of image, caption; images of 3 × 224 × 224" in said
    assert [line.split() for line in said.splitlines() if "images " in line and ";" not in line] == [
        ["images", "5", "2"]
    ]
    assert "2 captions of dev have the words of captions of train." in said
    assert "0 rows cannot be used." in said
    found = json.loads(call("data", captions, "--json"))
    (of,) = found["splits"]
    assert (of["split"], of["images"], of["captions"], of["equal_captions"]) == ("all", COUNT, 2 * COUNT, COUNT)
    assert of["captions_an_image"] == {"2": COUNT}
    assert of["words"] == {"least": 2, "median": 3.0, "most": 4}
    assert call("data", "scenes", "--set", "train=4", "--set", "dev=2", "--set", "test=2").startswith("scenes: made by")


def test_data_lists_rows_that_cannot_be_used(captions: Path, tmp_path: Path) -> None:
    for path in captions.parent.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "3.png").write_text("no picture")
    (tmp_path / "captions.txt").write_text(f"{captions.read_text()}9.png,a dog\n1.png\n")
    faults = json.loads(call("data", tmp_path / "captions.txt", "--json"))["unusable"]
    assert [fault.partition("captions.txt: ")[2][:7] for fault in faults] == ["row 15:", "row 14:"]
    page = tmp_path / "page.html"
    said = call("data", tmp_path / "captions.txt", "--decode", "--page", page)
    assert "3 rows cannot be used:" in said
    assert "row 6: got 3.png, which cannot be decoded" in said
    html = page.read_text()
    assert html.count('<img src="data:image/jpeg;base64,') == COUNT - 1
    assert "A dog, number 5" in html
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_features_are_written_in_the_layout_that_is_trained_on(captions: Path, network: Path, tmp_path: Path) -> None:
    words = ("features", captions, "--model", f"hf:{network}", "--set", "split.dev=2", "--batch", 2)
    assert "5 images of train, 2 images of dev" in call(*words, "-o", tmp_path / "pooled")
    call(*words, "--regions", "2x4", "-o", tmp_path / "regions")
    pooled, regions = load(tmp_path / "pooled"), load(tmp_path / "regions")
    assert pooled.train.images.shape == (5, 16)
    assert regions.train.images.shape == (5, 8, 16)
    given = load(captions, split={"dev": 2})
    assert pooled.train.captions == given.train.captions
    assert pooled.dev.keys == given.dev.keys
    record = json.loads((tmp_path / "regions" / RECORD).read_text())
    assert record["model"] == f"hf:{network}"
    assert record["regions"] == "2x4"
    assert record["preprocessing"]["size"] == {"height": 32, "width": 32}
    model = transformers.AutoModel.from_pretrained(network)
    processor = transformers.AutoImageProcessor.from_pretrained(network)
    with Image.open(captions.parent / given.train.names[0]) as image, torch.no_grad():
        states = model(**processor(images=image, return_tensors="pt")).last_hidden_state[0]
    assert torch.allclose(pooled.train.images.batch(np.array([0]))[0], states[0], atol=1e-5)
    places = states[1:].view(2, 2, 4, 1, 16).mean((1, 3)).view(8, 16)  # 4 × 4 places as 2 × 4 regions
    assert torch.allclose(regions.train.images.batch(np.array([0]))[0], places, atol=1e-5)


def test_features_that_were_interrupted_go_on(captions: Path, network: Path, tmp_path: Path) -> None:
    splits = {name: get() for name, get in load_splits(captions).items()}
    made = open_network(f"hf:{network}")
    extract_features(splits, made, tmp_path / "whole", made.record, batch=3)
    done = []

    def interrupt(split: str, rows: int, images: int) -> None:
        done.append(rows)
        if len(done) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(splits, made, tmp_path / "cut", made.record, batch=3, report=interrupt)
    assert not (tmp_path / "cut" / "all_ims.npy").exists()
    extract_features(splits, made, tmp_path / "cut", made.record, batch=3, report=interrupt)
    assert done == [3, 3, 6, 7]  # the last batch is made again, which a loss of power may leave as zeros
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == files
    for name in files:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    extract_features(splits, made, tmp_path / "cut", made.record, batch=3, report=interrupt)
    assert done == [3, 3, 6, 7], "what is done is not made again"
    with pytest.raises(DataError, match=r"features.json: got preprocessing .* but expected .*, as was begun"):
        extract_features(splits, made, tmp_path / "cut", {"preprocessing": "other"}, batch=3)


def test_features_of_one_split_are_data_again_and_no_others_are_written_over(
    captions: Path, network: Path, tmp_path: Path
) -> None:
    words = ("features", captions, "--model", f"hf:{network}", "-o")
    call(*words, tmp_path / "own")
    assert f"{COUNT}" in call("data", tmp_path / "own")
    (tmp_path / "own" / RECORD).unlink()
    before = (tmp_path / "own" / "all_caps.txt").read_bytes()
    said = call(*words, tmp_path / "own", "--set", "caption=image", fails=True)
    assert "all_ims.npy: got a file without features.json beside it but expected another folder" in said
    assert (tmp_path / "own" / "all_caps.txt").read_bytes() == before
    (tmp_path / "own" / RECORD).write_text("[1]")
    assert "features.json: got list but expected an object" in call(*words, tmp_path / "own", fails=True)


def test_features_are_of_whole_pictures_whichever_are_chosen(captions: Path, network: Path, tmp_path: Path) -> None:
    for path in captions.parent.glob("?.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "0.png").write_text("no picture")
    rows = "".join(f"{k}.png,a dog {k},train\n" for k in range(COUNT))
    (tmp_path / "c.csv").write_text(f"image,caption,split\n{rows}")
    words = ("features", tmp_path / "c.csv", "--model", f"hf:{network}", "--skip-bad", "--set", "size=8", "-o")
    for place, *more in (("own",), ("folds", "--set", "fold=0")):
        with pytest.warns(DataWarning, match="left out 1 of 7 images"):
            call(*words, tmp_path / place, *more)
    whole, folds = (load_splits(tmp_path / place)["train"]() for place in ("own", "folds"))
    places = [whole.names.index(name) for name in folds.names]
    assert 0 < len(places) < len(whole.names)
    assert torch.equal(folds.images.batch(np.arange(len(places))), whole.images.batch(np.array(places)))


def test_features_keep_what_images_and_captions_are_called(captions: Path, network: Path, tmp_path: Path) -> None:
    images = [{"id": k, "file_name": f"{k}.png"} for k in range(COUNT)]
    said = [{"id": 40 + k, "image_id": k, "caption": f"a dog {k}"} for k in range(COUNT)]
    path = captions.parent / "captions_val.json"
    path.write_text(json.dumps({"images": images, "annotations": said}))
    call("features", path, "--model", f"hf:{network}", "-o", tmp_path / "own")
    found = load_splits(tmp_path / "own")["all"]()
    assert found.keys == tuple(str(40 + k) for k in range(COUNT))
    assert found.names == tuple(f"{k}.png" for k in range(COUNT))
    (tmp_path / "own" / "all_keys.txt").write_text("40\n")
    with pytest.raises(DataError, match=r"all_keys.txt: got 1 numbers but expected 7, one a caption"):
        load_splits(tmp_path / "own")["all"]()


def test_a_source_in_which_is_nothing_is_refused(captions: Path, tmp_path: Path) -> None:
    said = call("data", captions.parent, fails=True)
    assert "got a folder with 0.png, 1.png, 2.png but expected" in said
    assert "or the path of a file of captions" in said
    (tmp_path / "c.txt").write_text("image,caption\n")
    assert "c.txt: got no row but expected an image with a caption" in call("data", tmp_path / "c.txt", fails=True)
    (tmp_path / "c.txt").write_text("image,caption\nnone.png,a dog\n")
    said = call("data", tmp_path / "c.txt")
    assert "images" not in said
    assert "1 rows cannot be used:" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "resnet50"), "model: got 'resnet50' but expected hf:NAME, timm:NAME, torchvision:NAME"),
        (("--model", "hf:/nowhere"), "model: got hf:/nowhere"),
        (("--model", "hf:x", "--regions", "3"), "--regions: got '3' but expected rows and columns, such as 3x3"),
        (("--model", "hf:x", "--weights", "w.pth"), "weights: got w.pth beside hf:x but expected none"),
    ],
)
def test_other_networks_are_refused(captions: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    assert message in call("features", captions, "-o", tmp_path / "out", *options, fails=True)


def test_images_that_are_features_already_are_refused(folder: Path, network: Path, tmp_path: Path) -> None:
    said = call("features", folder, "--model", f"hf:{network}", "-o", tmp_path / "out", fails=True)
    assert "got images of shape" in said
    assert "but expected pictures, (3, height, width)" in said
    assert not (tmp_path / "out").exists()


def test_evaluate_says_how_equal_captions_and_judgements_count(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("training.epochs=1", "training.batch_size=20", "data.equal_captions=positives")
    sets = [word for setting in settings for word in ("--set", setting)]
    call("train", "--preset", "bag_of_words", "--data", folder, *sets, "-o", run)
    lines = (folder / "dev_caps.txt").read_text().splitlines()
    lines[7] = lines[0]
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "dev_caps.txt").write_text("\n".join(lines) + "\n")
    assert "captions have the words of one of another image; such a caption counts as right" in call(
        "evaluate", run, "--data", other
    )
    (tmp_path / "judged.txt").write_text("0\t3#1\t4\t4\t4\n0\t4#1\t1\t1\t1\n")
    words = ("evaluate", run, "--data", other, "--equal-captions", "negatives", "--judged", tmp_path / "judged.txt")
    assert "1 of 2 judged pairs are right too: the mean of Flickr8k's experts is 3 or more." in call(*words)
    record = json.loads(call(*words, "--json"))
    assert record["equal_captions"] == "negatives"
    assert record["captions_that_are_equal"] >= 2
    assert len(record["judged"]) == 1
    plain = json.loads(call("evaluate", run, "--data", other, "--equal-captions", "negatives", "--json"))
    assert plain["rsum"] <= record["rsum"]
    said = call("evaluate", run, "--equal-captions", "some", fails=True)
    assert "equal_captions: got 'some' but expected one of masked, negatives, positives" in said
