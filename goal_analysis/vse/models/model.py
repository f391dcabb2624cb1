"""Models from tables: dual encoders, and models whose score is no dot product."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from goal_analysis.declarations import Table, named, naming, read_options, read_value
from goal_analysis.vse.loop.health import within_memory
from goal_analysis.vse.models.dual_encoder import DualEncoder, Reranking, RetrievalModel
from goal_analysis.vse.models.encoders import IMAGE_ENCODERS, TEXT_ENCODERS
from goal_analysis.vse.models.encoders.trained import Statistics
from goal_analysis.vse.models.scorers import SCORERS
from goal_analysis.vse.models.text import TOKENIZERS, Tokenizer

MOST = 10_000_000  # the largest whole number that an option may be: no width, count or length is larger
PARTS = ("checkpoint", "image", "pictures", "text", "tokenizer", "scorer", "reranker")  # the tables of a model
SHORT = {
    "hf": ("hugging_face", "path"),
    "timm": ("timm", "model"),
    "torchvision": ("torchvision", "model"),
    "open_clip": ("open_clip", "model"),
}
"""What a table may be written as: ``hf:FOLDER`` is ``{ name = "hugging_face", path = "FOLDER" }``, and so on."""
RERANKING = ("negatives", "top", "share")  # the options of a table `reranker` that are not its scorer's


def build_tokenizer(config: Mapping[str, Any], captions: Sequence[str]) -> Tokenizer:
    """The tokenizer that the table ``tokenizer`` names; by default ``words``, or the pretrained model's own."""
    tables, default = _spelled_out(config), {"name": "words"}
    for part in ("reranker", "scorer", "text"):
        table = tables.get(part)
        if isinstance(table, Mapping) and table.get("name") == "hugging_face" and "path" in table:
            default = {"name": "subwords", "path": table["path"]}
        elif isinstance(table, Mapping) and table.get("name") == "open_clip" and "model" in table:
            default = {"name": "open_clip", "model": table["model"]}
    given = _table(tables, "tokenizer", default)
    given["name"] = "subwords" if given.get("name") == "hugging_face" else given.get("name")
    kind = named("model.tokenizer: name", given["name"], TOKENIZERS)
    return _made("model.tokenizer", kind.built_on, given, captions)


def restore_tokenizer(given: Any) -> Tokenizer:
    """The tokenizer that `tokenizer_json` wrote; anything else is a ValueError."""
    Table(given, "tokenizer")
    kind = named("tokenizer: name", given.get("kind"), TOKENIZERS)
    return read_value(kind, {name: value for name, value in given.items() if name != "kind"}, "tokenizer")


def build_model(
    config: Mapping[str, Any], shape: tuple[int, ...], tokenizer: Tokenizer, statistics: Statistics | None = None
) -> RetrievalModel:
    """The model that a table describes, with random weights from torch's seed.

    ``image`` and ``text`` are tables with the ``name`` of an encoder and its options; ``dim`` may stand in either, and
    is by default that of an encoder that has a width of its own. A table ``checkpoint`` takes the place of both. With a
    ``scorer`` the encoders give it their elements, unpooled; a ``reranker`` stands beside the dual encoder, see
    `Reranking`. ``pictures`` takes the place of ``image`` where images are pictures. The shape is that of one image;
    the statistics are of the training images, none where the model's state brings them. What is not accepted is a
    ValueError.
    """
    config = _spelled_out(config)
    beside = [part for part in ("scorer", "reranker") if part in config]
    if len(beside) > 1:
        raise ValueError("model: got a scorer and a reranker but expected one of them at most")
    where, scorer = (f"model.{beside[0]}", _table(config, beside[0])) if beside else ("", {})
    build_scorer = named(f"{where}: name", scorer.get("name"), SCORERS) if beside else DualEncoder
    reads_itself = "shape" in inspect.signature(build_scorer).parameters
    given: tuple[Any, ...] = (shape, statistics, tokenizer) if reads_itself else ()
    if reads_itself and beside == ["scorer"]:
        return _made(where, build_scorer, scorer, None, None, *given)
    image, text = _table(config, "image"), _table(config, "text")
    if "pictures" in config and len(shape) == 3:
        image = ({"dim": image["dim"]} if "dim" in image else {}) | _table(config, "pictures")
    dims = [table["dim"] for table in (image, text) if table.get("dim")]
    if len(dims) == 2 and dims[0] != dims[1]:
        raise ValueError(f"model.text: dim: got {dims[1]} but expected {dims[0]}, as model.image has it")
    sides = [("image", image, IMAGE_ENCODERS, (shape, statistics)), ("text", text, TEXT_ENCODERS, (tokenizer,))]
    builders = {side: named(f"model.{side}: name", table.get("name"), known) for side, table, known, _ in sides}
    if not dims:  # one that has a width of its own is built first
        sides.sort(key=lambda side: inspect.signature(builders[side[0]]).parameters["dim"].default != 0)
    encoders = {}
    for side, table, known, arguments in sides:
        table.update({"dim": dims[0]} if dims else {})
        able = [name for name, build in known.items() if "pooling" in inspect.signature(build).parameters]
        if beside and not reads_itself and table["name"] not in able:
            expected = f"beside a {beside[0]}: {', '.join(able)}"
            raise ValueError(f"model.{side}: name: got {table['name']!r} but expected {expected}")
        if beside == ["scorer"] and "pooling" in table:
            raise ValueError(f"model.{side}: got pooling {table['pooling']!r} but expected none beside a scorer")
        if beside == ["scorer"]:
            table["pooling"] = "mean"  # it has no weights, and is not called
        encoders[side] = _made(f"model.{side}", builders[side], table, *arguments)
        dims = dims or [encoders[side].local.dim] if hasattr(encoders[side], "local") else dims
    own = {name: scorer.pop(name) for name in RERANKING if beside == ["reranker"] and name in scorer}
    built = _made(where, build_scorer, scorer, encoders["image"], encoders["text"], *given)
    return _made(where, Reranking, own, built) if beside == ["reranker"] else built


def portable_tables(config: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The tables that build the same model, with random weights, without a network or the folder of its checkpoint; an
    encoder that was pretrained says in ``made_of`` which options do so.
    """
    found = {part: dict(table) for part, table in _spelled_out(config).items() if part != "tokenizer"}
    parts = {"image": model.image, "pictures": model.image, "text": model.text}
    parts |= {"scorer": model, "reranker": getattr(model, "scorer", None)}
    for part, built in parts.items():
        made_of = getattr(getattr(built, "local", built), "made_of", None)
        if part in found and made_of is not None:
            found[part] = {name: value for name, value in found[part].items() if name != "path"} | made_of
    return found


def _spelled_out(config: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a model, those that are written as in `SHORT` and that of both encoders among them."""
    Table(config, "model", PARTS)
    found = {}
    for part, given in config.items():
        kind, colon, what = given.partition(":") if isinstance(given, str) else ("", "", "")
        found[part] = given
        if colon and kind in SHORT:
            name, option = SHORT[kind]
            found[part] = {"name": name, option: what}
    if "checkpoint" in found:
        both = _table(found, "checkpoint")
        del found["checkpoint"]
        found = {part: table for part, table in found.items() if part != "pictures"} | {"image": both, "text": both}
    return found


def _made(where: str, build: Callable[..., Any], given: Mapping[str, Any], *arguments: Any) -> Any:
    """What a class or function makes of arguments, and of a table's options: whole numbers up to `MOST`."""
    options = {name: value for name, value in given.items() if name != "name"}
    of = f"{where}: {given['name']}" if "name" in given else where
    options = read_options(build, options, of, after=len(arguments), most=MOST)
    with naming(where), within_memory(of, "smaller widths"):
        return build(*arguments, **options)


def _table(config: Mapping[str, Any], part: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
    given = config.get(part, default)
    if not isinstance(given, Mapping):
        short = ", ".join(f"{kind}:{option.upper()}" for kind, (_, option) in SHORT.items())
        raise ValueError(f"model.{part}: got {given!r} but expected a table with a name, or {short}")
    return dict(given)
