"""ff_lm.py against numpy, Kneser-Ney n-grams, and itself."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import ff_lm
import numpy as np
import pytest
import torch
from ff_lm import FFLM, corpus, evaluate, generate, main, read_sentences, train, windows


@pytest.fixture
def text(tmp_path):
    """A language of 200 sentences in which the third word before decides the next."""
    draw = np.random.default_rng(0)
    nouns = ["cat", "dog", "owl", "fox", "cow"]
    verbs = dict(zip(nouns, ["sleeps", "barks", "flies", "runs", "eats"], strict=True))
    lines = []
    for i in range(200):
        noun = nouns[draw.integers(5)]
        lines.append(f"the {noun} of house {i // 20} {verbs[noun]}.")
    path = tmp_path / "text.txt"
    path.write_text("\n".join(dict.fromkeys(lines)), encoding="utf-8")
    return path


# --- the model


def test_equation_1_by_hand():
    """The worked example of the README: y = b + W x + U tanh(d + H x)."""
    model = FFLM(2, context=2, embed=1, hidden=1, direct=True).double().eval()
    values = {
        "C.weight": [[1.0], [-1.0]],
        "H.weight": [[0.5, 1.0]],
        "H.bias": [0.5],
        "U.weight": [[2.0], [-1.0]],
        "U.bias": [0.0, 1.0],
        "W.weight": [[1.0, 0.0], [0.0, 3.0]],
    }
    model.load_state_dict({name: torch.tensor(v).double() for name, v in values.items()})
    # x = (-1, 1); d + H x = 0.5 - 0.5 + 1 = 1; tanh 1 = 0.7616
    y = model(torch.tensor([[1, 0]]))[0]
    assert y.tolist() == pytest.approx([2 * 0.76159 - 1, 1 - 0.76159 + 3], abs=1e-4)


def numpy_loss(p, words, targets):
    x = p["C.weight"][words].reshape(len(words), -1)
    y = p["U.bias"] + np.tanh(p["H.bias"] + x @ p["H.weight"].T) @ p["U.weight"].T
    if "W.weight" in p:
        y = y + x @ p["W.weight"].T
    return y, (np.log(np.exp(y).sum(1)) - y[range(len(y)), targets]).mean()


@pytest.mark.parametrize("direct", [False, True])
def test_parity_with_numpy(direct):
    torch.manual_seed(0)
    model = FFLM(7, context=3, embed=2, hidden=5, direct=direct, dropout=0).double()
    words, targets = torch.randint(7, (4, 3)), torch.randint(7, (4,))
    p = {name: v.detach().numpy().copy() for name, v in model.named_parameters()}
    y = model(words)
    torch.nn.functional.cross_entropy(y, targets).backward()
    assert np.allclose(y.detach(), numpy_loss(p, words, targets)[0], atol=1e-12)
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0
        for i in np.ndindex(*p[name].shape):
            old, losses = p[name][i], []
            for p[name][i] in (old + 1e-5, old - 1e-5):
                losses.append(numpy_loss(p, words, targets)[1])
            p[name][i] = old
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(
                parameter.grad[i].item(), abs=1e-8
            )


def test_the_order_of_the_context_matters():
    torch.manual_seed(0)
    model = FFLM(9, context=2).eval()
    assert not torch.allclose(model(torch.tensor([[3, 4]])), model(torch.tensor([[4, 3]])))


# --- the data


def test_windows_by_hand_do_not_cross_sentences():
    v = {"<s>": 0, "<unk>": 1, "a": 2, "b": 3}
    assert windows([("a", "b"), ("x",)], v, 2).tolist() == [
        [0, 0, 2],
        [0, 2, 3],
        [2, 3, 0],
        [0, 0, 1],
        [0, 1, 0],
    ]


def test_sentences(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffÉl vio 2.5 aves, ¿no?\r\nDon't go! A\n\nb.".encode())
    found = [" ".join(s) for s in read_sentences(path)]
    assert found == ["él vio 2 5 aves , ¿no".replace("¿", "¿ "), "don't go", "a", "b"]


def test_nothing_held_out_was_seen(text, tmp_path):
    learn, held_out = corpus()
    assert len(learn) > 20_000 and 0.05 < len(held_out) / len(learn) < 0.2
    assert not learn.keys() & held_out.keys()
    test = tmp_path / "test.txt"
    test.write_text("the cat of house 1 sleeps. a new one.", encoding="utf-8")
    learn, held_out = corpus(text, test)
    assert len(held_out) == 2 and not learn.keys() & held_out.keys()


# --- perplexity and n-grams


def test_uniform_scores_v_and_the_last_batch_counts():
    model = FFLM(11, context=2)
    for parameter in (model.U.weight, model.U.bias):
        torch.nn.init.zeros_(parameter)
    rows = torch.randint(11, (700, 3))
    assert evaluate(model, rows) == pytest.approx(11, rel=1e-5)
    torch.manual_seed(0)
    model = FFLM(11, context=2)
    model.eval()
    loss = torch.nn.functional.cross_entropy(model(rows[:, :-1]), rows[:, -1])
    assert evaluate(model, rows) == pytest.approx(loss.exp().item(), rel=1e-5)


def kneser_ney(grams, rows, vocab):
    """Interpolated Kneser-Ney probability of rows (tuples of n ids), from n-gram counts."""
    if not rows[0]:
        return [1 / vocab] * len(rows)
    shorter = Counter(gram[1:] for gram in grams)  # counts the different words before, not the uses
    lower = kneser_ney(shorter, [row[1:] for row in rows], vocab)
    uses, followers = Counter(), Counter(gram[:-1] for gram in grams)
    for gram, n in grams.items():
        uses[gram[:-1]] += n
    once, twice = (list(grams.values()).count(n) for n in (1, 2))
    discount, found = (once + 1) / (once + 2 * twice + 2), []
    for row, p in zip(rows, lower, strict=True):
        if h := uses[row[:-1]]:
            p = (max(grams[row] - discount, 0) + discount * followers[row[:-1]] * p) / h
        found.append(p)
    return found


def ngram(rows, held_out, order, vocab):
    grams = Counter(map(tuple, rows[:, -order:].tolist()))
    return torch.tensor(kneser_ney(grams, [*map(tuple, held_out[:, -order:].tolist())], vocab))


def test_kneser_ney_sums_to_one():
    rows = torch.randint(6, (50, 3), generator=torch.Generator().manual_seed(0))
    for history in [(0, 0), (1, 2), (5, 5), (7, 1), (7, 7)]:
        every = torch.tensor([(*history, w) for w in range(8)])
        p = ngram(rows, every, 3, 8)
        assert p.sum().item() == pytest.approx(1) and (p > 0).all()


@pytest.mark.promise
def test_the_network_against_the_trigram():
    """The comparison of the README, on the whole default run: `pytest -m promise -s 04_ff_lm`."""
    learn, held_out = corpus()
    counts = Counter(word for sentence in learn for word in sentence).most_common()
    words = ["<s>", "<unk>", *(word for word, n in counts if n >= 5)]
    vocabulary = {word: i for i, word in enumerate(words)}
    torch.manual_seed(0)
    model = FFLM(len(words))
    rows, held = (windows(s, vocabulary, 5) for s in (learn, held_out))
    found = {f"{n}-gram": ngram(rows, held, n, len(words)) for n in (1, 2, 3)}
    train(model, rows, held, 5)
    with torch.no_grad():
        parts = [model(r[:, :-1]).softmax(1).gather(1, r[:, -1:]) for r in held.split(512)]
    found["network"] = torch.cat(parts)[:, 0]
    found["mixture"] = (found["network"] + found["3-gram"]) / 2
    found = {name: (-p.log().mean()).exp().item() for name, p in found.items()}
    print(f"\n{len(learn)} + {len(held_out)} sentences, {len(rows)} + {len(held)} tokens", found)
    print(f"unknown {(held[:, -1] == 1).float().mean():.4f}")
    assert found["3-gram"] < found["network"] < found["2-gram"]
    assert 0.75 < found["mixture"] / found["3-gram"] < 0.87


# --- generation


def test_sampling_follows_the_probabilities():
    model = FFLM(4, context=2)
    torch.nn.init.zeros_(model.U.weight)
    p = torch.tensor([0.1, 0.2, 0.3, 0.4])
    model.U.bias.data = p.log()
    torch.manual_seed(0)
    for temperature, top_k, expected in [(1, 4, p), (0.5, 4, p**2), (1, 2, p * (p > 0.25))]:
        drawn = [generate(model, [], temperature, top_k, length=1)[0][0] for _ in range(2000)]
        share = torch.bincount(torch.tensor(drawn), minlength=4) / 2000
        assert torch.allclose(share, expected / expected.sum(), atol=0.04)
    ids, likely = generate(model, [2, 3, 2, 3], 1.0, 1)  # longer than the context; 1 is greedy
    assert ids == [3] * 30
    assert [i for i, _ in likely] == [3, 2, 1, 0]
    assert [q for _, q in likely] == pytest.approx([0.4, 0.3, 0.2, 0.1])


# --- main


def test_it_learns_a_little_language(text, tmp_path):
    """The verb depends on a noun three words before: no fewer than the free choices remain."""
    settings = dict(text=text, min_count=1, figure=tmp_path / "a.png")
    result = main(epochs=60, prompt="the owl of house 3", top_k=1, **settings)
    assert 1.2 < result["perplexity"] < 2.6 < result["unigram_perplexity"]
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_two_runs_are_equal(text, tmp_path):
    runs = [main(text=text, epochs=2, direct=True, figure=tmp_path / "a.pdf") for _ in range(2)]
    assert runs[0]["perplexity"] == runs[1]["perplexity"]


@pytest.mark.parametrize(
    "option, sentence",
    [
        (["--temperature", "0"], "must be above 0"),
        (["--temperature", "-1"], "must be above 0"),
        (["--top-k", "0"], "must be above 0"),
        (["--epochs", "0"], "must be above 0"),
        (["--figure", "none/a.png"], "a folder that can be written to"),
        (["--figure", "a.xyz"], "name a .png"),
        (["--device", "abacus"], "use --device cpu"),
        (["--text", "none.txt"], "none.txt"),
        (["--text", "empty.txt"], "no known word"),
        (["--text", "latin.txt"], "utf-8"),
        (["--test", "unknown.txt"], "unknown.txt has no known word"),
    ],
)
def test_bad_input_is_one_sentence(option, sentence, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes("año".encode("latin-1"))
    Path("unknown.txt").write_text("zzz qqq. zzq qqz.")
    options = ["--text", str(text), *option]
    with pytest.raises((ValueError, OSError), match=sentence):
        ff_lm.tyro.cli(main, args=options)
    assert not list(tmp_path.glob("*.png"))


def test_alone_and_without_traceback(text, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ff_lm.__file__, alone)
    run = [sys.executable, "ff_lm.py", "--text", text, "--epochs", "1", "--prompt"]
    good = subprocess.run([*run, ""], cwd=alone, capture_output=True, text=True)
    assert good.returncode == 0 and (alone / "ff_lm.png").exists(), good.stderr
    bad = subprocess.run([*run, "a", "--top-k", "0"], cwd=alone, capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stderr.count("\n") == 1
