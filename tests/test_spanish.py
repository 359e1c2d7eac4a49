"""Each README has a Spanish twin: the same headings, code, tables, numbers and links."""

import re
from collections import Counter

import pytest
from house import FOLDERS, READMES

pytestmark = pytest.mark.lint
NUMBER = r"(?:(?<!\w)[-−])?\d+(?:\.\d+)?"
CODE = r"`[^`]+`"
LINK = r"\]\(([^)\s]+)\)"
HEADINGS = {  # of a folder, in this order
    "Example output": "Ejemplo de salida",
    "Results": "Resultados",
    "What each line is worth": "Qué aporta cada línea",
    "The model": "El modelo",
    "Worked example": "Ejemplo resuelto",
    "Differences from the paper": "Diferencias con el artículo",  # but in 01, which follows a book
    "Data": "Datos",
    "Recipes": "Recetas",
    "Exercises": "Ejercicios",
}
FENCE = re.compile(r"^ *```.*?^ *```$", flags=re.MULTILINE | re.DOTALL)


def pair(english):
    return english, english.with_name("README.es.md")


def read(readme):
    """The text without its fenced blocks, and 1 000 and 1,000 written as 1000."""
    text = FENCE.sub("", readme.read_text(encoding="utf-8"))
    return re.sub(r"(?<=\d)[ ,\u00a0\u202f](?=\d{3}(?!\d))", "", text)


def sections(readme):
    """Each heading with what stands below it; links without language and anchor."""
    text = re.sub(r"#[^)\s]+\)", ")", read(readme).replace("README.es.md", "README.md"))
    return re.split(r"^(?=#+ )", text, flags=re.MULTILINE)


def rows(readme):
    """The rows of the tables: of each cell, its numbers and its code."""
    lines = re.findall(r"^ *\|(.*)\|$", read(readme), flags=re.MULTILINE)
    cells = [re.split(r"(?<!\\)\|", line) for line in lines]
    return [[sorted(re.findall(f"{CODE}|{NUMBER}", cell)) for cell in row] for row in cells]


def anchors(readme):
    """What links to the headings are called, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", read(readme), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


twins = pytest.mark.parametrize("english", READMES, ids=lambda path: path.parent.name)


@twins
def test_the_two_link_to_each_other_under_the_title(english):
    lines = ["[En español](README.es.md)", "[In English](README.md)"]
    for readme, line in zip(pair(english), lines):
        title, below = [line for line in read(readme).splitlines() if line][:2]
        assert title.startswith("# ") and below == line


@pytest.mark.parametrize("before, folder", [*zip(FOLDERS, FOLDERS[1:])], ids=lambda p: p.name)
def test_a_page_begins_with_what_is_new(before, folder):
    for readme, words in zip(pair(folder / "README.md"), ["New against", "Novedades respecto a"]):
        beginning = read(readme).split("\n## ")[0]
        assert f"\n{words} {before.name[:2]}: " in beginning


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_folder_has_the_same_headings(folder):
    for readme, names in zip(pair(folder / "README.md"), [HEADINGS.keys(), HEADINGS.values()]):
        headings = re.findall(r"^## (.*)$", read(readme), flags=re.MULTILINE)
        needed = list(names)
        if folder == FOLDERS[0]:
            del needed[5]
        if not (folder / "ablations.json").exists():
            del needed[2]
        assert [name for name in headings if name in needed] == needed


@twins
def test_the_headings_the_code_and_the_comments_are_the_same(english):
    texts = [readme.read_text(encoding="utf-8") for readme in pair(english)]
    for pattern in FENCE, re.compile("<!--.*?-->", flags=re.DOTALL):
        assert pattern.findall(texts[0]) == pattern.findall(texts[1])
    levels = [[text.split(" ")[0] for text in sections(readme)[1:]] for readme in pair(english)]
    assert levels[0] == levels[1]


@twins
def test_the_tables_have_the_same_cells(english):
    ours, theirs = map(rows, pair(english))
    assert [len(row) for row in ours] == [len(row) for row in theirs]
    for one, other in zip(ours, theirs):
        assert one == other


@twins
@pytest.mark.parametrize("what", [NUMBER, CODE, LINK], ids=["numbers", "code", "links"])
def test_each_section_has_the_same(what, english):
    for ours, theirs in zip(*map(sections, pair(english)), strict=True):
        one, other = (Counter(re.findall(what, text)) for text in (ours, theirs))
        assert one == other, (ours.splitlines()[0], one - other, other - one)


@twins
def test_every_link_leads_somewhere_in_its_language(english):
    for readme, language in zip(pair(english), ["README.md", "README.es.md"]):
        for link in re.findall(LINK, read(readme))[1:]:  # the first leads to the twin
            path, _, anchor = link.partition("#")
            target = readme.parent / path if path else readme
            badge = link.startswith("../../actions/")  # of GitHub, relative to the repository
            assert "://" in link or badge or target.exists(), link
            assert not target.name.startswith("README") or target.name == language, link
            assert not anchor or "://" in link or anchor in anchors(target), link


@twins
def test_no_paragraph_is_left_in_english(english):
    ours, theirs = (set(re.split(r"\n\s*\n", read(readme))) for readme in pair(english))
    same = [text for text in ours & theirs if not text.startswith("$$")]
    assert not [text for text in same if len(text.split()) > 12]
