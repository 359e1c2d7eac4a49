"""Write pairs.tsv and pairs_test.tsv: Spanish sentences and their English, from a small grammar.

    python make_pairs.py [--out DIR]       20 000 and 1 000 lines, the same bytes on every machine

What makes "exact match" a fair score: a source sentence has exactly one translation.

- Text is lower-case; statements have no full stop, questions have `¿` and `?`; no `don't`.
- The first and second person may leave the subject out; the third always says who it is.
- `cantamos` is present and past: it always comes with a time (`cada día`, `ayer`) to tell.
- `lo, la` are `it`; `los, las` are `them`. Actions in the past are preterite, states imperfect.
- Every verb and every adjective names the classes of nouns that suit it.

What makes it a test of composition: one in fourteen of the combinations (noun, adjective) and
(subject noun, verb) is held out, by lemma. A sentence with a held-out combination, in whatever
number, gender or tense, can only go to the test file, a sentence without one only to the training
file. Every word of the test file is met at least RARE times in training.
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

# %% lexicon

NOUNS = """
person adult own: el amigo friend, la amiga friend, el vecino neighbor, el profesor teacher
person adult own: la profesora teacher, el médico doctor, el estudiante student
person adult: el hombre man men, la mujer woman women, el cocinero chef, la enfermera nurse
person adult: el músico musician, la pintora painter, el granjero farmer, la escritora writer
person: el niño child children, la niña girl, el chico boy
person adult kin one: la madre mother
person adult kin: el padre father parents, la abuela grandmother, el tío uncle
person kin: el hermano brother, la hermana sister, la prima cousin
animal own hunter: el gato cat, el perro dog
animal hunter: el lobo wolf wolves, el oso bear, el zorro fox
animal own grazer: el caballo horse, la vaca cow, el conejo rabbit, el burro donkey
animal own grazer: la oveja sheep sheep
animal grazer: el pájaro bird, el ratón mouse mice, el pato duck
animal: la águila eagle
food plant fruit own: la manzana apple, la naranja orange, la pera pear, la fresa strawberry
food plant own: la zanahoria carrot, el tomate tomato tomatoes
food own: el pastel cake, el bocadillo sandwich, la ensalada salad
food plant mass own: el pan bread
food mass own: el queso cheese
food flesh cooked mass own: la carne meat, el pescado fish
food cooked mass own: el arroz rice
food hot mass own: la sopa soup
drink cool mass own: la agua water
drink hot mass own: la leche milk, el café coffee, el té tea
wine mass own: el vino wine, la cerveza beer
text letter own: la carta letter, el mensaje message
text story own: el cuento story, el poema poem
text story paper own: el libro book, la novela novel
text paper own: la revista magazine, el periódico newspaper
clothes own: la camisa shirt, el sombrero hat, el abrigo coat, el vestido dress, la falda skirt
clothes own: la chaqueta jacket
vehicle own: el coche car, el camión truck, la bicicleta bicycle, el barco boat
furniture own: la silla chair, la cama bed, la lámpara lamp
furniture own on larder desk: la mesa table
pocket own: la llave key, el reloj watch, el teléfono phone
box own in desk: la caja box, la maleta suitcase
cup own: la taza cup, la botella bottle
door own: la puerta door, la ventana window
music own: la guitarra guitar, el piano piano pianos
song own: la canción song
art own: el cuadro painting, la foto photo photos
flower: la flor flower
place building home in own: la casa house
place building in own: la escuela school
place building in: el museo museum, el hospital hospital, la iglesia church, la biblioteca library
place building home in: el hotel hotel
place building in: el restaurante restaurant, la tienda store
place room in larder own: la cocina kitchen
place in larder: el mercado market
place outdoors in own: el jardín garden, la calle street
place outdoors home in: el pueblo village, la ciudad city
place outdoors in: el parque park, el bosque forest
place outdoors home on: la playa beach
outdoors home: el río river
"""

# copula, the classes of nouns: adjectives. Those of one line exclude each other, others are joined
ADJECTIVES = """
ser person: alto tall, bajo short
ser adult animal: joven young, viejo old
ser person: amable kind, simpático nice, alegre cheerful, valiente brave
ser person: inteligente clever, famoso famous, tímido shy
estar person animal: cansado tired, hambriento hungry
estar person: contento happy, triste sad, enfadado angry
color animal: negro black, blanco white, marrón brown, gris gray
color clothes vehicle furniture box door cup: rojo red, azul blue, verde green, negro black,
  blanco white
color flower: rojo red, blanco white, amarillo yellow
ser animal place vehicle furniture box fruit flower: grande big, pequeño small
ser clothes vehicle furniture pocket box music building: nuevo new, viejo old
ser clothes vehicle furniture pocket music wine: caro expensive, barato cheap
ser clothes building outdoors art song flower music: bonito beautiful
ser clothes furniture: elegante elegant, feo ugly
ser building: moderno modern
ser outdoors: tranquilo quiet
ser text song: largo long, corto short
ser text song: interesante interesting, aburrido boring, divertido funny, triste sad
ser box furniture: pesado heavy, ligero light
ser fruit: dulce sweet
estar food: rico delicious
estar fruit flesh plant: fresco fresh
estar hot: caliente hot, frío cold
estar cool: frío cold, limpio clean
estar clothes vehicle cup box: limpio clean, sucio dirty
estar cup: vacío empty, roto broken
"""

# infinitive[/stem where stressed][mark], English base, past: subject link object, and more. A link
# is two prepositions, es>en, or @ for a place. Mark * is a state, only present; ! is no habit.
VERBS = """
dormir/duerm sleep slept: person @ place, animal @ outdoors
correr run ran: person @ outdoors, animal @ outdoors
bailar dance danced: person @ place
cantar sing sang: person @ place
llorar cry cried: person @ place
trabajar work worked: adult @ place
vivir* live lived: person @ home
ir go went: person a>to building|home
llegar arrive arrived: person a>at building
hablar talk talked: person con>with person, person de>about text|person|animal
pensar/piens think thought: person en>about person|home|song|animal
comer! eat ate: person > food, person > food, grazer > plant, hunter > flesh
beber drink drank: person > drink, adult > drink|wine, animal > cool
cocinar cook cooked: person > cooked
comprar! buy bought: person > food|drink|paper|clothes|pocket|flower, adult > vehicle|furniture
vender! sell sold: adult > paper|clothes|vehicle|furniture|art|flower
querer/quier* want wanted: person > food|drink|paper|clothes, grazer > plant, hunter > flesh
necesitar* need needed: person > clothes|vehicle|furniture|pocket|box|cup|drink
tener* have had: person > animal, person > vehicle|paper|clothes|music|pocket
llevar wear wore: person > clothes
lavar wash washed: person > clothes|vehicle|cup|fruit
leer read read: person > text
escribir! write wrote: person > letter|story
mirar look looked: person >at art|door|flower|clothes, person >at animal
buscar look looked: person >for pocket|paper|clothes, person >for animal|person, animal >for food
escuchar listen listened: person >to song, person >to person
tocar play played: person > music
ver see saw: person > person|animal, person > building|vehicle|art|flower, animal > animal|person
encontrar/encuentr! find found: person > pocket|paper|clothes|box, person > animal
perder/pierd! lose lost: person > pocket|paper|clothes
abrir! open opened: person > door|box|letter
cerrar/cierr! close closed: person > door|box
pintar! paint painted: person > art|door|furniture|flower
visitar visit visited: person > person|building
ayudar help helped: person > person
"""

IRREGULAR = """
ir: voy vas va vamos vais van fui fuiste fue fuimos fuisteis fueron
ver: veo ves ve vemos veis ven vi viste vio vimos visteis vieron
leer: leo lees lee leemos leéis leen leí leíste leyó leímos leísteis leyeron
tener: tengo tienes tiene tenemos tenéis tienen tuve tuviste tuvo tuvimos tuvisteis tuvieron
dormir: duermo duermes duerme dormimos dormís duermen
  dormí dormiste durmió dormimos dormisteis durmieron
ser: soy eres es somos sois son era eras era éramos erais eran
estar: estoy estás está estamos estáis están estaba estabas estaba estábamos estabais estaban
"""

DETERMINERS = {  # masculine, feminine, their plurals, English singular and plural
    "the": "el,la,los,las,the,the",
    "this": "este,esta,estos,estas,this,these",
    "that": "ese,esa,esos,esas,that,those",
    "a": "un,una,unos,unas,a,some",
    "my": "mi,mi,mis,mis,my,my",
    "your": "tu,tu,tus,tus,your,your",
    "our": "nuestro,nuestra,nuestros,nuestras,our,our",
    "bare": ",,,,,",
}
DEFINITE = "the the the the this that my your our"
ANY = DEFINITE + " a a a"
SILENT = [("", "i", 0), ("", "i", 0), ("", "you", 1), ("", "we", 3), ("", "you", 4)]
SPOKEN = [
    ("él", "he", 2),
    ("ella", "she", 2, True),
    ("ellos", "they", 5),
    ("ellas", "they", 5, True),
]
LIVING = {"person", "animal"}
BE = {"present": "am are is are are are".split(), "past": "was were was were were were".split()}
LIKE = {"present": ["gusta", "gustan"], "past": ["gustó", "gustaron"]}
ASK = {"": "", "qué": "what", "dónde": "where", "cuándo": "when", "por qué": "why"}
IT = [("lo", "it"), ("la", "it"), ("los", "them"), ("las", "them")]
TIMES = {
    "present": "cada día/every day, por la mañana/in the morning, por la noche/at night",
    "past": "ayer/yesterday, anoche/last night, la semana pasada/last week",
}
LIKES = ["person: food drink text clothes song art place animal"] * 8
LIKES += ["hunter: flesh", "grazer: plant"]
THERE = [
    "animal person @ outdoors",
    "flower animal @ outdoors",
    "food drink wine cup @ larder",
    "pocket text @ desk",
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
    line: int
    tags: set


class Verb(NamedTuple):
    es: dict  # "present" and "past": six persons each
    base: str
    past: str
    mark: str
    frames: list  # (subject tags, link, object tags)


def english_s(word):
    """The ending of plural nouns and of verbs in the third person."""
    if re.search("[^aeiou]y$", word):
        return word[:-1] + "ies"
    return {"have": "has"}.get(word, word + ("es" if re.search("(s|x|ch|sh|o)$", word) else "s"))


def spanish_s(word):
    if re.search("[aeiouáéíóú]$", word):
        return word + "s"
    bare = re.sub("[áéíóú](?=[ns]$)", lambda m: "aeiou"["áéíóú".index(m[0])], word)
    return {"joven": "jóvenes"}.get(word, bare + "es")  # canción, canciones


def agree(words, feminine, plural):
    """Adjectives in the gender and number of their noun, joined by `y`."""
    forms = [re.sub("o$", "a", word.es) if feminine else word.es for word in words]
    return " y ".join(spanish_s(form) if plural else form for form in forms)


def conjugate(infinitive, stressed):
    """Present and preterite; `stressed` is the stem of the stressed forms (pienso, pensamos)."""
    stem, ending = infinitive[:-2], infinitive[-2:]
    present = {"ar": "o as a amos áis an", "er": "o es e emos éis en", "ir": "o es e imos ís en"}
    past = "é aste ó amos asteis aron" if ending == "ar" else "í iste ió imos isteis ieron"
    stems = [stressed] * 3 + [stem] * 2 + [stressed]
    before_e = re.sub("c$", "qu", re.sub("g$", "gu", stem)) if ending == "ar" else stem  # busqué
    return {
        "present": [a + b for a, b in zip(stems, present[ending].split(), strict=True)],
        "past": [a + b for a, b in zip([before_e] + [stem] * 5, past.split(), strict=True)],
    }


def read_noun(tags, article, es, one, many=None):
    return Noun([es, spanish_s(es)], [one, many or english_s(one)], article == "la", set(tags))


def read_verb(infinitive, base, past, frames):
    infinitive, mark = re.fullmatch("(.*?)([*!]?)", infinitive).groups()
    infinitive, _, stressed = infinitive.partition("/")
    es = FORMS.get(infinitive) or conjugate(infinitive, stressed or infinitive[:-2])
    frames = [(set(who.split("|")), link, set(what.split("|"))) for who, link, what in frames]
    return Verb(es, base, past, mark, frames)


def lines(text):
    """Of each line `head: item, item` its number, the words of the head, the words of each item."""
    for number, line in enumerate(text.strip().replace("\n  ", " ").splitlines()):
        head, items = line.split(": ")
        yield number, head.split(), [item.split() for item in items.split(", ")]


FORMS = {name: dict(present=f[:6], past=f[6:]) for _, (name,), (f,) in lines(IRREGULAR)}
NOUNS = [read_noun(tags, *item) for _, tags, items in lines(NOUNS) for item in items]
VERBS = [read_verb(*head, frames) for _, head, frames in lines(VERBS)]
ADJECTIVES = [
    Adjective(es, en, copula, number, set(tags))
    for number, (copula, *tags), items in lines(ADJECTIVES)
    for es, en in items
]

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


def join(*parts):
    return " ".join(part for part in parts if part)


def fits(determiner, noun, plural):
    if determiner in ("my", "your", "our"):
        return bool(noun.tags & {"own", "kin"})
    mass = "mass" in noun.tags
    return "kin" not in noun.tags and {"a": not mass, "bare": mass or plural}.get(determiner, True)


def describe(tags, count, first=None):
    """At most `count` adjectives for a noun with these tags that can stand side by side."""
    words = [first or pick([a for a in ADJECTIVES if a.tags & tags])] if count else []
    for head in words[: count - 1]:
        fitting = [a for a in ADJECTIVES if a.tags & tags and a.line != head.line]
        fitting = [a for a in fitting if a.copula == head.copula != "color" and a.en != head.en]
        words += [pick(fitting)] if fitting else []
    return words


def noun_phrase(tags, determiners=ANY, counts=(0, 0, 0, 1, 1, 1, 2), unlike=None):
    """A random phrase about something with one of `tags`, other than the noun `unlike`."""
    noun = pick([n for n in NOUNS if n.tags & tags and n is not unlike])
    plural = not noun.tags & {"mass", "one"} and chance(0.15 if "place" in noun.tags else 0.45)
    options = [d for d in determiners.split() if fits(d, noun, plural)]
    if not options:
        return noun_phrase(tags, determiners, counts, unlike)
    forms = DETERMINERS[pick(options)].split(",")
    words = [] if "kin" in noun.tags else describe(noun.tags, pick(counts))
    es = join(
        forms[noun.feminine + 2 * plural], noun.es[plural], agree(words, noun.feminine, plural)
    )
    en = join(forms[4 + plural], " and ".join(w.en for w in words), noun.en[plural])
    return Phrase(es, en, 5 if plural else 2, noun.feminine, noun, words)


def subject(tags, pronoun):
    """A noun phrase or, for people, a pronoun, left out where the Spanish verb tells."""
    return Phrase(*pick(SILENT * 4 + SPOKEN)) if pronoun else noun_phrase(tags)


def place(tags):
    where = noun_phrase(tags, DEFINITE, (0, 0, 0, 1))
    tags = where.noun.tags
    links = [("en", word) for word in ("in", "on") if word in tags] * 3
    links += [("cerca de", "near")] * bool(tags & {"building", "outdoors"})
    links += [("detrás de", "behind"), ("delante de", "in front of")] * ("building" in tags)
    es, en = pick(links)
    return where._replace(es=join(es, where.es), en=join(en, where.en))


# %% sentences: each function returns Spanish, English and the combinations in them, or None


def clause(who, base, past, tense, after, no=False, ask=None):
    """English word order, with do-support; `ask` is the question word or empty."""
    third = who.person == 2
    do = "did" if tense == "past" else "does" if third else "do"
    if ask is not None:
        return join(ask, do, who.en, "not" * no, base, after) + "?"
    finite = past if tense == "past" else english_s(base) if third else base
    return join(who.en, f"{do} not {base}" if no else finite, after)


def phrase():
    it = noun_phrase(pick(ADJECTIVES).tags, ANY, (1, 1, 2))
    return it.es, it.en, it.pairs()


def statement(ask=None, clitic=("", "")):
    """Who does what (where, when); with `ask` as a question, with `clitic` about it or them."""
    verb, no = pick(VERBS), chance(0.25)
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
        what = noun_phrase(what_tags, ANY + " bare" * 5 * thing, unlike=who.noun)
        if direct and what.noun.tags & LIVING and verb.base != "have":
            es_link = "a"  # veo a la niña
    if not timeless and (same or chance(0.2)):
        when = pick(TIMES[tense].split(", ")).split("/")
    before, after = (when, ("", "")) if ask is None and chance(0.4) else (("", ""), when)

    form = join("no" * no, clitic[0], verb.es[tense][who.person])
    tail = join(es_link * bool(what.es), what.es, after[0])
    asked = f"¿{join(ask, form, who.es, tail)}?"
    es = join(before[0], who.es, form, tail) if ask is None else asked
    tail = join(en_link, clitic[1], what.en, after[1])
    en = clause(who, verb.base, verb.past, tense, tail, no, ASK.get(ask))
    return es, join(before[1], en), who.pairs(verb.base) + what.pairs()


def question():
    return statement(ask=pick(["", "", *ASK, "qué", "qué"]))


def clitic():
    return statement(clitic=pick(IT))


def gustar():
    """Who likes is the subject in English; the thing liked is the subject in Spanish."""
    tense, no, ask = pick(["present", "past"]), chance(0.25), chance(0.25)
    who, liked = pick(LIKES).split(": ")
    who, what = (
        subject({who}, who == "person" and chance(0.4)),
        noun_phrase(set(liked.split()), DEFINITE),
    )
    form = LIKE[tense][what.person == 5]
    form = join("no" * no, ["me", "te", "le", "nos", "os", "les"][who.person], form)
    whom = join("a" * bool(who.es), who.es)
    if ask and who.noun:
        es = join(form, what.es, whom)  # ¿le gusta el pan al niño?
    else:
        es = join(whom, form, what.es)
    es = f"¿{es}?" if ask else es
    en = clause(who, "like", "liked", tense, what.en, no, "" if ask else None)
    return es, en, who.pairs("like") + what.pairs()


def copula():
    no, ask, tense, head, tags = chance(0.25), chance(0.25), "present", None, {"person"}
    if chance(0.3):
        who = subject(tags, pronoun=True)
        who = who if who.es else who._replace(feminine=chance(0.5))  # estoy cansada
    else:
        head, tense = pick(ADJECTIVES), pick(["present", "past"])
        who = noun_phrase(head.tags, DEFINITE, (0, 0, 0, 1))
        tags = who.noun.tags
    words = describe(tags, 1 if no else pick([1, 1, 2]), head)
    if {word.line for word in words} & {word.line for word in who.words}:
        return None  # the big house is small
    form = FORMS["estar" if words[0].copula == "estar" else "ser"][tense][who.person]
    form, said = join("no" * no, form), agree(words, who.feminine, who.person > 2)
    es = f"¿{join(form, said, who.es)}?" if ask else join(who.es, form, said)
    be, said = BE[tense][who.person], join("not" * no, " and ".join(word.en for word in words))
    en = join(be, who.en, said) + "?" if ask else join(who.en, be, said)
    return es, en, who._replace(words=words).pairs() + who.pairs()


def there():
    tense, no, ask = pick(["present", "past"]), chance(0.25), chance(0.25)
    things, places = (set(tags.split()) for tags in pick(THERE).split("@"))
    what, where = noun_phrase(things, "bare" if no else "a a bare"), place(places)
    es = join("no" * no, {"present": "hay", "past": "había"}[tense], what.es, where.es)
    be, rest = BE[tense][what.person], join("no" * no, what.en, where.en)
    if ask and not no:
        return f"¿{es}?", f"{be} there {rest}?", what.pairs() + where.pairs()
    return es, f"there {be} {rest}", what.pairs() + where.pairs()


def sentence(kind):
    """One random sentence of a kind with its contractions, or None where the dice make no sense."""
    made = kind()
    if made is None or not all(3 <= len(tokens(text)) <= 14 for text in made[:2]):
        return None
    es, en, pairs = made
    if re.search(r"(am|do|did) i\b|^(are|do|did) we\b", en):
        return None  # nobody asks what he knows
    es = re.sub(r"\bla (?=agua\b|águila\b)", "el ", re.sub(r"\buna (?=águila\b)", "un ", es))
    es = re.sub(r"\ba el\b", "al", re.sub(r"\bde el\b", "del", es))
    return re.sub(r"\by (?=i)", "e ", es), re.sub(r"\ba (?=[aeiou])", "an ", en), pairs


# %% files

KINDS = {phrase: 1, copula: 4, there: 2, gustar: 3, clitic: 3, question: 5, statement: 12}  # shares


def tokens(text):
    return re.findall(r"\w+|[^\w\s]", text)


def held_out(pair):
    return random.Random(" ".join(pair)).random() < HELD_OUT


def has_two_adjectives(pair):
    return " and " in pair[1]


def make_pairs():
    """Training and test: two lists of (Spanish, English) in random order."""
    rng.seed(0)
    english, train, pools = {}, [], []
    for kind, share in KINDS.items():
        train_size, test_size = (round(size * share / sum(KINDS.values())) for size in SIZES)
        parts = [], []  # a part of the training file, and twice as much as needed for the test
        while len(parts[0]) < train_size or len(parts[1]) < 2 * test_size:
            es, en, pairs = sentence(kind) or (None, None, ())
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
