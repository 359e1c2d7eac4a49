"""Write pairs.tsv and pairs_test.tsv: Spanish sentences and their English, from a small grammar.

    python make_pairs.py [--out FOLDER]     20 000 and 1 000 lines, the same bytes on every machine

What makes exact match a fair score: a source sentence has exactly one translation.

- Marks are the same in both languages: a full stop, `¡ !` or `¿ ?`, and a comma after a time of
  several words that begins a sentence (`Por la mañana, ...`). English has no `don't`.
- The first and second person may leave the subject out; the third always says who it is.
- `cantamos` is present and past: it always comes with a time (`cada día`, `ayer`) to tell.
- `lo, la` are `it`; `los, las` are `them`. Actions in the past are preterite, states imperfect.
- Every verb and every adjective names the classes of nouns that suit it (see lexicon.txt).

What makes it a test of composition: one in fourteen of the combinations (noun, adjective) and
(subject noun, verb) is held out, by lemma. A sentence with a held-out combination, in whatever
number, gender or tense, can only go to the test set, a sentence without one only to the training
set. Every word of the test set occurs at least RARE times in the training set.
"""

import argparse
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

SIZES = (20_000, 1_000)  # training and test
HELD_OUT, RARE = 1 / 14, 15
rng = random.Random()

DETERMINERS = {  # masculine, feminine, their plurals, English singular and plural
    "the": ["el", "la", "los", "las", "the", "the"],
    "this": ["este", "esta", "estos", "estas", "this", "these"],
    "that": ["ese", "esa", "esos", "esas", "that", "those"],
    "a": ["un", "una", "unos", "unas", "a", "some"],
    "my": ["mi", "mi", "mis", "mis", "my", "my"],
    "your": ["tu", "tu", "tus", "tus", "your", "your"],
    "our": ["nuestro", "nuestra", "nuestros", "nuestras", "our", "our"],
    "bare": ["", "", "", "", "", ""],
}
DEFINITE = ["the", "the", "the", "the", "this", "that", "my", "your", "our"]
ANY = DEFINITE + ["a", "a", "a"]
SILENT = [("", "i", 0), ("", "i", 0), ("", "you", 1), ("", "we", 3), ("", "you", 4)]
SPOKEN = [
    ("él", "he", 2),
    ("ella", "she", 2, True),
    ("ellos", "they", 5),
    ("ellas", "they", 5, True),
]
LIVING = {"person", "animal"}
BE = {
    "present": ["am", "are", "is", "are", "are", "are"],
    "past": ["was", "were", "was", "were", "were", "were"],
}
LIKE = {"present": ["gusta", "gustan"], "past": ["gustó", "gustaron"]}
ASK = {"": "", "qué": "what", "dónde": "where", "cuándo": "when", "por qué": "why"}
IT = [("lo", "it"), ("la", "it"), ("los", "them"), ("las", "them")]
TIMES = {
    "present": [
        ("cada día", "every day"),
        ("por la mañana", "in the morning"),
        ("por la noche", "at night"),
    ],
    "past": [("ayer", "yesterday"), ("anoche", "last night"), ("la semana pasada", "last week")],
}
LIKES = [({"person"}, {"food", "drink", "text", "clothes", "song", "art", "place", "animal"})] * 8
LIKES += [({"hunter"}, {"flesh"}), ({"grazer"}, {"plant"})]
THERE = [
    ({"animal", "person"}, {"outdoors"}),
    ({"flower", "animal"}, {"outdoors"}),
    ({"food", "drink", "wine", "cup"}, {"larder"}),
    ({"pocket", "text"}, {"desk"}),
]

# %% words: inflection, and reading the lexicon


class Noun(NamedTuple):
    es: list  # singular, plural
    en: list
    feminine: bool
    tags: set


class Adjective(NamedTuple):
    es: str
    en: str
    copula: str  # ser, estar or color (which takes ser and is not joined to others)
    line: int  # adjectives of one line of the lexicon exclude each other
    tags: set


class Verb(NamedTuple):
    es: dict  # "present" and "past": six persons each
    base: str
    past: str
    mark: str  # * a state, ! no habit
    frames: list  # (subject tags, link, object tags)


def english_s(word):
    """The word with the ending of plural nouns and of verbs in the third person."""
    if word == "have":
        return "has"
    if re.search("[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search("(s|x|ch|sh|o)$", word) else "s")


def spanish_s(word):
    """The plural of a Spanish noun or adjective."""
    if word == "joven":
        return "jóvenes"
    if re.search("[aeiouáéíóú]$", word):
        return word + "s"
    for accented, plain in zip("áéíóú", "aeiou"):
        word = re.sub(accented + "(?=[ns]$)", plain, word)  # canción, canciones
    return word + "es"


def agree(words, feminine, plural):
    """Adjectives in the gender and number of their noun, joined by `y`."""
    forms = [re.sub("o$", "a", word.es) if feminine else word.es for word in words]
    return " y ".join(spanish_s(form) if plural else form for form in forms)


def conjugate(infinitive, stressed):
    """Present and preterite; `stressed` is the stem of the stressed forms (pienso, pensamos)."""
    stem, ending = infinitive[:-2], infinitive[-2:]
    present = {"ar": "o as a amos áis an", "er": "o es e emos éis en", "ir": "o es e imos ís en"}
    past = "é aste ó amos asteis aron" if ending == "ar" else "í iste ió imos isteis ieron"
    first = stem
    if ending == "ar":
        first = re.sub("c$", "qu", re.sub("g$", "gu", stem))  # busqué, llegué
    stems = [stressed, stressed, stressed, stem, stem, stressed]
    return {
        "present": [a + b for a, b in zip(stems, present[ending].split())],
        "past": [a + b for a, b in zip([first] + [stem] * 5, past.split())],
    }


def read_lexicon(path):
    """Section -> its lines, each as the words before the colon and the words of every item."""
    lexicon = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.startswith("["):
            section = lexicon[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            head, items = line.split(": ")
            section.append((head.split(), [item.split() for item in items.split(", ")]))
    return lexicon


def read_noun(tags, article, es, one, many=None):
    """The article tells the gender; `many` is an irregular English plural."""
    return Noun([es, spanish_s(es)], [one, many or english_s(one)], article == "la", set(tags))


def read_verb(infinitive, base, past, frames):
    """The infinitive can carry its stressed stem and a mark: pensar/piens, abrir!"""
    infinitive, mark = re.fullmatch("(.*?)([*!]?)", infinitive).groups()
    infinitive, _, stressed = infinitive.partition("/")
    es = FORMS.get(infinitive) or conjugate(infinitive, stressed or infinitive[:-2])
    frames = [(set(who.split("|")), link, set(what.split("|"))) for who, link, what in frames]
    return Verb(es, base, past, mark, frames)


LEXICON = read_lexicon(Path(__file__).with_name("lexicon.txt"))
FORMS = {}
for (infinitive,), (forms,) in LEXICON["irregular"]:
    FORMS[infinitive] = {"present": forms[:6], "past": forms[6:]}
NOUNS = [read_noun(tags, *item) for tags, items in LEXICON["nouns"] for item in items]
VERBS = [read_verb(*head, frames) for head, frames in LEXICON["verbs"]]
ADJECTIVES = []
for number, ((copula, *tags), items) in enumerate(LEXICON["adjectives"]):
    ADJECTIVES += [Adjective(es, en, copula, number, set(tags)) for es, en in items]

# %% phrases


class Phrase(NamedTuple):
    es: str = ""
    en: str = ""
    person: int = 2  # from 0, i, to 5, they
    feminine: bool = False
    noun: Noun | None = None
    words: list = []  # its adjectives

    def pairs(self, verb=None):
        """The combinations of lemmas in it, and with the verb whose subject it is."""
        others = [word.en for word in self.words] + [verb] * bool(verb)
        return [(self.noun.en[0], other) for other in others] if self.noun else []


def pick(options):
    return options[int(rng.random() * len(options))]  # only random() is promised never to change


def chance(share):
    return rng.random() < share


def negation():
    """The Spanish and the English word, in a quarter of the cases."""
    return ("no", "not") if chance(0.25) else ("", "")


def join(*parts):
    return " ".join(part for part in parts if part)


def fits(determiner, noun, plural):
    """Whether the determiner can stand before the noun: a water, my river and the uncle cannot."""
    if determiner in ("my", "your", "our"):
        return bool(noun.tags & {"own", "kin"})
    if "kin" in noun.tags:
        return False
    mass = "mass" in noun.tags
    return {"a": not mass, "bare": mass or plural}.get(determiner, True)


def describe(tags, count, first=None):
    """At most `count` adjectives for a noun with these tags that can stand side by side."""
    if not count:
        return []
    first = first or pick([a for a in ADJECTIVES if a.tags & tags])
    if count == 1 or first.copula == "color":
        return [first]
    others = [a for a in ADJECTIVES if a.tags & tags and a.copula == first.copula]
    others = [a for a in others if a.line != first.line and a.en != first.en]
    return [first, pick(others)] if others else [first]


def noun_phrase(tags, determiners=ANY, counts=(0, 0, 0, 1, 1, 1, 2), unlike=None):
    """A random phrase about something with one of `tags`, other than the noun `unlike`."""
    noun = pick([n for n in NOUNS if n.tags & tags and n is not unlike])
    plural = not noun.tags & {"mass", "one"} and chance(0.15 if "place" in noun.tags else 0.45)
    options = [d for d in determiners if fits(d, noun, plural)]
    if not options:
        return noun_phrase(tags, determiners, counts, unlike)
    forms = DETERMINERS[pick(options)]
    words = [] if "kin" in noun.tags else describe(noun.tags, pick(counts))
    adjectives = agree(words, noun.feminine, plural)
    es = join(forms[noun.feminine + 2 * plural], noun.es[plural], adjectives)
    en = join(forms[4 + plural], " and ".join(word.en for word in words), noun.en[plural])
    return Phrase(es, en, 5 if plural else 2, noun.feminine, noun, words)


def subject(tags, pronoun):
    """A noun phrase or, for people, a pronoun, left out where the Spanish verb tells."""
    return Phrase(*pick(SILENT * 4 + SPOKEN)) if pronoun else noun_phrase(tags)


def place(tags):
    """A noun phrase about a place with its preposition."""
    where = noun_phrase(tags, DEFINITE, (0, 0, 0, 1))
    tags = where.noun.tags
    links = [("en", word) for word in ("in", "on") if word in tags] * 3
    if tags & {"building", "outdoors"}:
        links += [("cerca de", "near")]
    if "building" in tags:
        links += [("detrás de", "behind"), ("delante de", "in front of")]
    es, en = pick(links)
    return where._replace(es=join(es, where.es), en=join(en, where.en))


# %% sentences: each function returns Spanish, English, the final mark and the combinations, or None


def clause(who, base, past, tense, after, no="", ask=None):
    """English word order, with do-support; `ask` is the question word or empty."""
    third = who.person == 2
    do = "did" if tense == "past" else "does" if third else "do"
    if ask is not None:
        return join(ask, do, who.en, no, base, after)
    if no:
        return join(who.en, do, no, base, after)
    finite = past if tense == "past" else english_s(base) if third else base
    return join(who.en, finite, after)


def phrase():
    """A noun with one adjective or two."""
    it = noun_phrase(pick(ADJECTIVES).tags, ANY, (1, 1, 2))
    return it.es, it.en, "", it.pairs()


def statement(ask=None, clitic=("", "")):
    """Who does what (where, when); with `ask` as a question, with `clitic` about it or them."""
    verb, (no, no_en) = pick(VERBS), negation()
    state, once = verb.mark == "*", verb.mark == "!"
    tense = "present" if state else pick(["present", "past"])
    pronoun = chance(0.55)  # for people only
    frames = [frame for frame in verb.frames if not pronoun or frame[0] & {"person", "adult"}]
    who_tags, link, what_tags = pick(frames)
    who, what, when = subject(who_tags, pronoun), Phrase(), ("", "")
    somewhere, direct = link == "@", link[0] == ">"
    thing = direct and not what_tags & LIVING
    same = who.person == 3 and verb.es["present"][3] == verb.es["past"][3] and not state  # cantamos
    timeless = ask == "cuándo" or state or once and tense == "present"
    impossible = {
        "qué": no or not thing,
        "dónde": no or not (somewhere or direct) or direct and timeless,
        "cuándo": no or state or tense == "present",
    }
    if impossible.get(ask) or same and timeless or clitic[0] and not thing:
        return None

    es_link, _, en_link = link.strip("@").partition(">")
    if somewhere and ask != "dónde" and (state or chance(0.6)):
        what = place(what_tags)
    elif not somewhere and not clitic[0] and ask != "qué":
        what = noun_phrase(what_tags, ANY + ["bare"] * 5 * thing, unlike=who.noun)
        if direct and what.noun.tags & LIVING and verb.base != "have":
            es_link = "a"  # veo a la niña
    if not what.es:
        es_link = ""
    if not timeless and (same or chance(0.2)):
        when = pick(TIMES[tense])
    before, after = ("", ""), when
    if ask is None and chance(0.4):
        before, after = when, ("", "")
        if " " in when[0]:
            before = when[0] + ",", when[1] + ","

    form = join(no, clitic[0], verb.es[tense][who.person])
    if ask is None:
        es = join(before[0], who.es, form, es_link, what.es, after[0])
    else:
        es = join(ask, form, who.es, es_link, what.es, after[0])
    tail = join(en_link, clitic[1], what.en, after[1])
    en = clause(who, verb.base, verb.past, tense, tail, no_en, ASK.get(ask))
    mark = "." if ask is None else "?"
    return es, join(before[1], en), mark, who.pairs(verb.base) + what.pairs()


def question():
    """Who does what, with a question word or without."""
    return statement(ask=pick(["", "", *ASK, "qué", "qué"]))


def clitic():
    """Who does what to it or to them."""
    return statement(clitic=pick(IT))


def gustar():
    """Who likes is the subject in English; the thing liked is the subject in Spanish."""
    tense, (no, no_en), ask = pick(["present", "past"]), negation(), chance(0.25)
    who_tags, liked = pick(LIKES)
    who = subject(who_tags, who_tags == {"person"} and chance(0.4))
    what = noun_phrase(liked, DEFINITE)
    pronoun = ["me", "te", "le", "nos", "os", "les"][who.person]
    form = join(no, pronoun, LIKE[tense][what.person == 5])
    whom = join("a" * bool(who.es), who.es)
    es = join(whom, form, what.es)
    if ask and who.noun:
        es = join(form, what.es, whom)  # ¿le gusta el pan al niño?
    en = clause(who, "like", "liked", tense, what.en, no_en, "" if ask else None)
    return es, en, "?" if ask else ".", who.pairs("like") + what.pairs()


def copula():
    """Somebody or something is (or is not) so, with one adjective or two."""
    (no, no_en), ask, tense, head, tags = negation(), chance(0.25), "present", None, {"person"}
    if chance(0.3):
        who = subject(tags, pronoun=True)
        if not who.es:
            who = who._replace(feminine=chance(0.5))  # estoy cansada
    else:
        head, tense = pick(ADJECTIVES), pick(["present", "past"])
        who = noun_phrase(head.tags, DEFINITE, (0, 0, 0, 1))
        tags = who.noun.tags
    words = describe(tags, 1 if no else pick([1, 1, 2]), head)
    if {word.line for word in words} & {word.line for word in who.words}:
        return None  # the big house is small
    form = FORMS["estar" if words[0].copula == "estar" else "ser"][tense][who.person]
    form, es_words = join(no, form), agree(words, who.feminine, who.person > 2)
    be, en_words = BE[tense][who.person], join(no_en, " and ".join(word.en for word in words))
    pairs = who._replace(words=words).pairs() + who.pairs()
    if ask:
        return join(form, es_words, who.es), join(be, who.en, en_words), "?", pairs
    return join(who.es, form, es_words), join(who.en, be, en_words), ".", pairs


def there():
    """Something is (or is not) somewhere."""
    tense, no, ask = pick(["present", "past"]), "no" * chance(0.25), chance(0.25)
    things, places = pick(THERE)
    what = noun_phrase(things, ["bare"] if no else ["a", "a", "bare"])
    where = place(places)
    es = join(no, {"present": "hay", "past": "había"}[tense], what.es, where.es)
    be, rest = BE[tense][what.person], join(no, what.en, where.en)
    pairs = what.pairs() + where.pairs()
    if ask and not no:
        return es, join(be, "there", rest), "?", pairs
    return es, join("there", be, rest), ".", pairs


def contract(es, en):
    """del, al, el agua and e inteligente in Spanish, an and I in English."""
    es = re.sub(r"\bla (?=agua\b|águila\b)", "el ", es)
    es = re.sub(r"\buna (?=águila\b)", "un ", es)
    es = re.sub(r"\ba el\b", "al", re.sub(r"\bde el\b", "del", es))
    es = re.sub(r"\by (?=i)", "e ", es)
    en = re.sub(r"\ba (?=[aeiou])", "an ", en)
    return es, re.sub(r"\bi\b", "I", en)


def sentence(kind):
    """One random sentence of a kind as it is written, or None where it makes no sense."""
    made = kind()
    if made is None:
        return None
    es, en, mark, pairs = made
    if mark == "?" and re.search(r"(am|do|did) i\b|^(are|do|did) we\b", en):
        return None  # no questions about oneself
    es, en = contract(es, en)
    if mark == "." and chance(0.1):
        mark = "!"
    if mark:  # a phrase has none
        es = {"?": "¿", "!": "¡"}.get(mark, "") + es[0].upper() + es[1:] + mark
        en = en[0].upper() + en[1:] + mark
    if not all(3 <= len(tokens(text)) <= 14 for text in (es, en)):
        return None
    return es, en, pairs


# %% files

KINDS = {phrase: 1, copula: 4, there: 2, gustar: 3, clitic: 3, question: 5, statement: 12}  # shares


def tokens(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def held_out(pair):
    """Whether the combination of two lemmas is only for the test set: a hash of them decides."""
    return random.Random(" ".join(pair)).random() < HELD_OUT


def has_two_adjectives(pair):
    return " and " in pair[1]


def make_pairs():
    """Training and test: two lists of (Spanish, English) in random order."""
    rng.seed(0)
    english, train, pools = {}, [], []
    for kind, share in KINDS.items():
        train_size, test_size = (round(size * share / sum(KINDS.values())) for size in SIZES)
        parts = [], []  # a part of the training set, and twice as much as needed for the test set
        while len(parts[0]) < train_size or len(parts[1]) < 2 * test_size:
            es, en, pairs = sentence(kind) or ("", "", ())
            unseen = any(map(held_out, pairs))
            if english.get(es, en) != en:
                raise ValueError(f"two translations of: {es}")
            full = len(parts[unseen]) == (2 * test_size if unseen else train_size)
            if es and es not in english and not full:
                english[es] = en
                parts[unseen].append((es, en))
        train += parts[0]
        pools.append((*parts, test_size))
    seen = Counter(word for pair in train for text in pair for word in tokens(text))
    test = []
    for part, pool, size in pools:
        pool = [p for p in pool if all(seen[w] >= RARE for text in p for w in tokens(text))]
        double = round(size * sum(map(has_two_adjectives, part)) / len(part))
        test += [p for p in pool if has_two_adjectives(p)][:double]
        test += [p for p in pool if not has_two_adjectives(p)][: size - double]
    return [sorted(part, key=lambda _: rng.random()) for part in (train, test)]


def main():
    parser = argparse.ArgumentParser(description="write pairs.tsv and pairs_test.tsv")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="an existing folder"
    )
    out = parser.parse_args().out
    if not out.is_dir():
        raise OSError(f"--out {out} is not a folder; make it first")
    train, test = make_pairs()
    for name, part in ("pairs.tsv", train), ("pairs_test.tsv", test):
        text = "".join(f"{es}\t{en}\n" for es, en in part)
        (out / name).write_bytes(text.encode())
    es, en = (len({word for pair in train for word in tokens(pair[side])}) for side in (0, 1))
    print(f"{len(train)} + {len(test)} pairs in {out}; word types: {es} Spanish, {en} English")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"make_pairs.py: {error}")
