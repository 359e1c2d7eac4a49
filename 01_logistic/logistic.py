"""Logistic regression (Cox, 1958) with nothing but tensors: chapter 5 of Jurafsky and Martin.

Two clouds of points are told apart; held out, 0.916 are right. Run: python logistic.py
Left out: autograd, torch.nn, optimisers. Shapes: X (B, 2) for B points, y (B,), w (2,), b ().
"""

# /// script
# dependencies = ["torch==2.13.0", "matplotlib==3.11.2", "tyro==1.0.17"]
# ///
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro


# %% data
def make_points(samples, distance, spread, seed):
    """Points X and classes y, each as (train, test), and the (w, b) of the true P(y = 1 | x)."""
    middle, apart = torch.tensor([2.0, 1.0]), distance * torch.tensor([0.6, 0.8])  # of length 1
    y = (torch.arange(samples) % 2).float()
    noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed))
    X = middle + (y - 0.5)[:, None] * apart + spread * noise  # (N, 1) * (2,) is broadcast
    w = apart / spread**2  # the logarithm of P(x | 1) / P(x | 0) is w x - w middle
    return X.chunk(2), y.chunk(2), (w, -w @ middle)


# %% model
def sigmoid(z):
    """1 / (1 + e^-z): any score becomes a probability (a very negative one is 1 / inf = 0)."""
    return 1 / (1 + torch.exp(-z))


def loss_and_gradient(X, y, w, b):
    """Mean of -y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)), its derivatives by w (2,), b ()."""
    z = X @ w + b  # (B,): the scalar b is broadcast to every point
    losses = z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))  # the same, without log(0)
    error = sigmoid(z) - y
    return losses.mean(), error @ X / len(X), error.mean()


# %% evaluation
def evaluate(X, y, w, b):
    """Mean cross-entropy in nats; accuracy: y = 1 is foretold where P > 1/2, which is z > 0."""
    return loss_and_gradient(X, y, w, b)[0].item(), ((X @ w + b > 0) == y).float().mean().item()


# %% training
def train(X, y, bias, steps, lr):
    """Gradient descent from zero: w (2,), b () and the loss before each step."""
    w, b, losses = X.new_zeros(2), X.new_zeros(()), []
    for _ in range(steps):
        loss, dw, db = loss_and_gradient(X, y, w, b)
        w, b = w - lr * dw, b - lr * db * bias  # without a bias b stays 0
        losses.append(loss.item())
    return w.cpu(), b.cpu(), losses


# %% picture
def draw(X, y, learned, best, losses, title, path):
    """Test points over the probability of class 1, both boundaries (w, b), and the loss curve."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    sides = [torch.linspace(min(0, x.min()) - 0.3, max(0, x.max()) + 0.3, 200) for x in X.T]
    x1, x2 = torch.meshgrid(*sides, indexing="xy")  # the origin is always in view
    shades, target = (sigmoid(w[0] * x1 + w[1] * x2 + b) for w, b in (learned, best))
    fig.colorbar(left.pcolormesh(x1, x2, shades, vmin=0, vmax=1), label="probability of class 1")
    left.contour(x1, x2, shades, [0.5], colors="red")
    left.contour(x1, x2, target, [0.5], colors="red", linestyles="dashed")
    left.scatter(*X.T, s=16, c=y, cmap="binary", ec="black")
    left.plot(0, 0, "rP", ms=9)
    left.set(title=title, xlabel="white 0, black 1; solid: learned, dashed: best; +: origin")
    right.semilogx(range(1, len(losses) + 1), losses)
    right.set(title=f"Train loss ends at {losses[-1]:.3f}", xlabel="step", ylabel="nats")
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
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to tell two clouds of points apart.
    Args:
        samples: points; the second half is the test
        distance: between the centres of the classes
        spread: standard deviation of each cloud
        bias: without it the boundary passes through the origin
        steps: of gradient descent
        lr: learning rate
        seed: rules the points
        device: auto (the accelerator, if there is one), cpu, cuda, mps or xpu
        figure: where the picture goes, a .png, .pdf or .svg"""
    start = time.perf_counter()
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if samples < 4 or steps < 1 or not all(0 < x < 1e6 for x in (distance, spread, lr)):
        raise ValueError("--samples from 4, --steps from 1, --distance, --spread, --lr above 0")
    if not os.access(figure.parent, os.W_OK) or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot save {figure}: name a .png, .pdf or .svg in a writable folder")
    (X, X_test), (y, y_test), best = make_points(samples, distance, spread, seed)
    device = found if device == "auto" else device
    w, b, losses = train(X.to(device), y.to(device), bias, steps, lr)
    train_loss, train_accuracy = evaluate(X, y, w, b)
    test_loss, accuracy = evaluate(X_test, y_test, w, b)
    bayes = torch.special.ndtr(torch.tensor(distance / spread / 2)).item()  # Phi
    print("learned direction", w / w.norm(), "and the best", best[0] / best[0].norm())
    print(f"train loss {train_loss:.3f}, accuracy {train_accuracy:.3f}")
    print(f"test  loss {test_loss:.3f}, accuracy {accuracy:.3f}; best possible {bayes:.3f}")
    draw(X_test, y_test, (w, b), best, losses, f"{accuracy:.1%} right, at best {bayes:.1%}", figure)
    seconds = time.perf_counter() - start
    print(f"{seconds:.1f} s, figure in {figure}")
    result = dict(test_accuracy=accuracy, bayes_accuracy=bayes, train_loss=train_loss)
    return result | dict(test_loss=test_loss, seconds=seconds)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        raise SystemExit(f"logistic.py: {str(error) or 'interrupted, nothing was saved'}")
