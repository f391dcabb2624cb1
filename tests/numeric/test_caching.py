"""Gradient caching: the gradients are those of the encoder called on the chunks, for encoders of every kind."""

import weakref
from collections import UserDict
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import spectral_norm

from goal_analysis.numeric.caching import GradientCache

ROWS, CHUNK, DIM = 22, 4, 5
UNSEEN = torch.Generator()


class Embedded(NamedTuple):
    """What some encoders return."""

    first: Tensor
    second: Tensor


def layers(width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 16), nn.Dropout(0.4), nn.GELU(), nn.Linear(16, DIM), nn.Dropout(0.4))


class Rows(nn.Module):
    """An encoder of plain rows; the others differ from it in what they take and give."""

    def __init__(self) -> None:
        super().__init__()
        self.body = layers()

    def forward(self, x: Tensor) -> Tensor:
        return normalize(self.body(x), dim=1)


class Attention(Rows):
    """Attends over the words of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.attention(x[:, None].expand(-1, 3, -1)).mean(1))


class ToTuple(Rows):
    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return super().forward(x), [super().forward(x)]


class ToNamed(Rows):
    def forward(self, x: Tensor) -> Embedded:
        return Embedded(super().forward(x), super().forward(x + 1))


class ToDict(Rows):
    """A mapping with a number, a text and none among its entries, as CLIP returns its scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"embedding": super().forward(x) * self.scale, "scale": self.scale.exp(), "name": "a", "hidden": None}


class Twice(Rows):
    """Two towers in one call, of one body."""

    def forward(self, x: Tensor, again: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(x), super().forward(x if again is None else again)


class DrawsInNumPy(Rows):
    """Weighs a layer by random numbers that are not those of torch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * np.random.random()


class WritesIntoInputs(Rows):
    """Changes its input, as a pooling does that takes the words of a prompt out of the mask."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


KINDS = (Rows, Attention, ToTuple, ToNamed, ToDict, Twice, DrawsInNumPy, WritesIntoInputs)


def batch(rows: int = ROWS) -> Tensor:
    return torch.randn(rows, 6)


def in_chunks(model, x: Tensor, chunk: int = CHUNK) -> list:
    """What the model gives for every chunk, with the graph of all of them."""
    return [model(part.clone()) for part in x.split(chunk)]


def tensors(output: object) -> list[Tensor]:
    """The embeddings in what a model gives."""
    if isinstance(output, Tensor):
        return [output] if output.ndim == 2 else []
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def loss(embeddings: list[Tensor]) -> Tensor:
    """One that reads all rows at once."""
    return sum((e @ e.T).exp().sum(1).log().mean() for e in embeddings) + embeddings[0].prod(1).sum()


def whole(outputs: list) -> list[Tensor]:
    return [torch.cat(parts) for parts in zip(*map(tensors, outputs), strict=True)]


def gradients(model: nn.Module, value: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return [g.detach() for g in found]


def seeded() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    UNSEEN.manual_seed(3)


def of_both(model: nn.Module, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients through a cache, and those of the chunks without one, from the same random state."""
    seeded()
    expected = gradients(model, loss(whole(in_chunks(model, x))))
    state = torch.get_rng_state()
    seeded()
    output = GradientCache(model, CHUNK)(x)
    found = gradients(model, loss(tensors(output)))
    assert torch.equal(torch.get_rng_state(), state), "the second pass draws nothing"
    return found, expected


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((f - e).abs().max()) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_are_those_of_the_chunks(kind: type[Rows]) -> None:
    found, expected = of_both(kind(), batch())
    assert max(float(e.abs().max()) for e in expected) > 1e-3
    assert distance(found, expected) < 1e-12


class DrawsUnseen(Rows):
    """Drops a layer as a generator says that nobody else knows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.rand((), generator=UNSEEN)


def test_random_numbers_that_cannot_be_put_back_would_be_seen() -> None:
    found, expected = of_both(DrawsUnseen(), batch())
    assert distance(found, expected) > 1e-3


def test_without_dropout_they_are_those_of_one_pass_over_the_batch() -> None:
    model, x = Attention().eval(), batch()
    expected = gradients(model, loss([model(x)]))
    assert distance(gradients(model, loss([GradientCache(model, CHUNK)(x)])), expected) < 1e-12


def test_mixed_precision_keeps_the_random_numbers_and_the_types() -> None:
    model, x = Attention().float(), batch().float()
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = of_both(model, x)
    assert distance(found, expected) < 1e-6
    assert distance(expected, of_both(model, x)[1]) > 1e-5


def test_two_towers_share_what_they_share() -> None:
    """Each in a cache of its own, with other numbers of rows; a function of a module is an encoder too."""
    model, x, y = Rows(), batch(), batch(11)
    towers = (
        GradientCache(model, CHUNK),
        GradientCache(lambda rows: {"kept": model(rows), "not": rows}, 3, lambda o: o["kept"]),
    )
    seeded()
    expected = gradients(model, loss([torch.cat(in_chunks(model, x)), torch.cat(in_chunks(model, y, 3))]))
    seeded()
    assert distance(gradients(model, loss([towers[0](x), towers[1](y)])), expected) < 1e-12


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_inputs_are_cut_wherever_they_stand(kind: type) -> None:
    class FromMapping(Rows):
        def forward(self, given, one: Tensor, *, scale: float) -> Tensor:
            given["deep"] = [super().forward(given["deep"][0] * scale + one)]  # as sentence-transformers' modules do
            return given["deep"][0]

    model, x, one = FromMapping(), batch().requires_grad_(), torch.randn(1, 6)
    seeded()
    parts = torch.cat([model({"deep": [part]}, one, scale=2.0) for part in x.split(CHUNK)])
    expected = torch.autograd.grad(loss([parts]), x)
    seeded()
    found = GradientCache(model, CHUNK)(kind(deep=[x]), one, scale=2.0)
    torch.testing.assert_close(torch.autograd.grad(loss([found]), x), expected, rtol=0, atol=1e-12)


def training(encoder, model: nn.Module) -> list[Tensor]:
    """A few steps with a scaler, accumulation and clipping; the parameters after them."""
    seeded()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for _ in range(3):
        optimizer.zero_grad()
        for _ in range(2):
            scaler.scale(loss(tensors(encoder(batch()))) / 2).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
    return [p.detach().clone() for p in model.parameters()]


def test_a_scaler_accumulation_and_clipping_go_on_as_before() -> None:
    model = Rows()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    expected = training(lambda x: torch.cat(in_chunks(model, x)), model)
    compiled = [torch.compile(model, backend="aot_eager")] if hasattr(torch.compiler, "set_stance") else []
    for way in (model, *compiled):  # torch before 2.6 compiles nothing that it encodes again
        model.load_state_dict(start)
        assert distance(expected, list(start.values())) > 1e-3
        assert distance(training(GradientCache(way, CHUNK), model), expected) < 1e-12


class Statistics(Rows):
    """Learns from the statistics of its batches, or keeps a state of its own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(layer, self.body)


LAYERS = {
    "BatchNorm": lambda: nn.BatchNorm1d(6),
    "BatchNorm without buffers": lambda: nn.BatchNorm1d(6, track_running_stats=False),
    "spectral norm": lambda: spectral_norm(nn.Linear(6, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_statistics_of_batches_are_those_of_chunks_and_said_so(name: str) -> None:
    model, x = Statistics(LAYERS[name]()), batch()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    in_chunks(model, x)
    once = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(start)
    cache = GradientCache(model, CHUNK)
    with pytest.warns(UserWarning, match=r"got a model with statistics of its batches, .*body.* chunks of 4 rows"):
        value = loss([cache(x)])
    value.backward()
    for key, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, once[key], msg=f"{key} after two passes, as after one")
    model.eval()
    assert cache(x).shape == (ROWS, DIM)


def test_what_changes_nothing_is_not_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    model = Statistics(nn.BatchNorm1d(6))
    model.body[0].eval()
    loss([GradientCache(model, CHUNK)(batch())]).backward()
    assert not [warning for warning in recwarn if "GradientCache" in str(warning.message)]


def test_without_a_gradient_there_is_one_pass_in_chunks() -> None:
    seen: list[int] = []

    def encode(x: Tensor) -> Tensor:
        seen.append(len(x))
        return model(x)

    model = Rows().eval()
    cache, x = GradientCache(encode, 8), batch()
    with torch.no_grad():
        torch.testing.assert_close(cache(x), model(x))
    assert seen == [8, 8, 6]
    loss([cache(x)]).backward()
    assert seen == [8, 8, 6, 8, 8, 6, 6, 8, 8]
    cache(x[:8])
    assert seen[-1:] == [8], "a batch of one chunk is encoded as it is"


def most_alive(encode, rows: int) -> int:
    """The most numbers that hidden layers of the encoder had at once, in a forward and a backward pass."""
    alive, most = 0, 0

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            nonlocal alive, most
            hidden = x.exp()
            alive += hidden.numel()
            most = max(most, alive)
            weakref.finalize(hidden.untyped_storage(), ended, hidden.numel())
            ctx.save_for_backward(hidden)
            return hidden * 1

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            return gradient * ctx.saved_tensors[0]

    def ended(count: int) -> None:
        nonlocal alive
        alive -= count

    model = nn.Linear(6, DIM)
    loss([encode(lambda x: Counted.apply(Counted.apply(model(x))))(torch.randn(rows, 6) / 10)]).backward()
    return most


def test_the_memory_is_that_of_a_chunk_whatever_the_batch() -> None:
    cached = [most_alive(lambda f: GradientCache(f, CHUNK), rows) for rows in (8, 32, 128)]
    alone = [most_alive(lambda f: f, rows) for rows in (8, 32, 128)]
    assert len(set(cached)) == 1
    assert alone[2] == 4 * alone[1] == 16 * alone[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "got inputs without a tensor that has rows"),
        ((torch.tensor(1.0), "a"), "got inputs without a tensor that has rows"),
        ((torch.ones(22, 6), torch.ones(20, 6)), "got inputs of 22 and 20 rows but expected as many"),
    ],
)
def test_inputs_that_cannot_be_cut_are_refused(given: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientCache(Twice(), CHUNK)(*given)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (
            lambda x: x.sum(),
            r"got outputs of shapes \(\) and \(\) of chunks of 4 and 2 rows but expected a row for every row",
        ),
        (lambda x: x.T, r"got outputs of shapes \(6, 4\) and \(6, 2\) of chunks"),
        (lambda x: (x[:, : len(x)], 1), r"got outputs of shapes \(4, 4\) and \(2, 2\) of chunks"),
    ],
)
def test_outputs_that_cannot_be_joined_are_refused(encode, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientCache(encode, CHUNK)(batch())


@pytest.mark.parametrize("chunk", [0, -1, True])
def test_a_chunk_that_is_none_is_refused(chunk: int) -> None:
    with pytest.raises(ValueError, match=r"chunk: got .* but expected a whole number from 1"):
        GradientCache(Rows(), chunk)
