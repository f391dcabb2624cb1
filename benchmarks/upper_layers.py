"""A text encoder of which the upper layers alone are trained: what the frozen layers make of a caption is made once.

    python benchmarks/upper_layers.py MODEL DATA -o STATES.safetensors
    goal-analyze --extension benchmarks/upper_layers.py train --data DATA --set model.tokenizer=hf:MODEL \
        --set 'model.text={name="upper_layers", path="MODEL", states="STATES.safetensors"}'

The first writes the states under the last two layers, of every token of every caption. A step of the second costs about
a third of one that goes through all six layers of MiniLM.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from goal_analysis.vse.data import load
from goal_analysis.vse.models.encoders import TEXT_ENCODERS
from goal_analysis.vse.models.encoders.pooling import unit
from goal_analysis.vse.models.text import Subwords, Tokenizer, Tokens

STRIPS = 4  # that a batch is read in, of captions of near lengths


def bert(path: str) -> nn.Module:
    """The layers of a folder of transformers; attention as matrices, which is quickest on CPUs at this length."""
    return AutoModel.from_pretrained(path, attn_implementation="eager", add_pooling_layer=False)


class Through(nn.Module):
    """Embeddings that were made before."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> Tensor:
        """The same."""
        return inputs_embeds


class UpperLayers(nn.Module):
    """The last ``layers`` of a BERT on kept ``states``, the mean over a caption's tokens, and a linear map of it."""

    def __init__(self, tokenizer: Tokenizer, *, path: str, states: str, layers: int = 2, dim: int = 384) -> None:
        super().__init__()
        self.model = bert(path)
        self.model.embeddings = Through()
        self.model.encoder.layer = self.model.encoder.layer[-layers:]
        width, self.dim = self.model.config.hidden_size, dim
        self.linear = nn.Linear(width, dim) if dim != width else nn.Identity()
        kept = load_file(states)
        ids, lengths, self.states = kept["ids"].numpy(), kept["lengths"], kept["states"]
        ends = zip(lengths.cumsum(0).tolist(), lengths.tolist(), strict=True)
        self.first = {ids[end - n : end].tobytes(): end - n for end, n in ends}

    def _strips(self, tokens: Tokens, order: Tensor) -> Iterator[Tensor]:
        for rows in order.split(max(16, -(-len(order) // STRIPS))):
            strip = tokens.rows(rows)
            mask = strip.mask
            hidden = self.states.new_zeros(*mask.shape, self.states.shape[1])
            for row, (ids, n) in enumerate(zip(strip.ids.numpy(), strip.lengths.tolist(), strict=True)):
                first = self.first[ids[:n].tobytes()]
                hidden[row, :n] = self.states[first : first + n]
            last = self.model(inputs_embeds=hidden.float(), attention_mask=mask.long()).last_hidden_state
            yield (last * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def forward(self, tokens: Tokens) -> Tensor:
        """Unit vectors, one a caption."""
        order = tokens.lengths.argsort()
        pooled = torch.cat(list(self._strips(tokens, order)))[order.argsort()]
        return unit(self.linear(pooled.float()))


TEXT_ENCODERS["upper_layers"] = UpperLayers


@torch.no_grad()
def states_below(path: str, data: str, layers: int) -> dict[str, Tensor]:
    """The states under the last layers, of every token of every caption, one behind the other."""
    model = bert(path).eval()
    model.encoder.layer = model.encoder.layer[:-layers]
    found = load(data)
    captions = {caption for split in (found.train, found.dev, found.test) if split for caption in split.captions}
    tokens = Subwords.built_on((), path=path)(sorted(captions, key=len))
    made: dict[str, list[Tensor]] = {"ids": [], "lengths": [], "states": []}
    for rows in torch.arange(len(tokens)).split(256):
        batch = tokens.rows(rows)
        mask = batch.mask
        with torch.autocast("cpu", torch.bfloat16):
            last = model(input_ids=batch.ids * mask, attention_mask=mask.long()).last_hidden_state
        for name, values in (("ids", batch.ids[mask]), ("lengths", batch.lengths), ("states", last[mask].bfloat16())):
            made[name].append(values)
    return {name: torch.cat(values) for name, values in made.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="MODEL", help="A folder of transformers with a BERT, such as all-MiniLM-L6-v2.")
    parser.add_argument("data", metavar="DATA", help="A data folder, or the name of a data set.")
    parser.add_argument("--layers", type=int, default=2, help="How many are trained; 2 by default.")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="STATES", help="The file that is written.")
    given = parser.parse_args()
    save_file(states_below(given.path, given.data, given.layers), given.output)
