"""What the doctor finds: a line each. Standard library only, as all that the doctor needs."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, FAIL = "OK", "NOTE", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    status: str
    subject: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{f'[{self.status}]':<6} {self.subject}: {self.detail}"
        return line + (f"\n       -> {self.remedy}" if self.remedy else "")
