"""One line of the result: what was measured, beside what, and what was hoped for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .measure import Spread


@dataclass
class Goal:
    """What a row has to reach (`target`), and what it is meant to reach (`aim`).

    It speaks of the ratio to the reference, or of the mesh's own value in the row's unit.
    """

    target: float
    aim: float
    better: Literal["more", "less"]
    of: Literal["ratio", "value"] = "ratio"

    def verdict(self, reached: float) -> str:
        sign = 1 if self.better == "more" else -1
        if sign * reached >= sign * self.aim:
            return "aim"
        return "met" if sign * reached >= sign * self.target else "missed"


@dataclass
class Row:
    """The mesh's samples, and the reference's from the same rounds."""

    name: str
    unit: str
    ours: list[float]
    reference: str = ""
    theirs: list[float] = field(default_factory=list)
    goal: Goal | None = None

    @property
    def value(self) -> Spread:
        return Spread.of(self.ours)

    @property
    def ratio(self) -> Spread | None:
        """The spread of the ratios, each of two samples taken one after the other."""
        if not self.theirs:
            return None
        return Spread.of(
            [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        )

    @property
    def verdict(self) -> str:
        """`aim`, `met` or `missed`; empty where nothing was asked for."""
        if self.goal is None:
            return ""
        spread = self.ratio if self.goal.of == "ratio" else self.value
        return self.goal.verdict(spread.median) if spread else ""

    def to_json(self) -> dict[str, Any]:
        """All samples, and beside them what a reader would work out from them."""
        derived = {
            "value": self.value._asdict(),
            "ratio": self.ratio._asdict() if self.ratio else None,
            "verdict": self.verdict,
        }
        return asdict(self) | derived

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        goal = Goal(**data["goal"]) if data["goal"] else None
        return cls(
            data["name"], data["unit"], data["ours"], data["reference"], data["theirs"], goal
        )
