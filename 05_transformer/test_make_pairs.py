"""The bundled pairs are what the grammar writes, and a reader of its own checks what they promise.

The reader knows the two files and the forms in lexicon.txt, but nothing of make_pairs.py.
"""

import filecmp
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from itertools import combinations, pairwise, product
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DETERMINERS = {  # English: Spanish masculine and feminine, and their plurals
    "the": "el la los las",
    "this these": "este esta estos estas",
    "that those": "ese esa esos esas",
    "a an some": "un una unos unas",
    "my": "mi mi mis mis",
    "your": "tu tu tus tus",
    "our": "nuestro nuestra nuestros nuestras",
}
COPULAS = "es son era eran está están estaba estaban"
PAST = set("was were did era eras eran estaba estabas estaban había".split())
VERB = re.compile(r"\b((?:look|listen|wait)(?:s|ed)?) (?=at|for|to)")  # one word: look_at
BETWEEN = set("do does did am is are was were not more as".split())


def words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def bag(text):
    return tuple(sorted(words(text)))


def read(name):
    lines = (HERE / name).read_text("utf-8").split("\n")[:-1]
    return [tuple(line.split("\t")) for line in lines]


def read_lexicon():
    """Spanish and English form -> section, English lemma, plural or past; lemma -> classes; Spanish
    form -> slots: where it stands among masculine and feminine and their plurals."""
    languages, classes, slots = ({}, {}), defaultdict(set), defaultdict(set)
    for line in (HERE / "lexicon.txt").read_text("utf-8").split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        elif re.match(r"[a-z ]+:", line) and section != "others":
            tags, *sides = re.split(r": | \| ", line)
            lemma = sides[1].split()[0]
            classes[lemma] |= set(tags.split())
            for forms, side in zip(languages, sides):
                for late, tense in enumerate(side.split(" / ")):
                    for gender, part in enumerate(tense.split(", ")):
                        genders = [gender] if "," in tense else [0, 1]
                        for number, form in enumerate(part.split()):
                            mark = {"nouns": number, "verbs": late}.get(section)
                            forms[form] = section, lemma, mark
                            for g in {"m": [0], "f": [1]}.get(tags[-1], genders):
                                if section != "verbs" or number > 1:  # él, ellos
                                    slots[form].add(g + 2 * (number % 2))
    for forms in DETERMINERS.values():
        for slot, form in enumerate(forms.split()):
            slots[form].add(slot)
    return *languages, classes, slots


TRAIN, TEST = read("pairs.tsv"), read("pairs_test.tsv")
SPANISH, ENGLISH, CLASSES, SLOTS = read_lexicon()


def content(text, forms):
    """What the nouns, verbs and adjectives are; `como` is a verb (I eat) or stands after `tan`."""
    text = re.sub(r"\b(tan \w+) como\b", r"\1", VERB.sub(r"\1_", text))
    return [forms[word] for word in words(text) if word in forms]


def together(es):
    """Each noun with each verb and adjective of the sentence, by lemma."""
    kinds = content(es, SPANISH)
    nouns = {lemma for section, lemma, _ in kinds if section == "nouns"}
    return set(product(nouns, {lemma for section, lemma, _ in kinds if section != "nouns"}))


def combined(en):
    """Noun and verb, noun and adjective that belong together: without auxiliaries, neighbours."""
    text = [word for word in words(VERB.sub(r"\1_", en)) if word not in BETWEEN]
    kept = [ENGLISH.get(word, ("", "", 0)) for word in text]
    for (section, lemma, _), (other, following, _) in pairwise(kept):
        if section == "nouns" and other in ("verbs", "adjectives"):
            yield lemma, following
        if section == "adjectives" and other == "nouns":
            yield following, lemma


def groups():
    """The test pairs by the words of their sources."""
    found = defaultdict(list)
    for es, en in TEST:
        found[bag(es)].append((es, en))
    return found


def test_the_grammar_writes_the_bundled_files(tmp_path):
    command = [sys.executable, HERE / "make_pairs.py", "--out", tmp_path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    for name in "pairs.tsv", "pairs_test.tsv":
        assert filecmp.cmp(tmp_path / name, HERE / name, shallow=False), name


def test_a_missing_folder_is_answered_by_one_sentence(tmp_path):
    command = [sys.executable, HERE / "make_pairs.py", "--out", "missing"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "make_pairs.py: --out missing is not a folder; make it first\n"


def test_a_source_comes_once_and_no_test_sentence_is_in_train():
    assert (len(TRAIN), len(TEST)) == (20_000, 1_000)
    assert len({tuple(words(es)) for es, _ in TRAIN + TEST}) == 21_000
    assert not {en.lower() for _, en in TRAIN} & {en.lower() for _, en in TEST}


def test_sentences_are_written_as_one_writes_them():
    ends = Counter()
    for es, en in TRAIN + TEST:
        for text in es, en:
            assert text == " ".join(text.split()) == unicodedata.normalize("NFC", text)
        start, end = re.fullmatch(r"([¿¡]?)[A-ZÉ][a-záéíóúñ ,]+([.?!])", es).groups()
        assert start + end in (".", "¿?", "¡!"), es
        assert re.fullmatch(rf"[A-Z][a-zIMS' ,]+\{end}", en) and es.count(",") == en.count(","), en
        assert not re.search(r"\b(a el|de el|la agua)\b", es.lower()), es
        assert not re.search(r"\b(i\b|[Aa] [aeiou]|[Aa]n [^aeiou])", en), en
        ends[end] += 1
    assert ends["."] > 12_000 and ends["?"] > 3_000 and ends["!"] > 800


def test_both_sides_have_the_same_words_numbers_and_tense():
    for es, en in TRAIN + TEST:
        left, right = content(es, SPANISH), content(en, ENGLISH)
        for section in "nouns", "adjectives":
            of = [Counter(kind for kind in side if kind[0] == section) for side in (left, right)]
            assert of[0] == of[1], (es, en)
        verbs = [[kind[1:] for kind in side if kind[0] == "verbs"] for side in (left, right)]
        assert {lemma for lemma, _ in verbs[0]} == {lemma for lemma, _ in verbs[1]}, (es, en)
        if "read" not in words(en):  # present or past
            late = [any(past for _, past in side) for side in verbs]
            assert late[0] | bool(PAST & set(words(es))) == late[1] | bool(PAST & set(words(en))), (
                es
            )
        es = words(es.replace("sta noche", ""))
        for english, forms in list(DETERMINERS.items())[1:]:
            numbers = [
                sum(word in side.split() for word in text)
                for text, side in ((es, forms), (words(en), english))
            ]
            assert numbers[0] == numbers[1], (es, en)


def test_words_agree():
    for es, _ in TRAIN + TEST:
        text = words(re.sub(r"\bel (agua)", r"la \1", es, flags=re.I))
        for word, after in pairwise(text):
            sections = [
                SPANISH.get(x, ("determiners" if SLOTS.get(x) else "", "", 0))[0]
                for x in (word, after)
            ]
            if sections in (["determiners", "nouns"], ["nouns", "adjectives"]):
                assert SLOTS[word] & SLOTS[after], es
        subject = re.match(
            rf"\W?(\w+) (\w+) (?:no )?(?:(?:{COPULAS.replace(' ', '|')}) )?(?:más |tan )?(\w+)",
            " ".join(text),
        )
        if subject and SPANISH.get(subject[2], " ")[0] == "nouns" and subject[3] in SPANISH:
            assert SLOTS[subject[2]] & SLOTS[subject[3]], es


def test_every_test_sentence_has_a_combination_that_training_lacks():
    seen = set().union(*(together(es) for es, _ in TRAIN))
    assert len(seen) > 2_000
    for pairs in groups().values():
        assert all(together(es) - seen for es, _ in pairs), pairs
        assert any(set(combined(en)) - seen for _, en in pairs), pairs


def test_nearly_half_of_the_test_sources_have_a_twin():
    """The same words in another order, which exchanges two of them, have another translation."""
    twins = [pairs for pairs in groups().values() if len(pairs) > 1]
    assert sum(map(len, twins)) >= 450
    for pairs in twins:
        for (es, en), (other, translation) in combinations(pairs, 2):
            moved = [two for two in zip(words(es), words(other)) if two[0] != two[1]]
            assert set(moved) == {two[::-1] for two in moved} and len(moved) <= 4, (es, other)
            assert en != translation
    assert not {bag(es) for es, _ in TRAIN} & set(groups())


def test_in_a_third_of_both_files_two_words_can_change_places():
    for part in TRAIN, TEST:
        count = 0
        for es, _ in part:
            found = [(SPANISH[word], SLOTS[word]) for word in words(es) if word in SPANISH]
            for (a, slots), (b, others) in combinations(found, 2):
                if (
                    a != b
                    and a[::2] == b[::2]
                    and slots == others
                    and CLASSES[a[1]] & CLASSES[b[1]]
                ):
                    count += 1
                    break
        assert count > len(part) / 3


def test_every_test_word_is_met_often_in_training():
    for side in 0, 1:
        seen = Counter(word for pair in TRAIN for word in words(pair[side]))
        assert all(seen[word] >= 15 for pair in TEST for word in words(pair[side]))


@pytest.mark.parametrize(
    "text",
    [
        "El perro de mi hermana duerme.",
        "¿Lo ven ellas?",
        "¿Duermes?",
        "¿Beben las vacas agua fría?",
        "La niña no ve el caballo blanco.",
    ],
)
def test_everyday_sentences_have_no_unknown_word(text):
    known = Counter(word for es, _ in TRAIN for word in words(es))
    assert min(known[word] for word in words(text)) >= 3


def test_the_test_file_has_every_construction_in_proportion():
    marks = {
        "question": r"^¿",
        "exclamation": r"^¡",
        "gustar": r"\bgust",
        "negation": r"\bno\b",
        "there": r"\b(hay|había)\b",
        "possession": r"\bdel? ",
        "comparison": r"\b(más|tan)\b",
        "but": r"\bpero\b",
        "it, them": r"^\W?(\w+ )*(lo|la|los|las) \w+(o|a|e|é|í|ó|s|n)\W$",
    }
    for name, mark in marks.items():
        shares = []
        for part in TRAIN, TEST:
            shares.append(sum(bool(re.search(mark, es.lower())) for es, _ in part) / len(part))
        assert shares[0] > 0.02 and 0.6 < shares[1] / shares[0] < 1.6, (name, shares)
