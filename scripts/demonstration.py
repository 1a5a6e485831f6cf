"""What scripts/run and its several Envoys have in common: building, child processes, and the table of answers."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

import webhooks
from processes import ROOT, Failure, Processes, run

ENVOY = ROOT / "target/tools/envoy"
UPSTREAM = ROOT / "examples/ordering-upstream"
RUN = ROOT / "target/run"
# The only path at which the example upstream takes a webhook.
WEBHOOK_PATH = urlsplit(webhooks.DEMO["WEBHOOK_URL"]).path
# The flood comes from an address of its own, so that its limit is used up and not that of the person who goes on.
FLOOD_FROM = "127.0.0.2"
FLOOD, LIMIT = 70, 60


# --- addresses ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """Where something listens, by which name, and which file says so."""

    name: str
    host: str
    port: int
    file: str

    @property
    def url(self):
        return f"http://{self.reach}:{self.port}"

    @property
    def reach(self):
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host

    def get(self, path, timeout=2):
        """The body of a GET, or None if there is no answer of 200."""
        connection = http.client.HTTPConnection(self.reach, self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return body if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def is_free(self):
        return self._problem() is None

    def check_free(self):
        problem = self._problem()
        if problem:
            raise Failure(
                f"port {self.port} on {self.host} is taken ({problem}). Something else listens there: end it, or "
                f"change the port in {self.file} ({self.name}); this script reads it from there."
            )

    def _problem(self):
        with socket.socket() as probe:
            # As servers do, so that a connection still closing does not count; SO_REUSEPORT left out on purpose,
            # because Envoys share a port that way without a word.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
                return None
            except OSError as error:
                return error.strerror


def addresses(config, names):
    """The addresses in an Envoy's configuration, read from there so that it stays the one place where they are set."""
    lines = (ROOT / config).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found = re.findall(r"address: ([0-9.]+), port_value: (\d+)", text)
    if len(found) != len(names):
        raise Failure(f"{config} has {len(found)} addresses, and this script knows what to do with {', '.join(names)}.")
    return [Address(name, host, int(port), config) for name, (host, port) in zip(names, found)]


# --- building and starting ------------------------------------------------------------------------


# What cargo builds for each host of the filter: docs/hosts.md.
WASM = ("--target", "wasm32-wasip1")
NATIVE = ("--features", "native")


def build(*setup, host=WASM):
    """Builds filter and upstream; `setup` is what scripts/setup is told."""
    run("scripts/setup", *setup, target=ROOT / "target")
    print("run: building the filter", flush=True)
    run("cargo", "build", "--locked", "--release", "--lib", *host, target=ROOT / "target")
    if host == WASM:
        run("scripts/finish", ROOT / "target/wasm32-wasip1/release/twilio_webhook_filter.wasm", target=ROOT / "target")
    print("run: building twilio-webhook, which signs", flush=True)
    if not webhooks.build():
        raise Failure("failed: cargo build --features cli --bin twilio-webhook")
    print("run: building the ordering upstream", flush=True)
    manifest = UPSTREAM / "Cargo.toml"
    run("cargo", "build", "--locked", "--release", "--manifest-path", manifest, target=UPSTREAM / "target")


def environment_of_the_demonstration():
    """The environment, with the demonstration's account and URL where it has none."""
    environment = webhooks.demo_environment()
    if urlsplit(environment["WEBHOOK_URL"]).path != WEBHOOK_PATH:
        raise Failure(f"WEBHOOK_URL must have the path {WEBHOOK_PATH}: the example upstream has no other webhook.")
    return environment


class Children(Processes):
    """The processes of the demonstration; signals do not keep it from ending them."""

    def __init__(self):
        super().__init__(RUN)
        self.containers = []

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        super().__exit__()
        for container in self.containers:
            subprocess.run(["docker", "rm", "-f", container], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_upstream(children, upstream, environment):
    for old in RUN.glob("orders.db*"):
        old.unlink()
    settings = dict(
        environment, LISTEN_ADDR=f"{upstream.host}:{upstream.port}", DATABASE_PATH=str(RUN / "orders.db")
    )
    binary = UPSTREAM / "target/release/ordering-upstream"
    children.start("upstream", [str(binary)], settings)
    children.wait_until(lambda: upstream.get("/healthz") is not None, "the upstream", 20)


def end_on_signals():
    def end(number, _):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What somebody had ignored (nohup) stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def stay_up(children):
    try:
        while True:
            children.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("\nrun: stopping")


# --- what is sent, and what became of it ----------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One request, and what should become of it."""

    name: str
    webhook: webhooks.Webhook
    status: int
    error: str = ""
    upstream: str = "nothing"


class Witness:
    """Tells what has come through: Envoy counts what it sent on, the upstream lists what it stored."""

    def __init__(self, admins, upstream):
        self.admins = admins
        self.upstream = upstream

    def sent_on(self):
        path = "/stats?filter=^cluster.ordering_upstream.upstream_rq_total$&format=json"
        try:
            return sum(json.loads(admin.get(path))["stats"][0]["value"] for admin in self.admins)
        except (TypeError, ValueError, LookupError):
            raise Failure("Envoy's admin address does not tell how many requests went to the upstream.") from None

    def stored(self):
        try:
            return {message["id"] for message in json.loads(self.upstream.get("/messages"))}
        except (TypeError, ValueError, LookupError):
            raise Failure("the upstream's /messages does not list the stored messages.") from None

    def watch(self, action):
        """Runs it; returns what it returns, how many requests went to the upstream, and how many were stored."""
        sent, stored = self.sent_on(), self.stored()
        result = action()
        return result, self.sent_on() - sent, len(self.stored() - stored)


def answer_to(webhook, to, source=None):
    """Status and error of the answer, as in the table."""
    try:
        answer = webhook.send(to, source)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    try:
        error = json.loads(answer.body)["error"]
    except (ValueError, LookupError, TypeError):
        error = ""
    return f"{answer.status} {error}".rstrip()


def flood(environment, listeners):
    """Different genuine messages, one after the other, to each listener in turn; what came back, as in the table."""
    answers = Counter()
    for listener in itertools.islice(itertools.cycle(listeners), FLOOD):
        webhook = webhooks.made(environment=environment)
        answers[answer_to(webhook, listener.url, FLOOD_FROM)] += 1
    return ", ".join(f"{count}×{answer}" for answer, count in answers.items())


def has_flood_address() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((FLOOD_FROM, 0))
            return True
        except OSError:
            return False


# --- what is shown --------------------------------------------------------------------------------


class Table:
    """Prints each line as soon as it is known."""

    WIDTHS = (44, 27, 27)

    def __init__(self):
        self.differ = 0
        self.line("", "sent", "expected", "answered", "upstream got")

    def line(self, mark, *cells):
        padded = [cell.ljust(width) for cell, width in zip(cells, self.WIDTHS)]
        print(f"{mark:8}" + "  ".join([*padded, *cells[len(padded) :]]).rstrip(), flush=True)

    def add(self, name, expected, answered, upstream_expected, upstream):
        same = (expected, upstream_expected) == (answered, upstream)
        if upstream != upstream_expected:
            upstream += f", expected {upstream_expected}"
        self.differ += not same
        self.line("ok" if same else "DIFFERS", name, expected, answered, upstream)

    def end(self):
        """Returns how many lines differ."""
        print()
        print(f"{self.differ} of these differ from what was expected." if self.differ else "Everything as expected.")
        return self.differ


def what_reached(sent_on, stored):
    if not sent_on:
        return "nothing" if not stored else f"{stored} stored"
    kind, count = ("stored", stored) if stored else ("reached", sent_on)
    return kind if sent_on == 1 else f"{count} {kind}"


def add_flood(table, witness, environment, listeners):
    what, turn = ("different signed", "") if len(listeners) == 1 else ("signed", ", in turn")
    name = f"{FLOOD} {what} messages from {FLOOD_FROM}{turn}"
    if not has_flood_address():
        table.line("skipped", name, f"this system has no {FLOOD_FROM} (macOS: sudo ifconfig lo0 alias {FLOOD_FROM})")
        return
    answered, sent_on, stored = witness.watch(lambda: flood(environment, listeners))
    expected = f"{LIMIT}×200, {FLOOD - LIMIT}×429 rate_limited"
    table.add(name, expected, answered, f"{LIMIT} stored", what_reached(sent_on, stored))
