"""The logistic regressor against autograd, scikit-learn, the book and its own claims."""

import math
import re

import logistic
import matplotlib.pyplot as plt
import pytest
import torch
from logistic import evaluate, loss_and_gradient, make_points, sigmoid, train
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import binary_cross_entropy_with_logits


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_loss_and_gradient_are_those_of_autograd(size):
    X, y = make_points(31, 3.0, 1.0, seed=3)
    X *= size  # large scores, whose powers are infinite
    w = torch.tensor([0.3, -1.2], requires_grad=True)
    b = torch.tensor(0.7, requires_grad=True)
    reference = binary_cross_entropy_with_logits(X @ w + b, y.float())
    reference.backward()
    found = loss_and_gradient(X, y, w.detach(), b.detach())
    torch.testing.assert_close(found, (reference.detach(), w.grad, b.grad))


def test_trained_to_the_end_it_is_scikit_learn():
    X, y = make_points(400, 3.0, 1.0, seed=3)
    w, b, losses = train(X, y, 6000, 0.5)
    reference = LogisticRegression(C=math.inf, tol=1e-10, max_iter=1000).fit(X, y)
    assert w.tolist() == pytest.approx(reference.coef_[0], rel=2e-3)
    assert b.item() == pytest.approx(reference.intercept_[0], rel=2e-3)
    loss, accuracy = evaluate(X, y, w, b)
    assert accuracy == pytest.approx(reference.score(X, y)) and loss == pytest.approx(losses[-1])


def test_the_book_by_hand():
    """The sentiment example of the book: sigmoid(0.833) = 0.70, and its one step of descent."""
    x = torch.tensor([[3, 2, 1, 3, 0, 4.19]])
    w, b = torch.tensor([2.5, -5.0, -1.2, 0.5, 2.0, 0.7]), torch.tensor(0.1)
    assert sigmoid(x @ w + b).item() == pytest.approx(0.697, abs=5e-4)
    assert loss_and_gradient(x, torch.ones(1), w, b)[0].item() == pytest.approx(0.361, abs=5e-4)
    w, b, losses = train(torch.tensor([[3.0, 2.0]]), torch.ones(1), steps=1, lr=0.1)
    assert [*w.tolist(), b.item()] == pytest.approx([0.15, 0.1, 0.05])
    assert losses == pytest.approx([math.log(2)])  # before the step


@pytest.fixture
def run(monkeypatch):
    """main without its figure."""
    monkeypatch.setattr(logistic, "draw", lambda *_: None)
    return logistic.main


def test_ten_seeds_are_as_good_as_possible_and_no_better(run):
    results = [run(seed=seed) for seed in range(10)]
    mean, best = sum(r["test_accuracy"] for r in results) / 10, results[0]["bayes_accuracy"]
    assert best == pytest.approx(0.9331928, abs=1e-6)  # the normal distribution function at 1.5
    assert abs(mean - best) < 2 * (best * (1 - best) / 5000) ** 0.5


@pytest.mark.parametrize("distance, spread, lr", [(3.0, 1.0, 5.0), (2.0, 1.5, 1.0)])
def test_the_optimum_that_is_printed_is_what_many_points_teach(distance, spread, lr, run, capsys):
    run(distance=distance, spread=spread, steps=1)
    line = re.search("optimal weights.*", capsys.readouterr().out)[0]
    w, b, _ = train(*make_points(100_000, distance, spread, 0), steps=300, lr=lr)
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", line)]
    assert printed == pytest.approx([*w.tolist(), b.item()], rel=0.03)


def test_every_option_does_its_thing(run):
    default = run(steps=300)
    assert run(steps=300, distance=6.0)["test_accuracy"] > default["test_accuracy"] + 0.05
    assert run(steps=300, spread=3.0)["test_accuracy"] < default["test_accuracy"] - 0.15
    assert run(steps=300, lr=0.01)["test_loss"] > default["test_loss"] + 0.1
    assert run(steps=3)["test_loss"] > default["test_loss"] + 0.1
    assert run(steps=300, seed=1)["test_loss"] != default["test_loss"]
    assert run(steps=300, bias=False)["b"] == 0


def test_the_first_half_is_for_training_and_the_second_evaluated_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(logistic, "__file__", str(tmp_path / "logistic.py"))  # for the figure
    result = logistic.main(steps=50)
    X, y = make_points(1000, 3.0, 1.0, 0)
    w, b, losses = train(X[:500], y[:500], 50, 0.5)
    assert torch.equal(result["w"], w) and torch.equal(result["b"], b)
    expected = evaluate(X[500:], y[500:], w, b)
    assert (result["test_loss"], result["test_accuracy"]) == expected
    left, right = plt.gcf().axes
    for label, cloud in enumerate(left.collections[:2]):
        assert torch.equal(torch.tensor(cloud.get_offsets()).float(), X[500:][y[500:] == label])
    assert right.lines[0].get_ydata().tolist() == losses
