"""How the text is read, divided and paired."""

from types import SimpleNamespace

import bert
import pytest
import torch
from bert import CLS, MASK, SEP, batches, read_sentences

NOUNS = "cat dog bird fish horse cow".split()


def test_a_random_sentence_is_never_of_the_same_document_in_the_whole_corpus():
    training, test = read_sentences(None)
    assert 40_000 < len(training) < 80_000 and 0.02 < len(test) / len(training) < 0.1
    assert not training.keys() & test.keys()  # no sentence is on both sides,
    assert not {*training.values()} & {*test.values()}  # nor is a source file
    place, document, pairs = {s: i for i, s in enumerate(training)}, [*training.values()], []

    def encode_batch(texts):
        pairs.extend((place[a], place[b]) for a, b in texts)
        return [SimpleNamespace(ids=[CLS, 5, SEP], type_ids=[0, 0, 0])] * len(texts)

    recorder = SimpleNamespace(encode_batch=encode_batch, get_vocab_size=lambda: 6)
    torch.manual_seed(0)
    is_random = torch.cat([targets[1] for _, targets in batches(training, recorder, "cpu")])
    for (a, b), random in zip(pairs, is_random, strict=True):
        assert (document[a] != document[b]) if random else (b == a + 1)
        assert document[a] == document[a + 1]
    assert len({a for a, _ in pairs}) == len(pairs) == len(training) - len({*document}) > 40_000
    assert is_random.float().mean() == pytest.approx(0.5, abs=0.01)
    drawn = torch.tensor([b for (_, b), random in zip(pairs, is_random) if random]).float()
    assert (drawn.histc(10, 0, len(training)) / len(drawn)).sub(0.1).abs().max() < 0.01


def test_texts_of_any_layout_are_sentences_and_documents(tmp_path):
    text = "\ufeffX. Y.\n\nUna. Dos\r\nu\u0301ltimas\r\n¿Tres?  UNA. Aa… Bb\r\n \r\n"
    text += (
        "cuatro\u2028es\u0085más\n\nक ख।ग घ। 你好。\n再见！A? \n[a] b\n X. Una.\n\n"  # these again
    )
    words, numbers = [f"w{i}" for i in range(120)], [f"{i}." for i in range(120)]
    text += " ".join(words) + "\n\n" + "\n".join(numbers)  # cut after every 50
    text += "".join(f"\n\nZ{i}." for i in range(14))
    (tmp_path / "text.txt").write_bytes(text.encode())
    training, test = read_sentences(tmp_path / "text.txt")
    found = [[] for _ in range(22)]
    for sentence, number in (training | test).items():
        found[number].append(sentence)
    assert found[:2] == [["x.", "y."], ["una.", "dos últimas", "¿tres?", "aa…", "bb"]]
    assert found[2] == ["cuatro es más"] and found[3] == [
        "क ख।",
        "ग घ।",
        "你好。",
        "再见！",
        "a?",
        "[a] b",
    ]
    assert found[4] == [" ".join(words[i : i + 50]) for i in (0, 50, 100)]
    assert found[5:8] == [numbers[:50], numbers[50:100], numbers[100:]]
    assert list(test) == ["x.", "y.", "z12."] and not training.keys() & test.keys()


def test_subword_tokens_there_and_back():
    sentences = [f"the {noun} eats {n} apples" for n in range(9) for noun in NOUNS]
    tokenizer = bert.train_tokenizer(sentences, 100)
    assert bert.train_tokenizer(sentences, 100).get_vocab() == tokenizer.get_vocab()
    assert [tokenizer.id_to_token(i) for i in range(5)] == "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    assert tokenizer.decode(tokenizer.encode("The horse eats dogs").ids) == "the horse eats dogs"
    assert tokenizer.encode("a [MASK] b").ids[2] == MASK
    spanish = bert.train_tokenizer(["el año del niño"], 60, 40)
    assert spanish.decode(spanish.encode("El niño").ids) == "el niño"
