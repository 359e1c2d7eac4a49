"""The page of see.py: its numbers are the model's, no text can break it, and a browser shows it."""

import html
import json
import re
import shutil
import subprocess

import pytest
import see
import torch
from torch.testing import assert_close
from transformer import Transformer, build_vocabulary, greedy, split_words, to_ids

WORDS = "el gato negro bebe leche fría la niña ve un caballo blanco y no el perro ."
SENTENCE = split_words("El gato negro bebe absenta fría.")  # with a word that it does not know
HOSTILE = """</script><b>"A & 'B' {{DATA}} \\u003c <!-- שלום עולם"""
CLOSE = dict(rtol=0, atol=6e-4)  # the page has three decimals


@pytest.fixture(scope="module")
def translator():
    """A small model of random weights, large enough to attend to this and not to that."""
    torch.manual_seed(0)
    vocabularies = [build_vocabulary([WORDS] * 3), build_vocabulary([WORDS.upper()] * 3)]
    model = Transformer(*map(len, vocabularies), d_model=16)
    for weight in model.parameters():
        weight.data *= 3
    # an embedding larger than all sums: to <bos> the position adds cos 0 = 1
    model.src_embedding.weight.data[1, 1::2] = -4
    return model.eval(), vocabularies


# %% the numbers


def test_the_translation_and_the_attention_weights_are_the_models(translator):
    model, vocabularies = translator
    data = see.look(model, vocabularies, SENTENCE, "la niña ve")
    translation = greedy(model, SENTENCE, vocabularies)
    assert data["source"] == ["<bos>", *SENTENCE.split(), "<eos>"]
    assert data["target"] == ["<bos>", *translation.split(), "<eos>"]
    model(to_ids([SENTENCE], vocabularies[0]), to_ids([translation], vocabularies[1])[:, :-1])
    for i in range(2):
        own = model.encoder[i].self_attention, model.decoder[i].self_attention
        parts = zip(("encoder", "self", "cross"), (*own, model.decoder[i].cross_attention))
        for name, part in parts:
            assert_close(torch.tensor(data[name][i]), part.attention_weights[0], **CLOSE)


def test_the_five_best_words_are_those_of_a_decoder_that_goes_step_by_step(translator):
    model, vocabularies = translator
    first = greedy(model, SENTENCE, vocabularies).split()[:3]
    data = see.look(model, vocabularies, SENTENCE, reference=" ".join(first))
    *rated, (end, p) = data["reference"]
    assert rated == data["translation"][:3] and end == "<eos>"
    assert p < data["translation"][3][1]  # since greedy went on with another word
    src, tgt = to_ids([SENTENCE], vocabularies[0]), [1]
    steps = zip(data["target"][1:], data["translation"], data["best"], data["probabilities"])
    for word, rated, best, shown in steps:
        P = model(src, torch.tensor([tgt]))[0, -1].softmax(0)
        assert shown == pytest.approx(P.topk(5).values.tolist(), abs=6e-4)
        assert shown == pytest.approx([P[vocabularies[1][w]].item() for w in best], abs=6e-4)
        tgt.append(vocabularies[1][word])
        assert rated == (word, pytest.approx(P[tgt[-1]].item(), abs=6e-4))
    assert len(tgt) == len(data["target"]) == len(data["best"]) + 1


def test_the_strips_add_up_and_the_unknown_word_is_marked(translator):
    model, vocabularies = translator
    data = see.look(model, vocabularies, SENTENCE)
    embedded, places, total = map(torch.tensor, data["strips"])
    row = model.src_embedding.weight[vocabularies[0]["gato"]].detach()
    assert_close(embedded[2], 4 * row, **CLOSE)  # the root of 16
    assert places[0].tolist() == [0, 1] * 8 and places[3, 0] == pytest.approx(0.141)  # sin 3
    assert_close(embedded + places, total, rtol=0, atol=2e-3)
    assert data["ids"] == to_ids([SENTENCE], vocabularies[0])[0].tolist()
    assert data["unknown"] == [word == "absenta" for word in data["source"]]


# %% the file of the model


def test_a_model_is_trained_once_and_then_loaded(translator, tmp_path, monkeypatch):
    model, vocabularies = translator
    trained = [{"model": model, "vocabularies": vocabularies}]
    monkeypatch.setattr(see.transformer, "main", trained.pop)  # only once
    for _ in range(2):
        loaded, words = see.load(tmp_path / "new.pt")
    assert words == vocabularies and not loaded.training
    assert_close(loaded.state_dict(), model.state_dict())


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_file_that_is_no_model_is_one_sentence(content, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(content) if content is not None else torch.save({"a": 1}, path)
    before = path.read_bytes()
    with pytest.raises(SystemExit, match="other.pt is not a saved translator"):
        see.load(path)
    assert path.read_bytes() == before


# %% the page


@pytest.fixture
def page(translator, tmp_path, monkeypatch):
    """Writes a page; returns its text and its data, as a browser would find it."""
    model, vocabularies = translator
    shutil.copy(see.HERE / "see_template.html", tmp_path)
    monkeypatch.setattr(see, "HERE", tmp_path)

    def write(sentence, **options):
        torch.save((model.state_dict(), vocabularies), tmp_path / "small.pt")
        see.main(sentence, model=tmp_path / "small.pt", **options)
        text = (tmp_path / "see.html").read_text("utf-8")
        return text, json.loads(re.search('id="data">(.*?)</script', text, re.DOTALL)[1])

    return write


def test_the_code_that_the_page_quotes_is_that_of_the_model():
    texts = (see.HERE / "see_template.html").read_text("utf-8").split("const VIRIDIS")[0]
    source = (see.HERE / "transformer.py").read_text("utf-8")
    quoted = set(re.findall(r"`([^`]+)`", texts))
    assert len(quoted) > 8
    for code in quoted:
        assert code.removesuffix(" ...") in source, code


@pytest.mark.parametrize("sentence", [HOSTILE, "", "El gato negro.", "gato " * 25])
def test_no_sentence_breaks_the_page(page, sentence, capsys):
    text, data = page(sentence, reference=sentence, language="es")
    assert data["source"] == ["<bos>", *split_words(sentence).split(), "<eos>"]
    assert data["language"] == "es" and text.count("<script") == 2
    assert not re.search(r"(src|href)=|https?://(?!www.w3.org/2000/svg)", text)
    assert not re.search(r"\d\.\d{4}", json.dumps(data))  # a page of full numbers would be large
    assert capsys.readouterr().out.endswith("see.html\n")


def test_the_page_of_ten_words_is_small():
    """As large as the default model's: D = 96; numbers are as long whatever the weights are."""
    vocabularies = [build_vocabulary([WORDS] * 3)] * 2
    model = Transformer(*map(len, vocabularies)).eval()
    data = see.look(model, vocabularies, " ".join(WORDS.split()[:10]), WORDS)
    template = (see.HERE / "see_template.html").stat().st_size
    longest = len(json.dumps(data["cross"])) * 50 / len(data["target"])  # if it never ends
    assert len(json.dumps(data)) + template + longest < 300_000


# %% a real browser

BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
CHROME = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_chrome = pytest.mark.skipif(CHROME is None, reason="no Chromium or Chrome")


def find(folder, text, code):
    """What a function body of JavaScript returns in Chrome once a page has run without error."""
    first = "<script>var bad = []; onerror = message => bad.push(message)</script>"
    last = f"""<script>
        const found = (() => {{ {code} }})();
        document.body.textContent = `<<${{JSON.stringify([bad, found])}}>>`;
    </script>"""
    (folder / "test.html").write_text(text.replace("<h1", first + "<h1", 1) + last, "utf-8")
    options = "--headless --no-sandbox --disable-gpu --no-first-run --dump-dom".split()
    command = [CHROME, *options, f"--user-data-dir={folder / 'profile'}", folder / "test.html"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    shown = re.search("<<(.*)>>", html.unescape(done.stdout.decode()), re.DOTALL)
    bad, found = json.loads(shown[1])
    assert not bad
    return found


@needs_chrome
@pytest.mark.parametrize("sentence", ["El gato negro bebe leche fría.", HOSTILE])
def test_a_browser_shows_the_page_and_the_translation(page, sentence, tmp_path):
    text, data = page(sentence, reference="la niña ve", language="es")
    code = """const slider = document.querySelector("input[type=range]");
        slider.value = slider.max;
        slider.dispatchEvent(new Event("input"));
        const texts = rows => [...document.querySelectorAll(rows)].map(row => row.innerText);
        const strips = document.querySelectorAll("#words .strip").length;
        return [strips, texts("#so-far bdi"), texts("#best tr"), texts("#rated")[0]];"""
    strips, so_far, best, rated = find(tmp_path, text, code)
    assert strips == 3 * len(data["source"])
    assert so_far == [*data["target"][:-1], "→ " + data["target"][-1]]
    likeliest = zip(data["best"][-1], data["probabilities"][-1])
    assert [row.split()[:2] for row in best] == [[word, f"{p:.3f}"] for word, p in likeliest]
    assert all(f"{probability:.3f}" in rated for _, probability in data["reference"])


@needs_chrome
def test_pointing_at_a_word_draws_its_lines_and_says_its_numbers(page, tmp_path):
    text, data = page("El gato negro bebe leche fría.")
    code = """const svg = document.querySelector("#encoder svg");
        svg.querySelectorAll("[tabindex]")[2].dispatchEvent(new Event("mouseenter"));
        const numbers = [...svg.querySelectorAll(".number")].map(e => e.textContent);
        const lines = [...svg.querySelectorAll("line")].map(e => +e.getAttribute("stroke-width"));
        return [numbers, lines];"""
    numbers, widths = find(tmp_path, text, code)
    row = data["encoder"][0][0][2]
    assert numbers == [f"{weight:.3f}" for weight in row]
    assert widths == pytest.approx([6 * weight for weight in row if weight >= 0.005])
