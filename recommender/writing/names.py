"""Names and contacts in training texts: what one reviewer alone names, no writer may learn to say.

A name is told by how it is written, so only in scripts with capital letters. In a sentence that is not in title case, a
capitalised word that does not open it may be a name, and anywhere one that hardly anybody writes small. It counts as
somebody's where a single reviewer uses it, or the pair of such words, and no title, brand or category has it. Its
sentence is not learned from: a model cannot say what it was never shown, and nothing that could be looked up is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.metrics.texts import sentences, words
from recommender.writing.contacts import mask_contacts
from recommender.writing.examples import WritingExample

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_POSSESSIVE = re.compile(r"['’]s$")
# Of a sentence's words the share above which capitals are its style, as in a heading.
TITLE_CASE = 0.6
SEVERAL = ""  # stands for the reviewers of a word that more than one uses

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Sentence:
    """A sentence in words.

    Attributes:
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

    def names(self, ordinary: frozenset[str]) -> Iterator[Gram]:
        """The words that may be names, and the pairs of them.

        Args:
            ordinary: Words that several reviewers write small.
        """
        there = set(self.capitals)
        for place in self.capitals:
            word = self.spoken[place]
            if word not in ordinary:
                yield (word,)
            if place + 1 in there:
                other = self.spoken[place + 1]
                is_meant = not self.is_title
                if (word not in ordinary or (is_meant and place > 0)) and (is_meant or other not in ordinary):
                    yield (word, other)


def without_personal_data(reviews: Sequence[WritingExample], catalogue: Catalogue) -> tuple[list[WritingExample], int]:
    """The reviews without the sentences that hold a contact, or a name of one reviewer's alone.

    A review that is nothing else is left out.

    Returns:
        The reviews, and how many sentences they have lost.
    """
    read = [(review.user_id, [Sentence.of(text) for text in sentences(review.text)]) for review in reviews]
    ordinary = _ordinary(read)
    known = _words_of(catalogue)
    names = {gram for _, said in read for one in said for gram in one.names(ordinary) if not known.issuperset(gram)}
    own = _of_one_reviewer(read, names)
    kept, n_lost = [], 0
    for review, (_, said) in zip(reviews, read, strict=True):
        left = [one.text for one in said if own.isdisjoint(one.names(ordinary)) and mask_contacts(one.text) == one.text]
        n_lost += len(said) - len(left)
        if left:
            kept.append(review if len(left) == len(said) else replace(review, text=" ".join(left)))
    return kept, n_lost


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
