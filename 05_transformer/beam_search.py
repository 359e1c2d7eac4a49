"""Beam search [6.1]: keep the likeliest few beginnings of a translation, where greedy keeps one.

Run: python beam_search.py "El gato negro bebe leche fría." --beam 4
It prints the translations that the beam found, each with its mean log-probability per word, which
does not favour short ones; the best comes first. Shapes: N beginnings, T words so far, V words.
"""

from pathlib import Path

import torch
import tyro
from see import load
from transformer import DEVICE, EOS, split_words, to_ids


@torch.no_grad()
def beam_search(model, sentence, vocabularies, beam=4, longest=50):
    """[(log-probability per word, translation), ...] of split words, the best first."""
    model.eval()
    words = list(vocabularies[1])
    src = to_ids([sentence], vocabularies[0])
    tgt = src[:, :1]  # (N, T): at first one beginning, <bos>
    totals = torch.zeros(1, device=DEVICE)  # their log-probabilities (N,)
    found = []
    while len(tgt):
        logits = model(src.expand(len(tgt), -1), tgt)[:, -1]
        scores = totals[:, None] + logits.log_softmax(-1)  # (N, V): each beginning with each word
        totals, best = scores.flatten().topk(min(beam, scores.numel()))
        rows, next_words = best // len(words), best % len(words)
        tgt = torch.cat([tgt[rows], next_words[:, None]], 1)
        ended = (next_words == EOS) | (tgt.size(1) == longest)
        for total, ids in zip(totals[ended].tolist(), tgt[ended].tolist()):
            translation = " ".join(words[i] for i in ids[1:] if i != EOS)
            found.append((total / (len(ids) - 1), translation))
        totals, tgt = totals[~ended], tgt[~ended]
        beam -= int(ended.sum())  # an ended translation keeps its place
    return sorted(found, reverse=True)


def main(
    sentence: tyro.conf.Positional[str],
    beam: int = 4,
    model: Path = Path(__file__).with_name("translator.pt"),
) -> None:
    """Translates a sentence by beam search.

    Args:
        sentence: Spanish, or whatever the model translates from.
        beam: How many translations it follows at the same time; 1 is greedy search.
        model: A saved translator; if there is no such file, one is trained and saved there.
    """
    translator, vocabularies = load(model)
    for score, translation in beam_search(translator, split_words(sentence), vocabularies, beam):
        print(f"{score:7.3f}  {translation}")


if __name__ == "__main__":
    tyro.cli(main)
