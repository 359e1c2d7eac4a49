"""Reading pairs, their batches, the training loss and schedule, and a whole run that learns."""

import copy
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import transformer as t
from test_transformer import recipe, vocabulary
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from torch.testing import assert_close


def test_lines_are_read_as_words_whatever_else_is_in_them(tmp_path):
    (tmp_path / "pairs.tsv").write_bytes("¿Comes?\tDo YOU eat?\tCC-BY\nSí,  sí.\tYes.\n\n".encode())
    pairs = [("¿ comes ?", "do you eat ?"), ("sí , sí .", "yes .")]
    assert list(t.read_pairs(tmp_path / "pairs.tsv")) == pairs
    assert t.split_words("我们看GPT4 किताब Nin\u0303o") == "我 们 看 gpt4 किताब niño"


def test_words_seen_fewer_than_three_times_are_unknown():
    words = t.build_vocabulary(["b a b", "c b a", "a c"])
    assert words == vocabulary("ba")
    assert t.to_ids(["a b", "c"], words).tolist() == [[1, 5, 4, 2], [1, 3, 2, 0]]


def test_an_epoch_has_every_pair_once_and_each_has_another_order():
    sides = vocabulary(f"s{i}" for i in range(150)), vocabulary(f"t{i}" for i in range(150))
    pairs = [(f"s{i}", f"t{i}") for i in range(150)]
    orders = []
    for _ in range(2):
        epoch = list(t.batches(pairs, sides, 16))
        assert [len(src) for src, _ in epoch] == [16] * 9 + [6]
        src, tgt = (torch.cat(part)[:, 1].tolist() for part in zip(*epoch))
        assert src == tgt and sorted(src) == [*range(4, 154)]
        orders.append(src)
    assert orders[0] != orders[1]


class Table(nn.Module):
    """In place of a Transformer: the same logits of the next word, whatever was read before it."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(6))

    def forward(self, src, tgt):
        assert self.training
        return self.logits.expand(*tgt.shape, -1)


def trained(batches, peak):
    """The logits of a table before each step and at the end, (steps + 1, 6)."""

    def watched():
        for tgt in batches:
            seen.append(model.logits.detach().clone())
            yield torch.tensor(tgt), torch.tensor(tgt)

    model, seen = Table().eval(), []
    t.train(model, watched(), len(batches), peak)
    return torch.stack([*seen, model.logits.detach()])


def test_training_ends_where_padding_is_ignored_and_labels_are_smoothed():
    """Of 5 words to predict 2 are a, 1 is b, 2 are <eos>; a tenth is spread over all 6 words."""
    logits = trained([[[1, 4, 5, 2], [1, 4, 2, 0]]] * 300, peak=0.1)[-1]
    expected = 0.9 * torch.tensor([0, 0, 2, 0, 2, 1]) / 5 + 0.1 / 6
    assert_close(logits.softmax(-1), expected, atol=0.01, rtol=0)


def test_the_learning_rate_rises_and_falls():
    """While the gradient stays the same, a step of Adam is as long as the learning rate."""
    rates = trained([[[1, 4, 2]]] * 100, peak=0.001).diff(dim=0)[:, 4].tolist()
    top = rates.index(max(rates))
    assert 4 < top < 40 and rates[top] == pytest.approx(0.001, rel=0.1)
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    assert max(rates[0], rates[-1]) < 0.0001


def test_the_steps_are_those_of_adam_with_the_betas_of_the_paper():
    batches = [[[1, 4, 2]], [[1, 5, 5, 2]], [[1, 3, 2]]] * 10
    logits = nn.Parameter(torch.zeros(6))
    adam = torch.optim.Adam([logits], betas=(0.9, 0.98), eps=1e-9)
    schedule = OneCycleLR(adam, 0.1, len(batches), cycle_momentum=False)
    for ((_, *words),) in batches:
        adam.zero_grad()
        labels = torch.tensor(words)
        cross_entropy(logits.expand(len(words), 6), labels, label_smoothing=0.1).backward()
        adam.step()
        schedule.step()
    assert_close(trained(batches, peak=0.1)[-1], logits.detach())


def formulaic(folder, copies=1):
    """200 training pairs; 20 test pairs that combine the same words anew, and one of new words."""
    words = "ana luis eva juan pepe sara", "come ve compra pinta", "pan té queso flan", "rojo negro"
    lines = []
    for a, b, c, d, end in itertools.product(*(side.split() for side in words), ".!"):
        lines.append(f"{a} {b} {c} {d}{end}\t{a}x {b}x {d}x {c}x{end}\n")
    random.Random(0).shuffle(lines)
    (folder / "pairs.tsv").write_text("".join(lines[:200] * copies), "utf-8")
    (folder / "pairs_test.tsv").write_text("".join([*lines[200:220], "eva\tx y z\n"]), "utf-8")
    return folder


def test_two_hundred_pairs_are_learned_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(t, "__file__", str(tmp_path / "transformer.py"))
    questions = "Rosa come.", "EVA come pan negro."
    result = t.main(data=formulaic(tmp_path), translate=questions, d_model=64, epochs=30)
    assert 0.5 <= result["exact_match"] < 1 and "z" not in result["vocabularies"][1]
    metric, *answers = capsys.readouterr().out.splitlines()
    assert metric == f"exact match {result['exact_match']:.3f} on 21 test sentences"
    assert answers[0].startswith("<unknown: rosa> come . -> ")
    assert answers[1:] == ["eva come pan negro . -> evax comex negrox panx ."]
    *panels, bar = plt.gcf().axes
    heads = result["model"].decoder[-1].cross_attention.attention_weights[0]
    assert (tmp_path / "transformer.png").exists() and bar.get_ylabel() == "attention weight"
    assert [panel.get_title() for panel in panels] == ["head 1", "head 2", "head 3", "head 4"]
    for panel, weights in zip(panels, heads):
        rows, columns = (
            [x.get_text() for x in a] for a in (panel.get_yticklabels(), panel.get_xticklabels())
        )
        assert rows == "evax comex negrox panx . <eos>".split()
        assert columns == "<bos> eva come pan negro . <eos>".split()
        assert_close(torch.tensor(panel.images[0].get_array()).float(), weights)
        assert panel.images[0].get_clim() == (0, 1)


def test_the_seed_rules_all_and_sizes_suit_the_corpus_and_the_width(tmp_path, monkeypatch):
    def train(model, batches, steps, peak):
        order = [src[0].tolist() for src, _ in batches]
        seen.append((model.encoder[0].ffn[0].weight.tolist(), order, steps, peak))

    seen = []
    monkeypatch.setattr(t, "train", train)
    monkeypatch.setattr(t, "evaluate", lambda *_: 0)
    for seed, copies, d_model in (0, 1, 16), (0, 1, 16), (1, 1, 16), (0, 3, 64):
        formulaic(tmp_path, copies)
        t.main(data=tmp_path, translate=(), d_model=d_model, epochs=3, seed=seed)
    first, same, other, wide = seen
    assert first == same and first[0] != other[0] and first[1] != other[1]
    assert len(first[1]) == 3 * 13 and len(wide[1]) == 3 * 10  # batches of 16 and of 64
    assert len(wide[0]) == 4 * 64 and len(wide[0][0]) == 64
    assert (*first[2:], *wide[2:]) == pytest.approx((39, 0.01, 30, 0.005))


BEFORE = """import torch, torch.distributed as dist
from itertools import islice
from pathlib import Path
from torch.nn.parallel import DistributedDataParallel
from transformer import *
dist.init_process_group()
rank, processes = dist.get_rank(), dist.get_world_size()
"""
AFTER = "torch.save([weight.grad for weight in model.parameters()], f'{rank}.pt')\n"


@pytest.mark.promise  # seconds: three processes import PyTorch
def test_two_processes_have_the_gradient_of_one(tmp_path):
    """Both have the mean of the gradients of two batches."""
    folder = formulaic(tmp_path)
    code = recipe("# processes.py").replace("vocabularies))", "vocabularies), dropout=0)")
    (folder / "processes.py").write_text(BEFORE + code + AFTER, "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "processes.py"]
    env = os.environ | {"PYTHONPATH": str(Path(t.__file__).parent), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
    pairs = list(t.read_pairs(folder / "pairs.tsv"))
    vocabularies = [t.build_vocabulary(sentences) for sentences in zip(*pairs)]
    torch.manual_seed(0)
    model, gradients = t.Transformer(*map(len, vocabularies), dropout=0), []
    for batch, _ in zip(t.batches(pairs, vocabularies, 64), range(2)):
        one = copy.deepcopy(model)
        t.train(one, [batch], 1, peak=0.004)
        gradients.append([weight.grad for weight in one.parameters()])
    for rank in range(2):
        for found, first, second in zip(torch.load(folder / f"{rank}.pt"), *gradients):
            assert_close(found, (first + second) / 2, rtol=1e-4, atol=1e-6)
