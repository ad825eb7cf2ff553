"""Embedding a catalogue: `python -m benchmarks.embed_catalogue` prints texts per second beside SentenceTransformer's.

The product's `TextEncoder` and `SentenceTransformer.encode` with its defaults read the same texts by the same model in
the same process, in turns, and as many tokens of a text. Texts are synthetic, of the lengths that catalogues have;
with `--data` they are those of a shop's items, read by the product's own reader and data gate. Processor time is
printed beside wall time, because it is the same on a busy machine.
Limit: three times the texts per second, at a cosine of .999 to the peer's vectors.

The last lines compare both with the machine: how many float32 operations per second its matrix product does at the
encoder's largest shape, what share of them each encoder reaches, and so the highest ratio to the peer that a float32
encoder can have here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import in_turns, timed
from core.settings.models import EncoderSettings
from core.settings.tree import Recipe
from recommender.encoders.encoder import PACKAGED_MODEL, TextEncoder, model_source
from recommender.inputs.texts import item_text

LIMIT_RATIO, LIMIT_COSINE = 3.0, 0.999
# Tokens of a batch; the widest product of MiniLM is from its width to four times that.
PRODUCT_ROWS, PRODUCT_RUNS = 1024, 50
COUNTED_TEXTS = 200
MAX_ITEM_CHARS = 400
WORDS = (  # noqa: SIM905 — prose is easier to read than a list of quotes
    "acoustic aluminium amber apple ash bamboo basil battery black blend blue bottle brass bright brush cable "
    "camera cardamom case ceramic charger cherry chrome classic clear cloth coat coffee compact copper cordless "
    "cotton cream crystal dark deep digital drill dry electric face fern fine folding fresh garden ginger glass "
    "gold green grey guitar hand handle heavy herb ivory jacket jar kettle kit lamp large lavender leather lemon "
    "light linen long maple matte medium mint mirror natural oak oil olive orange organic oval pack paper pearl "
    "pepper pine plain polished portable pro quartz radio red replacement rose round salt set silk silver slim "
    "small smooth soap soft speaker spray stainless steel stone strap strings strong sugar tea tin towel travel "
    "tray vanilla walnut warm waterproof white wide wireless wood wool yellow"
).split()


def main(arguments: list[str] | None = None) -> None:
    """Embed in turns, and print medians."""
    parser = options.command(__doc__)
    options.add_source(parser, instead="synthetic texts")
    parser.add_argument("--texts", type=int, default=5000, help="at most (default: 5000)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default=PACKAGED_MODEL, help="'minilm', or the folder of a model")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    chosen = options.parse(parser, arguments)
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(chosen.threads)
    if options.has_data(chosen):
        texts = shop_texts(options.recipe_of(chosen), chosen.cache)[: chosen.texts]
    else:
        texts = synthetic_texts(chosen.texts)
    peer = SentenceTransformer(model_source(chosen.model), device="cpu")
    settings = EncoderSettings(model=chosen.model, max_tokens=peer.max_seq_length or 512, precision=chosen.precision)
    ours = TextEncoder.load(settings, print)
    encoders: dict[str, Callable[[], np.ndarray]] = {
        "SentenceTransformer.encode": lambda: peer.encode(texts),
        "sommelier": lambda: ours.encode(texts, lambda _: None),
    }
    first, second = (encode() for encode in encoders.values())  # a warm-up: its times do not count
    seconds = in_turns({name: _timer(encode) for name, encode in encoders.items()}, chosen.runs)
    lengths = [len(tokens) for tokens in ours.tokens(texts)]
    print(f"{len(texts)} texts, {statistics.mean(lengths):.0f} tokens on average, {chosen.threads} threads")
    _print_rates(seconds, len(texts))
    cosines = np.sum(first * second, axis=1) / np.linalg.norm(first, axis=1)
    print(f"cosine: least {cosines.min():.5f}, mean {cosines.mean():.5f}, limit {LIMIT_COSINE}")
    _print_ceiling(ours, texts, {name: statistics.median(wall for wall, _ in runs) for name, runs in seconds.items()})


def _timer(encode: Callable[[], np.ndarray]) -> Callable[[int], tuple[float, float]]:
    """Wall and processor seconds of one run."""

    def one_run(_run: int) -> tuple[float, float]:
        processor_from = time.process_time()
        _, wall_s = timed(encode)
        return wall_s, time.process_time() - processor_from

    return one_run


def synthetic_texts(n: int, seed: int = 0) -> list[str]:
    """Titles, brands and descriptions of random words; most are short, some are long."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(2.6, 0.7, n), 3, 80).astype(int)
    return [
        f"{' '.join(generator.choice(WORDS, length))}. {generator.choice(WORDS).title()}, {generator.integers(1000)} g"
        for length in lengths
    ]


def shop_texts(recipe: Recipe, cache: Path | None) -> list[str]:
    """What the encoder reads of a shop's items."""
    with open_dataset(recipe, cache) as data:
        rows = pq.read_table(data.clean_tables() / "items.parquet").to_pylist()
    texts = [
        item_text(row["title"], row["brand"], row["category"], row["description"], [], MAX_ITEM_CHARS) for row in rows
    ]
    return [text for text in texts if text]


def _print_ceiling(encoder: TextEncoder, texts: list[str], seconds: dict[str, float]) -> None:
    # Spread over the lengths, because longer texts take more operations.
    by_length = sorted(texts, key=len)
    counted = by_length[:: max(1, len(texts) // COUNTED_TEXTS)]
    with FlopCounterMode(display=False) as counter:
        encoder.encode(counted, lambda _: None)
    operations = counter.get_total_flops() / len(counted) * len(texts)
    fastest = product_rate(encoder.width)
    print(f"matrix product, float32: {fastest / 1e9:.0f} GFLOP/s; one text: {operations / len(texts) / 1e9:.2f} GFLOP")
    for name, passed in seconds.items():
        print(f"{name:<28}{operations / passed / fastest:>11.0%} of that")
    peer = next(iter(seconds.values()))
    print(f"highest ratio a float32 encoder can have here: {peer / (operations / fastest):.2f}")


def product_rate(width: int) -> float:
    """Float32 operations per second of the encoder's largest matrix product, the fastest of some runs."""
    left, right = torch.rand(PRODUCT_ROWS, width), torch.rand(width, 4 * width)
    fastest = min(timed(lambda: torch.mm(left, right))[1] for _ in range(PRODUCT_RUNS))
    return 2 * PRODUCT_ROWS * width * 4 * width / fastest


def _print_rates(seconds: Mapping[str, Sequence[tuple[float, float]]], n: int) -> None:
    """Texts per second of wall and of processor time."""
    rates = {
        name: [n / statistics.median(times) for times in zip(*runs, strict=True)] for name, runs in seconds.items()
    }
    rows = [[name, *(f"{rate:.0f}" for rate in of_encoder)] for name, of_encoder in rates.items()]
    peer, ours = rates.values()
    ratios = [f"{mine / theirs:.2f}" for mine, theirs in zip(ours, peer, strict=True)]
    limit = f"{LIMIT_RATIO:.2f}"
    print_table(
        ["encoder", "texts/s", "texts per processor second"], [*rows, ["ratio", *ratios], ["limit", limit, limit]]
    )


if __name__ == "__main__":
    main()
