"""The neural language model of Bengio et al. (2003), "A neural probabilistic language model".

Task: the next word, given the five before it, in the docstrings of numpy, matplotlib and torch.
Held out: perplexity 107; unigram 424, trigram 108, half network and half trigram 87.
Run: python ff_lm.py --prompt "returns the". Left out: bigrams and trigrams (see README.md).
Shapes: B batch, N windows, V words in the vocabulary, m embedding size, h hidden units.
"""

# /// script
# dependencies = ["torch==2.13.0", "numpy==2.4.6", "matplotlib==3.11.2", "tqdm==4.70.1",
#   "tyro==1.0.17"]
# ///
import os
import re
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from tqdm import tqdm

WORD = r"\w+(?:'\w+)?|[^\w\s.`*]"  # or a punctuation mark, but for full stops and markup
BOUNDARY, UNK = range(2)  # <s> ends a sentence and fills the context of its first words


# %% data
def read_sentences(path):
    """Sentences, up to . ! ? or an empty line, words joined by spaces; of a .py file, its prose."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".py":  # of the docstrings, the prose: no ruled titles, no signs of code
        docs = "\n\n".join(re.findall(r'"""(.*?)"""', text, re.S)) + "\n"
        docs = re.sub(r"\n.*\n *[-=]{3,}", "\n", docs)
        text = "".join(re.findall(r"[A-Z][^.:;!?=\[\]{}<>#_|]*\.\s", docs))
    found = re.split(r"[.!?](?:\s|$)|\n\s*\n", text.lower())
    return [" ".join(re.findall(WORD, s)) for s in found if re.search(WORD, s)]


def corpus(text=None, test=None):
    """(sentences to learn from, held-out ones), each once: every tenth source file, or sentence."""
    roots = [Path(torch.__file__).parents[1] / name for name in ("numpy", "matplotlib", "torch")]
    paths = [path for root in roots for path in sorted(root.rglob("*.py"))]
    files = [[s] for s in read_sentences(text)] if text else [*map(read_sentences, paths)]
    held_out = dict.fromkeys(read_sentences(test) if test else [s for f in files[9::10] for s in f])
    return dict.fromkeys(s for file in files for s in file if s not in held_out), held_out


def windows(sentences, vocabulary, context):
    """(N, context + 1) ids, context and target: a row for each word and each end of sentence."""
    stream = (" <s>" * context + " ").join(["", *sentences, ""]).split()
    rows = torch.tensor([vocabulary.get(word, UNK) for word in stream]).unfold(0, context + 1, 1)
    return rows[(rows[:, -2:] != BOUNDARY).any(1)]  # of the <s> in a row, only the first is asked


# %% model
class FFLM(nn.Module):
    """y = b + W x + U tanh(d + H x), equation (1); d and b are the biases of H and U."""

    def __init__(self, vocab, context=5, embed=96, hidden=96, direct=False, dropout=0.1):
        super().__init__()
        self.C, self.context = nn.Embedding(vocab, embed), context
        nn.init.normal_(self.C.weight, std=0.1)  # from the default, 1, rare words move too little
        self.H, self.U = nn.Linear(context * embed, hidden), nn.Linear(hidden, vocab)
        self.W = nn.Linear(context * embed, vocab, bias=False) if direct else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, words):  # (B, context) -> logits (B, V)
        x = self.dropout(self.C(words).flatten(1))  # (B, context * m), in the order of the words
        y = self.U(self.dropout(torch.tanh(self.H(x))))  # (B, h), then (B, V)
        return y + self.W(x) if self.W else y


# %% evaluation
@torch.no_grad()
def evaluate(model, rows):
    """Perplexity, e to the mean loss: of every row, also those of <unk> and of ends of sentence."""
    model.eval()
    loss = sum(cross_entropy(model(r[:, :-1]), r[:, -1], reduction="sum") for r in rows.split(512))
    return (loss / len(rows)).exp().item()


@torch.no_grad()
def predict(model, ids):
    """P(next word | ids), from the likeliest down, and the ids of those words: twice (V,)."""
    context = torch.tensor([BOUNDARY] * model.context + ids, device=model.C.weight.device)
    return model.eval()(context[None, -model.context :])[0].softmax(0).sort(descending=True)


def generate(model, ids, temperature, top_k):
    """The rest of the sentence, 30 words at most, each drawn among the top_k likeliest."""
    drawn = []
    while len(drawn) < 30 and BOUNDARY not in drawn:
        p, order = predict(model, ids + drawn)
        # relative to the likeliest, which keeps its 1 however low the temperature is
        drawn.append(order[((p[:top_k] / p[0]) ** (1 / temperature)).multinomial(1)].item())
    return drawn


# %% training
def train(model, rows, held_out, epochs, batch=256, lr=5e-3):
    """AdamW, one cycle of its rate: [(epochs done, held-out perplexity), ...]."""
    adam, curve = torch.optim.AdamW(model.parameters(), fused=True), []
    order = [i for _ in range(epochs) for i in torch.randperm(len(rows)).split(batch)]
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, lr, len(order))
    for step, i in enumerate(tqdm(order, disable=None), 1):
        loss = cross_entropy(model.train()(rows[i, :-1]), rows[i, -1])  # train(): with dropout
        adam.zero_grad()
        loss.backward()
        adam.step()
        cycle.step()
        if step % 500 == 0 or step == len(order):
            curve.append((step * epochs / len(order), evaluate(model, held_out)))
            tqdm.write(f"epoch {curve[-1][0]:.2f}: held-out perplexity {curve[-1][1]:.1f}")
    return curve


# %% picture
def draw(curve, unigram, C, words, path):
    """Held-out perplexity by epoch; frequent words on two principal components of their rows."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    left.plot(*zip(*curve), "o-")
    left.axhline(unigram, color="gray", linestyle="--")
    left.set(xlabel="epoch", title=f"Held-out perplexity {curve[-1][1]:.0f}; unigram {unigram:.0f}")
    points, placed = C @ torch.pca_lowrank(C)[2][:, :2], []
    for word, (x, y) in zip(words, (points / points.abs().amax(0)).tolist()):
        # half the widths apart, or a line: no label over another
        if all(abs(x - a) > 0.016 * len(word + w) or abs(y - b) > 0.06 for w, a, b in placed):
            placed.append((word, x, y))
            right.text(x, y, word, ha="center", va="center", family="monospace", fontsize=8)
    right.set(title="Words used alike are neighbours in C", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
    right.set(xlabel="first principal component", ylabel="second", xticks=[], yticks=[])
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    test: Path | None = None,
    min_count: int = 5,
    direct: bool = False,
    epochs: int = 2,
    prompt: str = "returns the",
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns from nine tenths of the source files, or of --text; the rest, or --test, is held out.
    Words seen fewer than --min-count times are <unk>; --direct adds W x. Continues --prompt by
    drawing among the --top-k likeliest words, the more daringly the higher the --temperature.
    """
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    device = found if device == "auto" else device
    can_save = os.access(figure.parent, os.W_OK) and figure.suffix in (".png", ".pdf", ".svg")
    if not can_save or min(temperature, top_k, epochs) <= 0:
        raise ValueError("--temperature, --top-k, --epochs: above 0; --figure: folder/name.png")
    torch.manual_seed(seed)
    learn, held_out = corpus(text, test)
    counts = Counter(" ".join(learn).split()).most_common()
    words = ["<s>", "<unk>", *(word for word, n in counts if n >= min_count)]
    vocabulary = {word: i for i, word in enumerate(words)}
    if vocabulary.keys().isdisjoint(" ".join(held_out).split()):
        raise ValueError(f"{test or text} has no known word: give more text or a lower --min-count")
    model = FFLM(len(words), direct=direct).to(device)
    rows, held = (windows(s, vocabulary, model.context).to(device) for s in (learn, held_out))
    uses = torch.bincount(rows[:, -1], minlength=len(words)) + 1  # none has probability 0
    unigram = (uses / uses.sum())[held[:, -1]].log().mean().neg().exp().item()
    start = time.perf_counter()
    curve = train(model, rows, held, epochs)
    seconds = time.perf_counter() - start
    result = dict(perplexity=curve[-1][1], unigram_perplexity=unigram, vocabulary=len(words))
    result["parameters"] = sum(p.numel() for p in model.parameters())
    result |= dict(tokens_per_second=epochs * len(rows) / seconds, seconds=seconds)
    ids = [vocabulary.get(word, UNK) for word in re.findall(WORD, prompt.lower())]
    print(prompt, "->", *(words[i] for i in generate(model, ids, temperature, top_k)))
    p, order = predict(model, ids)
    print("likeliest next:", *(f"{words[i]} {q:.3f}" for i, q in zip(order[:5], p)))
    C = normalize(model.C.weight.detach()).cpu()
    for i in ids:
        print(words[i], "is near", *(words[j] for j in (C @ C[i]).argsort(descending=True)[1:6]))
    draw(curve, unigram, C[:200], words, figure)
    print(*(f"{name} {round(x, 1):,}" for name, x in result.items()), f"figure {figure}", sep="\n")
    return result


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        advice = "; save the text as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise SystemExit(f"ff_lm.py: {str(error) or 'interrupted, nothing was saved'}{advice}")
