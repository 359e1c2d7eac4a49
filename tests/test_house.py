"""What holds in every folder: one short file of one structure, commands and pages that agree."""

import ast
import contextlib
import functools
import inspect
import io
import re
import runpy
import shlex
import subprocess
import sys

import pytest
import tyro
from house import MODELS, READMES, ROOT, blocks, load, size

pytestmark = pytest.mark.lint
models = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
# Code lines, all lines, tokens: at most. Lower the ceiling of a file that gets shorter.
CEILINGS = {
    "logistic": (68, 115, 870),
    "softmax": (86, 137, 1020),
    "skipgram": (115, 169, 1485),
    "ff_lm": (110, 174, 1300),
    "transformer": (158, 239, 2015),
    "bert": (164, 242, 2040),
}
OPTIONS = {
    "logistic": "distance spread bias steps lr seed",
    "softmax": "data offline epochs seed",
    "skipgram": "text near epochs seed",
    "ff_lm": "text epochs prompt seed",
    "transformer": "data translate d_model epochs seed",
    "bert": "text epochs fill seed",
}
DEVICE = 'DEVICE = torch.accelerator.current_accelerator(check_available=True) or "cpu"\n'
LAST_LINES = '\n\nif __name__ == "__main__":\n    result = tyro.cli(main)\n'
# Words of a page, as `wc -w` counts them.
WORDS = {"01_logistic": 1200, "02_softmax_mnist": 1000, "03_skipgram": 1700, "04_ff_lm": 1700}
WORDS |= {"05_transformer": 2400, "06_bert": 2000, ROOT.name: 900}


def test_the_size_is_what_a_reader_would_count():
    source = (
        '"""Doc."""\n\n# note\nx = [\n    1,  # one\n]\n\n\ndef f():\n    "Doc"\n    return x\n'
    )
    # tokens: x = [   1 ,   ]   def f ( ) :   return x
    assert size(source) == (5, 11, 3 + 2 + 1 + 5 + 2)


@models
def test_the_file_is_short_and_airy(path):
    found = size(path.read_text("utf-8"))
    assert all(have <= most for have, most in zip(found, CEILINGS[path.stem])), found
    assert found[2] <= 13 * found[0]  # tokens, code lines


@models
def test_the_sections_and_functions_have_the_same_names_in_every_file(path):
    source = path.read_text("utf-8")
    sections = re.findall(r"^# %% (.*)$", source, flags=re.MULTILINE)
    assert sections == ["data", "model", "evaluation", "training", "figure", "main"]
    functions = [node.name for node in ast.parse(source).body if hasattr(node, "args")]
    shared = ["batches", "evaluate", "train", "draw", "main"]
    if path.stem in ("logistic", "softmax"):  # one has no batches, one needs no function for them
        shared = shared[1:]
    assert [name for name in functions if name in shared] == shared
    assert source.endswith(LAST_LINES)


@models
def test_only_04_to_06_know_of_devices_and_only_by_one_constant(path):
    source = path.read_text("utf-8")
    late = path.parent.name > "04"
    assert source.count(DEVICE) == late and ("device" in source.lower()) == late
    functions = [node for node in ast.walk(ast.parse(source)) if hasattr(node, "args")]
    assert not [f for f in functions for a in getattr(f.args, "args", ()) if a.arg == "device"]


@models
def test_the_imports_are_pinned(path):
    imported = re.findall(r"^(?:import|from) (\w+)", path.read_text("utf-8"), re.M)
    pins = re.findall(r"^([\w-]+)==\S+$", (ROOT / "requirements.txt").read_text("utf-8"), re.M)
    assert set(imported) <= sys.stdlib_module_names | set(pins)


def test_the_examples_beside_regular_expressions_are_true():
    ff_lm, bert = (load(path) for path in MODELS if path.stem in ("ff_lm", "bert"))
    comments = []
    for module in bert, ff_lm:
        source = inspect.getsource(module)
        for line in re.findall("^# (?:Between sentences|Prose): .*", source, re.M):
            quoted = re.findall(r'"(.*?)"', line)
            comments.append([text.replace(r"\n", "\n") for text in quoted])
    (text, *sentences), (code, prose), texts = comments
    assert bert.re.split(bert.END, text) == sentences
    assert bert.re.findall(bert.PROSE, code) == [prose]
    assert [ff_lm.re.findall(ff_lm.PROSE, text) for text in texts] == [texts[:1], [], []]


def test_importing_is_silent(tmp_path):
    folders = [str(path.parent) for path in MODELS]
    code = f"import sys; sys.path += {folders}; import {', '.join(path.stem for path in MODELS)}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@models
def test_help_explains_every_option(path, monkeypatch):
    main = load(path).main
    options = inspect.signature(main).parameters
    assert sorted(options) == sorted(OPTIONS[path.stem].split())
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setenv("COLUMNS", "100")
    with contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    shown = "".join(re.findall(r"\w", output.getvalue()))
    for option in options:
        (explained,) = re.findall(rf"^        {option}: (.{{10,}})$", main.__doc__, re.M)
        assert re.search(rf"--{option.replace('_', '-')}\b", output.getvalue())
        assert "".join(re.findall(r"\w", explained)) in shown


# %% pages


@models
def test_the_folder_is_complete(path):
    names = ["README.md", "README.es.md", "example.png", f"test_{path.name}"]
    assert all((path.parent / name).exists() for name in names)


def test_git_keeps_the_examples_and_no_other_figure():
    lines = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert lines.index("*.png") < lines.index("!example.png")


def commands():
    """(README, command line) for every line of a bash block that runs a program."""
    for readme in READMES:
        for language, text in blocks(readme.read_text("utf-8")):
            for line in text.splitlines() if language == "bash" else []:
                if re.search(r"\bpython \S*\.py", line) and " -m " not in line:
                    yield pytest.param(readme, line, id=f"{readme.parent.name}: {line}")


@pytest.mark.parametrize("readme, line", list(commands()))
def test_the_commands_of_the_pages_have_real_options(readme, line):
    script, *options = shlex.split(line.split("python ", 1)[1], comments=True)
    path = next(p for p in (ROOT / script, readme.parent / script) if p.exists())
    if "import tyro" in path.read_text("utf-8"):
        main = load(path).main

        @functools.wraps(main)
        def parsed_only(**settings):
            return settings

        assert (
            tyro.cli(parsed_only, args=options).keys() == inspect.signature(main).parameters.keys()
        )


@pytest.mark.parametrize("language", ["README.md", "README.es.md"])
@pytest.mark.parametrize("name", WORDS)
def test_a_page_is_short(name, language):
    page = (ROOT if name == ROOT.name else ROOT / name) / language
    assert len(page.read_text("utf-8").split()) <= WORDS[name]


def front_page_tables():
    """The cells of each row of the tables of the front page, the row with the headings first."""
    text = (ROOT / "README.md").read_text("utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        yield [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_every_folder_has_its_row_on_the_front_page_with_its_true_number_of_lines():
    table = next(rows for rows in front_page_tables() if "[01_logistic]" in rows[2][0])
    assert len(table) == 2 + len(MODELS)
    for path, row in zip(MODELS, table[2:]):
        assert row[0].startswith(f"[{path.parent.name}]({path.parent.name}/README.md)")
        if "lines" in table[0]:
            assert int(row[table[0].index("lines")]) == size(path.read_text("utf-8"))[0]


def test_the_front_page_has_the_two_commands():
    front = blocks((ROOT / "README.md").read_text("utf-8"))
    lines = [line for _, text in front for line in text.splitlines()]
    assert "pip install -r requirements.txt && python 05_transformer/transformer.py" in lines
    assert "pip install -r requirements.txt && pytest" in lines
