"""E dot products, one for each pair of word vectors: five ways to write d_i = w_i · c_i.

A skip-gram model multiplies the vector w_i of each word by the vector c_i of its context. The
vectors w are the rows of A (E, N), the vectors c the columns of B (N, E). Only the products with
equal index are wanted, 2·E·N operations. A · B has all E² of them.
"""

import ctypes
import platform
import time

import pytest
import torch
from harness import cases, measure, timed, with_gradients

pytestmark = timed
N = 100  # dimensions of a vector
PAIRS = {  # E
    "cpu": {"tiny": 16, "small": 64, "medium": 250, "large": 1000, "huge": 4000},
    "cores": {"small": 64, "large": 1000, "huge": 4000},
    "gpu": {"small": 64, "medium": 1000, "large": 4000, "huge": 16000},
}


def matmul_diagonal(A, B):
    """All E² dot products, of which the E on the diagonal are kept."""
    return (A @ B).diagonal()


def einsum(A, B):
    """The index i is kept, the index j summed over."""
    return torch.einsum("ij,ji->i", A, B)


def multiply_sum(A, B):
    """Number by number, then the sum of each row."""
    return (A * B.t()).sum(1)


def vecdot(A, B):
    """The same as one operation."""
    return torch.linalg.vecdot(A, B.t())


def python_loop(A, B):
    """One pair at a time."""
    products = [w.dot(c) for w, c in zip(A.unbind(0), B.unbind(1), strict=True)]
    return torch.stack(products)


def reference(A, B):
    """Another formula: |w + c|² - |w - c|² is four times w · c."""
    total, difference = A + B.t(), A - B.t()
    return (total.square().sum(1) - difference.square().sum(1)) / 4


def word_vectors(E):
    """A (E, N) and B (N, E). An embedding gives rows, so B is the transpose of rows."""
    A, rows = torch.randn(2, E, N, device="cpu").unbind()
    return A, rows.t()


def about(device, size, variant, topic="einsum"):
    """What `measure` writes into a row."""
    E = PAIRS[device][size]
    operations = 2 * E * N * (E if variant is matmul_diagonal else 1)
    return dict(topic=topic, size=size, number=E, against="einsum", operations=operations)


VARIANTS = [matmul_diagonal, einsum, multiply_sum, vecdot]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("device, size", cases(PAIRS))
def test_forward(benchmark, device, size, variant):
    row = about(device, size, variant)
    inputs = word_vectors(row["number"])
    measure(benchmark, device, variant, *inputs, reference=reference, **row)


@pytest.mark.parametrize("device, size", cases(PAIRS, "tiny", "medium", "large"))
def test_loop(benchmark, device, size):
    row = about(device, size, python_loop)
    inputs = word_vectors(row["number"])
    measure(benchmark, device, python_loop, *inputs, reference=reference, **row)


@pytest.mark.parametrize("variant", [einsum, multiply_sum])
@pytest.mark.parametrize("device, size", cases(PAIRS, "huge"))
def test_columns_in_memory(benchmark, device, size, variant):
    """B stored the other way round: its columns, the vectors c, are scattered in memory."""
    row = about(device, size, variant, "einsum, B stored by rows")
    A, B = word_vectors(row["number"])
    measure(benchmark, device, variant, A, B.contiguous(), reference=reference, **row)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("device, size", cases(PAIRS, "large"))
def test_training_step(benchmark, device, size, variant):
    """Forward and backward: three times the operations."""
    row = about(device, size, variant, "einsum, with gradients")
    row["operations"] *= 3
    inputs = [tensor.detach().requires_grad_() for tensor in word_vectors(row["number"])]
    exact = with_gradients(reference)
    measure(benchmark, device, with_gradients(variant), *inputs, reference=exact, **row)


def memory_returned(A, B):
    """A · B after the free memory has gone back to the system (Linux)."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    return matmul_diagonal(A, B)


@pytest.mark.parametrize("device, size", cases(PAIRS, "huge"))
def test_memory_returned(benchmark, device, size):
    row = about(device, size, matmul_diagonal)
    row["name"] = "matmul, memory returned"
    inputs = word_vectors(row["number"])
    measure(benchmark, device, memory_returned, *inputs, reference=reference, **row)


@pytest.mark.benchmark(timer=time.perf_counter, min_time=1e-5, max_time=1e-3)
@pytest.mark.parametrize("device, size", cases(PAIRS, "huge"))
def test_clock_not_waiting(benchmark, device, size):
    """Wrong on purpose: on a GPU this clock sees how fast work is queued, not when it is done."""
    row = about(device, size, matmul_diagonal)
    row["name"] = "matmul, clock not waiting"
    inputs = word_vectors(row["number"])
    measure(benchmark, device, matmul_diagonal, *inputs, reference=reference, **row)
