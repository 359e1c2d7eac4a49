"""The Transformer of Vaswani et al. (2017), "Attention is all you need", learns to translate.

Task     Spanish to English, from the 20 000 pairs of sentences in pairs.tsv; examined on the 1 000
         of pairs_test.tsv, each with a combination of words that the first file never has
Command  python transformer.py          (--help shows what you can change)
Result   RESULT
Without  subwords (the vocabulary is small), a cache in decoding (it would hide the equations), and
         beam search, which the README adds
Shapes   B batch, S source length, T target length, D model width, H heads, V target vocabulary
Masks    True hides. Numbers in brackets are sections of the paper.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "matplotlib==3.11.2", "sacrebleu==2.6.0", "torch==2.13.0", "tqdm==4.70.1", "tyro==1.0.17"
# ]
# ///
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from sacrebleu import corpus_bleu
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

PAD, BOS, EOS, UNK = range(4)  # padding, begin and end of sentence, unknown word


# %% data
def split_words(text):
    """'¿Comes pan?' -> '¿ comes pan ?'"""
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def read_pairs(path, reverse=False):
    """UTF-8 lines `source TAB target` -> [(source, target), ...], as split_words leaves them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    pairs = []
    for number, line in enumerate(lines, 1):
        source, target = (split_words(side) for side in (line + "\t").split("\t")[:2])
        if not (source and target):
            raise ValueError(f"{path}, line {number}: needs a sentence, a tab, its translation")
        pairs.append((target, source) if reverse else (source, target))
    return pairs


def split_pairs(pairs, seed):
    """Train and test pairs that share no source and no target sentence."""
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    test = [pairs[i] for i in order[: min(1000, len(pairs) // 20)]]
    if not test:
        raise ValueError(f"{len(pairs)} pairs are too few to hold any out: give 20, or --test")
    sources, targets = map(set, zip(*test))
    return [p for p in pairs if p[0] not in sources and p[1] not in targets], test


def build_vocabulary(sentences, min_count):
    """Word -> id: the special tokens, then the words by falling count."""
    counts = Counter(" ".join(sentences).split()).most_common()
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *(w for w, n in counts if n >= min_count)]
    return {word: i for i, word in enumerate(words)}


def encode(sentences, vocabulary, device):
    """Ids (B, longest + 2): <bos> words <eos>, then padding."""
    rows = [[BOS, *(vocabulary.get(w, UNK) for w in s.split()), EOS] for s in sentences]
    return nn.utils.rnn.pad_sequence([torch.tensor(r, device=device) for r in rows], True, PAD)


def batches(pairs, size, generator):
    """[(sources, targets), ...] in random order; similar lengths go together, to pad little."""
    order = torch.randperm(len(pairs), generator=generator).tolist()
    order.sort(key=lambda i: len(pairs[i][0].split()))  # a stable sort: ties stay shuffled
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    shuffled = torch.randperm(len(groups), generator=generator)
    return [tuple(zip(*(pairs[i] for i in groups[j]))) for j in shuffled]


# %% model
def attention(q, k, v, mask):
    """Scaled dot products [3.2.1]: q (..., T, d), k and v (..., S, d), mask (..., T, S)."""
    weights = (q @ k.mT / q.size(-1) ** 0.5).masked_fill(mask, -torch.inf).softmax(-1)
    return weights @ v, weights


def positions(length, d_model, device):
    """Sinusoidal positions [3.5], (length, D): sine in even columns, cosine in odd ones."""
    rates = 10000 ** (-torch.arange(0, d_model, 2, device=device) / d_model)
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each with its own D / H dimensions [3.2.2]."""

    def __init__(self, d_model, heads):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, x, memory, mask):  # x (B, T, D) asks, memory (B, S, D) answers
        projected = self.W_q(x), self.W_k(memory), self.W_v(memory)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projected)
        output, self.weights = attention(q, k, v, mask)  # (B, H, T, D / H), (B, H, T, S)
        return self.W_o(output.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Encoder layer or, with cross-attention to the encoder's output, decoder layer [3.1]."""

    def __init__(self, d_model, heads, d_ff, dropout, cross):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.cross_attention = MultiHeadAttention(d_model, heads) if cross else None
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2 + cross))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask, memory=None, memory_mask=None):
        x = self.norms[0](x + self.dropout(self.self_attention(x, x, mask)))
        if self.cross_attention:
            x = self.norms[1](x + self.dropout(self.cross_attention(x, memory, memory_mask)))
        return self.norms[-1](x + self.dropout(self.ffn(x)))


class Transformer(nn.Module):
    def __init__(self, src_vocab, tgt_vocab, d_model=128, heads=4, d_ff=512, layers=2, dropout=0.1):
        super().__init__()
        sizes = d_model, heads, d_ff, dropout
        self.src_table = nn.Parameter(torch.randn(src_vocab, d_model) / d_model**0.5)
        self.tgt_table = nn.Parameter(torch.randn(tgt_vocab, d_model) / d_model**0.5)
        self.encoder = nn.ModuleList(Layer(*sizes, cross=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(*sizes, cross=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def embed(self, table, ids):  # (B, length) -> (B, length, D) [3.4]
        x = table[ids] * table.size(1) ** 0.5
        return self.dropout(x + positions(*x.shape[1:], x.device))

    def encode(self, src):  # (B, S) -> memory (B, S, D), its mask (B, 1, 1, S)
        x, mask = self.embed(self.src_table, src), (src == PAD)[:, None, None]
        for layer in self.encoder:
            x = layer(x, mask)
        return x, mask

    def decode(self, tgt, memory, memory_mask):  # (B, T) -> logits (B, T, V)
        later = torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool, device=tgt.device).triu(1)
        x, mask = self.embed(self.tgt_table, tgt), later | (tgt == PAD)[:, None, None]
        for layer in self.decoder:
            x = layer(x, mask, memory, memory_mask)
        return x @ self.tgt_table.T  # the output layer is the target table [3.4]

    def forward(self, src, tgt):
        return self.decode(tgt, *self.encode(src))


# %% evaluation
@torch.no_grad()
def greedy(model, sentences, vocabularies):
    """Greedy decoding: the likeliest next word for all sentences at once, until all have ended."""
    model.eval()
    src = encode(sentences, vocabularies[0], model.src_table.device)
    memory, memory_mask = model.encode(src)
    tgt = torch.full_like(src[:, :1], BOS)
    while not (tgt == EOS).any(1).all() and tgt.size(1) < 2 * src.size(1) + 10:
        logits = model.decode(tgt, memory, memory_mask)  # (B, T, V); the last row chooses
        tgt = torch.cat([tgt, logits[:, -1:].argmax(-1)], 1)
    words = list(vocabularies[1])
    texts = [" ".join(words[i] for i in row[1:]) for row in tgt.tolist()]
    return [text.split("<eos>")[0].strip() for text in texts]


def evaluate(model, pairs, vocabularies):
    """Share of sentences translated word for word, BLEU (0 to 100), and {source: translation}."""
    outputs = {}
    for sources, _ in batches(pairs, 100, torch.Generator().manual_seed(0)):
        outputs |= zip(sources, greedy(model, sources, vocabularies))
    exact = sum(outputs[source] == target for source, target in pairs) / len(pairs)
    texts, references = [outputs[source] for source, _ in pairs], [target for _, target in pairs]
    return exact, corpus_bleu(texts, [references], tokenize="none", force=True).score, outputs


# %% training
def train(model, pairs, vocabularies, epochs, seed, size=64, warmup=400):
    """Adam and its rate [5.3], label smoothing [5.4]; returns the average model [6.1], the loss."""
    loss_of = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.1)
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    generator, step, (_, d_model) = torch.Generator().manual_seed(seed), 0, model.tgt_table.shape
    for epoch in range(1, epochs + 1):
        bar = tqdm(batches(pairs, size, generator), f"epoch {epoch}", disable=None)
        for group in bar:
            src, tgt = (encode(*g, model.tgt_table.device) for g in zip(group, vocabularies))
            loss = loss_of(model(src, tgt[:, :-1]).transpose(1, 2), tgt[:, 1:])
            adam.zero_grad()
            loss.backward()
            step += 1
            rate = d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)  # rises, then falls
            adam.param_groups[0]["lr"] = rate
            adam.step()
            average.update_parameters(model)
            bar.set_postfix(loss=loss.item())
        tqdm.write(f"epoch {epoch} of {epochs}: loss {loss:.3f}")
    return average.module, loss.item()


# %% picture
def draw(model, sentence, vocabularies, path):
    """Saves who looks at whom in the last layers: a row asks, bright columns answer."""
    target = ["<bos>", *greedy(model, [sentence], vocabularies)[0].split(), "<eos>"]
    source, mine = f"<bos> {sentence} <eos>".split(), target[:-1]
    encoder, decoder = model.encoder[-1].self_attention, model.decoder[-1].self_attention
    cross = model.decoder[-1].cross_attention.weights[0]
    panels = [(f"decoder to encoder, head {h}", w, target[1:], source) for h, w in enumerate(cross)]
    panels.append(("encoder to itself, head 0", encoder.weights[0, 0], source, source))
    panels.append(("decoder to itself: no future", decoder.weights[0, 0], mine, mine))
    fig, axes = plt.subplots(2, 4, figsize=(14, 7), layout="constrained")
    for ax, (title, weights, rows, columns) in zip(axes.flat, panels):
        ax.imshow(weights.cpu(), vmin=0, vmax=1)
        ax.set_title(title)
        ax.set_xticks(range(len(columns)), columns, rotation=90)
        ax.set_yticks(range(len(rows)), rows)
    axes[1, 2].imshow(positions(len(source), 32, "cpu"), aspect="auto", cmap="cividis")
    axes[1, 2].set(title="positions", xlabel="dimension", ylabel="position")
    axes[1, 3].remove()
    fig.savefig(path, dpi=150)


# %% main
def main(
    pairs: Path = Path(__file__).with_name("pairs.tsv"),
    test: Path | None = None,
    reverse: bool = False,
    min_count: int = 1,
    epochs: int = 6,
    d_model: int = 128,
    translate: tuple[str, ...] = (),
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to translate from one part of a parallel corpus and is examined on the other.

    Args:
        pairs: UTF-8 text, in every line a source sentence, a tab, its translation.
        test: Held-out pairs, likewise. Without it NAME_test.tsv beside NAME.tsv or, if there is
            none, 1000 pairs (at most 5 %) of NAME.tsv, of which training sees neither side.
        reverse: Translate the second column into the first.
        min_count: Words seen less often in training become <unk>.
        epochs: Passes over the training pairs.
        d_model: Width of the model.
        translate: Sentences of your own, to translate in the end.
        seed: Of the weights, dropout, order and split.
        device: auto (the accelerator, if there is one) or cpu, cuda, mps, xpu.
        figure: Where the picture goes.
    """
    start = time.perf_counter()
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if not os.access(figure.parent, os.W_OK) or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot save {figure}: name a .png, .pdf or .svg in a writable folder")
    if min(epochs, min_count) < 1 or d_model < 8 or d_model % 8:
        raise ValueError("--epochs and --min-count start at 1, --d-model takes multiples of 8")
    learn, beside = read_pairs(pairs, reverse), pairs.with_stem(f"{pairs.stem}_test")
    if test or beside.exists():
        held_out = read_pairs(test or beside, reverse)
    else:
        learn, held_out = split_pairs(learn, seed)
    torch.manual_seed(seed)
    vocabularies = [build_vocabulary(side, min_count) for side in zip(*learn)]
    sizes = [len(vocabulary) for vocabulary in vocabularies]
    model = Transformer(*sizes, d_model, d_ff=4 * d_model).to(found if device == "auto" else device)
    weights = sum(p.numel() for p in model.parameters())
    print(f"{len(learn)} pairs, {sizes[0]} source and {sizes[1]} target words, {weights} weights")
    model, loss = train(model, learn, vocabularies, epochs, seed)
    tokens = epochs * sum(len(target.split()) + 1 for _, target in learn)
    speed = tokens / (time.perf_counter() - start)
    exact, bleu, outputs = evaluate(model, held_out, vocabularies)
    for source, target in held_out[:: -(-len(held_out) // 6)]:
        mark = "" if outputs[source] == target else f"   (expected: {target})"
        print(f"  {source} -> {outputs[source]}{mark}")
    for sentence in map(split_words, translate):
        unknown = [word for word in sentence.split() if word not in vocabularies[0]]
        note = f"   (unknown: {', '.join(unknown)})" if unknown else ""
        print(f"  {sentence} -> {greedy(model, [sentence], vocabularies)[0]}{note}")
    draw(model, split_words(translate[0]) if translate else held_out[0][0], vocabularies, figure)
    seconds = time.perf_counter() - start
    print(f"held out: {exact:.3f} exactly right, BLEU {bleu:.1f}; {len(held_out)} sentences")
    print(f"{speed:.0f} target words per second, {seconds:.0f} s in all; picture: {figure}")
    names = "exact_match", "bleu", "loss", "tokens_per_second", "seconds"
    return dict(zip(names, (exact, bleu, loss, speed, seconds)))


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        sys.exit(f"{Path(__file__).name}: {str(error) or 'interrupted, nothing was saved'}")
