"""What holds in every folder: one short file of one structure that runs alone, and its commands."""

import ast
import contextlib
import functools
import inspect
import io
import random
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
import tyro
from house import FOLDERS, MODELS, READMES, ROOT, blocks, load, size

models = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
# Code lines, all lines, tokens: at most. Lower the ceiling of a file that gets shorter.
CEILINGS = {
    "logistic": (70, 117, 866),
    "softmax": (92, 139, 1100),
    "skipgram": (136, 208, 1685),
    "ff_lm": (130, 195, 1470),
    "transformer": (171, 262, 2161),
    "bert": (179, 274, 2158),
}
QUICK = {  # the options that make a run take seconds
    "logistic": ["--steps", "5"],
    "softmax": ["--offline", "--epochs", "1"],
    "skipgram": ["--text", "small.txt", "--min-count", "1", "--epochs", "1"],
    "ff_lm": ["--text", "small.txt", "--min-count", "1", "--epochs", "1"],
    "transformer": ["--data", ".", "--epochs", "1", "--d-model", "16"],
    "bert": ["--text", "small.txt", "--epochs", "1"],
}
GUARD = """
if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's output has no such method
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some characters
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"NAME: {error}")
"""


def test_the_size_is_what_a_reader_would_count():
    source = (
        '"""Doc."""\n\n# note\nx = [\n    1,  # one\n]\n\n\ndef f():\n    "Doc"\n    return x\n'
    )
    # tokens: x = [   1 ,   ]   def f ( ) :   return x
    assert size(source) == (5, 11, 3 + 2 + 1 + 5 + 2)


@models
def test_the_file_is_short(path):
    source = path.read_text(encoding="utf-8")
    for have, most in zip(size(source), CEILINGS[path.stem]):
        assert have <= most
    assert max(map(len, source.splitlines())) <= 100


@models
def test_the_folder_is_complete(path):
    assert all((path.parent / name).exists() for name in ("README.md", "README.es.md"))
    assert (path.parent / "example.png").exists()


def test_git_keeps_the_examples_and_no_other_figure():
    lines = (ROOT / ".gitignore").read_text().splitlines()
    assert lines.index("*.png") < lines.index("!example.png")


@models
def test_the_sections_and_functions_have_the_same_names_in_every_file(path):
    source = path.read_text(encoding="utf-8")
    sections = re.findall(r"^# %% (.*)$", source, flags=re.MULTILINE)
    assert sections == ["data", "model", "evaluation", "training", "figure", "main"]
    functions = [node.name for node in ast.parse(source).body if hasattr(node, "args")]
    shared = ["batches", "evaluate", "train", "draw", "main"]
    if path.stem in ("logistic", "softmax"):  # one has no batches, one needs no function for them
        shared = shared[1:]
    assert [name for name in functions if name in shared] == shared


@models
def test_the_last_lines_are_the_same_in_every_file(path):
    guard = GUARD.replace("NAME", path.name).splitlines()
    if path.stem in ("logistic", "softmax"):  # print nothing but ASCII
        guard = [line for line in guard if "stdout" not in line]
    assert path.read_text(encoding="utf-8").splitlines()[-len(guard) :] == guard


@models
def test_the_imports_are_pinned(path):
    imported = re.findall(r"^(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.M)
    pins = re.findall(r"^([\w-]+)==\S+$", (ROOT / "requirements.txt").read_text(), re.M)
    assert set(imported) <= sys.stdlib_module_names | set(pins)


def test_importing_is_silent(tmp_path):
    folders = [str(path.parent) for path in MODELS]
    code = f"import sys; sys.path += {folders}; import {', '.join(path.stem for path in MODELS)}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def commands():
    """(README, command line) for every line of a bash block that runs a model file."""
    for readme in READMES:
        for language, text in blocks(readme.read_text(encoding="utf-8")):
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


@models
def test_help_explains_every_option(path, monkeypatch):
    """Run as in a notebook, too, where sys.stdout has no method `reconfigure`."""
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setenv("COLUMNS", "100")
    with contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert not end.value.code
    main = load(path).main
    shown = "".join(re.findall(r"\w", output.getvalue()))
    for option in inspect.signature(main).parameters:
        (explained,) = re.findall(rf"^        {option}: (.{{10,}})$", main.__doc__, re.M)
        assert re.search(rf"--{option.replace('_', '-')}\b", output.getvalue())
        assert "".join(re.findall(r"\w", explained)) in shown


def small_text(lines=300):
    """Sentences of seven words drawn at random, ten to a paragraph."""
    words = "the row column array matrix vector of axis shape value index table sum mean".split()
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(words, k=7)) + ".\n" for _ in range(lines)]
    return "".join(s + "\n" * (i % 10 == 9) for i, s in enumerate(sentences))


@models
def test_the_file_works_alone(path, tmp_path):
    """Copied with its data to an empty folder, run from another: the figure is beside the file."""
    alone, elsewhere = tmp_path / "alone", tmp_path / "elsewhere"
    alone.mkdir()
    elsewhere.mkdir()
    for file in [path, *path.parent.glob("*.t[sx][vt]")]:
        shutil.copy(file, alone)
    text = small_text()
    (elsewhere / "small.txt").write_text(text, encoding="utf-8")
    pairs = [f"{line}\t{line[::-1]}\n" for line in text.splitlines() if line]
    (elsewhere / "pairs.tsv").write_text("".join(pairs[8:]), encoding="utf-8")
    (elsewhere / "pairs_test.tsv").write_text("".join(pairs[:8]), encoding="utf-8")
    command = [sys.executable, alone / path.name, *QUICK[path.stem]]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (alone / path.name).with_suffix(".png").stat().st_size > 10_000


def test_the_front_page_has_the_two_commands():
    front = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = [line for _, text in front for line in text.splitlines()]
    assert "pip install -r requirements.txt && python 05_transformer/transformer.py" in lines
    assert "pip install -r requirements.txt && pytest" in lines


def test_every_folder_has_its_row_on_the_front_page():
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"[{folder.name}]({folder.name}/README.md)" in index for folder in FOLDERS)
