"""The texts, terminals and notebooks that people have; each text is made here, small.

03, 04 and 06 read one text, 05 a folder of pairs, which prepare_pairs.py makes of one file. Where a
layout must not matter, the run on that layout must print the same numbers as on the plain text.
"""

import os
import random
import re
import subprocess
import sys
import unicodedata
import warnings

import pytest
import torch
from house import MODELS, ROOT, load
from matplotlib import font_manager

FILES = {path.stem: path for path in MODELS}
READERS = ["skipgram", "ff_lm", "transformer", "bert"]  # of texts: 03 to 06
QUESTIONS = {
    "skipgram": ("near", "{}"),
    "ff_lm": ("prompt", "{}"),
    "transformer": ("translate", "{}"),
    "bert": ("fill", "{} [MASK]."),
}
readers = pytest.mark.parametrize("name", READERS)
prepare = load(FILES["transformer"].with_name("prepare_pairs.py")).prepare

SPANISH = "el niño la niña corazón canción mañana perro gato come duerme rápido después señor"
HINDI = "किताब चिट्ठी लड़की लड़का पढ़ती लिखता हिन्दी क्षेत्र विद्यार्थी मैं हूँ और ज़रूरी"
CHINESE = "他们喜欢读书写信唱歌跳舞吃饭"
LANGUAGES = {
    "composed": (SPANISH.split(), " ", ". "),
    "decomposed": (unicodedata.normalize("NFD", SPANISH).split(), " ", ". "),
    "Hindi": (HINDI.split(), " ", "। "),
    "Chinese": (list(CHINESE), "", "。"),
}


def sentences(language, count=250):
    """Sentences of five to nine words drawn at random; each ends with its mark."""
    words, space, end = LANGUAGES[language]
    draw = random.Random(0)
    return [space.join(draw.choices(words, k=draw.randint(5, 9))) + end for _ in range(count)]


def paragraphs(lines):
    """Ten sentences to a paragraph, with a blank line between."""
    groups = ("".join(lines[i : i + 10]).rstrip() for i in range(0, len(lines), 10))
    return "\n\n".join(groups) + "\n"


def pairs(lines):
    """A line for each sentence, with the sentence in capital letters as its translation."""
    return "".join(f"{line.strip()}\t{line.strip().upper()}\n" for line in lines)


def write(name, folder, lines, change=lambda text: text):
    """Writes what a model reads; `change` makes its bytes or characters of the plain text."""
    folder.mkdir(exist_ok=True)
    texts = {"text.txt": paragraphs(lines)}
    if name == "transformer":
        texts = {"pairs.tsv": pairs(lines[8:]), "pairs_test.tsv": pairs(lines[:8])}
    for file, text in texts.items():
        content = change(text)
        content = content if isinstance(content, bytes) else content.encode()
        (folder / file).write_bytes(content)
    return folder if name == "transformer" else folder / "text.txt"


def settings(name, source, **others):
    """The arguments of a run that takes a second."""
    small = {"data": source, "d_model": 16} if name == "transformer" else {"text": source}
    small |= {"min_count": 1} if name in ("skipgram", "ff_lm") else {}
    return {"epochs": 1, "device": "cpu", **small, **others}


def run(name, source, monkeypatch, **others):
    """What main returns, without its figure."""
    monkeypatch.setattr(load(FILES[name]), "draw", lambda *arguments: None)
    return load(FILES[name]).main(**settings(name, source, **others))


def known(result):
    """All words of the vocabularies in a result."""
    found = set()
    for value in result.values():
        if hasattr(value, "get_vocab"):
            value = value.get_vocab()
        for vocabulary in value if isinstance(value, list) else [value]:
            found |= vocabulary.keys() if isinstance(vocabulary, dict) else set()
    return found


def learned(result):
    """The numbers of a result: its metrics, and the sums of its tensors and of its weights."""
    numbers = {}
    for name, value in result.items():
        if isinstance(value, torch.nn.Module):
            value = torch.cat([weight.detach().flatten() for weight in value.parameters()])
        if isinstance(value, torch.Tensor):
            value = value.double().abs().sum().item()
        if isinstance(value, float):
            numbers[name] = value
    return numbers


# %% words


@readers
@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_whole_in_any_script(name, language, tmp_path, monkeypatch):
    """Letters keep their marks, an accent is composed, each Han character is a word."""
    result = run(name, write(name, tmp_path, sentences(language)), monkeypatch)
    words = [unicodedata.normalize("NFC", word) for word in LANGUAGES[language][0]]
    assert known(result) >= set(words)
    if language == "Chinese":
        han = {word for word in known(result) if re.search(r"[\u4e00-\u9fff]", word)}
        assert {word.removeprefix("##") for word in han} == set(words)


@readers
def test_a_question_is_composed_like_the_text(name, tmp_path, monkeypatch, capsys):
    """The answer is the same whichever way the question was typed."""
    option, value = QUESTIONS[name]
    source = write(name, tmp_path, sentences("decomposed"))
    answers = []
    for form in "NFC", "NFD":
        question = unicodedata.normalize(form, value.format("niño"))
        question = question if name == "ff_lm" else (question,)
        run(name, source, monkeypatch, **{option: question})
        answers.append(unicodedata.normalize("NFC", capsys.readouterr().out))
    assert answers[0] == answers[1] and "unknown" not in answers[0]


@pytest.mark.parametrize("name", ["skipgram", "ff_lm", "bert"])
def test_one_endless_line_is_learned_from(name, tmp_path, monkeypatch):
    """As in text8, which has no sentences: without a cut there would be nothing to hold out."""
    words = random.Random(0).choices(SPANISH.split(), k=60_000)
    (tmp_path / "text.txt").write_text(" ".join(words), encoding="utf-8")
    result = run(name, tmp_path / "text.txt", monkeypatch)
    assert known(result) >= set(words)


def ending_in(marks):
    """Paragraphs of three lines, each of which is a sentence; their ends take turns."""
    lines = [
        line.strip(". ") + marks[i % len(marks)] for i, line in enumerate(sentences("composed"))
    ]
    return "\n\n".join("\n".join(lines[i : i + 3]) for i in range(0, len(lines), 3))


@pytest.mark.parametrize("name", ["skipgram", "ff_lm"])
def test_sentences_end_in_any_script(name, tmp_path, monkeypatch):
    learnings = []
    for marks in ".", "।。！？…":
        (tmp_path / "text.txt").write_text(ending_in(marks), encoding="utf-8")
        learnings.append(learned(run(name, tmp_path / "text.txt", monkeypatch)))
    assert learnings[0] == pytest.approx(learnings[1], rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("mark", "।。！？…")
def test_bert_finds_the_ends_of_sentences_in_any_script(mark, tmp_path, monkeypatch):
    """It would refuse paragraphs of one sentence each. The marks are tokens of its vocabulary."""
    (tmp_path / "text.txt").write_text(ending_in(mark), encoding="utf-8")
    assert mark in known(run("bert", tmp_path / "text.txt", monkeypatch))


# %% layouts


def near_duplicates(text):
    """Every line and sentence once more, in another case and with other white space."""
    again = text.upper().replace(" ", "  ")
    return text + ("" if "\t" in text else "\n") + again


LAYOUTS = {
    "with a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "lines of Windows": lambda text: text.replace("\n", "\r\n"),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "other white space": lambda text: re.sub(
        " ", lambda space: "\u2028\u0085\u00a0\u202f"[space.start() % 4], text
    ),
    "near-duplicates": near_duplicates,
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)
PLAIN = {}  # what each model learns from the plain text


@readers
@layouts
def test_the_layout_of_a_text_does_not_matter(name, layout, tmp_path, monkeypatch):
    if (name, layout) == ("transformer", "near-duplicates"):
        pytest.skip("prepare_pairs.py drops them, see below")
    if name not in PLAIN:
        source = write(name, tmp_path / "plain", sentences("composed"))
        PLAIN[name] = learned(run(name, source, monkeypatch))
    source = write(name, tmp_path / "other", sentences("composed"), LAYOUTS[layout])
    other = learned(run(name, source, monkeypatch))
    assert other == pytest.approx(PLAIN[name], rel=1e-6, nan_ok=True)


@layouts
def test_prepare_pairs_makes_the_same_files_of_any_layout(layout, tmp_path, capsys):
    text = pairs(sentences("composed"))
    (tmp_path / "plain.tsv").write_text(text, encoding="utf-8")
    content = LAYOUTS[layout](text)
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "other.tsv").write_bytes(content)
    for name in ("plain", "other"):
        prepare(tmp_path / f"{name}.tsv", tmp_path / name)
    for file in ("pairs.tsv", "pairs_test.tsv"):
        plain, other = ((tmp_path / name / file).read_bytes() for name in ("plain", "other"))
        assert plain == other and plain.count(b"\n") >= 12


# %% what is not a text to learn from


@readers
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_text_that_is_not_utf_8_is_refused_with_its_line(name, encoding, tmp_path, monkeypatch):
    lines = ["uno dos tres cuatro. "] * 30 + sentences("composed")
    source = write(name, tmp_path, lines, lambda text: text.encode(encoding))
    told = " text of source, tab, target" if name == "transformer" else "; save the file as UTF-8"
    with pytest.raises(ValueError, match=rf"line \d+: not UTF-8{told}") as error:
        run(name, source, monkeypatch)
    assert str(source) in str(error.value)
    if encoding == "latin-1" and name != "transformer":  # its third paragraph is the first of ours
        assert ", line 7:" in str(error.value)


@readers
@pytest.mark.parametrize(
    "content", ["", "\n\n", "the cat sleeps.", "the the the", "word " * 200_000]
)
def test_a_poor_text_is_learned_from_or_refused_in_one_sentence(
    name, content, tmp_path, monkeypatch
):
    source = write(name, tmp_path, ["?"], lambda _: content)
    try:
        run(name, source, monkeypatch)
        assert content.strip()
    except ValueError as error:
        assert str(source) in str(error) and "\n" not in str(error)


def test_a_line_without_a_tab_is_told_with_its_number(tmp_path, monkeypatch):
    """The tool says what the line lacks, the model only what a line should be."""
    source = write("transformer", tmp_path, sentences("composed"))
    content = (source / "pairs.tsv").read_text(encoding="utf-8").split("\n")
    (source / "pairs.tsv").write_text("\n".join([*content[:6], "no tab", *content[6:]]), "utf-8")
    with pytest.raises(ValueError, match="line 7: not UTF-8 text of source, tab, target"):
        run("transformer", source, monkeypatch)
    with pytest.raises(ValueError, match="line 7: (?!.*UTF-8)"):
        prepare(source / "pairs.tsv", tmp_path / "new")


@readers
def test_a_missing_file_is_named(name, tmp_path, monkeypatch):
    with pytest.raises(OSError, match="missing"):
        run(name, tmp_path / "missing", monkeypatch)


# %% terminals, fonts and notebooks


@readers
def test_a_terminal_that_knows_only_ascii_loses_nothing(name, tmp_path):
    """What it cannot print becomes a question mark; the run ends well and saves its figure."""
    source = write(name, tmp_path, sentences("Hindi"))
    question, value = QUESTIONS[name]
    options = settings(name, source, figure=tmp_path / "figure.png")
    command = [sys.executable, str(FILES[name])]
    for option, value in [*options.items(), (question, value.format("किताब"))]:
        command += [f"--{option.replace('_', '-')}", str(value)]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and b"????" in done.stdout
    assert (tmp_path / "figure.png").exists()


@readers
@pytest.mark.parametrize("language", ["composed", "Hindi", "Chinese"])
def test_fonts_that_lack_a_script_are_told_in_one_sentence(
    name, language, tmp_path, monkeypatch, capsys
):
    """If the figure shows no words of the text, nothing is printed."""
    dejavu = [font for font in font_manager.fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", dejavu)
    font_manager.FontManager._findfont_cached.cache_clear()
    source = write(name, tmp_path, sentences(language))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(FILES[name]).main(**settings(name, source, figure=tmp_path / "figure.png"))
    font_manager.FontManager._findfont_cached.cache_clear()
    assert not [warning for warning in caught if "font" in str(warning.message)]
    told = capsys.readouterr().out.count("The figure lacks some characters")
    shows_words = "The figure lacks" in FILES[name].read_text(encoding="utf-8")
    assert told == (shows_words and language != "composed")


def ipython(cells, folder):
    """What IPython prints of some cells."""
    (folder / "cells.ipy").write_text(cells, encoding="utf-8")
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", str(folder / "cells.ipy")]
    env = {**os.environ, "IPYTHONDIR": str(folder), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=env, encoding="utf-8")
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stdout
    return done.stdout


def test_in_a_notebook_the_functions_are_there_after_run(tmp_path):
    cells = f"%run {FILES['logistic']} --steps 5 --figure {tmp_path / 'figure.png'}\n"
    cells += "print('half', sigmoid(torch.tensor(0.0)).item())\n"
    cells += f"r = main(steps=5, figure=Path({str(tmp_path / 'figure.png')!r}))\nprint(sorted(r))"
    printed = ipython(cells, tmp_path)
    assert "half 0.5" in printed and "test_accuracy" in printed


@pytest.mark.promise
def test_the_cells_of_the_front_page_run(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = "".join(re.findall(r"^```ipython\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    cells = re.sub(r"^(!git|%pip) .*\n", "", cells, flags=re.MULTILINE)
    cells = cells.replace("weight-by-weight/", "").replace("greedy(", "print('said', greedy(")
    assert "said the" in ipython(cells.rstrip() + ")\n", tmp_path)
