"""How many rejected rows a dataset bears, and what is said of the first of them.

A rejected row is data, and the others go on. But a table of which nothing is left, or of which more is lost than its
owner allows, is a mistake somewhere else: then nothing is written, and what stood before stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from seedream_assets.errors import ConfigError, PromptTableError

REASONS_TOLD = 5
_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*%\s*", re.ASCII)
_ALLOWED = "allowed is a number of rows, as 20, or a share of them, as 0.05 or 5%"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxRejected:
    """The most rows that may be rejected, as a number or as a share.

    Attributes:
        rows: The number; None where it is a share.
        share: From 0 to 1; None where it is a number.
        told: As it was written.
    """

    rows: int | None = None
    share: Fraction | None = None
    told: str

    @classmethod
    def of(cls, given: int | float | str) -> MaxRejected:
        """What a dataset declares: 20 (rows), 0.05 or "5%" (of the rows).

        Raises:
            ConfigError: It is neither. 1.0 is refused as well, since it may be meant as one row or as all.
        """
        told = str(given)
        refusal = ConfigError(f"prompts.max_rejected: got {given!r}, {_ALLOWED}")
        if isinstance(given, bool):
            raise refusal
        if isinstance(given, int) or (isinstance(given, str) and re.fullmatch(r"\d{1,18}", told, re.ASCII)):
            if int(given) < 0:
                raise refusal
            return cls(rows=int(given), told=told)
        if percent := _PERCENT.fullmatch(told):
            share = Fraction(percent[1]) / 100
            if share > 1:
                raise refusal
            return cls(share=share, told=told)
        try:
            share = Fraction(told)
        except (ValueError, ZeroDivisionError):  # a word; NaN and infinity; 1/0
            raise refusal from None
        if not 0 <= share < 1:
            raise refusal
        return cls(share=share, told=told)

    def allows(self, rejected: int, *, of: int) -> bool:
        """Whether so many rejected rows of so many are borne."""
        return rejected <= (self.rows if self.share is None else self.share * of)  # type: ignore[operator]  # one is set

    def __str__(self) -> str:
        return self.told if self.share is None else f"{float(self.share * 100):g}%"


def refuse_unless_enough(
    *,
    rows: int,
    accepted: int,
    rejected: pd.DataFrame,
    misfits: int,
    table_rows: int,
    with_table: bool,
    limit: MaxRejected | None,
) -> None:
    """Refuse a table, or a partition's share of it, of which too little is left.

    Rows that can belong to no partition are told in each, and are nobody's: they are measured against the whole table.

    Args:
        rows: Rows that are this partition's.
        accepted: Those of them that are within the limits.
        rejected: Every violation, columns as `CheckedPrompts.rejected`.
        misfits: Rows of the whole table that can belong to no partition.
        table_rows: Rows of the whole table.
        with_table: Whether a row's table is told, where there are several.
        limit: What the dataset bears; None where it bears everything but to lose all rows.

    Raises:
        PromptTableError: There are rows and none is accepted, or more are rejected than the limit allows.
    """
    lost = rows - accepted
    if rows and not accepted:
        told = "the only row is" if rows == 1 else f"all {rows} rows are"
        raise PromptTableError(f"{told} rejected, and nothing would be left{_reasons(rejected, with_table=with_table)}")
    if limit is None:
        return
    for found, among, whose in (
        (lost, rows, "rows"),
        (misfits, table_rows, "rows of the table, which fit no partition,"),
    ):
        if not limit.allows(found, of=among):
            told = f"{found} of {among} {whose} are rejected, and prompts.max_rejected allows {limit}"
            raise PromptTableError(f"{told}{_reasons(rejected, with_table=with_table)}")


def _reasons(rejected: pd.DataFrame, *, with_table: bool) -> str:
    lines = describe_rows(rejected, most=REASONS_TOLD, with_table=with_table)
    return "".join(f"\n  {line}" for line in lines) + "\nNothing was written; mend the table and read it again"


def describe_rows(rows: pd.DataFrame, *, most: int, with_table: bool) -> Iterator[str]:
    """A line for each of the first rejected or warned rows, and one for how many more there are.

    Args:
        rows: Columns as `CheckedPrompts.rejected`.
        most: So many lines at most, before the last one.
        with_table: Tell the table that each row is of.
    """
    for row in rows.head(most).itertuples():
        where = f"{row.table!s}, row {row.row_number}" if with_table else f"row {row.row_number}"
        cell = f"{row.column!s} {row.value!r}" if row.column else "the row"
        yield f"{where}: {cell}; allowed is {row.allowed!s}; {row.fix!s}"
    if len(rows) > most:
        yield f"… and {len(rows) - most} more"
