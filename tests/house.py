"""What the tests of this folder share: where the models and READMEs are, and how to read them."""

import ast
import importlib.util
import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path for path in ROOT.glob("0[1-6]_*") if any(path.glob("test_*.py")))
# In English; test_spanish.py compares their Spanish twins, whose code is the same, byte for byte.
READMES = sorted(ROOT.glob("[!.]*/README.md")) + [ROOT / "README.md"]


def model_file(folder):
    """The model of a folder is named after it: 02_softmax_mnist/softmax.py."""
    return next(p for p in folder.glob("*.py") if folder.name[3:].startswith(p.stem))


MODELS = [model_file(folder) for folder in FOLDERS]


def load(path):
    """Imports a model file under its own name, as its own test does."""
    if path.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[path.stem])
    return sys.modules[path.stem]


def code_lines(source):
    """The numbers of the lines that hold code: no blank lines, comments or docstrings."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    layout.add(tokenize.ENDMARKER)
    code, prose = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                prose.update(range(node.lineno, node.end_lineno + 1))
    return code - prose


def blocks(readme):
    """[(language, text), ...]: the fenced blocks of a README, in order."""
    text = readme.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
