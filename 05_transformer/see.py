"""See a sentence go through the Transformer: one HTML page of the model's own numbers.

Run: python see.py "El gato negro bebe leche fría."
The first time it trains the model of transformer.py and saves it; then a sentence takes seconds.
The page needs no network: its data stands in it. Shapes: S source length, T target length.
"""

import json
from pathlib import Path
from typing import Literal

import torch
import transformer
import tyro
from transformer import DEVICE, UNK, Transformer, greedy, positions, split_words, to_ids

HERE = Path(__file__).parent


def load(path):
    """(model, vocabularies) from a file; without that file, trains them and saves them there."""
    if not path.exists():
        print(f"{path} does not exist: training a model and saving it there")
        result = transformer.main()
        torch.save((result["model"].state_dict(), result["vocabularies"]), path)
    try:
        weights, vocabularies = torch.load(path, DEVICE, weights_only=True)
        d_model = weights["src_embedding.weight"].size(1)
        model = Transformer(*map(len, vocabularies), d_model).to(DEVICE)
        model.load_state_dict(weights)
    except Exception as error:
        raise SystemExit(f"see.py: {path} is not a saved translator: {error}") from error
    return model.eval(), vocabularies


def digits(tensor):
    """Nested lists of numbers with three decimals."""
    return tensor.double().round(decimals=3).tolist()


def heads(part):
    """The attention weights (H, queries, keys) that a part of a layer left in its last call."""
    return digits(part.attention_weights[0])


def predict(model, src, sentence, vocabulary):
    """Teacher forcing: the probabilities (T, V) of every next word, and the ids (T,) that came."""
    tgt = to_ids([sentence], vocabulary)
    return model(src, tgt[:, :-1])[0].softmax(-1), tgt[0, 1:]


def rate(P, ids, sentence):
    """The words of a translation, the end included, each with its probability."""
    words = [*sentence.split(), "<eos>"]
    return list(zip(words, digits(P[range(len(ids)), ids])))


@torch.no_grad()
def look(model, vocabularies, sentence, reference=""):
    """All that the page shows of a sentence of split words and its greedy translation."""
    src_vocabulary, tgt_vocabulary = vocabularies
    src = to_ids([sentence], src_vocabulary)  # (1, S)
    translation = greedy(model, sentence, vocabularies)
    P, ids = predict(model, src, translation, tgt_vocabulary)  # leaves all attention weights
    best, words = P.topk(5), list(tgt_vocabulary)
    embedded = model.src_embedding(src[0]) * model.src_embedding.embedding_dim**0.5  # (S, D)
    places = positions(*embedded.shape)
    data = {
        "source": ["<bos>", *sentence.split(), "<eos>"],
        "ids": src[0].tolist(),
        "unknown": (src[0] == UNK).tolist(),
        "target": ["<bos>", *translation.split(), "<eos>"],
        "strips": [digits(embedded), digits(places), digits(embedded + places)],
        "encoder": [heads(layer.self_attention) for layer in model.encoder],
        "self": [heads(layer.self_attention) for layer in model.decoder],
        "cross": [heads(layer.cross_attention) for layer in model.decoder],
        "best": [[words[i] for i in row] for row in best.indices],
        "probabilities": digits(best.values),
        "translation": rate(P, ids, translation),
    }
    if reference:
        data["reference"] = rate(*predict(model, src, reference, tgt_vocabulary), reference)
    return data


def main(
    sentence: tyro.conf.Positional[str],
    model: Path = HERE / "translator.pt",
    reference: str = "",
    language: Literal["en", "es"] = "en",
) -> None:
    """Writes see.html: how a sentence goes through encoder and decoder.

    Args:
        sentence: Spanish, or whatever the model translates from.
        model: A saved translator; if there is no such file, one is trained and saved there.
        reference: A translation of yours, whose words the model rates.
        language: Of the explanations on the page.
    """
    translator, vocabularies = load(model)
    data = look(translator, vocabularies, split_words(sentence), split_words(reference))
    data["language"] = language
    # words are split: none of them has the </ that would end the script element of the data
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    page = (HERE / "see_template.html").read_text("utf-8").replace("{{DATA}}", text)
    (HERE / "see.html").write_text(page, "utf-8")
    print(*data["source"][1:-1], "->", *data["target"][1:-1])
    print(f"page in {HERE / 'see.html'}")


if __name__ == "__main__":
    tyro.cli(main)
