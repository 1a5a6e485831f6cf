"""Requests as Twilio sends them: made and signed by twilio-webhook, sent and changed here.

For scripts/run and examples/ordering-upstream/try, which send what no honest sender does, and from chosen addresses.
"""

import http.client
import json
import os
import pathlib
import secrets
import shlex
import subprocess
from dataclasses import dataclass, field, replace
from typing import Dict, Optional
from urllib.parse import urlsplit, urlunsplit

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/debug/twilio-webhook"

# The demonstration's account. Public on purpose: a real token comes from the environment.
DEMO = {
    "TWILIO_AUTH_TOKEN": "demo-auth-token-not-a-secret",
    "TWILIO_ACCOUNT_SID": "AC" + "0123456789abcdef" * 2,
    "WEBHOOK_URL": "https://orders.example.com/api/v1/whatsapp/webhook",
}


def build():
    """Builds twilio-webhook; returns whether that worked."""
    command = ["cargo", "build", "--locked", "--quiet", "--features", "cli", "--bin", "twilio-webhook"]
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target"))
    return subprocess.run(command, cwd=ROOT, env=environment).returncode == 0


def demo_environment():
    """The environment, with the demonstration's account and URL where it has none."""
    return {**os.environ, **{name: os.environ.get(name) or value for name, value in DEMO.items()}}


def new_sid(prefix: str) -> str:
    """A SID: two letters and 32 lower-case hex digits."""
    return prefix + secrets.token_hex(16)


def _json_of(*arguments: str, environment=None):
    command = [str(BINARY), "--json", *arguments]
    done = subprocess.run(command, env=environment or demo_environment(), check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def made(*options: str, environment=None, **parameters: str) -> "Webhook":
    """What `twilio-webhook send` would send with these options and parameters."""
    pairs = [f"{name}={value}" for name, value in parameters.items()]
    request = _json_of("send", "--dry-run", *options, "--", *pairs, environment=environment)
    body = request["body"].encode() if request["method"] == "POST" else None
    return Webhook(request["method"], request["url"], request["headers"], body)


def signature(url: str, *options: str, environment=None) -> str:
    """The value of X-Twilio-Signature over a URL and, by the options of `twilio-webhook sign`, more."""
    return _json_of("sign", url, *options, environment=environment)["headers"]["x-twilio-signature"]


@dataclass(frozen=True)
class Webhook:
    """One request: what is on the wire, and the URL that it is signed for."""

    method: str
    url: str
    headers: Dict[str, str] = field(default_factory=dict)
    body: Optional[bytes] = None

    @property
    def target(self) -> str:
        """What stands in the request line."""
        parts = urlsplit(self.url)
        return urlunsplit(("", "", parts.path or "/", parts.query, ""))

    def with_headers(self, **changes: Optional[str]) -> "Webhook":
        """A copy with headers changed (x_twilio_signature="…") or, with None, left out."""
        headers = dict(self.headers)
        for name, value in changes.items():
            name = name.replace("_", "-")
            headers.pop(name, None)
            if value is not None:
                headers[name] = value
        return replace(self, headers=headers)

    def send(self, to: str, source: Optional[str] = None, timeout: float = 20) -> "Answer":
        """Sends it to the server at `to`, whatever host its URL names."""
        server = urlsplit(to)
        make = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
        connection = make(
            server.hostname, server.port, timeout=timeout, source_address=(source, 0) if source else None
        )
        try:
            connection.request(self.method, self.target, body=self.body, headers=self.headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def curl(self, to: str) -> str:
        """The same request as a command."""
        words = ["curl", "-i", "-X", self.method, to.rstrip("/") + self.target]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        if self.body is not None:
            words += ["--data-binary", self.body.decode()]
        return shlex.join(words)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
