"""The order of a tensor's numbers in memory: what is free, what copies, what is slow, what is not.

The transpose of a matrix is the same block of memory walked the other way round. Each line below is
timed twice, on numbers stored in row order ("contiguous") and on the same numbers stored in
column order ("transposed"): the result is equal, the time may not be.
"""

import pytest
import torch
from harness import measure


def two_layouts_meet(a, x, order):
    return x + a


def one_layout(a, x, order):
    return a + a


def exponential(a, x, order):
    return a.exp()


def matrix_product(a, x, order):
    return x @ a


def row_sums(a, x, order):
    return a.sum(1)


def softmax(a, x, order):
    return a.softmax(1)


def pick_rows(a, x, order):
    """What an embedding table does, with all rows in random order."""
    return a.index_select(0, order)


def copy_in_row_order(a, x, order):
    """`a.contiguous()`, except that it copies even what is contiguous already."""
    return a.clone(memory_format=torch.contiguous_format)


LINES = [two_layouts_meet, one_layout, exponential, matrix_product]
LINES += [row_sums, softmax, pick_rows, copy_in_row_order]
ONE_OPERATION_EACH = [two_layouts_meet, one_layout, row_sums]  # n² additions
SIZES = [("cpu", 256), ("cpu", 1000), ("cpu", 1024)]
SIZES += [("cuda", 1024), ("cuda", 8000), ("cuda", 8192)]


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("device, n", SIZES)
def test_layout(benchmark, device, n, line, layout):
    x, a = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    if layout == "transposed":
        a = a.t().contiguous().t()  # the same numbers, column after column
    assert a.is_contiguous() == (layout == "contiguous")
    order = torch.randperm(n, device=device)
    measure(
        benchmark,
        line,
        a,
        x,
        order,
        reference=line,
        topic="layout",
        size=n,
        name=f"{line.__name__}, {layout}",
        against=f"{line.__name__}, contiguous",
        flops=n * n if line in ONE_OPERATION_EACH else None,
    )


def transpose(x):
    return x.t()


def view(x):
    return x.view(-1)


def expand(x):
    return x.expand(3, *x.shape)


def every_other_column(x):
    return x[:, ::2]


def reshape_transposed(x):
    """`x.t().view(-1)` is an error, because no strides describe it; `reshape` copies silently."""
    return x.t().reshape(-1)


def clone(x):
    return x.clone()


VIEWS = [transpose, view, expand, every_other_column]


@pytest.mark.parametrize("line", [*VIEWS, reshape_transposed, clone])
@pytest.mark.parametrize("device, n", SIZES)
def test_view_or_copy(benchmark, device, n, line):
    x = torch.randn(n, n, device=device)
    measure(benchmark, line, x, reference=line, topic="view or copy", size=n, against="clone")


def broadcast(x, row):
    return x + row


def expanded(x, row):
    return x + row.expand_as(x)


def repeated(x, row):
    return x + row.repeat(len(x), 1)


@pytest.mark.parametrize("line", [broadcast, expanded, repeated])
@pytest.mark.parametrize("device, n", SIZES)
def test_broadcasting(benchmark, device, n, line):
    """One row added to every row of a matrix, as a bias is."""
    x, row = torch.randn(n, n, device=device), torch.randn(n, device=device)
    place = dict(topic="broadcasting", size=n, against="broadcast", flops=n * n)
    measure(benchmark, line, x, row, reference=broadcast, **place)
