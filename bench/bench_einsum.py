"""E dot products, one for each pair of word vectors: five ways to write d_i = w_i · c_i.

A skip-gram model multiplies the vector w_i of each word by the vector c_i of its context. The
vectors w are the rows of A (E, N), the vectors c the columns of B (N, E). Only the products with
equal index are wanted, 2·E·N operations. A · B has all E² of them.
"""

import time

import pytest
import torch
from harness import GLIBC, cases, measure, place, return_memory, timed, with_gradients

pytestmark = timed
N = 100  # dimensions of a vector
PAIRS = {  # E
    "cpu": {"tiny": 16, "small": 64, "medium": 250, "large": 1000, "huge": 4000},
    "cores": {"small": 64, "large": 1000, "huge": 4000},
    "gpu": {"tiny": 16, "small": 64, "large": 4000, "huge": 16000, "million": 1_000_000},
}

CLAIMS = [  # topic, what is said, sizes, variants, where the ratio of the two rows should be
    ("dot products", "guide: A·B does E times the work", "small", "matmul / einsum", "work = 64"),
    ("dot products", "guide: ... so that einsum is faster", "large", "matmul / einsum", ">= 1"),
    ("dot products", "note: but not for 16 pairs", "tiny", "matmul / einsum", "<= 1"),
    ("dot products", "note: einsum is not the fastest", "large", "multiply_sum / einsum", "<= 1"),
    ("dot products", "note: 4 times the pairs, 16 times slower", "huge / large", "matmul", ">= 8"),
    ("dot products", "note: a GPU is slow on 64 pairs", "cpu small / gpu small", "vecdot", "<= 1"),
    ("dot products, training", "guide: einsum is faster", "large", "matmul / einsum", ">= 1"),
    ("dot products, training", "note: ... but not the fastest", "large", "vecdot / einsum", "<= 1"),
    ("order in memory", "note: scattered vectors are slow", "huge", "scattered / together", ">= 1"),
    ("memory of the result", "note: new memory costs time", "huge", "returned / kept", ">= 1"),
    ("clock", "note: a clock must wait for a GPU", "gpu huge", "waits / does not wait", ">= 2"),
]


def matmul(A, B):
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


def word_vectors(device, E):
    """A (E, N) and B (N, E). An embedding gives rows, so B is the transpose of rows."""
    A, rows = torch.randn(2, E, N, device=place(device)).unbind()
    return A, rows.t()


@pytest.mark.parametrize("variant", [matmul, einsum, multiply_sum, vecdot, python_loop])
@pytest.mark.parametrize("device, size", cases(PAIRS))
def test_forward(benchmark, device, size, variant):
    E = PAIRS[device][size]
    if variant is python_loop and E > 1000:
        pytest.skip("takes seconds")
    if variant is matmul and E > 16000:
        pytest.skip("A·B would take 4 TB")
    row = dict(topic="dot products", device=device, size=size, number=E, against="einsum")
    measure(benchmark, variant, *word_vectors(device, E), reference=reference, **row)


@pytest.mark.parametrize("variant", [matmul, einsum, multiply_sum, vecdot])
@pytest.mark.parametrize("device, size", cases(PAIRS, "large"))
def test_training_step(benchmark, device, size, variant):
    """Forward and backward."""
    E = PAIRS[device][size]
    row = dict(topic="dot products, training", device=device, size=size, number=E)
    inputs = [tensor.detach().requires_grad_() for tensor in word_vectors(device, E)]
    exact, variant = with_gradients(reference), with_gradients(variant)
    measure(benchmark, variant, *inputs, reference=exact, against="einsum", **row)


@pytest.mark.parametrize("order", ["together", "scattered"])
@pytest.mark.parametrize("device, size", cases(PAIRS, "huge"))
def test_order_in_memory(benchmark, device, size, order):
    """einsum, on vectors c whose numbers stand together in memory, and on B stored by its rows."""
    E = PAIRS[device][size]
    row = dict(topic="order in memory", device=device, size=size, number=E, variant=order)
    A, B = word_vectors(device, E)
    if order == "scattered":
        B = B.contiguous()
    measure(benchmark, einsum, A, B, reference=reference, against="together", **row)


@pytest.mark.skipif(not GLIBC, reason="only glibc can be told to return memory")
@pytest.mark.parametrize("memory", ["kept", "returned"])
@pytest.mark.parametrize("device, size", cases({"cpu": PAIRS["cpu"]}, "huge"))
def test_memory_of_the_result(benchmark, device, size, memory):
    """A · B when the memory of its result is at hand, and when the system has to give it again."""
    E = PAIRS[device][size]
    row = dict(topic="memory of the result", device=device, size=size, number=E, variant=memory)
    row |= dict(against="kept", setup=return_memory if memory == "returned" else lambda: None)
    measure(benchmark, matmul, *word_vectors(device, E), reference=reference, **row)


not_waiting = pytest.mark.benchmark(timer=time.perf_counter, min_time=1e-5, max_time=1e-3)


@pytest.mark.parametrize("clock", ["waits", pytest.param("does not wait", marks=not_waiting)])
@pytest.mark.parametrize("device, size", cases({"gpu": PAIRS["gpu"]}, "huge"))
def test_clock(benchmark, device, size, clock):
    """Wrong on purpose: the second clock sees how fast work is queued, not when it is done."""
    E = PAIRS[device][size]
    row = dict(topic="clock", device=device, size=size, number=E, variant=clock, against="waits")
    measure(benchmark, matmul, *word_vectors(device, E), reference=reference, **row)
