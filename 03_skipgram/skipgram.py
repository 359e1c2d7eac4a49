"""Skip-gram with negative sampling: Mikolov et al. (2013); Jurafsky and Martin, section 6.8.

Learns word embeddings from the docstrings of numpy, matplotlib and torch, or from any text.
Run: python skipgram.py --near row red
Result: 0.551 of 69 analogies are answered first, 0.667 within five words; PPMI: 0.435 and 0.609.
Shapes: B words in a batch, N negative samples, P pairs, D width, V words, T words of the text.
"""

# /// script
# dependencies = ["torch==2.13.0", "numpy==2.4.6", "matplotlib==3.11.2", "tyro==1.0.17",
#   "regex==2026.11.19"]
# ///
import sys
import unicodedata
import warnings
from collections import Counter
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import regex as re
import torch
import torch.nn.functional as F
import tyro
from matplotlib import font_manager
from torch import nn

FOLDERS = "numpy/** matplotlib/** torch torch/nn/** torch/optim/** torch/distributions/**"
WORD = r"(?V1)\p{Han}|[\w--[\p{Han}\d_]]+"  # a Han character, or letters with their marks
END = r"\n\s*\n|[.!?।。！？…]\s*\n"  # of a passage: an empty line, a sentence that ends a line
SIZE = 256  # words of the text in a batch, before subsampling
FONTS = ["DejaVu Sans", "Noto Sans Devanagari", "Noto Sans CJK SC", "Nirmala UI", "Microsoft YaHei"]


# %% data
def read_text(path):
    """A UTF-8 file; if path is None, the docstrings of the installed numpy, matplotlib, torch."""
    if path is None:
        site, texts = Path(torch.__file__).parents[1], []
        for folder in FOLDERS.split():
            for file in sorted(site.glob(f"{folder}/*.py")):
                if "tests" not in file.relative_to(site).parts:
                    texts += re.findall(r'(?s)"""(.*?)"""', file.read_text("utf-8"))
        return "\n\n".join(texts)
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error


def encode(text, min_count):
    """Returns {word: id}, frequent words first; of each of the T known words, id and passage (T,).

    A passage that has the same words as an earlier one is left out.
    """
    passages = re.split(END, unicodedata.normalize("NFC", text.lower()))
    passages = dict.fromkeys(tuple(re.findall(WORD, passage)) for passage in passages)
    counts = Counter(chain.from_iterable(passages)).most_common()
    index = {word: i for i, (word, count) in enumerate(counts) if count >= min_count}
    ids = torch.tensor([index.get(word, -1) for word in chain.from_iterable(passages)])
    passage = torch.tensor([i for i, words in enumerate(passages) for word in words])
    return index, ids[ids >= 0], passage[ids >= 0]


def batches(ids, passage, window=5, samples=64):
    """One epoch: words (B,), near (B, B), negative samples (N,).

    near[t, c] is True where word c is a context of the target t: of its passage, within a radius.
    """
    counts = ids.bincount()
    keep = (1e-3 * len(ids) / counts).sqrt()  # subsampling of frequent words [2.3]
    chunks = list(zip(ids.split(SIZE), passage.split(SIZE)))
    noise = counts.pow(0.75).multinomial(samples * len(chunks), replacement=True)  # [2.2]
    for i, noise in zip(torch.randperm(len(chunks)), noise.split(samples)):
        words, passages = chunks[i]
        kept = torch.rand_like(keep[words]) < keep[words]
        words, passages = words[kept], passages[kept]
        place = torch.arange(len(words), device=words.device)
        distance = (place[:, None] - place).abs()
        radius = torch.randint_like(words, 1, window + 1)[:, None]  # of each target
        near = (distance > 0) & (distance <= radius) & (passages[:, None] == passages)
        yield words, near, noise


# %% model
class SkipGram(nn.Module):
    """Embedding matrices (V, D): W of targets, C of contexts and negative samples."""

    def __init__(self, V, D=100):
        super().__init__()
        self.W = nn.Embedding(V, D, sparse=True)  # sparse: a step touches only the rows it needs
        self.C = nn.Embedding(V, D, sparse=True)
        nn.init.uniform_(self.W.weight, -0.5 / D, 0.5 / D)
        nn.init.zeros_(self.C.weight)

    def forward(self, words, near, noise, k=5):
        """Equation (4) of each pair in near: -log s(w.c) - k times the mean of log s(-w.n)."""
        targets = self.W(words)
        positive = F.logsigmoid(torch.einsum("td,cd->tc", targets, self.C(words)))
        negative = F.logsigmoid(-torch.einsum("td,nd->tn", targets, self.C(noise)))
        return -(positive + k * negative.mean(1, keepdim=True))[near]


# %% evaluation
def nearest(unit, index, a, b, c):
    """The five words nearest to b + c - a by cosine: the answers to a : b :: c : ?

    unit (V, D) has rows of length one. A question with an unknown word has no answer.
    """
    if not index.keys() >= {a, b, c}:
        return []
    similarity = unit @ (unit[index[b]] + unit[index[c]] - unit[index[a]])
    words, order = list(index), similarity.argsort(descending=True)[:8]
    return [words[i] for i in order if words[i] not in (a, b, c)][:5]


def evaluate(unit, index):
    """Accuracy and accuracy@5 on analogies.txt; no answer is a wrong answer."""
    questions = Path(__file__).with_name("analogies.txt").read_text().splitlines()
    first = five = 0
    for a, b, c, d in map(str.split, questions):
        answers = nearest(unit, index, a, b, c)
        first += answers[:1] == [d]
        five += d in answers
    return first / len(questions), five / len(questions)


# %% training
def train(model, epochs, steps, lr=0.025):
    """SGD, its learning rate falling linearly to 0; epochs yields for each epoch its batches."""
    sgd = torch.optim.SGD(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.LinearLR(sgd, 1, 0, steps)
    for step, batch in enumerate(chain.from_iterable(epochs), 1):
        losses = model(*batch)
        sgd.zero_grad()
        losses.sum().backward()  # the sum: in the paper each pair is a step
        sgd.step()
        schedule.step()
        if step % max(1, steps // 20) == 0:
            print(f"step {step} of {steps}: loss {losses.mean():.3f}", flush=True)


# %% figure
def draw(unit, index, path):
    """The words of map.txt, or the most frequent ones, on their two principal components."""
    words = Path(__file__).with_name("map.txt").read_text().split()
    if not index.keys() >= {*words}:
        words = list(index)[:50]
    points = unit[[index[word] for word in words]]
    points = points @ torch.pca_lowrank(points)[2][:, :2]
    plt.rcParams["font.family"] = [font for font in FONTS if font in font_manager.get_font_names()]
    fig, ax = plt.subplots(figsize=(10, 7), layout="constrained")
    ax.scatter(*points.T, c=range(len(words)))
    for word, point in zip(words, points):
        ax.annotate(word, point, (4, 4), textcoords="offset points")
    ax.set(title="Word embeddings", xlabel="first principal component", ylabel="second")
    with warnings.catch_warnings(record=True) as missing:
        fig.savefig(path, dpi=150)
    if missing:
        print("The figure lacks some characters: install a font that has them, such as Noto Sans.")


# %% main
def main(
    text: Path | None = None,
    near: tuple[str, ...] = (),
    min_count: int = 5,
    epochs: int = 10,
    seed: int = 0,
    device: str | None = None,
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns word embeddings from a text, answers analogies, draws a map.
    Args:
        text: UTF-8 file to learn from; default: the docstrings of the installed libraries
        near: words whose nearest neighbours are printed
        min_count: rarer words are dropped
        epochs: passes over the text
        seed: fixes every random number
        device: cpu, cuda, mps or xpu; default: the accelerator, if there is one
        figure: file of the figure"""
    torch.manual_seed(seed)
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    index, ids, passage = encode(read_text(text), min_count)
    if len(index) < 2:
        raise ValueError(f"{text}: needs two words seen {min_count} times, or --min-count 1")
    ids, passage = ids.to(device), passage.to(device)
    model = SkipGram(len(index)).to(device)
    train(model, (batches(ids, passage) for _ in range(epochs)), epochs * len(ids.split(SIZE)))
    unit = F.normalize(model.W.weight.detach()).cpu()
    for word in unicodedata.normalize("NFC", " ".join(near).lower()).split():
        print(word, "->", *nearest(unit, index, word, word, word) or ["unknown word"])
    first, five = evaluate(unit, index)
    print(f"analogies: accuracy {first:.3f}, accuracy@5 {five:.3f}")
    draw(unit, index, figure)
    return dict(accuracy_at_1=first, accuracy_at_5=five, model=model, index=index, unit=unit)


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's output has no such method
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some characters
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"skipgram.py: {error}")
