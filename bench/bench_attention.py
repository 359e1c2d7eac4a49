"""softmax(Q Kᵀ / √d) V, four ways: query by query, head by head, all at once, and fused.

Shapes: q, k and v are (B, H, T, d), for B sentences of T words and H heads of d dimensions each.
The equation takes 4·B·H·T²·d operations, however it is written.
"""

from math import prod, sqrt

import pytest
import torch
import torch.nn.functional as F
from harness import cases, measure, timed, with_gradients
from torch.nn.attention import SDPBackend, sdpa_kernel

pytestmark = timed
PROGRAMS = {"05_transformer": (64, 4, 12, 24), "06_bert": (128, 4, 44, 24)}  # B, H, T, d
LENGTHS = {  # T, of one sentence
    "cpu": {"small": 64, "medium": 250, "large": 1000},
    "cores": {"small": 64, "large": 1000},
    "gpu": {"small": 64, "medium": 1000, "large": 4000, "huge": 16000},
}
SHAPES = {}
for device, lengths in LENGTHS.items():
    SHAPES[device] = {size: (1, 4, T, 64) for size, T in lengths.items()} | PROGRAMS


def loop_over_queries(q, k, v):
    """One word at a time: its attention weights for all words, then the weighted mean."""
    rows = []
    for queries, keys, values in zip(*(x.flatten(0, 1).unbind() for x in (q, k, v)), strict=True):
        for query in queries.unbind():
            weights = (keys @ query / sqrt(query.numel())).softmax(0)  # (T)
            rows.append(weights @ values)  # (d)
    return torch.stack(rows).view_as(q)


def loop_over_heads(q, k, v):
    """All words at once, one head at a time."""
    heads = zip(q.unbind(1), k.unbind(1), v.unbind(1), strict=True)
    return torch.stack([matrices(*head) for head in heads], 1)


def matrices(q, k, v, hidden=None):
    """All words of all heads of all sentences at once: the equation as it stands."""
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))  # (B, H, T, T)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ v


def fused(q, k, v, hidden=None):
    """The same block by block, as one operation: the T² weights are never stored, and what a
    causal mask hides need not be computed."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=hidden is not None)


def by_backend(name):
    """Fused attention by the backend of this name; an error where the device does not have it."""

    def run(q, k, v):
        with sdpa_kernel(getattr(SDPBackend, name)):
            return fused(q, k, v)

    return run


def reference(q, k, v, hidden=None):
    """The definition of softmax, for 1000 queries at a time."""
    blocks = []
    for start in range(0, q.size(2), 1000):
        rows = slice(start, start + 1000)
        scores = torch.einsum("bhqd,bhkd->bhqk", q[:, :, rows], k) / sqrt(q.size(-1))
        weights = scores.exp() if hidden is None else scores.exp() * ~hidden[rows]
        blocks.append(weights @ v / weights.sum(-1, keepdim=True))
    return torch.cat(blocks, 2)


def inputs(device, size):
    return torch.randn(3, *SHAPES[device][size], device="cpu").unbind()


def about(device, size, topic="attention"):
    """What `measure` writes into a row."""
    shape = SHAPES[device][size]
    topic += ", programs" * (size in PROGRAMS)
    operations = 4 * prod(shape) * shape[2]
    return dict(topic=topic, size=size, number=shape[2], against="matrices", operations=operations)


@pytest.mark.parametrize("variant", [loop_over_queries, loop_over_heads, matrices, fused])
@pytest.mark.parametrize("device, size", cases(SHAPES))
def test_forward(benchmark, device, size, variant):
    if variant is loop_over_queries and size in ("large", "06_bert"):
        pytest.skip("takes seconds")
    if variant is not fused and size == "huge":
        pytest.skip("the T² weights of 4 heads take 4 GB, several times")
    row = about(device, size)
    measure(benchmark, device, variant, *inputs(device, size), reference=reference, **row)


@pytest.mark.parametrize("variant", [matrices, fused])
@pytest.mark.parametrize("device, size", cases(SHAPES, "small", "medium", "large"))
def test_causal(benchmark, device, size, variant):
    """Each word sees only itself and what comes before it. The mask is made beforehand."""
    row = about(device, size, "attention, causal")
    hidden = torch.ones(row["number"], row["number"], dtype=torch.bool, device="cpu").triu(1)
    measure(benchmark, device, variant, *inputs(device, size), hidden, reference=reference, **row)


@pytest.mark.parametrize("variant", [matrices, fused])
@pytest.mark.parametrize("device, size", cases(SHAPES, "small", "medium", "large", *PROGRAMS))
def test_with_gradients(benchmark, device, size, variant):
    """Forward and backward: three times the operations."""
    row = about(device, size, "attention, with gradients")
    row["operations"] *= 3
    tensors = [tensor.requires_grad_() for tensor in inputs(device, size)]
    exact = with_gradients(reference)
    measure(benchmark, device, with_gradients(variant), *tensors, reference=exact, **row)


@pytest.mark.parametrize("backend", ["MATH", "EFFICIENT_ATTENTION", "FLASH_ATTENTION", None])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("device, size", cases({d: SHAPES[d] for d in ("cpu", "gpu")}, "large"))
def test_precision(benchmark, device, size, dtype, backend):
    """Half precision, in matrices and in the backends of fused attention."""
    row = about(device, size, "attention, precision")
    row |= dict(name=f"{dtype}, {backend or 'matrices'}", against="float32, matrices")
    tensors = [tensor.to(getattr(torch, dtype)) for tensor in inputs(device, size)]
    variant = by_backend(backend) if backend else matrices
    measure(benchmark, device, variant, *tensors, reference=reference, **row)
