"""The bundled pairs are what the grammar writes, and a reader of its own checks what they promise.

The reader knows the two files and the forms in lexicon.txt, but nothing of make_pairs.py.
"""

import filecmp
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TWO_WORDS = re.compile(r"\b(look|listen|wait)(s|ed)? (at|for|to)\b")  # one verb: looks_at
HELPERS = set("do does did am is are was were not more as".split())
# what may stand between the noun at the beginning and its verb or what it is
BETWEEN = set("¿ ¡ no es son era eran está están estaba estaban más tan".split())


class Form(NamedTuple):
    section: str
    lemma: str
    classes: set
    slots: set  # where it stands among masculine, feminine and their plurals
    late: int  # whether it is in the past
    english: set


def read_lexicon():
    """Spanish form -> Form; English form -> section and lemma."""
    spanish, english = {}, {}
    for line in (HERE / "lexicon.txt").read_text("utf-8").split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        elif match := re.fullmatch(r"([a-z ]+): ([^|]+) \| (.+)", line):
            tags, en = match[1].split(), [tense.split() for tense in match[3].split(" / ")]
            if section != "others":
                english |= {form: (section, en[0][-1]) for tense in en for form in tense}
            for late, tense in enumerate(match[2].split(" / ")):
                for gender, forms in enumerate(tense.split(", ")):
                    either = [gender] if "," in tense else [0, 1]
                    for number, form in enumerate(forms.split()):
                        genders = {"m": [0], "f": [1]}.get(tags[-1], either)
                        slots = {gender + 2 * (number % 2) for gender in genders}
                        target = {en[0][min(number, len(en[0]) - 1)]}
                        if section == "verbs":
                            slots, target = slots if number > 1 else set(), set(en[late])
                        spanish[form] = Form(section, en[0][-1], set(tags), slots, late, target)
    return spanish, english


def words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def clear(text):
    """Words none of which can be misread: `como` (I eat) after `tan`, `esta` in `esta noche`."""
    text = re.sub(r"\b(tan \w+) como\b", r"\1", text.lower()).replace("esta noche", "hoy")
    return words(TWO_WORDS.sub(r"\1\2_\3", text))


def read(name):
    return [tuple(line.split("\t")) for line in (HERE / name).read_text("utf-8").split("\n")[:-1]]


SPANISH, ENGLISH = read_lexicon()
TRAIN, TEST = read("pairs.tsv"), read("pairs_test.tsv")
BAGS = defaultdict(list)  # the test pairs by the words of their sources
for pair in TEST:
    BAGS[tuple(sorted(words(pair[0])))].append(pair)


def content(text, *sections):
    """The nouns, verbs and adjectives of a Spanish sentence, or only some of them."""
    sections = sections or ("nouns", "verbs", "adjectives")
    forms = [SPANISH[word] for word in clear(text) if word in SPANISH]
    return [form for form in forms if form.section in sections]


def together(es):
    """Each noun with each verb and adjective of the sentence, by lemma."""
    nouns, others = content(es, "nouns"), content(es, "verbs", "adjectives")
    return set(product((noun.lemma for noun in nouns), (other.lemma for other in others)))


def combined(en):
    """Subject and verb, adjective and noun: neighbours in English, once auxiliaries are gone."""
    kept = [ENGLISH.get(word, ("", "")) for word in clear(en) if word not in HELPERS]
    for (section, lemma), (following, other) in pairwise(kept):
        if section == "nouns" and following in ("verbs", "adjectives"):
            yield lemma, other
        if section == "adjectives" and following == "nouns":
            yield other, lemma


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
    for es, en in TRAIN + TEST:
        assert not re.search("  | [,.?!]", es + en), es
        start, end = re.fullmatch(r"([¿¡]?)[A-ZÉ][a-záéíóúñ ,]+([.?!])", es).groups()
        assert start + end in (".", "¿?", "¡!"), es
        assert re.fullmatch(rf"[A-Z][a-zIMS' ,]+\{end}", en) and es.count(",") == en.count(","), en
        assert not re.search(r"\b(a el|de el|la agua)\b", es.lower()), es
        assert not re.search(r"\b(i\b|[Aa] [aeiou]|[Aa]n [^aeiou])", en), en


def test_both_sides_have_the_same_words_numbers_and_tenses():
    for es, en in TRAIN + TEST:
        forms, right = content(es), clear(en)
        assert len(forms) == sum(word in ENGLISH for word in right), (es, en)
        for form in forms:
            helped = {form.lemma} if form.late and "did" in right else set()
            assert (form.english | helped) & set(right), (es, en)
            assert form.late or form.section != "verbs" or "did" not in right, (es, en)
        past = re.search(r"\b(er|estab|hab)[aí]", es.lower())
        assert bool(past) == bool({"was", "were"} & set(right)), (es, en)
        for verb in re.findall(r"\b(?:do|does|did) not (\w+)", " ".join(right)):
            assert ENGLISH[verb] == ("verbs", verb), en
        assert not re.search(r"\b(i (?!was)|you )\w*[^su]s\b", en.lower()), en  # I sing


def test_owners_come_first_in_english_and_other_nouns_where_they_were():
    for es, en in TRAIN + TEST:
        if "¿" not in es and "gust" not in es:
            es = re.sub(r"\b(cerca|delante|detrás) del?\b", "", es.lower())
            es = re.sub(r"(\w+) (?:del|de \w+) (\w+)", r"\2 \1", es)
            kinds = [ENGLISH[word] for word in clear(en) if word in ENGLISH]
            nouns = [lemma for section, lemma in kinds if section == "nouns"]
            assert [noun.lemma for noun in content(es, "nouns")] == nouns, (es, en)


def test_words_agree_and_those_that_do_belong_together_in_english():
    for es, en in TRAIN + TEST:
        text = clear(re.sub(r"\bel agua", "la agua", es.lower()))
        subject = tuple([word for word in text if word not in BETWEEN][1:3])  # after an article
        for two in {*pairwise(text), subject}:
            if not set(two) <= SPANISH.keys():
                continue
            a, b = SPANISH[two[0]], SPANISH[two[1]]
            about = b.section == "adjectives" or two == subject and b.section == "verbs"
            if a.section == "nouns" and about:
                assert a.slots & b.slots and (a.lemma, b.lemma) in combined(en), es
            if a.classes & {"count", "own", "new"} and b.section == "nouns":  # a determiner
                assert a.slots & b.slots, es


def test_every_test_sentence_has_a_combination_that_training_lacks():
    """It has both words, and it or its twin has them together."""
    seen = set().union(*(together(es) for es, _ in TRAIN))
    for pairs in BAGS.values():
        assert all(together(es) - seen for es, _ in pairs), pairs
        assert any(set(combined(en)) - seen for _, en in pairs), pairs
    assert len(seen) > 3_000


def test_nearly_half_of_the_test_sources_have_a_twin():
    """The same words, of which two (and what agrees with them) change places, say another thing."""
    twins = [pairs for pairs in BAGS.values() if len(pairs) > 1]
    assert sum(map(len, twins)) >= 450
    for (es, en), (other, translation) in twins:
        moved = {two for two in zip(words(es), words(other)) if two[0] != two[1]}
        assert moved == {two[::-1] for two in moved} and 2 <= len(moved) <= 4, (es, other)
        assert en != translation
    assert not {tuple(sorted(words(es))) for es, _ in TRAIN} & set(BAGS)


def test_every_test_word_is_met_often_in_training():
    seen = Counter(word for pair in TRAIN for text in pair for word in words(text))
    assert all(seen[word] >= 15 for pair in TEST for text in pair for word in words(text))
    for text in "El perro de mi hermana duerme.", "¿Lo ven ellas?", "¿Beben las vacas agua fría?":
        assert min(seen[word] for word in words(text)) >= 15


def test_the_test_file_has_every_construction_in_proportion():
    for mark in "¿ ¡ , no y de gusta hay más tan a con cerca mi lo lunes".split():
        train, test = (sum(mark in words(es) for es, _ in part) for part in (TRAIN, TEST))
        assert train > 20 and 0.5 < 20 * test / train < 2, (mark, train, test)
