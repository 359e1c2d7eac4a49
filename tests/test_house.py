"""What holds in every folder: short, complete, alone, quiet, and as its README says."""

import functools
import inspect
import random
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest
import tyro
from house import FOLDERS, MODELS, READMES, ROOT, blocks, code_lines, load

names = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
# Code lines and physical lines. 01 to 04 are meant to have 100 and 130 at most, 05 and 06 120 and
# 165. The five named here are above that, and may only shrink.
BUDGETS = {
    "softmax": (119, 171),
    "skipgram": (138, 201),
    "ff_lm": (138, 197),
    "transformer": (182, 273),
    "bert": (198, 275),
}
QUICK = {  # the options that make a run take seconds
    "logistic": ["--steps", "5"],
    "softmax": ["--offline", "--epochs", "1"],
    "skipgram": ["--text", "small.txt", "--min-count", "1", "--epochs", "1"],
    "ff_lm": ["--text", "small.txt", "--min-count", "1", "--epochs", "1"],
    "transformer": ["--pairs", "small.tsv", "--epochs", "1", "--d-model", "16"],
    "bert": ["--text", "small.txt", "--vocab", "100", "--epochs", "1"],
}


def test_code_lines_are_counted_as_a_reader_would():
    source = (
        '"""Doc."""\n\n# note\nx = [\n    1,  # one\n]\n\n\ndef f():\n    "Doc."\n    return x\n'
    )
    assert len(code_lines(source)) == 5


@names
def test_the_file_is_short(path):
    source = path.read_text(encoding="utf-8")
    code, physical = BUDGETS.get(path.stem, (100, 130))
    assert len(code_lines(source)) <= code
    assert len(source.splitlines()) <= physical
    assert max(map(len, source.splitlines())) <= 100


@names
def test_the_folder_is_complete(path):
    assert (path.parent / "README.md").exists() and path.with_suffix(".png").exists()


@names
def test_the_inline_dependencies_are_the_pins(path):
    block = r"^# /// script\n(.*?)^# ///$(.*)"
    header, code = re.search(block, path.read_text(encoding="utf-8"), re.M | re.S).groups()
    inline = tomllib.loads(re.sub(r"^# ?", "", header, flags=re.M))["dependencies"]
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.M))
    imported |= set(re.findall(r'"(numpy)\b', code))  # or its docstrings are the text
    pins = re.findall(r"^[\w-]+==\S+$", (ROOT / "requirements.txt").read_text(), re.M)
    used = [pin for pin in pins if pin.split("==")[0] in imported]
    assert sorted(inline) == sorted(used)


@names
def test_importing_is_silent(path, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(path.parent)!r}); import {path.stem}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def commands():
    """(README, command line) for every line of a bash block that runs a model file."""
    for readme in READMES:
        for language, text in blocks(readme):
            for line in text.splitlines() if language == "bash" else []:
                if re.search(r"\bpython \S*\.py", line) and " -m " not in line:
                    yield readme, line


@pytest.mark.parametrize("readme, line", list(commands()))
def test_the_commands_of_the_readmes_have_real_options(readme, line):
    script, *options = shlex.split(line.split("python ", 1)[1], comments=True)
    path = next(p for p in (ROOT / script, readme.parent / script) if p.exists())
    if path in MODELS:
        main = load(path).main

        @functools.wraps(main)
        def parsed_only(**settings):
            return settings

        assert set(tyro.cli(parsed_only, args=options)) == set(inspect.signature(main).parameters)


@names
def test_an_unknown_option_is_refused(path):
    with pytest.raises(SystemExit) as refusal:
        tyro.cli(load(path).main, args=["--no-such-option"], console_outputs=False)
    assert refusal.value.code != 0


def small_text(lines=600):
    """Sentences of seven words drawn at random, ten to a paragraph."""
    words = "the row column array matrix vector of axis shape value index table sum mean".split()
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(words, k=7)) + ".\n" for _ in range(lines)]
    return "".join(s + "\n" * (i % 10 == 9) for i, s in enumerate(sentences))


@names
def test_the_file_works_alone(path, tmp_path):
    """Copied with its data to an empty folder, run from another: the picture lies beside it."""
    alone, elsewhere = tmp_path / "alone", tmp_path / "elsewhere"
    alone.mkdir()
    elsewhere.mkdir()
    for file in [path, *path.parent.glob("*.tsv"), *path.parent.glob("*.txt")]:
        shutil.copy(file, alone)
    sentences = small_text().splitlines()
    (elsewhere / "small.txt").write_text(small_text(), encoding="utf-8")
    (elsewhere / "small.tsv").write_text("".join(f"{s}\t{s[::-1]}\n" for s in sentences if s))
    command = [sys.executable, alone / path.name, *QUICK[path.stem]]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    picture = (alone / path.name).with_suffix(".png")
    assert picture.stat().st_size > 10_000 and picture.name in done.stdout


def test_readmes_have_the_two_commands():
    lines = [line for _, text in blocks(ROOT / "README.md") for line in text.splitlines()]
    assert "pip install -r requirements.txt && python 05_transformer/transformer.py" in lines
    assert "pip install -r requirements.txt && pytest" in lines


def test_every_folder_has_its_row_in_the_index():
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"[{folder.name}]({folder.name}/README.md)" in index for folder in FOLDERS)
