"""Skip-gram against the equations of the paper; its text, windows, training and analogies."""

import math
import random
import re
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import skipgram
import torch
from torch.nn.functional import pad

HERE = Path(skipgram.__file__).parent


def recipe(heading):
    """The code of a section of the README."""
    section = (HERE / "README.md").read_text("utf-8").split(f"# {heading}\n")[1]
    return re.search("```python\n(.*?)```", section, re.S)[1]


@pytest.mark.parametrize("name", ["SkipGram", "Softmax"])
def test_loss_and_gradients_equal_a_loop_over_pairs(name):
    names = {}
    exec(recipe("The softmax of 2013"), names)
    model = names[name](9, 4).double()
    W, C = (torch.nn.init.normal_(matrix) for matrix in (model.W.weight, model.C.weight))
    targets, noise = torch.tensor([4, 1, 4]), torch.tensor([3, 1, 3, 9, 5])
    is_context = torch.rand(3, 6) < 0.5
    contexts = torch.randint(1, 10, (3, 6)) * is_context  # the others are boundaries
    expected = []
    for b, j in is_context.nonzero():
        w, c = W[targets[b]], C[contexts[b, j]]
        if name == "Softmax":  # equation (2); row 0 belongs to no word
            expected.append(-torch.log(torch.exp(c @ w) / torch.exp(C[1:] @ w).sum()))
        else:  # equation (4)
            negative = torch.sigmoid(-C[noise] @ w).log().mean()
            expected.append(-torch.sigmoid(c @ w).log() - 5 * negative)
    losses, expected = model(targets, contexts, is_context, noise), torch.stack(expected)
    torch.testing.assert_close(losses, expected)
    ours = torch.autograd.grad(losses.sum(), (W, C))
    theirs = torch.autograd.grad(expected.sum(), (W, C))
    torch.testing.assert_close([gradient.to_dense() for gradient in ours], [*theirs])


def test_a_passage_that_repeats_counts_once():
    """In other case, with other white space, or with its accents as characters of their own."""
    once = "El niño come." + " niño" * 4 + "!\nLa" + " la" * 4 + ", canta" * 6 + "."
    again = "\n\nEL  NIN\u0303O\u00a0come" + "\u2028niño" * 4 + "\n \n" + "la\n" * 5 + "canta!" * 6
    vocabulary, ids = skipgram.encode(once + again)
    assert vocabulary == {"canta": 1, "niño": 2, "la": 3}
    apart = [0] * 5
    assert ids.tolist() == apart + [2] * 5 + apart + [3] * 5 + [1] * 6 + apart


def test_words_are_letters_with_their_marks_and_han_characters():
    vocabulary, _ = skipgram.encode("किताब क्\u200dष don't 3 x_1 读书！ 读ça ÇA; " * 5 + "rare " * 4)
    assert set(vocabulary) == {"किताब", "क्\u200dष", "don", "t", "x", "读", "书", "ça"}


def epoch(passages):
    """An epoch over passages (number, length), each of the four tensors of its batches as one."""
    ids = pad(pad(passages, (0, 5)).flatten(), (5, 0))  # five boundaries around each passage
    batches = list(skipgram.batches(ids))
    sizes = [len(targets) for targets, *_ in batches]
    assert len(batches) == math.ceil(len(ids) / skipgram.SIZE) and max(sizes) - min(sizes) <= 1
    return map(torch.cat, zip(*batches))


def test_no_pair_leaves_a_passage_nor_holds_a_word_with_itself():
    """And the radius is random, the same to the left and to the right."""
    words = torch.arange(1, 20_001)  # so rare that subsampling keeps them all
    targets, contexts, is_context, _ = epoch(words.view(2000, 10))
    assert not targets.equal(words) and targets.sort().values.equal(words)
    found = Counter((contexts - targets[:, None])[is_context].tolist())
    distances = [d for d in range(-5, 6) if d != 0]
    expected = {d: 2000 * (10 - abs(d)) * (6 - abs(d)) / 5 for d in distances}
    assert found == pytest.approx(expected, rel=0.06)


def test_subsampling_keeps_what_the_formula_says_anew_in_each_epoch():
    passages = torch.arange(1, 20_001).view(4000, 5)
    passages[:, 2] = 20_001  # a fifth of the words
    targets, contexts, *_ = epoch(passages)
    again, *_ = epoch(passages)
    kept = (targets == 20_001).sum().item()
    assert kept == pytest.approx(4000 * math.sqrt(0.001 / 0.2), abs=50)
    assert kept != (again == 20_001).sum()
    before = targets % 5 == 2
    after = contexts[before, 5]  # the next word, be it the frequent one or the one after it
    assert (after == targets[before] + 2).sum() == 4000 - kept


def test_noise_follows_the_unigram_to_the_three_quarters():
    counts = torch.tensor([0, 80_000, 15_000, 5000])
    *_, noise = epoch(torch.arange(4).repeat_interleave(counts).view(-1, 10))
    found, expected = noise.bincount() / len(noise), counts**0.75 / (counts**0.75).sum()
    assert found[0] == 0 and found.tolist() == pytest.approx(expected.tolist(), abs=0.01)


def test_the_sum_of_the_losses_descends_at_a_rate_that_falls_linearly_to_zero():
    model = torch.nn.Linear(1, 1, bias=False)  # train uses of a model its call and its weights
    torch.nn.init.zeros_(model.weight)
    skipgram.train(model, [[torch.ones(3, 1)]] * 4, 4)
    assert model.weight.item() == pytest.approx(-3 * 0.025 * (1 + 0.75 + 0.5 + 0.25))


def test_it_learns_and_its_vectors_are_written_for_other_programs(tmp_path, capsys, monkeypatch):
    """From a text of colours and of numbers, without a word in common."""
    rng, text, drawn = random.Random(0), tmp_path / "text.txt", []
    kinds = ["red green blue".split(), "one two three".split()]
    text.write_text("".join(" ".join(rng.choices(kinds[i % 2], k=9)) + ".\n" for i in range(900)))
    monkeypatch.setattr(skipgram, "evaluate", lambda vectors, n: n)
    monkeypatch.setattr(skipgram, "draw", drawn.append)
    run = skipgram.main(text, ("red", "one", "none"), epochs=60)
    near = r"red -> (blue green|green blue) .*\none -> (two three|three two) .*\n"
    near += "none -> <unknown>\nanalogies: accuracy 1.000, accuracy@5 5.000\n"
    assert re.fullmatch(near, capsys.readouterr().out)
    assert [run["accuracy_at_1"], run["accuracy_at_5"]] == [1, 5]
    assert all(weight.grad.is_sparse for weight in run["model"].parameters())
    monkeypatch.setattr(skipgram, "main", lambda epochs: run)
    monkeypatch.chdir(tmp_path)
    exec(recipe("The text format of word2vec"), {})
    header, *rows = [line.split() for line in open("vectors.txt", encoding="utf-8")]
    assert header == ["6", "100"]
    written = {word: torch.tensor([*map(float, numbers)]) for word, *numbers in rows}
    torch.testing.assert_close(written, drawn[0])


def test_a_text_with_too_few_words_is_refused(tmp_path):
    (tmp_path / "one.txt").write_text("\n\n".join("two words " + "x" * i for i in range(99)))
    with pytest.raises(ValueError, match="one.txt: too few words that occur five times"):
        skipgram.main(tmp_path / "one.txt")


def test_analogies_by_hand():
    rows = torch.tensor([[1, 1], [2, 0], [0, 2], [1, 0], [0, 0]])
    vectors = dict(zip(["row", "rows", "column", "columns", "the"], rows))
    assert skipgram.evaluate(vectors, 1) == 1  # of three analogies with known words
    vectors["the"], vectors["columns"] = vectors["columns"], vectors["the"]
    assert skipgram.evaluate(vectors, 1) < 1 == skipgram.evaluate(vectors, 5)
    assert math.isnan(skipgram.evaluate({"row": vectors["row"]}, 1))


@pytest.mark.parametrize("known", [True, False])
def test_the_map_has_a_colour_for_each_line_and_no_label_upon_another(known, tmp_path, monkeypatch):
    monkeypatch.setattr(skipgram, "__file__", str(tmp_path / "skipgram.py"))
    lines = (HERE / "map.txt").read_text().splitlines()
    (tmp_path / "map.txt").write_text("\n".join(lines))
    groups = [line.split() for line in lines] if known else [[f"word{i}" for i in range(40)]]
    words = sum(groups, [])
    torch.manual_seed(0)
    vectors = 5 + torch.rand(len(words), 9) * torch.tensor([9, 3, *[0.01] * 7])
    skipgram.draw(dict(zip([*words, "rare"], [*vectors, vectors[0]])))
    assert (tmp_path / "skipgram.png").stat().st_size > 5000
    ax = plt.gca()
    legend = [label.get_text() for label in ax.get_legend().get_texts()]
    assert legend == [f"{group[0]}, ..." for group in groups]
    assert len({tuple(dots.get_facecolor()[0]) for dots in ax.collections}) == len(groups)
    assert [label.get_text().strip() for label in ax.texts] == words
    places = [label.get_position() for label in ax.texts]
    assert places == [tuple(place) for dots in ax.collections for place in dots.get_offsets()]
    boxes = [label.get_window_extent() for label in ax.texts]
    assert not any(box.count_overlaps(boxes[:i]) for i, box in enumerate(boxes))
    for component, axis in zip(vectors.T, torch.tensor(places).T):
        assert torch.stack([component, axis]).corrcoef()[0, 1].abs() > 0.9
