"""softmax(Q Kᵀ / √d) V, four ways: query by query, head by head, all at once, and fused.

Shapes: q, k and v are (B, H, T, d), for B sentences of T words and H heads of d dimensions each.
The equation takes 4·B·H·T²·d operations, however it is written.
"""

from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from harness import measure, with_gradients


def loop_over_queries(q, k, v):
    """One word at a time: its weights for all words, then their mean."""
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


def matrices(q, k, v, causal=False):
    """All words of all heads of all sentences at once: the equation as it stands."""
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))  # (B, H, T, T)
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores.softmax(-1) @ v


def fused(q, k, v, causal=False):
    """The same in one operation, block by block: the T² weights never stand in memory."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


SHAPES = {  # B, H, T, d
    "64": (1, 4, 64, 64),
    "128": (1, 4, 128, 64),
    "256": (1, 4, 256, 64),
    "512": (1, 4, 512, 64),
    "1024": (1, 4, 1024, 64),
    "4096": (1, 4, 4096, 64),
    "05_transformer": (64, 4, 10, 32),
    "06_bert": (128, 4, 48, 24),
}
LENGTHS = [("cpu", size) for size in ("64", "128", "256", "512", "1024")]
LENGTHS += [("cuda", size) for size in ("64", "256", "1024", "4096")]
PROGRAMS = [(device, size) for device in ("cpu", "cuda") for size in SHAPES if "_" in size]
SHORT = [(device, "64") for device in ("cpu", "cuda")] + [("cpu", "128"), ("cpu", "256")]


def inputs(device, size):
    return [torch.randn(SHAPES[size], device=device) for _ in range(3)]


def operations(size):
    B, H, T, d = SHAPES[size]
    return 4 * B * H * T * T * d


@pytest.mark.parametrize("variant", [loop_over_heads, matrices, fused])
@pytest.mark.parametrize("device, size", LENGTHS + PROGRAMS)
def test_forward(benchmark, device, size, variant):
    place = dict(topic="attention", size=size, against="matrices", flops=operations(size))
    measure(benchmark, variant, *inputs(device, size), reference=fused, **place)


@pytest.mark.parametrize("device, size", SHORT + [("cpu", "05_transformer")])
def test_loop_over_queries(benchmark, device, size):
    place = dict(topic="attention", size=size, against="matrices", flops=operations(size))
    measure(benchmark, loop_over_queries, *inputs(device, size), reference=fused, **place)


@pytest.mark.parametrize("variant", [matrices, fused])
@pytest.mark.parametrize("device, size", LENGTHS)
def test_causal(benchmark, device, size, variant):
    """Each word sees only itself and what comes before it."""
    place = dict(topic="attention, causal", size=size, against="matrices", flops=operations(size))
    measure(benchmark, variant, *inputs(device, size), reference=fused, causal=True, **place)


@pytest.mark.parametrize("variant", [matrices, fused])
@pytest.mark.parametrize("device, size", LENGTHS + PROGRAMS)
def test_with_gradients(benchmark, device, size, variant):
    """Forward and backward: three times the operations."""
    q, k, v = [tensor.requires_grad_() for tensor in inputs(device, size)]
    place = dict(topic="attention, with gradients", size=size, against="matrices")
    variant, exact = with_gradients(variant), with_gradients(fused)
    measure(benchmark, variant, q, k, v, reference=exact, flops=3 * operations(size), **place)
