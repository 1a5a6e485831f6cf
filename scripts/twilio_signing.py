"""What Twilio does when it sends a webhook: signs it, and makes it look like this.

For scripts/run and scripts/send. Only the standard library, so that it works wherever there is a Python 3.9.
"""

import base64
import hashlib
import hmac
import http.client
import secrets
import shlex
import uuid
from dataclasses import dataclass, field, replace
from typing import Dict, List, Optional, Tuple
from urllib.parse import urlencode, urlsplit, urlunsplit

# The demonstration's account. Public on purpose: a real token comes from the environment.
DEMO_TOKEN = "demo-auth-token-not-a-secret"
DEMO_ACCOUNT = "AC" + "0123456789abcdef" * 2
DEMO_URL = "https://orders.example.com/api/v1/whatsapp/webhook"

FORM = "application/x-www-form-urlencoded; charset=utf-8"

Params = List[Tuple[str, str]]


def string_to_sign(url: str, params: Params) -> bytes:
    """The URL, then each name followed by its value, with nothing in between: names sorted, and for a name that is
    there more than once its distinct values sorted."""
    values: Dict[bytes, set] = {}
    for name, value in params:
        values.setdefault(name.encode(), set()).add(value.encode())
    parts = [url.encode()]
    for name in sorted(values):
        for value in sorted(values[name]):
            parts += [name, value]
    return b"".join(parts)


def signature(token: str, url: str, params: Params = ()) -> str:
    """The value of X-Twilio-Signature."""
    mac = hmac.new(token.encode(), string_to_sign(url, list(params)), hashlib.sha1)
    return base64.b64encode(mac.digest()).decode()


def with_body_hash(url: str, body: bytes) -> str:
    """The URL with the bodySHA256 by which it vouches for a body that is no form."""
    parts = urlsplit(url)
    digest = "bodySHA256=" + hashlib.sha256(body).hexdigest()
    return urlunsplit(parts._replace(query=parts.query + "&" + digest if parts.query else digest))


def without_fragment(url: str) -> str:
    """Twilio reads overrides such as #rc=2 from the fragment, and neither sends nor signs it."""
    return url.partition("#")[0]


def new_sid(prefix: str) -> str:
    """A SID: two letters and 32 lower-case hex digits."""
    return prefix + secrets.token_hex(16)


def whatsapp_message(account: str, **changes: str) -> Params:
    """The parameters of an incoming WhatsApp message, in the order in which Twilio sends them."""
    sid = changes.get("MessageSid") or new_sid("SM")
    sender = changes.get("From") or "whatsapp:+15551234567"
    params = {
        "SmsMessageSid": sid,
        "NumMedia": "0",
        "ProfileName": "Ana 🌮",
        "MessageType": "text",
        "SmsSid": sid,
        "WaId": sender.rpartition("+")[2],
        "SmsStatus": "received",
        "Body": "2 tacos al pastor, por favor",
        "To": "whatsapp:+14155238886",
        "NumSegments": "1",
        "ReferralNumMedia": "0",
        "MessageSid": sid,
        "AccountSid": account,
        "ChannelMetadata": '{"type":"whatsapp","data":{"context":{"ProfileName":"Ana 🌮","WaId":"15551234567"}}}',
        "From": sender,
        "ApiVersion": "2010-04-01",
    }
    params.update(changes)
    return list(params.items())


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
            return Answer(response.status, response.reason, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def curl(self, to: str, body_file: Optional[str] = None) -> str:
        """The same request as a command."""
        words = ["curl", "-i", "-X", self.method, to.rstrip("/") + self.target]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        if self.body is not None:
            words += ["--data-binary", "@" + body_file if body_file else self.body.decode()]
        return shlex.join(words)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    headers: Dict[str, str]
    body: bytes

    def header(self, name: str) -> Optional[str]:
        """A header by its name in any case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


def _headers(url: str, signed: str, **more: str) -> Dict[str, str]:
    headers = {
        # The public host, as a proxy in front passes it on. It is not what the filter goes by.
        "host": urlsplit(url).netloc.rpartition("@")[2],
        "user-agent": "TwilioProxy/1.1",
        "accept": "*/*",
        "i-twilio-idempotency-token": str(uuid.uuid4()),
        "x-twilio-signature": signed,
    }
    headers.update((name.replace("_", "-"), value) for name, value in more.items())
    return headers


def form_webhook(token: str, url: str, params: Params) -> Webhook:
    """A POST of parameters, as for messages and calls."""
    url = without_fragment(url)
    body = urlencode(params).encode()
    return Webhook("POST", url, _headers(url, signature(token, url, params), content_type=FORM), body)


def get_webhook(token: str, url: str, params: Params = ()) -> Webhook:
    """A GET: the parameters are in the query, and the URL alone is signed."""
    url = without_fragment(url)
    if params:
        parts = urlsplit(url)
        query = urlencode(list(params))
        url = urlunsplit(parts._replace(query=parts.query + "&" + query if parts.query else query))
    return Webhook("GET", url, _headers(url, signature(token, url)))


def json_webhook(token: str, url: str, body: bytes) -> Webhook:
    """A POST of JSON, as from Studio and Event Streams: the URL holds the body's hash, and is signed alone."""
    url = with_body_hash(without_fragment(url), body)
    return Webhook("POST", url, _headers(url, signature(token, url), content_type="application/json"), body)
