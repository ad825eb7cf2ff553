"""How good written text is: overlap with what people wrote, variety, and how much is copied from training.

Words are runs of letters, digits and apostrophes, lower case; punctuation counts in none of the measures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set

import numpy as np

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Scripts without spaces put none behind a sentence either.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])\s+|(?<=[。！？])\s*(?![”’」』）。！？\s])|(?<=[。！？][”’」』）])\s*(?![”’」』）。！？\s])"
)

# What BLEU takes a count of zero n-grams for.
ABSENT_COUNT = 0.1
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
    >>> sentences("很好。「不错！」再买")
    ['很好。', '「不错！」', '再买']
    """
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n tokens, in order, repeats kept; none where there are fewer than n tokens."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


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
