"""The figure of the benchmarks, drawn from what report.py reads."""

from bench_contiguity import LINES
from matplotlib.figure import Figure

COLORS = "#0072B2", "#E69F00", "#D55E00", "#666666"
LOOKS = {"cpu": "solid", "gpu": "dashed"}
NUMBERS = "dot products of two vectors of 100 numbers"
WORDS = "words, in 4 heads of 64 dimensions"
CURVES = [  # title, topic, quantity, its unit, labels of the axes
    ("Dot products", "dot products", "min", 1e-3, NUMBERS, "time (ms)"),
    ("Attention: time", "attention", "min", 1e-3, WORDS, "time (ms)"),
    ("Attention: memory", "attention", "new_bytes", 2**20, WORDS, "new tensors (MiB)"),
]
VARIANTS = {
    "dot products": ["matmul", "einsum", "vecdot", "python_loop"],
    "attention": ["matrices", "fused", "by_query"],
}


def draw(devices, rows, path):
    """Saves a panel for the order in memory and for each of the curves, as far as measured."""
    topics = {row["topic"] for row in rows if row["device"] in LOOKS}
    panels = [curve for curve in CURVES if curve[1] in topics]
    fig = Figure(figsize=(10, 8), layout="constrained")
    for place, (title, topic, quantity, unit, xlabel, ylabel) in enumerate(panels, 1):
        ax = fig.add_subplot(2, 2, place, title=title, xlabel=xlabel, ylabel=ylabel)
        draw_curves(ax, [row for row in rows if row["topic"] == topic], quantity, unit)
    if topics & set(LINES):
        draw_layouts(fig.add_subplot(2, 2, len(panels) + 1), rows)
    fig.supxlabel("\n".join(f"{name}: {devices[name]}" for name in LOOKS), size=9)
    fig.savefig(path, dpi=150)


def draw_curves(ax, rows, quantity, unit):
    """A line for each variant on each device, over the size."""
    for variant, color, marker in zip(VARIANTS[rows[0]["topic"]], COLORS, "os^v"):
        for device, look in LOOKS.items():
            own = [r for r in rows if (r["variant"], r["device"]) == (variant, device)]
            x, y = [row["number"] for row in own], [row[quantity] / unit for row in own]
            if own:
                label = f"{variant}, {device}"
                ax.plot(x, y, ls=look, color=color, marker=marker, label=label)
    ax.set(xscale="log", yscale="log")
    sizes = sorted({row["number"] for row in rows if row["device"] in LOOKS})
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend()


def draw_layouts(ax, rows):
    """Transposed / contiguous: a bar for each line of code and each of the two largest matrices."""
    device = "gpu" if any(r["device"] == "gpu" for r in rows if r["topic"] in LINES) else "cpu"
    rows = [row for row in rows if row["topic"] in LINES and row["device"] == device]
    seconds = {(row["topic"], row["number"], row["variant"]): row["min"] for row in rows}
    numbers = sorted({row["number"] for row in rows})[-2:]
    for number, color, shift in zip(numbers, COLORS, (-0.2, 0.2)):
        for place, line in enumerate(LINES):
            times = [seconds.get((line, number, way)) for way in ("transposed", "contiguous")]
            if all(times):
                ax.barh(place + shift, times[0] / times[1], 0.38, color=color)
        ax.barh(0, 0, color=color, label=f"n = {number}, {device}")
    ax.axvline(1, color="black", lw=1, label="no difference")
    ax.set_yticks(range(len(LINES)), LINES)
    ax.invert_yaxis()
    ax.set(title="Order in memory of a", xlabel="time, transposed / contiguous")
    ax.legend()
