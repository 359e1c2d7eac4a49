"""The code of every README runs and prints what is shown, and the results are measured again.

Each section (## or ###) runs by itself, as if a reader had copied nothing else. A block that begins
with the comment `# name.py` is a file, which the test of its folder writes and runs. Sections that
call `main` train a model and take minutes: they are promises, too.
"""

import contextlib
import copy
import functools
import io
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from house import FOLDERS, READMES, ROOT, blocks, load, model_file

pytestmark = pytest.mark.lint
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
FILE = re.compile(r"# \w+\.py\b")

folders = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def close(shown, printed):
    """Within 2 %, or within one of the last decimal place that is shown."""
    places = len(shown.partition(".")[2])
    tolerance = max(0.02 * abs(float(printed)), 10.0**-places if places else 0)
    return abs(float(shown) - float(printed)) <= tolerance + 1e-9


def same_text(shown, printed):
    """Equal word for word, every number close."""
    numbers = zip(NUMBER.findall(shown), NUMBER.findall(printed))
    same_words = NUMBER.sub("#", shown).split() == NUMBER.sub("#", printed).split()
    return same_words and all(close(*pair) for pair in numbers)


def test_same_text_sees_differences():
    assert same_text("a 1.00 b", "a  1.01 b") and same_text("100 0.04", "101 0.03")
    assert not same_text("a 1.0", "a 1.2") and not same_text("a 1", "b 1")
    assert not same_text("0.04", "0.06") and not same_text("7", "8")


def sections():
    """README, heading and [(language, code), ...] of each section that has Python code to run."""
    part = re.compile(r"^```(\w+)\n(.*?)^```|^(#{1,3} [^\n]*)", flags=re.MULTILINE | re.DOTALL)
    for readme in READMES:
        found = []
        for language, code, heading in part.findall(readme.read_text(encoding="utf-8")):
            if heading:
                found.append((heading.strip("# "), []))
            else:
                found[-1][1].append((language, code))
        for heading, parts in found:
            code = [c for language, c in parts if language == "python" and not FILE.match(c)]
            if code:
                trains = any(re.search(r"\bmain\(", c) for c in code)
                yield pytest.param(
                    readme,
                    parts,
                    id=f"{readme.parent.name}: {heading}",
                    marks=pytest.mark.promise if trains else (),
                )


@functools.cache
def run(main, settings):
    """The result of main, what it printed, and the state of the random numbers afterwards."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.setattr(sys.modules[main.__module__], "draw", lambda *arguments: None)
        result = main(**dict(settings))
    return result, output.getvalue(), torch.get_rng_state()


def replay(main, **settings):
    """Like main without its figure, but what ran once in this process is not run again."""
    result, printed, state = run(main, tuple(sorted(settings.items())))
    torch.set_rng_state(state)
    print(printed, end="")
    return copy.deepcopy(result)


@pytest.mark.parametrize("readme, parts", list(sections()))
def test_a_section_runs_by_itself_and_prints_what_it_shows(readme, parts, monkeypatch, tmp_path):
    folder = readme.parent
    if folder in FOLDERS:
        module = load(model_file(folder))
        monkeypatch.setattr(module, "main", functools.partial(replay, module.main))
    for file in filter(Path.is_file, folder.iterdir()):
        shutil.copy(file, tmp_path)  # so that what a recipe saves is not left in the folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    namespace, printed = {}, None
    for language, code in parts:
        if language == "python" and not FILE.match(code):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(code, str(readme), "exec"), namespace)
            printed, trains = output.getvalue(), "main(" in code
        elif language == "text" and printed is not None:
            if trains:  # the README may leave out what training prints
                printed = "\n".join(printed.splitlines()[-len(code.splitlines()) :])
            assert same_text(code, printed), f"shown:\n{code}\nprinted:\n{printed}"
            printed = None
        else:
            printed = None


def promises(readme):
    """The call that a README promises about, and its rows (metric, value, tolerance)."""
    text = readme.read_text(encoding="utf-8")
    call = re.search(r"<!-- promise: main\((.*)\) -->", text)
    rows = re.findall(r"^\| `([\w ]+)` \| ([\d.]+) \| ([\d.]+) \|", text, flags=re.MULTILINE)
    return (call[1] if call else ""), rows


@folders
def test_every_readme_promises_something(folder):
    assert promises(folder / "README.md")[1]


@pytest.mark.promise
@folders
def test_a_whole_default_run_keeps_the_promises(folder):
    arguments, rows = promises(folder / "README.md")
    settings = eval(f"dict({arguments})")
    result, _, _ = run(load(model_file(folder)).main, tuple(sorted(settings.items())))
    print({name: result[name] for name, _, _ in rows})
    for name, value, tolerance in rows:
        assert abs(result[name] - float(value)) <= float(tolerance), name


@folders
def test_the_front_page_repeats_the_first_number_of_the_folder(folder):
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| \[{folder.name}\].*$", index, flags=re.MULTILINE)
    _, ((_, value, _), *_) = promises(folder / "README.md")
    assert value in NUMBER.findall(row)


def test_the_output_on_the_front_page_is_that_of_the_folder():
    front = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    shown = [line for language, text in front if language == "text" for line in text.splitlines()]
    example = (ROOT / "05_transformer" / "README.md").read_text(encoding="utf-8").splitlines()
    assert shown and set(shown) <= {*example, "..."}


@folders
def test_the_result_in_the_file_is_that_of_the_readme(folder):
    source = model_file(folder).read_text(encoding="utf-8")
    result = re.search(r"^Result: (.*?)(?:\n\n|\"\"\")", source, re.DOTALL | re.MULTILINE)[1]
    known = NUMBER.findall((folder / "README.md").read_text(encoding="utf-8"))
    stated = re.findall(r"\d+\.\d+", result)
    assert stated
    for number in stated:
        places = len(number.partition(".")[2])
        assert number in {f"{float(value):.{places}f}" for value in known}
