"""Twilio's library for Python, asked over stdin: one JSON object a line, one answer a line.

usage: python3 library.py DIRECTORY (the one that holds the package twilio)
"""

import base64
import json
import sys
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, sys.argv[1])

from twilio.request_validator import RequestValidator, get_signature_algorithm  # noqa: E402


class Form(dict):
    """Parameters as Django and Flask hand them over: all values of a name by getlist."""

    def getlist(self, name):
        return self[name]


def is_form(request):
    content_type = (request["contentType"] or "").split(";")[0].strip().lower()
    return content_type == "application/x-www-form-urlencoded"


def form_of(request):
    if not is_form(request):
        return Form()
    text = request["body"].decode("utf-8", "replace")
    return Form(parse_qs(text, keep_blank_values=True))


def parameters(request):
    """The library takes the text of the body for JSON, and the parameters otherwise."""
    if not is_form(request) and "bodySHA256" in parse_qs(urlsplit(request["url"]).query):
        return request["body"].decode("utf-8", "replace")
    return form_of(request)


def answer(request):
    request["body"] = base64.b64decode(request["body"])
    validator = RequestValidator(request["secret"])
    algorithm = get_signature_algorithm(request["settings"])
    if "signature" not in request:
        return {"signature": validator.compute_signature(request["url"], form_of(request), algorithm)}
    try:
        accepts = validator.validate(request["url"], parameters(request), request["signature"], algorithm)
    except Exception as error:  # a library that gives up on a request has not accepted it
        return {"accepts": False, "error": repr(error)}
    return {"accepts": accepts}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
