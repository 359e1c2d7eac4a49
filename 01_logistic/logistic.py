"""Logistic regression (Cox, 1958), written out as in chapter 5 of Jurafsky and Martin.

It learns to tell two clouds of points apart, without autograd. Run: python logistic.py
Result: test accuracy 0.916; the Bayes-optimal accuracy is 0.933 and chance 0.5.
Shapes: N points X (N, 2), their labels y (N,) of 0 or 1, weights w (2,), bias b ()."""

from pathlib import Path
from statistics import NormalDist

import matplotlib.pyplot as plt
import torch
import tyro

# Where the middle of the two clouds is; from class 0 to class 1, a vector of length 1
MIDDLE, DIRECTION = torch.tensor([2.0, 1.0]), torch.tensor([0.6, 0.8])


# %% data
def make_points(samples, distance, spread, seed):
    """Two Gaussian clouds with centres at this distance: X (N, 2) and y (N,)."""
    y = torch.arange(samples) % 2  # 0, 1, 0, 1...
    centres = MIDDLE + (y[:, None] - 0.5) * distance * DIRECTION  # (N, 1) * (2,): (N, 2)
    noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed))
    return centres + spread * noise, y


# %% model
def sigmoid(z):
    """1 / (1 + e^-z): a score of any size becomes a probability."""
    return 1 / (1 + torch.exp(-z))


def loss_and_gradient(X, y, w, b):
    """Mean cross-entropy in nats, and its derivatives with respect to w (2,) and b ()."""
    z = X @ w + b  # (N,): a score for each point
    # -y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)) is log(e^0 + e^z) - y z, without log(0)
    losses = torch.logaddexp(torch.zeros_like(z), z) - y * z
    # d loss / dz is e^z / (1 + e^z) - y; by the chain rule, dz / dw is x and dz / db is 1
    error = sigmoid(z) - y  # (N,)
    dw = error @ X / len(X)  # (2,)
    db = error.mean()
    return losses.mean(), dw, db


# %% evaluation
def evaluate(X, y, w, b):
    """Mean cross-entropy in nats, and accuracy."""
    loss, _, _ = loss_and_gradient(X, y, w, b)
    predicted = X @ w + b > 0  # class 1 where its probability is above 1/2
    return loss.item(), (predicted == y).float().mean().item()


# %% training
def train(X, y, steps, lr, bias=True):
    """Gradient descent with all the points in each step: w, b and the loss before each step."""
    w, b, losses = torch.zeros(2), torch.tensor(0.0), []
    for _ in range(steps):
        loss, dw, db = loss_and_gradient(X, y, w, b)
        w = w - lr * dw
        if bias:
            b = b - lr * db
        losses.append(loss.item())
    return w, b, losses


# %% figure
def draw(X, y, w, b, losses):
    """The test set over P, the predicted probability of class 1, and the training loss."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.scatter(*X[y == 0].T, s=16, marker="o", color="navy")
    left.scatter(*X[y == 1].T, s=16, marker="^", color="darkred")
    x1, x2 = torch.linspace(*left.get_xlim(), 200), torch.linspace(*left.get_ylim(), 200)
    P = sigmoid(w[0] * x1 + w[1] * x2[:, None] + b)  # (200, 200): x2 in rows, x1 in columns
    left.pcolormesh(x1, x2, P, cmap="RdBu_r", vmin=-1, vmax=2, zorder=0)  # light colours
    left.clabel(left.contour(x1, x2, P, [0.1, 0.5, 0.9], colors="black"), fmt="P = %.1f")
    left.set(title="Test set: circles are class 0, triangles class 1", xlabel="x1", ylabel="x2")
    right.semilogx(range(1, len(losses) + 1), losses)
    right.set(title="Training loss", xlabel="step", ylabel="cross-entropy (nats)")
    path = Path(__file__).with_suffix(".png")
    fig.savefig(path, dpi=150)
    print(f"figure in {path}")


# %% main
def main(
    distance: float = 3.0,
    spread: float = 1.0,
    bias: bool = True,
    steps: int = 1000,
    lr: float = 0.5,
    seed: int = 0,
):
    """Learns to tell two clouds of points apart.
    Args:
        distance: between the centres of the two clouds
        spread: standard deviation of each cloud
        bias: without it the boundary passes through the origin
        steps: number of steps of gradient descent
        lr: learning rate
        seed: of the random points"""
    X, y = make_points(1000, distance, spread, seed)
    (X, X_test), (y, y_test) = X.chunk(2), y.chunk(2)
    w, b, losses = train(X, y, steps, lr, bias)
    loss, accuracy = evaluate(X_test, y_test, w, b)  # standard error of the accuracy: 0.011
    bayes = NormalDist().cdf(distance / spread / 2)  # no classifier can expect more
    best = distance / spread**2 * DIRECTION  # weights that give the true P(class 1 | x)
    print(f"learned weights ({w[0]:.2f}, {w[1]:.2f}) and bias {b:.2f}")
    print(f"optimal weights ({best[0]:.2f}, {best[1]:.2f}) and bias {-best @ MIDDLE:.2f}")
    print(f"test loss {loss:.3f}, accuracy {accuracy:.3f}; Bayes-optimal accuracy {bayes:.3f}")
    draw(X_test, y_test, w, b, losses)
    return dict(test_accuracy=accuracy, bayes_accuracy=bayes, test_loss=loss, w=w, b=b)


if __name__ == "__main__":
    result = tyro.cli(main)
