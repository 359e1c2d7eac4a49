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


def example(samples=400, spread=1.0):
    X, y = make_points(samples, 3.0, spread, seed=3)
    return X, y.float()


def test_the_gradient_is_that_of_autograd():
    X, y = example(31)
    w = torch.tensor([0.3, -1.2], requires_grad=True)
    b = torch.tensor(0.7, requires_grad=True)
    loss, dw, db = loss_and_gradient(X, y, w.detach(), b.detach())
    reference = binary_cross_entropy_with_logits(X @ w + b, y)
    reference.backward()
    torch.testing.assert_close((loss, dw, db), (reference.detach(), w.grad, b.grad))


@pytest.mark.parametrize("score", [1e4, -1e4, 89.0, -89.0])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_loss_is_right_at_any_score(score, label):
    X, y, one = torch.tensor([[score, 0.0]]), torch.tensor([label]), torch.tensor([1.0, 0.0])
    loss, dw, db = loss_and_gradient(X, y, one, torch.tensor(0.0))
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(X[:, 0], y))
    assert torch.isfinite(dw).all() and torch.isfinite(db)


def test_trained_to_the_end_it_is_scikit_learn():
    X, y = example()
    w, b, losses = train(X, y, 6000, 0.5)
    reference = LogisticRegression(C=math.inf, tol=1e-10, max_iter=1000).fit(X, y)
    assert w.tolist() == pytest.approx(reference.coef_[0], rel=2e-3)
    assert b.item() == pytest.approx(reference.intercept_[0], rel=2e-3)
    loss, accuracy = evaluate(X, y, w, b)
    assert accuracy == pytest.approx(reference.score(X, y)) and loss == pytest.approx(losses[-1])
    assert losses[0] == pytest.approx(math.log(2)) and len(losses) == 6000


def test_the_book_by_hand():
    """The sentiment example of the book: sigmoid(0.833) = 0.70, and its one step of descent."""
    x = torch.tensor([[3, 2, 1, 3, 0, 4.19]])
    w, b = torch.tensor([2.5, -5.0, -1.2, 0.5, 2.0, 0.7]), torch.tensor(0.1)
    assert sigmoid(x @ w + b).item() == pytest.approx(0.697, abs=5e-4)
    assert loss_and_gradient(x, torch.ones(1), w, b)[0].item() == pytest.approx(0.361, abs=5e-4)
    assert loss_and_gradient(x, torch.zeros(1), w, b)[0].item() == pytest.approx(1.194, abs=5e-4)
    w, b, _ = train(torch.tensor([[3.0, 2.0]]), torch.ones(1), steps=1, lr=0.1)
    assert [*w.tolist(), b.item()] == pytest.approx([0.15, 0.1, 0.05])


def test_the_clouds_are_where_they_should_be():
    X, y = example(200_000, spread=2.0)
    assert y.mean() == 0.5
    for label, sign in ((0, -1.5), (1, 1.5)):
        centre = [2 + sign * 0.6, 1 + sign * 0.8]
        assert X[y == label].mean(0).tolist() == pytest.approx(centre, abs=0.02)
        assert X[y == label].std(0).tolist() == pytest.approx([2, 2], abs=0.02)


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
    assert all(0.12 < r["test_loss"] < 0.24 for r in results)


def test_the_second_half_is_evaluated_and_the_first_trained_on(run):
    result = run(steps=50)
    X, y = make_points(1000, 3.0, 1.0, 0)
    w, b, _ = train(X[:500], y[:500], 50, 0.5)
    assert torch.equal(result["w"], w) and torch.equal(result["b"], b)
    expected = evaluate(X[500:], y[500:], w, b)
    assert (result["test_loss"], result["test_accuracy"]) == expected


@pytest.mark.parametrize("distance, spread, lr", [(3.0, 1.0, 5.0), (2.0, 1.5, 1.0)])
def test_the_optimum_that_is_printed_is_what_many_points_teach(distance, spread, lr, run, capsys):
    run(distance=distance, spread=spread, steps=1)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "optimal weights" in line)
    w, b, _ = train(*make_points(100_000, distance, spread, 0), steps=300, lr=lr)
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", line)]
    assert printed == pytest.approx([*w.tolist(), b.item()], rel=0.03)


def test_every_option_does_its_thing(run):
    default = run(steps=300)
    assert torch.equal(run(steps=300)["w"], default["w"])
    assert run(steps=300, distance=6.0)["test_accuracy"] > default["test_accuracy"] + 0.05
    assert run(steps=300, spread=3.0)["test_accuracy"] < default["test_accuracy"] - 0.15
    assert run(steps=300, lr=0.01)["test_loss"] > default["test_loss"] + 0.1
    assert run(steps=3)["test_loss"] > default["test_loss"] + 0.1
    assert run(steps=300, seed=1)["test_loss"] != default["test_loss"]
    without = run(steps=300, bias=False)
    assert without["b"] == 0 and 0.7 < without["test_accuracy"] < default["test_accuracy"] - 0.05


def test_the_figure_stands_beside_the_file_and_tells_the_classes_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(logistic, "__file__", str(tmp_path / "logistic.py"))
    logistic.main(steps=100)
    assert (tmp_path / "logistic.png").exists()
    left, right = plt.gcf().axes
    X, y = make_points(1000, 3.0, 1.0, 0)
    for label, cloud in enumerate(left.collections[:2]):
        assert torch.equal(torch.tensor(cloud.get_offsets()).float(), X[500:][y[500:] == label])
    assert right.lines[0].get_ydata()[0] == pytest.approx(math.log(2))
