"""softmax(Q Kᵀ / √d) V, four ways: query by query, head by head, all at once, and fused.

Shapes: q, k and v are (B, H, T, d), for B sentences of T words and H heads of d dimensions each.
`measure` checks each way against `reference`, counts its work and memory, and times it.
"""

from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from harness import cases, measure, place, timed, with_gradients
from torch.nn.attention import SDPBackend, sdpa_kernel

pytestmark = timed
LENGTHS = {  # T
    "cpu": {"small": 64, "medium": 250, "large": 1000},
    "cores": {"small": 64, "large": 1000},
    "gpu": {"small": 64, "medium": 1000, "large": 4000, "huge": 16000},
}
PROGRAMS = {"05_transformer": (64, 4, 12, 24), "06_bert": (128, 4, 44, 24)}  # B, H, T, d

CLAIMS = [  # topic, what is said, sizes, variants, where the ratio of the two rows should be
    ("attention", "guide: a loop over queries is slower", "small", "by_query / matrices", ">= 1"),
    ("attention", "note: 4 times the words, 16 times slower", "large / medium", "matrices", ">= 8"),
    ("attention", "note: ... fused: 4 times the memory", "large / medium", "fused", "memory <= 5"),
    ("attention", "note: fused is faster in long sentences", "large", "matrices / fused", ">= 1"),
    ("attention", "guide: a GPU beats all cores", "cores large / gpu medium", "matrices", ">= 1"),
    (
        "attention in programs",
        "note: but not in the short ones of 06",
        "06_bert",
        "matrices / fused",
        "<= 1",
    ),
    ("causal attention", "note: fused skips the future", "large", "fused / fused, causal", ">= 1"),
    ("precision", "note: bfloat16 is faster", "large", "float32 / bfloat16", ">= 1"),
]


def by_query(q, k, v):
    """One word at a time: its attention weights for all words, then the weighted mean."""
    rows = []
    for queries, keys, values in zip(*(x.flatten(0, 1).unbind() for x in (q, k, v)), strict=True):
        for query in queries.unbind():
            weights = (keys @ query / sqrt(query.numel())).softmax(0)  # (T)
            rows.append(weights @ values)  # (d)
    return torch.stack(rows).view_as(q)


def by_head(q, k, v):
    """All words at once, one head at a time."""
    heads = zip(q.unbind(1), k.unbind(1), v.unbind(1), strict=True)
    return torch.stack([matrices(*head) for head in heads], 1)


def matrices(q, k, v, hidden=None):
    """All words of all heads of all sentences at once: the equation as it stands."""
    scores = q @ k.mT / sqrt(q.size(-1))  # (B, H, T, T)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ v


def fused(q, k, v, hidden=None):
    """The same block by block, as one operation: the T² weights are never stored, and what a
    causal mask hides need not be computed."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=hidden is not None)


def reference(q, k, v, hidden=None):
    """The definition of softmax, for 1000 queries at a time."""
    blocks = []
    for start in range(0, q.size(2), 1000):
        rows = slice(start, start + 1000)
        scores = torch.einsum("bhqd,bhkd->bhqk", q[:, :, rows], k) / sqrt(q.size(-1))
        weights = scores.exp() if hidden is None else scores.exp() * ~hidden[rows]
        blocks.append(weights @ v / weights.sum(-1, keepdim=True))
    return torch.cat(blocks, 2)


def qkv(device, T):
    """Random q, k and v of one sentence, with 4 heads of 64 dimensions."""
    return torch.randn(3, 1, 4, T, 64, device=place(device)).unbind()


@pytest.mark.parametrize("variant", [by_query, by_head, matrices, fused])
@pytest.mark.parametrize("device, size", cases(LENGTHS))
def test_forward(benchmark, device, size, variant):
    T = LENGTHS[device][size]
    if variant is by_query and T > 250:
        pytest.skip("takes seconds")
    if variant is not fused and T > 4000:
        pytest.skip("the T² weights of 4 heads take 4 GB, several times")
    row = dict(topic="attention", device=device, size=size, number=T, against="matrices")
    measure(benchmark, variant, *qkv(device, T), reference=reference, **row)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("variant", [matrices, fused])
@pytest.mark.parametrize("device, size", cases(LENGTHS, "small", "medium", "large"))
def test_causal(benchmark, device, size, variant, causal):
    """Each word sees only itself and what comes before it. The mask is made beforehand."""
    T = LENGTHS[device][size]
    row = dict(topic="causal attention", device=device, size=size, number=T, against="matrices")
    inputs = qkv(device, T)
    if causal:
        row["variant"] = f"{variant.__name__}, causal"
        inputs += (torch.ones(T, T, dtype=torch.bool, device=place(device)).triu(1),)
    measure(benchmark, variant, *inputs, reference=reference, **row)


@pytest.mark.parametrize("variant", [matrices, fused])
@pytest.mark.parametrize("device, size", cases(LENGTHS, "small", "medium", "large"))
def test_with_gradients(benchmark, device, size, variant):
    """Forward and backward."""
    T = LENGTHS[device][size]
    row = dict(topic="attention, training", device=device, size=size, number=T)
    inputs = [tensor.requires_grad_() for tensor in qkv(device, T)]
    exact, variant = with_gradients(reference), with_gradients(variant)
    measure(benchmark, variant, *inputs, reference=exact, against="matrices", **row)


@pytest.mark.parametrize("variant", [by_head, matrices, fused])
@pytest.mark.parametrize("device, size", cases({device: PROGRAMS for device in LENGTHS}))
def test_programs(benchmark, device, size, variant):
    """Forward and backward with the shapes of a batch of 05 and 06."""
    shape = PROGRAMS[size]
    row = dict(topic="attention in programs", device=device, size=size, number=shape[2])
    inputs = torch.randn(3, *shape, device=place(device)).unbind()
    inputs = [tensor.requires_grad_() for tensor in inputs]
    exact, variant = with_gradients(reference), with_gradients(variant)
    measure(benchmark, variant, *inputs, reference=exact, against="matrices", **row)


@pytest.mark.parametrize("way", ["matrices", "MATH", "EFFICIENT_ATTENTION", "FLASH_ATTENTION"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("device, size", cases({d: LENGTHS[d] for d in ("cpu", "gpu")}, "large"))
def test_precision(benchmark, device, size, dtype, way):
    """Half precision, in matrices and in each backend of fused attention.

    In float32, the first two obey the setting of `harness.py`, no TF32. EFFICIENT_ATTENTION does
    not look at it: on NVIDIA cards since Ampere it makes each product of three in TF32, which is
    nearly as exact as float32. It is what `fused` takes there for float32.
    """
    T = LENGTHS[device][size]
    row = dict(topic="precision", device=device, size=size, number=T, against="float32")
    inputs = [tensor.to(getattr(torch, dtype)) for tensor in qkv(device, T)]
    if way == "matrices":
        measure(benchmark, matrices, *inputs, reference=reference, variant=dtype, **row)
    else:
        name = f"{dtype}, {way}"
        with sdpa_kernel(getattr(SDPBackend, way)):  # entered once, and not timed
            measure(benchmark, fused, *inputs, reference=reference, variant=name, **row)
