"""Reads forms with what Python and PyPI offer. See ../readers.rs for what comes in and what goes out.

usage: python3 python.py DIRECTORY (the one that holds the packages)
"""

import asyncio
import io
import json
import platform
import sys
from importlib.metadata import distributions
from urllib.parse import parse_qsl

sys.path.insert(0, sys.argv[1])

import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.handlers.wsgi import WSGIRequest  # noqa: E402
from starlette.requests import Request as StarletteRequest  # noqa: E402
from werkzeug.wrappers import Request as WerkzeugRequest  # noqa: E402

FORM = "application/x-www-form-urlencoded"
settings.configure()


def environment(body):
    return {
        "REQUEST_METHOD": "POST",
        "SERVER_NAME": "orders.example.com",
        "SERVER_PORT": "443",
        "PATH_INFO": "/",
        "CONTENT_TYPE": FORM,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
    }


def by_urllib(body):
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def by_django(body):
    form = WSGIRequest(environment(body)).POST
    return [(name, value) for name, values in form.lists() for value in values]


def by_werkzeug(body):
    return list(WerkzeugRequest(environment(body)).form.items(multi=True))


def by_starlette(body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def read():
        headers = [(b"content-type", FORM.encode()), (b"content-length", str(len(body)).encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        return (await StarletteRequest(scope, receive).form()).multi_items()

    return loop.run_until_complete(read())


READERS = {"urllib": by_urllib, "Django": by_django, "Werkzeug": by_werkzeug, "Starlette": by_starlette}


def hexadecimal(text):
    return text.encode("utf-8", "surrogatepass").hex()


def answer(read, body):
    try:
        return [[hexadecimal(name), hexadecimal(value)] for name, value in read(body)]
    except Exception as error:  # a framework answers such a request with an error of its own
        return repr(error)


loop = asyncio.new_event_loop()
version = {found.metadata["Name"].lower(): found.version for found in distributions(path=[sys.argv[1]])}
print(
    json.dumps(
        {
            "urllib": f"Python {platform.python_version()}",
            "Django": django.get_version(),
            "Werkzeug": version["werkzeug"],
            "Starlette": f"{version['starlette']}, python-multipart {version['python-multipart']}",
        }
    )
)
for line in sys.stdin:
    print(json.dumps({name: answer(read, bytes.fromhex(line)) for name, read in READERS.items()}))
