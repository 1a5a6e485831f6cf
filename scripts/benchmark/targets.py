"""What the filter promises to cost, and whether it does."""

from dataclasses import dataclass
from typing import Optional

from .arithmetic import median


@dataclass(frozen=True)
class Target:
    """A ratio with a bound. `ratio` is None where this run has not measured what it needs."""

    text: str
    ratio: Optional[float]
    bound: float
    at_least: bool = False

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


def targets(summary, first, redis):
    """`redis`: for each version of the filter what Redis adds to it, as far as it was measured."""

    def of(name, what):
        return summary[name]["cpu"][what].median if name in summary else None

    def first_of(name):
        return median([each["first_us"] for each in first[name]]) if name in first else None

    def redis_adds(version, what):
        return redis[version][what]["adds"].median if version in redis else None

    native, wasm, then = (of(f"{name}-accepted", "adds") for name in ("native", "filter", "then"))
    stores = [
        Target(
            f"with Redis, {version}: {name} that Redis adds to an accepted request, of what it added to 0.1",
            divided(redis_adds(version, what), redis_adds("WebAssembly, 0.1", what)),
            0.6,
        )
        for version in ("native", "WebAssembly")
        for what, name in (("cpu", "processor time"), ("alone_p50", "latency alone"))
    ]
    return [
        Target("native: an accepted request adds at most a quarter of what WebAssembly added in 0.1", divided(native, then), 0.25),
        Target("native: an accepted request takes at most 1.15 times what Envoy alone takes", of("native-accepted", "times"), 1.15),
        Target(
            "native, to aim at: an accepted request adds no more than an empty Lua filter that waits for the body does",
            divided(native, of("lua", "adds")),
            1,
        ),
        Target(
            "native: ext_authz to Express adds at least 20 times as much to an accepted request",
            divided(of("ext-authz-accepted", "adds"), native),
            20,
            at_least=True,
        ),
        Target(
            "native: rejecting a forged request takes at most an eighth of what Express takes to reject it",
            divided(of("native-forged", "takes"), of("express-forged", "takes")),
            1 / 8,
        ),
        Target(
            "native: the first message after a start takes at most 1.3 times Envoy's own first",
            divided(first_of("native"), first_of("envoy")),
            1.3,
        ),
        Target("WebAssembly: an accepted request adds at most 0.9 of what it added in 0.1", divided(wasm, then), 0.9),
        *stores,
    ]
