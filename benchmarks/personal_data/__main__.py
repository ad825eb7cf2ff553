"""Recall and precision of the mask by kind and by language, beside plain Presidio, on a corpus made here.

Run: `python -m benchmarks.personal_data --half held_out --texts 20`

The corpus: review sentences in five languages, each with one random value of one of 20 kinds; three of ten values are
written with other scripts' digits, spaces and dashes, characters of no width, or a spelled @. Sentences without
personal data hold prices, years, sizes, numbers of orders, models and versions, EAN, ISBN and names of brands.

A value counts as found where nine tenths of its letters and digits are covered, whichever kind it is taken for. A find
counts as right where it covers letters or digits of a value.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.tables import print_table
from benchmarks.personal_data.contenders import Contender, Spotted, mask, presidio
from benchmarks.personal_data.corpus import NOTHING, Text, build_corpus

_COVERED = 0.9


@dataclass
class Score:
    """Values there were and were found; finds there were and were right."""

    values: int = 0
    found: int = 0
    finds: int = 0
    right: int = 0

    @property
    def recall(self) -> str:
        return f"{self.found / self.values:.3f}" if self.values else "-"

    @property
    def precision(self) -> str:
        return f"{self.right / self.finds:.3f}" if self.finds else "-"


@dataclass
class Result:
    """The outcome of a contender.

    Attributes:
        scores: By group: ("", "") for all, ("kind", …), ("language", …), ("written", …).
        cpu_s: Seconds of processor time.
        missed, wrong: Some of them.
    """

    scores: dict[tuple[str, str], Score] = field(default_factory=dict)
    cpu_s: float = 0.0
    missed: list[Text] = field(default_factory=list)
    wrong: list[tuple[Text, Spotted]] = field(default_factory=list)

    def score(self, *group: str) -> Score:
        name, value = group if group else ("", "")
        return self.scores.setdefault((name, value), Score())


def judge(contender: Contender, texts: Sequence[Text]) -> Result:
    """Ask a contender for every text."""
    for one in texts[:: max(1, len(texts) // 50)]:  # libraries are loaded, patterns compiled
        contender(one.language, one.text)
    started = time.process_time()
    answers = [contender(one.language, one.text) for one in texts]
    result = Result(cpu_s=time.process_time() - started)
    for text, spotted in zip(texts, answers, strict=True):
        _add(result, text, spotted)
    return result


def _add(result: Result, text: Text, spotted: Iterable[Spotted]) -> None:
    covered: set[int] = set()
    all_scores = [result.score(), result.score("language", text.language)]
    for one in spotted:
        places = set(range(one.start, one.end))
        covered |= places
        right = any(text.text[place].isalnum() for place in places if text.start <= place < text.end)
        for score in (*all_scores, result.score("kind", one.kind)):
            score.finds += 1
            score.right += right
        if not right:
            result.wrong.append((text, one))
    if text.kind == NOTHING:
        return
    letters = [place for place in range(text.start, text.end) if text.text[place].isalnum()]
    found = sum(place in covered for place in letters) >= _COVERED * len(letters)
    written = ("written", text.disguise or "as on an ASCII keyboard")
    for score in (*all_scores, result.score("kind", text.kind), result.score(*written)):
        score.values += 1
        score.found += found
    if not found:
        result.missed.append(text)


def _print(name: str, results: dict[str, Result], values: Iterable[str]) -> None:
    """A table of one group; columns without a figure are left out, since Presidio has other names for the kinds."""
    print(f"\nBy {name}")
    columns: dict[str, list[str]] = {}
    rows = list(values)
    for contender, result in results.items():
        scores = [result.scores.get((name, value), Score()) for value in rows]
        columns[f"{contender}: recall"] = [score.recall for score in scores]
        columns[f"{contender}: precision"] = [score.precision for score in scores]
    shown = {head: cells for head, cells in columns.items() if set(cells) != {"-"}}
    print_table([name, *shown], [[value, *cells] for value, *cells in zip(rows, *shown.values(), strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("seen", "held_out"), default="held_out", help="of the sentences")
    parser.add_argument("--texts", type=int, default=20, help="per kind and language (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--person-model", action="append", default=[], help="a spaCy model for names; again for more")
    parser.add_argument("--alone", action="store_true", help="without Presidio")
    parser.add_argument("--show", type=int, default=0, help="print this many misses and wrong finds of the mask")
    args = parser.parse_args()
    texts = build_corpus(args.half, args.texts, args.seed)
    n_values = sum(one.kind != NOTHING for one in texts)
    print(f"{len(texts)} texts, {n_values} of them with a value; {args.half} sentences, seed {args.seed}")
    contenders: dict[str, Callable[[], Contender]] = {"mask": lambda: mask(tuple(args.person_model))}
    if not args.alone:
        contenders |= {"presidio": lambda: presidio(0.0), "presidio ≥ .5": lambda: presidio(0.5)}
    results = {name: judge(make(), texts) for name, make in contenders.items()}
    print_table(
        ["all", "recall", "precision", "CPU s per 1,000 texts"],
        [
            [name, one.score().recall, one.score().precision, f"{one.cpu_s / len(texts) * 1000:.2f}"]
            for name, one in results.items()
        ],
    )
    _print("kind", results, dict.fromkeys(one.kind for one in texts if one.kind != NOTHING))
    _print("language", results, dict.fromkeys(one.language for one in texts))
    _print(
        "written", results, sorted({one.disguise or "as on an ASCII keyboard" for one in texts if one.kind != NOTHING})
    )
    _show(results["mask"], args.show)


def _show(result: Result, n: int) -> None:
    for text in result.missed[:n]:
        print(f"missed {text.language} {text.kind}: {text.text!r}", file=sys.stderr)
    for text, one in result.wrong[:n]:
        print(f"wrong {text.language} {one.kind}: {text.text[one.start : one.end]!r} in {text.text!r}", file=sys.stderr)
    if n:
        print("missed", Counter((text.kind, text.language) for text in result.missed).most_common(40), file=sys.stderr)


if __name__ == "__main__":
    main()
