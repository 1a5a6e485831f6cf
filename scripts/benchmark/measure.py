"""The rounds: in each, a short slice of every variant, so that all of them meet the same machine."""

import time
from collections import defaultdict, deque

from .arithmetic import median
from .servers import ACCOUNT, SERVERS

CONNECTIONS = 16
# In one slice of one variant. More would take longer; fewer would be measured less well than they vary.
COUNT, WARM = 320, 32
# Rounds before those that count: both V8s, Envoy's and Node's, translate once more what is used often.
WARM_ROUNDS = 8
# The filter remembers 65536 accepted requests, each for 300 s in any case, and then rejects more. Express forgets what
# it has accepted after the same time.
REMEMBERED, WINDOW = 60_000, 300

# So many more one after the other, to see how long a request takes that need not wait for others.
ALONE = {"connections": 1, "warm": 4, "count": 50, "each": True}
# The same after a server's start, from the first on.
FIRST = {"connections": 1, "warm": 0, "count": 101, "each": True, "settle_ms": 50}


class Numbers:
    """Numbers the messages, so that each is sent once; and knows which were accepted where."""

    def __init__(self):
        self.next = 1
        # Of each server: when, from which number on, how many. The latest are last.
        self.accepted = defaultdict(deque)

    def take(self, count):
        first, self.next = self.next, self.next + count
        return first

    def accept(self, server, first, count):
        """Notes it; waits if the server would have to remember more than it promises to."""
        accepted = self.accepted[server]
        while sum(each for _, _, each in accepted) + count > REMEMBERED:
            time.sleep(max(0, accepted[0][0] + WINDOW - time.monotonic()))
            accepted.popleft()
        accepted.append((time.monotonic(), first, count))

    def accepted_by(self, server, count):
        """The first of so many messages that the server has accepted and certainly remembers, or None."""
        recent = time.monotonic() - WINDOW * 0.8
        found = (first for when, first, enough in reversed(self.accepted[server]) if enough >= count and when > recent)
        return next(found, None)


class Measurement:
    """Servers that are up, and what sends to them."""

    def __init__(self, variants, load, processes):
        self.variants = variants
        self.load = load
        self.processes = processes
        self.numbers = Numbers()
        self.running = {}

    def start(self):
        for variant in self.variants:
            if variant.server not in self.running:
                self.running[variant.server] = SERVERS[variant.server].start(self.processes, self.load.upstream)
        for variant in self.variants:
            if variant.allowance:
                self.send(variant, expected=200, warm=0, count=variant.allowance, connections=1)

    def send(self, variant, **changes):
        server = self.running[variant.server]
        wanted = {
            "to": server.address,
            "pids": server.pids,
            "account": ACCOUNT,
            "kind": variant.kind,
            "expected": variant.expected,
            "connections": CONNECTIONS,
            "warm": WARM,
            "count": COUNT,
            **changes,
        }
        is_accepted = wanted["expected"] == 200
        wanted["passes"] = is_accepted and SERVERS[variant.server].has_upstream
        total = wanted["warm"] + wanted["count"]
        if variant.repeats and not is_accepted:
            first = self.numbers.accepted_by(variant.server, total)
            if first is None:
                self.send(variant, **changes, expected=200)
                first = self.numbers.accepted_by(variant.server, total)
            return self.load.run(**wanted, first=first)
        first = self.numbers.take(total)
        if is_accepted:
            self.numbers.accept(variant.server, first, total)
        return self.load.run(**wanted, first=first)

    def slice(self, variant):
        """Sixteen at a time, then one at a time."""
        measured = self.send(variant)
        measured["alone_ns"] = self.send(variant, **ALONE)["each_ns"]
        return measured

    def rounds(self, count, progress=lambda done: None):
        """For each variant what was measured in each round."""
        measured = {variant.name: [] for variant in self.variants}
        for number in range(-WARM_ROUNDS, count):
            for variant in order(self.variants, number):
                one = self.slice(variant)
                if number >= 0:
                    measured[variant.name].append(one)
            self.processes.check()
            if number >= 0:
                progress(number + 1)
        return measured


def order(variants, number):
    """Another one begins in each round, and every second one goes backwards: nobody always follows the same."""
    turn = number % len(variants)
    turned = variants[turn:] + variants[:turn]
    return turned[::-1] if number % 2 else turned


def first_request(name, load, processes, probed=False):
    """Starts a server; how long its first message took, and the later ones in the median, in µs. `probed`: a health
    check came before."""
    with processes() as started:
        server = SERVERS[name].start(started, load.upstream)
        # Whatever a start has left to do is done.
        time.sleep(0.3)
        ask = {"to": server.address, "pids": server.pids, "account": ACCOUNT}
        ask.update(first=1, expected=200, passes=True)
        if probed:
            load.run(**ask, **dict(FIRST, kind="probe", count=1))
        measured = load.run(**ask, **FIRST, kind="signed")
    first, *later = measured["each_ns"]
    return {"first_us": first / 1000, "later_us": median(later) / 1000}


def first_requests(restarts, load, processes):
    """By turns, Envoy alone and the filter in both hosts."""
    measured = {f"{server}{probed}": [] for server in ("envoy", "native", "filter") for probed in ("", ", probed")}
    for _ in range(restarts):
        for name, runs in measured.items():
            server, _, probed = name.partition(", ")
            runs.append(first_request(server, load, processes, bool(probed)))
    return measured
