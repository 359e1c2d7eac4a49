"""The logistic regressor against autograd, scikit-learn, the book and its own claims."""

import math
import re

import logistic
import matplotlib.pyplot as plt
import pytest
import torch
from logistic import evaluate, loss_and_gradient, make_points, train
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
    """Its one step of gradient descent."""
    w, b, losses = train(torch.tensor([[3.0, 2.0]]), torch.ones(1), steps=1, lr=0.1)
    assert [*w.tolist(), b.item()] == pytest.approx([0.15, 0.1, 0.05])
    assert losses == pytest.approx([math.log(2)])  # before the step


def test_ten_seeds_are_as_good_as_possible_and_no_better(monkeypatch):
    monkeypatch.setattr(logistic, "draw", lambda *_: None)
    results = [logistic.main(seed=seed) for seed in range(10)]
    mean, best = sum(r["test_accuracy"] for r in results) / 10, results[0]["bayes_accuracy"]
    assert best == pytest.approx(0.9331928, abs=1e-6)  # the normal distribution function at 1.5
    assert abs(mean - best) < 2 * (best * (1 - best) / 5000) ** 0.5


@pytest.mark.parametrize("distance, spread, lr", [(3.0, 1.0, 5.0), (2.0, 1.5, 1.0)])
def test_many_points_teach_the_optimum(distance, spread, lr, monkeypatch, capsys):
    """The weights that main prints, and its Bayes-optimal accuracy."""
    monkeypatch.setattr(logistic, "draw", lambda *_: None)
    best = logistic.main(distance, spread, steps=1)["bayes_accuracy"]
    line = re.search("optimal weights.*", capsys.readouterr().out)[0]
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", line)]
    X, y = make_points(100_000, distance, spread, 0)
    w, b, _ = train(X, y, steps=300, lr=lr)
    assert printed == pytest.approx([*w.tolist(), b.item()], rel=0.03)
    assert best == pytest.approx(evaluate(X, y, w, b)[1], abs=0.004)  # three standard errors


@pytest.mark.parametrize("bias", [True, False])
def test_every_option_does_its_thing(bias, tmp_path, monkeypatch):
    """And the first half of the points is for training, the second evaluated and drawn."""
    monkeypatch.setattr(logistic, "__file__", str(tmp_path / "logistic.py"))  # for the figure
    result = logistic.main(distance=2.0, spread=1.5, bias=bias, steps=50, lr=0.2, seed=3)
    X, y = make_points(1000, 2.0, 1.5, 3)
    assert not torch.equal(X, make_points(1000, 2.0, 1.5, 0)[0])
    w, b, losses = train(X[:500], y[:500], 50, 0.2, bias)
    assert torch.equal(result["w"], w) and torch.equal(result["b"], b) and (b != 0) == bias
    expected = evaluate(X[500:], y[500:], w, b)
    assert (result["test_loss"], result["test_accuracy"]) == expected
    left, right = plt.gcf().axes
    for label, cloud in enumerate(left.collections[:2]):
        assert torch.equal(torch.tensor(cloud.get_offsets()).float(), X[500:][y[500:] == label])
    assert right.lines[0].get_ydata().tolist() == losses
