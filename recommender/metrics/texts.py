"""How good written text is: overlap with what people wrote, variety, and how much is copied from training.

Words are runs of letters, digits and apostrophes, lower case; each character is one in scripts that put no space
between words, as sacreBLEU has it for Chinese. Punctuation counts in none of the measures.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from itertools import accumulate

import numpy as np
import regex

# Of the scripts that put no space between words a character with its marks; of the others a word.
_NO_SPACES = r"[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]"
_CHARACTER = rf"[{_NO_SPACES}&&[\p{{L}}\p{{N}}]]\p{{M}}*+"
_WITHIN = rf"[[\p{{L}}\p{{M}}\p{{N}}]--{_NO_SPACES}]"
# What joins or parts letters, in Sinhala and Persian words for one, is seen only as the letters' shape.
_SPACED = rf"[[\p{{L}}\p{{N}}]--{_NO_SPACES}]{_WITHIN}*+(?:[\u200c\u200d]++{_WITHIN}++)*+"
SPACELESS = regex.compile(_CHARACTER, regex.V1)
_WORD = regex.compile(rf"{_SPACED}(?:['’]{_SPACED})*+|{_CHARACTER}", regex.V1)
# The same words, found in a quarter of the time, where all letters are Latin and none has a mark of its own.
_LATIN = re.compile(r"[\x00-\xff\u2010-\u2027]*")
_LATIN_LETTERS = "[a-z0-9ª²³µ¹º¼½¾ß-öø-ÿ]+"  # lower case, with digits
_LATIN_WORD = re.compile(f"{_LATIN_LETTERS}(?:['’]{_LATIN_LETTERS})*")
_APOSTROPHE = re.compile("['’]")
# Scripts without spaces put none behind a sentence either.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])\s+|(?<=[。！？])\s*(?![”’」』）。！？\s])|(?<=[。！？][”’」』）])\s*(?![”’」』）。！？\s])"
)

# What BLEU takes a count of zero n-grams for.
ABSENT_COUNT = 0.1
COPIED_LENGTH = 8
# A character's share of a word: Chinese words have one or two, Thai ones more.
_OF_A_WORD = 0.5


def words(text: str) -> list[str]:
    """The words of a text, lower case.

    >>> words("It's GREAT, really (5/5)!")
    ["it's", 'great', 'really', '5', '5']
    >>> words("很好, गिटार")
    ['很', '好', 'गिटार']
    """
    if _LATIN.fullmatch(text):
        return _LATIN_WORD.findall(text.lower())
    return [found.group().lower() for found in _spoken(text)]


def index_terms(text: str) -> list[str]:
    """The words of a text as an index has them: parted at apostrophes too, without English stop words.

    >>> index_terms("The children's guitar, गिटार")
    ['children', 's', 'guitar', 'गिटार']
    """
    from bm25s.stopwords import STOPWORDS_EN  # only an index needs it

    return [word for word in words(_APOSTROPHE.sub(" ", text)) if word not in STOPWORDS_EN]


def has_words(text: str) -> bool:
    """Whether a text has any word.

    >>> has_words("OK"), has_words("好"), has_words("?! ❤️")
    (True, True, False)
    """
    return _WORD.search(text) is not None


def _spoken(text: str) -> list[regex.Match[str]]:
    """Where the words of a text are, in its composed form (NFC)."""
    return list(_WORD.finditer(unicodedata.normalize("NFC", text)))


def sentences(text: str) -> list[str]:
    """Cut a text behind full stops, exclamation and question marks.

    >>> sentences("Good. Very good!  Buy")
    ['Good.', 'Very good!', 'Buy']
    >>> sentences("很好。「不错！」再买")
    ['很好。', '「不错！」', '再买']
    """
    return [piece.strip() for piece in pieces(text)]


def pieces(text: str) -> list[str]:
    """The sentences of a text, each with the white space before it: joined they are the text.

    >>> pieces("Good. Very good!  Buy")
    ['Good.', ' Very good!', '  Buy']
    """
    text = text.strip()
    ends = [0, *(end.start() for end in _SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends) if start < end]


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n tokens, in order, repeats kept; none where there are fewer than n tokens."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def runs(text: str, n: int = COPIED_LENGTH) -> list[tuple[str, ...]]:
    """From each word of a text on the shortest run that is n words long, repeats kept; none where the text is shorter.

    Where a script puts no space between words, two characters are as long as a word.

    >>> runs("a b c 很好", 2)
    [('a', 'b'), ('b', 'c'), ('c', '很', '好')]
    """
    spoken = words(text)
    return [tuple(spoken[start:end]) for start, end in _run_bounds(spoken, n)]


def before_a_run(text: str, n: int = COPIED_LENGTH) -> str:
    """A text up to the word that would make its first words a run.

    >>> before_a_run("It's good - very good", 3)
    "It's good"
    """
    spoken = _spoken(text)
    bounds = _run_bounds([found.group() for found in spoken], n)
    if not bounds:
        return text
    _, end = bounds[0]
    return spoken[0].string[: spoken[end - 2].end()] if end > 1 else ""


def _run_bounds(spoken: Sequence[str], n: int) -> list[tuple[int, int]]:
    """Of each run its first word, and the one behind it."""
    lengths = [1.0 if word.isascii() or not SPACELESS.match(word) else _OF_A_WORD for word in spoken]
    ends = np.array([0.0, *accumulate(lengths)])
    found = np.searchsorted(ends, ends[ends <= ends[-1] - n] + n)
    return list(enumerate(found.tolist()))


def bleu(generated: Sequence[str], references: Sequence[str], n: int = 4) -> float:
    """Corpus BLEU-n in percent, one reference each, by sacreBLEU over our own words.

    exp(min(0, 1 - r/c)) * (p1 ... pn)^(1/n): c generated words, r reference words, pi the share of i-grams that the
    references have, counted over the whole corpus. A count of zero is taken as 0.1; without any shared word, or any
    text of n words, it is 0.

    Source: Papineni et al. 2002; Post 2018 (sacreBLEU); the smoothing is Chen & Cherry 2014, method 1.
    """
    from sacrebleu.metrics.bleu import BLEU  # a fifth of a second to import, and only evaluation needs it

    _check_pairs(generated, references)
    if not generated:
        return 0.0
    ours, theirs = ([" ".join(words(text)) for text in texts] for texts in (generated, references))
    measure = BLEU(tokenize="none", force=True, smooth_method="floor", smooth_value=ABSENT_COUNT, max_ngram_order=n)
    return float(measure.corpus_score(ours, [theirs]).score)


# ROUGE is our own: `rouge-score` 0.1.2 gives the same figures on 4,000 pairs of reviews (to 3e-14), but it imports nltk
# and with it scipy and scikit-learn (2.2 s and 190 MB here), takes 2.5 times as long for ROUGE-L, and has had no
# release since 2022.
def rouge_n(generated: Sequence[str], references: Sequence[str], n: int) -> float:
    """Mean F1 of shared n-grams (with multiplicity) in percent: 2 * shared / (generated + reference).

    Source: Lin 2004.
    """
    _check_pairs(generated, references)
    grams = (
        (Counter(ngrams(ours, n)), Counter(ngrams(theirs, n))) for ours, theirs in _word_pairs(generated, references)
    )
    return _mean_f1(((ours & theirs).total(), ours.total(), theirs.total()) for ours, theirs in grams)


def rouge_l(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean F1 of the longest common subsequence of words, in percent.

    Source: Lin 2004.
    """
    _check_pairs(generated, references)
    return _mean_f1(
        (longest_common_subsequence(ours, theirs), len(ours), len(theirs))
        for ours, theirs in _word_pairs(generated, references)
    )


def longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Its length, by dynamic programming over one row at a time: O(len(left) * len(right)).

    >>> longest_common_subsequence("a b c d".split(), "b x d".split())
    2
    """
    row = [0] * (len(right) + 1)
    for token in left:
        diagonal = 0
        for place, other in enumerate(right, start=1):
            above = row[place]
            row[place] = diagonal + 1 if token == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def bert_score(generated: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> float:
    """Mean F1 of token vectors in percent: each token counts its greatest cosine with one of the other text.

    F1 of the means over the generated tokens (precision) and over the reference's (recall); not weighted by rarity,
    not rescaled: compare between writers, and with nothing that another encoder gave. 0 where a text has no token.

    Args:
        generated: Of each text its tokens' vectors, of length 1. Each of shape (T, D).
        references: Likewise.
    Source: Zhang et al. 2020 (BERTScore).
    """
    scores = []
    for ours, theirs in zip(generated, references, strict=True):
        if not len(ours) or not len(theirs):
            scores.append(0.0)
            continue
        cosines = ours @ theirs.T  # (T, U)
        precision, recall = float(cosines.max(axis=1).mean()), float(cosines.max(axis=0).mean())
        both = precision + recall
        scores.append(200 * precision * recall / both if both > 0 else 0.0)
    return float(np.mean(scores)) if scores else 0.0


def distinct_n(generated: Sequence[str], n: int) -> float:
    """Different n-grams / all n-grams, over all texts together; 0 where there are none.

    Source: Li et al. 2016.
    """
    grams = [gram for text in generated for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def unique_sentence_ratio(generated: Sequence[str]) -> float:
    """Different sentences / all sentences, over all texts together, compared by their words; 0 where there are none.

    Source: Li, Zhang & Chen 2020 (NETE), there per text.
    """
    said = [tuple(words(sentence)) for text in generated for sentence in sentences(text)]
    said = [sentence for sentence in said if sentence]
    return len(set(said)) / len(said) if said else 0.0


def feature_matching_ratio(generated: Sequence[Set[str]], expected: Sequence[Set[str]]) -> float:
    """Share of the features of the real texts that the text written in their place names too.

    With one feature per real text, as in the source, it is the share of texts that name theirs.

    Args:
        generated: Of each text the features that it names.
        expected: Of each real text the features that it names.
    Returns:
        0 where no real text names any.
    Source: Li, Zhang & Chen 2020 (NETE).
    """
    matched = sum(len(ours & theirs) for ours, theirs in zip(generated, expected, strict=True))
    n_expected = sum(map(len, expected))
    return matched / n_expected if n_expected else 0.0


def feature_coverage_ratio(generated: Sequence[Set[str]], features: Set[str]) -> float:
    """Share of the features that at least one of the texts names; 0 where there are no features.

    Args:
        generated: Of each text the features that it names.
        features: Those that could be named.
    Source: Li, Zhang & Chen 2020 (NETE).
    """
    named = set().union(*generated) & features
    return len(named) / len(features) if features else 0.0


def copied_share(generated: Sequence[str], training: Iterable[str], n: int = COPIED_LENGTH) -> float:
    """Share of the generated runs (repeats kept) that stand in a training text; 0 where none is n words long."""
    written = [run for text in generated for run in runs(text, n)]
    if not written:
        return 0.0
    wanted = set(written)
    seen: set[tuple[str, ...]] = set()
    for text in training:
        seen.update(wanted.intersection(runs(text, n)))
    return sum(run in seen for run in written) / len(written)


def _check_pairs(generated: Sequence[str], references: Sequence[str]) -> None:
    if len(generated) != len(references):
        raise ValueError(f"generated has {len(generated)} texts, references has {len(references)}")


def _word_pairs(generated: Sequence[str], references: Sequence[str]) -> Iterable[tuple[list[str], list[str]]]:
    return ((words(ours), words(theirs)) for ours, theirs in zip(generated, references, strict=True))


def _mean_f1(counts: Iterable[tuple[int, int, int]]) -> float:
    """Mean of 2 * shared / (ours + theirs) in percent, over (shared, ours, theirs); 0 where both are empty."""
    scores = [200 * shared / (ours + theirs) if ours + theirs else 0.0 for shared, ours, theirs in counts]
    return float(np.mean(scores)) if scores else 0.0
