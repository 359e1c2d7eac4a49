"""The results of `pytest bench` as tables, a list of claims and a picture.

Command  python report.py [FILE ...]   the last run, or other files of results: yours and a friend's
"""

import json
import os
import sys
from dataclasses import dataclass, field
from math import ceil, log
from pathlib import Path

import numpy as np
import tyro
from picture import draw

HERE = Path(__file__).parent
UNITS = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


@dataclass
class Series:
    """What a file of results says about one device: its rows by name, or why there are none."""

    device: str
    label: str
    about: str
    reason: str
    rows: dict = field(default_factory=dict)  # "topic/size/variant" -> seconds, counts, noise

    def of(self, topic):
        return [row for row in self.rows.values() if row["topic"] == topic]

    def ratio(self, row, other_row, quantity="seconds"):
        """A row's quantity divided by another row's; None if one of the two was not measured."""
        if row not in self.rows or other_row not in self.rows:
            return None
        return self.rows[row][quantity] / self.rows[other_row][quantity]

    def peak(self):
        """Operations per second of the fastest matrix product; None if none was measured."""
        return max((row["flops"] / row["seconds"] for row in self.of("roof")), default=0) or None

    def copy_speed(self, size):
        """Bytes per second of a copy that reads and writes `size` bytes in all, or None."""
        copies = [row for row in self.of("roof") if row["variant"] == "copy"]
        curve = sorted((log(row["bytes"]), row["bytes"] / row["seconds"]) for row in copies)
        return float(np.interp(log(size), *zip(*curve, strict=True))) if curve else None

    def share_of_roof(self, row):
        """The time the row would take at this machine's best, divided by the time it takes."""
        peak, speed = self.peak(), self.copy_speed(row["bytes"])
        if not peak or not speed or not row["new_bytes"]:  # a view does no work
            return None
        return max(row["flops"] / peak, row["bytes"] / speed) / row["seconds"]


# %% reading
def read(*paths):
    """The series of one or more files of results; ValueError if one of them is something else."""
    return labelled([series for path in paths for series in series_of(load(path), path)])


def load(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: `pytest bench` makes bench/bench.json") from None
    except ValueError:
        raise ValueError(f"{path} is not JSON: give a file that `pytest bench` wrote") from None


def series_of(result, path):
    """The series of the cpu and of the gpu in what pytest-benchmark has saved."""
    try:
        machine, name = result["machine_info"], Path(path).stem
        software = f"Python {machine['python_version']}, torch {machine['torch']}"
        when = f"{software}, {result['datetime'][:10]}"
        cpu = (
            f"{machine['cpu_name']}, {machine['cores']} cores, {machine['threads']} in use, {when}"
        )
        devices = {
            "cpu": Series("cpu", name, cpu, "not measured in this run"),
            "cuda": Series("cuda", name, f"{machine['gpu']}, {when}", "not measured in this run"),
        }
        if machine["no_gpu"]:
            devices["cuda"].reason = f"not measured: {machine['no_gpu']}"
        for saved in result["benchmarks"]:
            row = saved["extra_info"] | {"seconds": saved["stats"]["min"]}
            row["noise"] = saved["stats"]["median"] / row["seconds"] - 1
            devices[row["device"]].rows[name_of(row)] = row
        if not result["benchmarks"]:
            raise KeyError
        return list(devices.values())
    except (KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} holds no results of `pytest bench`: give a file that does"
        ) from None


def labelled(all_series):
    """The series with rows, and one without where a device has none. A label is the device, and
    the file too where two files have the same device."""
    kept = [series for series in all_series if series.rows]
    for series in all_series:
        if series.device not in [other.device for other in kept]:
            kept.append(series)
    devices = [series.device for series in kept]
    for series in kept:
        several = devices.count(series.device) > 1
        series.label = f"{series.device} {series.label}" if several else series.device
    return kept


# %% text
def text(all_series):
    """The machines, the rows of each, when a copy pays, the claims."""
    parts = ["\n".join(f"{s.label}: {s.about if s.rows else s.reason}" for s in all_series)]
    for series in all_series:
        others = [other for other in all_series if other is not series]
        topics = dict.fromkeys(row["topic"] for row in series.rows.values())
        parts += [table(series, topic, others) for topic in topics] + [payback(series)]
    return "\n\n".join(part for part in [*parts, claims(all_series)] if part)


def table(series, topic, others=()):
    """One topic of one series, with the times of the other series in the last columns."""
    form = "{:<45}{:>9}{:>9}{:>9}{:>8}{:>7}{:>10}{:>7}" + "  {:>9}" * len(others)
    titles = [series.label, "ratio", "GFLOP/s", "GB/s", "roof", "memory", "noise"]
    lines = [form.format(topic, *titles, *[other.label for other in others])]
    sizes = list(dict.fromkeys(row["size"] for row in series.of(topic)))
    for row in sorted(series.of(topic), key=lambda row: sizes.index(row["size"])):
        elsewhere = [other.rows.get(name_of(row)) for other in others]
        times = [seconds(other["seconds"]) if other else "" for other in elsewhere]
        line = f"  {row['size']:<15}{row['variant']}"
        lines.append(form.format(line, *cells(series, row), *times).rstrip())
    return "\n".join(lines)


def name_of(row, variant="variant"):
    return f"{row['topic']}/{row['size']}/{row[variant]}"


def cells(series, row):
    """Time, ratio, rates, share of the roof, new memory and noise of a row, as text."""
    ratio = series.ratio(name_of(row), name_of(row, "against"))
    share = series.share_of_roof(row)
    works = row["new_bytes"] > 0
    return [
        seconds(row["seconds"]),
        f"{digits(ratio)}x" if ratio else "-",
        digits(row["flops"] / row["seconds"] / 1e9) if works and row["flops"] else "-",
        digits(row["bytes"] / row["seconds"] / 1e9) if works else "-",
        percent(share) if share else "-",
        size(row["new_bytes"]),
        f"{row['noise']:.0%}" + ("?" if row["noise"] > 0.3 else ""),
    ]


def payback(series, n="1024"):
    """After how many uses of a transposed tensor one call of `contiguous()` has paid for itself."""
    rows = {row["variant"]: row["seconds"] for row in series.of("layout") if str(row["size"]) == n}
    copy = rows.pop("copy_in_row_order, transposed", None)
    lines = []
    for name in [name for name in rows if name.endswith("transposed")] if copy else []:
        saved = rows[name] - rows.get(name.replace("transposed", "contiguous"), 0)
        uses = f"after use {ceil(copy / saved)}" if saved > 0.05 * rows[name] else "never"
        lines.append(f"  {name.split(',')[0]:<20}{uses}")
    return "\n".join([f"{series.label}: a.contiguous() pays, n = {n}", *lines]) if lines else ""


def digits(number):
    """Whole from 100 on, one decimal from 1 on, two significant digits below: 216, 2.5, 0.085."""
    return (
        f"{number:.0f}"
        if number >= 100
        else f"{number:.1f}"
        if number >= 0.995
        else f"{number:.2g}"
    )


def percent(share):
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def seconds(time):
    unit = next((unit for unit in UNITS if time >= UNITS[unit]), "ns")
    return f"{digits(time / UNITS[unit])} {unit}"


def size(count):
    if count < 1024:
        return f"{count} B"
    return f"{digits(count / 2**10)} KiB" if count < 2**20 else f"{digits(count / 2**20)} MiB"


# %% claims
def claims(all_series):
    """Each claim of claims.txt, the ratio it expects and, for each series, ratio and verdict."""
    form = "{:<66}{:>7}" + "{:>8} {:<8}" * len(all_series)
    titles = [word for series in all_series for word in (series.label[:8], "")]
    lines = [form.format("claim", "ratio", *titles).rstrip()]
    for claim in read_claims():
        found = [word for series in all_series for word in verdict(claim, series, all_series)]
        lines.append(form.format(claim["says"], claim["expected"], *found).rstrip())
    return "\n".join(lines)


def read_claims():
    """[{says, quantity, row, other_row, expected}, ...]: two lines of claims.txt each."""
    lines = (HERE / "claims.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    claims = []
    for says, rule in zip(lines[::2], lines[1::2], strict=True):
        quantity, row, other_row, expected = [part.strip() for part in rule.split("|")]
        claims.append(dict(says=says, quantity=quantity, row=row, other_row=other_row))
        claims[-1]["expected"] = expected
    return claims


def verdict(claim, series, all_series):
    """(ratio, "yes" or "no") of a claim for a series, or ("", "not here") if a row is missing."""
    values = []
    for row in (claim["row"], claim["other_row"]):
        device, _, name = row.rpartition(":")
        home = [series] if device in ("", series.device) else all_series
        rows = [s.rows[name] for s in home if device in ("", s.device) and name in s.rows]
        values += [row[claim["quantity"]] for row in rows[:1]]
    if len(values) < 2:
        return "", "not here"
    ratio, (sign, limit) = values[0] / values[1], claim["expected"].split()
    holds = {">=": ratio >= float(limit), "<=": ratio <= float(limit), "=": ratio == float(limit)}
    return digits(ratio), "yes" if holds[sign] else "no"


# %% main
def main(files: tyro.conf.Positional[tuple[Path, ...]] = (), figure: Path | None = None):
    """Prints the tables and claims of one or more files of results and draws their picture.

    Args:
        files: Results of `pytest bench` (default: bench.json, the last run). With several, such as
            the CPU of one machine and the GPU of another, they stand side by side.
        figure: Where to save the picture (default: beside the first file, as .png).
    """
    files = files or (HERE / "bench.json",)
    figure = figure or files[0].with_suffix(".png")
    if not os.access(figure.parent, os.W_OK) or figure.is_dir():
        raise ValueError(f"the picture cannot be written to {figure}")
    all_series = read(*files)
    print(text(all_series))
    draw(all_series, figure)
    print(f"\npicture: {os.path.relpath(figure)}")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        sys.exit(f"{Path(__file__).name}: {str(error) or 'interrupted, nothing was saved'}")
