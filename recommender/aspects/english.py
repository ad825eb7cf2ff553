"""Aspects of English texts, by rules over part-of-speech tags.

Tags and the polarity of adjectives are those of TextBlob (its pattern tagger and lexicon, which come with the package;
no corpus is downloaded). The rules, each of which reads within one sentence:

1. an adjective before a noun: "a very warm tone" (amod);
2. a noun, a linking verb and an adjective: "the strings are terrible" (nsubj of a predicate); of "the quality of the
   strings is great" the first noun;
3. a pronoun and a verb of perception: "it sounds great" speaks of the sound;
4. "I love the neck", "I don't like the knobs", "I love how the strings feel".

"not" turns praise into blame, and what is not bad is no praise. Wishes, conditions, comparisons and questions ("I wish
it had a better tone") are left out, so is a clause that somebody does not think or say ("I don't think the tone is
good"), and so are nouns that name no side of an item ("a great product").

Source: rules 1 and 2 are those of Qiu, Liu, Bu & Chen 2011 (double propagation) that Hu & Liu 2004 began with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from recommender.aspects.aspect import Aspect
from recommender.aspects.english_words import (
    CONTRASTS,
    DENIALS,
    DOUBTING,
    EXCESS,
    FUNCTION_WORDS,
    LIKING,
    LINKS,
    NO_JUDGEMENT,
    NO_SIDE,
    PERCEIVED,
    PRONOUNS,
    THINKING,
    UNREAL,
    WRITER,
)
from recommender.inputs.texts import tidy

if TYPE_CHECKING:
    from textblob.taggers import PatternTagger

Token = tuple[str, str]  # a word, lower case, and its part of speech
Term = tuple[str, str]  # a term in the singular, and as it is written

# A weaker word describes more than it judges ("high" .16, "small" -.25).
MIN_POLARITY = 0.3
# A longer sentence is a list or lacks its full stops: its tags are guesses.
MAX_WORDS = 60
# Of the words of a text so many have to be English function words, where it has enough words to tell.
ENGLISH_SHARE, ENOUGH_WORDS = 0.15, 8

_CLAUSE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[.!?])(?=[A-Z])|\s+[-–—*•]+\s+|\.{2,}|[:()\[\]]")
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_PREPOSITIONS = frozenset(("of", "in", "on", "for", "with", "to", "from", "at", "by", "like"))
_OF_NOUNS = frozenset(("DT", "PRP$", "JJ", "JJS", "CD", "NN", "NNS", "NNP", ","))
_NOT = re.compile(r"(?i)n['’]t\b")


def read_english(text: str) -> list[Aspect]:
    """The aspects of one text; none where it is not English."""
    plain = tidy(text).replace("’", "'")
    if not is_english(plain):
        return []
    found: list[Aspect] = []
    for clause in _CLAUSE_END.split(plain):
        if clause and not clause.endswith("?") and _may_judge(clause):
            found += _of_clause(_tags(clause))
    return found


def is_english(text: str) -> bool:
    """Whether a text is written in English, or too short to tell and in Latin letters."""
    letters = [letter for letter in text if letter.isalpha()]
    if not letters or sum(letter.isascii() for letter in letters) < 0.9 * len(letters):
        return False
    words = [word.lower() for word in _WORD.findall(text)]
    return len(words) < ENOUGH_WORDS or sum(word in FUNCTION_WORDS for word in words) >= ENGLISH_SHARE * len(words)


def polarity_of(word: str) -> float:
    """Of an adjective, from -1 to 1; 0 where it is no judgement or not known."""
    if word in NO_JUDGEMENT:
        return 0.0
    senses = _lexicon().get(word, {})
    polarity = float(senses["JJ"][0]) if "JJ" in senses else 0.0
    return polarity if abs(polarity) >= MIN_POLARITY else 0.0


def _of_clause(tokens: Sequence[Token]) -> list[Aspect]:
    found: list[Aspect] = []
    unreal = next((place for place in range(len(tokens)) if _is_unreal(tokens, place)), len(tokens))
    for start, end in _noun_runs(tokens[:unreal]):
        term = _term(tokens[start:end])
        if term is not None:
            found += _before(tokens, start, term) or _loved(tokens, start, term) or _behind(tokens, start, end, term)
    found += _perceived(tokens[:unreal])
    if unreal == len(tokens) or tokens[unreal][0] in UNREAL:
        return found
    return found + _of_clause(tokens[_end_of_thought(tokens, unreal) :])


def _is_unreal(tokens: Sequence[Token], place: int) -> bool:
    """Whether what follows a word is not said to be so: "I wish it had", "I don't think that", "I doubt that"."""
    word, before = tokens[place][0], _just_before(tokens, place)
    is_writers, denied = not WRITER.isdisjoint(before), not DENIALS.isdisjoint(before)
    if word in DOUBTING:
        return is_writers and not denied
    # "It does not feel good" denies what it says itself.
    return word in UNREAL or (word in THINKING and denied and (is_writers or word not in PERCEIVED))


def _just_before(tokens: Sequence[Token], place: int) -> list[str]:
    """The three words before a place, or as many as follow the last comma there."""
    before = [word for word, _ in tokens[max(0, place - 3) : place]]
    return before[len(before) - before[::-1].index(",") :] if "," in before else before


def _end_of_thought(tokens: Sequence[Token], place: int) -> int:
    """Where the clause ends that somebody does not think or say, and another may begin; `place` is of the verb."""
    start = place + 1 + (place + 1 < len(tokens) and tokens[place + 1][0] == "that")
    for end in range(start, len(tokens)):
        word, thought, rest = tokens[end][0], tokens[start:end], tokens[end + 1 :]
        if word in CONTRASTS:
            return end + 1
        if word not in (",", "and"):
            continue
        if not thought and (start > place + 1 or not WRITER.isdisjoint(_just_before(tokens, place))):
            break  # "I don't think, for the price, the tone is good"
        if not _joins(word, thought, rest):
            return end + 1
    return len(tokens)


def _joins(word: str, thought: Sequence[Token], rest: Sequence[Token]) -> bool:
    """Whether a comma or an "and" goes on with what is not thought: "the sound and the strings are good"."""
    if rest and rest[0][0] in WRITER:
        return False
    verb, tag = next((token for token in rest if token[1].startswith(("VB", "MD"))), ("", ""))
    if word == "and" and (not verb or any(said in LINKS for said, _ in thought)):
        return True
    names_side = bool(thought) and all(tag in _OF_NOUNS for _, tag in thought) and _term(thought) is not None
    # Of nouns that are subject together the verb is no singular.
    return names_side and not (tag == "VBZ" or verb == "was" or (rest and rest[0][1] == "PRP"))


def _noun_runs(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Where nouns stand side by side, from and behind."""
    runs: list[tuple[int, int]] = []
    for place, (word, tag) in enumerate(tokens):
        if not tag.startswith("NN") or (word in PERCEIVED and _links(tokens, place)):
            continue
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _links(tokens: Sequence[Token], place: int) -> bool:
    """Whether a word that may be noun or verb stands before an adjective, as a linking verb does."""
    after = [token for token in tokens[place + 1 : place + 4] if not token[1].startswith("RB")]
    if not after or after[0][1] not in ("JJ", "JJS"):
        return False
    return place > 0 and tokens[place - 1][1] not in ("DT", "JJ", "PRP$")


def _term(run: Sequence[Token]) -> Term | None:
    """The name of what is spoken of: the last noun, and the one before it; None where it is no side of an item."""
    nouns = [_singular(word, tag) for word, tag in run if tag in ("NN", "NNS")]
    if not nouns or run[-1][1] not in ("NN", "NNS") or nouns[-1] in NO_SIDE or run[-1][0] in NO_SIDE:
        return None
    kept = nouns[-2:] if len(nouns) > 1 and nouns[-2] not in NO_SIDE else nouns[-1:]
    if any(len(noun) < 3 or not noun.isalpha() for noun in kept):
        return None
    # What judges is no noun here, whatever its tag; "sound" is both.
    if polarity_of(nouns[-1]) and nouns[-1] not in PERCEIVED:
        return None
    return " ".join(kept), " ".join([word for word, tag in run if tag in ("NN", "NNS")][-len(kept) :])


def _before(tokens: Sequence[Token], start: int, term: Term) -> list[Aspect]:
    """Rule 1: adjectives before the noun; the one that judges most."""
    if start == 0 or not _is_adjective(tokens[start - 1]):
        return []
    place = start
    while place > 0 and (_is_adjective(tokens[place - 1]) or tokens[place - 1][0] in (",", "and", "&")):
        place -= 1
    words = [token[0] for token in tokens[place:start] if _is_adjective(token)]
    return _judged(tokens, place, term, words)


def _behind(tokens: Sequence[Token], start: int, end: int, term: Term) -> list[Aspect]:
    """Rule 2: a linking verb and an adjective behind the noun, if it is what the clause is about."""
    place = _skip(tokens, end, ("RB",))
    if place >= len(tokens) or tokens[place][0] not in LINKS:
        return []
    place = _skip(tokens, place + 1, ("RB",))
    if place >= len(tokens) or not _is_adjective(tokens[place]):
        return []
    if place + 1 < len(tokens) and tokens[place + 1][1].startswith(("NN", "JJ")):
        return []
    subject = _subject(tokens, start, term)
    return [] if subject is None else _judged(tokens, place, subject, [tokens[place][0]])


def _subject(tokens: Sequence[Token], start: int, term: Term) -> Term | None:
    """What a clause is about whose verb follows a noun: "the quality of the strings is" is about the quality."""
    place = start - 1
    while place >= 0 and tokens[place][1] in ("DT", "PRP$", "JJ", "CD"):
        place -= 1
    if place < 0 or tokens[place][1] not in ("IN", "TO"):
        return term
    if tokens[place][0] != "of" or place == 0 or not tokens[place - 1][1].startswith("NN"):
        return None if tokens[place][0] in _PREPOSITIONS else term
    end = place
    while place > 0 and tokens[place - 1][1].startswith("NN"):
        place -= 1
    return _term(tokens[place:end])


def _perceived(tokens: Sequence[Token]) -> list[Aspect]:
    """Rule 3: "it sounds great"."""
    found: list[Aspect] = []
    for place, (word, _) in enumerate(tokens[:-1]):
        if word not in PRONOUNS and not (word == "and" and found):
            continue
        verb = _skip(tokens, place + 1, ("RB",))
        if verb >= len(tokens) or tokens[verb][0] not in PERCEIVED:
            continue
        said = _skip(tokens, verb + 1, ("RB",))
        if said < len(tokens) and _is_adjective(tokens[said]):
            follows_noun = said + 1 < len(tokens) and tokens[said + 1][1].startswith("NN")
            found += [] if follows_noun else _judged(tokens, said, (PERCEIVED[tokens[verb][0]],) * 2, [tokens[said][0]])
    return found


def _loved(tokens: Sequence[Token], start: int, term: Term) -> list[Aspect]:
    """Rule 4: "I love the neck"."""
    place = start
    while place > 0 and (tokens[place - 1][1] in ("DT", "PRP$", "JJ") or tokens[place - 1][0] in ("how", "that")):
        place -= 1
    if place == start or place == 0 or tokens[place - 1][0] not in LIKING:
        return []
    verb = place - 1
    place = verb
    while place > 0 and tokens[place - 1][1] in ("RB", "VBP", "VBD", "MD"):
        place -= 1
    if place == 0 or tokens[place - 1][0] not in WRITER:
        return []
    opinion, polarity = LIKING[tokens[verb][0]]
    denied = any(word in DENIALS for word, _ in tokens[place:verb])
    if not denied:
        return [Aspect(term[0], opinion, polarity, term[1])]
    return [Aspect(term[0], f"not {opinion}", -polarity, term[1])] if polarity > 0 else []


def _judged(tokens: Sequence[Token], place: int, term: Term, words: Sequence[str]) -> list[Aspect]:
    """What these adjectives make of a term; `place` is where the first one stands."""
    judging = [word for word in words if polarity_of(word)]
    if not judging:
        return []
    opinion = max(judging, key=lambda word: abs(polarity_of(word)))
    polarity, before = polarity_of(opinion), [word for word, _ in tokens[max(0, place - 3) : place]]
    if any(word in EXCESS for word in before):
        return []
    if not any(word in DENIALS for word in before):
        return [Aspect(term[0], opinion, polarity, term[1])]
    if "only" in before or polarity < 0:
        return []
    return [Aspect(term[0], f"not {opinion}", -polarity, term[1])]


def _is_adjective(token: Token) -> bool:
    word, tag = token
    if tag in ("JJ", "JJS"):
        return True
    # "amazing", "disappointed": the tagger may take them for verbs or nouns.
    return tag in ("VBG", "VBN", "VBD", "NN") and word.endswith(("ing", "ed", "ful")) and bool(polarity_of(word))


def _skip(tokens: Sequence[Token], place: int, tags: tuple[str, ...]) -> int:
    while place < len(tokens) and (tokens[place][1] in tags and not polarity_of(tokens[place][0])):
        place += 1
    return place


def _may_judge(clause: str) -> bool:
    """Whether a word of it can judge: most clauses need no tags."""
    words = [word.lower() for word in _WORD.findall(clause)]
    return 1 < len(words) <= MAX_WORDS and any(word in LIKING or polarity_of(word) for word in words)


def _tags(clause: str) -> list[Token]:
    """The words of a clause, lower case, with their parts of speech."""
    said = _NOT.sub(" not", clause)
    first, _, rest = said.strip().partition(" ")
    if said.isupper():
        said = said.lower()
    elif not first.startswith("I"):
        said = f"{first.lower()} {rest}"
    tagged: list[tuple[str, str]] = _tagger().tag(said, tokenize=True)
    return [(word.lower(), tag) for word, tag in tagged]


def _singular(word: str, tag: str) -> str:
    if tag != "NNS":
        return word
    from textblob.en.inflect import singularize

    return str(singularize(word))


@cache
def _tagger() -> PatternTagger:
    from textblob.taggers import PatternTagger

    return PatternTagger()


@cache
def _lexicon() -> dict[str, dict[str, Any]]:
    """From a word to its (polarity, subjectivity, intensity) as each part of speech."""
    from textblob.en import sentiment

    sentiment.load()
    return dict(sentiment)
