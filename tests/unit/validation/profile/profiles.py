"""Profiles of small files, and what the settings that they write say."""

from pathlib import Path

from core.settings.loading import load_settings
from core.settings.source import TablesSource
from tests.own_data import NOW
from validation.profile.profiling import Profile, profile_source
from validation.profile.settings import settings_text

MOMENTS = [f"2024-{1 + n // 28 % 12:02d}-{1 + n % 28:02d} {n % 24:02d}:00:00" for n in range(400)]


def profiled(path: Path) -> Profile:
    return profile_source(path, NOW)


def settings_of(profile: Profile, folder: Path):
    """The settings as the written file gives them."""
    file = folder / "written.toml"
    file.write_text(settings_text(profile, "x"), encoding="utf-8")
    return load_settings(file).recipe


def source_of(path: Path) -> TablesSource:
    return settings_of(profiled(path), path.parent).source


def log(header: str, row, n: int = 200, delimiter: str = ",") -> list[list]:
    return [header.split(delimiter), *(row(i) for i in range(n))]


def questions(path: Path) -> list[str]:
    return [question.text for question in profiled(path).draft.questions]
