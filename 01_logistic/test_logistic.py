"""The logistic regressor against autograd, scikit-learn, the book and its own claims."""

import math
import runpy

import logistic
import pytest
import torch
from logistic import evaluate, loss_and_gradient, make_points, sigmoid, train
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import binary_cross_entropy_with_logits


def example(samples=400, spread=1.0):
    X, y = make_points(samples, 3.0, spread, seed=3)
    return X.double(), y.double()


def test_the_gradient_is_that_of_autograd_and_of_finite_differences():
    X, y = example(31)
    w = torch.tensor([0.3, -1.2], dtype=torch.double, requires_grad=True)
    b = torch.tensor(0.7, dtype=torch.double, requires_grad=True)
    loss, dw, db = loss_and_gradient(X, y, w.detach(), b.detach())
    reference = binary_cross_entropy_with_logits(X @ w + b, y)
    reference.backward()
    torch.testing.assert_close((loss, dw, db), (reference.detach(), w.grad, b.grad))
    w, b, h = w.detach(), b.detach(), 1e-6

    def slope(dw, db):
        above = loss_and_gradient(X, y, w + h * dw, b + h * db)[0]
        below = loss_and_gradient(X, y, w - h * dw, b - h * db)[0]
        return ((above - below) / (2 * h)).item()

    first, second = torch.eye(2, dtype=torch.double)
    slopes = [slope(first, 0), slope(second, 0), slope(0, 1)]
    assert slopes == pytest.approx([*dw.tolist(), db.item()], rel=1e-4)


@pytest.mark.parametrize("score", [1e4, -1e4, 89.0, -89.0, 0.0])
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
    torch.testing.assert_close(w, torch.tensor(reference.coef_[0]), rtol=1e-3, atol=1e-3)
    assert b.item() == pytest.approx(reference.intercept_[0], rel=1e-3)
    assert len(losses) == 6000 and losses[0] == pytest.approx(math.log(2))
    assert losses[-1] < losses[0] / 2
    loss, accuracy = evaluate(X, y, w, b)
    assert accuracy == pytest.approx(reference.score(X, y)) and loss == pytest.approx(losses[-1])


def test_the_book_by_hand():
    """The sentiment example of the book: sigmoid(0.833) = 0.70, and its one step of descent."""
    x = torch.tensor([[3, 2, 1, 3, 0, 4.19]])
    w, b = torch.tensor([2.5, -5.0, -1.2, 0.5, 2.0, 0.7]), torch.tensor(0.1)
    assert (x @ w + b).item() == pytest.approx(0.833, abs=1e-3)
    assert sigmoid(x @ w + b).item() == pytest.approx(0.70, abs=5e-3)
    assert loss_and_gradient(x, torch.ones(1), w, b)[0].item() == pytest.approx(0.36, abs=5e-3)
    assert loss_and_gradient(x, torch.zeros(1), w, b)[0].item() == pytest.approx(1.2, abs=1e-2)
    x, y = torch.tensor([[3.0, 2.0]]), torch.ones(1)
    _, dw, db = loss_and_gradient(x, y, torch.zeros(2), torch.tensor(0.0))
    assert [*dw.tolist(), db.item()] == [-1.5, -1.0, -0.5]
    w, b, _ = train(x, y, steps=1, lr=0.1)
    assert [*w.tolist(), b.item()] == pytest.approx([0.15, 0.1, 0.05])


def test_without_bias_the_boundary_passes_through_the_origin():
    X, y = example()
    w, b, _ = train(X, y, 500, 0.5, bias=False)
    assert b == 0 and w.norm() > 0.1  # so w.x + b = 0 at x = 0
    with_bias = evaluate(X, y, *train(X, y, 500, 0.5)[:2])[1]
    assert evaluate(X, y, w, b)[1] < with_bias - 0.05
    X -= X.mean(0)  # a best boundary through the origin needs no bias
    assert evaluate(X, y, *train(X, y, 500, 0.5, bias=False)[:2])[1] > 0.9


def test_the_clouds_are_where_they_should_be():
    X, y = example(200_000, spread=2.0)
    assert y.mean() == 0.5
    for label, sign in ((0, -1.5), (1, 1.5)):
        centre = torch.tensor([2 + sign * 0.6, 1 + sign * 0.8]).double()
        torch.testing.assert_close(X[y == label].mean(0), centre, rtol=0, atol=0.02)
        assert X[y == label].std(0).tolist() == pytest.approx([2, 2], abs=0.02)
    assert make_points(4, 3.0, 2.0, 0)[0].tolist() == make_points(4, 3.0, 2.0, 0)[0].tolist()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """main without its figure."""
    monkeypatch.setattr(logistic, "draw", lambda *_: None)
    return lambda **options: logistic.main(**{"figure": tmp_path / "a.png", **options})


def test_ten_seeds_are_as_good_as_possible_and_no_better(run):
    results = [run(seed=seed) for seed in range(10)]
    mean, best = sum(r["test_accuracy"] for r in results) / 10, results[0]["bayes_accuracy"]
    assert best == pytest.approx(0.9331928, abs=1e-6)  # the normal distribution function at 1.5
    assert abs(mean - best) < 2 * (best * (1 - best) / 5000) ** 0.5
    assert all(0.12 < r["test_loss"] < 0.24 for r in results)


def test_the_accuracy_is_that_of_the_second_half_which_is_not_trained_on(run, monkeypatch):
    seen = []

    def spy(X, y, steps, lr, bias):
        seen.append(X.cpu())
        return train(X, y, steps, lr, bias)

    monkeypatch.setattr(logistic, "train", spy)
    result = run(device="cpu")
    X, y = make_points(1000, 3.0, 1.0, 0)
    assert torch.equal(seen[0], X[:500])
    loss, accuracy = evaluate(X[500:], y[500:], result["w"], result["b"])
    assert (loss, accuracy) == (result["test_loss"], result["test_accuracy"])


def test_every_option_does_its_thing(run, capsys):
    default, printed = run(steps=300), capsys.readouterr().out
    assert torch.equal(run(steps=300)["w"], default["w"])
    assert capsys.readouterr().out == printed and printed.count("\n") == 3
    assert run(steps=300, distance=6.0)["test_accuracy"] > default["test_accuracy"] + 0.05
    assert run(steps=300, spread=3.0)["test_accuracy"] < default["test_accuracy"] - 0.15
    assert run(steps=300, lr=0.01)["test_loss"] > default["test_loss"] + 0.1
    assert run(steps=3)["test_loss"] > default["test_loss"] + 0.1
    assert run(steps=300, bias=False)["test_accuracy"] < default["test_accuracy"] - 0.05
    assert run(steps=300, seed=1)["test_loss"] != default["test_loss"]
    assert run(steps=300, samples=20)["test_loss"] != default["test_loss"]


@pytest.mark.parametrize("figure", ["no/such/a.png", "a.txt"])
def test_a_figure_that_cannot_be_written_is_one_sentence_after_the_results(
    figure, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["logistic.py", "--steps", "3", "--figure", figure])
    with pytest.raises(SystemExit) as refused:  # with a text: standard error and status 1
        runpy.run_path(logistic.__file__, run_name="__main__")
    assert refused.value.code.startswith("logistic.py: ") and "\n" not in refused.value.code
    assert "accuracy" in capsys.readouterr().out and not list(tmp_path.iterdir())
