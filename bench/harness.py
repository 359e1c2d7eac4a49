"""What the benchmarks share: devices, a check, exact counts and a clock that waits for a GPU."""

import ctypes
import functools
import platform
import time

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

CORES = torch.get_num_threads()
NO_GPU = f"torch {torch.__version__} finds no accelerator"
GLIBC = platform.libc_ver()[0] == "glibc"
torch.set_float32_matmul_precision("highest")  # no TF32 in a matrix product


def now():
    """The time in seconds once a GPU's work is done: its calls return before that."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


# A round repeats the call for a millisecond or more. Every row gets as many rounds as fit into
# 0.2 s: 200 of a short call, 20 of one that takes 10 ms, and never less than 5.
timed = pytest.mark.benchmark(timer=now, min_time=1e-3, max_time=0.2, min_rounds=5, disable_gc=True)


def cases(sizes, *names):
    """Pairs (device, size) for `parametrize`, from {device: {size: number}}: all or those named.

    "cpu" is one thread, "cores" all of them, "gpu" the accelerator that PyTorch finds.
    """
    pairs = []
    for device in sizes:
        missing = device == "gpu" and not torch.accelerator.is_available()
        mark = pytest.mark.skipif(missing, reason=NO_GPU)
        for size in sizes[device]:
            if size in names or not names:
                pairs.append(pytest.param(device, size, marks=mark))
    return pairs


def place(device):
    """Where the tensors of a row are made."""
    return accelerator() if device == "gpu" else torch.device("cpu")


@functools.cache
def accelerator():
    """The GPU, after the 0.3 s of work that it needs to reach its usual clock."""
    gpu = torch.accelerator.current_accelerator()
    x = torch.randn(1000, 1000, device=gpu)
    start = now()
    while now() - start < 0.3:
        x @ x
    return gpu


def measure(benchmark, variant, /, *inputs, reference, setup=None, **row):
    """Checks `variant(*inputs)`, counts its work and its memory, and only then times it.

    Args:
        reference: Another formula for the same result. It gets the inputs in float64.
        setup: Called before each round, and not timed; a round is then a single call.
        row: What the report says: `topic`, `device`, `size`, its `number`, the `variant` (if not
            by the name of the function) and `against`, the variant that the ratio refers to.
    """
    torch.set_num_threads(CORES if row["device"] == "cores" else 1)
    exact = reference(*[in_float64(tensor) for tensor in inputs])
    check(variant(*inputs), exact)  # also the warm-up
    del exact
    row = {"variant": variant.__name__} | row | count(variant, *inputs)
    benchmark.group = f"{row['topic']}, {row['number']}, {row['device']}"
    benchmark.extra_info.update(row)
    if setup:
        benchmark.pedantic(variant, inputs, setup=setup, rounds=20)
    else:
        benchmark(variant, *inputs)


def with_gradients(variant):
    """The variant and its backward pass: the gradients of half the squared norm of its result."""

    @functools.wraps(variant)
    def run(*inputs):
        output = variant(*inputs)
        return torch.autograd.grad(output, inputs, output.detach())

    return run


def in_float64(tensor):
    """The same numbers in float64; on the CPU if the device has no float64 (Apple's GPU)."""
    copy = tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device)
    if copy.is_floating_point():
        copy = copy.double()
    return copy.requires_grad_(tensor.requires_grad)


def check(result, exact):
    """AssertionError if the relative error of a whole result, |result - exact| / |exact|, is above
    eps^(3/4), in float32 6e-6: rounding in long sums stays below, one wrong element does not."""
    for one, other in zip(tree_leaves(result), tree_leaves(exact), strict=True):
        assert one.shape == other.shape, f"shape {one.shape}, not {other.shape}"
        limit = torch.finfo(one.dtype).eps ** 0.75
        error = (one.detach().to(other.device).double() - other).norm() / other.norm()
        assert error <= limit, f"relative error {error:.1e} is above {limit:.1e}"


class Allocations(TorchDispatchMode):
    """Holds the result of every operation, so that its memory is not used again."""

    def __init__(self):
        super().__init__()
        self.results = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.results += tree_leaves(result)
        return result


def count(variant, *inputs):
    """`work`, the operations of the matrix products as PyTorch counts them; `new_bytes`, the memory
    of all tensors that are made, whether or not they live at the same time, without scratch space
    inside an operation; on CUDA also `peak_bytes`, the most in use."""
    with Allocations() as made:
        variant(*inputs)
    tensors = [result for result in made.results if isinstance(result, torch.Tensor)]
    storages = [tensor.untyped_storage() for tensor in tensors]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    for tensor in inputs:
        sizes.pop(tensor.untyped_storage().data_ptr(), None)
    counts = {"work": work(variant, *inputs), "new_bytes": sum(sizes.values())}
    if inputs[0].device.type == "cuda":
        del made, tensors, storages
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        variant(*inputs)
        counts["peak_bytes"] = torch.cuda.max_memory_allocated() - before
    return counts


NOT_COUNTED_BY_PYTORCH = {
    torch.ops.aten.mv: lambda matrix, *_, **__: 2 * matrix[0] * matrix[1],
    torch.ops.aten.dot: lambda vector, *_, **__: 2 * vector[0],
}


def work(variant, *inputs):
    """Counted on tensors without numbers: on a CPU, the counter does not know fused attention."""
    shapes = [tensor.detach().to("meta") for tensor in inputs]
    shapes = [shape.requires_grad_(tensor.requires_grad) for shape, tensor in zip(shapes, inputs)]
    with FlopCounterMode(display=False, custom_mapping=NOT_COUNTED_BY_PYTORCH) as counter:
        variant(*shapes)
    return counter.get_total_flops()


def keep_memory():
    """Tells glibc to keep freed memory: returned to the system, it costs page faults at the next
    large result. Other systems are left alone."""
    if GLIBC:
        ctypes.CDLL(None).mallopt(-4, 0)  # M_MMAP_MAX
        ctypes.CDLL(None).mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def return_memory():
    """Gives the free memory back to the system."""
    ctypes.CDLL(None).malloc_trim(0)
