"""Skip-gram against the equations of the paper; its text, windows, training and analogies."""

import random
import re
from pathlib import Path

import pytest
import skipgram
import torch
from scipy.stats import chisquare
from torch.nn import functional as F

HERE = Path(skipgram.__file__).parent


@pytest.fixture
def text(tmp_path):
    """Lines of colours and lines of numbers, without a word in common."""
    draw, path = random.Random(0), tmp_path / "t.txt"
    kinds = ["red green blue".split(), "one two three".split()]
    path.write_text("".join(" ".join(draw.choices(kinds[i % 2], k=9)) + ".\n" for i in range(900)))
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
    # a word comes thrice; the weights differ, so that no pair can take another one's place
    words, near = torch.tensor([[4, 1, 4, 8], [0, 4, 2, 1]]), torch.rand(2, 4, 4).double()
    noise = torch.tensor([3, 1, 3])
    expected = torch.zeros_like(near)
    for b, t, c in near.nonzero().tolist():
        expected[b, t, c] = near[b, t, c] * equation(W[words[b, t]], C[words[b, c]], C, noise)
    losses, gradients = model(words, near, noise), []
    torch.testing.assert_close(losses, expected)
    for loss in losses.sum(), expected.sum():
        gradients.append([g.to_dense() for g in torch.autograd.grad(loss, (W, C))])
    torch.testing.assert_close(*gradients)


def test_the_sum_of_the_losses_descends_at_a_rate_that_falls_linearly_to_zero(capsys):
    model = torch.nn.Linear(1, 1, bias=False)  # train uses of a model its call and its weights
    torch.nn.init.zeros_(model.weight)
    losses, batch = model.forward, (torch.ones(3, 1), torch.ones(6), None)
    model.forward = lambda words, near, noise: losses(words)
    skipgram.train(model, ([batch] * 2 for _ in range(2)), 4, lr=1.0)
    assert model.weight.item() == pytest.approx(-3 * (1 + 0.75 + 0.5 + 0.25))
    printed = capsys.readouterr().out  # the last loss is 3 * -6.75, divided by the 6 of near
    assert printed.endswith("\nstep 4 of 4: loss -3.375\n")


def test_no_pair_leaves_a_passage_nor_holds_a_word_with_itself():
    words, seen = torch.arange(2048).view(-1, 128), []
    epoch = list(skipgram.batches(words, words // 7, torch.ones(2048), window=3))
    order = torch.cat([chunks for chunks, *_ in epoch])
    assert not order.equal(words) and order.sort(0).values.equal(words)
    for chunks, near, _ in epoch:
        seen += [(chunks[b, t].item(), chunks[b, c].item()) for b, t, c in near.nonzero()]
    assert all(a != b and a // 7 == b // 7 and abs(a - b) <= 3 for a, b in seen)
    inside = {(a, a + 1) for a in range(2047) if (a + 1) % 7 and (a + 1) % 128}
    assert inside | {(b, a) for a, b in inside} <= set(seen)


def test_the_weight_of_a_pair_is_the_probability_that_a_random_window_reaches_it():
    words, counts = torch.zeros(1, 128).long(), torch.ones(1)
    ((_, near, _),) = skipgram.batches(words, words, counts)
    drawn = torch.randint(1, 6, (100_000, 1)) >= torch.arange(9)  # of 1, 2, 3, 4 or 5 words
    expected = drawn.float().mean(0)
    expected[0] = 0  # not itself
    torch.testing.assert_close(near[0, 20, 20:29], expected, atol=0.01, rtol=0)


def test_subsampling_keeps_what_the_formula_says_in_the_order_of_the_text():
    torch.manual_seed(0)
    ids = torch.arange(20_000)
    ids[::10] = 0  # a tenth of the text
    words, passages = skipgram.subsample(ids, torch.arange(20_000), ids.bincount())
    assert (
        words.shape[1] == 128 and ids[passages].equal(words) and passages.flatten().diff().min() > 0
    )
    assert 18_000 - 128 < (words > 0).sum() <= 18_000  # less than a chunk is lost at the end
    assert (words == 0).sum() / 2000 == pytest.approx((1e-3 / 0.1) ** 0.5, abs=0.03)


def test_noise_follows_the_unigram_to_the_three_quarters():
    torch.manual_seed(0)
    counts = torch.tensor([80_000.0, 15_000, 5000])
    words, drawn = torch.zeros(800, 128).long(), torch.zeros(3)
    for _, _, noise in skipgram.batches(words, words, counts):
        assert len(noise) == 64
        drawn += noise.bincount(minlength=3)
    expected = counts**0.75 / (counts**0.75).sum()
    assert chisquare(drawn, expected * drawn.sum(), sum_check=False).pvalue > 0.01


def test_a_passage_that_repeats_counts_once():
    """In other case, with other white space, or with its accents as characters of their own."""
    once = "El niño come.\n\nLa niña canta,\ncanta."
    again = "\n\nEL  NIN\u0303O\u00a0come\u2028\n \nla niña canta canta!\n\n"
    index, ids, passage = skipgram.encode(once + again, 1)
    assert list(index) == ["canta", "el", "niño", "come", "la", "niña"]
    assert ids.tolist() == [1, 2, 3, 4, 5, 0, 0] and passage.tolist() == [0] * 3 + [1] * 4


def test_words_are_letters_with_their_marks_and_han_characters():
    index, *_ = skipgram.encode("किताब क्\u200dष don't 3 x_1 读书！\n读ça ÇA", 1)
    assert set(index) == {"किताब", "क्\u200dष", "don", "t", "x", "读", "书", "ça"}


def test_it_learns_and_its_vectors_are_written_for_other_programs(text, capsys, monkeypatch):
    run = skipgram.main(text, ("RED", "none"), epochs=150, figure=text.with_name("f.png"))
    unit, index = run["unit"], run["index"]
    assert unit.equal(F.normalize(run["model"].W.weight))
    assert set(skipgram.nearest(unit, index, "one", "one", "one")[:2]) == {"two", "three"}
    assert all(weight.grad.is_sparse for weight in run["model"].parameters())
    printed = capsys.readouterr().out
    assert re.search("red -> (blue green|green blue) .*\nnone -> unknown word", printed)
    losses = [float(loss) for loss in re.findall("loss (.*)", printed)]
    assert len(losses) == 20 and 6 * 0.6932 > losses[0]  # log 2 six times
    assert 2.3 > losses[-1] > 1.9  # 2.09 is the least that a model of these groups can have
    assert text.with_name("f.png").stat().st_size > 5000
    monkeypatch.setattr(skipgram, "main", lambda epochs: run)
    monkeypatch.chdir(text.parent)
    exec(recipe("The text format of word2vec"), {})
    header, *rows = [row.split() for row in open("vectors.txt", encoding="utf-8")]
    assert header == ["6", "100"] and [row.pop(0) for row in rows] == list(index)
    torch.testing.assert_close(torch.tensor([[*map(float, row)] for row in rows]), unit)


def test_two_runs_print_the_same_numbers(text, capsys):
    runs = []
    for _ in range(2):
        unit = skipgram.main(text, epochs=2, figure=text.with_name("f.png"))["unit"]
        runs.append((unit.tolist(), capsys.readouterr().out))
    assert runs[0] == runs[1]


def test_analogies_by_hand():
    index = {w: i for i, w in enumerate(["row", "rows", "column", "columns", "the"])}
    unit = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0.5, 0]]))
    assert skipgram.nearest(unit, index, "row", "rows", "column") == ["columns", "the"]
    assert skipgram.nearest(unit, index, "row", "rows", "cat") == []
    # the three questions of the list that know these words
    known = ["row rows column columns", "column columns row rows", "rows columns row column"]
    lines = (HERE / "analogies.txt").read_text().splitlines()
    assert len(lines) == 69 and set(known) <= set(lines)
    assert skipgram.evaluate(unit, index) == (3 / 69, 3 / 69)
    index |= {"columns": 4, "the": 3}  # now the right answer comes second
    assert skipgram.evaluate(unit, index)[0] < 3 / 69 == skipgram.evaluate(unit, index)[1]


@pytest.mark.parametrize("words", ["word " * 20_000, "two words " * 9])
def test_a_text_with_too_few_words_is_refused_in_one_sentence(words, tmp_path):
    (tmp_path / "one.txt").write_text(words)
    with pytest.raises(ValueError, match="one.txt: too few words; more text or a lower --min"):
        skipgram.main(tmp_path / "one.txt", figure=tmp_path / "f.png")
