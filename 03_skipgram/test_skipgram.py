"""Skip-gram against the book's equation, and everything that must stay impossible."""

import subprocess
import sys
from pathlib import Path

import pytest
import skipgram
import torch
from torch.nn import functional as F


@pytest.fixture
def tables():
    torch.manual_seed(1)
    W, C = torch.randn(9, 4, dtype=torch.double), torch.randn(9, 4, dtype=torch.double)
    ids, near = torch.randint(9, (7 + 4,)), torch.rand(7, 5) < 0.5
    near[:, 2] = False
    return W.requires_grad_(), C.requires_grad_(), ids, near, torch.randint(9, (3,))


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


def test_learns_and_writes_the_word2vec_format(tmp_path):
    text, out = tmp_path / "t.txt", tmp_path / "v.txt"
    text.write_text("red green blue red green\n\none two three two one\n\n" * 300)
    run = skipgram.main(text, ("red",), vectors=out, figure=tmp_path / "f.png", epochs=60)
    assert run["vocabulary"] == 6 and (tmp_path / "f.png").stat().st_size > 5000
    lines = out.read_text().splitlines()
    assert lines[0] == "6 100" and all(len(line.split()) == 101 for line in lines[1:])
    W = torch.tensor([[float(x) for x in line.split()[1:]] for line in lines[1:]])
    index = {line.split()[0]: i for i, line in enumerate(lines[1:])}
    assert set(skipgram.nearest(W, index, ("one",), top=2)) == {"two", "three"}
    again = skipgram.main(text, figure=tmp_path / "f.png", epochs=60)
    assert again["loss"] == run["loss"]
    assert 1.0 < run["loss"] < 4.1  # 6 log 2 = 4.16 knows nothing


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (None, [], "No such file"),
        (b"", [], "two words"),
        (b"word " * 9, [], "two words"),
        (b"\xff\xfe\x00", [], "utf-8"),
        (b"a b c", ["--min-count", "5"], "--min-count"),
        (b"a b c", ["--min-count", "1", "--window", "0"], "window"),
        (b"cat sat " * 9, ["--near", "cats"], "'cats' is not in the vocabulary"),
        (b"cat sat " * 9, ["--figure", "none/f.png"], "cannot be written"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, content, options, sentence):
    (tmp_path / "skipgram.py").write_text(Path(skipgram.__file__).read_text())
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "skipgram.py", "--text", "t.txt", "--device", "cpu", *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and sentence in run.stderr
    assert run.stderr.count("\n") == 1 and sorted(tmp_path.iterdir()) == before
