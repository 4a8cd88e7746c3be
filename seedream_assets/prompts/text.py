"""The prompt itself: one spelling for one text, and what it may not hold.

Belongs here: everything about the final text of a prompt. Not here: where it comes from (`prompts.template`).
"""

from __future__ import annotations

import re

import numpy as np

from seedream_assets.config.models import ModelSpec
from seedream_assets.prompts.cells import Texts
from seedream_assets.prompts.row_errors import IntArray, RowError, RowErrorLog, shown

LONGEST_SHOWN_PROMPT = 80
# All of Unicode's Cc but newline and tab. Bidirectional marks and joiners are of other categories: they are text.
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}]"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VISIBLE_OR_CONTROL = r"[^\s\p{Z}\p{Cf}]"
_LOST_CHARACTER = "\ufffd"


def final_text(prompts: Texts) -> Texts:
    """The prompts as they are sent: NFC, line ends as one newline, outer whitespace trimmed; null where empty.

    NFC, because two spellings of one text would otherwise be two specs, and be paid for twice. A text of which
    nothing shows (spaces, invisible marks) counts as empty.
    """
    texts = prompts.normalised()
    shows = np.zeros(len(texts), dtype=np.bool_)
    shows[texts.matching(_VISIBLE_OR_CONTROL)] = True
    return texts.without(np.flatnonzero(texts.filled() & ~shows))


def check_texts(column: str, prompts: Texts, unrendered: IntArray, row_errors: RowErrorLog) -> None:
    """Reject prompts that are empty or hold control characters; warn where a character was lost on the way.

    Args:
        column: The table's column to name.
        prompts: As `final_text` gives them.
        unrendered: Rows that have no prompt for a reason that is already noted.
        row_errors: Where to note it.
    """
    empty = np.setdiff1d(np.flatnonzero(~prompts.filled()), unrendered)
    nothing = RowError("prompt_empty", "a text that is not empty", "write a prompt, or take the row out")
    row_errors.reject(empty, column, [""] * len(empty), nothing)
    rows = controlled(prompts)
    texts = prompts.take(rows).strings()
    row_errors.reject(rows, column, _shown(texts), [control_fault("prompt", text) for text in texts])
    may_be_lost = prompts.any_byte(lambda byte: byte == _LOST_CHARACTER.encode()[0])
    rows = prompts.containing(_LOST_CHARACTER) if may_be_lost else np.empty(0, dtype=np.int64)
    lost = RowError("replacement_character", "text without U+FFFD", "a letter was lost on the way here; type it again")
    row_errors.warn(rows, column, _shown(prompts.take(rows).strings()), lost)


def controlled(texts: Texts) -> IntArray:
    """The rows in whose text there is a control character. U+0080 to U+009F begin with the byte C2."""
    if texts.any_byte(lambda byte: (byte < 0x20) | (byte == 0x7F) | (byte == 0xC2)):
        return texts.matching(CONTROL)
    return np.empty(0, dtype=np.int64)


def check_lengths(column: str, prompts: Texts, rows: IntArray, model: ModelSpec, row_errors: RowErrorLog) -> None:
    """Reject prompts of `rows`, all for this model, that have more characters (code points) than it takes."""
    limit = model.prompt_characters
    lengths = prompts.lengths()[rows]
    over = lengths > limit.high
    found = [
        RowError("prompt_length", str(limit), f"it has {length} characters; take {length - limit.high:.0f} of them out")
        for length in lengths[over].tolist()
    ]
    row_errors.reject(rows[over], column, _shown(prompts.take(rows[over]).strings()), found)


def control_fault(name: str, text: str) -> RowError:
    """The fault of a text with a control character in it, with the place of the first one."""
    found = _CONTROL.search(text)
    place = f"U+{ord(found[0]):04X} at character {found.start() + 1}" if found else "it"
    return RowError(f"{name}_control_character", "text without control characters", f"take {place} out")


def _shown(texts: list[str]) -> list[str]:
    return [shown(text, LONGEST_SHOWN_PROMPT) for text in texts]
