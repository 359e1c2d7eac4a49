"""ff_lm.py against numpy and count-based n-grams; its text, windows, training and sampling."""

import copy
import re
from pathlib import Path

import ff_lm
import numpy as np
import pytest
import torch
import trigram
from ff_lm import FFLM, corpus, evaluate, generate, main, split_sentences, train, windows
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from trigram import kneser_ney

README = Path(ff_lm.__file__).with_name("README.md").read_text(encoding="utf-8")
VERBS = "cat sleeps dog barks owl flies boy runs cow eats fox jumps bee hums man sings".split()


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A language of 160 sentences in which the noun, three words before the verb, decides it."""
    monkeypatch.setattr(ff_lm, "__file__", str(tmp_path / "ff_lm.py"))  # beside it is the figure
    path = tmp_path / "text.txt"
    pairs = list(zip(VERBS[::2], VERBS[1::2]))
    path.write_text("".join(f"The {n} of house {i} {v}.\n" for i in range(20) for n, v in pairs))
    return path


# %% data
def test_sentences_of_a_text_by_hand():
    text = "É vio 2.5 aves, ¿no?\r\nDon't go! A\n\nb… c.d\nE, f. É  VIO 2.5 aves,"
    found = [" ".join(words) for words in split_sentences([text])]
    assert found == "é vio 2 5 aves , ¿ no|don't go|a|b|c d e , f|é vio 2 5 aves ,".split("|")
    assert split_sentences(["El nin\u0303o. el  NIÑO.", "El\u202fniño!"]) == [("el", "niño")]
    assert split_sentences(["<s> <unk> N", "<b"]) == [("<s>", "<unk>", "n"), ("<", "b")]
    assert [len(s) for s in split_sentences([" ".join(map(str, range(120)))])] == [50, 50, 20]


def test_docstrings_give_their_prose(tmp_path, monkeypatch):
    code = 'x = 1\n"""Adds one. No np.sum. No x = 1. Yes.\n\n    Notes\n    ---\n    Adds two."""\n'
    for name in "numpy", "matplotlib", "torch", "other":
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.py").write_text(code + f'# No.\n"""See"""\n"""In {name}."""')
    monkeypatch.setattr(torch, "__file__", tmp_path / "torch" / "a.py")
    texts = [[" ".join(s) for s in split_sentences([t])] for t in ff_lm.docstrings()]
    assert [t.pop() for t in texts] == ["in numpy", "in matplotlib", "in torch"]
    assert texts == [["adds one", "yes", "adds two", "see"]] * 3


def test_no_test_sentence_is_learned_from(text, monkeypatch):
    texts = [f"File {i} is read. A sentence of {i}. Repeated." for i in range(30)]
    monkeypatch.setattr(ff_lm, "docstrings", [texts].pop)  # once: with a text no library is read
    training, test = corpus()
    assert test == split_sentences(texts[9::10]) and len(training) == 54
    assert not set(training) & set(test) and len(set(training)) == 54
    training, test = corpus(text)
    assert test == split_sentences([text.read_text()])[9::10] and len(training) == 144


def test_words_and_windows_by_hand():
    vocabulary = ff_lm.build_vocabulary([("a", "b", "<unk>")] * 5 + [("x", "b")] * 4)
    assert vocabulary == {"<s>": 0, "<unk>": 1, "a": 2, "b": 3}  # x is seen four times only
    rows = windows([("a", "b"), ("x",), ("<unk>",)], vocabulary, 2).tolist()
    assert rows[:3] == [[0, 0, 2], [0, 2, 3], [2, 3, 0]]
    assert rows[3:] == [[0, 0, 1], [0, 1, 0]] * 2  # no window crosses the end of a sentence


def test_an_epoch_is_every_window_once_in_another_order():
    first, second = (torch.cat([*ff_lm.batches(torch.arange(600))]) for _ in range(2))
    assert not first.equal(second) and first.sort().values.equal(torch.arange(600))


# %% model
def test_equation_1_by_hand():
    """The worked example of the README, which gives the same numbers in its own words."""
    model = FFLM(2, context=2, embed=1, hidden=1)
    values = [[[1], [-1]], [[0.5, 1]], [0.5], [[2], [-1]], [0, 1]]
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float)
    # x = (-1, 1); d + H x = 0.5 - 0.5 + 1 = 1; tanh 1 = 0.76159; y = (2 * 0.76159, 1 - 0.76159)
    assert model(torch.tensor([[1, 0]]))[0].tolist() == pytest.approx([1.52319, 0.23841], abs=1e-4)


def test_outputs_and_gradients_equal_numpy():
    """The gradients equal differences of outputs that equal those of numpy."""
    torch.manual_seed(0)
    model = FFLM(7, context=3, embed=2, hidden=5).double()
    words = torch.randint(7, (4, 3))
    # gradcheck changes the parameters in place
    assert torch.autograd.gradcheck(lambda *p: model(words), tuple(model.parameters()))
    p = {name: value.detach().numpy() for name, value in model.named_parameters()}
    x = p["C.weight"][words].reshape(4, 6)
    y = p["U.bias"] + np.tanh(p["H.bias"] + x @ p["H.weight"].T) @ p["U.weight"].T
    assert np.allclose(model(words).detach(), y, atol=1e-12)


# %% evaluation
def test_perplexity_counts_every_window_once():
    model, rows = FFLM(11, context=2), torch.randint(11, (700, 3))  # 700 = 512 + 188
    loss = cross_entropy(model(rows[:, :-1]), rows[:, -1])
    assert evaluate(model, rows) == pytest.approx(loss.exp().item(), rel=1e-5)


def test_words_are_drawn_from_the_probabilities_until_the_boundary():
    model, p = FFLM(4, context=2), torch.tensor([0.1, 0.2, 0.3, 0.4])
    model.U.weight.data.zero_()
    model.U.bias.data = p.log()
    vocabulary = {"<s>": 0, "<unk>": 1, "a": 2, "b": 3}
    drawn = [generate(model, vocabulary, ("b", "a", "new")) for _ in range(200)]
    assert all(words[:3] == ["b", "a", "new"] and "<s>" not in words[:-1] for words in drawn)
    assert all(words[-1] == "<s>" or len(words) == 50 for words in drawn)
    drawn = [vocabulary[word] for words in drawn for word in words[3:]]
    share = torch.bincount(torch.tensor(drawn)).float()
    assert torch.allclose(share / share.sum(), p, atol=0.04)


def test_kneser_ney_by_hand_and_sums_to_one():
    training = [(0, 2), (0, 2), (0, 3), (1, 3)]
    # 0 is used 3 times, before 2 kinds of word; of 3 kinds of pair one ends in 2, two in 3:
    # the unigram of 2 is (1 - 0.75 + 0.75 * 3 / 5) / 3.75 = 0.7 / 3.75
    assert kneser_ney(training, [(0, 2)], 5) == [pytest.approx((1.25 + 2.25 * 0.7 / 3.75) / 3.75)]
    training = [*map(tuple, torch.randint(6, (50, 3)).tolist())]
    for history in [(0, 0), training[0][:2], (7, 1), (7, 7)]:
        p = kneser_ney(training, [(*history, word) for word in range(8)], 8)
        assert sum(p) == pytest.approx(1) and min(p) > 0


# %% training
def test_training_is_adamw_along_one_cycle_on_batches_made_when_they_are_needed():
    rows, before = torch.randint(5, (60, 3)), []
    model = torch.nn.Sequential(FFLM(5, context=2))  # any model will do
    reference = copy.deepcopy(model)

    def data():
        for _ in range(43):
            before.append(evaluate(model, rows))
            yield rows

    curve = train(model, data(), 43, rows)
    assert curve == {step: before[step] for step in range(3, 43, 3)} | {43: evaluate(model, rows)}
    adam = torch.optim.AdamW(reference.parameters())
    schedule = OneCycleLR(adam, max_lr=5e-3, total_steps=43, cycle_momentum=False)
    for _ in range(43):
        adam.zero_grad()
        cross_entropy(reference(rows[:, :2]), rows[:, 2]).backward()
        adam.step()
        schedule.step()
    for ours, expected in zip(model.parameters(), reference.parameters()):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-3)


def test_learns_that_the_noun_decides_the_verb(text, capsys):
    result = main(text=text, epochs=40, prompt="The OWL of house 3")
    assert capsys.readouterr().out.splitlines()[1] == "the owl of house 3 flies <s>"
    best = (8 * 20) ** (1 / 7)  # of seven words two are free, the noun and the number
    assert best * 0.97 < result["perplexity"] < best * 1.2
    training, test = corpus(text)
    test_rows = windows(test, result["vocabulary"], 5)
    assert result["perplexity"] == evaluate(result["model"], test_rows)
    words = [word for sentence in training for word in [*sentence, "<s>"]]
    counts = np.array([words.count(word) + 1 for word in result["vocabulary"]])
    p = (counts / counts.sum())[test_rows[:, -1]]
    assert result["unigram"] == pytest.approx(np.exp(-np.log(p).mean()))


def test_the_vocabulary_is_of_the_training_set_and_the_seed_rules_all(text):
    text.write_text("".join(f"{i} {'rare' if i % 10 == 9 else 'often'}.\n" for i in range(100)))
    a, b, c = (main(text=text, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert a["vocabulary"].keys() == {"<s>", "<unk>", "often"}  # each tenth sentence is of the test
    assert a["perplexity"] == b["perplexity"] != c["perplexity"]


def test_a_text_without_a_test_set_is_refused(text):
    text.write_text("One sentence. Another.")
    with pytest.raises(ValueError, match="text.txt: fewer than ten different sentences"):
        main(text=text)


def test_the_recipe_for_the_penn_treebank(text, monkeypatch, capsys):
    lines = [f" the <unk> of {noun} N \n" for noun in VERBS]
    text.with_name("ptb.train.txt").write_text("".join(lines[:12]))
    text.with_name("ptb.test.txt").write_text("".join(lines[12:]))
    monkeypatch.chdir(text.parent)
    monkeypatch.setattr(ff_lm, "corpus", corpus)  # which the recipe replaces, until the test ends
    exec(re.search(r"^```python\n(# penn_treebank.py.*?)^```", README, re.M | re.S)[1])
    assert capsys.readouterr().out.startswith("held-out perplexity ")
    assert sum(ff_lm.corpus(None), []) == [("the", "<unk>", "of", noun, "n") for noun in VERBS]


def test_the_mixture_is_between_network_and_trigram_where_two_words_say_too_little(text, capsys):
    found = trigram.main(text, epochs=40)
    assert found["network"] < found["mixture of trigram and network"] < found["trigram"]
    assert found["trigram"] > (8 * 20 * 8) ** (1 / 7)  # the noun, the number and the verb are free
    shown = f"{found['network']:.1f}"
    assert capsys.readouterr().out.count(shown) == 2  # of ff_lm.py and of trigram.py


@pytest.mark.promise
def test_the_network_against_the_trigram():
    """The table of the README, with the whole default run: `pytest -m promise -s 04_ff_lm`."""
    found = trigram.main()
    for name, perplexity in found.items():
        shown = re.search(rf"^{name}: ([\d.]+)$", README, re.M)[1]
        assert perplexity == pytest.approx(float(shown), abs=2 if "network" in name else 0.1)
