"""Cross-modal models of Hugging Face: their own heads score an image with a caption, both read by one transformer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from goal_analysis.declarations import named
from goal_analysis.vse.models.dual_encoder import PairScores, RetrievalModel, score_in_strips
from goal_analysis.vse.models.encoders import pretrained
from goal_analysis.vse.models.encoders.pooling import Images
from goal_analysis.vse.models.encoders.trained import Standardise, Statistics
from goal_analysis.vse.models.text import Tokenizer, Tokens

Inputs = Mapping[str, Tensor]  # of a model, by their names; images stand along the first axis


class Head(NamedTuple):
    """How a kind of model is used: its class, the score of pairs, one a row of text and image, what it reads of images
    before, and the configuration's name of the regions' width, empty where it takes pictures.
    """

    name: str
    score: Callable[[Any, Inputs, Inputs], Tensor]
    read: Callable[[Any, Inputs], Inputs] = lambda model, image: image
    features: str = ""


def _blip(model: Any, text: Inputs, image: Inputs) -> Tensor:
    states = model.text_encoder(**text, encoder_hidden_states=image["states"]).last_hidden_state
    return model.itm_head(states[:, 0]) @ states.new_tensor([-1.0, 1.0])


def _visual_bert(model: Any, text: Inputs, image: Inputs) -> Tensor:
    ones = torch.ones(image["regions"].shape[:2], dtype=torch.int64, device=image["regions"].device)
    seen = {"visual_embeds": image["regions"], "visual_attention_mask": ones, "visual_token_type_ids": ones}
    pooled = model.visual_bert(**text, **seen).pooler_output
    return model.cls.seq_relationship(pooled) @ pooled.new_tensor([1.0, -1.0])


def _lxmert(model: Any, text: Inputs, image: Inputs) -> Tensor:
    regions = image["regions"]
    whole = regions.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(*regions.shape[:2], 4)
    pooled = model.lxmert(**text, visual_feats=regions, visual_pos=whole).pooled_output
    return model.cls.seq_relationship(pooled) @ pooled.new_tensor([-1.0, 1.0])


HEADS: dict[str, Head] = {
    "blip": Head("BlipForImageTextRetrieval", _blip, lambda model, image: {"states": model.vision_model(**image)[0]}),
    "vilt": Head("ViltForImageAndTextRetrieval", lambda model, text, image: model(**text, **image).logits[:, 0]),
    "visual_bert": Head("VisualBertForPreTraining", _visual_bert, features="visual_embedding_dim"),
    "lxmert": Head("LxmertForPreTraining", _lxmert, features="visual_feat_dim"),
}
"""The heads by the ``model_type`` of a configuration; a user's own join it."""


class Matching(RetrievalModel):
    """A checkpoint whose own head scores pairs by the difference of its two logits.

    BLIP (https://arxiv.org/abs/2201.12086) and ViLT (https://arxiv.org/abs/2102.03334) take pictures; VisualBERT
    (https://arxiv.org/abs/1908.03557) and LXMERT (https://arxiv.org/abs/1908.07490) regions, mapped linearly where they
    are not as wide as expected. LXMERT is told that every region is the whole image, since features come without boxes.
    ``architecture`` and ``processor`` stand for ``path``, with random weights. It computes a transformer for every
    pair, so it is for `Reranking`, or for small data as a scorer alone, without encoders.
    """

    embeds = False

    def __init__(
        self,
        image: Any,
        text: Any,
        shape: tuple[int, ...],
        statistics: Statistics | None,
        tokenizer: Tokenizer,
        *,
        path: str = "",
        architecture: dict | None = None,
        processor: dict | None = None,
    ) -> None:
        super().__init__()
        self.image, self.text = image, text
        head_of = partial(named, "model: type", known=HEADS)
        self.model = pretrained.load_checkpoint(path, architecture, lambda config: head_of(config.model_type).name)
        self.head = head_of(self.model.config.model_type)
        pretrained.check_vocabulary(tokenizer, self.model.config.get_text_config(), path)
        processor = pretrained.processor_of(path) or processor
        self.made_of = {"architecture": pretrained.architecture_of(self.model), "processor": processor}
        width = getattr(self.model.config, self.head.features or "", 0)
        self.prepare: nn.Module
        if not width:
            self.prepare = pretrained.Preparation(shape, statistics, processor)
        elif len(shape) == 3:
            raise ValueError(f"{self.model.config.model_type}: got pictures {shape} but expected features of regions")
        else:
            linear = [] if shape[-1] == width else [Standardise(shape, statistics), nn.Linear(shape[-1], width)]
            self.prepare = nn.Sequential(*linear)

    def pair_scores(self, images: Images, tokens: Tokens) -> PairScores:
        """What scores pairs of these images and captions; the images are read once, and all in strips."""

        def read(rows: Tensor) -> Inputs:
            made = self.prepare(images[rows])
            if self.head.features:
                made = {"regions": made if made.ndim == 3 else made[:, None]}
            return self.head.read(self.model, made)

        hidden, every = self.model.config.get_text_config().hidden_size, torch.arange(len(images), device=images.device)
        seen = score_in_strips(read, every, 16 * images[0].numel())
        places = sum(value[0].numel() for value in seen.values()) // hidden

        def score(rows: Tensor, columns: Tensor) -> Tensor:
            def strip(some: Tensor) -> Tensor:
                i, c = rows[some], tokens.rows(columns[some])
                text = {"input_ids": c.ids, "attention_mask": c.mask.long()}
                return self.head.score(self.model, text, {name: value[i] for name, value in seen.items()})

            order = tokens.lengths.to(columns.device)[columns].argsort()
            return score_in_strips(strip, order, 8 * (places + tokens.ids.shape[1]) * hidden)

        return score
