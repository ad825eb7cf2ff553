"""Embedding a catalogue: `python -m benchmarks.embed_catalogue` prints texts per second beside SentenceTransformer's.

The product's `TextEncoder` and `SentenceTransformer.encode` with its defaults read the same texts by the same model in
the same process, in turns. Texts are made up, of the lengths that catalogues have; `--data FOLDER` takes those of a
shop's items, read by the product's own reader of kind `tables`. Both read as many tokens of a text. Processor time is
printed beside wall time, because it says the same on a busy machine.
Bar: three times the texts per second, at a cosine of .999 to the other's vectors.

The last lines hold both against the machine: how many float32 operations per second its matrix product does at the
encoder's largest shape, what share of them each encoder gets out, and so the ratio to the peer that no float32 encoder
can pass here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.settings.models import EncoderSettings
from core.settings.source import TablesSource
from core.settings.validation import ValidationSettings
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
    """Embed by turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with an items table; made-up texts without it")
    parser.add_argument("--texts", type=int, default=5000, help="at most")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default=PACKAGED_MODEL, help="'minilm', or a folder")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    chosen = parser.parse_args(arguments)
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(chosen.threads)
    texts = made_up_texts(chosen.texts) if chosen.data is None else shop_texts(chosen.data)[: chosen.texts]
    peer = SentenceTransformer(model_source(chosen.model), device="cpu")
    settings = EncoderSettings(model=chosen.model, max_tokens=peer.max_seq_length or 512, precision=chosen.precision)
    ours = TextEncoder.load(settings, print)
    encoders: dict[str, Callable[[], np.ndarray]] = {
        "SentenceTransformer.encode": lambda: peer.encode(texts),
        "sommelier": lambda: ours.encode(texts, lambda _: None),
    }
    wall: dict[str, list[float]] = {name: [] for name in encoders}
    processor: dict[str, list[float]] = {name: [] for name in encoders}
    vectors = {name: encode() for name, encode in encoders.items()}  # a run that is not counted
    for _ in range(chosen.runs):
        for name, encode in encoders.items():
            wall_from, processor_from = time.perf_counter(), time.process_time()
            encode()
            wall[name].append(time.perf_counter() - wall_from)
            processor[name].append(time.process_time() - processor_from)
    lengths = [len(tokens) for tokens in ours.tokens(texts)]
    print(f"{len(texts)} texts, {statistics.mean(lengths):.0f} tokens on average, {chosen.threads} threads")
    _print_table(wall, processor, len(texts))
    first, second = vectors.values()
    cosines = np.sum(first * second, axis=1) / np.linalg.norm(first, axis=1)
    print(f"cosine: least {cosines.min():.5f}, mean {cosines.mean():.5f}, bar {LIMIT_COSINE}")
    _print_ceiling(ours, texts, {name: statistics.median(seconds) for name, seconds in wall.items()})


def made_up_texts(n: int, seed: int = 0) -> list[str]:
    """Titles, brands and descriptions of random words; most are short, some are long."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(2.6, 0.7, n), 3, 80).astype(int)
    return [
        f"{' '.join(generator.choice(WORDS, length))}. {generator.choice(WORDS).title()}, {generator.integers(1000)} g"
        for length in lengths
    ]


def shop_texts(data: Path) -> list[str]:
    """What the encoder reads of a shop's items."""
    from validation.gate import validate
    from validation.sources.ingest import ingest

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingest(TablesSource(path=data), folder / "raw")
        validate(folder / "raw", folder / "clean", ValidationSettings(), folder / "docs")
        rows = pq.read_table(folder / "clean" / "items.parquet").to_pylist()
    texts = [
        item_text(row["title"], row["brand"], row["category"], row["description"], [], MAX_ITEM_CHARS) for row in rows
    ]
    return [text for text in texts if text]


def _print_ceiling(encoder: TextEncoder, texts: list[str], seconds: dict[str, float]) -> None:
    # Spread over the lengths, for longer texts take more.
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
    passed = []
    for _ in range(PRODUCT_RUNS):
        started = time.perf_counter()
        torch.mm(left, right)
        passed.append(time.perf_counter() - started)
    return 2 * PRODUCT_ROWS * width * 4 * width / min(passed)


def _print_table(wall: dict[str, list[float]], processor: dict[str, list[float]], n: int) -> None:
    print(f"{'encoder':<28}{'texts/s':>12}{'texts per processor second':>30}")
    per_wall = {name: n / statistics.median(seconds) for name, seconds in wall.items()}
    per_processor = {name: n / statistics.median(seconds) for name, seconds in processor.items()}
    for name in wall:
        print(f"{name:<28}{per_wall[name]:>12.0f}{per_processor[name]:>30.0f}")
    peer, ours = wall
    ratios = (per_wall[ours] / per_wall[peer], per_processor[ours] / per_processor[peer])
    print(f"{'ratio':<28}{ratios[0]:>12.2f}{ratios[1]:>30.2f}")
    print(f"{'bar':<28}{LIMIT_RATIO:>12.2f}{LIMIT_RATIO:>30.2f}")


if __name__ == "__main__":
    main()
