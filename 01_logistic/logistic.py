"""Logistic regression (Cox, 1958) with nothing but tensors: chapter 5 of Jurafsky and Martin.

Task: tell two clouds of points apart; held out, 0.916 are right and 0.933 is the most possible.
Left out: autograd, torch.nn and optimisers (see 02_softmax_mnist). Run: python logistic.py
Shapes: B points with 2 features each; X (B, 2), y (B,) of zeros and ones, w (2,), b ().
"""

# /// script
# dependencies = ["torch==2.13.0", "matplotlib==3.11.2", "tqdm==4.70.1", "tyro==1.0.17"]
# ///
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from tqdm import tqdm


# %% data
def make_points(samples, middle, apart, spread, seed):
    """X (samples, 2) and y (samples,): a normal cloud per class, around middle -+ apart / 2."""
    y = (torch.arange(samples) % 2).float()
    noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed))
    return middle + (y - 0.5)[:, None] * apart + spread * noise, y


# %% model
def sigmoid(z):
    """1 / (1 + e^-z): any score becomes a probability (a very negative one is 1 / inf = 0)."""
    return 1 / (1 + torch.exp(-z))


def loss_and_gradient(X, y, w, b):
    """Mean binary cross-entropy in nats, and its derivatives with respect to w (2,) and b ()."""
    z = X @ w + b  # (B,): the scalar b is broadcast to every point
    # -y log(sigmoid(z)) - (1 - y) log(1 - sigmoid(z)), rewritten so that no log(0) can appear
    loss = z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))
    error = sigmoid(z) - y
    return loss.mean(), error @ X / len(X), error.mean()


# %% evaluation
def evaluate(X, y, w, b):
    """Mean cross-entropy in nats, accuracy."""
    return loss_and_gradient(X, y, w, b)[0].item(), ((X @ w + b > 0) == y).float().mean().item()


# %% training
def train(X, y, bias, steps, lr):
    """Gradient descent from zero: w (2,), b () and the loss before each step."""
    w, b, losses = X.new_zeros(2), X.new_zeros(()), []
    for step in tqdm(range(steps), disable=None):
        loss, dw, db = loss_and_gradient(X, y, w, b)
        w, b = w - lr * dw, b - lr * db * bias  # without a bias b stays 0
        losses.append(loss.item())
        if step % (steps // 5 + 1) == 0:
            tqdm.write(f"step {step:4d}: train loss {loss:.4f}")
    return w.cpu(), b.cpu(), losses


# %% picture
def draw(X, y, learned, best, losses, title, path):
    """Test points over the probability of class 1, both boundaries (w, b), and the loss curve."""
    fig, (ax, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    sides = [torch.linspace(min(0, x.min()) - 0.3, max(0, x.max()) + 0.3, 200) for x in X.T]
    x1, x2 = torch.meshgrid(*sides, indexing="xy")  # the origin is always in view
    shades, target = (sigmoid(w[0] * x1 + w[1] * x2 + b) for w, b in (learned, best))
    fig.colorbar(ax.pcolormesh(x1, x2, shades, vmin=0, vmax=1), label="probability of class 1")
    ax.contour(x1, x2, shades, [0.5], colors="red")
    ax.contour(x1, x2, target, [0.5], colors="red", linestyles="dashed")
    ax.scatter(*X.T, s=16, c=y, cmap="binary", ec="black")
    ax.plot(0, 0, "rP", ms=9)
    ax.set(title=title, xlabel="white 0, black 1; solid: learned, dashed: best boundary; +: origin")
    right.semilogx(range(1, len(losses) + 1), losses)
    right.set(title=f"Train loss falls to {losses[-1]:.3f} nats", xlabel="step")
    fig.savefig(path, dpi=150)


# %% main
def main(
    samples: int = 1000,
    distance: float = 3.0,
    spread: float = 1.0,
    middle: tuple[float, float] = (2.0, 1.0),
    bias: bool = True,
    steps: int = 1000,
    lr: float = 0.5,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to tell two clouds of points apart, on half of --samples; the rest is the test.
    The centres are --distance apart, --middle is half-way, --spread the standard deviation;
    --no-bias makes the boundary pass through the origin; --lr is the learning rate.
    """
    start = time.perf_counter()
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if samples < 4 or steps < 1 or not all(0 < x < 1e6 for x in (distance, spread, lr)):
        raise ValueError("--samples starts at 4; --steps, --distance, --spread and --lr above 0")
    if not figure.parent.is_dir() or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot save {figure}: name a .png, .pdf or .svg in a folder that exists")
    device = found if device == "auto" else torch.device(device)
    middle, apart = torch.tensor(middle), distance * torch.tensor([0.6, 0.8])
    points = make_points(samples, middle, apart, spread, seed)
    (X, X_test), (y, y_test) = (t.chunk(2) for t in points)
    w, b, losses = train(X.to(device), y.to(device), bias, steps, lr)
    train_loss, train_accuracy = evaluate(X, y, w, b)
    loss, accuracy = evaluate(X_test, y_test, w, b)
    bayes = torch.special.ndtr(torch.tensor(distance / spread / 2)).item()  # the normal's Phi
    best = apart / spread**2, -apart @ middle / spread**2  # (w, b) of the true probability
    for name, (v, c) in (("learned", (w, b)), ("best", best)):
        print(f"{name:8}direction {(v / v.norm()).numpy().round(3)}, |w| {v.norm():.2f}, b {c:.2f}")
    print(f"train loss {train_loss:.3f}, accuracy {train_accuracy:.3f}")
    print(f"test  loss {loss:.3f}, accuracy {accuracy:.3f}; best possible {bayes:.3f}")
    draw(X_test, y_test, (w, b), best, losses, f"{accuracy:.1%} right, at best {bayes:.1%}", figure)
    seconds = time.perf_counter() - start
    print(f"{seconds:.1f} s, figure in {figure}")
    scores = dict(test_accuracy=accuracy, bayes_accuracy=bayes, train_loss=train_loss)
    return scores | dict(test_loss=loss, seconds=seconds)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        sys.exit(f"logistic.py: {str(error) or 'interrupted, nothing was saved'}")
