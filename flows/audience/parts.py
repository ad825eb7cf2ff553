"""Where the texts of an audience lie: one folder per audience and task, in parts of some users each.

```
<shop>/texts/<key>/audience.parquet     whom it is for, in order; it does not change once it is there
<shop>/texts/<key>/part-00000.parquet   the texts of the first users, whole or not there
<shop>/texts/<key>/texts.json           what it is, and how many; the last to be written
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import USER_ID
from core.storage import atomic_file, write_json

SUMMARY = "texts.json"
_AUDIENCE = "audience.parquet"


@dataclass(frozen=True)
class Parts:
    """The folder of an audience's texts.

    Attributes:
        folder: Where they lie.
        users_per_part: How many users share a file.
    """

    folder: Path
    users_per_part: int

    @property
    def is_begun(self) -> bool:
        """Whether it is settled whom they are for."""
        return (self.folder / _AUDIENCE).is_file()

    def begin(self, users: Sequence[str]) -> None:
        """Settle whom they are for."""
        with atomic_file(self.folder / _AUDIENCE) as temporary:
            pq.write_table(pa.table({USER_ID: pa.array(users, pa.string())}), temporary)

    def users(self) -> list[str]:
        """Whom they are for, in order."""
        return [str(user) for user in pq.read_table(self.folder / _AUDIENCE).column(USER_ID).to_pylist()]

    def users_of(self, number: int) -> list[str]:
        """Whom a part is for."""
        return self.users()[number * self.users_per_part : (number + 1) * self.users_per_part]

    def n_parts(self) -> int:
        """How many parts there are to be."""
        return -(-len(self.users()) // self.users_per_part)

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"part-{number:05d}.parquet"

    def write(self, number: int, texts: pa.Table) -> None:
        """Write a part, whole or not at all."""
        with atomic_file(self.part(number)) as temporary:
            pq.write_table(texts, temporary)

    def count(self, number: int) -> tuple[int, int]:
        """Of a part that is there: how many texts, of how many users."""
        users = pq.read_table(self.part(number), columns=[USER_ID]).column(USER_ID)
        return len(users), len(users.unique())

    def end(self, summary: dict[str, object]) -> None:
        """Say what it is; from then on it is done."""
        write_json(self.folder / SUMMARY, summary)
