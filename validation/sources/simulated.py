"""Reader of kind "simulated": a delicatessen that this project simulates, so that everything runs without any data."""

from __future__ import annotations

from core.schema import TABLES
from core.settings.source import SimulatedSource
from simulation.shop.log import read_log
from validation.raw.writer import RawWriter, RowParts


def read(source: SimulatedSource, writer: RawWriter) -> None:
    """Simulate the shop and write its logs; the same settings give the same rows."""
    with RowParts(writer, "simulated") as parts:
        for table, row in read_log(source):
            contract = {column.name for column in TABLES[table].columns}
            parts.add(
                table,
                {name: value for name, value in row.items() if name in contract},
                attributes={name: value for name, value in row.items() if name not in contract},
                source_file="simulated",
                source_number=parts.n_rows + 1,
            )
