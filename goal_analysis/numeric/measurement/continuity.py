"""Is a loss continuous, and does it stop no gradient? Then the weights are its gradient, and that is a proof.

One call is traced. If everything that was done to the inputs, up to the scalar, is a function of the list below, if
nothing that depends on them came without a gradient, and if the graph of autograd has no node of somebody's own, then
the loss is a composition of continuous functions wherever it is finite, whatever the numbers. What reads a number of
the inputs, compares or selects by them is not in the list; then nothing is proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from goal_analysis.numeric.measurement.arrangement import Arrangement
from goal_analysis.numeric.measurement.calling import Call
from goal_analysis.numeric.measurement.gradients import value_of

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
    "lerp setitem"
)
_DESCRIBING = (
    "shape size dim ndim ndimension numel len device dtype is_floating_point is_cuda is_sparse is_complex is_leaf "
    "is_contiguous is_nested is_quantized is_mkldnn is_meta requires_grad grad_fn layout names stride "
    "hash element_size nelement repr format zeros_like ones_like full_like empty_like new_zeros new_ones new_full "
    "new_tensor new_empty requires_grad result_type promote_types"
)
CONTINUOUS, DESCRIBING = frozenset(_CONTINUOUS.split()), frozenset(_DESCRIBING.split())
"""Functions of torch that are continuous wherever they are finite, and those that say nothing of the numbers."""


class _Trace(TorchFunctionMode):
    """Follows what is computed from the inputs; ``broken`` says what ended the proof."""

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
        value = value_of(call, arrangement, leaf)
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
