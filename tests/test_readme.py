"""Every README keeps its word: its code runs and prints what it shows, its numbers are measured."""

import contextlib
import io
import re
import sys

import pytest
from house import FOLDERS, READMES, ROOT, blocks, load, model_file

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def same_text(shown, printed):
    """Equal word for word, every number within 2 % (or 0.02)."""
    close = all(
        abs(float(a) - float(b)) <= max(0.02, 0.02 * abs(float(b)))
        for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed))
    )
    return close and NUMBER.sub("#", shown).split() == NUMBER.sub("#", printed).split()


def test_same_text_sees_differences():
    assert same_text("a 1.00 b", "a  1.01 b")
    assert not same_text("a 1.0", "a 1.1") and not same_text("a 1", "b 1")


@pytest.mark.parametrize("readme", READMES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_python_blocks_run_and_print_what_is_shown(readme, monkeypatch):
    monkeypatch.chdir(readme.parent)
    monkeypatch.setattr(sys, "path", [str(readme.parent), *sys.path])
    namespace, printed = {}, None
    for language, text in blocks(readme):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(text, str(readme), "exec"), namespace)
            printed = output.getvalue()
        elif language == "text" and printed is not None:
            assert same_text(text, printed), f"shown:\n{text}\nprinted:\n{printed}"
            printed = None
        else:
            printed = None


def promises(readme):
    """The call that a README promises about, and its rows (metric, value, tolerance)."""
    text = readme.read_text(encoding="utf-8")
    call = re.search(r"<!-- promise: main\((.*)\) -->", text)
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|", text, flags=re.MULTILINE)
    return (call[1] if call else ""), [(name, float(v), float(t)) for name, v, t in rows]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_readme_promises_something(folder):
    assert promises(folder / "README.md")[1]


@pytest.mark.promise
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_whole_default_run_keeps_the_promises(folder, tmp_path):
    arguments, rows = promises(folder / "README.md")
    settings = eval(f"dict({arguments})")
    result = load(model_file(folder)).main(**settings, figure=tmp_path / "figure.png")
    print({name: result[name] for name, _, _ in rows})
    for name, value, tolerance in rows:
        assert abs(result[name] - value) <= tolerance, name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_index_repeats_the_numbers_of_the_folder(folder):
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| \[{folder.name}\].*$", index, flags=re.MULTILINE)
    values = [f"{value:g}" for _, value, _ in promises(folder / "README.md")[1]]
    assert any(value in NUMBER.findall(row) for value in values)
