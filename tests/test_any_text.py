"""The texts that people have, each made here, small: 03, 04 and 06 read a text, 05 pairs.

What a file makes of a text is tested in its folder; here `main` learns from it.
"""

import functools
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
from unicodedata import normalize

import pytest
import torch
from house import MODELS, ROOT, load

FILES = {path.stem: path for path in MODELS}
READERS = ["skipgram", "ff_lm", "transformer", "bert"]
readers = pytest.mark.parametrize("name", READERS)

SPANISH = "el niño la niña corazón canción mañana perro gato come duerme rápido después señor"
HINDI = "किताब चिट्ठी लड़की लड़का पढ़ती लिखता हिन्दी क्षेत्र विद्यार्थी मैं हूँ और ज़रूरी"
LANGUAGES = {  # words, what is between them, the end of a sentence
    "Spanish": (SPANISH.split(), " ", ". "),
    "Hindi": (normalize("NFC", HINDI).split(), " ", "। "),
    "Chinese": (list("他们喜欢读书写信唱歌跳舞吃饭"), "", "。"),
}


def sentences(language="Spanish", count=250):
    """Sentences of five to nine words drawn at random; each ends with its mark."""
    words, space, end = LANGUAGES[language]
    draw = random.Random(0)
    return [space.join(draw.choices(words, k=draw.randint(5, 9))) + end for _ in range(count)]


def paragraphs(lines):
    """Text with a blank line after each ten sentences."""
    groups = ["".join(lines[i : i + 10]).rstrip() for i in range(0, len(lines), 10)]
    return "\n\n".join(groups) + "\n"


def pairs(lines):
    """A line for each sentence, with the sentence in capital letters as its translation."""
    return "".join(f"{line.strip()}\t{line.strip().upper()}\n" for line in lines)


def write(name, folder, lines, change=str.encode):
    """Writes what a model reads; `change` makes its bytes of the plain text."""
    folder.mkdir(exist_ok=True)
    texts = {"text.txt": paragraphs(lines)}
    if name == "transformer":
        texts = {"pairs.tsv": pairs(lines[8:]), "pairs_test.tsv": pairs(lines[:8])}
    for file, text in texts.items():
        (folder / file).write_bytes(change(text))
    return folder if name == "transformer" else folder / "text.txt"


def small(name, source):
    """The options of a run that takes a second."""
    data = {"data": source, "d_model": 16} if name == "transformer" else {"text": source}
    return {"epochs": 1, **data}


def run(name, source, monkeypatch, **options):
    """What main returns, without its figure."""
    monkeypatch.setattr(load(FILES[name]), "draw", lambda *arguments: None)
    return load(FILES[name]).main(**small(name, source), **options)


def known(result):
    """All words of the vocabularies in a result."""
    if "tokenizer" in result:
        return result["tokenizer"].get_vocab().keys()
    return set().union(*result.get("vocabularies", [result.get("vocabulary")]))


def learned(result):
    """The metrics of a result and the sum of the weights of its model."""
    numbers = {name: value for name, value in result.items() if isinstance(value, float)}
    weights = [weight.detach().flatten() for weight in result["model"].parameters()]
    return numbers | {"weights": torch.cat(weights).double().abs().sum().item()}


# %% words and sentences


@readers
@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_whole_in_any_script(name, language, tmp_path, monkeypatch, capsys):
    """Letters keep their marks and each Han character is a word. A question has the same answer
    with composed and with decomposed accents."""
    words = LANGUAGES[language][0]
    question = words[1] + " [MASK]." * (name == "bert")
    forms = question, normalize("NFD", question)
    options = {"skipgram": {"near": forms}, "ff_lm": {"prompt": forms[1]}}
    options |= {"transformer": {"translate": forms}, "bert": {"fill": forms}}
    source = write(name, tmp_path, sentences(language))
    found = known(run(name, source, monkeypatch, **options[name]))
    assert found >= set(words)
    if language == "Chinese":
        han = {word.removeprefix("##") for word in found if re.search(r"[\u4e00-\u9fff]", word)}
        assert han == set(words)
    printed = normalize("NFC", capsys.readouterr().out).splitlines()
    first, *again = [i for i, line in enumerate(printed) if line.startswith(question)]
    assert "unknown" not in printed[first]
    if name != "ff_lm":
        answer = printed[first : again[0]]
        assert printed[again[0] :][: len(answer)] == answer


@pytest.mark.parametrize("name", ["skipgram", "ff_lm"])
def test_one_endless_line_is_learned_from(name, tmp_path, monkeypatch):
    """As in text8, which has no sentences: without a cut there would be nothing to hold out."""
    words = random.Random(0).choices(SPANISH.split(), k=20_000)
    (tmp_path / "text.txt").write_text(" ".join(words), "utf-8")
    assert known(run(name, tmp_path / "text.txt", monkeypatch)) >= set(words)


@pytest.mark.parametrize("content", ["", "the cat sleeps.", f"{SPANISH} " * 1000])
def test_bert_needs_sentences_and_says_so(content, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"text\.txt.*sentence"):
        run("bert", tmp_path / "text.txt", monkeypatch)


@pytest.mark.parametrize("name", ["skipgram", "ff_lm"])
def test_sentences_end_in_any_script(name, tmp_path, monkeypatch):
    """Paragraphs of three lines, each of which is a sentence, with marks that take turns."""
    learnings = []
    for marks in ".", "।。！？":
        lines = [line.strip(". ") + marks[i % len(marks)] for i, line in enumerate(sentences())]
        threes = ["\n".join(lines[i : i + 3]) for i in range(0, len(lines), 3)]
        (tmp_path / "text.txt").write_text("\n\n".join(threes), "utf-8")
        learnings.append(learned(run(name, tmp_path / "text.txt", monkeypatch)))
    assert learnings[0] == pytest.approx(learnings[1], rel=1e-6, nan_ok=True)


def as_windows_has_it(text):
    """Byte order mark, line ends, decomposed accents and all kinds of white space."""
    text = normalize("NFD", text)
    text = re.sub(" ", lambda space: "\u2028\u0085\u00a0\u202f"[space.start() % 4], text)
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


@readers
def test_the_layout_of_a_text_does_not_matter_but_the_seed_does(name, tmp_path, monkeypatch):
    plain = run(name, write(name, tmp_path / "plain", sentences()), monkeypatch)
    source = write(name, tmp_path / "other", sentences(), as_windows_has_it)
    other = run(name, source, monkeypatch)
    assert learned(other) == pytest.approx(learned(plain), rel=1e-6, nan_ok=True)
    seeded = run(name, source, monkeypatch, seed=1)
    assert learned(seeded)["weights"] != pytest.approx(learned(plain)["weights"], rel=1e-6)


@pytest.mark.parametrize("heads, translate", [(1, ()), (8, ("",)), (1, ("el niño", "el " * 120))])
def test_any_number_of_heads_and_of_words_is_drawn(heads, translate, tmp_path, monkeypatch):
    module, source = load(FILES["transformer"]), write("transformer", tmp_path, sentences(count=60))
    transformer = functools.partial(module.Transformer, heads=heads)
    monkeypatch.setattr(module, "Transformer", transformer)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "transformer.py"))
    module.main(**small("transformer", source), translate=translate)
    assert (tmp_path / "transformer.png").exists() == bool(translate)


# %% elsewhere

QUICK = {"logistic": "--steps 5", "softmax": "--offline --epochs 1"}
QUICK |= {"transformer": "--data . --epochs 1 --d-model 16"}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_file_works_alone(path, tmp_path, monkeypatch):
    """Copied with its data to an empty folder, run from another: the figure is beside the file."""
    alone, elsewhere = tmp_path / "alone", tmp_path / "elsewhere"
    alone.mkdir()
    for file in [path, *path.parent.glob("*.t[sx][vt]")]:
        shutil.copy(file, alone)
    write(path.stem, elsewhere, sentences())
    monkeypatch.chdir(elsewhere)
    options = QUICK.get(path.stem, "--text text.txt --epochs 1").split()
    monkeypatch.setattr(sys, "argv", [path.name, *options])
    result = runpy.run_path(str(alone / path.name), run_name="__main__")["result"]
    assert (alone / path.name).with_suffix(".png").stat().st_size > 10_000
    assert any(isinstance(value, float) for value in result.values())


def ipython(cells, folder):
    """What IPython prints of some cells."""
    (folder / "cells.ipy").write_text(cells, "utf-8")
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", folder / "cells.ipy"]
    env = os.environ | {"IPYTHONDIR": str(folder), "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, cwd=folder, env=env, encoding="utf-8")
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stdout
    return done.stdout


def test_in_a_notebook_the_functions_and_the_result_are_there_after_run(tmp_path):
    shutil.copy(FILES["logistic"], tmp_path)
    cells = "%run logistic.py --steps 5\nprint('half', sigmoid(torch.tensor(0.0)).item())\n"
    cells += "r = main(steps=5)\nprint('same', r['test_loss'] == result['test_loss'])\n"
    printed = ipython(cells, tmp_path)
    assert "half 0.5" in printed and "same True" in printed


@pytest.mark.promise
def test_the_cells_of_the_front_page_run(tmp_path):
    text = (ROOT / "README.md").read_text("utf-8")
    cells = "".join(re.findall(r"^```ipython\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    cells = re.sub(r"^(!git|%pip) .*\n", "", cells, flags=re.MULTILINE)
    shutil.copytree(FILES["transformer"].parent, tmp_path / "weight-by-weight" / "05_transformer")
    cells = cells.replace("greedy(", "print('said', greedy(")
    assert "said the" in ipython(cells.rstrip() + ")\n", tmp_path)
