"""The Transformer of Vaswani et al. (2017), "Attention is all you need", learns to translate.

Task     Spanish to English: learns pairs.tsv, is examined on combinations of words it never saw
Command  python transformer.py          (--help shows what you can change)
Result   98 % exactly right (retrieval: 0 %, see README); 61 s, two cores of an AMD EPYC, no GPU
Without  subwords (few words), a cache in decoding (it would hide the equations), beam (see README)
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
import random
import re
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
    """UTF-8 lines `source TAB target` -> [source, target] each, as split_words leaves them."""
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").rstrip().split("\n"), 1):
        pair = [split_words(side) for side in line.split("\t")[:2]]
        if len(pair) < 2 or "" in pair or "\ufffd" in line:
            raise ValueError(f"{path}, line {number}: write source, tab, target; save as UTF-8")
        yield pair[::-1] if reverse else pair


def build_vocabulary(sentences, min_count):
    """Word -> id: the special tokens, then the words by falling count."""
    words = [w for w, n in Counter(" ".join(sentences).split()).most_common() if n >= min_count]
    return {w: i for i, w in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *words])}


def to_ids(sentences, vocabulary, device):
    """Ids (B, longest + 2): <bos>, at most 200 words, <eos>, then padding."""
    rows = [[BOS, *(vocabulary.get(w, UNK) for w in s.split()[:200]), EOS] for s in sentences]
    return nn.utils.rnn.pad_sequence([torch.tensor(r, device=device) for r in rows], True, PAD)


def batches(pairs, vocabularies, size, rng, device):
    """[[src (B, S), tgt (B, T)], ...] in random order; similar lengths together, to pad little."""
    pairs = sorted(rng.sample(pairs, len(pairs)), key=lambda pair: len(pair[0].split()))
    groups = [zip(*pairs[i : i + size]) for i in range(0, len(pairs), size)]
    rng.shuffle(groups)
    return [[to_ids(s, v, device) for s, v in zip(group, vocabularies)] for group in groups]


# %% model
def attention(q, k, v, mask):
    """Scaled dot products [3.2.1]: q (..., T, d), k, v (..., S, d), mask like (..., T, S)."""
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
        # (B, H, T, D / H) and, kept for the picture, (B, H, T, S)
        output, self.weights = attention(q, k, v, mask)
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
    def __init__(self, src_vocab, tgt_vocab, d_model=96, heads=4, d_ff=384, layers=2, dropout=0.1):
        super().__init__()
        sizes = d_model, heads, d_ff, dropout
        self.src_table = nn.Parameter(torch.randn(src_vocab, d_model) / d_model**0.5)
        self.tgt_table = nn.Parameter(torch.randn(tgt_vocab, d_model) / d_model**0.5)
        self.encoder = nn.ModuleList(Layer(*sizes, cross=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(*sizes, cross=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def run(self, layers, table, ids, *masks_and_memory):  # (B, length) -> (B, length, D)
        # as large as the positions [3.4]; table[ids] would add its gradients in random order
        x = nn.functional.embedding(ids, table) * table.size(1) ** 0.5
        x = self.dropout(x + positions(x.size(1), x.size(2), x.device))
        for layer in layers:
            x = layer(x, *masks_and_memory)
        return x

    def encode(self, src):  # (B, S) -> memory (B, S, D)
        return self.run(self.encoder, self.src_table, src, (src == PAD)[:, None, None])

    def decode(self, tgt, memory, src):  # (B, T), what encode made of src -> logits (B, T, V)
        later = torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool, device=tgt.device).triu(1)
        mask = later | (tgt == PAD)[:, None, None]
        x = self.run(self.decoder, self.tgt_table, tgt, mask, memory, (src == PAD)[:, None, None])
        return x @ self.tgt_table.T  # the output layer is the target table [3.4]

    def forward(self, src, tgt):
        return self.decode(tgt, self.encode(src), src)


# %% evaluation
@torch.no_grad()
def greedy(model, sentences, vocabularies):
    """Greedy decoding: the likeliest next word for all sentences at once, until all have ended."""
    src = to_ids(sentences, vocabularies[0], model.src_table.device)
    memory, tgt = model.encode(src), src[:, :1]  # both begin with <bos>
    while not (tgt == EOS).any(1).all() and tgt.size(1) < 2 * src.size(1) + 10:
        tgt = torch.cat([tgt, model.decode(tgt, memory, src)[:, -1:].argmax(-1)], 1)
    words = list(vocabularies[1])
    texts = [" ".join(words[i] for i in row[1:]) for row in tgt.tolist()]
    return [text.split("<eos>")[0].strip() for text in texts]


# %% training
def train(model, pairs, vocabularies, epochs, seed, size=64, warmup=200):
    """Adam and its rate [5.3], label smoothing [5.4] -> moving average of the model [6.1], loss."""
    loss_of = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.1)
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    scale, rng = 0.4 * model.tgt_table.size(1) ** -0.5, random.Random(seed)
    for epoch in range(epochs):
        data = batches(pairs, vocabularies, size, rng, model.tgt_table.device)
        for step, (src, tgt) in enumerate(tqdm(data, disable=None), epoch * len(data) + 1):
            adam.param_groups[0]["lr"] = scale * min(step**-0.5, step * warmup**-1.5)
            # reads <bos> a b, should write a b <eos>; smoothing keeps the loss above 0.9
            loss = loss_of(model(src, tgt[:, :-1]).flatten(0, 1), tgt[:, 1:].flatten())
            adam.zero_grad()
            loss.backward()
            adam.step()
            average.update_parameters(model)
        tqdm.write(f"epoch {epoch + 1} of {epochs}: loss {loss:.3f}")
    return average.module.eval(), loss.item()  # eval: without dropout from now on


# %% picture
def draw(model, sentence, vocabularies, path):
    """Saves who looks at whom in the last layers: a row asks, bright columns answer."""
    words = greedy(model, [sentence], vocabularies)[0].split()
    source, read, written = f"<bos> {sentence} <eos>".split(), ["<bos>", *words], [*words, "<eos>"]
    encoder, decoder = model.encoder[-1].self_attention, model.decoder[-1].self_attention
    cross = model.decoder[-1].cross_attention.weights[0]
    panels = [(f"decoder to encoder, head {h}", w, written, source) for h, w in enumerate(cross)]
    panels += [(f"encoder, head {h}", encoder.weights[0, h], source, source) for h in (0, 1)]
    panels.append(("decoder: no future", decoder.weights[0, 0], read, read))
    waves = positions(len(source), model.src_table.size(1), "cpu")[:, :32] / 2 + 0.5  # 0 to 1
    panels.append(("positions, dimensions 0 to 31", waves, source, []))
    fig, axes = plt.subplots(2, 4, figsize=(14, 7), layout="constrained")
    for ax, (title, weights, rows, columns) in zip(axes.flat, panels):
        ax.imshow(weights.cpu().numpy(), aspect="auto", vmin=0, vmax=1)
        ax.set_xticks(range(len(columns)), columns, rotation=90)
        ax.set(title=title, yticks=range(len(rows)), yticklabels=rows)
    fig.suptitle("Rows ask, bright columns answer; bright cells cross over where the order changes")
    fig.savefig(path, dpi=150)


# %% main
def main(
    pairs: Path = Path(__file__).with_name("pairs.tsv"),
    test: Path | None = None,
    reverse: bool = False,
    min_count: int = 1,
    epochs: int = 5,
    d_model: int = 96,
    translate: tuple[str, ...] = ("el gato negro duerme",),
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Learns to translate from one part of a parallel corpus and is examined on the other.

    Args:
        pairs: UTF-8 text, in every line a source sentence, a tab, its translation.
        test: Held-out pairs; else NAME_test.tsv beside NAME.tsv, else 1000 of it (at most 5 %).
        reverse: Translate the second column into the first.
        min_count: Words seen less often in training become <unk>.
        epochs: Passes over the training pairs.
        d_model: Width of the model.
        translate: Sentences of your own; the last one is drawn.
        seed: Of the weights, dropout, order and split.
        device: auto (the accelerator, if there is one) or cpu, cuda, mps, xpu.
        figure: Where the picture goes.
    """
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    if not os.access(figure.parent, os.W_OK) or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot save {figure}: name a .png, .pdf or .svg in a writable folder")
    if min(epochs, min_count) < 1 or d_model < 8 or d_model % 8:
        raise ValueError("--epochs and --min-count start at 1, --d-model takes multiples of 8")
    learn, exam = [*read_pairs(pairs, reverse)], test or pairs.with_stem(f"{pairs.stem}_test")
    random.Random(seed).shuffle(learn)
    part = learn[: min(1000, len(learn) // 20)]
    held_out = [*read_pairs(exam, reverse)] if test or exam.exists() else part
    secret = {sentence for pair in held_out for sentence in pair}
    learn = [pair for pair in learn if secret.isdisjoint(pair)]
    if not (learn and held_out):
        raise ValueError(f"{pairs} is too small: beside the test, nothing is left to learn from")
    start = time.perf_counter()
    torch.manual_seed(seed)
    vocabularies = [build_vocabulary(side, min_count) for side in zip(*learn)]
    model = Transformer(*map(len, vocabularies), d_model, d_ff=4 * d_model)
    model.to(found if device == "auto" else device)
    model, loss = train(model, learn, vocabularies, epochs, seed)
    seconds = time.perf_counter() - start
    speed = epochs * sum(len(target.split()) + 1 for _, target in learn) / seconds
    sources, targets = zip(*held_out)
    chunks = [sources[i : i + 100] for i in range(0, len(sources), 100)]
    outputs = [text for chunk in chunks for text in greedy(model, chunk, vocabularies)]
    exact = sum(output == target for output, target in zip(outputs, targets)) / len(targets)
    bleu = corpus_bleu(outputs, [targets], tokenize="none", force=True).score
    for source, target in held_out[:6] + [[split_words(text), None] for text in translate]:
        words = (w if w in vocabularies[0] else f"<unknown: {w}>" for w in source.split())
        (output,) = greedy(model, [source], vocabularies)
        print(*words, "->", output, f"(expected: {target})" if target not in (None, output) else "")
    draw(model, source, vocabularies, figure)
    result = dict(exact_match=exact, bleu=bleu, loss=loss, tokens_per_second=speed, seconds=seconds)
    print(*(f"{name} {value:.3f}" for name, value in result.items()), f"picture {figure}", sep="\n")
    return result


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        raise SystemExit(f"{Path(__file__).name}: {str(error) or 'interrupted, nothing saved'}")
