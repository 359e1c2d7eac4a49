"""What the tests of this folder share: where the models and READMEs are, and how to read them."""

import ast
import importlib
import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path for path in ROOT.glob("0[1-6]_*") if any(path.glob("test_*.py")))
# In English; test_spanish.py compares their Spanish twins, whose code is the same, byte for byte.
READMES = sorted(ROOT.glob("[!.]*/README.md")) + [ROOT / "README.md"]
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE}
LAYOUT |= {tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def model_file(folder):
    """The model of a folder is named after it: 02_softmax_mnist/softmax.py."""
    return next(p for p in folder.glob("*.py") if folder.name[3:].startswith(p.stem))


MODELS = [model_file(folder) for folder in FOLDERS]


def load(path):
    """Imports a file under its own name, as its own test does."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    return importlib.import_module(path.stem)


def size(source):
    """(code lines, all lines, tokens): code is neither blank nor comment nor docstring."""
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                docstrings.update(range(node.lineno, node.end_lineno + 1))
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in LAYOUT and token.start[0] not in docstrings
    ]
    code = {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
    return len(code), len(source.splitlines()), len(tokens)


def blocks(text):
    """[(language, code), ...]: the fenced blocks of a Markdown text, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
