"""How good written text is: overlap with what people wrote, variety, and how much is copied from training.

Words are runs of letters, digits and apostrophes, lower case; punctuation counts in none of the measures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

BLEU_ORDER = 4
COPIED_LENGTH = 8


def words(text: str) -> list[str]:
    """The words of a text, lower case.

    >>> words("It's GREAT, really (5/5)!")
    ["it's", 'great', 'really', '5', '5']
    """
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Cut a text behind full stops, exclamation and question marks.

    >>> sentences("Good. Very good!  Buy")
    ['Good.', 'Very good!', 'Buy']
    """
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n tokens, in order, repeats kept; none where there are fewer than n tokens."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def bleu_4(generated: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 in percent, one reference each: exp(min(0, 1 - r/c)) * (p1 p2 p3 p4)^(1/4), pn for n-grams.

    Counts are of the whole corpus (c generated words, r reference words), clipped by the reference's own count; a
    count of zero is taken as 0.1 (smoothing method 1). The figures are those of nltk's corpus_bleu.

    Source: Papineni et al. 2002; the smoothing is Chen & Cherry 2014, method 1.
    """
    _check_pairs(generated, references)
    pairs = list(_word_pairs(generated, references))
    n_generated, n_reference = sum(len(ours) for ours, _ in pairs), sum(len(theirs) for _, theirs in pairs)
    precisions = [_clipped_precision(pairs, n) for n in range(1, BLEU_ORDER + 1)]
    if not all(precisions):
        return 0.0
    brevity = min(0.0, 1 - n_reference / n_generated)
    return 100 * math.exp(brevity + sum(math.log(precision) for precision in precisions) / BLEU_ORDER)


def _clipped_precision(pairs: Iterable[tuple[list[str], list[str]]], n: int) -> float:
    """Share of the generated n-grams that the reference has; 0.1 of one where none is; 0 where no word is."""
    shared = total = 0
    for ours, theirs in pairs:
        grams = Counter(ngrams(ours, n))
        shared += sum((grams & Counter(ngrams(theirs, n))).values())
        total += grams.total()
    if not total or (n == 1 and not shared):
        return 0.0
    return max(shared, 0.1) / total


def rouge_1(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean F1 of shared words (with multiplicity) in percent: 2 * shared / (generated + reference).

    Source: Lin 2004.
    """
    _check_pairs(generated, references)
    return _mean_f1(
        (sum((Counter(ours) & Counter(theirs)).values()), len(ours), len(theirs))
        for ours, theirs in _word_pairs(generated, references)
    )


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


def copied_share(generated: Sequence[str], training: Iterable[str], n: int = COPIED_LENGTH) -> float:
    """Share of the generated n-grams (repeats kept) that stand in a training text; 0 where none is n words long."""
    grams = [gram for text in generated for gram in ngrams(words(text), n)]
    if not grams:
        return 0.0
    wanted = set(grams)
    seen: set[tuple[str, ...]] = set()
    for text in training:
        seen.update(wanted.intersection(ngrams(words(text), n)))
    return sum(gram in seen for gram in grams) / len(grams)


def _check_pairs(generated: Sequence[str], references: Sequence[str]) -> None:
    if len(generated) != len(references):
        raise ValueError(f"generated has {len(generated)} texts, references has {len(references)}")


def _word_pairs(generated: Sequence[str], references: Sequence[str]) -> Iterable[tuple[list[str], list[str]]]:
    return ((words(ours), words(theirs)) for ours, theirs in zip(generated, references, strict=True))


def _mean_f1(counts: Iterable[tuple[int, int, int]]) -> float:
    """Mean of 2 * shared / (ours + theirs) in percent, over (shared, ours, theirs); 0 where both are empty."""
    scores = [200 * shared / (ours + theirs) if ours + theirs else 0.0 for shared, ours, theirs in counts]
    return float(np.mean(scores)) if scores else 0.0
