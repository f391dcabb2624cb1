"""Trained models as the libraries that they came from read them: folders of transformers and sentence-transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from goal_analysis.extras import import_extra
from goal_analysis.files import whole_folder
from goal_analysis.vse.models.dual_encoder import Reranking, RetrievalModel
from goal_analysis.vse.models.encoders import pretrained
from goal_analysis.vse.models.encoders.open_clip import OpenClipText, OpenClipVision, write_open_clip
from goal_analysis.vse.models.matching import Matching
from goal_analysis.vse.models.text import OpenClipTokens, Subwords, Tokenizer, tokenizer_json


def export_model(model: RetrievalModel, tokenizer: Tokenizer, folder: Path) -> list[str]:
    """Write what a model has of Hugging Face's, whole or not at all, and say what it is.

    A dual encoder of one checkpoint with its own projections is one folder for its library. Otherwise ``text``
    is a model of sentence-transformers, ``image`` an encoder of pictures without a projection, and ``matching`` a
    re-ranker or a scorer with its head. A model without any, or a part that the libraries have no place for, is a
    ValueError.
    """
    image: Any
    text: Any
    image, text = (getattr(side, "local", None) for side in (model.image, model.text))
    matching = model if isinstance(model, Matching) else model.scorer if isinstance(model, Reranking) else None
    towers = [tower for tower in (image, text) if isinstance(tower, pretrained.VisionModel | pretrained.LanguageModel)]
    said: list[str] = []
    with whole_folder(folder) as made:
        if isinstance(image, OpenClipVision) and isinstance(text, OpenClipText):
            write_open_clip(image, text, cast(OpenClipTokens, tokenizer), made)
            said.append(f"{folder}: a dual encoder, for open_clip.create_model_from_pretrained('local-dir:{folder}')")
        elif len(towers) == 2 and all(t.embeds for t in towers) and image.made_of["architecture"] == _config(text):
            _write_checkpoint(_whole(_config(text), *towers), tokenizer, image.made_of["processor"], made)
            said.append(f"{folder}: a dual encoder, for transformers.AutoModel.from_pretrained")
        else:
            if isinstance(text, pretrained.LanguageModel):
                _write_sentences(text, model.text.pooling, tokenizer, made / "text")
                said.append(f"{folder}/text: captions, for sentence_transformers.SentenceTransformer")
            if isinstance(image, pretrained.VisionModel) and not image.embeds and isinstance(image.linear, nn.Identity):
                whole = _whole(image.made_of["architecture"], image)
                _write_checkpoint(whole, None, image.made_of["processor"], made / "image")
                said.append(f"{folder}/image: pictures, for transformers.AutoModel.from_pretrained")
        if isinstance(matching, Matching):
            if list(matching.prepare.parameters()):
                given = "got regions that are mapped to another width"
                raise ValueError(f"export: {given}, for which the class has no place")
            _write_checkpoint(matching.model, tokenizer, matching.made_of["processor"], made / "matching")
            said.append(f"{folder}/matching: pairs, for transformers.{type(matching.model).__name__}.from_pretrained")
        if not said:
            raise ValueError("export: got a model without a checkpoint but expected one that has it")
    return said


def _config(tower: Any) -> dict[str, Any]:
    return {name: value for name, value in pretrained.architecture_of(tower.model).items() if name != "own_pooling"}


def _whole(architecture: Mapping[str, Any], *towers: Any) -> Any:
    """The model of which the towers are the parts; what they never needed is left out where they do not say it."""
    model = pretrained.load_checkpoint("", architecture)
    state = {name: value for tower in towers for name, value in tower.model.state_dict().items()}
    missing, strange = model.load_state_dict(state, strict=False)
    if strange:
        raise ValueError(f"export: got {strange[0]}, for which {type(model).__name__} has no place")
    for part in {name.partition(".")[0] for name in missing}:
        setattr(model, part, None)
    return model


def _write_checkpoint(model: Any, tokenizer: Tokenizer | None, processor: Mapping[str, Any] | None, at: Path) -> None:
    model.save_pretrained(at)
    if processor is not None:
        (at / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    if tokenizer is not None:
        if not isinstance(tokenizer, Subwords):
            raise ValueError(f"export: got the tokenizer {tokenizer_json(tokenizer)['kind']} but expected subwords")
        (at / "tokenizer.json").write_text(tokenizer.definition, "utf-8")
        (at / "tokenizer_config.json").write_text(tokenizer.settings, "utf-8")


def _write_sentences(text: pretrained.LanguageModel, pooling: nn.Module, tokenizer: Tokenizer, at: Path) -> None:
    parts: Any = import_extra("sentence_transformers.sentence_transformer.modules", "export")
    linear = text.linear if isinstance(text.linear, nn.Linear) else None
    kind = getattr(pooling, "kind", type(pooling).__name__)
    mode = next((name for name, own in pretrained.POOLED_AS.items() if own == kind), None)
    if text.embeds or mode is None or (linear is not None and mode == "max"):
        given = "a dual encoder's projection" if text.embeds else f"the pooling {kind}"
        given += " behind a projection" if linear is not None else ""
        raise ValueError(f"export: got {given} of captions but sentence-transformers expects mean, first or last")
    _write_checkpoint(_whole(_config(text), text), tokenizer, None, at)
    longest = tokenizer.longest if isinstance(tokenizer, Subwords) else None
    modules = [parts.Transformer(str(at), max_seq_length=longest)]
    modules.append(parts.Pooling(modules[0].get_embedding_dimension(), pooling_mode=mode))
    if linear is not None:
        modules.append(parts.Dense(linear.in_features, linear.out_features, activation_function=nn.Identity()))
        modules[-1].linear.load_state_dict(linear.state_dict())
    modules.append(parts.Normalize())
    import_extra("sentence_transformers").SentenceTransformer(modules=modules, device="cpu").save(str(at))
