"""Every section of the guide leads to its code, test, benchmark and answers, and these exist."""

import ast
import re

import pytest
from house import READMES, ROOT

pytestmark = pytest.mark.lint
# The headings of the guide and, with a dot, the programs that it lists.
GUIDE = """
Introducción
Regresor logístico
– Implementación en PyTorch
– Broadcasting en PyTorch
– Entropía
– Ejercicios de repaso
Embeddings incontextuales
– Notación de Einstein
– Implementación en PyTorch
– Ejercicios de repaso
Redes feed-forward
– Implementación en PyTorch
Fundamentos de los transformers
– Atención escalada
– Ejercicios de repaso
La arquitectura transformer completa
– Implementación en PyTorch
Aspectos adicionales sobre el uso de transformers en procesamiento del lenguaje natural
Modelos preentrenados
Para saber más
Python
PyTorch
– Modelos implementados en PyTorch
· `logistic-regressor.py`
· `softmax-regressor.py`
· `skipgrams-jurafsky.py`
· `skipgrams-original.py`
· `ff-neural-lm.py`
· `transformer.py`
· `bert.py`
– Desestrujando tensores
– Vectores fila y columna
– Representación en memoria de los tensores
– Modos de usar Matplotlib
Código del transformer
– Para saber más
Conceptos previos
""".strip().splitlines()
# Sections about no code of ours.
READING = {"Introducción", "Para saber más", "Python", "PyTorch", "– Para saber más"}
READING |= {"Conceptos previos"}

HERE = ROOT / "tests"
languages = pytest.mark.parametrize(
    "readme", [HERE / "README.md", HERE / "README.es.md"], ids=["English", "Spanish"]
)


def rows(readme):
    """The cells of each row of the table."""
    text = readme.read_text(encoding="utf-8")
    table = re.search(r"^\| \w+ (?:of the guide|de la guía) \|(?:.*\n)+?\n", text, re.MULTILINE)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:-1]]


@languages
def test_every_section_and_every_program_has_its_row(readme):
    assert [row[0] for row in rows(readme)] == GUIDE


@languages
def test_every_row_about_code_leads_to_code_a_test_and_the_exercises(readme):
    for section, code, test, _, exercise in rows(readme):
        if section not in READING:
            assert "](" in code and "](" in test, section
        assert "Ejercicios" not in section or "](" in exercise, section


def names(path):
    """The functions and classes of a Python file."""
    definitions = (ast.FunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, definitions)}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_every_name_that_a_readme_links_is_defined_in_its_file(readme):
    text = readme.read_text(encoding="utf-8")
    for name, path in re.findall(r"\[`(\w+)`\]\(([^)]+\.py)\)", text):
        assert name in names(readme.parent / path), f"{name} in {path}"


def guide_tests():
    source = (HERE / "test_guide.py").read_text(encoding="utf-8")
    return source, [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def test_the_tests_of_the_guide_are_in_its_order():
    headings = re.findall(r"^# %% (.*)$", guide_tests()[0], flags=re.MULTILINE)
    places = []
    for chapter, _, section in (heading.partition(": ") for heading in headings):
        start = GUIDE.index(chapter)
        places.append(GUIDE.index("– " + section, start) if section else start)
    assert places == sorted(places)


@languages
def test_every_erratum_is_in_the_readme(readme):
    told = re.findall(r"\[`(test_\w+)`\]", readme.read_text("utf-8").split("## Errat")[1])
    tests = guide_tests()[1]
    assert told == [f.name for f in tests if (ast.get_docstring(f) or "").startswith("Erratum")]
