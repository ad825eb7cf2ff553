"""How fast the language model writes on one thread: `python -m benchmarks.decoding_speed`.

The embedded model, not fine-tuned: additions are in its own weights when it writes and cost nothing. Prompts are the
product's own, of a made-up user and item, as long as they may be; words are drawn by the service's rules and no text
ends early. Full weights, and those of eight bits, one text and eight at once, take turns.

Two clocks: wall time, and the thread's processor time, which work beside it on the same core does not lengthen. The
limit is what the memory lets through: each token reads all weights once, and a sum over more bytes than the caches
hold, in the same run, says how long that takes at least.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.harness import options
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import in_turns
from recommender.encoders.embedded_model import EMBEDDED_MODEL
from recommender.encoders.language_model import LanguageModel, load_language_model
from recommender.encoders.llama import Int8Llama, why_not_int8
from recommender.encoders.next_token import NextToken, PlainNextToken
from recommender.fitting.device import choose_large_dtype
from recommender.writing.examples import WritingRequest
from recommender.writing.prompts import Prompts
from recommender.writing.sampling import TextSampler

MAX_TOKENS = 256  # as recipe.writer.max_tokens
BATCH = 8
BARS = {"first token ms": "80", "tokens/s": "40", f"tokens/s over {BATCH}": "120"}
ITEM = "A dreadnought guitar with a solid spruce top, mahogany back and sides, for players who like a warm tone. " * 3
PROFILE = "gives 4.2 stars. often says warm; clear; sturdy. likes Yamaha. lately picks; strings; a tuner. " * 3


@dataclass(frozen=True)
class Pace:
    """Of one batch of texts.

    Attributes:
        first_s: Until the first token is drawn, wall time and processor time, seconds.
        next_s: Of each further token of the whole batch, likewise.
    """

    first_s: tuple[float, float]
    next_s: tuple[float, float]


def main(arguments: list[str] | None = None) -> None:
    """Write, and print the table."""
    parser = options.command(__doc__)
    parser.add_argument("--model", default=EMBEDDED_MODEL, help=f"a folder or a name (default: {EMBEDDED_MODEL})")
    parser.add_argument("--models", type=Path, help="keep the converted model here, and use it again")
    parser.add_argument("--tokens", type=int, default=60, help="of a text (default: 60)")
    parser.add_argument("--runs", type=int, default=5, help="of which the medians are printed (default: 5)")
    chosen = options.parse(parser, arguments)
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        dtype, reason = choose_large_dtype("auto")
        print(f"full weights: {reason}")
        language = load_language_model(chosen.model, chosen.models or Path(folder), print, dtype=dtype)
        writers: dict[str, NextToken] = {"full weights": PlainNextToken(language.model)}
        against = why_not_int8(language.model)
        if against:
            print(f"no weights of eight bits: {against}")
        else:
            writers["eight bits"] = Int8Llama(language.model)
        paces = measure(language, writers, chosen.tokens, chosen.runs)
    n_weights = language.model.num_parameters()
    sizes = {"full weights": n_weights * dtype.itemsize, "eight bits": n_weights}
    print_paces(paces, {name: sizes[name] / bytes_per_s() for name in writers})


def measure(
    language: LanguageModel, writers: dict[str, NextToken], n_tokens: int, runs: int
) -> dict[tuple[str, int], list[Pace]]:
    """Texts of each writer, alone and in a batch."""
    prompts = Prompts(language.tokenizer, "plain", MAX_TOKENS)
    asked = [prompts.encode(WritingRequest(4.0, f"number {number}. {PROFILE}", ITEM)) for number in range(BATCH)]
    sampler = TextSampler.of(language.tokenizer, int(language.model.config.vocab_size))
    endless = TextSampler(sampler.end, sampler.never.clone(), sampler.no_start)
    endless.never[sampler.end] = True
    print(f"prompts of {len(asked[0])} tokens, texts of {n_tokens}")

    def write(next_token: NextToken, n_texts: int) -> Callable[[int], Pace]:
        return lambda run: pace_of(next_token, asked[:n_texts], endless, n_tokens, run)

    contenders = {(name, size): write(next_token, size) for name, next_token in writers.items() for size in (1, BATCH)}
    for warm_up in contenders.values():
        warm_up(0)
    return in_turns(contenders, runs)


def pace_of(
    next_token: NextToken, prompts: Sequence[Sequence[int]], sampler: TextSampler, n_tokens: int, run: int
) -> Pace:
    """Write texts, and look at both clocks at the first and at the last token."""
    seeds, rooms = range(run, run + len(prompts)), [n_tokens] * len(prompts)
    sampling = sampler.start(seeds, rooms, temperature=0.7, top_p=0.9)
    with torch.inference_mode():
        started = _clocks()
        texts = next_token.begin(prompts, n_tokens)
        tokens = sampling.choose(texts.scores)
        first = _clocks()
        for _ in range(n_tokens - 1):
            texts.extend(tokens)
            tokens = sampling.choose(texts.scores)
        last = _clocks()
    wall, processor = zip(started, first, last, strict=True)
    return Pace(
        (wall[1] - wall[0], processor[1] - processor[0]),
        ((wall[2] - wall[1]) / (n_tokens - 1), (processor[2] - processor[1]) / (n_tokens - 1)),
    )


def bytes_per_s() -> float:
    """What one thread reads from memory: the best of ten sums over 512 MB."""
    there = torch.ones(2**27)
    there.sum()
    best = float("inf")
    for _ in range(10):
        started = time.thread_time()
        there.sum()
        best = min(best, time.thread_time() - started)
    return there.nbytes / best


def print_paces(paces: dict[tuple[str, int], list[Pace]], least_s: dict[str, float]) -> None:
    """A row per writer.

    Args:
        least_s: Of reading its weights once, seconds.
    """
    rows = []
    for name, read_s in least_s.items():
        for clock, title in enumerate(("wall", "processor")):
            alone, together = paces[name, 1], paces[name, BATCH]
            next_s = statistics.median(pace.next_s[clock] for pace in alone)
            figures = (
                1000 * statistics.median(pace.first_s[clock] for pace in alone),
                1 / next_s,
                BATCH / statistics.median(pace.next_s[clock] for pace in together),
            )
            rows.append([f"{name}, {title} time", *(f"{one:.0f}" for one in figures), f"{read_s / next_s:.0%}"])
    print_table(["", *BARS, "of the memory's limit"], [*rows, ["bar", *BARS.values(), ""]])
    print("the memory's limit, tokens/s: " + ", ".join(f"{name} {1 / s:.0f}" for name, s in least_s.items()))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


if __name__ == "__main__":
    main()
