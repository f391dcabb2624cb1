"""What a few calls of a loss give away: where it is not finite, where it explodes, and whether it is continuous.

One call is traced. If all that was done to the inputs is in the list of continuous functions below, nothing that
depends on them came without a gradient, and autograd's graph has no node of somebody's own, then the loss is continuous
wherever it is finite, and its weights are its gradient: that is a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from goal_analysis.numeric.measurement.arrangement import LAYOUTS, Arrangement, arranged, batch_similarities, in_batch
from goal_analysis.numeric.measurement.calling import Call, Inputs, UnmeasurableLoss
from goal_analysis.numeric.measurement.fields import share
from goal_analysis.numeric.measurement.gradients import Field, differentiated, plane_field, value_of

ENDS = {
    "s_p = 1": (1.0, 0.2),
    "s_p = −1": (-1.0, 0.0),
    "s_n = 1": (0.1, 1.0),
    "s_n = −1": (0.1, -1.0),
    "s_p = s_n = 1": (1.0, 1.0),
    "s_p = s_n": (0.2, 0.2),
}
"""Points (s_p, s_n) by what is special about them."""

TURNS = 4  # the embeddings are also turned at random so often: rounding takes a cosine to either side of 1
NEARER = (2e-2, 4e-3, 8e-4)  # distances from an end
GROWTH = 1.5  # weights that grow by as much, every five times nearer, grow without bound; those of a root do by 2.2
SMALL = 1e-9


_CONTINUOUS = (
    "add radd iadd sub rsub isub subtract mul rmul imul multiply div rdiv itruediv truediv rtruediv true_divide divide "
    "neg negative pos pow rpow square sqrt rsqrt reciprocal exp exp2 expm1 log log2 log10 log1p abs absolute sin cos "
    "tan acos arccos asin arcsin atan tanh sigmoid relu relu6 leaky_relu elu gelu silu softplus logsigmoid "
    "log_sigmoid clamp clamp_min clamp_max clip hypot erf sum mean logsumexp logaddexp softmax log_softmax cumsum "
    "prod var std norm "
    "vector_norm linalg_norm linalg_vector_norm normalize max min amax amin maximum minimum sort topk median cat "
    "concat stack hstack vstack chunk split unbind getitem gather index_select take_along_dim masked_select "
    "masked_fill where diagonal diag diag_embed fill_diagonal tril triu trace narrow select t transpose swapaxes "
    "permute movedim view reshape flatten squeeze unsqueeze expand expand_as view_as repeat repeat_interleave roll "
    "flip contiguous clone to_dense matmul rmatmul mm bmm mv dot inner outer einsum addmm baddbmm linear bilinear "
    "cdist dist pairwise_distance cosine_similarity cross_entropy nll_loss binary_cross_entropy "
    "binary_cross_entropy_with_logits mse_loss l1_loss smooth_l1_loss huber_loss kl_div soft_margin_loss "
    "multilabel_soft_margin_loss triplet_margin_loss margin_ranking_loss cosine_embedding_loss hinge_embedding_loss "
    "multi_margin_loss layer_norm to double float half type_as T mT H index_put scatter scatter_add index_add addcmul "
    "lerp setitem broadcast_to broadcast_tensors tensordot vdot kron atleast_2d ravel swapdims moveaxis tensor_split "
    "logcumsumexp cummax cummin aminmax softmin softsign sinh cosh celu selu mish hardtanh logit"
)
_DESCRIBING = (
    "shape size dim ndim ndimension numel len device dtype is_floating_point is_cuda is_sparse is_complex is_leaf "
    "is_contiguous is_nested is_quantized is_mkldnn is_meta requires_grad grad_fn layout names stride "
    "hash element_size nelement repr format zeros_like ones_like full_like empty_like new_zeros new_ones new_full "
    "new_tensor new_empty requires_grad result_type promote_types"
)
CONTINUOUS, DESCRIBING = frozenset(_CONTINUOUS.split()), frozenset(_DESCRIBING.split())
"""Functions of torch that are continuous wherever they are finite, and those that say nothing of the numbers."""


def not_finite(call: Call) -> dict[str, str]:
    """Where the loss or its gradient is NaN or infinite, or raises an error."""
    found: dict[str, str] = {}
    for place, arrangement, points in _cases(call):
        said = []
        for point in points:
            try:
                value, gradient, learned = differentiated(call, arrangement, point[None])
            except UnmeasurableLoss as error:
                said.append(f"raises {type(error.__cause__).__name__}" if error.__cause__ else "returns no scalar")
                continue
            seen = {"value": value, "gradient": gradient} | {f"gradient of {name}": g for name, g in learned.items()}
            bad = {what: x for what, x in seen.items() if x is not None and not x.isfinite().all()}
            said += [f"{what} {'NaN' if x.isnan().any() else 'infinite'}" for what, x in bad.items()]
        if said:
            found[place] = ", ".join(dict.fromkeys(said))
    return found


def _cases(call: Call) -> Iterator[tuple[str, Arrangement, list[Tensor]]]:
    shape, plane = call.shape, plane_field(call)
    for place, at in ENDS.items():
        similarities = plane.similarities(torch.tensor([at], dtype=torch.float64))
        if shape.of_scores:
            (scores,) = plane.arrangement.points(similarities)
            # Scores of vectors in float are above 1 by their rounding as often as not.
            yield place, plane.arrangement, [scores, scores * (1 + 4 * torch.finfo(shape.dtype).eps)]
        elif (vectors := at_the_edge(similarities[0])) is not None:
            wide = torch.nn.functional.pad(vectors, (0, (shape.dim or len(vectors)) - vectors.shape[1]))
            yield place, plane.arrangement, [wide, *(wide @ turn for turn in _turns(wide))]
    for place, layout in LAYOUTS[shape.inputs][2].items():
        poor = arranged(shape, layout)
        yield place, poor, [*poor.points(batch_similarities(poor, 0)[None])]
    if not shape.of_scores:
        batch = in_batch(shape)
        (vectors,) = batch.points(batch_similarities(batch, 0)[None])
        vectors[0] = 0
        yield "a vector of zeros", batch, [vectors]


def at_the_edge(similarities: Tensor) -> Tensor | None:
    """Vectors with these similarities that may depend on each other, equal ones exactly so; None if there are none."""
    values, directions = torch.linalg.eigh(similarities)
    if values[0] < -SMALL:
        return None
    rows = directions * values.clamp(min=0).sqrt()
    equal = (similarities[:, None] == similarities[None]).all(2)
    return rows[equal.int().argmax(1)]  # of equal rows the first


def _turns(vectors: Tensor) -> list[Tensor]:
    generator, size = torch.Generator().manual_seed(0), vectors.shape[-1]
    return [torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=vectors.dtype)).Q for _ in range(TURNS)]


def reading_coordinates(call: Call, arrangement: Arrangement, similarities: Tensor) -> float:
    """The share by which the tangential gradients change when all vectors are turned, which no similarity does."""
    if call.shape.of_scores:
        return 0.0
    points = arrangement.points(similarities)
    turn = _turns(points)[0]
    found, turned = (differentiated(call, arrangement, x)[1] for x in (points, points @ turn))
    if found is None or turned is None:
        return 0.0
    change = (turned @ turn.T - found).nan_to_num()  # along a vector, a kink at its similarity with itself tells
    return share(change - (change * points).sum(-1, keepdim=True) * points, found.nan_to_num())


def between_labels(call: Call) -> str:
    """What a loss of pairs does with a label halfway from negatives to positives; empty if labels are not graded."""
    shape, s = call.shape, torch.linspace(-0.99, 0.99, 199, dtype=torch.float64)
    if shape.inputs is not Inputs.PAIRS or not all(isinstance(label, float) for label in shape.labels):
        return ""
    middle = sum(shape.labels) / 2
    graded = [replace(call, shape=replace(shape, labels=(label, label))) for label in (*shape.labels, middle)]
    try:
        *of_labels, of_middle = (plane_field(each)(torch.stack([s, s], 1))[:, 0] for each in graded)
    except UnmeasurableLoss:
        return ""
    if torch.allclose(of_labels[0], of_labels[1]):  # labels are compared with each other
        return ""
    for label, weights in zip(shape.labels, of_labels, strict=True):
        if torch.allclose(weights, of_middle):
            return f"a label of {middle:g} counts as {label:g}"
    pulls = of_middle < 0
    if (turn := pulls.int().diff().nonzero().flatten()).numel() != 1:
        return "" if of_middle.any() else f"a label of {middle:g} has no gradient"
    first, then = ("pulls", "pushes") if pulls[0] else ("pushes", "pulls")
    return f"of a label of {middle:g} it {first} below s = {s[turn + 1].item():.2g} and {then} above"


def explosions(plane: Field) -> dict[str, str]:
    """Which weights grow without bound, by the end that they grow towards."""
    near, found = torch.tensor(NEARER, dtype=torch.float64), {}
    same = torch.full_like(near, 0.3)
    ends = {"s_p → 1": (1 - near, same), "s_p → −1": (near - 1, 0 * same)}
    ends |= {"s_n → 1": (same, 1 - near), "s_n → −1": (same, near - 1)}
    for end, sides in ends.items():
        grown = []
        for name, w in zip(("w⁺", "w⁻"), plane(torch.stack(sides, 1)).abs().T, strict=True):
            ratios = w[1:] / w[:-1]
            if w.isfinite().all() and (w > 0).all() and (ratios > GROWTH).all() and ratios[1] > 0.8 * ratios[0]:
                grown.append(f"{name} grows {ratios[1]:.2g}-fold every five times nearer")
        if grown:
            found[end] = ", ".join(grown)
    return found


class _Trace(TorchFunctionMode):
    def __init__(self, inputs: list[Tensor]) -> None:
        super().__init__()
        self.followed = {id(x): x for x in inputs}
        self.broken = ""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        keywords = kwargs or {}
        given = list(_tensors((args, keywords)))
        strange = any(id(x) not in self.followed and x.requires_grad and not x.is_leaf for x in given)
        result = func(*args, **keywords)
        if self.broken or not any(id(x) in self.followed or x.requires_grad for x in given):
            return result
        called = getattr(func, "__name__", str(func))
        if called in ("__get__", "__set__"):
            called = getattr(getattr(func, "__self__", None), "__name__", called)
        name = called.strip("_") if called.startswith("__") else called.rstrip("_") or called
        outputs = given[:1] if name == "setitem" else list(_tensors(result))
        if strange:
            self.broken = f"what {name} reads is made where nothing can be followed"
        elif called == "__set__" or "rounding_mode" in keywords or name not in CONTINUOUS | DESCRIBING:
            self.broken = f"it calls {name}"
        elif name in CONTINUOUS:
            numbers = [x for x in outputs if x.is_floating_point()]
            if any(id(x) in self.followed and not x.is_floating_point() for x in given):
                self.broken = f"{name} selects by them"
            elif not all(x.requires_grad for x in numbers):
                self.broken = f"the gradient is stopped at {name}"
            self.followed.update((id(x), x) for x in outputs)
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def why_not_continuous(call: Call, arrangement: Arrangement, similarities: Tensor) -> str:
    """What keeps the loss from being continuous by construction; empty if it is."""
    leaf = arrangement.points(similarities)[0].requires_grad_()
    with _Trace([leaf]) as trace:
        value = value_of(call, arrangement, leaf, {})
    if trace.broken:
        return trace.broken
    if id(value) not in trace.followed or not value.requires_grad:
        return "its value does not come from its inputs"
    pending, seen = [value.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return f"it differentiates by {type(node).__name__}"
        pending += [following for following, _ in node.next_functions]
    return ""
