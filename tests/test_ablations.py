"""What each line is worth: the changes fit today's files, and the pages say what was measured."""

import ast
import json
import re

import ablations
import pytest
from house import FOLDERS, ROOT, model_file

pytestmark = pytest.mark.lint
LISTED = [folder for folder in FOLDERS if (folder / "ablations.txt").exists()]
MEASURED = [folder for folder in LISTED if (folder / "ablations.json").exists()]
HEADINGS = {"README.md": "What each line is worth", "README.es.md": "Qué aporta cada línea"}
CHANGES = [(folder, name) for folder in LISTED for name in ablations.read_changes(folder)[1]]
SOURCE = '''"""Doc."""

def f(x):  # a comment
    y = x + 1
    print(y)
    return y

def draw(y):
    print(y)
'''


# %% the tool


def test_a_change_replaces_one_whole_line_and_keeps_its_indentation():
    changed = ablations.apply(SOURCE, [["y = x + 1", ["y = x", "y += 2"]], ["return y", []]])
    assert "    y = x\n    y += 2\n    print(y)\n\ndef draw" in changed
    for line in "y = x", "print(y)":  # one is part of a line, one stands there twice
        with pytest.raises(ValueError, match="instead of one"):
            ablations.apply(SOURCE, [[line, []]])


def test_the_list_of_changes_is_read(tmp_path):
    text = "# About.\ncommand: --steps 5\n\none\n- a\n\ntwo parts\n- b\n+ c\n+   d\n- e\n"
    (tmp_path / "ablations.txt").write_text(text, "utf-8")
    options, changes = ablations.read_changes(tmp_path)
    assert options == ["--steps", "5"] and list(changes) == ["as it is", "one", "two parts"]
    assert changes["two parts"] == [["b", ["c", "  d"]], ["e", []]]
    (tmp_path / "ablations.txt").write_text(text.replace("- a", "a"), "utf-8")
    with pytest.raises(ValueError, match="one: no - or [+] before 'a'"):
        ablations.read_changes(tmp_path)


def test_the_fingerprint_is_of_what_decides_the_results():
    same = SOURCE.replace("Doc", "Other").replace("comment", "note").replace("print(y)", "draw(y)")
    same = same.replace("    print(y)", "    z = y\n    print(z)")
    assert ablations.fingerprint(same) == ablations.fingerprint(SOURCE)
    for old, new in ("+", "-"), ("1", "2"), ("y = x", "y = f"), ("    return y\n", ""):
        other = ablations.fingerprint(SOURCE.replace(old, new))
        assert other != ablations.fingerprint(SOURCE)


MODEL = """
import sys
seed = int(sys.argv[sys.argv.index("--seed") + 1])
rate = 0.5
result = {"accuracy": rate + seed, "chance": 0.5, "model": None}
print("said", rate)
"""


def test_runs_are_kept_until_the_file_or_the_change_is_another(tmp_path, capsys):
    folder = tmp_path / "09_toy"
    folder.mkdir()
    (folder / "toy.py").write_text(MODEL, "utf-8")
    changes = "halved\n- rate = 0.5\n+ rate = 0.25\n\nfails\n- rate = 0.5\n+ rate = None\n\n"
    changes += 'nan\n- rate = 0.5\n+ rate = float("nan")\n'
    (folder / "ablations.txt").write_text(changes, "utf-8")

    def runs():
        return json.loads((folder / "ablations.json").read_text("utf-8"))["runs"]

    ablations.main(folder, "halved", seeds=2)
    found = {(run["name"], run["seed"]): run.get("metrics") for run in runs()}
    assert found["as it is", 1] == {"accuracy": 1.5, "chance": 0.5} and len(found) == 4
    assert found["halved", 0]["accuracy"] == 0.25
    ablations.main(folder, jobs=2)
    assert len(runs()) == 6 and runs()[2]["output"] == ["said 0.25"]
    assert runs()[4]["error"][:22] == "TypeError: unsupported"
    table = capsys.readouterr().out.split("| change")[-1].splitlines()
    assert table[0] == " | `accuracy` | what one sees |"
    assert [line[:-8] for line in table[2:]] == [
        "| as it is | 1.000", "| halved | 0.750", "| fails | error", "| nan | nan"
    ]  # fmt: skip
    (folder / "ablations.txt").write_text(changes.replace("0.25", "0.1"), "utf-8")
    ablations.main(folder, "halved")
    assert [run["name"] for run in runs()] == ["as it is", "as it is", "halved", "fails", "nan"]
    (folder / "toy.py").write_text(MODEL.replace("+ seed", "- seed"), "utf-8")
    ablations.main(folder, "halved")
    assert [run["seed"] for run in runs()] == [0, 0]


# %% the folders


@pytest.mark.parametrize("folder, name", CHANGES, ids=lambda value: getattr(value, "name", value))
def test_a_change_fits_the_file_and_changes_it(folder, name):
    source = model_file(folder).read_text("utf-8")
    change = ablations.read_changes(folder)[1][name]
    changed = ablations.apply(source, change)
    ast.parse(changed)
    assert (ablations.fingerprint(changed) == ablations.fingerprint(source)) == (change == [])


measured = pytest.mark.parametrize("folder", MEASURED, ids=lambda folder: folder.name)


@measured
def test_what_was_measured_is_todays_file(folder):
    saved = json.loads((folder / "ablations.json").read_text("utf-8"))
    changes = ablations.read_changes(folder)[1]
    assert saved["model"] == ablations.fingerprint(model_file(folder).read_text("utf-8"))
    assert {run["name"] for run in saved["runs"]} == set(changes)
    assert all(run["change"] == changes[run["name"]] for run in saved["runs"])


def table_of(readme):
    """The cells of each row of the table of the section, the headings first."""
    text = readme.read_text("utf-8").split(f"\n## {HEADINGS[readme.name]}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)[0].splitlines()
    heading, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return heading, rows


@measured
@pytest.mark.parametrize("language", HEADINGS)
def test_the_page_says_what_was_measured(folder, language):
    saved = json.loads((folder / "ablations.json").read_text("utf-8"))
    heading, rows = table_of(folder / language)
    names = list(ablations.read_changes(folder)[1])
    assert len(rows) == len(names) and len(heading) >= 3
    if language == "README.md":
        assert [row[0] for row in rows] == names
    for name, row in zip(names, rows):
        for key, shown in zip(heading[1:-1], row[1:-1]):
            number = ablations.average(saved["runs"], name, key.strip("`"))
            places = len(shown.partition(".")[2])
            digits = shown if number == "error" else f"{number:.{places}f}"
            assert shown in (digits, ablations.show(number)), (name, key)
        assert row[-1]


# Folder, a change, the options of a short run, a metric and by how much it changes at least.
SHORT = [
    ("01_logistic", "no bias", "", "test_accuracy", -0.05),
    ("02_softmax_mnist", "pixels from 0 to 255", "--offline --epochs 2", "test_loss", 0.1),
    ("03_skipgram", "uniform negative samples", "--epochs 1", "accuracy_at_5", -0.1),
    ("04_ff_lm", "only the last word as context", "--epochs 1", "perplexity", 10),
    ("05_transformer", "no causal mask", "--epochs 1", "exact_match", -0.1),
    ("06_bert", "always [MASK]", "--epochs 1", "masked words", -0.01),
]
SHORT = [pytest.param(*row, marks=pytest.mark.promise if row[0] > "03" else ()) for row in SHORT]


@pytest.mark.parametrize("folder, name, options, key, least", SHORT, ids=lambda value: str(value))
def test_a_change_moves_its_metric(folder, name, options, key, least):
    folder = ROOT / folder
    source, change = model_file(folder).read_text("utf-8"), ablations.read_changes(folder)[1][name]
    one, other = (
        ablations.run(folder, text, options.split())["metrics"][key]
        for text in (source, ablations.apply(source, change))
    )
    assert (other - one) / least > 1, (one, other)
