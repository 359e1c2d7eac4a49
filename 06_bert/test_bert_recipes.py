"""The recipes of the README, on a small text."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import bert
import torch
from torch.nn.functional import cross_entropy

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")


def animals(path):
    """40 documents about one noun each, which nearly always eats and seldom sleeps."""
    nouns, verbs = "cat dog bird fish horse cow".split(), "eats eats eats sees takes".split()
    documents = [
        [
            f"The {nouns[d % 6]} {verbs[s % 5]} {d} {'red ' * (s % 3)}apples at {s} o'clock.\n"
            for s in range(10)
        ]
        for d in range(40)
    ]
    path.write_text("\n".join("".join(document) for document in documents), encoding="utf-8")
    return path


def readme_file(name, folder, run=True):
    """Writes the block that begins with the comment `# name`, and returns what it defines."""
    (code,) = re.findall(rf"^```python\n(# {name}\n.*?)^```", README, flags=re.M | re.S)
    (folder / name).write_text(code, encoding="utf-8")
    return runpy.run_path(str(folder / name)) if run else None


def test_a_saved_model_fills_masks_without_training(tmp_path, monkeypatch, capsys):
    options = dict(text=animals(tmp_path / "text.txt"), epochs=1, device="cpu")
    result = bert.main(**options, figure=tmp_path / "f.png")
    monkeypatch.setattr(bert, "main", lambda epochs: result)
    monkeypatch.chdir(tmp_path)
    section = README.partition("### Save once, fill often")[2].partition("\n###")[0]
    save, load = re.findall(r"^```python\n(.*?)^```", section, flags=re.M | re.S)
    exec(save, {})
    monkeypatch.delattr(bert, "main")
    monkeypatch.delattr(bert, "train")
    capsys.readouterr()
    exec(load, {})
    sentence = "Returns the [MASK] of the array."
    expected = next(bert.fill_masks(result["model"], result["tokenizer"], sentence))
    assert capsys.readouterr().out.strip() == expected


PROBE = """
import copy, runpy, sys, bert, torch
from pathlib import Path
from torch.nn.functional import cross_entropy

def probe(model, epochs, steps, held_out):
    batches, start = [list(epoch) for epoch in epochs], copy.deepcopy(model.module.state_dict())
    sum(map(cross_entropy, model(*batches[0][0][0]), batches[0][0][1])).backward()
    gradients = {name: weight.grad.clone() for name, weight in model.module.named_parameters()}
    train(model, batches, steps, held_out)
    assert steps == sum(map(len, batches))
    parts = start, batches[0][0], gradients, model.module.state_dict()
    torch.save(parts, f"{torch.distributed.get_rank()}.pt")

text, read, train = Path(sys.argv[1]), bert.read_pairs, bert.train
bert.read_pairs, bert.train = lambda path: read(text), probe
runpy.run_path("recipe.py")
"""


def test_two_processes_average_their_gradients_and_end_alike(tmp_path):
    readme_file("recipe.py", tmp_path, run=False)
    (tmp_path / "probe.py").write_text(PROBE)
    options = "--standalone --nproc-per-node 2 probe.py".split()
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, animals(tmp_path / "text.txt")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(bert.__file__).parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nsp_accuracy") == 1  # evaluated on rank 0 only
    starts, firsts, gradients, ends = zip(*(torch.load(tmp_path / f"{r}.pt") for r in (0, 1)))
    for both in starts, gradients, ends:
        torch.testing.assert_close(*both, rtol=0, atol=0)
    assert not torch.equal(firsts[0][1][0], firsts[1][1][0])  # each has its own batches
    assert not torch.equal(starts[0]["bias"], ends[0]["bias"])
    singles = []
    for inputs, targets in firsts:
        model = bert.Bert(len(starts[0]["bias"]))
        model.load_state_dict(starts[0])
        sum(map(cross_entropy, model(*inputs), targets)).backward()
        singles.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, gradient in gradients[0].items():
        mean = (singles[0][name] + singles[1][name]) / 2
        torch.testing.assert_close(gradient, mean, atol=1e-6, rtol=1e-4)
