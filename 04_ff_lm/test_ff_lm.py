"""ff_lm.py against numpy, against counting, and against what must stay impossible."""

import re
import subprocess
import sys
from pathlib import Path

import ff_lm
import numpy as np
import pytest
import torch
from ff_lm import FFLM, corpus, evaluate, generate, main, read_sentences, windows
from torch.nn.functional import cross_entropy

FOLDER = Path(ff_lm.__file__).parent


def kneser_ney(*arguments):
    """The function that the README shows."""
    text, found = (FOLDER / "README.md").read_text(encoding="utf-8"), {}
    exec(re.search(r"```python\n(from collections.*?)```", text, re.S)[1], found)
    return found["kneser_ney"](*arguments)


@pytest.fixture
def text(tmp_path):
    """A language of 180 sentences in which the noun, three words before the verb, decides it."""
    nouns = [("cat", "sleeps"), ("dog", "barks"), ("owl", "flies")]
    path = tmp_path / "text.txt"
    path.write_text("".join(f"The {n} of house {i} {v}.\n" for i in range(60) for n, v in nouns))
    return path


def test_equation_1_by_hand():
    """The worked example of the README, which gives the same numbers in its own words."""
    model = FFLM(2, context=2, embed=1, hidden=1, direct=True).eval()
    values = [[[1], [-1]], [[0.5, 1]], [0.5], [[2], [-1]], [0, 1], [[1, 0], [0, 3]]]
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float)
    # x = (-1, 1); d + H x = 0.5 - 0.5 + 1 = 1; tanh 1 = 0.76159
    y = model(torch.tensor([[1, 0]]))[0]
    assert y.tolist() == pytest.approx([2 * 0.76159 - 1, 1 - 0.76159 + 3], abs=1e-4)


def numpy_loss(p, words, targets):
    x = p["C.weight"][words].reshape(len(words), -1)
    y = p["U.bias"] + np.tanh(p["H.bias"] + x @ p["H.weight"].T) @ p["U.weight"].T
    y = y + x @ p["W.weight"].T if "W.weight" in p else y
    return y, (np.log(np.exp(y).sum(1)) - y[range(len(y)), targets]).mean()


@pytest.mark.parametrize("direct", [False, True])
def test_outputs_and_gradients_equal_numpy(direct):
    torch.manual_seed(0)
    model = FFLM(7, context=3, embed=2, hidden=5, direct=direct, dropout=0).double()
    words, targets = torch.randint(7, (4, 3)), torch.randint(7, (4,))
    p = {name: v.detach().numpy().copy() for name, v in model.named_parameters()}
    cross_entropy(model(words), targets).backward()
    assert np.allclose(model(words).detach(), numpy_loss(p, words, targets)[0], atol=1e-12)
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0
        for i in np.ndindex(*p[name].shape):
            old, losses = p[name][i], []
            for p[name][i] in (old + 1e-5, old - 1e-5):
                losses.append(numpy_loss(p, words, targets)[1])
            p[name][i] = old
            slope = (losses[0] - losses[1]) / 2e-5
            assert slope == pytest.approx(parameter.grad[i].item(), abs=1e-8)


def test_windows_by_hand_do_not_cross_sentences():
    rows = windows(["a b", "x"], {"<s>": 0, "<unk>": 1, "a": 2, "b": 3}, 2)
    assert rows.tolist() == [[0, 0, 2], [0, 2, 3], [2, 3, 0], [0, 0, 1], [0, 1, 0]]


def test_sentences_of_a_text_and_of_a_program(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffÉl vio 2 aves, ¿no?\r\nDon't go! A\n\nb.".encode())
    assert read_sentences(tmp_path / "a.txt") == ["él vio 2 aves , ¿ no", "don't go", "a", "b"]
    docs = "Adds one. Not x = 1. Nor a_b. Yes.\n\n    Notes\n    -----\n    Adds two.\n"
    (tmp_path / "a.py").write_text(f'x = 1\n"""{docs}"""\n# No.\n')
    assert read_sentences(tmp_path / "a.py") == ["adds one", "yes", "adds two"]


def test_nothing_held_out_was_seen(text, tmp_path):
    learn, held_out = corpus()
    assert len(learn) > 20_000 and 0.05 < len(held_out) / len(learn) < 0.2
    assert not learn.keys() & held_out.keys()
    (tmp_path / "test.txt").write_text("The cat of house 1 sleeps. A new one.")
    learn, held_out = corpus(text, tmp_path / "test.txt")
    assert list(held_out) == ["the cat of house 1 sleeps", "a new one"]
    assert learn and not learn.keys() & held_out.keys()


def test_perplexity_of_all_rows_and_of_a_uniform_model():
    torch.manual_seed(0)
    model, rows = FFLM(11, context=2).eval(), torch.randint(11, (700, 3))  # 700 = 512 + 188
    loss = cross_entropy(model(rows[:, :-1]), rows[:, -1])
    assert evaluate(model.train(), rows) == pytest.approx(loss.exp().item(), rel=1e-5)
    torch.nn.init.zeros_(model.U.weight)
    torch.nn.init.zeros_(model.U.bias)
    assert evaluate(model, rows) == pytest.approx(11, rel=1e-5)


def test_kneser_ney_by_hand_and_sums_to_one():
    learn = [(0, 2), (0, 2), (0, 3), (1, 3)]
    # 0 is used 3 times, before 2 kinds of word; of 3 kinds of pair one ends in 2, two in 3
    unigram = (1 - 0.75 + 0.75 * 3 / 5) / 3.75
    assert kneser_ney(learn, [(0, 2)], 5) == [pytest.approx((1.25 + 0.75 * 3 * unigram) / 3.75)]
    learn = [*map(tuple, torch.randint(6, (50, 3)).tolist())]
    for history in [(0, 0), (1, 2), learn[0][:2], (7, 1), (7, 7)]:
        p = kneser_ney(learn, [(*history, word) for word in range(8)], 8)
        assert sum(p) == pytest.approx(1) and min(p) > 0


@pytest.mark.parametrize("temperature, top_k", [(1, 4), (0.5, 4), (1, 2), (2, 9)])
def test_sampling_follows_the_probabilities(temperature, top_k):
    torch.manual_seed(0)
    model, p = FFLM(4, context=2), torch.tensor([0.1, 0.2, 0.3, 0.4])
    torch.nn.init.zeros_(model.U.weight)
    model.U.bias.data = p.log()
    drawn = sum((generate(model, [], temperature, top_k) for _ in range(200)), [])
    expected = p ** (1 / temperature) * (p >= p.sort().values[-top_k:][0])
    share = torch.bincount(torch.tensor(drawn), minlength=4) / len(drawn)
    assert torch.allclose(share, expected / expected.sum(), atol=0.04)


@pytest.mark.parametrize("prompt", [[], [2], [2, 3, 4, 5, 6, 7]])  # shorter, longer than 3
def test_top_1_is_greedy_and_reads_the_last_words(prompt):
    torch.manual_seed(0)
    model, ids = FFLM(9, context=3).eval(), [0, 0, 0, *prompt]
    for _ in range(30):
        if len(ids) > len(prompt) + 3 and ids[-1] == 0:
            break
        ids.append(model(torch.tensor([ids[-3:]])).argmax().item())
    assert generate(model.train(), prompt, 0.8, 1) == ids[3 + len(prompt) :]
    assert generate(model, prompt, 1e-300, 9) == ids[3 + len(prompt) :]


def test_learns_that_the_noun_decides_the_verb(text, tmp_path, capsys):
    settings = dict(text=text, min_count=1, prompt="the owl of house 3", top_k=1)
    runs = [main(epochs=20, figure=tmp_path / "a.png", **settings) for _ in range(2)]
    best = (3 * 60) ** (1 / 7)  # of seven words two are free, the noun and the number
    assert best * 0.97 < runs[0]["perplexity"] < best * 1.2 < runs[0]["unigram_perplexity"]
    assert runs[0]["perplexity"] == runs[1]["perplexity"]
    assert "the owl of house 3 -> flies <s>" in capsys.readouterr().out
    direct = main(epochs=1, direct=True, figure=tmp_path / "a.pdf", **settings)
    assert direct["parameters"] - runs[0]["parameters"] == 5 * 96 * direct["vocabulary"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ("--temperature 0", "above 0"),
        ("--temperature -1", "above 0"),
        ("--top-k 0", "above 0"),
        ("--epochs 0", "above 0"),
        ("--figure none/a.png", "folder/name.png"),
        ("--figure a.xyz", "folder/name.png"),
        ("--device abacus", "no device 'abacus'"),
        ("--text none.txt", "none.txt"),
        ("--text empty.txt", "empty.txt has no known word"),
        ("--test unknown.txt", "unknown.txt has no known word"),
    ],
)
def test_bad_input_is_one_sentence(options, sentence, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    Path("unknown.txt").write_text("zzz qqq. zzq qqz.")
    with pytest.raises((ValueError, OSError, RuntimeError), match=sentence) as fault:
        ff_lm.tyro.cli(main, args=["--text", "text.txt", *options.split()])
    assert "\n" not in str(fault.value) and not list(tmp_path.glob("*.png"))


def test_a_file_that_is_not_utf_8_is_told_what_to_do(tmp_path):
    (tmp_path / "latin.txt").write_bytes("año".encode("latin-1"))
    command = [sys.executable, FOLDER / "ff_lm.py", "--text", "latin.txt"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.count("\n") == 1
    assert "save the text as UTF-8" in run.stderr


@pytest.mark.promise
def test_the_network_against_the_trigram(tmp_path, monkeypatch):
    """The comparison of the README, on the whole default run: `pytest -m promise -s 04_ff_lm`."""
    kept, train = [], ff_lm.train

    def train_and_keep(*given):
        kept.extend(given)
        return train(*given)

    monkeypatch.setattr(ff_lm, "train", train_and_keep)
    vocab, (model, rows, held, _) = main(figure=tmp_path / "a.png")["vocabulary"], kept
    grams = ([(*r[-3:],) for r in part.tolist()] for part in (rows, held))
    p = {"trigram": torch.tensor(kneser_ney(*grams, vocab))}
    with torch.no_grad():
        parts = [model(r[:, :-1]).softmax(1).gather(1, r[:, -1:]) for r in held.split(512)]
    p["network"] = torch.cat(parts)[:, 0]
    p["mixture"] = (p["trigram"] + p["network"]) / 2
    found = {name: (-chances.log().mean()).exp().item() for name, chances in p.items()}
    print(len(rows), "+", len(held), "tokens", found)
    assert 100 < found["network"] < 115  # the bigram has 139.1
    assert 0.78 < found["mixture"] / found["trigram"] < 0.84
