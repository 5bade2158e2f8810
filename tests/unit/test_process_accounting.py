"""What the kernel's records of processes say, by program."""

from __future__ import annotations

import struct

from harness.process_accounting import Program, by_program


def record(name: str, user: int, system: int) -> bytes:
    """One of version 3, as Linux writes it on a little-endian machine; times as it packs them."""
    before = struct.pack("<BBHIIIIIIf", 0, 3, 0, 0, 0, 0, 1, 1, 0, 0.0)
    return before + struct.pack("<8H16s", user, system, 0, 0, 0, 0, 0, 0, name.encode())


def test_times_are_added_by_name_and_a_record_that_is_being_written_waits() -> None:
    great = (2 << 13) | 1000  # 1000 times 8 squared
    records = record("terraform", 150, 50) + record("temporal", great, 0) + record("terraform", 0, 25)
    assert by_program(records + b"\0" * 63) == {
        "terraform": Program(2, 2.25),
        "temporal": Program(1, 640.0),
    }
