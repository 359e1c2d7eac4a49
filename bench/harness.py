"""What the benchmarks share: devices, a check, exact counts and a clock that waits for a GPU."""

import ctypes
import functools
import platform
import time

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CORES = torch.get_num_threads()
torch.set_float32_matmul_precision("highest")  # no TF32: a GPU computes what the CPU does
NO_GPU = f"torch {torch.__version__} finds no accelerator"


def cases(sizes, *names):
    """Pairs (device, size) for `parametrize`, from {device: {size: number}}: all or those named.

    "cpu" is one thread, "cores" all of them, "gpu" the accelerator that PyTorch finds."""
    pairs = []
    for device in sizes:
        missing = device == "gpu" and not torch.accelerator.is_available()
        mark = pytest.mark.skipif(missing, reason=NO_GPU)
        chosen = [size for size in sizes[device] if size in names or not names]
        pairs += [pytest.param(device, size, marks=mark) for size in chosen]
    return pairs


def measure(benchmark, device, variant, *inputs, reference, name=None, **row):
    """Moves the inputs to the device, checks `variant(*inputs)`, counts, and only then times.

    Args:
        reference: Another formula for the same result. It gets the inputs in float64.
        name: What the variant is called in the report.
        row: The rest of the report's row: `topic`, `size`, its `number`, `operations` (by formula,
            two for each multiply-add) and `against`, the variant that the ratio refers to.
    """
    if device == "gpu":
        inputs = [tensor.to(torch.accelerator.current_accelerator()) for tensor in inputs]
    exact = reference(*[in_float64(tensor) for tensor in inputs])
    with DeviceAudit():
        check(variant(*inputs), exact)  # also the warm-up
    del exact
    torch.set_num_threads(CORES if device == "cores" else 1)
    row |= dict(device=device, variant=name or variant.__name__, **count(variant, *inputs))
    benchmark.group = f"{row['topic']}, {row['number']}, {device}"
    benchmark.extra_info.update(row)
    benchmark(variant, *inputs)
    torch.set_num_threads(CORES)


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


class DeviceAudit(TorchFunctionMode):
    """Inside it, a tensor made without naming its device is an error; on a GPU it mixes devices."""

    FACTORIES = set(
        "tensor zeros ones empty full arange linspace eye rand randn randint randperm".split()
    )

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in self.FACTORIES and "device" not in kwargs:
            raise AssertionError(f"torch.{function.__name__} is called without device=")
        return function(*args, **kwargs)


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
    """`new_bytes`, the memory of all tensors that are made, whether or not they live at the same
    time, without scratch space inside an operation; on CUDA also `peak_bytes`, the most in use."""
    with Allocations() as made:
        variant(*inputs)
    tensors = [result for result in made.results if isinstance(result, torch.Tensor)]
    storages = [tensor.untyped_storage() for tensor in tensors]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    for tensor in inputs:
        sizes.pop(tensor.untyped_storage().data_ptr(), None)
    counts = {"new_bytes": sum(sizes.values())}
    if inputs[0].device.type == "cuda":
        del made, tensors, storages
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        variant(*inputs)
        counts["peak_bytes"] = torch.cuda.max_memory_allocated() - before
    return counts


def now():
    """The time in seconds once a GPU's work is done: its calls return before that."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


timed = pytest.mark.benchmark(
    timer=now, min_time=1e-3, max_time=0.2, min_rounds=5, precision=0.02, disable_gc=True
)


def keep_memory():
    """Tells glibc to keep freed memory: returned to the system, it costs page faults at the next
    large result. Returns whether it is kept; other systems are left alone."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)  # M_MMAP_MAX
    libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    return True
