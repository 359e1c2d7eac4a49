"""The bundled pairs are what the grammar writes, and the test file needs composition."""

import filecmp
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEST_KINDS = ("pairs.tsv", "pairs_test.tsv")


def read(name):
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


def words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


@pytest.fixture(scope="module")
def pairs():
    return read("pairs.tsv"), read("pairs_test.tsv")


def combinations(english, lemma, nouns, adjectives, verbs):
    """(noun, adjective) and (subject noun, verb) by lemma, read off the English words alone.

    English puts an adjective before its noun and a verb after its subject, so once auxiliaries and
    `not` are gone they are neighbours, or on the far side of an `and`: nothing here knows how the
    grammar made the sentence or what it meant to hold out.
    """
    kept = [lemma.get(w, w) for w in words(english)]
    kept = [w for w in kept if w not in {"do", "does", "did", "is", "are", "was", "were", "not"}]
    near = list(zip(kept, kept[1:]))
    for i in range(2, len(kept) - 1):
        if kept[i] == "and":
            near.append((kept[i - 2], kept[i + 1]))  # the house is big and old
    for i in range(1, len(kept) - 2):
        if kept[i] == "and":
            near.append((kept[i - 1], kept[i + 2]))  # the big and old house
    after = {(a, b) for a, b in near if a in nouns and b in adjectives | verbs}
    return after | {(b, a) for a, b in near if a in adjectives and b in nouns}


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_grammar_writes_the_bundled_files(tmp_path, hash_seed):
    command = [sys.executable, HERE / "make_pairs.py", "--out", tmp_path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
    for name in TEST_KINDS:
        assert filecmp.cmp(tmp_path / name, HERE / name, shallow=False), name


def test_pairs_are_well_formed(pairs):
    train, test = pairs
    assert (len(train), len(test)) == (20_000, 1_000)
    for pair in train + test:
        assert len(pair) == 2
        for text in pair:
            assert text == " ".join(text.split()) == unicodedata.normalize("NFC", text)
            assert 3 <= len(words(text)) <= 14
    assert all(len({w for p in train for w in words(p[side])}) >= 250 for side in (0, 1))


def test_sentences_are_punctuated_as_one_writes_them(pairs):
    phrases = Counter()
    for es, en in pairs[0] + pairs[1]:
        sentence = re.fullmatch(r"(¿|¡|)([A-ZÉ][^.!?¿¡]*)([.!?])", es)
        if sentence:
            assert (sentence[1] + sentence[3]) in (".", "¡!", "¿?"), es
            assert re.fullmatch(r"[A-Z][^.!?]*" + re.escape(sentence[3]), en), en
            assert es.count(",") == en.count(",")
        else:
            assert re.fullmatch(r"[a-záéíóúñü ]+", es) and re.fullmatch(r"[a-z ]+", en), (es, en)
        phrases[sentence[3] if sentence else "phrase"] += 1
        assert not re.search(r"\bi\b", en)
        assert bool(re.search(r"^¡?(Cada día|Por la \w+|La semana pasada),", es)) == ("," in es), es
    shares = {mark: n / sum(phrases.values()) for mark, n in phrases.items()}
    assert shares["."] > 0.6 and min(shares.values()) > 0.02, shares


def test_everyday_sentences_have_no_unknown_word(pairs):
    known = Counter(word for es, _ in pairs[0] for word in words(es))
    for text in "El perro de mi hermana duerme.", "¡Por la noche, los gatos cantan!", "¿Duermes?":
        assert all(known[word] >= 15 for word in words(text)), text


def test_a_source_has_one_translation_and_no_test_sentence_is_in_train(pairs):
    train, test = pairs
    sources = Counter(" ".join(words(es)) for es, _ in train + test)
    assert max(sources.values()) == 1
    assert not {en.lower() for _, en in train} & {en.lower() for _, en in test}


def test_every_test_word_is_met_often_in_training(pairs):
    train, test = pairs
    for side in (0, 1):
        seen = Counter(w for pair in train for w in words(pair[side]))
        rare = {w for pair in test for w in words(pair[side]) if seen[w] < 15}
        assert not rare


def test_every_test_sentence_has_a_combination_never_met_in_training(pairs):
    import make_pairs

    lemma = {form: noun.en[0] for noun in make_pairs.NOUNS for form in noun.en}
    for verb in make_pairs.VERBS:
        lemma |= {verb.past: verb.base, make_pairs.english_s(verb.base): verb.base}
    lemma |= {"likes": "like", "liked": "like"}
    nouns = {noun.en[0] for noun in make_pairs.NOUNS}
    verbs = {verb.base for verb in make_pairs.VERBS} | {"like"}
    adjectives = {word.en for word in make_pairs.ADJECTIVES}
    train, test = pairs
    seen = set()
    for _, english in train:
        seen |= combinations(english, lemma, nouns, adjectives, verbs)
    assert len(seen) > 1500  # the reader above does find combinations
    for spanish, english in test:
        assert combinations(english, lemma, nouns, adjectives, verbs) - seen, (spanish, english)


def test_test_file_has_every_construction_in_proportion(pairs):
    marks = {
        "question": r"^¿",
        "exclamation": r"^¡",
        "comma": r",",
        "gustar": r"\bgust",
        "negation": r"\bno\b",
        "there": r"\b(hay|había)\b",
        "two adjectives": r"\b[ye]\b",
        "this": r"\best[eao]s?\b",
        "copula": r"\b(es|son|está|están|era|eran|estaba|estaban)\b",
        "it, them": r"(^|\bno |\w )(lo|la|los|las) \w+(á|é|í|ó|a|e|n|s)[.!]$",
    }
    for name, mark in marks.items():
        shares = [
            sum(bool(re.search(mark, es.lower())) for es, _ in part) / len(part) for part in pairs
        ]
        assert shares[0] > 0.02 and 0.6 < shares[1] / shares[0] < 1.6, (name, shares)


@pytest.mark.parametrize(
    "es, en",
    [
        ("el agua fría", "the cold water"),
        ("¡Me gustan estos sombreros!", "I like these hats!"),
        ("Cada día, cantamos.", "Every day, we sing."),
        ("El águila los busca.", "The eagle looks for them."),
        ("Eres simpático e inteligente.", "You are nice and clever."),
        ("¿Había un perro negro cerca del parque?", "Was there a black dog near the park?"),
    ],
)
def test_known_translations(pairs, es, en):
    assert dict(pairs[0] + pairs[1])[es] == en
