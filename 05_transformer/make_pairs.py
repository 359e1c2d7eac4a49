"""Write pairs.tsv and pairs_test.tsv: Spanish sentences and their English, from a small grammar.

    python make_pairs.py [--out FOLDER]     20 000 and 1 000 lines, the same bytes on every machine

The grammar stands in grammar.txt, the words with all their forms in lexicon.txt.

- A source sentence has exactly one translation, or exact match would not be a fair score.
- Word order matters: nearly half of the sentences have a *twin*. Two of their words, of one class,
  can change places, and the same words say something else: `Mi madre ayuda a tu padre`, `Mi padre
  ayuda a tu madre`. The test set has both twins, so a reader that ignores order fails on one.
- One in fourteen of the combinations of a noun with a verb or an adjective is held out, by lemma.
  No training sentence has both words, in whatever form and place; in a test sentence, or in its
  twin, they stand together: subject and verb, noun and adjective. Twins have the same words, hence
  the same fate.
- Every word of the test set occurs at least RARE times in the training set.
"""

import argparse
import random
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SIZES = (20_000, 1_000)  # training and test
HELD_OUT, RARE = 1 / 14, 15
PLURAL, PAST, EXCLAMATION = 0.35, 0.4, 0.08  # shares
rng = random.Random()


def pick(options):
    return options[int(rng.random() * len(options))]  # only random() is promised never to change


# %% lexicon and grammar


class Word(NamedTuple):
    section: str  # nouns, verbs, ...
    tags: list  # its classes, and f, yo or tú where that matters
    forms: list  # of Spanish and English: tenses of genders of numbers or persons


@dataclass
class Leaf:
    symbol: str  # the class that the word was drawn from
    word: Word
    plural: bool = False


class Phrase(NamedTuple):
    parts: dict  # role -> Leaf or Phrase; the first is the head, with which the others agree
    order: list  # Spanish and English: the roles and words in the order in which they are written


def read_lexicon(path):
    """Class -> its words."""
    words = defaultdict(list)
    for line in path.read_text("utf-8").split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            tags, forms = line.split(":")
            languages = []
            for language in forms.split("|"):
                tenses = [tense.split(",") for tense in language.split("/")]
                languages.append([[form.split() or [""] for form in tense] for tense in tenses])
            word = Word(section, tags.split(), languages)
            for tag in word.tags:
                words[tag].append(word)
    return words


def read_grammar(path):
    """Symbol -> its rules: the symbols of the parts by role, and the orders to write them in."""
    rules = defaultdict(list)
    for block in path.read_text("utf-8").strip().split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith("#")]
        parts, orders = [], []
        for line in lines[1:]:
            weight, line = re.fullmatch(r"(\d* ?)(.*)", line).groups()
            lists = orders if "|" in line else parts
            lists += [line] * int(weight or 1)
        for line in parts:
            symbol, symbols = line.split(": ")
            roles = lines[0].strip("[]").split()
            rules[symbol].append((dict(zip(roles, symbols.split())), orders))
    return rules


WORDS, RULES = read_lexicon(HERE / "lexicon.txt"), read_grammar(HERE / "grammar.txt")
THEY = Leaf("pronoun", WORDS["pronoun"][0], plural=True)


# %% trees


def grow(symbol, inherited=""):
    """A random tree. A label, as in `building.one` or `rest.yes`, holds for the head as well."""
    symbol, _, label = symbol.partition(".")
    label = label or inherited
    if symbol in WORDS:
        word = pick(WORDS[symbol])
        can_be_plural = len(word.forms[0][0][0]) == 2 and label != "one"
        return Leaf(symbol, word, can_be_plural and (label == "many" or rng.random() < PLURAL))
    parts, orders = pick(RULES[symbol])
    labelled = [order for order in orders if order.startswith(label + ":")]
    order = pick(labelled or orders).split(":")[-1]
    nodes, written = {}, re.findall(r"\w+", order)
    for role, part in parts.items():
        if role in written:  # ¿qué ves? has no object
            nodes[role] = grow(part, "" if nodes else label)
    return Phrase(nodes, order.split("|"))


def head(node):
    while isinstance(node, Phrase):
        node = next(iter(node.parts.values()))
    return node


def leaves(node):
    if isinstance(node, Leaf):
        return [node]
    return [leaf for part in node.parts.values() for leaf in leaves(part)]


# %% writing


def inflect(word, english, past, leaf):
    """The form of a word that agrees with a leaf; where a form lacks, the one before it."""
    tenses = word.forms[english]
    genders = tenses[min(past, len(tenses) - 1)]
    forms = genders[min("f" in leaf.word.tags, len(genders) - 1)]
    person = {"yo": 0, "tú": 1}.get(leaf.word.tags[-1], 3 if leaf.plural else 2)
    if len(forms) == 4:
        return forms[person]
    plural = person == 3 or english and person < 2  # they sing, I sing
    return forms[min(plural, len(forms) - 1)]


def spell(phrase, english, past):
    """The words of a phrase in one of the languages."""
    words = []
    for token in phrase.order[english].split():
        role, _, other = token.partition(".")
        part = phrase.parts.get(role)
        if isinstance(part, Phrase):
            words.append(spell(part, english, past))
        elif other == "base":  # does not sing
            words.append(inflect(part.word, english, False, THEY))
        elif part or role.isupper():
            word = part.word if part else WORDS[role][0]
            leaf = head(phrase.parts[other] if other else phrase)
            words.append(inflect(word, english, past, leaf))
        else:
            words.append(token)
    return " ".join(words)


SPANISH = {r"\ba el\b": "al", r"\bde el\b": "del", r"\bla agua\b": "el agua"}
ENGLISH = {r"\ba (?=[aeiou])": "an "}


def write(tree, past):
    """Spanish and English."""
    pair = []
    for english, contractions in enumerate((SPANISH, ENGLISH)):
        text = " ".join(spell(tree, english, past).replace("_", " ").split())
        for pattern, replacement in contractions.items():
            text = re.sub(pattern, replacement, text)
        text = re.sub(r" (?=[,.?!'])|(?<=[¿¡]) ", "", text)
        pair.append(re.sub(r"\w", lambda letter: letter[0].upper(), text, count=1))
    return tuple(pair)


def tokens(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def bag(text):
    return " ".join(sorted(tokens(text)))


def twins(tree, past):
    """What else the same Spanish words say when two of one class change places."""
    words, found = bag(write(tree, past)[0]), []
    for a, b in combinations(leaves(tree), 2):
        if a.symbol == b.symbol and a.word is not b.word and a.plural == b.plural:
            a.word, b.word = b.word, a.word
            pair = write(tree, past)
            a.word, b.word = b.word, a.word
            if bag(pair[0]) == words:
                found.append(pair)
    return found


# %% what is held out


def lemma(leaf):
    return leaf.word.forms[True][0][0][0]


@cache
def drawn(noun, other):
    return random.Random(f"{noun} {other}").random() < HELD_OUT  # a hash of both decides


def held_out(pairs):
    """Whether one of the pairs is a noun and a verb or adjective that are for the test set."""
    for a, b in pairs:
        is_combination = a.word.section == "nouns" and b.word.section in ("verbs", "adjectives")
        if is_combination and drawn(lemma(a), lemma(b)):
            return True
    return False


def agreeing(phrase):
    """The pairs of a head and a word that agrees with it."""
    found = []
    for part in phrase.parts.values():
        if isinstance(part, Leaf):
            found.append((head(phrase), part))
        else:
            found += agreeing(part)
    return found


# %% files


def sentence(kind):
    """A random tree and its tense. No word comes twice, and no question is about oneself."""
    while True:
        clause, past = grow(kind), rng.random() < PAST
        asks = "¿" in clause.order[0]
        order = ["clause", "clause"] if asks else ["clause .", "clause ."]
        if not asks and rng.random() < EXCLAMATION:
            order = ["¡ clause !", "clause !"]
        lemmas = [lemma(leaf) for leaf in leaves(clause) if leaf.word.section != "others"]
        about_oneself = asks and "yo" in head(clause).word.tags
        if not about_oneself and len(set(lemmas)) == len(lemmas):
            return Phrase({"clause": clause}, order), past


def collect(kind, has_twins, sizes, english):
    """Training pairs of a kind, and groups for the test set: a pair or a pair with its twin."""
    train, test = [], []
    while len(train) < sizes[0] or len(test) < sizes[1]:
        tree, past = sentence(kind)
        unseen = held_out(permutations(leaves(tree), 2))
        part = test if unseen else train
        if len(part) == sizes[unseen] or unseen and not held_out(agreeing(tree)):
            continue
        group = [write(tree, past)]
        if has_twins:
            others = twins(tree, past)
            if not others:
                continue
            if unseen:
                group.append(pick(others))
        assert all(english.get(es, en) == en for es, en in group), group  # one translation
        if not any(es in english for es, _ in group):
            english.update(group)
            part.append(group)
    return train, test


def make_pairs():
    """Training and test: two lists of (Spanish, English) in random order."""
    rng.seed(0)
    kinds = Counter()
    for symbol in "plain", "twin":
        for parts, _ in RULES[symbol]:
            kinds[parts["subject"], symbol == "twin"] += 1
    english, train, pools = {}, [], []
    for (kind, has_twins), share in kinds.items():
        size, test_size = (size * share // kinds.total() for size in SIZES)
        part, pool = collect(kind, has_twins, (size, 2 * test_size), english)
        train += [group[0] for group in part]
        pools.append((pool, test_size))
    seen = Counter(token for pair in train for text in pair for token in tokens(text))
    test = []
    for pool, size in pools:
        known = []
        for group in pool:
            if all(seen[token] >= RARE for pair in group for token in tokens(" ".join(pair))):
                known += group
        test += known[:size]
    return [sorted(part, key=lambda _: rng.random()) for part in (train, test)]


def main():
    parser = argparse.ArgumentParser(description="write pairs.tsv and pairs_test.tsv")
    parser.add_argument("--out", type=Path, default=HERE, help="an existing folder")
    out = parser.parse_args().out
    if not out.is_dir():
        sys.exit(f"make_pairs.py: --out {out} is not a folder; make it first")
    train, test = make_pairs()
    for name, part in ("pairs.tsv", train), ("pairs_test.tsv", test):
        (out / name).write_bytes("".join(f"{es}\t{en}\n" for es, en in part).encode())
    es, en = (len({token for pair in train for token in tokens(pair[side])}) for side in (0, 1))
    print(f"{len(train)} + {len(test)} pairs in {out}; word types: {es} Spanish, {en} English")
    bags = Counter(bag(es) for es, _ in test)
    twins = sum(bags[bag(es)] > 1 for es, _ in test)
    print(f"{twins} test sources have the same words as another one, with another translation")


if __name__ == "__main__":
    main()
