"""Reading pairs, their batches, the training loss and schedule, and a whole run that learns."""

import itertools
import random
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import transformer as t
from test_transformer import vocabulary
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


def test_an_epoch_has_every_pair_once():
    sides = vocabulary(f"s{i}" for i in range(150)), vocabulary(f"t{i}" for i in range(150))
    epoch = list(t.batches([(f"s{i}", f"t{i}") for i in range(150)], sides, 16))
    assert [len(src) for src, _ in epoch] == [16] * 9 + [6]
    src, tgt = (torch.cat(part)[:, 1].tolist() for part in zip(*epoch))
    assert src == tgt and sorted(src) == [*range(4, 154)]


class Table(nn.Module):
    """In place of a Transformer: the same logits of the next word, whatever was read before it."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(6))

    def forward(self, src, tgt):
        assert self.training
        return self.logits.expand(*tgt.shape, -1)


def test_the_steps_are_those_of_adam_with_the_betas_of_the_paper():
    """The labels are smoothed, the rate rises and falls, and padding, in every second batch, is no
    label."""
    model, logits = Table().eval(), nn.Parameter(torch.zeros(6))
    adam = torch.optim.Adam([logits], betas=(0.9, 0.98), eps=1e-9)
    schedule = OneCycleLR(adam, 0.1, total_steps=30, cycle_momentum=False)
    batches = [torch.tensor([[1, 4, 5, 2], [1, 4, 2, 0]]), torch.tensor([[1, 3, 2]])] * 15
    for tgt in batches:
        labels = tgt[:, 1:][tgt[:, 1:] != t.PAD]
        adam.zero_grad()
        cross_entropy(logits.expand(len(labels), 6), labels, label_smoothing=0.1).backward()
        adam.step()
        schedule.step()
    t.train(model, zip(batches, batches), 30, peak=0.1)
    assert_close(model.logits, logits)


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
    result = t.main(data=formulaic(tmp_path), translate=questions, d_model=64, epochs=60)
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
        rows, columns = panel.get_yticklabels(), panel.get_xticklabels()
        assert [row.get_text() for row in rows] == "evax comex negrox panx . <eos>".split()
        assert [key.get_text() for key in columns] == "<bos> eva come pan negro . <eos>".split()
        assert_close(torch.tensor(panel.images[0].get_array()).float(), weights)
        assert panel.images[0].get_clim() == (0, 1)


def test_a_translation_that_was_cut_is_drawn_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(t, "__file__", str(tmp_path / "transformer.py"))
    model = t.Transformer(11, 11)
    model(torch.tensor([[1, 4, 2]]), torch.tensor([[1, 5, 6]]))  # the step that predicted d
    t.draw(model, "a", "b c d")
    assert [label.get_text() for label in plt.gcf().axes[0].get_yticklabels()] == ["b", "c", "d"]


def test_the_seed_rules_all_and_steps_and_widths_are_as_asked_for(tmp_path, monkeypatch):
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
    assert len(first[1]) == 3 * 4 and len(wide[1]) == 3 * 10  # batches of 64 pairs
    assert len(wide[0]) == 4 * 64 and len(wide[0][0]) == 64
    assert (*first[2:], *wide[2:]) == pytest.approx((12, 0.01, 30, 0.005))


def test_two_processes_take_turns_with_the_batches(tmp_path, monkeypatch):
    """By the recipe of the README. In 06 two true processes train BERT so."""

    def train(model, batches, steps, peak):
        shares.append([src.tolist() for src, _ in batches])
        assert len(shares[-1]) == steps

    shares = []
    monkeypatch.chdir(formulaic(tmp_path, copies=3))
    page = Path(t.__file__).with_name("README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(# processes.py.*?)```", page, re.DOTALL)
    names = vars(t) | {"DistributedDataParallel": lambda model: model, "train": train}
    names["islice"] = itertools.islice
    for rank, processes in (0, 1), (0, 2), (1, 2):
        exec(code, names | {"rank": rank, "processes": processes})
    alone, first, second = shares
    assert (first, second) == (alone[:8:2], alone[1:8:2])
