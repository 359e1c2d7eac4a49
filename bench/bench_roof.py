"""What this machine can do at best: the two roofs under which every other row is drawn.

A computation is limited by arithmetic or by moving data. The first roof is the speed of a large
matrix product, the second that of copying a block as large as the data of the row in question:
small blocks stay in the cache and are copied several times faster than large ones.
"""

import pytest
import torch
from harness import measure

PRODUCTS = [("cpu", 256), ("cpu", 512), ("cpu", 1024), ("cuda", 4096), ("cuda", 8192)]
BLOCKS = [("cpu", 2**power) for power in range(12, 24)]
BLOCKS += [("cuda", 2**power) for power in range(12, 29, 2)]


def product(x, y):
    return x @ y


def copy(x):
    return x.clone()


@pytest.mark.parametrize("device, n", PRODUCTS)
def test_product(benchmark, device, n):
    x, y = torch.randn(2, n, n, device=device)
    measure(benchmark, product, x, y, reference=product, topic="roof", size=n, against="product")


@pytest.mark.parametrize("device, n", BLOCKS)
def test_copy(benchmark, device, n):
    x = torch.randn(n, device=device)
    measure(benchmark, copy, x, reference=copy, topic="roof", size=n, against="copy")
