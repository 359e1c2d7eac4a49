"""The page of see.py: its numbers are the model's, no text can break it, and a browser shows it."""

import json
import os
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser

import pytest
import see
import torch
from transformer import Transformer, build_vocabulary, greedy, split_words, to_ids

WORDS = "el gato negro bebe leche fría la niña ve un caballo blanco y no el perro ."
SENTENCE = split_words("El gato negro bebe absenta fría.")  # with a word that it does not know
SPECIAL = 4  # ids before the first word


@pytest.fixture(scope="module")
def translator():
    """A small model of random weights, large enough to attend to this and not to that."""
    torch.manual_seed(0)
    vocabularies = [build_vocabulary([WORDS] * 3), build_vocabulary([WORDS.upper()] * 3)]
    model = Transformer(*map(len, vocabularies), d_model=16, d_ff=64)
    for weight in model.parameters():
        weight.data *= 3
    return model.eval(), vocabularies


def record(model, *inputs):
    """What every linear layer of one call returns: {name: (length, D)}."""
    outputs, hooks = {}, []
    for name, module in model.named_modules():
        if name.endswith(("W_q", "W_k")):
            keep = lambda module, _, output, name=name: outputs.update({name: output[0].detach()})  # noqa: E731
            hooks.append(module.register_forward_hook(keep))
    model(*inputs)
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("part", ["encoder", "self", "cross"])
def test_the_attention_weights_are_the_softmax_of_queries_and_keys(translator, part):
    model, vocabularies = translator
    data = see.look(model, vocabularies, SENTENCE)
    target = " ".join(data["target"][1:-1])
    src, tgt = to_ids([SENTENCE], vocabularies[0]), to_ids([target], vocabularies[1])
    outputs = record(model, src, tgt[:, :-1])
    name = {"encoder": "encoder.{}.self", "self": "decoder.{}.self", "cross": "decoder.{}.cross"}[
        part
    ]
    for layer, heads in enumerate(data[part]):
        Q, K = (outputs[f"{name.format(layer)}_attention.{W}"] for W in ("W_q", "W_k"))
        for h, shown in enumerate(torch.tensor(heads)):
            scores = Q[:, 4 * h : 4 * h + 4] @ K[:, 4 * h : 4 * h + 4].T / 2  # the root of 4
            if part == "self":
                scores += torch.full_like(scores, -torch.inf).triu(1)
                assert (shown.triu(1) == 0).all()
            torch.testing.assert_close(shown, scores.softmax(1), rtol=0, atol=6e-4)
            torch.testing.assert_close(shown.sum(1), torch.ones(len(shown)), rtol=0, atol=0.02)


def test_the_five_best_words_are_those_of_a_decoder_that_goes_step_by_step(translator):
    model, vocabularies = translator
    data = see.look(model, vocabularies, SENTENCE)
    assert " ".join(data["target"][1:-1]) == greedy(model, [SENTENCE], vocabularies)[0]
    src, names = to_ids([SENTENCE], vocabularies[0]), list(vocabularies[1])
    tgt = to_ids([" ".join(data["target"][1:-1])], vocabularies[1])
    for step, (best, shown) in enumerate(zip(data["best"], data["probabilities"]), 1):
        P = model(src, tgt[:, :step])[0, -1].softmax(0)
        assert [P[names.index(word)].item() for word in best] == pytest.approx(shown, abs=6e-4)
        assert sorted(shown, reverse=True) == shown and shown[0] == pytest.approx(
            P.max().item(), abs=6e-4
        )
        chosen = P[tgt[0, step]].item()
        assert data["translation"][step - 1] == (
            data["target"][step],
            pytest.approx(chosen, abs=6e-4),
        )
    assert step == len(data["target"]) - 1


def test_the_strips_add_up_and_the_unknown_word_is_marked(translator):
    model, vocabularies = translator
    data = see.look(model, vocabularies, SENTENCE)
    embedded, places, total = map(torch.tensor, data["strips"])
    row = model.src_embedding.weight[vocabularies[0]["gato"]]
    torch.testing.assert_close(embedded[2], 4 * row.detach(), rtol=0, atol=6e-4)  # the root of 16
    assert places[0].tolist() == [0, 1] * 8 and places[3, 0] == pytest.approx(0.141)  # sin 3
    torch.testing.assert_close(embedded + places, total, rtol=0, atol=2e-3)
    assert [word for word, not_known in zip(data["source"], data["unknown"]) if not_known] == [
        "absenta"
    ]
    assert data["ids"][2] == vocabularies[0]["gato"] >= SPECIAL and len(data["ids"]) == len(
        embedded
    )


def test_a_reference_is_rated_word_by_word(translator):
    model, vocabularies = translator
    data = see.look(model, vocabularies, SENTENCE, "la niña ve")
    src, tgt = to_ids([SENTENCE], vocabularies[0]), to_ids(["la niña ve"], vocabularies[1])
    losses = torch.nn.functional.cross_entropy(
        model(src, tgt[:, :-1])[0], tgt[0, 1:], reduction="none"
    )
    words, rated = zip(*data["reference"])
    assert words == ("la", "niña", "ve", "<eos>")
    torch.testing.assert_close(torch.tensor(rated), (-losses).exp(), rtol=0, atol=6e-4)
    assert data["translation"] == see.look(model, vocabularies, SENTENCE)["translation"]


class Data(HTMLParser):
    """The text of the element whose id is data, as a browser would find it."""

    def __init__(self, page):
        super().__init__()
        self.inside, self.text = False, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.inside = ("id", "data") in attributes

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, text):
        self.text += text * self.inside


@pytest.fixture
def page(translator, tmp_path, monkeypatch):
    """Writes a page and returns its path."""
    model, vocabularies = translator
    shutil.copy(see.HERE / "see_template.html", tmp_path)
    torch.save((model.state_dict(), vocabularies), tmp_path / "small.pt")
    monkeypatch.setattr(see, "HERE", tmp_path)

    def write(sentence, **options):
        see.main(sentence, model=tmp_path / "small.pt", **options)
        return tmp_path / "see.html"

    return write


def test_the_code_that_the_page_quotes_is_that_of_the_model():
    texts = (see.HERE / "see_template.html").read_text("utf-8").split("const VIRIDIS")[0]
    source = (see.HERE / "transformer.py").read_text("utf-8")
    quoted = set(re.findall(r"`([^`]+)`", texts))
    assert len(quoted) > 8
    for code in quoted:
        assert code.removesuffix(" ...") in source, code


HOSTILE = """</script><b>"A & 'B' {{DATA}} \\u003c <!-- שלום עולם"""


@pytest.mark.parametrize("sentence", [HOSTILE, "", "El gato negro.", "gato " * 25])
def test_no_sentence_breaks_the_page(page, sentence, capsys):
    text = page(sentence, reference=sentence, language="es").read_text("utf-8")
    data = json.loads(Data(text).text)
    assert data["source"] == ["<bos>", *split_words(sentence).split(), "<eos>"]
    assert data["language"] == "es" and text.count("<script") == 2
    assert not re.search(r"(src|href)=|https?://(?!www.w3.org/2000/svg)", text)
    assert capsys.readouterr().out.splitlines()[-1].endswith("see.html")


def test_the_page_of_ten_words_is_small(tmp_path):
    """As large as the default model's: D = 96; numbers are as long whatever the weights are."""
    vocabularies = [build_vocabulary([WORDS] * 3)] * 2
    model = Transformer(*map(len, vocabularies), d_model=96, d_ff=384).eval()
    data = see.look(model, vocabularies, " ".join(WORDS.split()[:10]), WORDS)
    template = (see.HERE / "see_template.html").stat().st_size
    longest = len(json.dumps(data["cross"])) * 50 / len(data["target"])  # if it never ends
    assert len(json.dumps(data)) + template + longest < 300_000


def test_a_model_is_trained_once_and_then_loaded(translator, tmp_path, monkeypatch):
    model, vocabularies = translator
    trained = []

    def train():
        trained.append(1)
        return {"model": model, "vocabularies": vocabularies}

    monkeypatch.setattr(see.transformer, "main", train)
    for _ in range(2):
        loaded, words = see.load(tmp_path / "new.pt")
    assert trained == [1] and words == vocabularies and not loaded.training
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_file_that_is_no_model_is_one_sentence(content, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(content) if content is not None else torch.save({"a": 1}, path)
    before = path.read_bytes()
    with pytest.raises(SystemExit, match="other.pt is not a saved translator"):
        see.load(path)
    assert path.read_bytes() == before


# %% a real browser

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
CHROME = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless --remote-debugging-pipe --no-sandbox --disable-gpu --no-first-run --disable-sync"
)
FLAGS += " --disable-background-networking --disable-component-update"


class Browser:
    """Chrome, spoken to by its own protocol: a JSON message and a zero byte, over two pipes."""

    def __init__(self, folder):
        (read, self.to), (self.answers, write) = os.pipe(), os.pipe()
        os.set_inheritable(read, True)  # it may be 3 already
        command = [CHROME, *FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            command,
            close_fds=False,
            preexec_fn=lambda: (os.dup2(read, 3), os.dup2(write, 4)),  # where Chrome looks
            stderr=subprocess.DEVNULL,
        )
        os.close(read), os.close(write)
        self.timer = threading.Timer(120, self.process.kill)
        self.timer.start()
        self.events, self.buffer, self.number, self.session = [], b"", 0, {}
        targets = self.call("Target.getTargets")["targetInfos"]
        (target,) = [t["targetId"] for t in targets if t["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(f"{domain}.enable")

    def receive(self):
        while b"\0" not in self.buffer:
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        self.events.append(json.loads(message))
        return self.events[-1]

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **self.session}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path):
        self.call("Page.navigate", url=path.as_uri())
        while self.run("location.protocol + document.readyState") != "file:complete":
            pass

    def run(self, code):
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self):
        """Errors on the console, and requests for anything but the file itself."""
        bad = "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"
        for event in self.events:
            if event.get("method") in bad:
                yield event
            if event.get("method") == "Network.requestWillBeSent":
                if not event["params"]["request"]["url"].startswith("file:"):
                    yield event

    def close(self):
        self.session = {}
        self.call("Browser.close")
        self.process.wait()
        self.timer.cancel()
        os.close(self.to), os.close(self.answers)


@pytest.fixture
def browser(tmp_path):
    chrome = Browser(tmp_path / "profile")
    yield chrome
    chrome.close()


needs_chrome = pytest.mark.skipif(CHROME is None or os.name == "nt", reason="no Chromium or Chrome")


@needs_chrome
@pytest.mark.parametrize("sentence", ["El gato negro bebe leche fría.", HOSTILE])
def test_a_browser_shows_the_page_and_the_translation(page, browser, sentence):
    path = page(sentence, reference="la niña ve", language="es")
    browser.open(path)
    data = json.loads(Data(path.read_text("utf-8")).text)
    assert browser.run("document.querySelectorAll('#words .strip').length") == 3 * len(
        data["source"]
    )
    browser.run("slider.value = slider.max; slider.dispatchEvent(new Event('input'))")
    shown = browser.run("[...document.querySelectorAll('#so-far bdi')].map(e => e.textContent)")
    assert shown == [*data["target"][:-1], "→ " + data["target"][-1]]
    best = browser.run("[...document.querySelectorAll('#best tr')].map(e => e.innerText)")
    assert [row.split()[0] for row in best] == data["best"][-1]
    rated = browser.run("document.getElementById('rated').innerText")
    assert all(f"{probability:.3f}" in rated for _, probability in data["reference"])
    assert not list(browser.complaints())


@needs_chrome
def test_an_embedding_larger_than_all_sums_has_a_colour(translator, page, browser):
    weights = translator[0].src_embedding.weight.data
    before = weights.clone()
    weights.zero_()
    weights[1, 1::2] = -3  # <bos>, to which the position adds cos 0 = 1
    path = page("El gato negro.")
    weights.copy_(before)
    browser.open(path)
    assert browser.run("document.getElementById('rated').innerText.length") > 20
    assert not list(browser.complaints())


@needs_chrome
def test_pointing_at_a_word_draws_its_lines_and_says_its_numbers(page, browser):
    path = page("El gato negro bebe leche fría.")
    browser.open(path)
    svg = "document.querySelector('#encoder svg')"
    browser.run(f"{svg}.querySelectorAll('[tabindex]')[2].dispatchEvent(new Event('mouseenter'))")
    numbers = browser.run(f"[...{svg}.querySelectorAll('.number')].map(e => e.textContent)")
    row = json.loads(Data(path.read_text("utf-8")).text)["encoder"][0][0][2]
    assert numbers == [f"{weight:.3f}" for weight in row]
    widths = browser.run(
        f"[...{svg}.querySelectorAll('line.now')].map(e => +e.getAttribute('stroke-width'))"
    )
    assert widths == pytest.approx([6 * weight for weight in row if weight >= 0.005])
    assert browser.run(f"{svg}.querySelectorAll('line:not(.now)').length") == 0
    assert not list(browser.complaints())
