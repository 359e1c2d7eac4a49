"""Skip-gram with negative sampling: Mikolov et al. (2013); Jurafsky and Martin, section 6.8.

Task: which words keep company, learned from the docstrings of numpy, matplotlib and torch. Of 69
analogies that nobody taught, 0.54 are answered first, 0.81 within five words, in 18 seconds on
two cores; counting (PPMI) answers 0.44 and 0.65. Run: python skipgram.py --near row red
Left out: phrases, hierarchical softmax, subwords. Shapes: B words of a stretch of text, at most R
neighbours on each side, D width, V words in the vocabulary, N noise words.
"""

# /// script
# dependencies = ["torch==2.13.0", "numpy==2.4.6", "matplotlib==3.11.2", "tqdm==4.70.1",
#   "tyro==1.0.17"]
# ///
import os
import re
import time
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import tyro
from tqdm import tqdm

FOLDERS = "numpy/** matplotlib/** torch torch/nn/** torch/optim/** torch/distributions/**".split()
HERE = Path(__file__).parent


# %% data
def read_text(path, min_count):
    """A file, or docstrings if None -> {word: id}, the commonest first; of each of the T words
    that are kept, its id (T,) and the number of its passage (T,)."""
    site = Path(torch.__file__).parents[1]
    files = [f for folder in FOLDERS for f in sorted(site.glob(f"{folder}/*.py"))]
    files = [f for f in files if "tests" not in f.relative_to(site).parts]
    texts = [f.read_text("utf-8-sig") for f in ([path] if path else files)]
    texts = texts if path else [d for t in texts for d in re.findall(r'(?s)"""(.*?)"""', t)]
    # a passage that repeats counts once, a word is a run of letters
    passages = dict.fromkeys(p for t in texts for p in re.split(r"\n\s*\n|[.!?]\s*\n", t.lower()))
    words = [(word, i) for i, p in enumerate(passages) for word in re.findall(r"[^\W\d_]+", p)]
    counted = Counter(word for word, i in words).most_common()
    index = {word: i for i, (word, n) in enumerate(counted) if n >= min_count}
    if len(index) < 2:
        raise ValueError(f"needs two words seen {min_count} times: a longer text or --min-count 1")
    return index, *torch.tensor([(index[word], i) for word, i in words if word in index]).T


def batches(ids, passage, keep, window, size, generator):
    """One epoch: ids (B + 2R,) and near (B, 2R + 1), True where word b has a neighbour."""
    kept = torch.rand(len(ids), generator=generator) < keep[ids]  # subsampling [2.3]
    # window words more at each end, in passage -1: nobody's neighbours
    ids, passage = F.pad(ids[kept], [window] * 2), F.pad(passage[kept], [window] * 2, value=-1)
    distance = torch.arange(-window, window + 1).abs()
    starts = torch.arange(0, len(ids) - 2 * window, size)
    for start in starts[torch.randperm(len(starts), generator=generator)].tolist():
        there = passage[start : start + size + 2 * window].unfold(0, 2 * window + 1, 1)
        radius = torch.randint(1, window + 1, (len(there), 1), generator=generator)  # of each word
        near = (there == there[:, [window]]) & (distance <= radius) & (distance > 0)
        yield ids[start : start + size + 2 * window], near


# %% model
def loss_of(W, C, ids, near, noise, k):
    """Mean -log s(c.w) - sum over k noise words of log s(-c_n.w) [eq. 4]; if k = 0, of the
    softmax [eq. 2]. W (V, D): targets w; C (V, D): neighbours c and noise words c_n; noise (N,)."""
    window = near.size(1) // 2
    words = F.embedding(ids[window : window + len(near)], W)  # (B, D)
    around = F.embedding(ids, C).unfold(0, 2 * window + 1, 1)  # (B, D, 2R + 1), copies nothing
    dots = torch.einsum("bd,bdr->br", words, around)
    if k == 0:
        log_p = dots - (words @ C.T).logsumexp(1, keepdim=True)
    else:  # a stretch shares its N noise words, so that each one counts k / N
        against = F.logsigmoid(-words @ F.embedding(noise, C).T).mean(1, keepdim=True)
        log_p = F.logsigmoid(dots) + k * against
    return -log_p[near].sum() / near.sum().clamp(min=1)


# %% evaluation
def nearest(unit, index, a, b, c):
    """The five words nearest by cosine to b + c - a, which answer a : b :: c : ?"""
    words, sought = list(index), unit[index[b]] + unit[index[c]] - unit[index[a]]
    order = (unit @ sought).argsort(descending=True)[:8]  # rows of length 1: this is the cosine
    return [words[i] for i in order if words[i] not in (a, b, c)][:5]


def evaluate(unit, index):
    """Of the lines a b c d of analogies.txt, the share where d comes first; within five words."""
    lines = [li.split() for f in HERE.glob("analogies.txt") for li in open(f) if li[0].isalpha()]
    found = [(nearest(unit, index, *li[:3]), li[3]) for li in lines if index.keys() >= {*li}]
    return [sum(d in w[:n] for w, d in found) / len(lines) if found else torch.nan for n in (1, 5)]


# %% training
def train(ids, passage, k, window, epochs, seed, device, D=100, N=64, size=1024, lr=0.02):
    """-> target vectors of length one (V, D), the mean loss of the last epoch."""
    generator, counts = torch.Generator().manual_seed(seed), ids.bincount().float()
    W = ((torch.rand(len(counts), D, generator=generator) - 0.5) / D).to(device).requires_grad_()
    C = torch.zeros(len(counts), D, device=device, requires_grad=True)
    adam, keep = torch.optim.Adam([W, C], lr, fused=True), (1e-3 * len(ids) / counts).sqrt()
    for epoch in tqdm(range(epochs), disable=None):
        losses = []
        for stretch, near in batches(ids, passage, keep, window, size, generator):
            noise = counts.pow(0.75).multinomial(N, replacement=True, generator=generator)  # [2.2]
            loss = loss_of(W, C, stretch.to(device), near.to(device), noise.to(device), k)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
        adam.param_groups[0]["lr"] = lr * (1 - (epoch + 1) / epochs)
        tqdm.write(f"epoch {epoch + 1}: loss {torch.tensor(losses).mean():.3f}")
    return F.normalize(W.detach()).cpu(), torch.tensor(losses).mean().item()


# %% picture
def draw(unit, index, path):
    """The words of map.txt in the plane of their two principal components."""
    lines = [line.split() for f in HERE.glob("map.txt") for line in open(f) if line.strip()]
    colors = {word: color for color, *group in lines for word in group if word in index}
    colors = colors if len(colors) > 20 else dict.fromkeys(list(index)[:100], "black")
    points = unit[[index[word] for word in colors]]
    points = points @ torch.linalg.svd(points - points.mean(0), full_matrices=False).Vh[:2].T
    fig, ax = plt.subplots(figsize=(12, 8), layout="constrained")
    places = {}
    for word, (x, y) in zip(colors, (points / points.abs().max()).tolist()):
        while any(abs(x - u) < 0.12 and abs(y - v) < 0.036 for u, v in places.values()):
            y -= 0.003  # a label makes way
        places[word] = x, y
        ax.text(x, y, word[:20], color=colors[word], ha="center", va="center")
    for a, b in ("sin", "sinh"), ("cos", "cosh"):
        if {a, b} <= places.keys():
            ax.annotate("", places[b], places[a], arrowprops=dict(color="k", width=1, shrink=0.2))
    ax.scatter(*zip(*places.values()), s=0)  # invisible, so that the axes fit
    ax.set(xticks=[], yticks=[], title="Words of one kind lie together; a relation is a direction")
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    near: tuple[str, ...] = (),
    analogy: tuple[tuple[str, str, str], ...] = (),
    vectors: Path | None = None,
    loss: Literal["negative", "softmax"] = "negative",
    window: int = 5,
    min_count: int = 5,
    epochs: int = 10,
    seed: int = 0,
    device: str = "auto",
    figure: Path = HERE / "skipgram.png",
) -> dict:
    """Learns vectors from a text, answers analogies, draws a map; returns what it measured.
    Args:
        text: UTF-8 file to learn from; the docstrings of the installed libraries if left out
        near: words whose nearest neighbours are printed
        analogy: three words a b c, or six, nine...: what is to c as b is to a?
        vectors: file to write, in the word2vec text format
        loss: negative sampling, or softmax over the whole vocabulary (much slower)
        window: most words to each side
        min_count: rarer words are dropped
        epochs: passes over the text
        seed: rules every draw
        device: auto (the accelerator, if there is one), cpu, cuda, mps or xpu
        figure: where the map goes, a .png, .pdf or .svg"""
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if min(window, min_count, epochs) < 1 or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError("--window, --min-count, --epochs start at 1; --figure: .png, .pdf or .svg")
    for path in (figure, vectors or figure):
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise ValueError(f"cannot save {path}: name a file in a writable folder")
    index, ids, passage = read_text(text, min_count)
    near = near or [word for word in ("row", "minimum", "red", "torch") if word in index]
    if unknown := sorted({*near, *sum(analogy, ())} - index.keys()):
        raise ValueError(f"unknown {unknown[0]!r}; similar: {get_close_matches(unknown[0], index)}")
    k, device = 5 if loss == "negative" else 0, found if device == "auto" else device
    start = time.perf_counter()
    unit, value = train(ids, passage, k, window, epochs, seed, device)
    seconds = time.perf_counter() - start
    for question in [*((word, word, word) for word in near), *analogy]:
        print(*dict.fromkeys(question), "->", *nearest(unit, index, *question))
    first, five = evaluate(unit, index)
    if vectors:
        rows = [" ".join([word, *map(str, row)]) for word, row in zip(index, unit.tolist())]
        vectors.write_text("\n".join([f"{len(unit)} {unit.size(1)}", *rows, ""]), encoding="utf-8")
    draw(unit, index, figure)
    result = dict(loss=value, analogy_at_1=first, analogy_at_5=five, vocabulary=len(index))
    result |= dict(words_per_second=epochs * len(ids) / seconds, seconds=seconds)
    print(*(f"{name} {x:.4g}" for name, x in result.items()), f"figure {figure}", sep="\n")
    return result


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        advice = "; save the text as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise SystemExit(f"skipgram.py: {str(error) or 'interrupted, nothing was saved'}{advice}")
