"""How the text is read, divided and paired."""

from types import SimpleNamespace

import bert
import pytest
import torch
from bert import CLS, MASK, SEP, batches, read_pairs

NOUNS = "cat dog bird fish horse cow".split()


def test_a_random_sentence_is_the_b_of_a_pair_of_another_document_in_the_whole_corpus():
    training, test = read_pairs(None)
    assert 40_000 < len(training) < 80_000 and 0.02 < len(test) / len(training) < 0.1
    sides = [{s for pair in part for s in pair[:2]} for part in (training, test)]
    files = [{number for _, _, number in part} for part in (training, test)]
    assert not sides[0] & sides[1] and not files[0] & files[1]  # no sentence, no file is on both
    assert len({a for a, _, _ in training}) == len({b for _, b, _ in training}) == len(training)
    after, number = {a: b for a, b, _ in training}, {b: number for _, b, number in training}
    pairs = []

    def encode_batch(texts):
        pairs.extend(texts)
        return [SimpleNamespace(ids=[CLS, 5, SEP], type_ids=[0, 0, 0])] * len(texts)

    recorder = SimpleNamespace(encode_batch=encode_batch, get_vocab_size=lambda: 6)
    torch.manual_seed(0)
    is_random = torch.cat([targets[1] for _, targets in batches(training, recorder, "cpu")])
    for (a, b), random in zip(pairs, is_random, strict=True):
        assert (number[b] != number[after[a]]) if random else (b == after[a])
    assert {a for a, _ in pairs} == after.keys() and [a for a, _ in pairs] != list(after)
    assert is_random.float().mean() == pytest.approx(0.49, abs=0.015)
    place = {b: i for i, (_, b, _) in enumerate(training)}
    drawn = torch.tensor([place[b] for (_, b), random in zip(pairs, is_random) if random]).float()
    assert (drawn.histc(10, 0, len(training)) / len(drawn)).sub(0.1).abs().max() < 0.01


def test_texts_of_any_layout_are_sentences_and_documents(tmp_path):
    text = "\ufeffX. Y.\n\nUna dos\r\nu\u0301ltimas\r\n¿Tres?  UNA DOS ÚLTIMAS ¿TRES? Aa… Bb\r\n"
    text += " \r\ncuatro\u2028es\u0085más. 3.5\n\nक ख।ग घ। ङ च । 你好。\n再见！A? \n[a] b\n\n"
    text += "X. Y. A? x.\n\n"  # these again
    words, numbers = [f"w{i}" for i in range(120)], [f"{i}." for i in range(120)]
    text += " ".join(words) + "\n\n" + "\n".join(numbers)  # cut after every 50
    text += "".join(f"\n\nY{i}. Z{i}. Y." for i in range(14))
    (tmp_path / "text.txt").write_bytes(text.encode())
    training, test = read_pairs(tmp_path / "text.txt")
    found = {}
    for a, b, number in sorted(training + test, key=lambda pair: pair[2]):
        document = found.setdefault(number, [a])
        assert document[-1] == a
        document.append(b)
    assert found.pop(0) == ["x.", "y."] and found.pop(1) == ["una dos últimas ¿tres?", "aa…", "bb"]
    assert found.pop(2) == ["cuatro es más.", "3.5"]
    assert found.pop(3) == ["क ख।", "ग घ।", "ङ च ।", "你好。", "再见！", "a?", "[a] b"]
    assert found.pop(5) == [" ".join(words[i : i + 50]) for i in (0, 50, 100)]
    assert [found.pop(i) for i in (6, 7, 8)] == [numbers[:50], numbers[50:100], numbers[100:]]
    assert found == {9 + i: [f"y{i}.", f"z{i}."] for i in range(14)}
    assert [number for _, _, number in test] == [0, 20]


SOURCE = """
    Returns the `mean`, e.g.
    of 1.5. A second line, and nothing is

    Parameters
    ----------
    x : array
        Values a > 1. See A=1. The rest
        goes on. For a list:

    - An item
    - Another item. Last."""


def test_docstrings_give_their_prose(tmp_path, monkeypatch):
    for name, text in ("numpy/b", SOURCE), ("numpy/a/z", "X."), ("torch/c", "Y. Z."):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / f"{name}.py").write_text(f'No. """{text}""" No. """{text}"""')
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    documents = [[" ".join(s.split()) for s in document] for document in bert.read_docstrings()]
    found = ["Returns the mean, e.g.", "The rest goes on.", "Another item.", "Last."]
    assert documents == [["X."] * 2, found * 2, ["Y.", "Z."] * 2]


def test_subword_tokens_there_and_back():
    sentences = [f"the {noun} eats {n} apples" for n in range(9) for noun in NOUNS]
    tokenizer = bert.train_tokenizer(sentences, 100)
    assert bert.train_tokenizer(sentences, 100).get_vocab() == tokenizer.get_vocab()
    assert [tokenizer.id_to_token(i) for i in range(5)] == "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    assert tokenizer.decode(tokenizer.encode("The horse eats dogs").ids) == "the horse eats dogs"
    assert tokenizer.encode("a [MASK] b").ids[2] == MASK
    spanish = bert.train_tokenizer(["el año del niño"], 60, 40)
    assert spanish.decode(spanish.encode("El niño").ids) == "el niño"


def test_a_run_is_evaluated_on_the_test_set_and_its_tokenizer_knows_the_training_set_only(tmp_path):
    documents = [
        f"The {NOUNS[i % 6]} sees x{i}. It has {i} of them. It eats y{i}." for i in range(60)
    ]
    (tmp_path / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    result = bert.main(text=tmp_path / "text.txt", epochs=1, fill=(), figure=tmp_path / "f.png")
    training, test = read_pairs(tmp_path / "text.txt")
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b, _ in training])
    assert result["tokenizer"].get_vocab() == tokenizer.get_vocab()
    device = result["model"].bias.device
    torch.manual_seed(0)
    metrics = bert.evaluate(result["model"], list(batches(test, tokenizer, device)))
    assert metrics == {name: result[name] for name in metrics}
