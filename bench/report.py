"""The results of `pytest bench` as tables, claims and a figure: bench/report.py [FILE]"""

import json
import sys
from math import inf
from pathlib import Path

import bench_attention
import bench_contiguity
import bench_einsum
import bench_peers
from figure import draw

CLAIMS = bench_einsum.CLAIMS + bench_contiguity.CLAIMS + bench_attention.CLAIMS + bench_peers.CLAIMS
QUANTITIES = {"time": "min", "work": "work", "memory": "new_bytes"}


def read(path):
    """({device: what it is}, [a dict for each row])."""
    result = json.loads(Path(path).read_text("utf-8-sig"))
    rows = [saved["extra_info"] | saved["stats"] for saved in result["benchmarks"]]
    return result["machine_info"]["devices"], rows


def text(devices, rows):
    """What each device is, a table for each topic on each device, the claims."""
    parts = ["\n".join(f"{device}: {sentence}" for device, sentence in devices.items())]
    for topic, device in dict.fromkeys((row["topic"], row["device"]) for row in rows):
        parts.append(table(rows, topic, device))
    return "\n\n".join([*parts, claims(rows)])


def table(rows, topic, device):
    """Counts, time, spread and ratio of the rows of one topic on one device."""
    rows = [row for row in rows if (row["topic"], row["device"]) == (topic, device)]
    head = f"{topic}, {device}"
    lines = [f"{head:<40}{'MFLOP':>10}{'KiB':>12}{'µs':>13}{'spread':>8}{'ratio':>8}"]
    for row in rows:
        line = f"{row['number']:>8}  {row['variant']:<30}"
        line += f"{row['work'] / 1e6:>10,.3f}" if row.get("work") else " " * 10
        line += f"{row['new_bytes'] / 1024:>12,.2f}" if "new_bytes" in row else " " * 12
        line += f"{row['min'] * 1e6:>13,.1f}{row['median'] / row['min'] - 1:>8.0%}"
        for other in rows:
            if (other["number"], other["variant"]) == (row["number"], row["against"]):
                line += f"{row['min'] / other['min']:>8.2f}"
        if "peak_bytes" in row:
            line += f"  peak {row['peak_bytes'] / 1024:,.2f} KiB"
        lines.append(line)
    return "\n".join(lines)


def claims(rows):
    """The verdict on each claim, for one thread and for the GPU; without those not measured."""
    measured = {row["device"] for row in rows}
    devices = [device for device in ("cpu", "gpu") if device in measured]
    lines = [f"{'':<25}{'claim':<48}{'ratio':<11}" + "".join(f"{name:>16}" for name in devices)]
    for topic, says, sizes, variants, expected in CLAIMS:
        pairs = [find(rows, topic, sizes, variants, device) for device in devices]
        if any(any(pair) for pair in pairs):
            verdicts = "".join(f"{verdict(*pair, expected):>16}" for pair in pairs)
            lines.append(f"{topic:<25}{says:<48}{expected:<11}{verdicts}")
    return "\n".join(lines)


def find(rows, topic, sizes, variants, device):
    """The two rows of a claim, None for one that was not measured. What holds for both is written
    once, what differs as "one / other"; a size may have a device of its own before it."""
    names = {(row["topic"], row["device"], row["size"], row["variant"]): row for row in rows}
    pair = []
    for end in (0, -1):
        *own, size = sizes.split(" / ")[end].split()
        pair.append(names.get((topic, *(own or [device]), size, variants.split(" / ")[end])))
    return pair


def verdict(row, other, expected):
    """The ratio of two rows and "yes" or "no"; "too close" if it would change with the one row's
    fastest round and the other's median; "not measured" if a row is missing."""
    if not row or not other:
        return "not measured"
    *quantity, sign, limit = expected.split()
    quantity, limit = QUANTITIES[quantity[0] if quantity else "time"], float(limit)
    ratio = row[quantity] / other[quantity]
    if quantity == "min" and row["min"] / other["median"] < limit < row["median"] / other["min"]:
        return f"{ratio:.2f} too close"
    low, high = {">=": (limit, inf), "<=": (-inf, limit), "=": (limit, limit)}[sign]
    return f"{ratio:.2f} {'yes' if low <= ratio <= high else 'no'}"


if __name__ == "__main__":
    path = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("bench.json")
    results = read(path)
    print(text(*results))
    draw(*results, path.with_suffix(".png"))
