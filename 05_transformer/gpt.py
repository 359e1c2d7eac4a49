"""GPT (Radford et al., 2018) is the decoder of a Transformer alone, without cross-attention.

With the layers of transformer.py it learns to predict the next word. Text, vocabulary and test set
are those of ../04_ff_lm/ff_lm.py. Run: python gpt.py --prompt "returns the"
Result: held-out perplexity 100.9; the feed-forward network has 103.9, a trigram model 108.0.
Shapes: B sentences in a batch, T words, D model width, V words in the vocabulary.
"""

import math
import sys
from pathlib import Path

import torch
import tyro
from torch import nn
from tqdm import tqdm
from transformer import DEVICE, EOS, PAD, Layer, positions, split_words, to_ids

sys.path.append(str(Path(__file__).parents[1] / "04_ff_lm"))  # the one import across folders
from ff_lm import build_vocabulary, corpus  # noqa: E402

SIZE = 24  # sentences in a batch


# %% data
def batches(sentences, vocabulary):
    """One epoch: ids (B, T + 1). Sentences of similar length go together: little padding."""
    rows = [" ".join(words) for words in sorted(sentences, key=len)]
    for start in SIZE * torch.randperm(math.ceil(len(rows) / SIZE)):
        yield to_ids(rows[start : start + SIZE], vocabulary)


# %% model
class GPT(nn.Module):
    """A decoder without cross-attention; the output layer shares the embedding matrix."""

    def __init__(self, vocab, d_model=96, heads=4, layers=2, dropout=0.1):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)
        sizes = d_model, heads, 4 * d_model, dropout
        self.layers = nn.ModuleList(Layer(*sizes, cross=False) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids):  # (B, T) -> logits (B, T, V)
        length, d_model = ids.size(1), self.embedding.embedding_dim
        x = self.dropout(self.embedding(ids) * d_model**0.5 + positions(length, d_model))
        causal_mask = ids.new_ones(length, length).triu(1).bool()
        for layer in self.layers:
            x = layer(x, causal_mask)
        return x @ self.embedding.weight.T


def losses(model, ids):
    """-log P(word | words before it), of all words in a batch (B, T + 1) but not of the padding."""
    logits, targets = model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()
    return nn.functional.cross_entropy(logits, targets, reduction="none")[targets != PAD]


# %% evaluation
@torch.no_grad()
def evaluate(model, sentences, vocabulary):
    """Perplexity: e to the mean loss over all words and ends of sentences."""
    model.eval()  # without dropout
    parts = [losses(model, ids) for ids in batches(sentences, vocabulary)]
    return torch.cat(parts).mean().exp().item()


def generate(model, ids, temperature, top_k):
    """Completes a sentence of ids, from <bos> on: draws the next one until <eos>, 50 at most."""
    while ids[-1] != EOS and len(ids) < 50:
        logits = model(torch.tensor([ids], device=DEVICE))[0, -1]  # of the next word, (V,)
        best, words = logits.topk(min(top_k, len(logits)))  # no others can be drawn
        p = (best / temperature).softmax(0)  # with a low temperature, mostly the likeliest
        ids = [*ids, words[p.multinomial(1)].item()]
    return ids


# %% training
def train(model, batches, steps):
    """AdamW; a step predicts all words of its sentences at once, each from those before it."""
    model.train()  # with dropout
    adam = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, steps, cycle_momentum=False)
    for ids in tqdm(batches, total=steps):
        adam.zero_grad()
        losses(model, ids).mean().backward()
        adam.step()
        schedule.step()


# %% main
def main(
    epochs: int = 4, prompt: str = "the", temperature: float = 0.8, top_k: int = 50, seed: int = 0
):
    """Learns a language model and completes a sentence.

    Args:
        epochs: Passes over the training set.
        prompt: The beginning of a sentence, which the model completes.
        temperature: Below 1, likely words become likelier; above 1, less so.
        top_k: How many words, the likeliest, can come next.
        seed: Of the weights, the order, dropout and the words drawn.
    """
    torch.manual_seed(seed)
    training, test = corpus()
    words = ["<pad>", "<bos>", "<eos>", *list(build_vocabulary(training))[1:]]  # <unk>, ...
    vocabulary = {word: i for i, word in enumerate(words)}
    model = GPT(len(words)).to(DEVICE)
    data = (ids for _ in range(epochs) for ids in batches(training, vocabulary))
    train(model, data, epochs * math.ceil(len(training) / SIZE))
    perplexity = evaluate(model, test, vocabulary)
    print(f"held-out perplexity {perplexity:.1f}")
    start = to_ids([split_words(prompt)], vocabulary)[0, :-1].tolist()
    print(*[words[i] for i in generate(model, start, temperature, top_k)])
    return dict(perplexity=perplexity, model=model, vocabulary=vocabulary)


if __name__ == "__main__":
    result = tyro.cli(main)
