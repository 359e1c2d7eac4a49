"""Skip-gram: Mikolov et al. (2013), "Distributed representations of words and phrases".

Learns word embeddings from the docstrings of numpy, matplotlib and torch, or from any text.
Run: python skipgram.py --near row red
Result: 0.580 accuracy and 0.768 accuracy@5 on 69 analogies; count-based (PPMI): 0.478 and 0.739.
Shapes: B chunks of L words in a batch, N negative samples, D width, V words, T words of the text.
"""

import sys
import unicodedata
import warnings
from collections import Counter
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import regex as re
import torch
import tyro
from torch import nn
from torch.nn.functional import logsigmoid, normalize

WORD = r"(?V1)\p{Han}|[\w--[\p{Han}\d_]]+"  # one Han character, or letters with their accents
END = r"\n\s*\n|[.!?।。！？…]\s*\n"  # a passage ends: empty line, or end of sentence and line
SIZE = 2  # chunks in a batch


# %% data
def docstrings():
    """The docstrings of the installed numpy, matplotlib and torch."""
    for name in "numpy", "matplotlib", "torch":
        for path in sorted((Path(torch.__file__).parents[1] / name).rglob("*.py")):
            yield from re.findall(r'(?s)"""(.*?)"""', path.read_text("utf-8"))


def read_text(path):
    """The text of a UTF-8 file; ValueError names the line that is not UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error


def encode(text, min_count):
    """Returns the vocabulary {word: id}, frequent words first, and, for every word of the text
    in it, its id (T,) and the number of its passage (T,). A passage that repeats counts once.
    """
    passages = re.split(END, unicodedata.normalize("NFC", text.lower()))
    passages = dict.fromkeys(tuple(re.findall(WORD, passage)) for passage in passages)
    words = list(chain.from_iterable(passages))
    counts = Counter(words).most_common()
    index = {word: i for i, (word, count) in enumerate(counts) if count >= min_count}
    ids = torch.tensor([index.get(word, -1) for word in words], dtype=torch.long)
    passage = torch.tensor([number for number, words in enumerate(passages) for _ in words])
    return index, ids[ids >= 0], passage[ids >= 0]


def subsample(ids, passage, counts, length=128):
    """Drops frequent words at random; cuts the rest into chunks: ids (n, L) and passages (n, L)."""
    keep = (1e-3 * len(ids) / counts).sqrt()  # to keep a word: sqrt(t / f), section 2.3
    kept = torch.rand(len(ids)) < keep[ids]
    end = kept.sum() // length * length
    return ids[kept][:end].view(-1, length), passage[kept][:end].view(-1, length)


def batches(words, passages, counts, window=5, samples=64):
    """One epoch: words (B, L), near (B, L, L), negative samples (N,).

    near[b, t, c] is the weight of the pair of target t and context c: 1 for adjacent words, less
    for distant ones, 0 outside of the window or the passage.
    """
    place = torch.arange(words.size(1), device=words.device)
    distance = (place[:, None] - place).abs()
    # the probability that a window of random radius, as word2vec draws it, reaches so far
    reach = (1 - (distance - 1) / window).clamp(min=0).fill_diagonal_(0)
    order = torch.randperm(len(words)).split(SIZE)
    drawn = counts.pow(0.75).multinomial(samples * len(order), replacement=True)  # section 2.2
    for rows, noise in zip(order, drawn.split(samples)):
        same = passages[rows, :, None] == passages[rows, None]
        yield words[rows], reach * same, noise


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
        """The losses (B, L, L) of the pairs, -log sigmoid(w.c) - k E[log sigmoid(-w.n)], equation
        (4), times near. All targets share the N samples n, whose mean estimates E."""
        w = self.W(words)
        positive = logsigmoid(torch.einsum("btd,bcd->btc", w, self.C(words)))
        negative = logsigmoid(-torch.einsum("btd,nd->btn", w, self.C(noise)))
        return near * (-positive - k * negative.mean(-1, keepdim=True))


# %% evaluation
def nearest(unit, index, a, b, c):
    """The five words nearest to b + c - a by cosine: the answers to a : b :: c : ?
    unit (V, D) has rows of length one. A question with an unknown word has no answer. Three times
    the same word asks for its neighbours: b + c - a is that word."""
    if not {a, b, c} <= set(index):
        return []
    similarity = unit @ (unit[index[b]] + unit[index[c]] - unit[index[a]])
    words = [list(index)[i] for i in similarity.argsort(descending=True)[:8]]  # 5 and a, b, c
    return [word for word in words if word not in {a, b, c}][:5]


def evaluate(unit, index):
    """Accuracy and accuracy@5 on analogies.txt; no answer is a wrong answer."""
    lines = Path(__file__).with_name("analogies.txt").read_text("utf-8").splitlines()
    first = five = 0
    for *question, answer in map(str.split, lines):
        answers = nearest(unit, index, *question)
        first += answers[:1] == [answer]
        five += answer in answers
    return first / len(lines), five / len(lines)


# %% training
def train(model, epochs, steps, lr=0.025):
    """SGD with linear decay of the learning rate to 0; epochs yields for each epoch its batches."""
    sgd = torch.optim.SGD(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.LinearLR(sgd, 1, end_factor=0, total_iters=steps)
    for step, (words, near, noise) in enumerate(chain.from_iterable(epochs), 1):
        loss = model(words, near, noise).sum()  # the sum: in word2vec each pair is a step
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        schedule.step()
        if step % max(1, steps // 20) == 0:
            print(f"step {step} of {steps}: loss {loss / near.sum():.3f}", flush=True)


# %% figure
def draw(unit, index, path):
    """The words of map.txt, or the most frequent ones, on their two principal components."""
    words = Path(__file__).with_name("map.txt").read_text("utf-8").split()
    if not set(words) <= set(index):
        words = list(index)[:50]
    points = unit[[index[word] for word in words]]
    points = points @ torch.pca_lowrank(points)[2][:, :2]
    plt.set_loglevel("error")  # silent about fonts that are not installed
    plt.rcParams["font.family"] = "DejaVu Sans", "Noto Sans Devanagari", "Noto Sans CJK SC"
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
    epochs: int = 8,
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
    torch.set_num_threads(1)  # the tensors are too small for more
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    index, ids, passage = encode(read_text(text) if text else "\n\n".join(docstrings()), min_count)
    counts = ids.bincount()
    words, passages = subsample(ids, passage, counts)
    if len(index) < 2 or len(words) == 0:
        raise ValueError(f"{text or 'docstrings'}: too few words; more text or a lower --min-count")
    model = SkipGram(len(index)).to(device)
    tensors = [words.to(device), passages.to(device), counts.to(device)]
    train(model, (batches(*tensors) for _ in range(epochs)), epochs * len(words.split(SIZE)))
    unit = normalize(model.W.weight.detach()).cpu()
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
