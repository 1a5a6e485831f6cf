"""The results as a table to read, as Markdown and as JSON."""

import json

from processes import Failure

from .arithmetic import Spread, compared, median, microseconds
from .variants import WITH_REDIS

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

# Below that, the servers' core was not theirs alone.
QUIET = 0.85

HEADINGS = ["", "CPU, µs", "added", "times", "busy: p50", "p99", "alone: p50", "p99"]


def number(value, signed=False):
    """Three digits are more than what is measured holds."""
    digits = 0 if abs(value) >= 100 else 1
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "−")


def spread(value, signed=False):
    low, high = number(value.low, signed), number(value.high, signed)
    return f"{number(value.median, signed)} ({low} … {high})"


def rows(variants, summary, base):
    """One for each variant, in the order of HEADINGS."""
    table = []
    for variant in variants:
        values = summary[variant.name]
        cpu = values["cpu"]
        same = variant.name == base
        table.append(
            [
                variant.label,
                spread(cpu["takes"]),
                "" if same else spread(cpu["adds"], signed=True),
                "" if same else f"{cpu['times'].median:.2f}",
                *(number(values[what]["takes"].median) for what in ("p50", "p99", "alone_p50", "alone_p99")),
            ]
        )
    return table


def aligned(headings, table):
    """For a terminal: names to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in [headings, *table]) for column in range(len(headings))]

    def line(cells):
        first, *others = [cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width)
                          in enumerate(zip(cells, widths))]
        return "  ".join([first, *others]).rstrip()

    return "\n".join(map(line, [headings, *table]))


def markdown(headings, table):
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *table])


def ratio(value, bound):
    """As many digits as it takes to tell the two apart."""
    digits = 2 if bound < 10 else 1
    return f"{value:.{digits}f}"


def target_rows(targets):
    table = []
    for target in targets:
        measured = "" if target.ratio is None else ratio(target.ratio, target.bound)
        bound = ("≥ " if target.at_least else "≤ ") + f"{target.bound:.3g}"
        table.append([target.text, measured, bound, target.word])
    return table


TARGET_HEADINGS = ["target", "measured", "bound", ""]


def first_rows(first, labels):
    table = []
    for name, runs in first.items():
        ratios = Spread.of([each["first_us"] / each["later_us"] for each in runs])
        table.append(
            [
                labels[name],
                spread(Spread.of([each["first_us"] for each in runs])),
                spread(Spread.of([each["later_us"] for each in runs])),
                spread(ratios),
            ]
        )
    return table


FIRST_HEADINGS = ["", "first message, µs", "median of the later ones, µs", "times"]
FIRST_LABELS = {
    "envoy": "Envoy alone",
    "envoy, probed": "Envoy alone, after a health check",
    "native": "this filter, native",
    "native, probed": "this filter, native, after a health check",
    "filter": "this filter, Wasm",
    "filter, probed": "this filter, Wasm, after a health check",
}


REDIS_HEADINGS = ["With Redis", "CPU, µs", "busy: p50, µs", "p99, µs", "alone: p50, µs", "p99, µs"]


def redis(measured):
    """What Redis adds to an accepted request, for each version of the filter of which this run has measured both."""
    return {
        version: compared(measured[shared], measured[here])
        for version, (here, shared) in WITH_REDIS.items()
        if here in measured and shared in measured
    }


def redis_rows(versions):
    labels = {"beside": "one Envoy's memory", "takes": "Redis", "adds": "Redis adds"}
    return [
        [f"{version}: {label}", *(spread(values[which], signed=which == "adds") for values in pairs.values())]
        for version, pairs in versions.items()
        for which, label in labels.items()
    ]


def closing(variants, measured):
    """A line about those that close the connection after their answers: opening another is part of what they cost."""

    def closes(variant):
        return median([each["reconnected"] / each["answers"] for each in measured[variant.name]]) > 0.5

    labels = [variant.label for variant in variants if closes(variant)]
    return f"Closed the connection after each answer: {', '.join(labels)}." if labels else ""


def as_text(results):
    parts = [aligned(HEADINGS, rows(results.variants, results.summary, results.base))]
    closed = closing(results.variants, results.measured)
    if closed:
        parts.append(closed)
    if results.redis:
        parts.append(aligned(REDIS_HEADINGS, redis_rows(results.redis)))
    if results.first:
        parts.append(aligned(FIRST_HEADINGS, first_rows(results.first, FIRST_LABELS)))
    parts.append(aligned(TARGET_HEADINGS, target_rows(results.targets)))
    return "\n\n".join(parts)


def measured_on(results):
    machine = results.machine
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['kernel']}. Envoy "
        f"{machine['envoy']}, Node.js {machine['node']}, Express {machine['express']}, express-rate-limit "
        f"{machine['express-rate-limit']}, twilio {machine['twilio']}.\n{results.rounds} rounds; the median, and "
        f"in brackets the quartiles.{disturbed(results.busy[results.base])}"
    )


def disturbed(busy):
    """A sentence about a run whose core did other work, too."""
    if busy >= QUIET:
        return ""
    return (
        f" Other programs took part of the servers' core, which worked for the servers {busy:.0%} of the time: "
        "so trust what was paired (*added*, *times*), and not the latencies."
    )


# What somebody wants to know who has not decided yet.
FIRST_SIGHT = [
    "envoy",
    "lua",
    "lua-check-accepted",
    "lua-check-forged",
    "native-accepted",
    "native-forged",
    "filter-accepted",
    "filter-forged",
    "ext-authz-accepted",
    "ext-authz-forged",
    "express-accepted",
    "express-forged",
]


def at_first_sight(results):
    """For the README: the variants that one chooses between."""
    variants = [variant for variant in results.variants if variant.name in FIRST_SIGHT]
    return f"{markdown(HEADINGS, rows(variants, results.summary, results.base))}\n\n{measured_on(results)}"


def as_markdown(results):
    closed = closing(results.variants, results.measured)
    return "\n\n".join(
        [
            measured_on(results),
            markdown(HEADINGS, rows(results.variants, results.summary, results.base)),
            *([closed] if closed else []),
            "An accepted request where nonces and limits are in one Envoy's memory, and where they are in Redis:",
            markdown(REDIS_HEADINGS, redis_rows(results.redis)),
            "The first message after a start, sent alone, over "
            f"{len(results.first['envoy'])} starts of each:",
            markdown(FIRST_HEADINGS, first_rows(results.first, FIRST_LABELS)),
            "What the filter is to reach:",
            markdown(TARGET_HEADINGS, target_rows(results.targets)),
        ]
    )


def as_json(results):
    def plain(value):
        if isinstance(value, Spread):
            return value.as_dict()
        raise TypeError(type(value))

    return json.dumps(
        {
            "machine": results.machine,
            "rounds": results.rounds,
            "busy": results.busy,
            "summary": results.summary,
            "redis": results.redis,
            "first": results.first,
            "targets": [target.as_dict() for target in results.targets],
            "measured": {
                name: [dict(microseconds(each), reconnected=each["reconnected"]) for each in slices]
                for name, slices in results.measured.items()
            },
        },
        default=plain,
        indent=1,
    )


def between_markers(page, text, name):
    """The page of this name with `text` in place of what stands between the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Failure(f"{name} has no {BEGIN} … {END}.")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
