"""Several Envoys with one store, natively: Redis, Webdis, the ordering upstream and the Envoys in front."""

import argparse
import http.client
import json
import os
import re
import secrets
import shutil
import socket
from dataclasses import replace

import webhooks
from demonstration import (
    ENVOY,
    ROOT,
    RUN,
    WEBHOOK_PATH,
    Address,
    Children,
    Failure,
    Table,
    Witness,
    add_flood,
    addresses,
    answer_to,
    build,
    environment_of_the_demonstration,
    start_upstream,
    stay_up,
    what_reached,
)

DIRECTORY = "envoy/redis"
CONFIG = f"{DIRECTORY}/envoy.yaml"
TOOLS = ROOT / "target/tools"
DATA = RUN / "redis"
# As envoy.yaml has it.
WEBDIS_USER = "envoy"


def number(text):
    count = int(text)
    if count < 2:
        raise argparse.ArgumentTypeError("2 or more, or leave it out for one Envoy")
    return count


def text_of(name):
    return (ROOT / DIRECTORY / name).read_text(encoding="utf-8")


def replaced(text, old, new):
    if text.count(old) != 1:
        raise Failure(f"{old!r} should be once in a file of {DIRECTORY}, and is there {text.count(old)} times.")
    return text.replace(old, new)


def write_private(file, text):
    """A file with a password in it, which nobody else on the machine may read."""
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


# --- addresses -----------------------------------------------------------------------------------


def next_free(address, taken):
    """Redis' usual port is often in use, and nobody needs to know which one is taken here."""
    for port in range(address.port, address.port + 100):
        candidate = replace(address, port=port)
        if port not in taken and candidate.is_free():
            return candidate
    raise Failure(f"there is no free port for {address.name} from {address.port} on.")


class Places:
    """Where everything listens."""

    def __init__(self, count):
        names = ("admin", "listener `webhooks`", "cluster `ordering_upstream`", "cluster `redis_over_http`")
        admin, listener, self.upstream, webdis = addresses(CONFIG, names)
        self.admins = [replace(admin, port=admin.port + index) for index in range(count)]
        self.listeners = [replace(listener, port=listener.port + index) for index in range(count)]
        for address in (*self.admins, *self.listeners, self.upstream):
            address.check_free()
        taken = {address.port for address in (*self.admins, *self.listeners, self.upstream)}
        self.webdis = next_free(webdis, taken)
        file = "redis.conf"
        port = int(re.search(r"(?m)^port (\d+)$", text_of(file)).group(1))
        redis = Address("Redis", "127.0.0.1", port, f"{DIRECTORY}/{file}")
        self.redis = next_free(redis, taken | {self.webdis.port})
        # What the file has, which is replaced.
        self.in_files = (admin.port, listener.port, webdis.port, port)


# --- starting ------------------------------------------------------------------------------------


def ping(address, password):
    """Whether Redis answers, and has read what it had written."""
    try:
        with socket.create_connection((address.host, address.port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            heard = b""
            while heard.count(b"\n") < 2:
                some = connection.recv(1000)
                if not some:
                    return False
                heard += some
            return heard.endswith(b"+PONG\r\n")
    except OSError:
        return False


def start_redis(children, places, password):
    # What an earlier run remembered would be counted in this one.
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    text = replaced(text_of("redis.conf"), f"\nport {places.in_files[3]}\n", f"\nport {places.redis.port}\n")
    text = replaced(text, "\ndir .\n", f'\ndir "{DATA}"\n')
    text = replaced(text, "on >$REDIS_PASSWORD", f"on >{password}")
    file = RUN / "redis.conf"
    write_private(file, text)
    children.start("Redis", [str(TOOLS / "redis-server"), str(file)], os.environ, RUN / "redis.log")
    children.wait_until(lambda: ping(places.redis, password), "Redis", 20)


def status_of(address, headers):
    """Of a command that Webdis has to reject unless it is the filter that asks."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=2)
    try:
        connection.request("POST", "/", "EVAL/return%201/0", headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def start_webdis(children, places, redis_password, password):
    settings = json.loads(
        text_of("webdis.json")
        .replace("$REDIS_PASSWORD", redis_password)
        .replace("$WEBDIS_CREDENTIALS", f"{WEBDIS_USER}:{password}")
    )
    settings["http_port"], settings["redis_port"] = places.webdis.port, places.redis.port
    file = RUN / "webdis.json"
    write_private(file, json.dumps(settings, indent=2))
    children.start("Webdis", [str(TOOLS / "webdis"), str(file)], os.environ, RUN / "webdis.log")
    # A configuration that it cannot read is none to Webdis, which would then do anything for anybody.
    children.wait_until(lambda: status_of(places.webdis, {}) is not None, "Webdis", 20)
    if status_of(places.webdis, {}) != 403:
        raise Failure("Webdis does what somebody without a password asks for; see target/run/webdis.log.")


def start_envoys(children, places, environment):
    admin, listener, webdis, _ = places.in_files
    for index, (own_admin, own_listener) in enumerate(zip(places.admins, places.listeners), 1):
        text = text_of("envoy.yaml")
        for old, new in (
            (f"port_value: {admin}}}", f"port_value: {own_admin.port}}}"),
            (f"port_value: {listener}}}", f"port_value: {own_listener.port}}}"),
            (f"port_value: {webdis}}}", f"port_value: {places.webdis.port}}}"),
        ):
            text = replaced(text, old, new)
        file = RUN / f"envoy-{index}.yaml"
        file.write_text(text, encoding="utf-8")
        # Without hot restart they know nothing of each other, so none needs a --base-id.
        command = [str(ENVOY), "-c", str(file), "--concurrency", "2", "--disable-hot-restart"]
        access = RUN / f"access-{index}.log"
        access.unlink(missing_ok=True)
        children.start(f"Envoy {index}", command, environment, RUN / f"envoy-{index}.log", access)
    for index, own_admin in enumerate(places.admins, 1):
        children.wait_until(lambda address=own_admin: address.get("/ready") is not None, f"Envoy {index}", 60)


# --- what is shown -------------------------------------------------------------------------------


def demonstrate(environment, places) -> int:
    """Prints the table; returns how many lines differ."""
    witness = Witness(places.admins, places.upstream)
    print()
    table = Table()

    def add(name, webhook, index, expected, upstream):
        listener = places.listeners[index - 1]
        answered, sent_on, stored = witness.watch(lambda: answer_to(webhook, listener.url))
        table.add(f"{name} to Envoy {index}", expected, answered, upstream, what_reached(sent_on, stored))

    everyone = range(1, len(places.listeners) + 1)
    for first in everyone:
        message = webhooks.made(environment=environment)
        add("a signed message", message, first, "200", "stored")
        for other in everyone:
            if other != first:
                add("the same", message, other, "409 duplicate", "nothing")
    forged = webhooks.made("--forge", environment=environment)
    for index in everyone:
        add("signed with another token", forged, index, "403 invalid_signature", "nothing")
    add_flood(table, witness, environment, places.listeners)
    return table.end()


def instructions(places):
    lines = []
    for index, (admin, listener) in enumerate(zip(places.admins, places.listeners), 1):
        lines.append(f"  Envoy {index}    {listener.url}{WEBHOOK_PATH}   admin {admin.url}")
    print(
        f"""
Still up, until Ctrl-C.
{chr(10).join(lines)}
  upstream   {places.upstream.url}/messages
  Webdis     {places.webdis.url}   its password is in target/run/webdis.json
  logs       target/run/envoy-1.log, access-1.log …, redis.log, webdis.log, upstream.log

The same message to one Envoy and to another (scripts/send --help: forged, JSON, repeated …):
  scripts/send --to {places.listeners[0].url} MessageSid=SM0123456789abcdef0123456789abcdef Body='2 tacos'
  scripts/send --to {places.listeners[1].url} MessageSid=SM0123456789abcdef0123456789abcdef Body='2 tacos'
""",
        flush=True,
    )


def show(count, once) -> int:
    """Returns the exit status."""
    environment = environment_of_the_demonstration()
    # Before the build, which takes minutes the first time.
    places = Places(count)
    build("--redis")
    RUN.mkdir(parents=True, exist_ok=True)
    # Below 54 characters with the user's name: Webdis 0.1.9 takes no longer credentials.
    redis_password, password = secrets.token_hex(20), secrets.token_hex(20)
    with Children() as children:
        start_redis(children, places, redis_password)
        start_webdis(children, places, redis_password, password)
        start_upstream(children, places.upstream, environment)
        start_envoys(children, places, dict(environment, WEBDIS_PASSWORD=password))
        differ = demonstrate(environment, places)
        if not once:
            instructions(places)
            stay_up(children)
    return 1 if differ else 0
