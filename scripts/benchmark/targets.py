"""What the filter promises to cost, and whether it does."""

from dataclasses import dataclass
from typing import Optional

from .arithmetic import Spread


@dataclass(frozen=True)
class Target:
    """A ratio with a bound. `ratio` is None where this run has not measured what it needs."""

    text: str
    ratio: Optional[float]
    bound: float
    at_least: bool = False
    note: str = ""

    @property
    def reached(self):
        if self.ratio is None:
            return None
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    @property
    def word(self):
        return {None: "not measured", True: "reached", False: "not reached"}[self.reached]

    def as_dict(self):
        return {"text": self.text, "ratio": self.ratio, "bound": self.bound, "result": self.word}


def divided(above, below):
    # Something that adds nothing, or less than the noise, is no measure for anything.
    return above / below if above is not None and below is not None and below > 0 else None


def targets(summary, first):
    def of(name, what):
        return summary[name]["cpu"][what].median if name in summary else None

    accepted = of("filter-accepted", "adds")
    ratios = {name: Spread.of([each["first_us"] / each["later_us"] for each in runs]) for name, runs in first.items()}
    said = {"Envoy alone": "envoy", "after a health check": "filter, probed"}
    note = "; ".join(f"{text}: {ratios[name].median:.1f}" for text, name in said.items() if name in ratios)
    return [
        Target(
            "an accepted request adds no more than an empty Lua filter that waits for the body does",
            divided(accepted, of("lua", "adds")),
            1,
        ),
        Target(
            "ext_authz to Express adds at least 20 times as much to an accepted request",
            divided(of("ext-authz-accepted", "adds"), accepted),
            20,
            at_least=True,
        ),
        Target(
            "an accepted request takes at most 1.2 times what Envoy alone takes",
            of("filter-accepted", "times"),
            1.2,
        ),
        Target(
            "rejecting a forged request takes at most a sixth of what Express takes to reject it",
            divided(of("filter-forged", "takes"), of("express-forged", "takes")),
            1 / 6,
        ),
        Target(
            "the first message after a start takes at most twice the median of the later ones",
            ratios["filter"].median if "filter" in ratios else None,
            2,
            note=note,
        ),
    ]
