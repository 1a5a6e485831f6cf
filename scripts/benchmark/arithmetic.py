"""Medians, and differences within a round."""

from dataclasses import asdict, dataclass


def quantile(values, part):
    """Between two values where it falls between them."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * part
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values):
    return quantile(values, 0.5)


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles: half of all rounds are between these."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values):
        return Spread(quantile(values, 0.25), median(values), quantile(values, 0.75))

    def as_dict(self):
        return asdict(self)


def paired(values, base, combine):
    """`combine` of what was measured in the same round. A machine that is slow for a while is so for both."""
    if len(values) != len(base):
        raise ValueError("not measured in the same rounds")
    return Spread.of([combine(value, beside) for value, beside in zip(values, base)])


def microseconds(measured):
    """What one slice says of one request: processor time, and latency, in the median and as one in a hundred exceeds
    it, among 16 at a time and alone."""
    return {
        "cpu": measured["cpu_ns"] / measured["answers"] / 1000,
        "p50": measured["p50_ns"] / 1000,
        "p99": measured["p99_ns"] / 1000,
        "alone_p50": median(measured["alone_ns"]) / 1000,
        "alone_p99": quantile(measured["alone_ns"], 0.99) / 1000,
    }


def summarise(measured, base):
    """Of each variant: what it takes, what it adds to `base`, how many times `base` it takes."""
    rounds = {name: [microseconds(each) for each in slices] for name, slices in measured.items()}
    summary = {}
    for name, values in rounds.items():
        summary[name] = {}
        for what in values[0]:
            own = [value[what] for value in values]
            beside = [value[what] for value in rounds[base]]
            summary[name][what] = {
                "takes": Spread.of(own),
                "adds": paired(own, beside, lambda a, b: a - b),
                "times": paired(own, beside, lambda a, b: a / b),
            }
    return summary


def compared(slices, beside):
    """What one variant takes, what another does beside it, and by how much it is more, in the same rounds."""
    own, other = ([microseconds(each) for each in these] for these in (slices, beside))
    pairs = {}
    for what in own[0]:
        mine, theirs = [each[what] for each in own], [each[what] for each in other]
        pairs[what] = {
            "takes": Spread.of(mine),
            "beside": Spread.of(theirs),
            "adds": paired(mine, theirs, lambda a, b: a - b),
        }
    return pairs


def busy(slices):
    """The part of the time in which the server's core worked for the server. Well below 1: something else wanted it, or
    the load was not enough."""
    return median([each["cpu_ns"] / each["wall_ns"] for each in slices])
