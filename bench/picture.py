"""The picture of the benchmarks: four panels, drawn from the series that report.py reads."""

from math import nan

import matplotlib
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
LOOKS = ["solid", "dashed", "dotted", "dashdot"]  # of the lines of the first series, the second...
EINSUM = {  # variant: colour, marker, name
    "matmul_diagonal": (RED, "s", "A·B, diagonal kept"),
    "python_loop": (GREY, "v", "Python loop"),
    "einsum": (BLUE, "o", "einsum"),
    "multiply_sum": (ORANGE, "^", "multiply and sum"),
}
ATTENTION = {
    "loop_over_queries": (RED, "s", "loop over queries"),
    "loop_over_heads": (GREY, "v", "loop over heads"),
    "matrices": (BLUE, "o", "matrices"),
    "fused": (ORANGE, "^", "fused"),
}
LINES = {  # line of bench_contiguity.py: name, from the bottom up
    "two_layouts_meet": "x + a",
    "pick_rows": "rows of a, picked",
    "copy_in_row_order": "a.contiguous()",
    "softmax": "softmax of rows",
    "row_sums": "sums of rows",
    "matrix_product": "x @ a",
    "exponential": "exp(a)",
    "one_layout": "a + a",
}
TOPICS = {  # topic: colour, marker, name
    "einsum": (RED, "s", "dot products"),
    "attention": (BLUE, "o", "attention"),
    "layout": (ORANGE, "^", "x + a, a + a, sums, x @ a"),
    "broadcasting": (GREEN, "D", "broadcasting"),
}


NAMED = {  # row: name, where it stands beside its mark
    "einsum/4096/matmul_diagonal": ("A·B, 4096 pairs", (9, 0)),
    "einsum/4096/einsum": ("einsum", (9, 0)),
    "layout/1024/two_layouts_meet, transposed": ("x + a", (-14, 13)),
    "attention/05_transformer/loop_over_queries": ("loop over queries", (9, 0)),
    "attention/1024/fused": ("fused", (9, 0)),
    "layout/1024/matrix_product, contiguous": ("x @ a", (-6, 12)),
}


def draw(all_series, path):
    """Saves the four panels as PNG: the first series filled, further ones dashed and hollow."""
    measured = [series for series in all_series if series.rows]
    about = [f"{s.label}: {s.about if s.rows else s.reason}" for s in all_series]
    if len(measured) > 1:
        about = [f"{look}, {line}" for look, line in zip(LOOKS, about, strict=False)]
    with matplotlib.rc_context({"font.size": 13, "axes.titlesize": 14}):
        fig = Figure(figsize=(13.5, 11.5), layout="constrained")
        rows = [["einsum", "layout"], ["time", "roof"], ["memory", "roof"]]
        axes = fig.subplot_mosaic(rows, height_ratios=[1.6, 1, 1])
        draw_einsum(axes["einsum"], measured)
        draw_layout(axes["layout"], measured)
        draw_attention(axes["time"], axes["memory"], measured)
        draw_roof(axes["roof"], measured)
        for ax in axes.values():
            ax.spines[["top", "right"]].set_visible(False)
        fig.supxlabel("\n".join(about), fontsize=11, color=GREY)
        fig.savefig(path, dpi=150)


def title(ax, words, *ratios):
    """A title that says what was measured, or that it was not."""
    text = "not measured" if None in ratios else words.format(*ratios)
    ax.set_title(text, loc="left", weight="bold")


def legend(ax, **options):
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=11, **options)


def sized(series, topic, variant=None):
    """[(size, row), ...] from small to large, of the rows whose size is a number."""
    rows = [row for row in series.of(topic) if variant in (None, row["variant"])]
    return sorted([(int(r["size"]), r) for r in rows if str(r["size"]).isdecimal()], key=first)


def first(pair):
    return pair[0]


def draw_lines(ax, measured, topic, variants, quantity, unit):
    """One line for each variant over the sizes, both axes logarithmic."""
    ax.set(xscale="log", yscale="log")
    for series, look in zip(measured, LOOKS, strict=False):
        for variant, (color, marker, name) in variants.items():
            points = [(n, row[quantity] / unit) for n, row in sized(series, topic, variant)]
            if points:
                style = dict(color=color, marker=marker, ms=7, lw=2, ls=look)
                style |= dict(label=name) if series is measured[0] else dict(mfc="white")
                ax.plot(*zip(*points, strict=True), **style)
    sizes = sorted({n for series in measured for n, _ in sized(series, topic)})
    ax.set_xticks(sizes, sizes)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


def draw_einsum(ax, measured):
    """Time against the number of pairs, with the slopes of E and of E²."""
    draw_lines(ax, measured, "einsum", EINSUM, "seconds", 1e-6)
    ratio = measured[0].ratio("einsum/1024/matmul_diagonal", "einsum/1024/einsum")
    title(ax, "1024 dot products: A·B takes {:.0f}x einsum's time", ratio)
    ax.set(xlabel="number of dot products E (of vectors of length 100)", ylabel="time (µs)")
    low = ax.get_ylim()[0]
    for power, name in ((1, "~ E"), (2, "~ E²")):
        ax.plot([1024, 4096], [low * 2, low * 2 * 4**power], ":", color=GREY)
        ax.annotate(name, (4096, low * 2 * 4**power), (5, -3), textcoords="offset points")
    legend(ax)


def draw_layout(ax, measured):
    """Transposed against contiguous: bars for the first series, hollow marks for the others."""
    for series, marker in zip(measured, " Dos", strict=False):
        sizes = sorted({n for n, _ in sized(series, "layout")})[-2:]
        for n, color, shift in zip(sizes, (BLUE, ORANGE), (0.2, -0.2), strict=False):
            ratios = [transposed(series, n, line) or nan for line in LINES]
            places = [i + shift for i in range(len(LINES))]
            if series is not measured[0]:
                style = dict(marker=marker, ls="", mfc="white", mec=color, ms=8)
                ax.plot(ratios, places, **style, label=f"n = {n}, {series.label}")
                continue
            ax.barh(places, [r - 1 for r in ratios], 0.38, left=1, color=color, label=f"n = {n}")
            for place in zip(ratios, places, strict=True) if len(measured) == 1 else []:
                words = f"{place[0]:.1f}"
                ax.annotate(words, place, (5, 0), textcoords="offset points", va="center")
    ratios = [transposed(measured[0], 1024, line) for line in ("two_layouts_meet", "one_layout")]
    title(ax, "a transposed: x + a takes {:.0f}x, a + a {:.1f}x", *ratios)
    ax.set(xscale="log", xlabel="time, as a multiple of that with a contiguous")
    ax.set_yticks(range(len(LINES)), LINES.values())
    ax.set_xticks([1, 2, 5, 10, 20], [1, 2, 5, 10, 20])
    ax.set_xlim(0.7, 1.5 * max(ax.get_xlim()[1], 10))
    ax.minorticks_off()
    ax.axvline(1, color=GREY, lw=1)
    legend(ax, loc="upper right")


def transposed(series, n, line):
    return series.ratio(f"layout/{n}/{line}, transposed", f"layout/{n}/{line}, contiguous")


def draw_attention(time, memory, measured):
    """Time and, below it, new memory against the number of words."""
    draw_lines(time, measured, "attention", ATTENTION, "seconds", 1e-3)
    draw_lines(memory, measured, "attention", ATTENTION, "new_bytes", 2**20)
    rows = "attention/1024/fused", "attention/1024/matrices"
    ratios = measured[0].ratio(*rows), measured[0].ratio(*rows, "new_bytes")
    title(time, "Fused, 1024 words: {:.0%} of time, {:.0%} of memory", *ratios)
    time.set(ylabel="time (ms)")
    memory.set(xlabel="number of words T (4 heads of 64 dimensions)", ylabel="new memory (MiB)")
    legend(memory, loc="upper left")


def draw_roof(ax, measured):
    """Useful operations per second against operations per byte, under what the machine can do."""
    ax.set(xscale="log", yscale="log")
    for series, look in zip(measured, LOOKS, strict=False):
        filled = series is measured[0]
        for topic, (color, marker, name) in TOPICS.items():
            rows = [row for row in series.of(topic) if row["flops"]]
            x = [row["flops"] / row["bytes"] for row in rows]
            y = [row["flops"] / row["seconds"] / 1e9 for row in rows]
            style = dict(marker=marker, s=45, edgecolors=color, linewidths=1.3, alpha=0.8)
            face = color if filled else "none"
            ax.scatter(x, y, facecolors=face, label=name if filled else None, **style)
        draw_ceiling(ax, series, look, named=len(measured) == 1)
    ax.set(xlabel="useful operations per byte moved", ylabel="useful GFLOP/s", xlim=(0.05, 1500))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    roofs = measured[0].peak(), measured[0].copy_speed(2**19)
    title(ax, "This machine at best: {:.0f} GFLOP/s, {:.0f} GB/s", *(x and x / 1e9 for x in roofs))
    for row, (name, shift) in NAMED.items():
        if row in measured[0].rows and len(measured) == 1:
            row = measured[0].rows[row]
            place = row["flops"] / row["bytes"], row["flops"] / row["seconds"] / 1e9
            ax.annotate(name, place, shift, textcoords="offset points", fontsize=11, va="center")
    legend(ax, loc="lower right")


def draw_ceiling(ax, series, look, named):
    """The roof: the speed of copying, in the cache and out of it, up to that of a product."""
    for size, name, x, shift in ((2**19, "0.5 MiB", 0.33, 6), (2**26, "64 MiB", 0.8, -15)):
        peak, speed = series.peak(), series.copy_speed(size)
        if peak and speed:
            corners = [(i, min(peak, speed * i) / 1e9) for i in (0.05, peak / speed, 1500)]
            ax.plot(*zip(*corners, strict=True), ls=look, color=GREY, lw=1.5)
            words = f"copy {name}: {speed / 1e9:.0f} GB/s"
            turned = dict(rotation=45, transform_rotates_text=True)
            at = dict(xy=(x, x * speed / 1e9), xytext=(0, shift), textcoords="offset points")
            if named:
                ax.annotate(words, **at, **turned, rotation_mode="anchor", fontsize=10)
