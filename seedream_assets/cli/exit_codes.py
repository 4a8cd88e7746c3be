"""Every exit code of `seedream`, for all of its commands; docs/command-line.md has the same table for people."""

from __future__ import annotations

from collections.abc import Mapping

DONE = 0
COULD_NOT_RUN = 1
# Of commands that compare, as of diff: `check`, `export`, `verify`.
DIFFERENT = 1
WRONG_USAGE = 2  # click's own
NOT_COMPARED = 2
NOT_ALL_FINAL = 3
AWAITING_APPROVAL = 4
NOTHING_STORED = 5

# By code, what it means for `run`; `plan` has the first four, and means a run that would end so.
MEANINGS: Mapping[int, str] = {
    DONE: "every wanted image is final, and what was to buy was stored",
    COULD_NOT_RUN: "it could not run, or could not go on: no cap, a wrong key, a hash that fits no plan; stderr says why",
    WRONG_USAGE: "wrong usage",
    NOT_ALL_FINAL: "some images are not final (over a cap or the balance, uncertain, pending, interrupted), or a partition "
    "could not be planned; run it again once that is mended",
    AWAITING_APPROVAL: "only a preview was bought, and the rest waits for an approval",
    NOTHING_STORED: "all is final and no image was stored: every request was refused, blocked, failed or withheld",
}


def described() -> str:
    """The table for `--help`, a line for each code."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning in MEANINGS.items())
