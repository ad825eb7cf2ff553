"""The one form that every error of the project has: what failed, the offending value, the rule, and what to do next."""

from __future__ import annotations

import threading


class SommelierError(Exception):
    """An error that a user can act on.

    Reads `<what failed>: <field>=<value>, expected <rule> (<where>). <what to do next>.`

    Args:
        failed: What could not be done, e.g. "Cannot load bundle".
        got: The offending field and value, e.g. "schema_version=3".
        expected: The rule that was broken, e.g. "4".
        where: File, line or table; left out when empty.
        do: What the reader should do next, one sentence without its full stop.
    """

    def __init__(self, failed: str, *, got: str, expected: str, do: str, where: str = "") -> None:
        self.failed, self.got, self.expected, self.do, self.where = failed, got, expected, do, where
        place = f" ({where})" if where else ""
        super().__init__(f"{failed}: {got}, expected {expected}{place}. {do}.")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword, so that the error survives the way out of a Prefect task."""
        return _rebuild, (type(self), self.failed, self.got, self.expected, self.do, self.where)


def _rebuild(kind: type[SommelierError], failed: str, got: str, expected: str, do: str, where: str) -> SommelierError:
    return kind(failed, got=got, expected=expected, do=do, where=where)


class SettingsError(SommelierError):
    """A setting is unknown, of the wrong type or out of range."""


class WrongUsage(SettingsError):
    """The same, of what was said on the command line."""


class NotRunning(SommelierError):
    """What is asked for needs a part of the platform that does not run."""


def as_exception(error: BaseException) -> Exception:
    """Whatever was raised, for a thread that goes on: a panic of a library that is written in Rust is no `Exception`.

    Returns:
        The error itself where it is an `Exception`, else a RuntimeError with its type and words, caused by it.
    Raises:
        KeyboardInterrupt, SystemExit: in the main thread, where they end the process.
    """
    if isinstance(error, Exception):
        return error
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    found = RuntimeError(f"{type(error).__name__}: {error}")
    found.__cause__ = error
    return found
