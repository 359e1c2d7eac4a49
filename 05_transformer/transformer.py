"""The Transformer of Vaswani et al. (2017), "Attention is all you need", learns to translate.

It learns Spanish to English from pairs.tsv; pairs_test.tsv has new combinations of its words.
Run: python transformer.py
Result: exact match 0.979 on the test set (nearest-neighbour baseline: 0.000).
Shapes: B batch, S source length, T target length, D model width, H heads, V target vocabulary.
Masks: True hides. Numbers in brackets are sections of the paper.
"""

import math
import sys
import unicodedata
import warnings
from collections import Counter
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import regex
import torch
import tyro
from torch import nn

PAD, BOS, EOS, UNK = range(4)  # padding, begin and end of sentence, unknown word
WORD = r"(?V1)\p{Han}|[\w--\p{Han}]+|[^\w\s]"  # a Han character, a word or a punctuation mark


# %% data
def split_words(text):
    """'¿Comes pan?' -> '¿ comes pan ?', in any script."""
    return " ".join(regex.findall(WORD, unicodedata.normalize("NFC", text).lower()))


def read_pairs(path):
    """Lines `source TAB target` of a UTF-8 file -> (source, target) as split_words writes them."""
    for number, line in enumerate(path.read_bytes().rstrip().split(b"\n"), 1):
        try:
            source, target = line.decode("utf-8-sig").split("\t")[:2]
        except ValueError:
            raise ValueError(f"{path}, line {number}: not UTF-8 text of source, tab, target")
        yield split_words(source), split_words(target)


def build_vocabulary(sentences):
    """Word -> id: the special tokens, then the words seen three times or more."""
    counts = Counter(" ".join(sentences).split())
    words = [word for word in counts if counts[word] >= 3]
    return {word: i for i, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *words])}


def to_ids(sentences, vocabulary, device):
    """Ids (B, longest + 2): <bos>, the words, <eos>, then padding."""
    rows = []
    for sentence in sentences:
        words = f"<bos> {sentence} <eos>".split()
        rows.append(torch.tensor([vocabulary.get(word, UNK) for word in words]))
    return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)  # pads with 0, PAD


def batches(pairs, vocabularies, device, size):
    """One epoch: src (B, S), tgt (B, T). Pairs of similar length go together: little padding."""
    pairs = sorted(pairs, key=lambda pair: len(pair[0]))
    for start in size * torch.randperm(math.ceil(len(pairs) / size)):
        sides = zip(*pairs[start : start + size])
        yield [to_ids(side, vocabulary, device) for side, vocabulary in zip(sides, vocabularies)]


# %% model
def attention(q, k, v, mask):
    """Scaled dot-product attention [3.2.1]: q (..., T, d), k and v (..., S, d), mask (..., T, S).

    Returns the outputs (..., T, d) and the attention weights (..., T, S).
    """
    scores = q @ k.mT / q.size(-1) ** 0.5
    weights = scores.masked_fill(mask, -torch.inf).softmax(-1)
    return weights @ v, weights


def positions(length, d_model, device):
    """Sinusoidal positional encodings [3.5], (length, D): sine in even columns, cosine in odd."""
    divisors = 10000 ** (torch.arange(0, d_model, 2, device=device) / d_model)
    angles = torch.arange(length, device=device)[:, None] / divisors
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class MultiHeadAttention(nn.Module):
    """H attentions in parallel, each with its own D / H dimensions [3.2.2]."""

    def __init__(self, d_model, heads):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, x, memory, mask):  # queries of x (B, T, D), keys, values of memory (B, S, D)
        projected = self.W_q(x), self.W_k(memory), self.W_v(memory)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projected)
        output, self.weights = attention(q, k, v, mask)  # (B, H, T, D / H); (B, H, T, S) for draw
        return self.W_o(output.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Encoder layer or, with cross-attention to the encoder's output, decoder layer [3.1]."""

    def __init__(self, d_model, heads, d_ff, dropout, cross):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.cross_attention = MultiHeadAttention(d_model, heads) if cross else None
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(3 if cross else 2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask, memory=None, memory_mask=None):
        # each time a residual connection, x + ..., and then layer normalisation
        x = self.norms[0](x + self.dropout(self.self_attention(x, x, mask)))
        if self.cross_attention:
            x = self.norms[1](x + self.dropout(self.cross_attention(x, memory, memory_mask)))
        return self.norms[-1](x + self.dropout(self.ffn(x)))


class Transformer(nn.Module):
    """Encoder and decoder [3]; the output layer shares the target embedding matrix [3.4]."""

    def __init__(self, src_vocab, tgt_vocab, d_model=96, heads=4, d_ff=384, layers=2, dropout=0.1):
        super().__init__()
        sizes = d_model, heads, d_ff, dropout
        self.src_embedding = nn.Embedding(src_vocab, d_model)
        self.tgt_embedding = nn.Embedding(tgt_vocab, d_model)
        for embedding in self.src_embedding, self.tgt_embedding:
            nn.init.normal_(embedding.weight, std=d_model**-0.5)
        self.encoder = nn.ModuleList(Layer(*sizes, cross=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(*sizes, cross=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def embed(self, embedding, ids):  # (B, length) -> (B, length, D)
        x = embedding(ids) * embedding.embedding_dim**0.5  # about as large as the positions [3.4]
        return self.dropout(x + positions(*x.shape[1:], x.device))

    def forward(self, src, tgt):  # (B, S), (B, T) -> logits (B, T, V)
        padding_mask = (src == PAD)[:, None, None]  # (B, 1, 1, S)
        memory = self.embed(self.src_embedding, src)  # (B, S, D)
        for layer in self.encoder:
            memory = layer(memory, padding_mask)
        # (T, T); it hides the padding of tgt, too, which comes last
        causal_mask = tgt.new_ones(tgt.size(1), tgt.size(1)).triu(1).bool()
        x = self.embed(self.tgt_embedding, tgt)  # (B, T, D)
        for layer in self.decoder:
            x = layer(x, causal_mask, memory, padding_mask)
        return x @ self.tgt_embedding.weight.T


# %% evaluation
@torch.no_grad()
def greedy(model, sentence, vocabularies):
    """Greedy decoding of split words: appends the likeliest next word until <eos>, at most 50."""
    model.eval()  # without dropout
    src = to_ids([sentence], vocabularies[0], model.src_embedding.weight.device)
    tgt = src[:, :1]  # both begin with <bos>
    while tgt[0, -1] != EOS and tgt.size(1) < 50:
        next_word = model(src, tgt)[:, -1:].argmax(-1)  # (1, 1)
        tgt = torch.cat([tgt, next_word], 1)
    words = list(vocabularies[1])
    return " ".join(words[i] for i in tgt[0, 1:] if i != EOS)


def evaluate(model, pairs, vocabularies):
    """Exact match: the share of the pairs whose greedy translation is the target."""
    return sum(greedy(model, s, vocabularies) == t for s, t in pairs) / len(pairs)


# %% training
def train(model, epochs, steps, peak):
    """Trains with Adam [5.3] and label smoothing [5.4]; returns the losses that it prints.

    `epochs` yields for each epoch its batches, `steps` batches in all. The learning rate rises to
    `peak` and falls to 0.
    """
    model.train()  # with dropout
    loss_of = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.1)
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, peak, steps, cycle_momentum=False)
    losses = []
    for step, (src, tgt) in enumerate(chain.from_iterable(epochs), 1):
        # teacher forcing: the decoder reads <bos> a b of the target and predicts a b <eos>
        logits = model(src, tgt[:, :-1])
        loss = loss_of(logits.flatten(0, 1), tgt[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % max(1, steps // 50) == 0:
            losses.append(loss.item())
            print(f"step {step} of {steps}: loss {loss:.3f}", flush=True)
    return losses


# %% figure
def draw(model, source, translation, path):
    """Saves the cross-attention weights of the last layer for the last translation, by heads."""
    keys = f"<bos> {source} <eos>".split()
    predicted = f"{translation} <eos>".split()
    heads = model.decoder[-1].cross_attention.weights[0].tolist()  # (H, T, S), left by greedy
    plt.set_loglevel("error")  # silent about fonts that are not installed
    plt.rcParams["font.family"] = "DejaVu Sans", "Noto Sans Devanagari", "Noto Sans CJK SC"
    fig, axes = plt.subplots(1, len(heads), figsize=(14, 4), layout="constrained")
    for ax, weights in zip(axes, heads):
        ax.imshow(weights, vmax=1)
        ax.set_xticks(range(len(keys)), keys, rotation=90)
        ax.set_yticks(range(len(predicted)), predicted)
        ax.set(title="Cross-attention, one head", xlabel="key", ylabel="predicted word")
    with warnings.catch_warnings(record=True) as caught:
        fig.savefig(path, dpi=150)
    if caught:
        print("The figure lacks some characters: install a font that has them, such as Noto Sans.")


# %% main
def main(
    data: Path = Path(__file__).parent,
    epochs: int = 4,
    d_model: int = 96,
    translate: tuple[str, ...] = ("Él duerme.", "¿Lo ven ellas?", "El gato negro bebe leche fría."),
    seed: int = 0,
    device: str | None = None,
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to translate from pairs.tsv and is evaluated on pairs_test.tsv.

    Args:
        data: Folder of pairs.tsv and pairs_test.tsv; their lines are source, tab, target.
        epochs: Passes over the training set.
        d_model: Width of the model, a multiple of 4.
        translate: Sentences of your own to translate; the figure shows the last one.
        seed: Of the weights, the order and dropout.
        device: cpu, cuda, mps, ...; without it, the accelerator if there is one.
        figure: Where the figure is saved.
    """
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    torch.manual_seed(seed)
    pairs, test = list(read_pairs(data / "pairs.tsv")), list(read_pairs(data / "pairs_test.tsv"))
    vocabularies = [build_vocabulary(sentences) for sentences in zip(*pairs)]
    model = Transformer(*map(len, vocabularies), d_model, d_ff=4 * d_model).to(device)
    size = 64 if len(pairs) > 500 else 16  # a small corpus needs more steps
    epoch_batches = (batches(pairs, vocabularies, device, size) for _ in range(epochs))
    steps = epochs * math.ceil(len(pairs) / size)
    losses = train(model, epoch_batches, steps, peak=0.04 * d_model**-0.5)  # D^-0.5 as in [5.3]
    exact_match = evaluate(model, test, vocabularies)
    print(f"exact match on the test set: {exact_match:.3f}")
    for source in map(split_words, translate):
        words = [w if w in vocabularies[0] else f"<unknown: {w}>" for w in source.split()]
        translation = greedy(model, source, vocabularies)
        print(*words, "->", translation)
    draw(model, source, translation, figure)
    return dict(exact_match=exact_match, losses=losses, model=model, vocabularies=vocabularies)


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's output has no such method
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some characters
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"transformer.py: {error}")
