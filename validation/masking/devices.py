"""What names a machine or a car: IP and MAC addresses, chassis numbers, number plates."""

from __future__ import annotations

import re

from validation.masking.contextual import Contextual
from validation.masking.marks import Span
from validation.masking.normalisation import Normalised
from validation.masking.presidio import analyze
from validation.masking.suspects import WORDS

# Whatever has none of these is no address, and Presidio is not asked.
_LIKE_ADDRESS = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|::|(?:[0-9A-Fa-f]{1,4}:){6}")
_LIKE_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.")
# "version 1.2.3.4" is no address.
_VERSION = re.compile(
    r"(?:version|vers|ver|v|firmware|software|release|build|update|driver|treiber|pilote|rev|ios|android|windows|macos"
    r"|kernel|bios|chapter|section|kapitel|chapitre|sezione|§)[\s.:#-]*(?:\w{1,10}\s)?v?$",
    re.I,
)
_FACTOR = re.compile(r"\s*(?:times|mal|fois|veces|volte|x\b|%)", re.I)
_VIN = re.compile(r"(?<![A-Za-z0-9])(?=[A-Z]*\d)(?=\d*[A-Z])[A-HJ-NPR-Z0-9]{17}(?![A-Za-z0-9])")
_VIN_WORDS = re.compile(
    r"(?:\bvin\b|\bfin\b|chassis|ch[aâ]ssis|fahrgestell|fahrzeug-?ident|vehicle ident|bastidor|telaio|véhicule)", re.I
)
_VIN_VALUES = {
    **{str(digit): digit for digit in range(10)},
    **dict(
        zip(
            "ABCDEFGHJKLMNPRSTUVWXYZ",
            (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
            strict=True,
        )
    ),
}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)

PLATES = Contextual(
    WORDS["vehicle_plate"],
    "licen[cs]e[ -]plates?|number[ -]plates?|plate(?: no| number| nr)?|registration(?: number| plate)?"
    "|vrn|kfz-?kennzeichen|kennzeichen|nummernschild|immatricul\\w+|plaque(?: d'immatriculation)?|matr[ií]cula"
    "|placa|targ(?:a|he|at[oaie])|plaka"
    "|rejestrac\\w+|kenteken",
    r"[A-ZÄÖÜ0-9]{1,8}(?:[ ·-][A-ZÄÖÜ0-9]{1,5}){0,3}",
    min_digits=1,
    chars=(4, 9),
    gap=14,
)


def find_addresses(plain: Normalised) -> list[Span]:
    """IP addresses of both versions; numbers of versions are none."""
    text, spans = plain.text, []
    for one in analyze("IpRecognizer", text) if _LIKE_ADDRESS.search(text) else []:
        if one.score < 0.5 or re.search(r"[\w.]$", text[max(0, one.start - 1) : one.start]):
            continue
        if ":" in text[one.start : one.end]:
            if sum(char.isalnum() for char in text[one.start : one.end]) < 4:
                continue
        elif _VERSION.search(text[max(0, one.start - 25) : one.start]) or _FACTOR.match(text[one.end : one.end + 8]):
            continue
        spans.append((one.start, one.end))
    return spans


def find_macs(plain: Normalised) -> list[Span]:
    """MAC addresses."""
    if not _LIKE_MAC.search(plain.text):
        return []
    return [(one.start, one.end) for one in analyze("MacAddressRecognizer", plain.text)]


def find_vins(plain: Normalised) -> list[Span]:
    """Chassis numbers: with the check digit of North America, or named so."""
    text = plain.text
    return [
        match.span()
        for match in _VIN.finditer(text)
        if _has_check_digit(match[0]) or _VIN_WORDS.search(text[max(0, match.start() - 40) : match.start()])
    ]


def _has_check_digit(vin: str) -> bool:
    rest = sum(_VIN_VALUES[char] * weight for char, weight in zip(vin, _VIN_WEIGHTS, strict=True)) % 11
    return vin[8] == ("X" if rest == 10 else str(rest))
