"""Finding: what one check of `mesh doctor` has found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """`check` names what was looked at, `verdict` is OK, WARN (it works, but) or FAIL. `text` says
    what is so, `advice` what to do, unless all is well."""

    check: str
    verdict: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:4}  {self.check:11}  {self.text}"
        return f"{line}: {self.advice}" if self.advice else line

    def as_json(self) -> dict[str, str]:
        """For a program."""
        said = {"check": self.check, "verdict": self.verdict.lower(), "text": self.text}
        return said | {"advice": self.advice}
