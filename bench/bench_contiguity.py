"""The order of a tensor's numbers in memory: what is free, what copies, what is slow, what is not.

The transpose of a matrix is the same block of memory, traversed in the other order. Each line below
is timed twice, on numbers stored in row order ("contiguous") and on the same numbers stored in
column order ("transposed"): the result is equal, the time may not be.
"""

import pytest
import torch
from harness import cases, measure, timed

pytestmark = timed
SIZES = {  # n, of a matrix (n, n); in a cache, rows of a power of two compete for few sets
    "cpu": {"medium": 250, "large": 1000, "power": 1024},
    "cores": {"large": 1000},
    "gpu": {"medium": 1000, "large": 8000, "power": 8192},
}
COPIED = {device: {"small": 64, "large": 1000} for device in SIZES}

LINES = {  # a has one layout or the other, x is contiguous, order is a permutation of the rows
    "x + a": lambda a, x, order: x + a,
    "a + a": lambda a, x, order: a + a,
    "a.exp()": lambda a, x, order: a.exp(),
    "x @ a": lambda a, x, order: x @ a,
    "a.sum(1)": lambda a, x, order: a.sum(1),
    "a.softmax(1)": lambda a, x, order: a.softmax(1),
    "a[order]": lambda a, x, order: a.index_select(0, order),  # what an embedding does
    # contiguous() itself would not copy what is contiguous already
    "a.contiguous()": lambda a, x, order: a.clone(memory_format=torch.contiguous_format),
}
VIEWS = {  # code: what it does, and another way to write it, which copies
    "x.t()": (lambda x: x.t(), lambda x: torch.stack(x.unbind(1))),
    "x.view(-1)": (lambda x: x.view(-1), lambda x: torch.cat(x.unbind(0))),
    "x.expand(3, n, n)": (lambda x: x.expand(3, *x.shape), lambda x: torch.stack([x, x, x])),
    "x[:, ::2]": (lambda x: x[:, ::2], lambda x: torch.stack(x.unbind(1)[::2], 1)),
}
COPIES = {
    "x.clone()": (lambda x: x.clone(), lambda x: torch.stack(x.unbind(0))),
    # x.t().view(-1) is an error, because no strides describe it; reshape copies silently
    "x.t().reshape(-1)": (lambda x: x.t().reshape(-1), lambda x: torch.cat(x.unbind(1))),
}


def on_its_twin(line):
    """The line on the same numbers in the other layout: the reference."""

    def run(a, x, order):
        twin = a.t().contiguous().t() if a.is_contiguous() else a.contiguous()
        return line(twin, x, order)

    return run


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize("code", LINES)
@pytest.mark.parametrize("device, size", cases(SIZES))
def test_layout(benchmark, device, size, code, layout):
    n = SIZES[device][size]
    x, a = torch.randn(2, n, n, device="cpu").unbind()
    if layout == "transposed":
        a = a.t()
    order = torch.randperm(n, device="cpu")
    row = dict(topic="layout", size=size, number=n, name=f"{code}, {layout}")
    row |= dict(against=f"{code}, contiguous", operations=2 * n**3 if code == "x @ a" else 0)
    reference = on_its_twin(LINES[code])
    measure(benchmark, device, LINES[code], a, x, order, reference=reference, **row)


@pytest.mark.parametrize("code", [*VIEWS, *COPIES])
@pytest.mark.parametrize("device, size", cases(SIZES, "large"))
def test_view_or_copy(benchmark, device, size, code):
    n = SIZES[device][size]
    line, reference = (VIEWS | COPIES)[code]
    row = dict(topic="view or copy", size=size, number=n, name=code)
    row |= dict(against="x.clone()", operations=0)
    x = torch.randn(n, n, device="cpu")
    measure(benchmark, device, line, x, reference=reference, **row)


def broadcast(x, row):
    return x + row


def repeated(x, row):
    return x + row.repeat(len(x), 1)


def row_by_row(x, row):
    return torch.stack([line + row for line in x.unbind()])


@pytest.mark.parametrize("variant", [broadcast, repeated])
@pytest.mark.parametrize("device, size", cases(SIZES, "medium", "large"))
def test_broadcasting(benchmark, device, size, variant):
    """One row added to every row of a matrix, as a bias is."""
    n = SIZES[device][size]
    x, bias = torch.randn(n, n, device="cpu"), torch.randn(n, device="cpu")
    row = dict(topic="broadcasting", size=size, number=n, against="broadcast", operations=0)
    measure(benchmark, device, variant, x, bias, reference=row_by_row, **row)


def product(x):
    return x @ x


def copy_and_product(x):
    """With its costs where the matrix comes from the CPU and the result goes back to it."""
    return product(x.cpu().to(x.device))


def columns(x):
    return torch.stack([x @ column for column in x.unbind(1)], 1)


@pytest.mark.parametrize("variant", [product, copy_and_product])
@pytest.mark.parametrize("device, size", cases(COPIED))
def test_copying(benchmark, device, size, variant):
    """On a CPU, where there is nothing to copy, the two are the same."""
    n = COPIED[device][size]
    row = dict(topic="copying", size=size, number=n, against="product", operations=2 * n**3)
    x = torch.randn(n, n, device="cpu")
    measure(benchmark, device, variant, x, reference=columns, **row)
