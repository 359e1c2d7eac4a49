"""The figure of the benchmarks, drawn from what report.py reads."""

from math import nan

from matplotlib.figure import Figure

COLORS = ["#0072B2", "#E69F00", "#D55E00", "#666666"]
VARIANTS = {
    "einsum": ["einsum", "multiply_sum", "matmul_diagonal", "python_loop"],
    "attention": ["matrices", "fused", "loop_over_queries"],
}
LABELS = {  # topic: title and the label below
    "einsum": ("Dot products", "number of dot products, of vectors of length 100"),
    "layout": ("Layout of a", "time, transposed / contiguous"),
    "attention": ("Attention", "words, in 4 heads of 64 dimensions"),
}


def draw(about, rows, path):
    """Saves a panel for each of the three topics that was measured, with one thread or a GPU."""
    about = {label: words for label, words in about.items() if not label.startswith("cores")}
    looks = dict(zip(about, ["solid", "dashed", "dotted", "dashdot"] * 2))
    fig = Figure(figsize=(14, 5), layout="constrained")
    topics = [topic for topic in LABELS if any(row["topic"] == topic for row in rows)]
    for place, topic in enumerate(topics, 1):
        ax = fig.add_subplot(1, len(topics), place)
        chosen = [row for row in rows if row["topic"] == topic]
        draw_layouts(ax, chosen) if topic == "layout" else draw_lines(ax, chosen, looks)
        ax.set(title=LABELS[topic][0], xlabel=LABELS[topic][1])
        ax.legend()
    words = [f"{label} ({looks[label]}): {sentence}" for label, sentence in about.items()]
    fig.supxlabel("\n".join(words), size=9)
    fig.savefig(path, dpi=150)


def draw_lines(ax, rows, looks):
    """Time over size: a colour for each variant, a look for each device."""
    for variant, color, marker in zip(VARIANTS[rows[0]["topic"]], COLORS, "o^sv"):
        for label, look in looks.items():
            chosen = [r for r in rows if (r["variant"], r["label"]) == (variant, label)]
            x, y = [row["number"] for row in chosen], [row["seconds"] * 1000 for row in chosen]
            ax.plot(x, y, ls=look, color=color, marker=marker)
        ax.plot([], [], color=color, marker=marker, label=variant)
    sizes = sorted({row["number"] for row in rows})
    ax.set(xscale="log", yscale="log", ylabel="time (ms)")
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")


def draw_layouts(ax, rows):
    """The two largest matrices on the first device."""
    rows = [row for row in rows if row["label"] == rows[0]["label"]]
    seconds = {(row["number"], row["variant"]): row["seconds"] for row in rows}
    lines = list(dict.fromkeys(row["against"].removesuffix(", contiguous") for row in rows))
    numbers = sorted({row["number"] for row in rows})[-2:]
    for number, color, shift in zip(numbers, COLORS, (-0.2, 0.2)):
        ratios = []
        for line in lines:
            transposed = seconds.get((number, f"{line}, transposed"), nan)
            ratios.append(transposed / seconds.get((number, f"{line}, contiguous"), nan))
        places = [place + shift for place in range(len(lines))]
        ax.barh(places, ratios, 0.38, color=color, label=f"n = {number}, {rows[0]['label']}")
    ax.set_yticks(range(len(lines)), lines)
    ax.invert_yaxis()
    ax.axvline(1, color="black", lw=1)
