"""The texts that people have, each made here, small: 03, 04 and 06 read a text, 05 pairs.

Where a layout must not matter, the same numbers are learned from it as from the plain text.
"""

import functools
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
import unicodedata

import pytest
import torch
from house import MODELS, ROOT, load

FILES = {path.stem: path for path in MODELS}
READERS = ["skipgram", "ff_lm", "transformer", "bert"]
QUESTIONS = {"skipgram": ("near", "{}"), "transformer": ("translate", "{}")}
QUESTIONS |= {"bert": ("fill", "{} [MASK].")}
readers = pytest.mark.parametrize("name", READERS)

SPANISH = "el niño la niña corazón canción mañana perro gato come duerme rápido después señor"
HINDI = "किताब चिट्ठी लड़की लड़का पढ़ती लिखता हिन्दी क्षेत्र विद्यार्थी मैं हूँ और ज़रूरी"
CHINESE = "他们喜欢读书写信唱歌跳舞吃饭"
LANGUAGES = {  # words, what is between them, the end of a sentence
    "Spanish": (SPANISH.split(), " ", ". "),
    "decomposed": (unicodedata.normalize("NFD", SPANISH).split(), " ", ". "),
    "Hindi": (HINDI.split(), " ", "। "),
    "Chinese": (list(CHINESE), "", "。"),
}


def sentences(language="Spanish", count=250):
    """Sentences of five to nine words drawn at random; each ends with its mark."""
    words, space, end = LANGUAGES[language]
    draw = random.Random(0)
    return [space.join(draw.choices(words, k=draw.randint(5, 9))) + end for _ in range(count)]


def paragraphs(lines, length=10):
    """Text with a blank line after each so many sentences."""
    groups = ("".join(lines[i : i + length]).rstrip() for i in range(0, len(lines), length))
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


# %% words


@readers
@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_whole_in_any_script(name, language, tmp_path, monkeypatch, capsys):
    """Letters keep their marks, an accent is composed, each Han character is a word; and the
    answer to a question is the same whichever way it was typed."""
    words = [unicodedata.normalize("NFC", word) for word in LANGUAGES[language][0]]
    option, value = QUESTIONS.get(name, ("prompt", "{}"))
    question = [unicodedata.normalize(form, value.format(words[1])) for form in ("NFC", "NFD")]
    options = {option: question[1] if name == "ff_lm" else tuple(question)}
    source = write(name, tmp_path, sentences(language))
    result = run(name, source, monkeypatch, **options)
    assert known(result) >= set(words)
    if language == "Chinese":
        han = {word for word in known(result) if re.search(r"[\u4e00-\u9fff]", word)}
        assert {word.removeprefix("##") for word in han} == set(words)
    printed = unicodedata.normalize("NFC", capsys.readouterr().out).splitlines()
    printed = [line for line in printed if not line.startswith("example: ")]
    answers = [line for line in printed if words[1] in line.replace(" ##", "")]
    assert answers and len(set(answers[-2:])) == 1 and "unknown" not in answers[-1]
    assert name != "ff_lm" or answers[-1].startswith(words[1])


@pytest.mark.parametrize("name", ["skipgram", "ff_lm"])
def test_one_endless_line_is_learned_from(name, tmp_path, monkeypatch):
    """As in text8, which has no sentences: without a cut there would be nothing to hold out."""
    words = random.Random(0).choices(SPANISH.split(), k=20_000)
    (tmp_path / "text.txt").write_text(" ".join(words), "utf-8")
    assert known(run(name, tmp_path / "text.txt", monkeypatch)) >= set(words)


def test_bert_needs_sentences_and_says_so(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text(" ".join(random.Random(0).choices(SPANISH.split(), k=20_000)), "utf-8")
    with pytest.raises(ValueError, match=r"text\.txt.*sentence"):
        run("bert", text, monkeypatch)


def threes(marks):
    """Paragraphs of three lines, each of which is a sentence, with marks that take turns."""
    lines = [f"{line.strip('. ')}{marks[i % len(marks)]}\n" for i, line in enumerate(sentences())]
    return "\n".join("".join(lines[i : i + 3]) for i in range(0, len(lines), 3))


@pytest.mark.parametrize("name", ["skipgram", "ff_lm"])
def test_sentences_end_in_any_script(name, tmp_path, monkeypatch):
    learnings = []
    for marks in ".", "।。！？":
        (tmp_path / "text.txt").write_text(threes(marks), "utf-8")
        learnings.append(learned(run(name, tmp_path / "text.txt", monkeypatch)))
    assert learnings[0] == pytest.approx(learnings[1], rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("mark", "।。！？")
def test_bert_finds_the_ends_of_sentences_in_any_script(mark, tmp_path, monkeypatch):
    """It refuses a text without sentences. The marks are tokens of its vocabulary."""
    (tmp_path / "text.txt").write_text(threes(mark), "utf-8")
    assert mark in known(run("bert", tmp_path / "text.txt", monkeypatch))


def test_unk_in_a_text_is_the_unknown_word(tmp_path, monkeypatch):
    """Penn Treebank and WikiText come with it."""
    lines = [line.replace("perro", "<unk>").strip(". ") + " \n" for line in sentences()]
    (tmp_path / "text.txt").write_text("".join(lines), "utf-8")
    vocabulary = run("ff_lm", tmp_path / "text.txt", monkeypatch)["vocabulary"]
    assert vocabulary["<unk>"] == 1 and not vocabulary.keys() & {"<", "unk", ">", "perro"}


# %% layouts


def as_windows_has_it(text):
    """Byte order mark, line ends, decomposed accents and all kinds of white space."""
    text = unicodedata.normalize("NFD", text)
    text = re.sub(" ", lambda space: "\u2028\u0085\u00a0\u202f"[space.start() % 4], text)
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


def near_duplicates(text):
    """Every line and sentence once more, in another case and with other white space."""
    again = text.upper().replace(" ", "  ")
    return (text + ("" if "\t" in text else "\n") + again).encode()


@readers
@pytest.mark.parametrize("layout", [as_windows_has_it, near_duplicates])
def test_the_layout_of_a_text_does_not_matter(name, layout, tmp_path, monkeypatch):
    if (name, layout) == ("transformer", near_duplicates):
        pytest.skip("prepare_pairs.py drops them, see below")
    plain = run(name, write(name, tmp_path / "plain", sentences()), monkeypatch)
    other = run(name, write(name, tmp_path / "other", sentences(), layout), monkeypatch)
    assert learned(other) == pytest.approx(learned(plain), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("layout", [as_windows_has_it, near_duplicates])
def test_prepare_pairs_makes_the_same_files_of_any_layout(layout, tmp_path):
    text, results = pairs(sentences()), []
    for name, content in ("plain", text.encode()), ("other", layout(text)):
        (tmp_path / f"{name}.tsv").write_bytes(content)
        command = [FILES["transformer"].with_name("prepare_pairs.py"), f"{name}.tsv", name]
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
        results.append([file.read_bytes() for file in sorted((tmp_path / name).iterdir())])
    assert results[0] == results[1] and len(results[0]) == 2 and results[0][1].count(b"\n") >= 12


def test_blank_lines_do_not_matter_to_bert(tmp_path, monkeypatch):
    learnings = []
    for length in 1, 10, 1000:  # sentences in a paragraph
        (tmp_path / "text.txt").write_text(paragraphs(sentences(), length), "utf-8")
        learnings.append(learned(run("bert", tmp_path / "text.txt", monkeypatch)))
    assert learnings[0] == learnings[1] == learnings[2]


# %% what is not a text to learn from


@pytest.mark.parametrize("name", ["skipgram", "ff_lm", "bert"])
@pytest.mark.parametrize("content", ["", "\n\n", "the cat sleeps.", "a b. " * 3])
def test_a_text_that_is_too_short_is_named(name, content, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"text\.txt"):
        run(name, tmp_path / "text.txt", monkeypatch)


# %% questions


@pytest.mark.parametrize("heads, translate", [(1, ()), (8, ("",)), (1, ("el niño", "el " * 120))])
def test_any_number_of_heads_and_of_words_is_drawn(heads, translate, tmp_path, monkeypatch):
    module, source = load(FILES["transformer"]), write("transformer", tmp_path, sentences(count=60))

    transformer = functools.partial(module.Transformer, heads=heads)
    monkeypatch.setattr(module, "Transformer", transformer)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "transformer.py"))
    module.main(**small("transformer", source), translate=translate)
    assert (tmp_path / "transformer.png").exists() or not translate


@pytest.mark.parametrize("sentence", ["el niño duerme.", "el [mask] duerme."])
def test_a_sentence_without_mask_is_told_before_training(sentence, tmp_path, monkeypatch):
    def train(*arguments):
        raise AssertionError("it trains")

    source = write("bert", tmp_path, sentences())
    monkeypatch.setattr(load(FILES["bert"]), "train", train)
    with pytest.raises(ValueError, match=r"\[MASK\]"):
        run("bert", source, monkeypatch, fill=(sentence,))


# %% elsewhere

QUICK = {"logistic": "--steps 5", "softmax": "--offline --epochs 1"}
QUICK |= {"transformer": "--data . --epochs 1 --d-model 16"}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_file_works_alone(path, tmp_path, monkeypatch, capsys):
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
    figure = (alone / path.name).with_suffix(".png")
    assert figure.stat().st_size > 10_000
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"figure in {figure}"
    assert printed[0].startswith("example: ") or path.stem not in READERS
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
    assert "said ['the" in ipython(cells.rstrip() + ")\n", tmp_path)
