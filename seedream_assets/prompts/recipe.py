"""A dataset's defaults: what a row gets where its own cell is empty.

Not here: checking them, which is checking a row that has nothing of its own (`prompt_table.check_recipe`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from seedream_assets.config.models import NO_STYLE, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A dataset's defaults; a row's own cell wins.

    Attributes:
        width, height: Pixels; None for the model's own default.
        quantity: Images per prompt; more than one request may hold is split later.
        seed: None to derive one from the request.
        style: A preset's name in any case, or its UUID.
        references: Each as one item of a table's `references` cell.
    """

    model: str = "seedream-4.0"
    width: int | None = None
    height: int | None = None
    quantity: int = 1
    seed: int | None = None
    style: str = NO_STYLE
    prompt_enhance: str = "OFF"
    public: bool = False
    references: tuple[str, ...] = ()
    reference_strength: str = "MID"

    def cells(self, model: ModelSpec) -> dict[str, str]:
        """The defaults as a table's cells would give them, for a row of this model; an empty text for none."""
        return {
            "width": str(model.default_width_px if self.width is None else self.width),
            "height": str(model.default_height_px if self.height is None else self.height),
            "quantity": str(self.quantity),
            "seed": "" if self.seed is None else str(self.seed),
            "style": self.style,
            "prompt_enhance": self.prompt_enhance,
            "public": str(self.public),
            "references": json.dumps(self.references, ensure_ascii=False) if self.references else "",
            "reference_strength": self.reference_strength,
        }
