"""The trigram model of Kneser and Ney, and its mixture with the network of ff_lm.py.

Trains the network, counts n-grams in the same training set and prints the perplexities of all on
the same test set. Run: python trigram.py
"""

from collections import Counter
from pathlib import Path

import ff_lm
import torch
import tyro


def kneser_ney(training, test, vocab, discount=0.75):
    """P(last word | the words before it) of each tuple of the test set, from those of training.

    Each count loses the discount. What it takes away goes to the shorter n-gram, which counts how
    many different words came before a word, not how often it was used.
    """
    if not test[0]:
        return [1 / vocab] * len(test)
    seen = Counter(training)
    shorter = kneser_ney([gram[1:] for gram in seen], [gram[1:] for gram in test], vocab)
    uses = Counter(gram[:-1] for gram in training)
    kinds = Counter(gram[:-1] for gram in seen)  # how many different words followed
    p = []
    for gram, lower in zip(test, shorter):
        history = gram[:-1]
        found = max(seen[gram] - discount, 0)
        backed_off = discount * (kinds[history] + 1) * lower
        p.append((found + backed_off) / (uses[history] + discount))
    return p


@torch.no_grad()
def network(model, rows):
    """P(last word | the words before it) of each row (N, context + 1)."""
    parts = []
    for part in rows.split(512):
        p = model(part[:, :-1]).softmax(1)
        parts.append(p.gather(1, part[:, -1:])[:, 0])
    return torch.cat(parts).cpu()


def main(text: Path | None = None, epochs: int = 2, seed: int = 0):
    """Trains the network and compares it with n-grams.

    Args:
        text: UTF-8 text; without it, docstrings.
        epochs: Passes of the network over the training set.
        seed: Of the network.
    """
    result = ff_lm.main(text, epochs, seed=seed)
    model, vocabulary = result["model"], result["vocabulary"]
    training, test = ff_lm.corpus(text)
    rows = ff_lm.windows(training, vocabulary, model.context)
    test_rows = ff_lm.windows(test, vocabulary, model.context)
    p = {}
    for name, n in ("bigram", 2), ("trigram", 3):
        grams = [tuple(row) for row in rows[:, -n:].tolist()]
        test_grams = [tuple(row) for row in test_rows[:, -n:].tolist()]
        p[name] = torch.tensor(kneser_ney(grams, test_grams, len(vocabulary)))
    p["network"] = network(model, test_rows)
    p["mixture of trigram and network"] = (p["trigram"] + p["network"]) / 2
    perplexities = {name: p[name].log().mean().neg().exp().item() for name in p}
    for name, perplexity in perplexities.items():
        print(f"{name}: {perplexity:.1f}")
    return perplexities


if __name__ == "__main__":
    result = tyro.cli(main)
