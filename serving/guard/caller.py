"""Who asks, as far as the service knows, for the time of one request."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from core.keys import ApiKey, KeyScope


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        key: That was given and is valid; None where none was.
        is_trusted: Whether everybody may do everything here, as no key is needed.
    """

    key: ApiKey | None = None
    is_trusted: bool = False

    def may(self, scope: KeyScope) -> bool:
        """Whether what needs a scope is allowed."""
        return self.is_trusted or (self.key is not None and self.key.may(scope))

    @property
    def name(self) -> str:
        """For records: the key's id, which is public."""
        return f"key:{self.key.id}" if self.key else "local"


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who sent the request that is being answered; nobody who may do anything, outside of one."""
    return _CALLER.get(Caller())


def set_caller(caller: Caller) -> None:
    """Say who it is, for what is called from here on."""
    _CALLER.set(caller)
