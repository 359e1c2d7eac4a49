"""BERT of Devlin et al. (2019) learns English from the docstrings of the libraries it runs on.

Task     fill in masked words, and tell whether sentence B follows A; held out: every 20th file
Command  python bert.py          (--help shows what you can change)
Result   words 0.385 right (unigram 0.059), perplexity 34.9 (596.4), next sentence 0.730 (0.5);
         271 s, Intel Xeon, two threads, seed 0
Without  fine-tuning, the second phase with longer sequences, and cased text
Shapes   B batch, S length, D model width, H heads, V vocabulary, N chosen words
Masks    True hides. Numbers in brackets are sections of the paper.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "matplotlib==3.11.2", "tokenizers==0.23.3", "torch==2.13.0", "tqdm==4.70.1", "tyro==1.0.17"
# ]
# ///
import os
import re
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import tyro
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn.functional import cross_entropy, gelu
from tqdm import tqdm

PAD, UNK, CLS, SEP, MASK = range(5)  # padding, unknown, start, end of a sentence, hidden word
PROSE = r"(?s)\S.*?(?:[.!?](?!\S)|\n(?![a-z])|$)"  # a sentence in a text, then in a docstring
DOCSTRING = r"(?<!\S)[A-Z](?:[^.\n>=#\"]|\.(?=\S)|\n(?!\s*[\n-]))++\.(?!\S)"


# %% data
def read_sentences(path):
    """[(document, sentence), ...] of a text, blank line between documents; None: docstrings."""
    if path:
        texts = re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig"))
    else:
        site, names = Path(torch.__file__).parents[1], ("numpy", "matplotlib", "torch")
        files = [f.read_text("utf-8") for n in names for f in sorted((site / n).rglob("*.py"))]
        texts = ["\n\n".join(re.findall('(?s)"""(.*?)"""', f)).replace("`", "") for f in files]
    documents, seen = [], {""}
    for text in texts:
        found = re.findall(PROSE if path else DOCSTRING, text)
        new = {re.sub(r"\W", "", s.lower()): " ".join(s.split()) for s in found}
        documents.append([new[key] for key in new if key not in seen])  # repeats would leak
        seen.update(new)
    return [(n, s) for n, d in enumerate(d for d in documents if len(d) > 1) for s in d]


def train_vocabulary(sentences, vocab):
    """{piece: id} of a lower-case WordPiece: rare words come in pieces, like ##ing [3]."""
    trainer = BertWordPieceTokenizer()
    letters = {c for c in trainer.normalize(" ".join(sentences)) if c.isalnum() or c > "~"}
    given = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(f"##{c}" for c in letters)]
    # without the given letters, ties between pieces fall by chance
    trainer.train_from_iterator(sentences, vocab, special_tokens=given, show_progress=False)
    return trainer.get_vocab()


def mask_tokens(ids, vocab):
    """Chooses 15 % of the words, hides 80 % of these, changes 10 % [3.1]: masked, chosen (B, S)."""
    chance, dice = torch.rand(2, *ids.shape)
    chosen = (chance < 0.15) & (ids > MASK)
    masked = ids.masked_fill(chosen & (dice < 0.8), MASK)
    words = torch.randint(MASK + 1, vocab, ids.shape)
    return torch.where(chosen & (dice >= 0.9), words, masked), chosen


def batches(sentences, vocab, max_len, device, size=128):
    """One epoch of [CLS] A [SEP] B [SEP] from [(document, ids), ...], drawn anew each time:
    masked ids, segments, chosen (B, S), the chosen words (N,), and 1 where B is a stranger (B,)."""
    firsts = [i for i, s in enumerate(sentences[:-1]) if s[0] == sentences[i + 1][0]]
    for group in torch.tensor(firsts)[torch.randperm(len(firsts))].split(size):
        rows, strangers = [], torch.randint(2, group.shape)
        for i, stranger in zip(group, strangers, strict=True):
            (home, a), (document, b) = sentences[i : i + 2]
            while stranger and (document == home or b == sentences[i + 1][1]):
                document, b = sentences[torch.randint(len(sentences), ())]
            a, b = list(a), list(b)
            while len(a) + len(b) > max_len - 3:
                max(a, b, key=len).pop()
            rows.append(torch.tensor([CLS, *a, SEP, *b, SEP]))
        ids = nn.utils.rnn.pad_sequence(rows, True, PAD)
        segments = ((ids == SEP).cumsum(1) - (ids == SEP).int()).clamp(max=1)
        masked, chosen = mask_tokens(ids, vocab)
        yield [t.to(device) for t in (masked, segments, chosen, ids[chosen], strangers)]


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
        output, self.weights = attention(q, k, v, mask)  # (B, H, S, D / H), (B, H, S, S)
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
    """Encoder with the two heads of pre-training: masked words and next sentence [3.1]."""

    def __init__(self, vocab, d_model=96, heads=4, layers=2, d_ff=384, max_len=64, dropout=0.0):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, d_model) for n in (vocab, max_len, 2))
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.layers = nn.ModuleList(Layer(d_model, heads, d_ff, dropout) for _ in range(layers))
        self.dense, self.bias = nn.Linear(d_model, d_model), nn.Parameter(torch.zeros(vocab))
        self.pooler, self.next_sentence = nn.Linear(d_model, d_model), nn.Linear(d_model, 2)
        self.dropout = nn.Dropout(dropout)
        for weight in (p for p in self.parameters() if p.dim() > 1):
            nn.init.normal_(weight, std=0.55 * d_model**-0.5)  # 0.02 at the paper's width, 768

    def forward(self, ids, segments, chosen):
        """Three (B, S) -> logits of the chosen words (N, V) and of follows, stranger (B, 2)."""
        inputs = ids, torch.arange(ids.size(1), device=ids.device), segments
        x = sum(table(i) for table, i in zip(self.tables, inputs, strict=True))
        x = self.dropout(self.norms[0](x))
        for layer in self.layers:
            x = layer(x, (ids == PAD)[:, None, None])
        words = self.norms[1](gelu(self.dense(x[chosen]))) @ self.tables[0].weight.T + self.bias
        return words, self.next_sentence(self.pooler(x[:, 0]).tanh())


# %% evaluation
@torch.no_grad()
def evaluate(model, held_out):
    """Perplexity and accuracy of the chosen words, accuracy of the next sentence."""
    model.eval()
    results = []
    for masked, segments, chosen, words, strangers in held_out:
        logits, pairs = model(masked, segments, chosen)
        loss = cross_entropy(logits, words, reduction="none")
        results.append((loss, logits.argmax(-1) == words, pairs.argmax(-1) == strangers))
    loss, *accuracies = (torch.cat(r).float().mean() for r in zip(*results, strict=True))
    return loss.exp().item(), *(a.item() for a in accuracies)


# %% training
def train(model, sentences, held_out, epochs, max_len, peak=3e-3):
    """AdamW on both losses: [(epoch, *evaluate()), ...] on the way, pieces per second."""
    start, seen, curve = time.perf_counter(), 0, [(0, *evaluate(model, held_out))]
    adam = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    for epoch in range(epochs):
        epoch_batches = list(batches(sentences, len(model.bias), max_len, model.bias.device))
        for i, batch in enumerate(tqdm(epoch_batches, f"epoch {epoch + 1}", disable=None)):
            masked, segments, chosen, words, strangers = batch
            logits, pairs = model.train()(masked, segments, chosen)
            loss = cross_entropy(logits, words, reduction="sum") / max(1, len(words))
            loss = loss + cross_entropy(pairs, strangers)
            done = (epoch + (i + 1) / len(epoch_batches)) / epochs
            adam.param_groups[0]["lr"] = peak * min(10 * done, (1 - done) / 0.9)  # [A.2]
            adam.zero_grad()
            loss.backward()
            adam.step()
            seen += (masked != PAD).sum().item()
            if i % 100 == 99 or i + 1 == len(epoch_batches):
                curve.append((epochs * done, *evaluate(model, held_out)))
        tqdm.write("epoch {:.0f}: perplexity {:.1f}, {:.3f}, pairs {:.3f}".format(*curve[-1]))
    return curve, seen / (time.perf_counter() - start)


# %% picture
def draw(curve, baselines, model, masked, tokenizer, path):
    """Saves the held-out curves beside their baselines, and a head on a pair just evaluated."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    epochs, perplexity, _, pairs = zip(*curve, strict=True)
    for ax, values, baseline in zip(axes, (perplexity, pairs), baselines, strict=False):
        ax.plot(epochs, values)
        ax.axhline(baseline, color="gray", linestyle="--")
    axes[0].set(title="masked words: perplexity falls first", yscale="log", xlabel="epoch")
    axes[1].set(title="next sentence: chance, then it climbs", ylim=(0.4, 0.9), xlabel="epoch")
    row = (masked != PAD).sum(1).argmin()
    tokens = [tokenizer.id_to_token(i) for i in masked[row] if i != PAD]
    weights = model.layers[-1].self_attention.weights[row, 0, : len(tokens), : len(tokens)]
    axes[2].imshow(weights.cpu().numpy())
    axes[2].set_title("a head: rows ask, columns answer")
    axes[2].set_xticks(range(len(tokens)), tokens, rotation=90)
    axes[2].set_yticks(range(len(tokens)), tokens)
    fig.savefig(path, dpi=150)


# %% main
def main(
    text: Path | None = None,
    vocab: int = 3000,
    max_len: int = 48,
    epochs: int = 6,
    fill: tuple[str, ...] = ("Returns the [MASK] of the array.", "The [MASK] must be a [MASK]."),
    weights: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    figure: Path = Path(__file__).with_suffix(".png"),
) -> dict:
    """Pre-trains a small BERT and examines it on documents it has not seen.

    Args:
        text: UTF-8 file, blank line between documents; without it, the docstrings at hand
        vocab: size of the vocabulary of words and pieces
        max_len: longest pair, in pieces, special tokens included
        epochs: passes over all pairs of neighbouring sentences
        fill: sentences with one [MASK] or more to fill in
        weights: file to load the trained model from or, if there is none yet, to save it in
        seed: of initial weights, order, pairs and masks
        device: auto (an accelerator if there is one), cpu, cuda, mps...
        figure: where to save the picture: .png, .pdf or .svg
    """
    start, saved = time.perf_counter(), {}
    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    device = found.type if device == "auto" else device
    folders = [path.parent for path in (figure, weights) if path]
    sentences = read_sentences(text)
    for fine, problem in (
        (device in ("cpu", found.type), f"there is no device {device!r} here: use --device cpu"),
        (figure.suffix in (".png", ".pdf", ".svg"), f"{figure}: end it in .png, .pdf or .svg"),
        (all(os.access(f, os.W_OK) for f in folders), f"cannot write in all of {folders}"),
        (all("[MASK]" in s for s in fill), "--fill: write [MASK] where a word is missing"),
        (min(vocab // 100, max_len // 8, epochs), "use --vocab 100 --max-len 8 --epochs 1 or more"),
        (sentences and sentences[-1][0] >= 20, f"{text}: give 21 documents, blank lines between"),
    ):
        if not fine:
            raise ValueError(problem)
    words = train_vocabulary([s for n, s in sentences if n % 20], vocab)
    if weights and weights.exists():
        try:
            saved = torch.load(weights, device, weights_only=True)
            words = saved["words"]
            Bert(len(words), max_len=max_len).load_state_dict(saved["model"])
        except Exception as error:
            raise ValueError(f"{weights} has no weights of this model: use another file") from error
    tokenizer, vocab = BertWordPieceTokenizer(words), len(words)
    questions = [torch.tensor([tokenizer.encode(s).ids], device=device) for s in fill]
    if any(ids.size(1) > max_len for ids in questions):
        raise ValueError(f"--fill: give shorter sentences, of {max_len} pieces (--max-len) at most")
    encoded = [(n, tokenizer.encode(s, add_special_tokens=False).ids) for n, s in sentences]
    learn, test = [s for s in encoded if s[0] % 20], [s for s in encoded if s[0] % 20 == 0]
    torch.manual_seed(0)  # the same held-out masks for every seed
    held_out = list(batches(test, vocab, max_len, device))
    torch.manual_seed(seed)
    model = Bert(vocab, max_len=max_len).to(device)
    model.load_state_dict(saved.get("model", model.state_dict()))
    answers = torch.cat([batch[3] for batch in held_out]).cpu()
    counts = 1.0 + torch.tensor([w for _, ids in learn for w in ids]).bincount(minlength=vocab)
    unigram = cross_entropy(counts.log().expand(len(answers), -1), answers).exp().item()
    unigram_accuracy = (answers == counts.argmax()).float().mean().item()
    print(f"{len(learn)} sentences, {vocab} pieces; {len(test)} sentences held out")
    if not saved:
        saved["curve"], saved["speed"] = train(model, learn, held_out, epochs, max_len)
        if weights:
            torch.save(saved | {"words": words, "model": model.state_dict()}, weights)
    perplexity, accuracy, nsp = evaluate(model, held_out)
    print(f"unigram: perplexity {unigram:.1f}, accuracy {unigram_accuracy:.3f}; next sentence 0.5")
    print(f"BERT: perplexity {perplexity:.1f}, accuracy {accuracy:.3f}; next sentence {nsp:.3f}")
    draw(saved["curve"], (unigram, 0.5), model, held_out[-1][0], tokenizer, figure)
    for sentence, ids in zip(fill, questions, strict=True):
        print(sentence)
        for best in model(ids, torch.zeros_like(ids), ids == MASK)[0].softmax(-1):
            top = zip(*(t.tolist() for t in best.topk(5)), strict=True)
            print("   ", *(f"{tokenizer.id_to_token(i)} {p:.2f} " for p, i in top))
    seconds = time.perf_counter() - start
    print(f"{saved['speed']:.0f} pieces per second, {seconds:.0f} s, figure in {figure}")
    names = "mlm_perplexity mlm_accuracy unigram_accuracy nsp_accuracy tokens_per_second seconds"
    values = perplexity, accuracy, unigram_accuracy, nsp, saved["speed"], seconds
    return dict(zip(names.split(), values, strict=True))


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        sys.exit(f"{Path(__file__).name}: {str(error) or 'interrupted, nothing was saved'}")
