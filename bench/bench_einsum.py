"""E dot products, one for each pair of word vectors: four ways to write d_i = w_i · c_i.

A skip-gram model multiplies the vector w_i of each word by the vector c_i of its context. The
vectors w are the rows of A (E, N), the vectors c the columns of B (N, E). Only the products with
equal index are wanted: 2·E·N operations, whoever writes them. A · B has all E² of them.
"""

import pytest
import torch
from harness import measure, with_gradients


def matmul_diagonal(A, B):
    """All E² dot products, to keep the E on the diagonal."""
    return (A @ B).diagonal()


def einsum(A, B):
    """The same index i, kept; the same index j, summed over."""
    return torch.einsum("ij,ji->i", A, B)


def multiply_sum(A, B):
    """Number by number, then the sum of each row."""
    return (A * B.t()).sum(1)


def python_loop(A, B):
    """One pair at a time."""
    return torch.stack([w.dot(c) for w, c in zip(A.unbind(0), B.unbind(1), strict=True)])


def reference(A, B):
    return torch.linalg.vecdot(A, B.t())


def word_vectors(E, N, device):
    """A (E, N) and B (N, E). An embedding table gives rows, so B is the transpose of rows."""
    A, rows = torch.randn(E, N, device=device), torch.randn(E, N, device=device)
    return A, rows.t()


FAST = [matmul_diagonal, einsum, multiply_sum]
PAIRS = [("cpu", E) for E in (16, 64, 256, 1024, 4096)]
PAIRS += [("cuda", E) for E in (64, 1024, 4096, 16384)]
SKIPGRAM = 1024  # words in one step of 03_skipgram, each multiplied here by one of its contexts


@pytest.mark.parametrize("variant", FAST)
@pytest.mark.parametrize("device, E", PAIRS)
def test_forward(benchmark, device, E, variant):
    A, B = word_vectors(E, 100, device)
    place = dict(topic="einsum", size=E, against="einsum", flops=2 * E * 100)
    measure(benchmark, variant, A, B, reference=reference, **place)


@pytest.mark.parametrize("device, E", [("cpu", 16), ("cpu", 256), ("cpu", 1024), ("cuda", 1024)])
def test_loop(benchmark, device, E):
    A, B = word_vectors(E, 100, device)
    place = dict(topic="einsum", size=E, against="einsum", flops=2 * E * 100)
    measure(benchmark, python_loop, A, B, reference=reference, **place)


@pytest.mark.parametrize("variant", [einsum, multiply_sum])
@pytest.mark.parametrize("device, E", [("cpu", 1024), ("cpu", 4096), ("cuda", 16384)])
def test_columns_in_memory(benchmark, device, E, variant):
    """B stored the other way round: its columns, the vectors c, are scattered in memory."""
    A, B = word_vectors(E, 100, device)
    place = dict(topic="einsum, B stored by rows", size=E, against="einsum", flops=2 * E * 100)
    measure(benchmark, variant, A, B.contiguous(), reference=reference, **place)


@pytest.mark.parametrize("variant", FAST)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_training_step(benchmark, device, variant):
    """Forward and backward, at the size of a training step of 03_skipgram."""
    A, B = [tensor.detach().requires_grad_() for tensor in word_vectors(SKIPGRAM, 100, device)]
    place = dict(topic="einsum, with gradients", against="einsum", flops=3 * 2 * SKIPGRAM * 100)
    variant, exact = with_gradients(variant), with_gradients(reference)
    measure(benchmark, variant, A, B, reference=exact, size=SKIPGRAM, **place)
