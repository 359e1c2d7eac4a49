"""What the benchmarks share: one check, exact counts, one clock. The timing itself is done by
pytest-benchmark, which is given this clock (see conftest.py).
"""

import functools
import time

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

DEVICES = ("cpu", "cuda")


def measure(
    benchmark, variant, *inputs, reference, topic, size, against, flops=None, name=None, **options
):
    """Checks `variant(*inputs, **options)`, counts what it does, and only then times it.

    The check compares the result with `reference` on the same inputs in float64. `flops` are the
    floating-point operations the task needs however it is written (by default, those of the
    matrix products). `topic`, `size` and the variant's `name` say where the time belongs in the
    report; `against` is the name of the variant that its ratio refers to.
    """
    exact = reference(*[in_float64(tensor) for tensor in inputs], **options)
    result = variant(*inputs, **options)  # also the warm-up
    torch.testing.assert_close(result, exact, rtol=1e-3, atol=1e-4, check_dtype=False)
    counted = count(variant, *inputs, **options)
    benchmark.group = f"{topic}, {size}"
    benchmark.extra_info.update(
        topic=topic,
        size=size,
        variant=name or variant.__name__,
        device=inputs[0].device.type,
        against=against,
        threads=torch.get_num_threads(),
        flops=counted["matrix_flops"] if flops is None else flops,
        **counted,
    )
    benchmark(variant, *inputs, **options)


def in_float64(tensor):
    if not tensor.is_floating_point():
        return tensor
    return tensor.detach().double().requires_grad_(tensor.requires_grad)


def with_gradients(variant):
    """The variant followed by its backward pass: returns the gradients of half the squared norm
    of its result with respect to every input."""

    @functools.wraps(variant)
    def run(*inputs):
        output = variant(*inputs)
        return torch.autograd.grad(output, inputs, output.detach())

    return run


def count(variant, *inputs, **options):
    """Exact numbers, no clock: `matrix_flops` (two per multiply-add of a matrix product),
    `new_bytes` (memory of all tensors created on the way) and `bytes` (inputs read once plus
    results written once: what any way of writing it has to move)."""
    with FlopCounterMode(display=False) as work, MemoryCount(inputs) as memory:
        result = variant(*inputs, **options)
    results = result if isinstance(result, tuple) else (result,)
    written = sum(tensor.numel() * tensor.element_size() for tensor in results)
    return {
        "matrix_flops": work.get_total_flops(),
        "new_bytes": memory.new_bytes,
        "bytes": sum(memory.read.values()) + written,
    }


class MemoryCount(TorchDispatchMode):
    """Watches every operation: which inputs it reads, how much new memory its results take. Views
    take none. Scratch space inside an operation is not seen."""

    def __init__(self, inputs):
        super().__init__()
        self.new_bytes, self.read = 0, {}
        self.inputs = {address(tensor) for tensor in inputs}
        self.known, self.alive = set(self.inputs), []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tensors_in(args):
            if address(tensor) in self.inputs:
                self.read[address(tensor)] = tensor.untyped_storage().nbytes()
        for tensor in tensors_in(result):
            if address(tensor) not in self.known:
                self.known.add(address(tensor))
                self.alive.append(tensor)  # not freed, so that its address is not used again
                self.new_bytes += tensor.untyped_storage().nbytes()
        return result


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def tensors_in(things):
    """All tensors in an operation's arguments or result, which may be nested lists."""
    if isinstance(things, torch.Tensor):
        return [things]
    if isinstance(things, list | tuple):
        return [tensor for thing in things for tensor in tensors_in(thing)]
    return []


def now():
    """The time in seconds, once all queued GPU work is done. A CUDA call returns before its work
    is finished: a clock that does not wait measures how fast work can be queued."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def check_options(device, threads):
    """ValueError with one sentence if --device or --threads cannot be followed here."""
    if device and device not in DEVICES:
        raise ValueError(f"--device takes {' or '.join(DEVICES)}, not {device!r}.")
    if device and why_not(device):
        raise ValueError(f"--device {device} cannot be measured here: {why_not(device)}.")
    if not threads.isdecimal() or int(threads) < 1:
        raise ValueError(f"--threads takes a whole number from 1, not {threads!r}.")


def why_not(device):
    """None if the device can be used on this machine, otherwise the reason."""
    if device == "cpu" or torch.cuda.is_available():
        return None
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is a build without CUDA"
    return f"torch {torch.__version__} finds no GPU"


class DeviceAudit(TorchFunctionMode):
    """Inside it, a tensor made without naming its device is an error: on a CPU such a line works,
    on a GPU it mixes devices."""

    FACTORIES = set(
        "tensor zeros ones empty full arange linspace eye rand randn randint randperm".split()
    )

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in self.FACTORIES and "device" not in kwargs:
            raise AssertionError(f"torch.{function.__name__} is called without device=")
        return function(*args, **kwargs)
