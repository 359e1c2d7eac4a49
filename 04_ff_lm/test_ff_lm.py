"""ff_lm.py against numpy and count-based n-grams; its text, windows, training and sampling."""

import re
from pathlib import Path

import ff_lm
import numpy as np
import pytest
import torch
from ff_lm import FFLM, corpus, evaluate, generate, main, split_sentences, train, windows
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_post_hook

README = Path(ff_lm.__file__).with_name("README.md").read_text(encoding="utf-8")


def recipe(name):
    """The function of this name in the README."""
    blocks, found = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S), {}
    exec(next(block for block in blocks if f"def {name}(" in block), found)
    return found[name]


@pytest.fixture
def text(tmp_path):
    """A language of 180 sentences in which the noun, three words before the verb, decides it."""
    nouns = [("cat", "sleeps"), ("dog", "barks"), ("owl", "flies")]
    path = tmp_path / "text.txt"
    path.write_text("".join(f"The {n} of house {i} {v}.\n" for i in range(60) for n, v in nouns))
    return path


# %% data
def test_sentences_of_a_text_by_hand():
    found = split_sentences("É vio 2.5 aves, ¿no?\r\nDon't go! A\n\nb… c.d\u2028E\u0085\u00a0, f.")
    assert [" ".join(s) for s in found] == "é vio 2 5 aves , ¿ no|don't go|a|b|c d e , f".split("|")
    assert split_sentences("El nin\u0303o. el  NIÑO.\nEl\u202fniño!") == [("el", "niño")]
    assert split_sentences("वह चिट्ठी।读a书。她") == [("वह", "चिट्ठी"), ("读", "a", "书"), ("她",)]
    assert [len(s) for s in split_sentences(" ".join(f"w{i}" for i in range(120)))] == [50, 50, 20]


def test_docstrings_give_their_prose(tmp_path, monkeypatch):
    code = 'x = 1\n"""Adds one. No np.sum. No x = 1. Yes.\n\n    Notes\n    ---\n    Adds two."""\n'
    for name in "numpy", "matplotlib", "torch", "other":
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.py").write_text(code + f'# No.\n"""See"""\n"""In {name}."""')
    monkeypatch.setattr(torch, "__file__", tmp_path / "torch" / "a.py")
    texts = [[" ".join(s) for s in split_sentences(t)] for t in ff_lm.docstrings()]
    assert [t.pop() for t in texts] == ["in numpy", "in matplotlib", "in torch"]
    assert texts == [["adds one", "yes", "adds two", "see"]] * 3


def test_no_held_out_sentence_is_learned_from(text, monkeypatch):
    texts = [f"File {i} is read. A sentence of {i}. Repeated." for i in range(30)]
    monkeypatch.setattr(ff_lm, "docstrings", [texts].pop)  # once: with a text no library is read
    every = corpus()
    assert every[1] == split_sentences(*texts[9::10]) and len(every[0]) == 54
    once = corpus(text)
    assert once[1] == split_sentences(text.read_text())[9::10] and len(once[0]) == 162
    text.write_text(text.read_text() + text.read_text().upper().replace(" ", " \n"))
    assert corpus(text) == once
    text.with_stem("text_test").write_text("The CAT of house 1 sleeps. A new one. A  new one!")
    named = corpus(text)
    assert named[1] == [("the", "cat", "of", "house", "1", "sleeps"), ("a", "new", "one")]
    assert len(named[0]) == 179
    for training, test in every, once, named:
        assert not set(training) & set(test) and len(set(training)) == len(training)


def test_windows_by_hand_do_not_cross_sentences():
    rows = windows([("a", "b"), ("x",)], {"<s>": 0, "<unk>": 1, "a": 2, "b": 3}, 2)
    assert rows.tolist() == [[0, 0, 2], [0, 2, 3], [2, 3, 0], [0, 0, 1], [0, 1, 0]]


def test_an_epoch_is_every_window_once_in_another_order():
    first, second = (torch.cat([*ff_lm.batches(torch.arange(600))]) for _ in range(2))
    assert not first.equal(second) and first.sort().values.equal(torch.arange(600))


# %% model
def test_equation_1_by_hand():
    """The worked example of the README, which gives the same numbers in its own words."""
    model = FFLM(2, context=2, embed=1, hidden=1, direct=True)
    values = [[[1], [-1]], [[0.5, 1]], [0.5], [[2], [-1]], [0, 1], [[1, 0], [0, 3]]]
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float)
    # x = (-1, 1); d + H x = 0.5 - 0.5 + 1 = 1; tanh 1 = 0.76159
    # y = (2 * 0.76159 - 1, 1 - 0.76159 + 3)
    assert model(torch.tensor([[1, 0]]))[0].tolist() == pytest.approx([0.52318, 3.23841], abs=1e-4)


@pytest.mark.parametrize("direct", [False, True])
def test_outputs_and_gradients_equal_numpy(direct):
    """The gradients equal differences of outputs that equal those of numpy."""
    torch.manual_seed(0)
    model = FFLM(7, context=3, embed=2, hidden=5, direct=direct).double()
    words = torch.randint(7, (4, 3))
    # gradcheck changes the parameters in place
    assert torch.autograd.gradcheck(lambda *p: model(words), tuple(model.parameters()))
    p = {name: value.detach().numpy() for name, value in model.named_parameters()}
    x = p["C.weight"][words].reshape(4, 6)
    y = p["U.bias"] + np.tanh(p["H.bias"] + x @ p["H.weight"].T) @ p["U.weight"].T
    y = y + x @ p["W.weight"].T if direct else y
    assert np.allclose(model(words).detach(), y, atol=1e-12)


# %% evaluation
def test_perplexity_counts_every_window_once():
    model, rows = FFLM(11, context=2), torch.randint(11, (700, 3))  # 700 = 512 + 188
    loss = cross_entropy(model(rows[:, :-1]), rows[:, -1])
    assert evaluate(model, rows) == pytest.approx(loss.exp().item(), rel=1e-5)


@pytest.mark.parametrize("settings", [(), (1, 4), (0.5, 4), (1, 2), (2, 9)])
def test_sampling_follows_the_probabilities(settings):
    """In the file and, with a temperature and the number of the likeliest words, in the README."""
    torch.manual_seed(0)
    model, p = FFLM(4, context=2), torch.tensor([0.1, 0.2, 0.3, 0.4])
    model.U.weight.data.zero_()
    model.U.bias.data = p.log()
    sample = recipe("sample") if settings else generate
    drawn = [sample(model, [], *settings) for _ in range(200)]
    assert all(0 not in s[:-1] and 0 in (s[-1], len(s) - 30) for s in drawn)
    temperature, top_k = settings or (1, 4)
    expected = p ** (1 / temperature) * (p >= p.sort().values[-top_k:][0])
    share = torch.bincount(torch.tensor(sum(drawn, [])), minlength=4) / len(sum(drawn, []))
    assert torch.allclose(share, expected / expected.sum(), atol=0.04)


def test_kneser_ney_by_hand_and_sums_to_one():
    kneser_ney, training = recipe("kneser_ney"), [(0, 2), (0, 2), (0, 3), (1, 3)]
    # 0 is used 3 times, before 2 kinds of word; of 3 kinds of pair one ends in 2, two in 3:
    # the unigram of 2 is (1 - 0.75 + 0.75 * 3 / 5) / 3.75 = 0.7 / 3.75
    assert kneser_ney(training, [(0, 2)], 5) == [pytest.approx((1.25 + 2.25 * 0.7 / 3.75) / 3.75)]
    training = [*map(tuple, torch.randint(6, (50, 3)).tolist())]
    for history in [(0, 0), training[0][:2], (7, 1), (7, 7)]:
        p = kneser_ney(training, [(*history, word) for word in range(8)], 8)
        assert sum(p) == pytest.approx(1) and min(p) > 0


# %% training
def test_training_needs_a_call_and_one_batch_at_a_time():
    """Any model will do; a batch is made when it is needed; Adam keeps its betas."""
    rows, made, steps = torch.randint(5, (60, 3)), [], []
    model = torch.nn.Sequential(FFLM(5, context=2))  # has no attribute of FFLM
    epochs = [((made.append(len(steps)), part)[1] for part in rows.split(20)) for _ in range(14)]
    record = register_optimizer_step_post_hook(
        lambda adam, *_: steps.append(adam.param_groups[0]["betas"])
    )
    curve = train(model, epochs, 42, rows)
    record.remove()
    assert made == [*range(42)] and set(steps) == {(0.9, 0.999)}
    assert [*curve] == [*range(2, 43, 2)] and curve[42] == evaluate(model, rows) < curve[2]


def test_learns_that_the_noun_decides_the_verb(text, tmp_path, capsys):
    settings = dict(text=text, min_count=1, prompt="The owl of house 3", figure=tmp_path / "a.png")
    result = main(epochs=20, **settings)
    best = (3 * 60) ** (1 / 7)  # of seven words two are free, the noun and the number
    assert best * 0.97 < result["perplexity"] < best * 1.2
    assert "the owl of house 3 flies <s>" in capsys.readouterr().out
    training, test = corpus(text)
    held_out = windows(test, result["vocabulary"], 5)
    assert result["perplexity"] == evaluate(result["model"], held_out)
    words = [word for sentence in training for word in [*sentence, "<s>"]]
    uses = np.array([words.count(word) + 1 for word in result["vocabulary"]])
    unigram = np.exp(-np.log(uses / uses.sum())[held_out[:, -1]].mean())
    assert result["unigram_perplexity"] == pytest.approx(unigram)
    rare = [main(epochs=1, **settings | {"min_count": n})["vocabulary"] for n in (54, 55)]
    assert [len(vocabulary) for vocabulary in rare] == [11, 5]  # of the training set alone


@pytest.mark.promise
def test_the_network_against_the_trigram(monkeypatch, tmp_path):
    """The recipe of the README, with the whole default run: `pytest -m promise -s 04_ff_lm`."""
    monkeypatch.setattr(ff_lm.main, "__defaults__", (*main.__defaults__[:-1], tmp_path / "a.png"))
    section, found = re.search(r"^### A mixture.*?(?=^##)", README, re.M | re.S)[0], {}
    exec("".join(re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)), found)
    perplexity = {name: 1 / p.log().mean().exp().item() for name, p in found["p"].items()}
    assert perplexity["network"] <= 109 and perplexity["mixture"] <= 0.83 * perplexity["trigram"]
