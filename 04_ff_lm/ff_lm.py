"""The feed-forward language model of Bengio et al. (2003), "A neural probabilistic language model".

It learns the probability of the next word, given the five before it. Run: python ff_lm.py
Result: held-out perplexity 103.9; a unigram model has 423.3.
Shapes: B batch, N windows, V words in the vocabulary, m embedding size, h hidden units.
"""

import sys
import unicodedata
from collections import Counter
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import regex as re
import torch
import tyro
from torch import nn
from torch.nn.functional import cross_entropy

WORD = r"(?V1)\p{Han}|[\w--\p{Han}]+(?:'[\w--\p{Han}]+)?|[^\w\s.`*]"  # or a sign, but not . ` *
PROSE = r"[A-Z](?:(?!---)[^.:;!?=\[\]{}<>#_|])*\.(?!\S)"  # a sentence, no title, no code
SIZE = 256  # windows in a batch
BOUNDARY, UNK = 0, 1  # <s> ends a sentence and fills the context of its first words


# %% data
def docstrings():
    """The prose in the docstrings of numpy, matplotlib and torch: a text for each source file."""
    for name in "numpy", "matplotlib", "torch":
        for path in sorted((Path(torch.__file__).parents[1] / name).rglob("*.py")):
            quoted = re.findall(r'(?s)"""(.*?)"""', path.read_text("utf-8"))
            yield "\n".join(re.findall(PROSE, "\n\n".join(quoted)))


def read_text(path):
    """The text of a UTF-8 file; ValueError names the line that is not UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error


def split_sentences(*texts):
    """Sentences as tuples of words in lower case, each once; a long one is cut every 50 words."""
    sentences = []
    for sentence in re.split(r"[.!?](?:\s|$)|[।。！？…]|\n\s*\n", "\n".join(texts)):
        words = re.findall(WORD, unicodedata.normalize("NFC", sentence).lower())
        sentences += [tuple(words[i : i + 50]) for i in range(0, len(words), 50)]
    return list(dict.fromkeys(sentences))


def corpus(text=None):
    """Training and test sentences: of docstrings, where the test set is every tenth source file, or
    of a file NAME.txt, where it is NAME_test.txt or, without that file, every tenth sentence."""
    if text is None:
        texts = list(docstrings())
        sentences, test = split_sentences(*texts), split_sentences(*texts[9::10])
    else:
        sentences = split_sentences(read_text(text))
        test_text = text.with_stem(f"{text.stem}_test")
        test = split_sentences(read_text(test_text)) if test_text.exists() else sentences[9::10]
    held_out = set(test)
    return [sentence for sentence in sentences if sentence not in held_out], test


def windows(sentences, vocabulary, context):
    """Returns (N, context + 1): in each row the context words, then the word to predict."""
    rows = []
    for sentence in sentences:
        ids = [BOUNDARY] * context + [vocabulary.get(word, UNK) for word in sentence] + [BOUNDARY]
        rows.append(torch.tensor(ids).unfold(0, context + 1, 1))  # a row for each start
    return torch.cat(rows)


def batches(rows):
    """One epoch: batches (B, context + 1) of all windows in random order."""
    for chosen in torch.randperm(len(rows)).split(SIZE):
        yield rows[chosen]


# %% model
class FFLM(nn.Module):
    """y = b + W x + U tanh(d + H x), equation (1); d and b are the biases of H and U."""

    def __init__(self, vocab, context=5, embed=96, hidden=96, direct=False):
        super().__init__()
        self.C, self.context = nn.Embedding(vocab, embed), context
        nn.init.normal_(self.C.weight, std=0.1)  # not 1: the few updates of a rare word change it
        self.H, self.U = nn.Linear(context * embed, hidden), nn.Linear(hidden, vocab)
        self.W = nn.Linear(context * embed, vocab, bias=False) if direct else None

    def forward(self, words):  # (B, context) -> logits (B, V)
        x = self.C(words).flatten(1)  # (B, context * m), in the order of the words
        y = self.U(torch.tanh(self.H(x)))  # (B, h), then (B, V)
        return y + self.W(x) if self.W else y


# %% evaluation
@torch.no_grad()
def evaluate(model, rows):
    """Perplexity: e to the mean loss over all windows (N, context + 1)."""
    losses = [cross_entropy(model(r[:, :-1]), r[:, -1], reduction="none") for r in rows.split(512)]
    return torch.cat(losses).mean().exp().item()


def generate(model, ids):
    """Completes a sentence of word ids: each next one is drawn from P(next word), 30 at most."""
    ids = [BOUNDARY] * model.context + ids
    for _ in range(30):
        context = torch.tensor([ids[-model.context :]], device=model.C.weight.device)
        ids.append(model(context).softmax(1).multinomial(1).item())
        if ids[-1] == BOUNDARY:
            break
    return ids[model.context :]


# %% training
def train(model, epochs, steps, held_out):
    """AdamW on the cross-entropy of the next word: {step: held-out perplexity}.
    epochs yields for each epoch its batches (B, context + 1), steps batches in all."""
    curve = {}
    adam = torch.optim.AdamW(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 5e-3, steps, cycle_momentum=False)
    for step, rows in enumerate(chain.from_iterable(epochs), 1):
        loss = cross_entropy(model(rows[:, :-1]), rows[:, -1])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % max(1, steps // 20) == 0:
            curve[step] = evaluate(model, held_out)
            print(f"step {step} of {steps}: held-out perplexity {curve[step]:.1f}", flush=True)
    return curve


# %% figure
def draw(curve, unigram, path):
    """Saves the held-out perplexity during training and, dashed, that of the unigram model."""
    fig, ax = plt.subplots(layout="constrained")
    ax.plot(curve.keys(), curve.values(), "o-")
    ax.axhline(unigram, color="gray", linestyle="--")
    ax.set(title="Held-out perplexity (dashed: unigram)", xlabel="step", ylabel="perplexity")
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    min_count: int = 5,
    epochs: int = 2,
    prompt: str = "returns the",
    seed: int = 0,
    device: str | None = None,
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns a language model and completes a sentence.
    Args:
        text: UTF-8 text NAME.txt (and NAME_test.txt, if there is one); without it, docstrings.
        min_count: Words rarer than this in the training set are <unk>; at least 2 to learn <unk>.
        epochs: Passes over the training set.
        prompt: The beginning of a sentence, which the model completes.
        seed: Of the weights, the order of the windows and the words drawn.
        device: cpu, cuda, mps, ...; without it, the accelerator if there is one.
        figure: Where the figure is saved."""
    torch.manual_seed(seed)
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    training, test = corpus(text)
    counts = Counter(chain.from_iterable(training))
    words = ["<s>", "<unk>", *(word for word in counts if counts[word] >= min_count)]
    if len(words) == 2 or not test:
        raise ValueError(f"{text or 'the docstrings'}: too short; more text or a lower --min-count")
    vocabulary = {word: i for i, word in enumerate(words)}
    model = FFLM(len(words)).to(device)
    rows, held_out = (windows(s, vocabulary, model.context).to(device) for s in (training, test))
    data = (batches(rows) for _ in range(epochs))
    curve = train(model, data, epochs * len(rows.split(SIZE)), held_out)
    network = evaluate(model, held_out)
    uses = rows[:, -1].bincount(minlength=len(words)) + 1  # add-one smoothing
    unigram = (uses.sum() / uses[held_out[:, -1]]).log().mean().exp().item()
    print(f"held-out perplexity {network:.1f}, unigram baseline {unigram:.1f}")
    ids = [vocabulary.get(word, UNK) for word in chain.from_iterable(split_sentences(prompt))]
    print(*[words[i] for i in generate(model, ids)])
    draw(curve, unigram, figure)
    return dict(perplexity=network, unigram_perplexity=unigram, model=model, vocabulary=vocabulary)


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's output has no such method
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some characters
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"ff_lm.py: {error}")
