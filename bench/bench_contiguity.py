"""The order of a tensor's numbers in memory: what is free, what copies, what is slow, what is not.

The transpose of a matrix is the same block of memory, traversed in the other order. Each line below
is timed twice, on numbers stored in row order ("contiguous") and on the same numbers stored in
column order ("transposed"): the result is equal, the time may not be.
"""

import pytest
import torch
from harness import cases, measure, place, timed

pytestmark = timed
SIZES = {  # n, of a matrix (n, n); in a cache, rows of a power of two compete for few sets
    "cpu": {"medium": 250, "large": 1000, "power": 1024},
    "cores": {"large": 1000},
    "gpu": {"medium": 1000, "large": 8000, "power": 8192},
}
PRODUCTS = {"cpu": {"small": 64, "large": 1000}, "gpu": {"small": 64, "large": 1000, "huge": 4000}}

CLAIMS = [  # topic, what is said, sizes, variants, where the ratio of the two rows should be
    ("a.sum(1)", "guide: not contiguous is slower", "large", "transposed / contiguous", ">= 1"),
    ("a[order]", "guide: ... as in an embedding", "large", "transposed / contiguous", ">= 1"),
    ("x + a", "note: ... two layouts meet", "large", "transposed / contiguous", ">= 1"),
    ("x + a", "note: ... rows of a power of two", "power / large", "transposed", ">= 2"),
    ("a + a", "note: but not one layout alone", "large", "transposed / contiguous", "<= 1.2"),
    ("x @ a", "note: ... nor a matrix product", "large", "transposed / contiguous", "<= 1.2"),
    ("views", "guide: a transpose copies nothing", "large", "x.t() / x.clone()", "memory = 0"),
    ("views", "note: but reshape copies", "large", "x.t().reshape(-1) / x.clone()", "memory = 1"),
    ("broadcasting", "guide: repeat takes memory", "large", "repeated / broadcast", "memory = 2"),
    ("broadcasting", "note: ... and time", "large", "repeated / broadcast", ">= 1"),
    ("copies", "note: too dear for 64 x 64", "cpu small / gpu small", "none / pageable", "<= 1"),
    ("copies", "note: pinned memory is faster", "gpu huge", "pageable / pinned", ">= 1"),
]

LINES = {  # a has one layout or the other, x is contiguous, order is a permutation of the rows
    "x + a": lambda a, x, order: x + a,
    "a + a": lambda a, x, order: a + a,
    "a.exp()": lambda a, x, order: a.exp(),
    "x @ a": lambda a, x, order: x @ a,
    "a.sum(1)": lambda a, x, order: a.sum(1),
    "a.softmax(1)": lambda a, x, order: a.softmax(1),
    "a[order]": lambda a, x, order: a[order],  # what an embedding does
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
    row = dict(topic=code, device=device, size=size, number=n, variant=layout)
    x, a = torch.randn(2, n, n, device=place(device)).unbind()
    if layout == "transposed":
        a = a.t()
    order = torch.randperm(n, device=place(device))
    exact = on_its_twin(LINES[code])
    measure(benchmark, LINES[code], a, x, order, reference=exact, against="contiguous", **row)


@pytest.mark.parametrize("code", [*VIEWS, *COPIES])
@pytest.mark.parametrize("device, size", cases(SIZES, "large"))
def test_view_or_copy(benchmark, device, size, code):
    n = SIZES[device][size]
    row = dict(topic="views", device=device, size=size, number=n, variant=code)
    line, other_line = (VIEWS | COPIES)[code]
    x = torch.randn(n, n, device=place(device))
    measure(benchmark, line, x, reference=other_line, against="x.clone()", **row)


def broadcast(x, bias):
    return x + bias


def repeated(x, bias):
    return x + bias.repeat(len(x), 1)


def row_by_row(x, bias):
    return torch.stack([row + bias for row in x.unbind()])


@pytest.mark.parametrize("variant", [broadcast, repeated])
@pytest.mark.parametrize("device, size", cases(SIZES, "medium", "large"))
def test_broadcasting(benchmark, device, size, variant):
    """One row added to every row of a matrix, as a bias is."""
    n = SIZES[device][size]
    row = dict(topic="broadcasting", device=device, size=size, number=n, against="broadcast")
    x, bias = torch.randn(n + 1, n, device=place(device)).split([n, 1])
    measure(benchmark, variant, x, bias[0], reference=row_by_row, **row)


def product(x, source, result):
    return x @ x


def copied_product(x, source, result):
    """The matrix comes from the CPU, and the result goes back to it."""
    x.copy_(source)
    return result.copy_(x @ x)


def column_by_column(x, source, result):
    return torch.stack([x @ column for column in x.unbind(1)], 1)


@pytest.mark.parametrize("copies", ["none", "pageable", "pinned"])
@pytest.mark.parametrize("device, size", cases(PRODUCTS))
def test_copies(benchmark, device, size, copies):
    """x @ x; the memory of the CPU is pageable, or pinned, which a GPU reads by itself."""
    if device == "cpu" and copies != "none":
        pytest.skip("a CPU has nothing to copy")
    n = PRODUCTS[device][size]
    row = dict(topic="copies", device=device, size=size, number=n, variant=copies)
    source, result = torch.randn(2, n, n, device="cpu").unbind()
    x = source.to(place(device))
    if copies == "pinned":
        source, result = source.pin_memory(), result.pin_memory()
    variant = product if copies == "none" else copied_product
    inputs = x, source, result
    measure(benchmark, variant, *inputs, reference=column_by_column, against="none", **row)
