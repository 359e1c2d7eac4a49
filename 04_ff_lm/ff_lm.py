"""The feed-forward language model of Bengio et al. (2003), "A neural probabilistic language model".

It learns the probability of the next word, given the five before it. Run: python ff_lm.py
Result: held-out perplexity 103.9; a unigram model has 423.3.
Shapes: B batch, N windows, V words in the vocabulary, m embedding size, h hidden units."""

import math
import unicodedata
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import regex as re
import torch
import tyro
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

BOUNDARY, UNK = 0, 1  # <s> ends a sentence and fills the context of its first words
DEVICE = torch.accelerator.current_accelerator(check_available=True) or "cpu"
SIZE = 256  # windows in a batch
# A word: <unk> or <s> of the text, a Chinese character, letters and digits, or a sign but .`*
WORD = r"(?V1)<unk>|<s>|\p{Han}|[\w--\p{Han}]+(?:'[\w--\p{Han}]+)?|[^\w\s.`*]"
# Prose: "Returns the largest value, if any." is found, "Returns x[0]." and "Use np.max." are not.
PROSE = r"[A-Z](?:(?!---)[^.:;!?=\[\]{}<>#_|])*\.(?!\S)"


# %% data
def docstrings():
    """The prose in the docstrings of numpy, matplotlib and torch: a text for each source file."""
    for name in "numpy", "matplotlib", "torch":
        for path in sorted((Path(torch.__file__).parents[1] / name).rglob("*.py")):
            quoted = re.findall(r'(?s)"""(.*?)"""', path.read_text("utf-8"))
            yield "\n".join(re.findall(PROSE, "\n\n".join(quoted)))


def split_sentences(texts):
    """Sentences as tuples of words in lower case, each once; a long one is cut every 50 words."""
    sentences = []
    # sentences end at . ! ? before white space, at the marks of other scripts, at an empty line
    for sentence in re.split(r"[.!?](?:\s|$)|[।。！？…]|\n\s*\n", "\n\n".join(texts)):
        words = re.findall(WORD, unicodedata.normalize("NFC", sentence).lower())
        sentences += [tuple(words[i : i + 50]) for i in range(0, len(words), 50)]
    return list(dict.fromkeys(sentences))


def corpus(text=None):
    """Training and test sentences, none in both: the test set is every tenth sentence of a text or,
    without one, every tenth source file."""
    texts = [text.read_text("utf-8-sig")] if text else list(docstrings())
    sentences = split_sentences(texts)
    test = sentences[9::10] if text else split_sentences(texts[9::10])
    held_out = set(test)
    return [sentence for sentence in sentences if sentence not in held_out], test


def build_vocabulary(sentences):
    """Word -> id: <s>, <unk>, then the words seen five times or more."""
    counts = Counter(word for sentence in sentences for word in sentence)
    words = ["<s>", "<unk>", *(word for word in counts if counts[word] >= 5)]
    return {word: i for i, word in enumerate(dict.fromkeys(words))}


def windows(sentences, vocabulary, context):
    """Returns (N, context + 1): in each row the context words, then the word to predict."""
    rows = []
    for sentence in sentences:
        ids = [BOUNDARY] * context + [vocabulary.get(word, UNK) for word in sentence] + [BOUNDARY]
        rows.append(torch.tensor(ids).unfold(0, context + 1, 1))  # a row for each start
    return torch.cat(rows).to(DEVICE)


def batches(rows):
    """One epoch: batches (B, context + 1) of all windows in random order."""
    for chosen in torch.randperm(len(rows)).split(SIZE):
        yield rows[chosen]


# %% model
class FFLM(nn.Module):
    """Equation (1), y = b + U tanh(d + H x), without its W x; b and d are the biases of U and H."""

    def __init__(self, vocab, context=5, embed=96, hidden=96):
        super().__init__()
        self.context = context
        self.C = nn.Embedding(vocab, embed)
        nn.init.normal_(self.C.weight, std=0.1)  # not 1: few updates must be able to change a word
        self.H = nn.Linear(context * embed, hidden)
        self.U = nn.Linear(hidden, vocab)

    def forward(self, words):  # (B, context) -> logits (B, V)
        x = self.C(words).flatten(1)  # (B, context * m), in the order of the words
        return self.U(torch.tanh(self.H(x)))  # (B, h), then (B, V)


# %% evaluation
@torch.no_grad()
def evaluate(model, rows):
    """Perplexity: e to the mean loss over all windows (N, context + 1)."""
    losses = [cross_entropy(model(r[:, :-1]), r[:, -1], reduction="none") for r in rows.split(512)]
    return torch.cat(losses).mean().exp().item()


def generate(model, vocabulary, words):
    """Completes a sentence: draws from P(next word) until <s>, up to 50 words."""
    while "<s>" not in words and len(words) < 50:
        # the last row of windows has the words before the next one
        context = windows([words], vocabulary, model.context)[-1:, :-1]
        drawn = model(context).softmax(1).multinomial(1).item()
        words = [*words, list(vocabulary)[drawn]]
    return words


# %% training
def train(model, batches, steps, test_rows):
    """AdamW; the learning rate rises, then falls to 0. Returns {step: held-out perplexity}."""
    curve = {}
    adam = torch.optim.AdamW(model.parameters())
    schedule = OneCycleLR(adam, max_lr=5e-3, total_steps=steps, cycle_momentum=False)
    bar = tqdm(batches, total=steps)
    for step, rows in enumerate(bar, 1):
        loss = cross_entropy(model(rows[:, :-1]), rows[:, -1])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % math.ceil(steps / 20) == 0 or step == steps:
            curve[step] = evaluate(model, test_rows)
            bar.set_postfix(perplexity=f"{curve[step]:.1f}")
    return curve


# %% figure
def draw(curve, unigram):
    """The held-out perplexity during training and, dashed, that of the unigram model."""
    fig, ax = plt.subplots(layout="constrained")
    ax.plot(curve.keys(), curve.values(), label="network")
    ax.axhline(unigram, color="gray", linestyle="--", label="unigram")
    ax.set(title="Held-out perplexity", xlabel="step", ylabel="perplexity")
    ax.legend()
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=150)


# %% main
def main(text: Path | None = None, epochs: int = 2, prompt: str = "returns the", seed: int = 0):
    """Learns a language model and completes a sentence.
    Args:
        text: UTF-8 file to learn from; without it, the docstrings of the installed libraries
        epochs: passes over the training set
        prompt: the beginning of a sentence, which the model completes
        seed: of the weights, the order of the windows and the words drawn"""
    torch.manual_seed(seed)
    training, test = corpus(text)
    if not test:
        raise ValueError(f"{text}: fewer than ten different sentences")
    vocabulary = build_vocabulary(training)
    model = FFLM(len(vocabulary)).to(DEVICE)
    training_rows = windows(training, vocabulary, model.context)
    test_rows = windows(test, vocabulary, model.context)
    data = (batch for _ in range(epochs) for batch in batches(training_rows))
    steps = epochs * math.ceil(len(training_rows) / SIZE)
    curve = train(model, data, steps, test_rows)
    counts = training_rows[:, -1].bincount(minlength=len(vocabulary)) + 1  # add-one smoothing
    unigram = (counts.sum() / counts[test_rows[:, -1]]).log().mean().exp().item()
    print(f"held-out perplexity {curve[steps]:.1f}, unigram baseline {unigram:.1f}")
    print(*generate(model, vocabulary, sum(split_sentences([prompt]), ())))
    draw(curve, unigram)
    return dict(perplexity=curve[steps], unigram=unigram, model=model, vocabulary=vocabulary)


if __name__ == "__main__":
    result = tyro.cli(main)
