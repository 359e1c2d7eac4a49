"""Skip-gram with negative sampling (word2vec): Mikolov et al. (2013); Jurafsky & Martin, 6.8.

Learns from the docstrings of numpy, matplotlib and torch which words keep company, then answers
analogies nobody taught: python skipgram.py --analogy row rows column --near red (see README.md)
Left out: phrases, hierarchical softmax, subwords. B words of a stretch of text, R words at most
to each side, D vector width, V words, N noise words.
"""
# /// script
# dependencies = ["torch==2.13.0", "matplotlib==3.11.2", "tqdm==4.70.1", "tyro==1.0.17"]
# ///

import os
import re
import sys
import time
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import torch
import tyro
from torch.nn import functional as F
from tqdm import tqdm

FOLDERS = "numpy/** matplotlib/** torch torch/nn/** torch/optim/** torch/distributions/**"


# %% data
def read_passages(path):
    """A file, or docstrings if None -> lists of words; windows end where a passage does."""
    if path:
        texts = [path.read_text(encoding="utf-8-sig")]
    else:
        site = Path(torch.__file__).parents[1]
        files = [f for folder in FOLDERS.split() for f in sorted(site.glob(f"{folder}/*.py"))]
        sources = [f.read_text(encoding="utf-8") for f in files if "tests" not in f.parts]
        texts = [doc for source in sources for doc in re.findall(r'(?s)"""(.*?)"""', source)]
    passages = [p for text in texts for p in re.split(r"\n\s*\n|[.!?]\s*\n", text.lower())]
    passages = passages if path else dict.fromkeys(passages)  # boilerplate counts once
    return [re.findall(r"[^\W\d_]+", passage) for passage in passages]


def batches(ids, passage, keep, window, size, generator):
    """One epoch: ids (B + 2R) and near (B, 2R + 1), True where word b has a neighbour."""
    kept = torch.rand(len(ids), generator=generator) < keep[ids]  # subsampling [2.3]
    ids, passage = F.pad(ids[kept], [window] * 2), F.pad(passage[kept], [window] * 2, value=-1)
    offset = torch.arange(-window, window + 1).abs()
    starts = torch.arange(0, len(ids) - 2 * window, size)
    for start in starts[torch.randperm(len(starts), generator=generator)].tolist():
        there = passage[start : start + size + 2 * window].unfold(0, 2 * window + 1, 1)
        radius = torch.randint(1, window + 1, (len(there), 1), generator=generator)
        near = (there == there[:, [window]]) & (offset <= radius) & (offset > 0)
        yield ids[start : start + size + 2 * window], near


# %% model
def loss_of(W, C, ids, near, noise, k):
    """Mean -log s(c.w) - sum over k noise words of log s(-c_n.w) [eq. 4]; softmax [2] if k = 0."""
    window = near.size(1) // 2
    words = F.embedding(ids[window : window + len(near)], W)  # (B, D)
    around = F.embedding(ids, C).unfold(0, 2 * window + 1, 1)  # (B, D, 2R + 1), copies nothing
    dots = torch.einsum("bd,bdr->br", words, around)
    if k == 0:
        likelihood = dots - (words @ C.T).logsumexp(1, keepdim=True)
    else:  # a stretch shares its N noise words, so that each one counts k / N
        against = F.logsigmoid(-words @ F.embedding(noise, C).T).mean(1, keepdim=True)
        likelihood = F.logsigmoid(dots) + k * against
    return -likelihood[near].sum() / near.sum().clamp(min=1)


# %% evaluation
@torch.no_grad()
def nearest(W, index, plus, minus=(), top=5):
    """Words of highest cosine with a sum of unit vectors, those asked about left out."""
    for word in {*plus, *minus} - index.keys():
        close = " or ".join(get_close_matches(word, index)) or "none"
        raise ValueError(f"{word!r} is not in the vocabulary; closest spellings: {close}")
    unit, words, asked = F.normalize(W), list(index), (*plus, *minus)
    sought = sum(unit[index[w]] for w in plus) - sum(unit[index[w]] for w in minus)
    order = [words[i] for i in (unit @ sought).argsort(descending=True)[: top + len(asked)]]
    return [word for word in order if word not in asked][:top]


def evaluate(W, index, path):
    """Share of lines `a b c d` with d the first, and among the first five, answers to a:b :: c:?"""
    lines = [line.split() for line in path.read_text().splitlines() if line[0] != "#"]
    asked = [line for line in lines if index.keys() >= set(line)]  # unknown words are failures
    answers = [(d, nearest(W, index, (b, c), (a,))) for a, b, c, d in asked]
    return [sum(d in words[:n] for d, words in answers) / len(lines) for n in (1, 5)]


# %% training
def train(ids, passage, counts, k, window, epochs, seed, device, D=100, N=64, size=1024, lr=0.005):
    """-> target and context tables (V, D), and the mean loss of the last epoch."""
    generator = torch.Generator().manual_seed(seed)
    W = ((torch.rand(len(counts), D, generator=generator) - 0.5) / D).to(device).requires_grad_()
    C = torch.zeros(len(counts), D, device=device, requires_grad=True)
    adam, keep = torch.optim.Adam([W, C], lr), (1e-3 * len(ids) / counts).sqrt()
    for epoch in range(epochs):
        losses = []
        stretches = batches(ids, passage, keep, window, size, generator)
        for stretch, near in tqdm(stretches, disable=None):
            noise = counts.pow(0.75).multinomial(N, replacement=True, generator=generator)
            loss = loss_of(W, C, stretch.to(device), near.to(device), noise.to(device), k)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
        adam.param_groups[0]["lr"] = lr * (1 - (epoch + 1) / epochs)
        tqdm.write(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}")
    return W.detach().cpu(), sum(losses) / len(losses)


# %% picture
def draw(W, index, lines, path):
    """Groups of words on the first two principal components of their centred unit vectors."""
    groups = [[w for w in line.split() if w in index] for line in lines]
    words = [w for group in groups for w in group] or list(index)[:50]
    points = F.normalize(W)[[index[w] for w in words]]
    points = points - points.mean(0)
    points = points @ torch.linalg.svd(points, full_matrices=False).Vh[:2].T
    fig, ax = plt.subplots(figsize=(12, 8), layout="constrained")
    for word, (x, y) in zip(words, points.tolist(), strict=True):
        ax.text(x, y, word, color=f"C{[word in g for g in (*groups, words)].index(True)}")
    ax.update_datalim(points.tolist())
    ax.autoscale_view()
    ax.set(xticks=[], yticks=[], title="Words of one kind keep the same company")
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    near: tuple[str, ...] = (),
    analogy: tuple[str, str, str] | None = None,
    vectors: Path | None = None,
    loss: Literal["negative", "softmax"] = "negative",
    window: int = 5,
    min_count: int = 5,
    epochs: int = 18,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns vectors from a text, answers analogies, saves a map; returns what it measured.

    Args:
        text: UTF-8 file to learn from; the docstrings of the installed libraries if left out
        near: words whose nearest neighbours are printed
        analogy: three words a b c: a is to b as c is to what?
        vectors: file to write in the word2vec text format
        loss: negative sampling, or softmax over the whole vocabulary (much slower)
        window: most words to each side
        min_count: rarer words are dropped
        epochs: passes over the text
        seed: rules every draw
        device: auto or cpu
        figure: .png, .pdf or .svg to save
    """
    start = time.perf_counter()
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if min(window, min_count, epochs) < 1:
        raise ValueError("window, min-count and epochs start at 1")
    for path in (figure, vectors or figure):
        if not os.access(path.parent, os.W_OK) or path.is_dir():
            raise ValueError(f"{path} cannot be written: give a file in a folder that exists")
    if figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{figure} should end in .png, .pdf or .svg")
    passages = read_passages(text)
    counted = Counter(word for passage in passages for word in passage).most_common()
    index = {word: i for i, (word, n) in enumerate(counted) if n >= min_count}
    pairs = [(index[w], i) for i, passage in enumerate(passages) for w in passage if w in index]
    if len(index) < 2:
        raise ValueError(f"needs two words seen {min_count} times: a longer text or --min-count 1")
    near, analogy = near or list(index)[:24][-4:], analogy or ()
    nearest(torch.ones(len(index), 1), index, (*near, *analogy))  # unknown words fail now
    counts, (ids, passage) = torch.tensor([float(n) for _, n in counted]), torch.tensor(pairs).T
    began, device = time.perf_counter(), found.type if device == "auto" else device
    k, counts = 5 if loss == "negative" else 0, counts[: len(index)]
    W, value = train(ids, passage, counts, k, window, epochs, seed, device)
    speed = epochs * len(ids) / (time.perf_counter() - began)
    for word in near:
        print(f"{word}:", *nearest(W, index, (word,)))
    if analogy:
        print("{} : {} :: {} :".format(*analogy), *nearest(W, index, analogy[1:], analogy[:1]))
    beside = Path(__file__).with_name("analogies.txt")
    first, five = evaluate(W, index, beside) if beside.exists() and not text else (0.0, 0.0)
    print(f"analogies: {first:.3f} at 1, {five:.3f} at 5; {speed:.0f} words/s; figure in {figure}")
    if vectors:
        rows = [" ".join([w, *map(str, v)]) for w, v in zip(index, W.tolist(), strict=True)]
        vectors.write_text("\n".join([f"{len(W)} {W.size(1)}", *rows, ""]), encoding="utf-8")
    groups = Path(__file__).with_name("map.txt")  # a line of words for each color
    draw(W, index, groups.read_text().splitlines() if groups.exists() else [], figure)
    result = dict(loss=value, analogy_at_1=first, analogy_at_5=five, words_per_second=speed)
    return {**result, "vocabulary": len(index), "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        sys.exit(f"{Path(__file__).name}: {str(error) or 'interrupted, nothing was saved'}")
