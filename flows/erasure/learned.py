"""Which bundles learned from a person: by the data that each was made of, as far as they are still there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.layout import Layout
from core.promotions import known_versions, read_standing
from core.tombstones import Tombstones
from flows.erasure.files import holds_person, stage_folders
from flows.erasure.person import Person
from flows.erasure.receipts import Learned, Receipt
from recommender.bundle.manifest import MANIFEST
from validation.raw.parts import NOTE_FILE
from validation.sources.ingest import read_note


@dataclass(frozen=True)
class _Bundle:
    """A bundle, and what its manifest says of its data, whichever version of the code wrote it.

    Attributes:
        last_event_at: The newest event of its data, and of those that a writer learned from which it took over.
        started_from: Digests of the bundles whose weights it started from, or holds.
    """

    place: Any
    name: str
    digest: str
    in_service: bool
    fingerprint: str
    last_event_at: str
    started_from: tuple[str, ...] = ()

    @property
    def place_and_name(self) -> str:
        return f"{self.place} {self.name}"


def find_learned(layout: Layout, person: Person, tombstones: Tombstones, receipt: Receipt) -> Receipt:
    """The receipt with the bundles that learned from the person, and those of which nothing shows whether they did.

    A bundle names the data that were read for it. While their raw folder is there, it is looked into. Where it is gone,
    a bundle counts that learned from events as late as the person's oldest.

    Args:
        receipt: Says whether any data of the person were found, and how old they are.
    """
    raw = _people_in_raw(layout, person, tombstones)
    learned, undetermined = [], []
    bundles = _bundles(layout)
    reasons = _with_ancestors(
        bundles, {bundle.place_and_name: _why(bundle, raw, receipt) for bundle in bundles}, receipt
    )
    for bundle in bundles:
        why = reasons[bundle.place_and_name]
        if why is None:
            undetermined.append(bundle.place_and_name)
        elif why:
            learned.append(
                Learned(
                    place=bundle.place, name=bundle.name, digest=bundle.digest, in_service=bundle.in_service, why=why
                )
            )
    seen = receipt.seen or any(raw.values())
    update = {"bundles": tuple(learned), "undetermined": tuple(undetermined), "seen": seen}
    return receipt.model_copy(update=update)


def _with_ancestors(bundles: list[_Bundle], reasons: dict[str, str | None], receipt: Receipt) -> dict[str, str | None]:
    """The reasons, and that a bundle goes on from the weights of one that learned from the person, or holds its writer.

    Where that one is gone, it counts as one whose own data are gone.
    """
    of_digest: dict[str, list[_Bundle]] = {}
    for bundle in bundles:
        of_digest.setdefault(bundle.digest, []).append(bundle)
    found = dict(reasons)
    for _ in bundles:  # no chain is longer
        for bundle in bundles:
            for digest in bundle.started_from:
                parents = [found[one.place_and_name] for one in of_digest.get(digest, [])]
                if any(parents):
                    told = f"it goes on from the weights of bundle {digest[:16]}, which learned from them"
                    found[bundle.place_and_name] = found[bundle.place_and_name] or told
                elif not parents or None in parents:
                    found[bundle.place_and_name] = found[bundle.place_and_name] or _why(bundle, {}, receipt)
    return found


def _why(bundle: _Bundle, raw: dict[str, bool], receipt: Receipt) -> str | None:
    """What shows that a bundle learned from the person; empty where it did not, None where that is not known."""
    if bundle.fingerprint in raw:
        return "their rows are in the data that it was made of" if raw[bundle.fingerprint] else ""
    if not receipt.seen and not any(raw.values()):
        return None
    if receipt.seen_from is None:
        return "its data are gone, and the person is in others"
    newest, oldest = (datetime.fromisoformat(text) for text in (bundle.last_event_at, receipt.seen_from))
    return f"it learned from events until {newest:%Y-%m-%d}, and theirs begin earlier" if newest >= oldest else ""


def _people_in_raw(layout: Layout, person: Person, tombstones: Tombstones) -> dict[str, bool]:
    """Fingerprint of the data of each raw folder, and whether the person is in it."""
    folders = [folder for folder in stage_folders(layout, "raw") if (folder / NOTE_FILE).is_file()]
    return {read_note(folder).fingerprint: holds_person(folder, person, tombstones) for folder in folders}


def _bundles(layout: Layout) -> list[_Bundle]:
    name = layout.model_name
    standing = read_standing(name)
    current = standing.changes[-1].version if standing.changes else ""
    found = [
        _read("model store", version.version, version.folder, version.version == current)
        for version in known_versions(name)
    ]
    for place, stage in (("candidate", "candidates"), ("baseline", "baselines"), ("refit", "refits")):
        found += [_read(place, folder.name, folder, False) for folder in stage_folders(layout, stage)]
    return [bundle for bundle in found if bundle is not None]


def _read(place: str, name: str, folder: Path, in_service: bool) -> _Bundle | None:
    """None for a folder without a manifest, which serves nobody."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        data, chain, writer = manifest["data"], manifest.get("warm_start"), manifest.get("writer_from")
        sources = [str(chain[one]) for one in ("parent", "judged_parent")] if chain else []
        times = [str(data["last_event_at"])]
        if writer:
            sources.append(str(writer["bundle"]))
            times.append(str(writer["data"]["last_event_at"]))
        return _Bundle(
            place,
            name,
            str(manifest["digest"]),
            in_service,
            str(data["fingerprint"]),
            max(times, key=datetime.fromisoformat),
            tuple(dict.fromkeys(sources)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
