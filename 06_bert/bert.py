"""BERT of Devlin et al. (2019), pre-trained on the docstrings of the libraries that it runs on.

It learns to fill in masked words and to tell whether sentence B follows sentence A.
Run: python bert.py
Result: on held-out source files, accuracy on masked words 0.377 (most frequent word 0.056) and on
    the next sentence 0.727 (majority class 0.513).
Shapes: B batch, S length, D model width, H heads, V vocabulary, N prediction targets of a batch.
Masks: True hides. Numbers in brackets are sections of the paper."""

import math
from itertools import chain, pairwise
from pathlib import Path
from unicodedata import normalize

import matplotlib.pyplot as plt
import regex as re
import torch
import tyro
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

PAD, UNK, CLS, SEP, MASK = range(5)  # padding, unknown, start, end of a sentence, masked word
DEVICE = torch.accelerator.current_accelerator(check_available=True) or "cpu"
# Between sentences: it splits "Is it 3.5? Yes. 好。再见" into "Is it 3.5?", "Yes.", "好。", "再见".
END = r"(?<=[.!?…])\s+|(?<=[।。！？])\s*(?=[^\s।。！？])"
# Prose: of "If x=1. Sorts 3.5 MB\nby size. See\n----" it finds "Sorts 3.5 MB\nby size."
PROSE = r'(?<!\S)[A-Z](?:(?!\n\s*[\n-])[^>=#"])*?\.(?!\S)'


# %% data
def docstrings():
    """Of each docstring of three libraries, the number of its source file and its sentences."""
    for name in "numpy", "matplotlib", "torch":
        paths = sorted((Path(torch.__file__).parents[1] / name).rglob("*.py"))
        for number, path in enumerate(paths):
            for docstring in re.findall('(?s)"""(.*?)"""', path.read_text("utf-8")):
                yield number, re.findall(PROSE, docstring.replace("`", ""))


def documents(path):
    """Of each document of a UTF-8 text, its number and its sentences, 50 consecutive ones."""
    sentences = re.split(END, path.read_text("utf-8-sig").strip())
    for start in range(0, len(sentences), 50):
        yield start // 50, sentences[start : start + 50]


def read_pairs(path):
    """Pairs (A, B) of consecutive sentences: training set and test set, every 20th document.
    A repeated pair is dropped, and a test pair that shares a sentence with the training set."""
    pairs = {}  # each with the number of its document
    for number, sentences in documents(path) if path else docstrings():
        sentences = [" ".join(normalize("NFC", s).lower().split()) for s in sentences]
        for pair in pairwise(sentences):
            pairs.setdefault(pair, number)
    training = [pair for pair in pairs if pairs[pair] % 20]
    known = set(chain(*training))
    test = [pair for pair in pairs if known.isdisjoint(pair)]  # drops training pairs, too
    if not training or not test:
        raise ValueError(f"{path}: too few sentences; they end at . ! ? … । 。 ！ ？")
    return training, test


def train_tokenizer(sentences, vocab=3000, max_len=44):
    """A WordPiece tokenizer [3]: a rare word becomes subword tokens, like play ##ing."""
    # The letters inside words are given, since the trainer would number them in random order.
    letters = sorted(set(re.findall(r"[^\s\p{P}\p{Han}]", "".join(sentences))))
    given = "[PAD] [UNK] [CLS] [SEP] [MASK]".split() + [f"##{letter}" for letter in letters]
    trainer = BertWordPieceTokenizer(strip_accents=False)
    trainer.train_from_iterator(sentences, vocab, special_tokens=given, show_progress=False)
    # A new tokenizer of the same vocabulary: in it the letters are not special.
    tokenizer = BertWordPieceTokenizer(trainer.get_vocab(), strip_accents=False)
    tokenizer.enable_truncation(max_len)  # cuts the longer sentence of a pair
    tokenizer.enable_padding()
    return tokenizer


def mask_tokens(ids, vocab):
    """15 % of the tokens are prediction targets [3.1]: masked ids and is_target, both (B, S).
    Of the targets, 80 % become [MASK], 10 % a random word, and 10 % stay as they are."""
    chance, kind = torch.rand(2, *ids.shape, device=ids.device)
    is_target = (chance < 0.15) & (ids > MASK)  # none of the special tokens
    masked = ids.masked_fill(is_target & (kind < 0.8), MASK)
    random_words = torch.randint_like(ids, MASK + 1, vocab)
    return torch.where(is_target & (kind >= 0.9), random_words, masked), is_target


def batches(pairs, tokenizer, size=128):
    """One epoch of rows [CLS] A [SEP] B [SEP]; half of them have the B of another pair [3.1].
    Yields the inputs (masked ids, segments, is_target), each (B, S), then what they are to predict:
    the words (N,) and is_random (B,), 1 where B is a random sentence (NotNext)."""
    real = set(pairs)
    for first in torch.randperm(len(pairs)).split(size):
        second = torch.where(torch.rand(len(first)) < 0.5, first.roll(1), first)
        texts = [(pairs[i][0], pairs[j][1]) for i, j in zip(first, second)]
        is_random = torch.tensor([int(text not in real) for text in texts], device=DEVICE)
        rows = tokenizer.encode_batch(texts)
        ids = torch.tensor([row.ids for row in rows], device=DEVICE)
        segments = torch.tensor([row.type_ids for row in rows], device=DEVICE)
        masked, is_target = mask_tokens(ids, tokenizer.get_vocab_size())
        yield (masked, segments, is_target), ids[is_target], is_random


# %% model
class Layer(nn.Module):
    """The encoder layer of the Transformer, with GELU for ReLU [3, A.2] and without dropout."""

    def __init__(self, d_model, heads, d_ff):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))
        self.self_norm = nn.LayerNorm(d_model)
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.GELU(), nn.Linear(d_ff, d_model))
        self.ffn_norm = nn.LayerNorm(d_model)

    def forward(self, x, mask):  # (B, S, D), (B, 1, 1, S)
        projected = self.W_q(x), self.W_k(x), self.W_v(x)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projected)
        outputs = scaled_dot_product_attention(q, k, v, ~mask)  # (B, H, S, D / H); True keeps
        # each time a residual connection, x + ..., and then layer normalisation
        x = self.self_norm(x + self.W_o(outputs.transpose(1, 2).flatten(2)))
        return self.ffn_norm(x + self.ffn(x))


class Bert(nn.Module):
    """The encoder and its two heads, masked words (MLM) and next sentence (NSP) [3.1]."""

    def __init__(self, vocab, d_model=96, heads=4, layers=2, d_ff=384, max_len=44):
        super().__init__()
        self.words = nn.Embedding(vocab, d_model)
        self.positions = nn.Embedding(max_len, d_model)  # learned, not sinusoidal
        self.segments = nn.Embedding(2, d_model)  # sentence A or B
        self.norm = nn.LayerNorm(d_model)
        self.layers = nn.ModuleList(Layer(d_model, heads, d_ff) for _ in range(layers))
        self.mlm = nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.LayerNorm(d_model))
        self.bias = nn.Parameter(torch.zeros(vocab))
        self.nsp = nn.Sequential(nn.Linear(d_model, d_model), nn.Tanh(), nn.Linear(d_model, 2))
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.55 * d_model**-0.5)  # 0.02 at the paper's width, 768

    def forward(self, ids, segments, is_target):
        """Three (B, S) -> logits of the target words (N, V), and of next or random (B, 2)."""
        x = self.words(ids) + self.positions.weight[: ids.size(1)] + self.segments(segments)
        x = self.norm(x)  # (B, S, D)
        mask = (ids == PAD)[:, None, None]  # (B, 1, 1, S)
        for layer in self.layers:
            x = layer(x, mask)
        # Only the targets need logits; the output matrix is that of the word embeddings.
        word_logits = self.mlm(x[is_target]) @ self.words.weight.T + self.bias
        return word_logits, self.nsp(x[:, 0])  # the vector of [CLS] stands for the pair


# %% evaluation
@torch.no_grad()
def evaluate(model, inputs, words, is_random):
    """Accuracies on a held-out batch, with those of always predicting what is most frequent."""
    word_logits, pair_logits = model(*inputs)
    return {
        "masked words": (word_logits.argmax(1) == words).float().mean().item(),
        "most frequent word": words.bincount().max().item() / len(words),
        "next sentence": (pair_logits.argmax(1) == is_random).float().mean().item(),
        "majority class": is_random.bincount().max().item() / len(is_random),
    }


def fill_masks(model, tokenizer, sentence):
    """For each [MASK] of a sentence, its five likeliest words with their probabilities."""
    ids = torch.tensor([tokenizer.encode(normalize("NFC", sentence)).ids], device=DEVICE)
    word_logits, _ = model(ids, torch.zeros_like(ids), ids == MASK)
    for row in word_logits.softmax(1):
        yield " ".join(f"{tokenizer.id_to_token(i)} {row[i]:.2f}" for i in row.topk(5).indices)


# %% training
def train(model, batches, steps, held_out):
    """AdamW; the learning rate rises, then falls to 0. Returns {step: accuracies on held_out}."""
    curve = {}
    adam = torch.optim.AdamW(model.parameters())
    schedule = OneCycleLR(adam, max_lr=3e-3, total_steps=steps, cycle_momentum=False)
    bar = tqdm(batches, total=steps)
    for step, (inputs, words, is_random) in enumerate(bar, 1):
        word_logits, pair_logits = model(*inputs)
        mlm_loss = cross_entropy(word_logits, words)
        nsp_loss = cross_entropy(pair_logits, is_random)
        loss = mlm_loss + nsp_loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            curve[step] = evaluate(model, *held_out)
            bar.set_postfix(loss=f"{loss:.3f}")
    return curve


# %% figure
def draw(curve):
    """The held-out accuracies during training and, dashed, their baselines."""
    fig, ax = plt.subplots(layout="constrained")
    points = list(curve.values())
    for label, style in zip(points[0], ["C0-", "C0--", "C1-", "C1--"]):
        ax.plot(list(curve), [point[label] for point in points], style, label=label)
    ax.set(title="Held-out accuracy", xlabel="training step", ylabel="accuracy")
    ax.legend()
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=150)


# %% main
def main(
    text: Path | None = None,
    epochs: int = 6,
    fill: tuple[str, ...] = ("Returns the [MASK] of the array.", "The [MASK] must be a [MASK]."),
    seed: int = 0,
):
    """Pre-trains a small BERT and evaluates it on documents that it has not seen.
    Args:
        text: UTF-8 text of a thousand sentences or more; without it, docstrings
        epochs: passes over the training set
        fill: sentences with [MASK]; the likeliest words for each are printed
        seed: of the weights, the order of the pairs and the masks"""
    training, test = read_pairs(text)
    tokenizer = train_tokenizer([f"{a} {b}" for a, b in training])
    torch.manual_seed(0)  # the same held-out batch for every seed
    held_out = next(batches(test, tokenizer, 2048))
    torch.manual_seed(seed)
    model = Bert(tokenizer.get_vocab_size()).to(DEVICE)
    steps = epochs * math.ceil(len(training) / 128)
    data = (batch for _ in range(epochs) for batch in batches(training, tokenizer))
    curve = train(model, data, steps, held_out)
    for label, accuracy in curve[steps].items():
        print(f"{label}: accuracy {accuracy:.3f}")
    for sentence in fill:
        print(sentence, *fill_masks(model, tokenizer, sentence), sep="\n  ")
    draw(curve)
    return curve[steps] | {"model": model, "tokenizer": tokenizer}


if __name__ == "__main__":
    result = tyro.cli(main)
