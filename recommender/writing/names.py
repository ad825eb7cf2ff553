"""Names and contacts in training texts: what one reviewer alone names, no writer may learn to say.

A name is told by how it is written, so only in scripts with capital letters. In a sentence that is not in title case, a
capitalised word that does not open it may be a name, and anywhere one that hardly anybody writes small. It counts as
somebody's where a single reviewer uses it, or the pair of such words, and no title, brand or category has it. Where
nouns have capitals, as in German, a single word tells nothing, and only pairs count: of first and last name, or of what
somebody is called by ("Herr", "Tochter") and a name. Whether it is so is told of each review, by how many capitals
there are in all reviews that its words stand in. The sentence of a name is not learned from: a model cannot say what it
was never shown, and nothing that could be looked up is kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.metrics.texts import pieces, sentences, words
from recommender.writing.contacts import mask_contacts
from recommender.writing.examples import WritingExample

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_POSSESSIVE = re.compile(r"['’]s$")
# Of a sentence's words the share above which capitals are its style, as in a heading.
TITLE_CASE = 0.6
# Of the words inside sentences: in English .05 have a capital, in German .17 and more.
NOUNS_HAVE_CAPITALS = 0.12
SEVERAL = ""  # stands for the reviewers of a word that more than one uses

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Sentence:
    """A sentence in words.

    Attributes:
        text: With the white space before it.
        spoken: Lower case, without possessive endings.
        capitals: Places of those that begin with a capital letter.
        is_title: Capitals say nothing in it, as most words have one.
    """

    text: str
    spoken: tuple[str, ...]
    capitals: tuple[int, ...]
    is_title: bool

    @classmethod
    def of(cls, text: str) -> Sentence:
        """Read a sentence."""
        found = _WORD.findall(text)
        # "I" and "A" are no names, and initials none by themselves.
        capitals = tuple(place for place, word in enumerate(found) if word[0].isupper() and len(word) > 1)
        spoken = tuple(_POSSESSIVE.sub("", word).lower() for word in found)
        return cls(text, spoken, capitals, len(found) > 2 and len(capitals) > TITLE_CASE * len(found))

    def names(self, ordinary: frozenset[str], in_pairs: bool) -> Iterator[Gram]:
        """The words that may be names, and the pairs of them.

        Args:
            ordinary: Words that several reviewers write small.
            in_pairs: Only pairs, as nouns have capitals too.
        """
        there = set(self.capitals)
        for place in self.capitals:
            word = self.spoken[place]
            if word not in ordinary and not in_pairs:
                yield (word,)
            if place + 1 in there:
                other = self.spoken[place + 1]
                is_meant = not self.is_title
                if (word not in ordinary or (is_meant and place > 0)) and (is_meant or other not in ordinary):
                    yield (word, other)


@dataclass(frozen=True)
class Impersonal:
    """Reviews without the sentences that hold a contact, or a name of one reviewer's alone.

    Attributes:
        reviews: Without those that were nothing else.
        n_lost: Sentences that are left out.
        n_read: Sentences that there were.
    """

    reviews: list[WritingExample]
    n_lost: int
    n_read: int


def without_personal_data(reviews: Sequence[WritingExample], catalogue: Catalogue) -> Impersonal:
    """Leave out what one reviewer alone names."""
    read = [(review.user_id, [Sentence.of(text) for text in pieces(review.text)]) for review in reviews]
    ordinary = _ordinary(read)
    in_pairs = _nouns_have_capitals(read, ordinary)
    known = _words_of(catalogue)
    found = (
        gram for (_, said), pairs in zip(read, in_pairs, strict=True) for one in said
        for gram in one.names(ordinary, pairs)
    )  # fmt: skip
    names = {gram for gram in found if not known.issuperset(gram)}
    own = _of_one_reviewer(read, names)
    kept, n_lost = [], 0
    for review, (_, said), pairs in zip(reviews, read, in_pairs, strict=True):
        # Of the whole text: what makes a number one to call may stand in the sentence before, and part of it behind.
        without_contacts = set(sentences(mask_contacts(review.text)))
        left = [
            one.text
            for one in said
            if one.text.strip() in without_contacts and own.isdisjoint(one.names(ordinary, pairs))
        ]
        n_lost += len(said) - len(left)
        if left:
            kept.append(review if len(left) == len(said) else replace(review, text="".join(left).strip()))
    return Impersonal(kept, n_lost, sum(len(said) for _, said in read))


Read = Sequence[tuple[str, list[Sentence]]]


def _ordinary(read: Read) -> frozenset[str]:
    """The words that several reviewers write without a capital."""
    small: dict[str, str] = {}
    for user_id, said in read:
        for one in said:
            capital = set(one.capitals)
            for place, word in enumerate(one.spoken):
                if place not in capital and small.setdefault(word, user_id) != user_id:
                    small[word] = SEVERAL
    return frozenset(word for word, who in small.items() if who == SEVERAL)


def _nouns_have_capitals(read: Read, ordinary: frozenset[str]) -> list[bool]:
    """Of each review, whether it is in a language whose nouns have capitals.

    Its ordinary words tell it: over all reviews in which each of them stands, the share of words with a capital among
    those that open no sentence. A review that has no such word is taken to be like all reviews together.
    """
    inside = [_capitals_inside(said) for _, said in read]
    beside: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for (_, said), (n_capitals, n_inside) in zip(read, inside, strict=True):
        for word in _small_words(said) & ordinary:
            beside[word][0] += n_capitals
            beside[word][1] += n_inside
    anyone = [(sum(n_capitals for n_capitals, _ in inside), sum(n_inside for _, n_inside in inside))]
    found = []
    for _, said in read:
        counts = [beside[word] for word in _small_words(said) & ordinary] or anyone
        n_capitals, n_inside = sum(count[0] for count in counts), sum(count[1] for count in counts)
        found.append(n_capitals > NOUNS_HAVE_CAPITALS * n_inside)
    return found


def _small_words(said: Sequence[Sentence]) -> set[str]:
    """The words that stand there without a capital."""
    return {word for one in said for place, word in enumerate(one.spoken) if place not in one.capitals}


def _capitals_inside(said: Sequence[Sentence]) -> tuple[int, int]:
    """Of the words that open no sentence, how many have a capital, and how many there are, but for title case."""
    plain = [one for one in said if not one.is_title and one.spoken]
    return sum(place > 0 for one in plain for place in one.capitals), sum(len(one.spoken) - 1 for one in plain)


def _of_one_reviewer(read: Read, names: set[Gram]) -> set[Gram]:
    """Those names that a single reviewer uses, however anybody writes them."""
    first = {gram[0] for gram in names}
    who: dict[Gram, str] = {}
    for user_id, said in read:
        for one in said:
            for place, word in enumerate(one.spoken):
                if word not in first:
                    continue
                for gram in (one.spoken[place : place + 1], one.spoken[place : place + 2]):
                    if gram in names and who.setdefault(gram, user_id) != user_id:
                        who[gram] = SEVERAL
    return {gram for gram, user_id in who.items() if user_id != SEVERAL}


def _words_of(catalogue: Catalogue) -> set[str]:
    """The words of titles, brands and categories."""
    columns = (schema.TITLE, schema.BRAND, schema.CATEGORY)
    texts: Iterable[str | None] = (text for name in columns for text in catalogue.table.column(name).to_pylist())
    return {_POSSESSIVE.sub("", word) for text in texts if text for word in words(text)}
