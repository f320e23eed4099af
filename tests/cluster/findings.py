"""The result of one check, and the report of all checks of a run."""

import dataclasses

SHOWN = 5


@dataclasses.dataclass
class Finding:
    """The result of checking one invariant."""

    number: int
    claim: str
    checked: str = ""
    violations: list[str] = dataclasses.field(default_factory=list)
    # Cases that a documented exception covers.
    excused: int = 0

    def violate(self, text: str) -> None:
        """Adds a violation."""
        self.violations.append(text)

    def show(self) -> str:
        """Returns one line, and below it the first violations."""
        verdict = f"VIOLATED {len(self.violations)} times" if self.violations else "ok"
        excused = f", {self.excused} excused" if self.excused else ""
        lines = [f"  ({self.number}) {self.claim}: {verdict} ({self.checked}{excused})"]
        lines += [f"        {text}" for text in self.violations[:SHOWN]]
        if len(self.violations) > SHOWN:
            lines.append(f"        and {len(self.violations) - SHOWN} more")
        return "\n".join(lines)


@dataclasses.dataclass
class Report:
    """All findings and measurements of one scenario."""

    scenario: str
    findings: list[Finding] = dataclasses.field(default_factory=list)
    measurements: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Returns whether no invariant was violated."""
        return not any(finding.violations for finding in self.findings)

    def show(self) -> str:
        """Returns the whole report as text."""
        return "\n".join([finding.show() for finding in self.findings] + [f"  {each}" for each in self.measurements])
