"""The models would run on a GPU: tested in two ways on a machine that has none.

Every tensor that a forward or backward pass creates must name its device. And the forward pass runs
on fake CUDA tensors, which have shapes and devices but no numbers: there an operation on two
devices is an error, as on a GPU. Gradients of fake tensors are not possible without CUDA.
"""

import pytest
import torch
from house import MODELS, ROOT, load
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

DeviceAudit = load(ROOT / "bench" / "harness.py").DeviceAudit


class Indexing(TorchFunctionMode):
    """x[...] and ~x by operations that fake CUDA tensors have; a Boolean mask takes all."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.__invert__:
            return args[0].logical_not()
        if function is not torch.Tensor.__getitem__:
            return function(*args, **(kwargs or {}))
        x, key = args
        dim = 0
        for part in key if isinstance(key, tuple) else (key,):
            if isinstance(part, int):
                x, dim = x.select(dim, part), dim - 1
            elif part is None:
                x = x.unsqueeze(dim)
            elif isinstance(part, slice):
                x = torch.ops.aten.slice(x, dim, part.start, part.stop, part.step or 1)
            elif part.dtype == torch.bool:
                spread = part.reshape(*part.shape, *[1] * (x.dim() - part.dim()))
                x = (x * spread).flatten(0, part.dim() - 1)
            else:
                x = torch.ops.aten.index(x, [part])
            dim += 1
        return x


def ids(*shape, device):
    return torch.randint(1, 10, shape, device=device)


# Each returns a model or function, and what makes its inputs on a device.
def logistic(module):
    def inputs(device):
        X, y = torch.randn(5, 2, device=device), torch.ones(5, device=device)
        return X, y, torch.zeros(2, device=device), torch.zeros((), device=device)

    return module.loss_and_gradient, inputs


def softmax(module):
    return torch.nn.Linear(784, 10), lambda device: [torch.randn(5, 784, device=device)]


def skipgram(module):
    def inputs(device):
        near = torch.ones(2, 6, 6, device=device)
        return ids(2, 6, device=device), near, ids(3, device=device)

    return module.SkipGram(20), inputs


def ff_lm(module):
    model = module.FFLM(11, direct=True)
    return model, lambda device: [ids(3, model.context, device=device)]


def transformer(module):
    return module.Transformer(11, 12), lambda device: [ids(2, n, device=device) for n in (5, 4)]


def bert(module):
    def inputs(device):
        words = ids(2, 6, device=device)
        return words, torch.zeros_like(words), words > 4

    return module.Bert(20), inputs


CASES = {"logistic": logistic, "softmax": softmax, "skipgram": skipgram}
CASES |= {"ff_lm": ff_lm, "transformer": transformer, "bert": bert}
models = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)


def as_list(outputs):
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


@models
def test_every_new_tensor_names_its_device(path):
    model, inputs = CASES[path.stem](load(path))
    with DeviceAudit():
        outputs = as_list(model(*inputs("cpu")))
        if isinstance(model, torch.nn.Module):
            sum(output.square().sum() for output in outputs).backward()
            assert all(parameter.grad is not None for parameter in model.parameters())


@models
def test_forward_on_fake_cuda_tensors(path):
    model, inputs = CASES[path.stem](load(path))
    with FakeTensorMode(), torch.no_grad(), Indexing():
        if isinstance(model, torch.nn.Module):
            weights = {
                name: torch.empty(weight.shape, dtype=weight.dtype, device="cuda")
                for name, weight in model.named_parameters()
            }
            outputs = functional_call(model, weights, tuple(inputs("cuda")))
        else:
            outputs = model(*inputs("cuda"))
        assert {output.device.type for output in as_list(outputs)} == {"cuda"}


def test_both_ways_notice_a_forgotten_device():
    class Forgetful(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.arange(3.0)

    model = Forgetful(3, 3)
    with DeviceAudit(), pytest.raises(AssertionError, match="arange is called without device="):
        model(torch.ones(2, 3, device="cpu"))
    with FakeTensorMode(), torch.no_grad():
        weights = {
            "weight": torch.empty(3, 3, device="cuda"),
            "bias": torch.empty(3, device="cuda"),
        }
        with pytest.raises(RuntimeError, match="two devices"):
            functional_call(model, weights, torch.ones(2, 3, device="cuda"))
