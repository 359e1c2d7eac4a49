"""Skip-gram against the equations of the paper; its text, windows, training and analogies."""

import math
import random
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import skipgram
import torch
from scipy.stats import chisquare
from torch.nn.functional import normalize

HERE = Path(skipgram.__file__).parent


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A text of colours and of numbers, without a word in common. The figure goes beside it."""
    draw, path = random.Random(0), tmp_path / "t.txt"
    kinds = ["red green blue".split(), "one two three".split()]
    path.write_text("".join(" ".join(draw.choices(kinds[i % 2], k=9)) + ".\n" for i in range(900)))
    for name in "analogies.txt", "map.txt":
        (tmp_path / name).write_bytes((HERE / name).read_bytes())
    monkeypatch.setattr(skipgram, "__file__", str(tmp_path / "skipgram.py"))
    return path


def recipe(heading):
    """The code of a section of the README."""
    section = (HERE / "README.md").read_text("utf-8").split(f"# {heading}\n")[1]
    return re.search("```python\n(.*?)```", section, re.S)[1]


def negative_sampling(w, c, C, noise):
    """Equation (4), for one pair."""
    against = sum(torch.log(1 / (1 + torch.exp(C[n] @ w))) for n in noise) / len(noise)
    return -torch.log(1 / (1 + torch.exp(-c @ w))) - 5 * against


def softmax(w, c, C, noise):
    """Equation (2), for one pair."""
    return -torch.log(torch.exp(c @ w) / torch.exp(C @ w).sum())


@pytest.mark.parametrize("equation", [negative_sampling, softmax])
def test_loss_and_gradients_equal_a_loop_over_pairs(equation):
    names = {}
    exec(recipe("The softmax of 2013"), names)
    Model = skipgram.SkipGram if equation is negative_sampling else names["Softmax"]
    torch.manual_seed(1)
    model = Model(9, 4).double()
    W, C = (torch.nn.init.normal_(matrix) for matrix in model.parameters())
    targets, noise = torch.tensor([4, 1, 4]), torch.tensor([3, 1, 3, 0, 5])
    contexts, is_context = torch.randint(9, (3, 6)), torch.rand(3, 6) < 0.5
    pairs = [(W[targets[b]], C[contexts[b, j]]) for b, j in is_context.nonzero()]
    expected = torch.stack([equation(w, c, C, noise) for w, c in pairs])
    losses, gradients = model(targets, contexts, is_context, noise), []
    torch.testing.assert_close(losses, expected)
    for loss in losses.sum(), expected.sum():
        gradients.append([g.to_dense() for g in torch.autograd.grad(loss, (W, C))])
    torch.testing.assert_close(*gradients)


def test_no_pair_leaves_a_passage_nor_holds_a_word_with_itself():
    ids = torch.arange(2000)  # so rare that subsampling keeps them all
    targets, seen = [], set()
    for words, contexts, is_context, _ in skipgram.batches(ids, ids // 7, window=3):
        targets += words.tolist()
        seen |= {(words[b].item(), contexts[b, j].item()) for b, j in is_context.nonzero()}
    assert targets != sorted(targets) == ids.tolist()
    assert all(a != b and a // 7 == b // 7 and abs(a - b) <= 3 for a, b in seen)
    adjacent = {(a, a + 1) for a in range(1999) if (a + 1) % 7}
    assert adjacent | {(b, a) for a, b in adjacent} <= seen


def test_a_window_has_a_random_radius_on_both_sides():
    torch.manual_seed(0)
    ids = torch.arange(20_000)
    words, contexts, is_context, _ = zip(*skipgram.batches(ids, torch.zeros_like(ids)))
    distances = (torch.cat(contexts) - torch.cat(words)[:, None])[torch.cat(is_context)]
    drawn = {d: (distances == d).sum().item() for d in range(-6, 7)}
    assert drawn[-6] == drawn[0] == drawn[6] == 0 and drawn[-1] == drawn[1] == 19_999
    for d in 2, 3, 4, 5:  # the radius is 1 to 5, and reaches as far to the left as to the right
        assert drawn[d] / 20_000 == pytest.approx((6 - d) / 5, abs=0.02)
        assert abs(drawn[d] - drawn[-d]) <= d


def test_subsampling_keeps_what_the_formula_says_anew_in_each_epoch():
    torch.manual_seed(0)
    ids, kept = torch.arange(20_000), []
    ids[::10] = 0  # a tenth of the text
    for _ in range(2):
        epoch = list(skipgram.batches(ids, torch.zeros_like(ids)))
        sizes = [len(words) for words, *_ in epoch]
        assert len(epoch) == math.ceil(20_000 / skipgram.SIZE) and max(sizes) - min(sizes) <= 1
        words, contexts, *_ = map(torch.cat, zip(*epoch))
        assert (words > 0).sum() == 18_000
        kept.append((words == 0).sum().item())
        after = contexts[words % 10 == 9, 5]  # a zero, or what follows the zero that was dropped
        assert (after % 10 == 1).sum() > 1500
    assert kept[0] != kept[1] and kept == pytest.approx([200, 200], abs=45)  # sqrt(0.001 / 0.1)


def test_noise_follows_the_unigram_to_the_three_quarters():
    torch.manual_seed(0)
    ids = torch.arange(3).repeat_interleave(torch.tensor([80_000, 15_000, 5000]))
    noise = torch.stack([noise for *_, noise in skipgram.batches(ids, ids)])
    expected = ids.bincount() ** 0.75
    expected *= noise.numel() / expected.sum()
    assert noise.size(1) == 64
    assert chisquare(noise.flatten().bincount(), expected, sum_check=False).pvalue > 0.01


def test_the_sum_of_the_losses_descends_at_a_rate_that_falls_linearly_to_zero():
    model = torch.nn.Linear(1, 1, bias=False)  # train uses of a model its call and its weights
    torch.nn.init.zeros_(model.weight)
    skipgram.train(model, [[torch.ones(3, 1)]] * 4, 4)
    assert model.weight.item() == pytest.approx(-3 * 0.025 * (1 + 0.75 + 0.5 + 0.25))


def test_a_passage_that_repeats_counts_once():
    """In other case, with other white space, or with its accents as characters of their own."""
    once = "El niño come." + " niño" * 4 + "\n\nLa" + " la" * 4 + ", canta" * 6 + "."
    again = "\n\nEL  NIN\u0303O\u00a0come" + "\u2028niño" * 4 + "\n \n" + "la " * 5 + "canta!" * 6
    vocabulary, ids, passages = skipgram.encode(once + again)
    assert vocabulary == {"canta": 0, "niño": 1, "la": 2}
    assert ids.tolist() == [1] * 5 + [2] * 5 + [0] * 6 and passages.tolist() == [0] * 5 + [1] * 11


def test_words_are_letters_with_their_marks_and_han_characters():
    vocabulary, *_ = skipgram.encode("किताब क्\u200dष don't 3 x_1 读书！ 读ça ÇA; " * 5)
    assert set(vocabulary) == {"किताब", "क्\u200dष", "don", "t", "x", "读", "书", "ça"}


def test_it_learns_and_its_vectors_are_written_for_other_programs(text, capsys, monkeypatch):
    run = skipgram.main(text, ("RED", "none"), epochs=60)
    printed = capsys.readouterr().out
    example = set(
        re.match("example: (.*) has the contexts (.*)\n", printed).expand(r"\1 \2").split()
    )
    assert example <= {"red", "green", "blue"} or example <= {"one", "two", "three"}
    assert re.search("\nred -> (blue green|green blue) .*\nnone -> unknown word\n", printed)
    assert "accuracy nan" in printed and text.with_name("skipgram.png").stat().st_size > 5000
    assert all(weight.grad.is_sparse for weight in run["model"].parameters())
    monkeypatch.setattr(skipgram, "main", lambda epochs: run)
    monkeypatch.chdir(text.parent)
    exec(recipe("The text format of word2vec"), {})
    header, *rows = [row.split() for row in open("vectors.txt", encoding="utf-8")]
    assert header == ["6", "100"] and [row.pop(0) for row in rows] == list(run["vocabulary"])
    written = torch.tensor([[*map(float, row)] for row in rows])
    torch.testing.assert_close(written, normalize(run["model"].W.weight.detach()))


def test_two_runs_learn_the_same(text):
    one, two = (skipgram.main(text, epochs=1)["model"].W.weight for _ in range(2))
    assert one.equal(two)


def test_analogies_by_hand():
    rows = torch.tensor([[1.0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0.5, 0]])
    vectors = dict(zip(["row", "rows", "column", "columns", "the"], normalize(rows)))
    vector = vectors["rows"] - vectors["row"] + vectors["column"]
    assert skipgram.nearest(vector, vectors, ["row", "rows", "column"]) == ["columns", "the"]
    # three questions of the list have known words
    assert skipgram.evaluate(vectors, 1) == 1
    vectors["the"], vectors["columns"] = vectors["columns"], vectors["the"]
    assert skipgram.evaluate(vectors, 1) < 1 == skipgram.evaluate(vectors, 5)
    assert math.isnan(skipgram.evaluate({"row": rows[0]}, 1))


@pytest.mark.parametrize("known", [True, False])
def test_the_map_has_a_colour_for_each_line_and_no_label_upon_another(text, known):
    torch.manual_seed(0)
    groups = [line.split() for line in (HERE / "map.txt").read_text().splitlines()]
    if not known:
        groups = [[f"word{i}" for i in range(40)]]
    words = sum(groups, [])
    skipgram.draw({word: 1 + 0.001 * torch.rand(9) for word in [*words, "rare"]})
    ax = plt.gca()
    names = [f"{group[0]}, ..." for group in groups]
    assert [label.get_text() for label in ax.get_legend().get_texts()] == names
    assert len({tuple(dots.get_facecolor()[0]) for dots in ax.collections}) == len(groups)
    assert [label.get_text().strip() for label in ax.texts] == words
    places = [tuple(place) for dots in ax.collections for place in dots.get_offsets()]
    assert places == [label.get_position() for label in ax.texts]
    boxes = [label.get_window_extent() for label in ax.texts]
    assert not any(box.count_overlaps(boxes[:i]) for i, box in enumerate(boxes))


@pytest.mark.parametrize("words", ["", "the cat sleeps.", "two words " * 9])
def test_a_text_with_too_few_words_is_refused(words, tmp_path):
    (tmp_path / "one.txt").write_text(words)
    with pytest.raises(ValueError, match="one.txt: too few words that occur five times"):
        skipgram.main(tmp_path / "one.txt")
