"""04 to 06 run on an accelerator: no tensor is made beside it, and it learns what a CPU learns."""

import copy

import pytest
import torch
from house import MODELS, load
from test_any_text import run, sentences, small, write
from torch.utils._pytree import tree_leaves, tree_map

FILES = {path.stem: path for path in MODELS if path.parent.name > "04"}
INPUTS = {  # of the model, in a batch of `train`
    "ff_lm": lambda rows: (rows[:, :-1],),
    "transformer": lambda batch: (batch[0], batch[1][:, :-1]),
    "bert": lambda batch: batch[0],
}
ACCELERATOR = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
models = pytest.mark.parametrize("name", FILES)


def before_training(name, folder, monkeypatch):
    """The arguments of `train` in a small run: a model without dropout, three batches, ..."""

    class Arguments(Exception):
        pass

    def train(*arguments, **more):
        raise Arguments(*arguments, *more.values())

    with monkeypatch.context() as patch, pytest.raises(Arguments) as stopped:
        patch.setattr(load(FILES[name]), "train", train)
        run(name, write(name, folder, sentences()), patch)
    model, batches, _, *others = stopped.value.args
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model, [batch for batch, _ in zip(batches, range(3))], 3, *others


def moved(tree, device):
    return tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, tree)


@models
def test_every_tensor_is_made_on_the_device_of_the_model(name, tmp_path, monkeypatch):
    """Here it is "meta", where tensors have a shape but no numbers. One that is left on the CPU
    meets others that are not, but for Boolean indices (is_target), which may come from anywhere."""
    model, (batch, *_), *_ = before_training(name, tmp_path, monkeypatch)
    monkeypatch.setattr(load(FILES[name]), "DEVICE", "meta")
    inputs = [x if x.dtype == torch.bool else x.to("meta") for x in INPUTS[name](batch)]
    outputs = tree_leaves(model.to("meta")(*inputs))
    sum(output.square().sum() for output in outputs).backward()
    assert {output.device.type for output in outputs} == {"meta"}


def test_a_tensor_on_another_device_is_noticed():
    model = torch.nn.Linear(3, 3).to("meta")
    with pytest.raises(RuntimeError, match="device"):
        model(torch.ones(2, 3, device="meta")) + torch.arange(3.0)


@pytest.mark.skipif(ACCELERATOR is None, reason="no accelerator")
@models
def test_the_accelerator_learns_what_the_cpu_learns(name, tmp_path, monkeypatch):
    module = load(FILES[name])
    start = before_training(name, tmp_path, monkeypatch)
    inputs, outputs = INPUTS[name](start[1][0]), []
    for device in "cpu", ACCELERATOR:
        model = copy.deepcopy(start[0]).to(device)
        monkeypatch.setattr(module, "DEVICE", device)
        module.train(model, *moved(start[1:], device))
        with torch.no_grad():
            results = model.eval()(*moved(inputs, device))
        outputs.append([output.cpu() for output in tree_leaves(results)])
    torch.testing.assert_close(*outputs, rtol=0.01, atol=0.01)


@pytest.mark.skipif(ACCELERATOR is None, reason="no accelerator")
@models
def test_a_whole_run_on_the_accelerator(name, tmp_path, monkeypatch):
    module, source = load(FILES[name]), write(name, tmp_path, sentences())
    monkeypatch.setattr(module, "DEVICE", ACCELERATOR)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "model.py"))
    model = module.main(**small(name, source))["model"]
    assert {weight.device.type for weight in model.parameters()} == {ACCELERATOR.type}
    assert (tmp_path / "model.png").exists()
