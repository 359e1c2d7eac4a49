"""The results of `pytest bench` as tables, claims and a figure: bench/report.py [FILE ...]"""

import json
import sys
from math import nan
from pathlib import Path

from figure import draw

HERE = Path(__file__).parent


def read(*paths):
    """({label: what the device is}, [a dict for each row]). A label is the name of a device, with
    the name of its file if there are several files."""
    about, rows = {}, []
    for path in paths:
        suffix = f" {Path(path).stem}" if len(paths) > 1 else ""
        try:
            result = json.loads(Path(path).read_text("utf-8-sig"))
            for device, sentence in result["machine_info"]["devices"].items():
                about[device + suffix] = sentence
            for saved in result["benchmarks"]:
                row = saved["extra_info"] | saved["stats"]
                row |= dict(seconds=row["min"], noise=row["q1"] / row["min"] - 1)
                row["label"] = row["device"] + suffix
                rows.append(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no results of `pytest bench`") from error
    return about, rows


def text(about, rows):
    """What each device is, a table for each topic, the claims."""
    parts = ["\n".join(f"{label}: {sentence}" for label, sentence in about.items())]
    for topic in dict.fromkeys(row["topic"] for row in rows):
        parts.append(table([row for row in rows if row["topic"] == topic]))
    return "\n\n".join([*parts, claims(about, rows)])


def table(rows):
    """The rows of one topic: counts once, then time, ratio and speed-up on each device."""
    labels = dict.fromkeys(row["label"] for row in rows)
    head = f"{rows[0]['topic']:<38}{'MFLOP':>10}{'KiB':>12}"
    lines = [head + "".join(f"{label + ' µs':>14}{'ratio':>8}{'speed-up':>9}" for label in labels)]
    index = {(row["label"], row["number"], row["variant"]): row for row in rows}
    for number, variant in sorted({key[1:]: 0 for key in index}, key=lambda key: key[0]):
        first = next(row for key, row in index.items() if key[1:] == (number, variant))
        line = f"{number:>6}  {variant:<30}"
        line += f"{first['operations'] / 1e6:>10,.3f}{first['new_bytes'] / 1024:>12,.2f}"
        for label in labels:
            other = index.get((label, number, first["against"]))
            line += cells(index.get((label, number, variant)), other, first)
        lines.append(line.rstrip())
    return "\n".join(lines)


def cells(row, other, first):
    """Time (with a question mark if it is noisy), ratio to the other row, speed-up."""
    if row is None:
        return " " * 31
    mark = "?" if row["noise"] > 0.3 else " "
    ratio = row["seconds"] / other["seconds"] if other else nan
    speed_up = first["seconds"] / row["seconds"]
    peak = f"  peak {row['peak_bytes'] / 1024:,.2f} KiB" if "peak_bytes" in row else ""
    return f"{row['seconds'] * 1e6:>13,.1f}{mark}{ratio:>8.2f}{speed_up:>9.2f}{peak}"


def read_claims():
    """[[sentence, quantity, row, other row, expected ratio], ...] of claims.txt."""
    lines = (HERE / "claims.txt").read_text("utf-8").splitlines()
    return [line.split(" | ") for line in lines if " | " in line]


def claims(about, rows):
    """The verdict on each claim, for one thread and for the GPU; without those not measured."""
    about = [label for label in about if not label.startswith("cores")]
    lines = [f"{'claim':<65}{'ratio':>7}" + "".join(f"{label:>17}" for label in about)]
    for says, quantity, one, other, expected in read_claims():
        found = [[find(rows, name, label) for name in (one, other)] for label in about]
        if any(any(pair) for pair in found):
            verdicts = [verdict(*pair, quantity, expected) for pair in found]
            lines.append(f"{says:<65}{expected:>7}" + "".join(f"{v:>17}" for v in verdicts))
    return "\n".join(lines)


def find(rows, name, label):
    """The row with this name on the device before its colon, or else of this label; or None."""
    device, _, name = name.rpartition(":")
    for row in rows:
        names_match = name == f"{row['topic']}/{row['size']}/{row['variant']}"
        if names_match and (row["device"] == device if device else row["label"] == label):
            return row


def verdict(row, other, quantity, expected):
    """The ratio of two rows, and "yes", "no", "too close" if within their noise, or "not here"."""
    if not row or not other:
        return "not here"
    ratio, (sign, limit) = row[quantity] / other[quantity], expected.split()
    spread = max(1.1, 1 + row["noise"] + other["noise"])
    if quantity == "seconds" and 1 / spread < ratio / float(limit) < spread:
        return f"{ratio:.2f} too close"
    holds = {">=": ratio >= float(limit), "<=": ratio <= float(limit), "=": ratio == float(limit)}
    return f"{ratio:.2f} {'yes' if holds[sign] else 'no'}"


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[1:]] or [HERE / "bench.json"]
    try:
        results = read(*files)
    except (OSError, ValueError) as error:
        raise SystemExit(f"report.py: {error}")
    print(text(*results))
    draw(*results, files[0].with_suffix(".png"))
