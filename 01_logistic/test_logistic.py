"""The logistic regressor against autograd, scikit-learn, pencil and paper, and its own claims."""

import math
import runpy

import logistic
import pytest
import torch
from logistic import evaluate, loss_and_gradient, make_points, sigmoid, train
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import binary_cross_entropy_with_logits


def example(samples=400, spread=1.0):
    X, y, _ = make_points(samples, 3.0, spread, seed=3)
    return torch.cat(X).double(), torch.cat(y).double()


def test_the_gradient_is_that_of_autograd_and_of_finite_differences():
    X, y = example(31)
    w = torch.tensor([0.3, -1.2], dtype=torch.double, requires_grad=True)
    b = torch.tensor(0.7, dtype=torch.double, requires_grad=True)
    loss, dw, db = loss_and_gradient(X, y, w.detach(), b.detach())
    reference = binary_cross_entropy_with_logits(X @ w + b, y)
    reference.backward()
    torch.testing.assert_close((loss, dw, db), (reference.detach(), w.grad, b.grad))
    h, w, b = 1e-6, w.detach(), b.detach()
    steps = [torch.tensor([h, 0.0]), torch.tensor([0.0, h])]
    slopes = [
        (loss_and_gradient(X, y, w + s, b)[0] - loss_and_gradient(X, y, w - s, b)[0]) / (2 * h)
        for s in steps
    ]
    torch.testing.assert_close(torch.stack(slopes), dw, rtol=1e-4, atol=1e-7)
    slope = (loss_and_gradient(X, y, w, b + h)[0] - loss_and_gradient(X, y, w, b - h)[0]) / (2 * h)
    torch.testing.assert_close(slope, db, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("score", [1e4, -1e4, 89.0, -89.0, 0.0])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_loss_is_right_at_any_score(score, label):
    X, y, one = torch.tensor([[score, 0.0]]), torch.tensor([label]), torch.tensor([1.0, 0.0])
    loss, dw, db = loss_and_gradient(X, y, one, torch.tensor(0.0))
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(X[:, 0], y))
    assert torch.isfinite(dw).all() and torch.isfinite(db)


def test_trained_to_the_end_it_is_scikit_learn():
    X, y = example()
    w, b, losses = train(X, y, True, 6000, 0.5)
    reference = LogisticRegression(C=math.inf, tol=1e-10, max_iter=1000).fit(X, y)
    torch.testing.assert_close(w, torch.tensor(reference.coef_[0]), rtol=1e-3, atol=1e-3)
    assert b.item() == pytest.approx(reference.intercept_[0], rel=1e-3)
    assert losses[0] == pytest.approx(math.log(2)) and losses[-1] < losses[0] / 2


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
    w, b, _ = train(x, y, True, 1, 0.1)
    assert [*w.tolist(), b.item()] == pytest.approx([0.15, 0.1, 0.05])


def test_without_bias_the_boundary_passes_through_the_origin():
    X, y = example()
    w, b, _ = train(X, y, False, 500, 0.5)
    assert b == 0 and w.norm() > 0.1  # so w.x + b = 0 at x = 0
    with_bias = evaluate(X, y, *train(X, y, True, 500, 0.5)[:2])[1]
    assert evaluate(X, y, w, b)[1] < with_bias - 0.05
    X -= X.mean(0)  # a best boundary through the origin needs no bias
    assert evaluate(X, y, *train(X, y, False, 500, 0.5)[:2])[1] > 0.9


def test_the_clouds_are_where_they_should_be():
    X, y = example(200_000, spread=2.0)
    for label, sign in ((0, -1.5), (1, 1.5)):
        centre = torch.tensor([2 + sign * 0.6, 1 + sign * 0.8]).double()
        torch.testing.assert_close(X[y == label].mean(0), centre, rtol=0, atol=0.02)
        assert X[y == label].std(0).tolist() == pytest.approx([2, 2], abs=0.02)
    w, b = (t.double() for t in make_points(4, 3.0, 2.0, 0)[2])  # of the true probability,
    _, dw, db = loss_and_gradient(X, y, w, b)  # where the slope is 0 but for chance
    assert [*dw, db] == pytest.approx([0, 0, 0], abs=5e-3)


def test_ten_seeds_are_as_good_as_possible_and_no_better(tmp_path, monkeypatch):
    monkeypatch.setattr(logistic, "draw", lambda *_: None)
    results = [logistic.main(seed=seed, figure=tmp_path / "a.png") for seed in range(10)]
    mean, best = sum(r["test_accuracy"] for r in results) / 10, results[0]["bayes_accuracy"]
    assert best == pytest.approx(0.9331928, abs=1e-6)  # Phi(1.5)
    assert abs(mean - best) < 2 * (best * (1 - best) / 5000) ** 0.5
    assert all(0.12 < r["test_loss"] < 0.24 for r in results)


def test_every_setting_does_its_thing(tmp_path, monkeypatch):
    monkeypatch.setattr(logistic, "draw", lambda *_: None)

    def run(**settings):
        return logistic.main(**{"steps": 300, "figure": tmp_path / "a.png", **settings})

    default = run()
    assert run() | {"seconds": 0} == default | {"seconds": 0}  # twice the same
    assert run(distance=6.0)["test_accuracy"] > default["test_accuracy"] + 0.05
    assert run(spread=3.0)["test_accuracy"] < default["test_accuracy"] - 0.15
    assert run(lr=0.01)["train_loss"] > default["train_loss"] + 0.1
    assert run(steps=3)["train_loss"] > default["train_loss"] + 0.1
    assert run(bias=False)["test_accuracy"] < default["test_accuracy"] - 0.05
    assert run(seed=1)["test_loss"] != default["test_loss"]


BAD = ["--samples 3", "--samples 1", "--samples -9", "--steps 0", "--lr -1", "--device nosuch"]
BAD += ["--distance 0", "--spread 0", "--spread nan", "--figure no/such/a.png", "--figure a.txt"]


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_sentence(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["logistic.py", "--figure", "a.png", *options.split()])
    with pytest.raises(SystemExit) as refused:  # with a text: standard error and status 1
        runpy.run_path(logistic.__file__, run_name="__main__")
    assert refused.value.code.startswith("logistic.py: ") and "\n" not in refused.value.code
    assert not list(tmp_path.iterdir())


def test_a_folder_without_permission_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda folder, mode: folder != tmp_path)
    monkeypatch.setattr(logistic, "train", None)
    with pytest.raises(ValueError, match="in a writable folder"):
        logistic.main(figure=tmp_path / "a.png")
