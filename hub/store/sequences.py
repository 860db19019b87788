"""How far each source's sequence is complete: behind that point nothing is missing, beyond it lies a gap, if any."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.store.database import Connection

# Sequences are unique within a source, so `sequence = contiguous + row number` holds just as far as nothing is missing.
ADVANCE = """
    WITH source AS (
        SELECT name, COALESCE(s.contiguous, 0) AS contiguous
        FROM unnest($1::text[]) AS name LEFT JOIN source_sequences s ON s.source = name),
    reached AS (
        SELECT source.name, (
            SELECT max(following.sequence) FROM (
                SELECT i.sequence, row_number() OVER (ORDER BY i.sequence) AS place FROM inbox i
                WHERE i.source = source.name AND i.sequence > source.contiguous
                ORDER BY i.sequence LIMIT $2) AS following
            WHERE following.sequence = source.contiguous + following.place) AS contiguous
        FROM source)
    INSERT INTO source_sequences (source, contiguous)
    SELECT name, contiguous FROM reached WHERE contiguous IS NOT NULL
    ON CONFLICT (source) DO UPDATE SET contiguous = EXCLUDED.contiguous
    WHERE source_sequences.contiguous < EXCLUDED.contiguous"""
READ_OPEN = """
    SELECT name, COALESCE(s.contiguous, 0),
        COALESCE((SELECT i.sequence FROM inbox i WHERE i.source = name ORDER BY i.sequence DESC LIMIT 1), 0)
    FROM unnest($1::text[]) AS name LEFT JOIN source_sequences s ON s.source = name"""


async def advance(connection: "Connection", sources: Sequence[str], limit: int) -> None:
    """Move the pointer of each source over what has arrived without a gap, by at most `limit` messages."""
    await connection.execute(ADVANCE, list(sources), limit)


async def read_progress(connection: "Connection", sources: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return (complete up to, highest seen) of each source; where they differ, something in between is missing."""
    rows = await connection.fetch(READ_OPEN, list(sources))
    return {source: (contiguous, highest) for source, contiguous, highest in rows}
