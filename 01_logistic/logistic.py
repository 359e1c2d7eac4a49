"""Logistic regression (Cox, 1958), written out as in chapter 5 of Jurafsky and Martin.

It learns to tell two clouds of points apart, without autograd. Run: python logistic.py
Result: test accuracy 0.916; the Bayes-optimal accuracy is 0.933 and chance 0.5.
Shapes: N points X (N, 2), their labels y (N,) of 0 or 1, weights w (2,), bias b ()."""

from pathlib import Path
from statistics import NormalDist

import matplotlib.pyplot as plt
import torch
import tyro


# %% data
def make_points(samples, distance, spread, seed):
    """Two Gaussian clouds with centres at this distance: X (N, 2) and y (N,)."""
    middle, direction = torch.tensor([2.0, 1.0]), torch.tensor([0.6, 0.8])  # (2,) each
    y = torch.arange(samples) % 2  # 0, 1, 0, 1...
    noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed))
    side = y[:, None] - 0.5  # (N, 1), broadcast with direction (2,), which has length 1
    return middle + side * distance * direction + spread * noise, y


# %% model
def sigmoid(z):
    """1 / (1 + e^-z): a score of any size becomes a probability."""
    return 1 / (1 + torch.exp(-z))


def loss_and_gradient(X, y, w, b):
    """Mean cross-entropy in nats, and its derivatives with respect to w (2,) and b ()."""
    z = X @ w + b  # (N,): a score for each point
    # -y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)) is log(e^0 + e^z) - y z, without log(0)
    losses = torch.logaddexp(torch.zeros_like(z), z) - y * z
    error = sigmoid(z) - y  # (N,): the derivative of each loss with respect to its score
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
    w, b, losses = X.new_zeros(X.shape[1]), X.new_zeros(()), []
    for _ in range(steps):
        loss, dw, db = loss_and_gradient(X, y, w, b)
        w = w - lr * dw
        b = b - lr * db * bias  # without a bias, b stays 0
        losses.append(loss.item())
    return w.cpu(), b.cpu(), losses


# %% figure
def draw(X, y, w, b, losses, path):
    """Points over the predicted probability of class 1, and the training loss."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    left.scatter(*X.T, s=16, c=y, cmap="binary", edgecolor="black")
    x1, x2 = torch.linspace(*left.get_xlim(), 200), torch.linspace(*left.get_ylim(), 200)
    P = sigmoid(w[0] * x1 + w[1] * x2[:, None] + b)  # (200, 200): x2 in rows, x1 in columns
    fig.colorbar(left.pcolormesh(x1, x2, P, vmin=0, vmax=1, zorder=0), label="P(class 1)")
    left.contour(x1, x2, P, [0.5], colors="red")  # the boundary, where the score is 0
    left.set(title="Test set: class 0 in white, class 1 in black", xlabel="x1", ylabel="x2")
    right.semilogx(range(1, len(losses) + 1), losses)
    right.set(title="Training loss", xlabel="step", ylabel="cross-entropy (nats)")
    fig.savefig(path, dpi=150)


# %% main
def main(
    samples: int = 1000,
    distance: float = 3.0,
    spread: float = 1.0,
    bias: bool = True,
    steps: int = 1000,
    lr: float = 0.5,
    seed: int = 0,
    device: str | None = None,
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to tell two clouds of points apart.
    Args:
        samples: number of points; the second half is the test set
        distance: between the centres of the two clouds
        spread: standard deviation of each cloud
        bias: without it the boundary passes through the origin
        steps: number of steps of gradient descent
        lr: learning rate
        seed: of the random points
        device: cpu, cuda, mps...; by default the accelerator, if there is one
        figure: where the figure is saved"""
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    X, y = make_points(samples, distance, spread, seed)
    (X, X_test), (y, y_test) = X.chunk(2), y.chunk(2)
    w, b, losses = train(X.to(device), y.to(device), steps, lr, bias)
    loss, accuracy = evaluate(X_test, y_test, w, b)
    bayes = NormalDist().cdf(distance / spread / 2)  # no classifier can expect more
    print(f"weights ({w[0]:.2f}, {w[1]:.2f}), bias {b:.2f}, training loss {losses[-1]:.3f}")
    print(f"test loss {loss:.3f}, accuracy {accuracy:.3f}; Bayes-optimal accuracy {bayes:.3f}")
    draw(X_test, y_test, w, b, losses, figure)
    print(f"figure in {figure}")
    return dict(test_accuracy=accuracy, bayes_accuracy=bayes, test_loss=loss, w=w, b=b)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"logistic.py: {error}")
