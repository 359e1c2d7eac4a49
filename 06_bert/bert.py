"""BERT of Devlin et al. (2019) learns English from the docstrings of the libraries it runs on.

Task     fill in masked words, and tell whether sentence B follows A; held out: every 20th file
Command  python bert.py          (--help shows what you can change)
Result   words 0.370 right (unigram 0.055), perplexity 36.8 (549.3), next sentence 0.719 (0.5);
         257 s on two cores of an AMD EPYC, seed 0
Without  fine-tuning, the second phase with longer sequences, and cased text
Shapes   B batch, S length, D model width, H heads, V vocabulary, N chosen words
Masks    True hides. Numbers in brackets are sections of the paper.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib==3.11.2", "numpy==2.4.6", "tokenizers==0.23.3", "torch==2.13.0",
#   "tqdm==4.70.1", "tyro==1.0.17"]
# ///
import os
import re
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

PAD, UNK, CLS, SEP, MASK = range(5)  # padding, unknown, start, end of a sentence, hidden word
# A sentence of a text ends at . ! ? or at a line that does not go on in lower case; one of a
# docstring goes from a capital letter to a full stop, without signs of code or empty lines.
PROSE = r"(?s)\S.*?(?:[.!?](?!\S)|\n(?![a-zà-ÿ])|$)"
DOCSTRING = r"(?<!\S)[A-Z](?:[^.\n>=#\"]|\.(?=\S)|\n(?!\s*[\n-]))++\.(?!\S)"


# %% data
def read_sentences(path):
    """{sentence: number of its document} to learn from, and the same of every 20th document."""
    if path:
        texts = re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig"))
    else:
        site, names = Path(torch.__file__).parents[1], ("numpy", "matplotlib", "torch")
        codes = [f.read_text("utf-8") for n in names for f in sorted((site / n).rglob("*.py"))]
        texts = ["\n\n".join(re.findall('(?s)"""(.*?)"""', c)).replace("`", "") for c in codes]
    found = {}
    for number, text in enumerate(texts):
        for sentence in re.findall(PROSE if path else DOCSTRING, text):
            found.setdefault(" ".join(sentence.lower().split()), number)  # repeats would leak
    learn = {sentence: number for sentence, number in found.items() if number % 20}
    return learn, {sentence: found[sentence] for sentence in found if sentence not in learn}


def train_tokenizer(sentences, vocab, max_len):
    """A lower-case WordPiece: rare words come in pieces, like ##ing [3]."""
    # The letters inside words are given, since the trainer would number them in random order.
    letters = sorted(c for c in set("".join(sentences)) if c.isalnum() or c > "~")
    given = [*"[PAD] [UNK] [CLS] [SEP] [MASK]".split(), *(f"##{c}" for c in letters)]
    trainer = BertWordPieceTokenizer(strip_accents=False)
    trainer.train_from_iterator(sentences, vocab, special_tokens=given, show_progress=False)
    tokenizer = BertWordPieceTokenizer(trainer.get_vocab(), strip_accents=False)
    tokenizer.enable_truncation(max_len)  # cuts the longer sentence of a pair
    tokenizer.enable_padding()
    return tokenizer


def mask_tokens(ids, vocab):
    """Chooses 15 %, of these hides 80 %, changes 10 %, leaves 10 % [3.1]: masked, chosen (B, S)."""
    chance, dice = torch.rand(2, *ids.shape, device=ids.device)
    chosen = (chance < 0.15) & (ids > MASK)
    masked = ids.masked_fill(chosen & (dice < 0.8), MASK)
    return masked.where(~chosen | (dice < 0.9), torch.randint_like(ids, MASK + 1, vocab)), chosen


def batches(sentences, tokenizer, device, size=128):
    """One epoch of [CLS] A [SEP] B [SEP], half of them with a B from elsewhere, drawn anew:
    (masked ids, segments, chosen) (B, S), the chosen words (N,), 1 where B is a stranger (B,)."""
    texts, documents = list(sentences), torch.tensor(list(sentences.values()))
    firsts = (documents[:-1] == documents[1:]).nonzero()[:, 0]  # those that another one follows
    if len(documents[firsts].unique()) < 2:
        raise ValueError("too short: give 21 documents of two sentences, blank lines between")
    for first in firsts[torch.randperm(len(firsts))].split(size):
        strangers, second = torch.randint(2, first.shape), first + 1
        while (wrong := (documents[second] == documents[first]) & (strangers == 1)).any():
            second = torch.where(wrong, torch.randint(len(documents), first.shape), second)
        rows = tokenizer.encode_batch([(texts[a], texts[b]) for a, b in zip(first, second)])
        ids, segments = torch.tensor([(r.ids, r.type_ids) for r in rows], device=device).unbind(1)
        masked, chosen = mask_tokens(ids, tokenizer.get_vocab_size())
        yield (masked, segments, chosen), ids[chosen], strangers.to(device)


# %% model
def attention(q, k, v, mask):
    """Scaled dot-product attention: q, k, v (B, H, S, D / H), mask (B, 1, 1, S)."""
    weights = (q @ k.mT / q.size(-1) ** 0.5).masked_fill(mask, -torch.inf).softmax(-1)
    return weights @ v, weights


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each with its own D / H dimensions."""

    def __init__(self, d_model, heads):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, x, mask):  # x (B, S, D)
        projected = self.W_q(x), self.W_k(x), self.W_v(x)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projected)
        output, self.weights = attention(q, k, v, mask)  # (B, H, S, D / H), (B, H, S, S): to draw
        return self.W_o(output.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """The Transformer's encoder layer, post-norm, with GELU in place of ReLU [3, A.2]."""

    def __init__(self, d_model, heads, d_ff, dropout):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.GELU(), nn.Linear(d_ff, d_model))
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask):
        x = self.norms[0](x + self.dropout(self.self_attention(x, mask)))
        return self.norms[1](x + self.dropout(self.ffn(x)))


class Bert(nn.Module):
    """Encoder and the two outputs of pre-training: masked words and next sentence [3.1]."""

    def __init__(self, vocab, d_model=96, heads=4, layers=2, d_ff=384, max_len=64, dropout=0.0):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, d_model) for n in (vocab, max_len, 2))
        self.embed = nn.Sequential(nn.LayerNorm(d_model), nn.Dropout(dropout))
        self.layers = nn.ModuleList(Layer(d_model, heads, d_ff, dropout) for _ in range(layers))
        self.words = nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.LayerNorm(d_model))
        self.bias = nn.Parameter(torch.zeros(vocab))
        self.pairs = nn.Sequential(nn.Linear(d_model, d_model), nn.Tanh(), nn.Linear(d_model, 2))
        for weight in (p for p in self.parameters() if p.dim() > 1):
            nn.init.normal_(weight, std=0.55 * d_model**-0.5)  # 0.02 at the paper's width, 768

    def forward(self, ids, segments, chosen):
        """Three (B, S) -> logits of the chosen words (N, V) and of follows, stranger (B, 2)."""
        piece, position, segment = self.tables
        x = self.embed(piece(ids) + position.weight[: ids.size(1)] + segment(segments))
        for layer in self.layers:
            x = layer(x, (ids == PAD)[:, None, None])
        return self.words(x[chosen]) @ piece.weight.T + self.bias, self.pairs(x[:, 0])


# %% evaluation
@torch.no_grad()
def evaluate(model, held_out):
    """Perplexity and accuracy on the chosen words, accuracy on the next sentence: all batches."""
    outputs = [(*model.eval()(*inputs), *targets) for inputs, *targets in held_out]
    logits, pairs, words, strangers = (torch.cat(parts) for parts in zip(*outputs))
    return {
        "mlm_perplexity": cross_entropy(logits, words).exp().item(),
        "mlm_accuracy": (logits.argmax(1) == words).float().mean().item(),
        "nsp_accuracy": (pairs.argmax(1) == strangers).float().mean().item(),
    }


# %% training
def train(model, sentences, tokenizer, held_out, epochs, peak=3e-3):
    """AdamW on both losses: what evaluate() says on the way, and pieces per second."""
    start, seen, curve = time.perf_counter(), 0, []
    adam = torch.optim.AdamW(model.parameters(), weight_decay=0.01, fused=True)
    for epoch in range(epochs):
        data = list(batches(sentences, tokenizer, model.bias.device))
        for i, (inputs, words, strangers) in enumerate(tqdm(data, disable=None), 1):
            done = (epoch + i / len(data)) / epochs
            if i % 100 == 50 or i == len(data):  # a part of the held-out pairs is enough on the way
                curve.append({"epoch": epochs * done} | evaluate(model, held_out[:8]))
            adam.param_groups[0]["lr"] = peak * min(10 * done, (1 - done) / 0.9)  # up, down
            logits, pairs = model.train()(*inputs)
            loss = cross_entropy(logits, words) + cross_entropy(pairs, strangers)
            adam.zero_grad()
            loss.backward()
            adam.step()
            seen += (inputs[0] != PAD).sum().item()
        tqdm.write(" ".join(f"{name} {value:.3f}" for name, value in curve[-1].items()))
    return curve, seen / (time.perf_counter() - start)


# %% picture
def draw(curve, unigram, model, masked, tokenizer, path):
    """Saves the held-out curves over their baselines, and who looks at whom in a head."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for ax, name, baseline in zip(axes, ("mlm_perplexity", "nsp_accuracy"), (unigram, 0.5)):
        ax.plot([point["epoch"] for point in curve], [point[name] for point in curve])
        ax.axhline(baseline, color="gray", linestyle="--")
        ax.set(xlabel="epoch", ylabel=name, title="held out: chance first, then sense")
    axes[0].set_yscale("log")
    row = (masked != PAD).sum(1).argmin()  # the shortest pair of the batch evaluated last
    tokens = [tokenizer.id_to_token(i) for i in masked[row] if i != PAD]
    weights = model.layers[-1].self_attention.weights[row, 0, : len(tokens), : len(tokens)]
    axes[2].imshow(weights.cpu().numpy())
    axes[2].set_title("one head: rows ask, columns answer")
    axes[2].set_xticks(range(len(tokens)), tokens, rotation=90)
    axes[2].set_yticks(range(len(tokens)), tokens)
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    vocab: int = 3000,
    max_len: int = 44,
    epochs: int = 5,
    fill: tuple[str, ...] = ("Returns the [MASK] of the array.", "The [MASK] must be a [MASK]."),
    weights: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Pre-trains a small BERT and examines it on documents it has not seen.
    --text is UTF-8, a blank line between documents; without it, the docstrings at hand.
    --vocab counts words and pieces; --max-len, the pieces of a pair: the rest is cut.
    --fill asks for each [MASK]; --weights is loaded or, if there is no such file yet, saved.
    """
    start = time.perf_counter()
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device not in ("auto", "cpu", found.type):
        raise ValueError(f"there is no device {device!r} here: use --device cpu")
    files = [figure] if weights is None or weights.exists() else [figure, weights]
    writable = all(os.access(path.parent, os.W_OK) for path in files)
    if not writable or figure.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot save {' or '.join(map(str, files))}: use a .png, writable folder")
    if vocab < 100 or max_len < 8 or epochs < 1:
        raise ValueError("use --vocab 100 --max-len 8 --epochs 1 or more")
    learn, test = read_sentences(text)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(learn, vocab, max_len)
    device = found if device == "auto" else device
    model = Bert(tokenizer.get_vocab_size(), max_len=max_len).to(device)
    questions = [torch.tensor([tokenizer.encode(s).ids], device=device) for s in fill]
    if not all((ids == MASK).any() for ids in questions):
        raise ValueError(f"--fill: write [MASK] in each sentence, among its first {max_len} pieces")
    torch.manual_seed(0)  # the same held-out masks for every seed
    held_out = list(batches(test, tokenizer, device))[:30]
    torch.manual_seed(seed)
    if weights and weights.exists():
        try:  # weights mean nothing without their vocabulary: it is their key in the file
            state, curve, speed = torch.load(weights, "cpu", weights_only=True)[tokenizer.to_str()]
            model.load_state_dict(state)
        except Exception as error:
            raise ValueError(f"{weights} is not of this --text, --vocab and --max-len") from error
    else:
        curve, speed = train(model, learn, tokenizer, held_out, epochs)
        if weights:
            torch.save({tokenizer.to_str(): (model.state_dict(), curve, speed)}, weights)
    seen = [i for row in tokenizer.encode_batch(list(learn)) for i in row.ids if i > MASK]
    counts = torch.tensor(seen).bincount(minlength=len(model.bias)) + 1  # (V,), none is 0
    words = torch.cat([words for _, words, _ in held_out]).cpu()
    result = evaluate(model, held_out) | {"tokens_per_second": speed}
    result["unigram_perplexity"] = (counts.sum() / counts[words]).log().mean().exp().item()
    result["unigram_accuracy"] = (words == counts.argmax()).float().mean().item()
    draw(curve, result["unigram_perplexity"], model, held_out[-1][0][0], tokenizer, figure)
    for sentence, ids in zip(fill, questions):
        for chances in model(ids, torch.zeros_like(ids), ids == MASK)[0].softmax(1):
            best = [f"{tokenizer.id_to_token(i)} {chances[i]:.2f}" for i in chances.topk(5).indices]
            print(sentence, "->", *best)
    result["seconds"] = time.perf_counter() - start
    print(*(f"{name} {value:.3f}" for name, value in result.items()), f"picture {figure}", sep="\n")
    return result


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        advice = "; save the text as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise SystemExit(f"bert.py: {str(error) or 'interrupted, nothing was saved'}{advice}")
