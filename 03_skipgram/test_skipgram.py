"""Skip-gram against the book's equation, and everything that must stay impossible."""

import os
import random
import subprocess
import sys
from math import isnan
from pathlib import Path

import pytest
import skipgram
import torch
from scipy.stats import chisquare
from torch.nn import functional as F


@pytest.fixture
def tables():
    torch.manual_seed(1)
    W, C = torch.randn(9, 4, dtype=torch.double), torch.randn(9, 4, dtype=torch.double)
    ids, near = torch.randint(9, (7 + 4,)), torch.rand(7, 5) < 0.5
    near[:, 2] = False
    return W.requires_grad_(), C.requires_grad_(), ids, near, torch.randint(9, (3,))


@pytest.fixture
def text(tmp_path):
    """Lines of colours and lines of numbers, which never meet."""
    draw, path = random.Random(0), tmp_path / "t.txt"
    kinds = ["red green blue".split(), "one two three".split()]
    path.write_text("".join(" ".join(draw.choices(kinds[i % 2], k=9)) + ".\n" for i in range(200)))
    return path


@pytest.mark.parametrize("k", [0, 3])
def test_loss_and_gradients_equal_a_loop_over_pairs(tables, k):
    W, C, ids, near, noise = tables
    got = torch.autograd.grad(skipgram.loss_of(W, C, ids, near, noise, k), (W, C))
    total = 0
    for b, o in near.nonzero().tolist():
        w, c = W[ids[b + 2]], ids[b + o]
        if k == 0:
            total = total + F.cross_entropy((C @ w)[None], c[None])
        else:
            total = total - torch.log(1 / (1 + torch.exp(-C[c] @ w)))
            for n in noise:
                total = total - torch.log(1 / (1 + torch.exp(C[n] @ w)))
    mean = total / near.sum()
    torch.testing.assert_close(skipgram.loss_of(W, C, ids, near, noise, k), mean)
    torch.testing.assert_close(got, torch.autograd.grad(mean, (W, C)))


def test_the_windows_are_a_view_of_the_stretch(tables, monkeypatch):
    W, C, ids, near, noise = tables
    einsum, seen = torch.einsum, []
    monkeypatch.setattr(torch, "einsum", lambda *a: seen.append(a[2]) or einsum(*a))
    skipgram.loss_of(W, C, ids, near, noise, 3)
    (around,) = seen
    pairs = torch.stack([C[ids[b : b + 5]].T for b in range(7)])  # word by word
    assert torch.equal(around, pairs)
    assert around.untyped_storage().nbytes() == 11 * 4 * 8  # each of 11 rows once, not 5 times
    assert around[1].data_ptr() == around[0, :, 1].data_ptr()


def test_no_pair_leaves_a_passage_nor_holds_a_word_with_itself():
    ids, passage = torch.arange(200), torch.arange(200) // 7
    generator, seen = torch.Generator().manual_seed(0), set()
    for stretch, near in skipgram.batches(ids, passage, torch.ones(200), 3, 16, generator):
        for b, o in near.nonzero().tolist():
            seen.add((stretch[b + 3].item(), stretch[b + o].item()))
    assert all(a != b and a // 7 == b // 7 and abs(a - b) <= 3 for a, b in seen)
    assert {(a, a + 1) for a in range(199) if a % 7 != 6} <= seen  # radius 1 is always there


def test_subsampling_keeps_what_the_formula_says():
    keep = torch.tensor([0.2, 1.0])
    ids, passage = torch.arange(20000) % 2, torch.zeros(20000, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    stretch, _ = next(skipgram.batches(ids, passage, keep, 1, 10**6, generator))
    kept = torch.bincount(stretch[1:-1]) / 10000
    assert abs(kept[0] - 0.2) < 0.02 and kept[1] == 1


def test_noise_follows_the_unigram_to_the_three_quarters(monkeypatch):
    ids = torch.tensor([0] * 800 + [1] * 150 + [2] * 50)
    counts, drawn = torch.tensor([800.0, 150, 50]), torch.zeros(3)
    loss_of, batches = skipgram.loss_of, skipgram.batches

    def spy(W, C, ids, near, noise, k):
        drawn.add_(noise.bincount(minlength=3))
        return loss_of(W, C, ids, near, noise, k)

    def no_subsampling(ids, passage, keep, *rest):
        torch.testing.assert_close(keep, (1e-3 / (counts / 1000)).sqrt())
        return batches(ids, passage, torch.ones(3), *rest)

    monkeypatch.setattr(skipgram, "loss_of", spy)
    monkeypatch.setattr(skipgram, "batches", no_subsampling)
    skipgram.train(ids, torch.zeros(1000).long(), 5, 2, 2, seed=0, device="cpu", size=8)
    expected, unigram = counts**0.75 / (counts**0.75).sum(), counts / 1000
    assert drawn.sum() == 2 * 125 * 64
    assert chisquare(drawn, expected * drawn.sum(), sum_check=False).pvalue > 0.01
    assert chisquare(drawn, unigram * drawn.sum(), sum_check=False).pvalue < 1e-9


def test_the_vocabulary_is_the_same_in_every_process(tmp_path):
    words = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]  # ties all over
    (tmp_path / "t.txt").write_text(" ".join(words + words[7:12]), encoding="utf-8")
    code = "import pathlib, skipgram; print(*skipgram.read_text(pathlib.Path('t.txt'), 1)[0])"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    folder = str(Path(skipgram.__file__).parent)
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": folder}
    run = [sys.executable, "-c", code]
    there = subprocess.check_output(run, cwd=tmp_path, env=env, text=True).split()
    assert there == list(skipgram.read_text(tmp_path / "t.txt", 1)[0])
    assert there == words[7:12] + words[:7] + words[12:]  # commonest first, then as they come


def test_any_line_ending_and_a_byte_order_mark_are_fine(tmp_path):
    path, content, found = tmp_path / "t.txt", "Él dijo que sí.\nQue no; y\nsí\n\nno\n", []
    for raw in (content.encode(), content.replace("\n", "\r\n").encode("utf-8-sig")):
        path.write_bytes(raw)
        index, ids, passage = skipgram.read_text(path, 1)
        found.append((list(index), ids.tolist(), passage.unique_consecutive().numel()))
    assert found[0] == found[1] and found[0][2] == 3
    assert found[0][0] == ["que", "sí", "no", "él", "dijo", "y"]


def read_word2vec(path):
    """The word2vec text format: a line with V and D, then V lines of a word and D numbers."""
    header, *rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    V, D = map(int, header.split(" "))
    words, *columns = zip(*(row.split(" ") for row in rows), strict=True)
    assert len(words) == V and len(columns) == D
    return {w: i for i, w in enumerate(words)}, torch.tensor([[*map(float, c)] for c in columns]).T


@pytest.mark.parametrize(
    ("loss", "low", "zero"), [("negative", 2.5, 4.159), ("softmax", 0.9, 1.792)]
)
def test_learns_and_writes_the_word2vec_format(text, loss, low, zero, capsys):
    out, figure = text.with_name("v.txt"), text.with_name("f.png")
    run = skipgram.main(text, ("red",), vectors=out, loss=loss, figure=figure, epochs=20)
    assert low < run["loss"] < 0.95 * zero  # zero: log 2 six times, log 6; low: it cannot know more
    assert run["vocabulary"] == 6 and figure.stat().st_size > 5000
    assert isnan(run["analogy_at_1"]) and isnan(run["analogy_at_5"])  # no question was possible
    index, unit = read_word2vec(out)
    assert torch.allclose(unit.norm(dim=1), torch.ones(6)) and unit.shape == (6, 100)
    assert set(skipgram.nearest(unit, index, "one", "one", "one")[:2]) == {"two", "three"}
    line = " ".join(["red ->", *skipgram.nearest(unit, index, "red", "red", "red")])
    assert line in capsys.readouterr().out
    again = skipgram.main(text, loss=loss, figure=figure, epochs=20)
    assert again["loss"] == run["loss"]


def test_analogies_by_hand():
    index = {w: i for i, w in enumerate(["row", "rows", "column", "columns", "the"])}
    unit = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0.5, 0]]))
    assert skipgram.nearest(unit, index, "row", "rows", "column") == ["columns", "the"]
    right = ["row rows column columns", "column columns row rows"]
    known = [*right, "rows columns row column"]  # the three of the list that know these words
    lines = Path(skipgram.__file__).with_name("analogies.txt").read_text().splitlines()
    assert len(lines) - sum("#" in line for line in lines) == 69 and set(known) <= set(lines)
    assert skipgram.evaluate(unit, index) == [3 / 69, 3 / 69]


TWO, CAT = b"two words. " * 9, b"cat sat " * 9


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (None, {}, "No such file"),
        (b"", {}, "needs two words"),
        (b"word " * 9, {}, "needs two words seen 5 times"),
        (b"\xff\xfe\x00", {}, "utf-8"),
        ("año".encode("latin-1") * 9, {}, "utf-8"),
        (b"a b c", {}, "--min-count"),
        (TWO, {"window": 0}, "--window"),
        (TWO, {"epochs": 0}, "--epochs"),
        (CAT, {"near": ("cats",)}, "unknown 'cats'; similar: .'cat'"),
        (CAT, {"analogy": (("cat", "sat", "sofa"),)}, "unknown 'sofa'"),
        (CAT, {"figure": Path("f.xyz")}, "--figure: .png"),
        (CAT, {"figure": Path("none/f.png")}, "cannot save none/f.png"),
        (CAT, {"vectors": Path("none/v.txt")}, "cannot save none/v.txt"),
        (CAT, {"vectors": Path(".")}, "cannot save ."),
        (CAT, {"device": "toaster"}, "no device .toaster."),
    ],
)
def test_bad_input_is_refused_before_training(tmp_path, monkeypatch, content, options, sentence):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("t.txt").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((ValueError, OSError, RuntimeError), match=sentence):
        skipgram.main(Path("t.txt"), **{"figure": Path("f.png"), "device": "cpu", **options})
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_says_it_in_one_sentence(tmp_path):
    (tmp_path / "latin.txt").write_bytes("año".encode("latin-1") * 9)
    for name, words in ("none.txt", "No such file"), ("latin.txt", "save the text as UTF-8"):
        command = [sys.executable, skipgram.__file__, "--text", name, "--device", "cpu"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 1 and run.stderr.count("\n") == 1 and words in run.stderr
