"""What each line of a model is worth: change it, run the documented command again, compare.

A folder's ablations.txt lists changes: a name, the line as it stands (-), what replaces it (+).
The results go to ablations.json beside it; what that has for today's file is not run again. Run:

    python tests/ablations.py 05_transformer ["no causal mask"] [--seeds 3]
"""

import ast
import datetime
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import cpuinfo
import tyro
from house import model_file
from tqdm import tqdm

UNCHANGED = "as it is"
RUN = """
import json, runpy, sys
sys.argv.pop(0)
result = runpy.run_path(sys.argv[0], run_name="__main__")["result"]
numbers = {name: value for name, value in result.items() if isinstance(value, float)}
json.dump(numbers, open("metrics.json", "w"))
"""


# %% changes
def read_changes(folder):
    """The options of the command, and {name: [[old line, [new line, ...]], ...]}."""
    text = re.sub(r"^#.*\n", "", (folder / "ablations.txt").read_text("utf-8"), flags=re.M)
    command = re.search(r"^command:(.*)\n", text, flags=re.M)
    if command:
        text = text.replace(command[0], "")
    changes = {UNCHANGED: []}
    for block in re.split(r"\n\s*\n", text.strip()):
        name, *lines = block.splitlines()
        changes[name] = []
        for line in lines:
            if line.startswith("- "):
                changes[name].append([line[2:].strip(), []])
            elif line.startswith("+ ") and changes[name]:
                changes[name][-1][1].append(line[2:].rstrip())
            else:
                raise ValueError(f"{folder.name}/ablations.txt, {name}: no - or + before {line!r}")
    return shlex.split(command[1]) if command else [], changes


def apply(source, change):
    """The source with each old line, which it has once, replaced by the new ones."""
    lines = source.splitlines()
    for old, new in change:
        places = [i for i, line in enumerate(lines) if line.strip() == old]
        if len(places) != 1:
            raise ValueError(f"the file has {len(places)} lines, instead of one, that are: {old}")
        indentation = re.match(r"\s*", lines[places[0]])[0]
        lines[places[0] : places[0] + 1] = [indentation + line for line in new]
    return "\n".join(lines) + "\n"


def decides(statement, used):
    """Whether results may depend on it: not on docstrings, nor on what is printed or drawn."""
    if isinstance(statement, ast.Expr):
        called = getattr(getattr(statement.value, "func", None), "id", "")
        return not isinstance(statement.value, ast.Constant) and called not in ("print", "draw")
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id in used
    return getattr(statement, "name", "") != "draw"


def fingerprint(source):
    """Of the statements that decide the results, without their comments."""
    tree, parts = ast.parse(source), []
    for _ in range(2):  # the second time without what only a print has used
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        used = {"result", *(name.id for name in names if isinstance(name.ctx, ast.Load))}
        for node in ast.walk(tree):
            if isinstance(getattr(node, "body", None), list):
                node.body = [part for part in node.body if decides(part, used)]
                node.returns = None  # an annotation
    for node in ast.walk(tree):
        values = [value for _, value in ast.iter_fields(node)]
        parts.append(type(node).__name__)
        parts += [value for value in values if not isinstance(value, (ast.AST, list))]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


# %% runs
def run(folder, source, options):
    """Runs a copy of the folder with this model: {"metrics", "output"} or {"error"}."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
        path = model_file(copy)
        path.write_text(source, "utf-8")
        command = [sys.executable, "-c", RUN, path, *options]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, encoding="utf-8")
        if done.returncode:
            return {"error": done.stderr.splitlines()[-1].replace(str(copy), folder.name)}
        printed = [line for line in done.stdout.splitlines() if not line.startswith("figure in")]
        return {
            "metrics": json.loads((copy / "metrics.json").read_text()),
            "output": printed[-12:],
        }


def about(folder, options):
    """What all runs in a JSON have in common."""
    path = model_file(folder)
    return {
        "model": fingerprint(path.read_text("utf-8")),
        "command": shlex.join(["python", f"{folder.name}/{path.name}", *options]),
        "machine": f"{cpuinfo.get_cpu_info()['brand_raw']}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, torch {version('torch')}",
        "threads": 1,
    }


def known_runs(folder, header, changes):
    """The runs in ablations.json that are of this file, machine and list of changes."""
    path = folder / "ablations.json"
    saved = json.loads(path.read_text("utf-8")) if path.exists() else {"runs": []}
    if any(saved.get(key) != value for key, value in header.items()):
        return []
    return [run for run in saved["runs"] if run["change"] == changes.get(run["name"])]


# %% table
def average(runs, name, key):
    """Mean of a metric over the seeds, or "error" if a run failed."""
    runs = [run for run in runs if run["name"] == name]
    if any("error" in run for run in runs):
        return "error"
    return mean(run["metrics"][key] for run in runs)


def show(number):
    """0.984, 103.9, 1e+30, nan or error."""
    if number == "error":
        return number
    return f"{number:.3f}" if number < 2 else f"{number:.1f}" if number < 1e5 else f"{number:.0e}"


def table(runs):
    """Markdown, with the metrics that a change moves; what one sees is for people to write."""
    names = list(dict.fromkeys(run["name"] for run in runs))
    columns = {key: [average(runs, name, key) for name in names] for key in runs[0]["metrics"]}
    moved = [key for key in columns if len({*columns[key]} - {"error"}) > 1]
    rows = [["change", *(f"`{key}`" for key in moved), "what one sees"]]
    rows.append(["---"] * len(rows[0]))
    for i, name in enumerate(names):
        rows.append([name, *(show(columns[key][i]) for key in moved), "..."])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# %% main
def main(
    folder: tyro.conf.Positional[Path],
    name: tyro.conf.Positional[str | None] = None,
    seeds: int = 1,
    jobs: int = 1,
) -> None:
    """Runs a model with one change at a time, fills ablations.json and prints the table.

    Args:
        folder: of the model and of ablations.txt
        name: of one change; without it, all of them
        seeds: runs of each change; 0 prints the table of what has been run
        jobs: runs at the same time, each with one thread
    """
    folder = folder.resolve()
    options, changes = read_changes(folder)
    header = about(folder, options)
    runs = known_runs(folder, header, changes)
    source = model_file(folder).read_text("utf-8")
    chosen = [UNCHANGED, name] if name else list(changes)
    sources = {each: apply(source, changes[each]) for each in chosen}
    known = [(run["name"], run["seed"]) for run in runs]
    todo = [(each, seed) for seed in range(seeds) for each in chosen]
    todo = [job for job in todo if job not in known]

    def one(job):
        start, (each, seed) = time.perf_counter(), job
        record = run(folder, sources[each], [*options, "--seed", str(seed)])
        seconds, date = time.perf_counter() - start, datetime.date.today().isoformat()
        about_run = {"name": each, "change": changes[each], "seed": seed, "date": date}
        return about_run | {"seconds": round(seconds, 1)} | record

    with ThreadPoolExecutor(jobs) as pool:
        for new in tqdm(pool.map(one, todo), total=len(todo)):
            tqdm.write(f"{new['name']}, seed {new['seed']}: {new.get('error') or new['metrics']}")
            runs = sorted([*runs, new], key=lambda run: [*changes].index(run["name"]))
            content = json.dumps({**header, "runs": runs}, indent=1, ensure_ascii=False)
            (folder / "ablations.json").write_text(content + "\n", "utf-8")
    print(table(runs))


if __name__ == "__main__":
    tyro.cli(main)
