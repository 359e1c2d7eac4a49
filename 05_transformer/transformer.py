"""The Transformer of Vaswani et al. (2017), "Attention is all you need", learns to translate.

It learns Spanish to English from pairs.tsv; pairs_test.tsv has new combinations of its words.
Run: python transformer.py
Result: exact match 0.984 on the test set (nearest-neighbour baseline: 0.000).
Shapes: B batch, S source length, T target length, D model width, H heads, V target vocabulary.
Masks: True hides. Numbers in brackets are sections of the paper."""

import math
import unicodedata
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import regex
import torch
import tyro
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

PAD, BOS, EOS, UNK = range(4)  # padding, begin and end of sentence, unknown word
DEVICE = torch.accelerator.current_accelerator(check_available=True) or "cpu"
WORD = r"(?V1)\p{Han}|[\w--\p{Han}]+|[^\w\s]"  # a Han character, a word or a punctuation mark


# %% data
def split_words(text):
    """'¿Comes pan?' -> '¿ comes pan ?'; a Chinese character is a word."""
    return " ".join(regex.findall(WORD, unicodedata.normalize("NFC", text).lower()))


def read_pairs(path):
    """Lines `source TAB target` -> (source, target), both as split_words writes them."""
    for line in path.read_text("utf-8-sig").strip().split("\n"):
        source, target = line.split("\t")[:2]
        yield split_words(source), split_words(target)


def build_vocabulary(sentences):
    """Word -> id: the special tokens, then the words seen three times or more."""
    counts = Counter(" ".join(sentences).split())
    words = [word for word in counts if counts[word] >= 3]
    return {word: i for i, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *words])}


def to_ids(sentences, vocabulary):
    """Ids (B, longest + 2): <bos>, the words, <eos>, then padding."""
    rows = []
    for sentence in sentences:
        words = f"<bos> {sentence} <eos>".split()
        rows.append(torch.tensor([vocabulary.get(word, UNK) for word in words]))
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD).to(DEVICE)


def batches(pairs, vocabularies, size=64):
    """One epoch in random order: src (B, S) and tgt (B, T)."""
    for rows in torch.randperm(len(pairs)).split(size):
        sources, targets = zip(*[pairs[row] for row in rows])
        yield to_ids(sources, vocabularies[0]), to_ids(targets, vocabularies[1])


# %% model
def attention(q, k, v, mask):
    """Scaled dot-product attention [3.2.1] of q (..., T, d), k and v (..., S, d), under a mask that
    broadcasts to (..., T, S). Returns outputs (..., T, d) and attention weights (..., T, S)."""
    scores = q @ k.mT / q.size(-1) ** 0.5
    weights = scores.masked_fill(mask, -torch.inf).softmax(-1)
    return weights @ v, weights


def positions(length, d_model):
    """Sinusoidal positional encodings [3.5], (length, D): sine in even columns, cosine in odd."""
    divisors = 10000 ** (torch.arange(0, d_model, 2) / d_model)
    angles = torch.arange(length)[:, None] / divisors
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(DEVICE)


class MultiHeadAttention(nn.Module):
    """H attentions in parallel, each with its own D / H dimensions [3.2.2]."""

    def __init__(self, d_model, heads):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, x, memory, mask):  # queries of x (B, T, D), keys, values of memory (B, S, D)
        projected = self.W_q(x), self.W_k(memory), self.W_v(memory)
        # (B, length, D) -> (B, H, length, D / H)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projected)
        outputs, self.attention_weights = attention(q, k, v, mask)  # kept to be drawn: (B, H, T, S)
        return self.W_o(outputs.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Encoder layer or, with cross-attention to the encoder's output, decoder layer [3.1]."""

    def __init__(self, d_model, heads, d_ff, dropout, cross):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.self_norm = nn.LayerNorm(d_model)
        self.cross_attention = MultiHeadAttention(d_model, heads) if cross else None
        self.cross_norm = nn.LayerNorm(d_model) if cross else None
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))
        self.ffn_norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask, memory=None, memory_mask=None):
        # each time a residual connection, x + ..., and then layer normalisation
        x = self.self_norm(x + self.dropout(self.self_attention(x, x, mask)))
        if self.cross_attention:
            x = self.cross_norm(x + self.dropout(self.cross_attention(x, memory, memory_mask)))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))


class Transformer(nn.Module):
    """Encoder and decoder [3]; the output layer shares the target embedding matrix [3.4]."""

    def __init__(self, src_vocab, tgt_vocab, d_model=96, heads=4, layers=2, dropout=0.1):
        super().__init__()
        self.src_embedding = nn.Embedding(src_vocab, d_model)
        self.tgt_embedding = nn.Embedding(tgt_vocab, d_model)
        for embedding in self.src_embedding, self.tgt_embedding:
            nn.init.normal_(embedding.weight, std=d_model**-0.5)
        sizes = d_model, heads, 4 * d_model, dropout
        self.encoder = nn.ModuleList(Layer(*sizes, cross=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(*sizes, cross=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def embed(self, embedding, ids):  # (B, length) -> (B, length, D)
        x = embedding(ids) * embedding.embedding_dim**0.5  # about as large as the positions [3.4]
        return self.dropout(x + positions(*x.shape[1:]))

    def forward(self, src, tgt):  # (B, S), (B, T) -> logits (B, T, V)
        padding_mask = (src == PAD)[:, None, None]  # (B, 1, 1, S)
        memory = self.embed(self.src_embedding, src)  # (B, S, D)
        for layer in self.encoder:
            memory = layer(memory, padding_mask)
        # (T, T): hides later words, and with them the padding of tgt, which comes last
        causal_mask = tgt.new_ones(tgt.size(1), tgt.size(1)).triu(1).bool()
        x = self.embed(self.tgt_embedding, tgt)  # (B, T, D)
        for layer in self.decoder:
            x = layer(x, causal_mask, memory, padding_mask)
        return x @ self.tgt_embedding.weight.T


# %% evaluation
@torch.no_grad()
def greedy(model, source, vocabularies):
    """Translates what split_words wrote: appends the likeliest word until <eos>, 49 at most."""
    model.eval()  # without dropout
    src = to_ids([source], vocabularies[0])
    ids = [BOS]
    while ids[-1] != EOS and len(ids) < 50:
        logits = model(src, torch.tensor([ids], device=DEVICE))  # (1, T, V)
        ids.append(logits[0, -1].argmax().item())
    words = list(vocabularies[1])
    return " ".join(words[i] for i in ids[1:] if i != EOS)


def evaluate(model, pairs, vocabularies):
    """Exact match: the share of the pairs whose greedy translation is the target."""
    right = [greedy(model, source, vocabularies) == target for source, target in tqdm(pairs)]
    return sum(right) / len(pairs)


# %% training
def train(model, batches, steps, peak):
    """Adam [5.3] with label smoothing [5.4]; the learning rate rises to `peak` and falls to 0."""
    model.train()  # with dropout
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
    schedule = OneCycleLR(adam, max_lr=peak, total_steps=steps, cycle_momentum=False)
    bar = tqdm(batches, total=steps)
    for step, (src, tgt) in enumerate(bar, 1):
        # teacher forcing: the decoder reads <bos> a b of the target and predicts a b <eos>
        logits = model(src, tgt[:, :-1]).flatten(0, 1)
        loss = cross_entropy(logits, tgt[:, 1:].flatten(), ignore_index=PAD, label_smoothing=0.1)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 25 == 0:
            bar.set_postfix(loss=f"{loss:.3f}")


# %% figure
def draw(model, source, translation):
    """The cross-attention weights of the last layer for the last translation, a panel a head."""
    heads = model.decoder[-1].cross_attention.attention_weights[0].tolist()  # (H, T, S)
    keys = f"<bos> {source} <eos>".split()
    predicted = f"{translation} <eos>".split()[: len(heads[0])]  # it may have ended without <eos>
    fig = plt.figure(figsize=(8, 7), layout="constrained")
    for head, weights in enumerate(heads, 1):
        ax = fig.add_subplot(math.ceil(len(heads) / 2), 2, head)
        ax.set(title=f"head {head}", xlabel="key", ylabel="predicted word")
        image = ax.imshow(weights, vmin=0, vmax=1)
        ax.set_xticks(range(len(keys)), keys, rotation=90)
        ax.set_yticks(range(len(predicted)), predicted)
    fig.colorbar(image, ax=fig.axes, label="attention weight")
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=150)


# %% main
def main(
    data: Path = Path(__file__).parent,
    translate: tuple[str, ...] = ("Él duerme.", "¿Lo ven ellas?", "El gato negro bebe leche fría."),
    d_model: int = 96,
    epochs: int = 4,
    seed: int = 0,
):
    """Learns to translate from pairs.tsv and is evaluated on pairs_test.tsv.
    Args:
        data: folder of pairs.tsv and pairs_test.tsv; their lines are source, tab, target
        translate: sentences of your own to translate; the figure shows the last one
        d_model: width of the model, a multiple of 4
        epochs: passes over the training set; a small one needs more
        seed: of the weights, the order and dropout"""
    torch.manual_seed(seed)
    pairs = list(read_pairs(data / "pairs.tsv"))
    test = list(read_pairs(data / "pairs_test.tsv"))
    vocabularies = [build_vocabulary(sentences) for sentences in zip(*pairs)]  # source, target
    model = Transformer(*map(len, vocabularies), d_model).to(DEVICE)
    steps = epochs * math.ceil(len(pairs) / 64)
    all_epochs = (batch for _ in range(epochs) for batch in batches(pairs, vocabularies))
    train(model, all_epochs, steps, peak=0.04 * d_model**-0.5)  # D^-0.5 as in [5.3]
    exact_match = evaluate(model, test, vocabularies)
    print(f"exact match {exact_match:.3f} on {len(test)} test sentences")
    for source in map(split_words, translate):
        words = [w if w in vocabularies[0] else f"<unknown: {w}>" for w in source.split()]
        translation = greedy(model, source, vocabularies)
        print(*words, "->", translation)
    if translate:
        draw(model, source, translation)
    return dict(exact_match=exact_match, model=model, vocabularies=vocabularies)


if __name__ == "__main__":
    result = tyro.cli(main)
