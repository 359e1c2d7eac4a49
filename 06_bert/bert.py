"""BERT of Devlin et al. (2019), pre-trained on the docstrings of the libraries that it runs on.

It learns to fill in masked words and to tell whether sentence B follows sentence A.
Run: python bert.py
Result: on held-out source files, accuracy on masked words 0.370 (most frequent word 0.053) and on
    the next sentence 0.717 (majority class 0.530).
Shapes: B batch, S length, D model width, H heads, V vocabulary, N prediction targets of a batch.
Masks: True hides. Numbers in brackets are sections of the paper.
"""

import math
import sys
import unicodedata
from itertools import chain, pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import regex as re
import torch
import tyro
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

PAD, UNK, CLS, SEP, MASK = range(5)  # padding, unknown, start, end of a sentence, masked word
# At most 50 words; a sentence ends at . ! ? … before white space, and at । 。 ！ ？ anywhere.
SENTENCE = r"(?:[^\s।。！？]+(?<![.!?…])\s+){,49}\S[^\s।。！？]*[।。！？]*"
# A sentence of a docstring: from a capital letter to a full stop in one paragraph, without code.
PROSE = r'(?<!\S)[A-Z](?:(?!\n\s*[\n-])[^>=#"])*?\.(?!\S)'


# %% data
def read_docstrings():
    """Yields the documents of three libraries: the sentences in the docstrings of each file."""
    for name in "numpy", "matplotlib", "torch":
        for file in sorted(Path(torch.__file__).parents[1].glob(f"{name}/**/*.py")):
            quoted = re.findall('(?s)"""(.*?)"""', file.read_text("utf-8"))
            yield re.findall(PROSE, "\n\n".join(quoted).replace("`", ""))


def read_text(path):
    """Yields the documents of a UTF-8 text: the sentences between blank lines, 50 at a time."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error
    for paragraph in re.split(r"\n\s*\n", text):
        sentences = re.findall(SENTENCE, paragraph)
        for start in range(0, len(sentences), 50):
            yield sentences[start : start + 50]


def read_pairs(path):
    """Pairs of consecutive sentences (A, B, number of their document): training and test set.

    The test set is every 20th document. Repeated sentences are dropped.
    """
    training, test, seen = [], [], set()
    for number, document in enumerate(read_text(path) if path else read_docstrings()):
        sentences = []
        for sentence in document:
            sentence = " ".join(unicodedata.normalize("NFC", sentence).lower().split())
            if sentence not in seen:
                seen.add(sentence)
                sentences.append(sentence)
        part = training if number % 20 else test
        part += [(a, b, number) for a, b in pairwise(sentences)]
    if not training or not test:
        raise ValueError(f"{path}: too short; give 21 documents of several sentences at least")
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

    Of the targets, 80 % become [MASK], 10 % a random word, and 10 % stay as they are.
    """
    chance, kind = torch.rand(2, *ids.shape, device=ids.device)
    is_target = (chance < 0.15) & (ids > MASK)  # none of the special tokens
    masked = ids.masked_fill(is_target & (kind < 0.8), MASK)
    random_words = torch.randint_like(ids, MASK + 1, vocab)
    return masked.where(~is_target | (kind < 0.9), random_words), is_target  # 0.8 to 0.9 stays


def batches(pairs, tokenizer, device, size=128):
    """One epoch of pairs [CLS] A [SEP] B [SEP], about half of them with a random B [3.1].

    Yields the inputs (masked ids, segments, is_target), each (B, S), and the targets: the ids (N,)
    of the masked words, and is_random (B,), 1 where B is a random sentence (NotNext).
    """
    A, B, numbers = zip(*pairs)
    documents = torch.tensor(numbers)
    for first in torch.randperm(len(pairs)).split(size):
        other = first.roll(1)  # its B is the random sentence, if it is of another document
        is_random = torch.randint(2, first.shape) * (documents[first] != documents[other])
        second = other.where(is_random == 1, first)
        rows = tokenizer.encode_batch([(A[i], B[j]) for i, j in zip(first, second)])
        ids, segments = torch.tensor([(r.ids, r.type_ids) for r in rows], device=device).unbind(1)
        masked, is_target = mask_tokens(ids, tokenizer.get_vocab_size())
        yield (masked, segments, is_target), (ids[is_target], is_random.to(device))


# %% model
class Layer(nn.Module):
    """The encoder layer of the Transformer, with GELU for ReLU [3, A.2] and without dropout."""

    def __init__(self, d_model, heads, d_ff):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.GELU(), nn.Linear(d_ff, d_model))
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)

    def forward(self, x, mask):  # (B, S, D), (B, 1, 1, S)
        projections = self.W_q, self.W_k, self.W_v
        q, k, v = (W(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for W in projections)
        output = scaled_dot_product_attention(q, k, v, ~mask)  # True keeps
        # (B, H, S, D / H) -> (B, S, D); residual connection and layer normalisation, twice
        x = self.norm_1(x + self.W_o(output.transpose(1, 2).flatten(2)))
        return self.norm_2(x + self.ffn(x))


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
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, (ids == PAD)[:, None, None])
        # Only the targets need logits; the output matrix is that of the word embeddings.
        word_logits = self.mlm(x[is_target]) @ self.words.weight.T + self.bias
        return word_logits, self.nsp(x[:, 0])  # the vector of [CLS] stands for the pair


# %% evaluation
@torch.no_grad()
def evaluate(model, held_out):
    """Metrics of held-out batches with their baselines.

    The unigram model is counted on the targets themselves: none that ignores context is better.
    """
    results = (model(*inputs) + targets for inputs, targets in held_out)
    word_logits, pair_logits, words, is_random = map(torch.cat, zip(*results))
    unigram = torch.distributions.Categorical(words.bincount())
    return {
        "mlm_accuracy": (word_logits.argmax(1) == words).float().mean().item(),
        "mlm_majority": unigram.probs.max().item(),
        "mlm_perplexity": cross_entropy(word_logits, words).exp().item(),
        "unigram_perplexity": unigram.perplexity().item(),
        "nsp_accuracy": (pair_logits.argmax(1) == is_random).float().mean().item(),
        "nsp_majority": is_random.bincount().max().item() / len(is_random),
    }


@torch.no_grad()
def fill_masks(model, tokenizer, sentence):
    """For each [MASK] of a sentence, its five likeliest words with their probabilities."""
    sentence = unicodedata.normalize("NFC", sentence)
    ids = torch.tensor([tokenizer.encode(sentence).ids], device=model.bias.device)
    logits, _ = model(ids, torch.zeros_like(ids), ids == MASK)
    for row in logits.softmax(1):
        yield " ".join(f"{tokenizer.id_to_token(i)} {row[i]:.2f}" for i in row.topk(5).indices)


# %% training
def train(model, epochs, steps, held_out):
    """Trains on the sum of both losses; returns {step: metrics of the held-out batches}.

    `epochs` yields the batches of each epoch, `steps` in all. The learning rate rises, then falls.
    """
    adam = torch.optim.AdamW(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, steps, cycle_momentum=False)
    curve = {}
    for step, (inputs, targets) in enumerate(chain.from_iterable(epochs), 1):
        mlm_loss, nsp_loss = map(cross_entropy, model(*inputs), targets)
        loss = mlm_loss + nsp_loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % max(1, steps // 25) == 0:
            print(f"step {step} of {steps}: loss {loss:.3f}", flush=True)
            curve[step] = evaluate(model, held_out)
    return curve


# %% figure
def draw(curve, path):
    """Saves the held-out accuracies during training and, as flat lines, their baselines."""
    plt.style.use("tableau-colorblind10")
    fig, ax = plt.subplots(layout="constrained")
    for name in "mlm_accuracy", "nsp_accuracy", "mlm_majority", "nsp_majority":
        ax.plot(list(curve), [point[name] for point in curve.values()], label=name)
    ax.set(title="Held-out accuracy", xlabel="training step", ylabel="accuracy")
    ax.legend()
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    epochs: int = 5,
    fill: tuple[str, ...] = ("Returns the [MASK] of the array.", "The [MASK] must be a [MASK]."),
    seed: int = 0,
    device: str | None = None,
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Pre-trains a small BERT and evaluates it on documents that it has not seen.

    Args:
        text: UTF-8 text with a blank line between documents; without it, docstrings.
        epochs: Passes over the training set.
        fill: Sentences with [MASK]; the likeliest words for it are printed.
        seed: Of the weights, the order of the pairs and the masks.
        device: cpu, cuda, mps, ...; without it, the accelerator if there is one.
        figure: Where the figure is saved.
    """
    device = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    training, test = read_pairs(text)
    tokenizer = train_tokenizer([f"{a} {b}" for a, b, _ in training])
    torch.manual_seed(0)  # the same held-out batches for every seed
    held_out = list(batches(test, tokenizer, device))[:16]
    torch.manual_seed(seed)
    model = Bert(tokenizer.get_vocab_size()).to(device)
    data = (batches(training, tokenizer, device) for _ in range(epochs))
    curve = train(model, data, epochs * math.ceil(len(training) / 128), held_out)
    result = evaluate(model, held_out)
    for name, value in result.items():
        print(f"{name} {value:.3f}")
    for sentence in fill:
        for words in fill_masks(model, tokenizer, sentence):
            print(sentence, "->", words)
    draw(curve, figure)
    return result | {"model": model, "tokenizer": tokenizer}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's output has no such method
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some characters
    try:
        tyro.cli(main)
    except (OSError, ValueError) as error:
        raise SystemExit(f"bert.py: {error}")
