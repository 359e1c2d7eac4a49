"""The softmax regressor against PyTorch and scikit-learn; its files whole, broken and missing."""

import functools
import gzip
import hashlib
import runpy
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import softmax
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

softmax.mnist_data = functools.cache(softmax.mnist_data)  # two seconds each time


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_loss_and_gradient_are_those_of_pytorch(size):
    scores = size * torch.randn(7, 10, dtype=torch.double)
    y, a, b = torch.arange(7) % 4, scores.clone().requires_grad_(), scores.clone().requires_grad_()
    ours, reference = softmax.cross_entropy(a, y), cross_entropy(b, y)
    ours.backward(), reference.backward()
    torch.testing.assert_close((ours, a.grad), (reference, b.grad))


def test_by_hand():
    scores, y = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2])
    assert softmax.cross_entropy(scores, y).item() == pytest.approx(0.4076, abs=1e-4)


def test_training_is_adam_on_every_image_once_an_epoch():
    X, y, expected = torch.rand(250, 784).double(), torch.arange(250) % 10, []
    model, reference = torch.nn.Linear(784, 10).double(), torch.nn.Linear(784, 10).double()
    reference.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    losses = softmax.train(model, X, y, epochs=2)
    adam = torch.optim.Adam(reference.parameters(), lr=0.002)
    torch.manual_seed(0)
    for rows in (*torch.randperm(250).split(100), *torch.randperm(250).split(100)):
        loss = cross_entropy(reference(X[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected)
    torch.testing.assert_close(model.weight, reference.weight)


def test_the_bundled_digits_against_scikit_learn(tmp_path):
    result = softmax.main(offline=True, figure=tmp_path / "a.png")
    X, y, X_test, y_test = softmax.load(None, offline=True)
    reference = LogisticRegression(max_iter=1000).fit(X, y)
    assert 0.905 <= result["test_accuracy"] < 0.93 and round(result["baseline_accuracy"], 3) == 0.1
    assert abs(result["test_accuracy"] - reference.score(X_test, y_test)) <= 0.015
    assert (X.shape, X_test.shape, X.dtype) == ((4000, 784), (1000, 784), torch.float)
    assert (X.min(), X.max()) == (0, 1) and len(torch.cat([X, X_test]).unique(dim=0)) == 5000
    assert (y_test.bincount() == 100).all() and (y.bincount() == 400).all()
    assert softmax.evaluate(result["model"], X_test, y_test)[1] == result["test_accuracy"]
    assert (tmp_path / "a.png").stat().st_size > 50_000


def test_the_seed_rules_all(tmp_path, capsys):
    for seed in (0, 0, 1):
        softmax.main(offline=True, epochs=1, seed=seed, figure=tmp_path / "a.png")
    first, second, third = capsys.readouterr().out.split("test loss")[1:]
    assert first == second != third


# The endings of the names of the originals, of unpacked ones and of those that Kaggle has.
ENDS = ["-idx{}-ubyte.gz", "-idx{}-ubyte", ".idx{}-ubyte"]


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + sizes + bytes(array.flatten().tolist())


def small_mnist(folder, end=ENDS[0], pack=gzip.compress):
    images = torch.randint(256, (24, 28, 28))
    for name, part in (("train", images[:13]), ("t10k", images[13:])):
        labels = torch.arange(len(part)).flip(0) % 10
        (folder / f"{name}-images{end.format(3)}").write_bytes(pack(idx(part)))
        (folder / f"{name}-labels{end.format(1)}").write_bytes(pack(idx(labels)))
    return images.flatten(1) / 255


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_mnist_is_read_by_the_beginnings_of_its_names(end, pack, tmp_path):
    images = small_mnist(tmp_path, end, pack)
    (tmp_path / "train-images-idx3").mkdir()  # some archives hold a folder for each file
    X, y, X_test, y_test = softmax.load(tmp_path, offline=True)  # which forbids only downloads
    assert torch.equal(X, images[:13]) and torch.equal(X_test, images[13:])
    assert y.tolist() == [2, 1, 0, *range(9, -1, -1)] and y_test.tolist() == [0, *range(9, -1, -1)]


WHOLE = idx(torch.zeros(13, 28, 28, dtype=torch.int))
BROKEN = [None, b"", b"\0\0\x08", WHOLE[:-1], WHOLE + b"x", WHOLE[: 16 + 784], b"<html>404</html>"]
BROKEN += [gzip.compress(WHOLE)[:-9], b"\x1f\x8bnonsense", WHOLE[: 16 + 13 * 14 * 14]]


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("part", ["train", "t10k"])
def test_a_broken_or_missing_file_is_named_in_one_sentence(part, content, tmp_path, monkeypatch):
    small_mnist(tmp_path)
    path = next(tmp_path.glob(f"{part}-images*"))
    path.write_bytes(content) if content is not None else path.unlink()
    monkeypatch.setattr("sys.argv", ["softmax.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match=rf"^softmax.py: cannot read .*{part}-images.*$"):
        runpy.run_path(softmax.__file__, run_name="__main__")


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_labels_above_nine_are_refused(part, tmp_path):
    small_mnist(tmp_path)
    next(tmp_path.glob(f"{part}-labels*")).write_bytes(idx(torch.arange(11)))
    with pytest.raises(ValueError, match="the labels in .* are not the digits 0 to 9"):
        softmax.load(tmp_path, offline=False)


@pytest.fixture
def site(monkeypatch):
    """A web server at site.url, which answers what site.do_GET does."""

    class Site(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    Site.url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(softmax, "FILES", {"a.gz": hashlib.sha256(b"right").hexdigest()[:8]})
    yield Site
    server.shutdown()
    socket.setdefaulttimeout(None)


def answer(body, size=5, status=200):
    def reply(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


FAILURES = {"404": answer(b"right", status=404), "altered": answer(b"wrong"), "cut": answer(b"r")}
FAILURES["silent"] = lambda handler: threading.Event().wait(0.5)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_download_leaves_nothing(failure, site, tmp_path, monkeypatch, capsys):
    timeout, asked = socket.setdefaulttimeout, []
    monkeypatch.setattr(socket, "setdefaulttimeout", lambda s: [asked.append(s), timeout(0.1)])
    site.do_GET = FAILURES[failure]
    assert not softmax.download(tmp_path / "data", site.url) and asked == [10]
    assert capsys.readouterr().out.startswith("MNIST cannot be downloaded (")
    assert not list((tmp_path / "data").iterdir())
    site.do_GET = answer(b"right")
    assert softmax.download(tmp_path / "data", site.url)
    site.do_GET = FAILURES[failure]  # is not asked again
    assert softmax.download(tmp_path / "data", site.url)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a.gz"]


def test_without_a_network_the_bundled_digits_and_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(softmax.download, "__defaults__", ("http://127.0.0.1:9/",))
    monkeypatch.setattr(softmax, "__file__", str(tmp_path / "softmax.py"))
    assert len(softmax.load(None, offline=False)[0]) == 4000
    small_mnist(tmp_path / "data")  # as after a download
    assert len(softmax.load(None, offline=False)[0]) == 13
    assert len(softmax.load(None, offline=True)[0]) == 4000
    assert capsys.readouterr().out.count("\n") == 1
