"""The neural language model of Bengio et al. (2003), "A neural probabilistic language model".

Task: the next word, given the five before it, in the docstrings of numpy, matplotlib and torch.

    python ff_lm.py --prompt "returns the"

Left out: n-grams above one word (test_ff_lm.py has them) and the paper's parallel training.
Shapes: B batch, N windows, V words in the vocabulary, m embedding size.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0", "numpy==2.4.6", "matplotlib==3.11.2", "tqdm==4.70.1", "tyro==1.0.17",
# ]
# ///

import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy
import torch
import tyro
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

WORD = r"\w+(?:'\w+)?|[^\w\s.`*]"  # or a punctuation mark
BOUNDARY, UNK = range(2)  # <s> ends a sentence and fills the context of its first words


# %% data
def read_sentences(path):
    """Sentences, up to . ! ? or an empty line: tuples of words. Of a .py file, its docstrings."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".py":  # only their prose, which has no underscores or equal signs
        docs = "\n\n".join(re.findall(r'"""(.*?)"""', text, re.S)) + "\n"
        text = "".join(re.findall(r"[A-Z][^.:;!?=\[\]{}<>#_|]*\.\s", docs))
    found = re.split(r"[.!?](?:\s|$)|\n\s*\n", text.lower())
    return [tuple(words) for s in found if (words := re.findall(WORD, s))]


def corpus(text=None, test=None):
    """(sentences to learn from, held-out ones), each once: every tenth source file, or sentence."""
    roots = [Path(library.__file__).parent for library in (numpy, plt.matplotlib, torch)]
    paths = [text] if text else [path for root in roots for path in sorted(root.rglob("*.py"))]
    files = [read_sentences(path) for path in paths]
    files = [files[0][i::10] for i in range(10)] if text else files
    held_out = dict.fromkeys(read_sentences(test) if test else sum(files[9::10], []))
    return dict.fromkeys(s for file in files for s in file if s not in held_out), held_out


def windows(sentences, vocabulary, context):
    """(N, context + 1) ids, context and target: a row for each word and each end of sentence."""
    stream = [BOUNDARY] * context
    for words in sentences:
        stream += [*(vocabulary.get(word, UNK) for word in words), *[BOUNDARY] * context]
    rows = torch.tensor(stream).unfold(0, context + 1, 1)
    return rows[(rows[:, -2:] != BOUNDARY).any(1)]  # no row asks for the filling


# %% model
class FFLM(nn.Module):
    """y = b + W x + U tanh(d + H x), equation (1); d and b are the biases of H and U."""

    def __init__(self, vocab, context=5, embed=64, hidden=128, direct=False, dropout=0.2):
        super().__init__()
        self.C, self.context = nn.Embedding(vocab, embed), context
        self.H, self.U = nn.Linear(context * embed, hidden), nn.Linear(hidden, vocab)
        self.W = nn.Linear(context * embed, vocab, bias=False) if direct else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, words):  # (B, context) -> logits (B, V)
        x = self.dropout(self.C(words).flatten(1))  # (B, context * m), in the order of the words
        y = self.U(self.dropout(torch.tanh(self.H(x))))
        return y + self.W(x) if self.W else y


# %% evaluation
@torch.no_grad()
def evaluate(model, rows):
    """Perplexity, e to the mean loss: of every row, also those of <unk> and of ends of sentence."""
    model.eval()
    loss = sum(cross_entropy(model(r[:, :-1]), r[:, -1], reduction="sum") for r in rows.split(512))
    return (loss / len(rows)).exp().item()


@torch.no_grad()
def generate(model, ids, temperature, top_k, length=30):
    """(ids of the rest of the sentence, drawn among the top_k likeliest; five first choices)."""
    model.eval()
    ids, start = [BOUNDARY] * model.context + ids, len(ids) + model.context
    while len(ids) < start + length and (len(ids) == start or ids[-1] != BOUNDARY):
        context = torch.tensor([ids[-model.context :]], device=model.C.weight.device)
        p, order = model(context)[0].softmax(0).sort(descending=True)
        if len(ids) == start:
            likely = list(zip(order[:5].tolist(), p[:5].tolist(), strict=True))
        drawn = (p[:top_k].log() / temperature).softmax(0).multinomial(1)
        ids.append(order[drawn].item())
    return ids[start:], likely


# %% training
def train(model, rows, held_out, epochs, batch=1024):
    """AdamW and one cycle of its rate over shuffled rows: held-out perplexity of each epoch."""
    adam, curve = torch.optim.AdamW(model.parameters()), []
    steps = epochs * -(-len(rows) // batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=4e-3, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        for i in tqdm(torch.randperm(len(rows)).split(batch), disable=None):
            loss = cross_entropy(model(rows[i, :-1]), rows[i, -1])
            adam.zero_grad()
            loss.backward()
            adam.step()
            cycle.step()
        curve.append(evaluate(model, held_out))
        tqdm.write(f"epoch {epoch + 1}: loss {loss:.2f}, held-out perplexity {curve[-1]:.1f}")
    return curve


# %% picture
def draw(curve, unigram, C, words, path):
    """Held-out perplexity by epoch; the words on two principal components of their rows of C."""
    fig, axes = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(1, 2), layout="constrained")
    axes[0].plot(range(1, len(curve) + 1), curve, "o-")
    axes[0].axhline(unigram, color="C1")
    axes[0].set(
        title=f"{curve[-1]:.0f} words to choose from, unigram {unigram:.0f}", xlabel="epoch"
    )
    axes[1].set(title="Words used alike are neighbours in C", xlim=(-1, 1), ylim=(-1, 1))
    points = C @ torch.pca_lowrank(C)[2][:, :2]
    for word, point in zip(words, points / points.abs().max(), strict=True):
        axes[1].text(*point.tolist(), word, fontsize=7)
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    test: Path | None = None,
    min_count: int = 5,
    direct: bool = False,
    epochs: int = 5,
    prompt: str = "returns the",
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Trains on nine tenths of the source files (of the sentences of --text), measures on the rest.

    Args:
        text: a UTF-8 text to learn from, instead of the docstrings.
        test: a UTF-8 text to measure on, instead of a tenth of what is learnt from.
        min_count: words seen fewer times are <unk>.
        direct: adds W x, the connections from the embeddings straight to the output.
        epochs: times through the text.
        prompt: start of a sentence to continue.
        temperature: below 1 the likely words become likelier.
        top_k: draws among this many likeliest words; 1 always takes the likeliest.
        seed: of weights, order, dropout and drawing.
        device: auto, cpu, cuda, mps or xpu.
        figure: where the picture goes (.png, .pdf or .svg).
    """
    start, found = time.perf_counter(), torch.accelerator.current_accelerator(check_available=True)
    if device not in ("auto", "cpu", found and found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if min(temperature, top_k, epochs, min_count) <= 0:
        raise ValueError("--temperature, --top-k, --epochs and --min-count must be above 0")
    if not os.access(figure.parent, os.W_OK) or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{figure}: name a .png, .pdf or .svg in a folder that can be written to")
    device = (found or "cpu") if device == "auto" else device
    learn, held_out = corpus(text, test)
    counts = Counter(word for sentence in learn for word in sentence).most_common()
    words = ["<s>", "<unk>", *(word for word, n in counts if n >= min_count)]
    vocabulary = {word: i for i, word in enumerate(words)}
    if not any(word in vocabulary for sentence in held_out for word in sentence):
        raise ValueError(f"{test or text} has no known word: give more text or a lower --min-count")
    torch.manual_seed(seed)
    model = FFLM(len(words), direct=direct).to(device)
    rows, held = (windows(s, vocabulary, model.context).to(device) for s in (learn, held_out))
    p = (torch.bincount(rows[:, -1], minlength=len(words)) + 1) / (len(rows) + len(words))
    unigram, began = (-p[held[:, -1]].log().mean()).exp().item(), time.perf_counter()
    curve = train(model, rows, held, epochs)
    result = dict(
        perplexity=curve[-1],
        unigram_perplexity=unigram,
        vocabulary=len(words),
        parameters=sum(p.numel() for p in model.parameters()),
        tokens_per_second=epochs * len(rows) / (time.perf_counter() - began),
    )
    ids = [vocabulary.get(word, UNK) for word in re.findall(WORD, prompt.lower())]
    ids, likely = generate(model, ids, temperature, top_k)
    print(f"{prompt} ->", *(words[i] for i in ids))
    print("likeliest next:", *(f"{words[i]} {p:.3f}" for i, p in likely))
    draw(curve, unigram, model.C.weight.detach().cpu()[:150], words[:150], figure)
    result["seconds"] = time.perf_counter() - start
    print(*(f"{name} {value:,.1f}" for name, value in result.items()), figure, sep="\n")
    return result


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        sys.exit(f"{Path(__file__).name}: {str(error) or 'interrupted, nothing was saved'}")
