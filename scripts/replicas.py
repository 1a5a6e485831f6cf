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
    RUN,
    WEBHOOK_PATH,
    Address,
    Children,
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
from processes import ROOT, Failure

DIRECTORY = "envoy/redis"
CONFIG = f"{DIRECTORY}/envoy.yaml"
TOOLS = ROOT / "target/tools"
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
        self.in_files = (admin.port, listener.port, webdis.port)


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


def redis_conf(port, directory, password):
    text = re.sub(r"(?m)^port \d+$", f"port {port}", text_of("redis.conf"))
    text = replaced(text, "\ndir .\n", f'\ndir "{directory}"\n')
    return replaced(text, "on >$REDIS_PASSWORD", f"on >{password}")


def webdis_json(port, redis_port, redis_password, password):
    text = replaced(text_of("webdis.json"), "$REDIS_PASSWORD", redis_password)
    settings = json.loads(replaced(text, "$WEBDIS_CREDENTIALS", f"{WEBDIS_USER}:{password}"))
    settings["http_port"], settings["redis_port"] = port, redis_port
    return json.dumps(settings, indent=2)


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


def start_store(children, redis, webdis, environment, settings="", prefix=""):
    """Starts Redis, with more `settings` than its file has, and Webdis, both under names with this `prefix`; returns Webdis' password and the processes."""
    # What an earlier run remembered would be counted in this one.
    data = children.logs / f"{prefix}redis"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    # Below 54 characters with the user's name: Webdis 0.1.9 takes no longer credentials.
    redis_password, password = secrets.token_hex(20), secrets.token_hex(20)
    file = children.logs / f"{prefix}redis.conf"
    write_private(file, redis_conf(redis.port, data, redis_password) + settings)
    pids = [children.start(f"{prefix}Redis", [str(TOOLS / "redis-server"), str(file)], environment)]
    children.wait_until(lambda: ping(redis, redis_password), "Redis")
    file = children.logs / f"{prefix}webdis.json"
    write_private(file, webdis_json(webdis.port, redis.port, redis_password, password))
    pids.append(children.start(f"{prefix}Webdis", [str(TOOLS / "webdis"), str(file)], environment))
    # A configuration that it cannot read is none to Webdis, which would then do anything for anybody.
    children.wait_until(lambda: status_of(webdis, {}) is not None, "Webdis")
    if status_of(webdis, {}) != 403:
        raise Failure("Webdis does what somebody without a password asks for; see its log.")
    return password, pids


def start_envoys(children, places, environment):
    admin, listener, webdis = places.in_files
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
        children.start(f"Envoy {index}", command, environment, access)
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
    with Children() as children:
        password, _ = start_store(children, places.redis, places.webdis, os.environ)
        start_upstream(children, places.upstream, environment)
        start_envoys(children, places, dict(environment, WEBDIS_PASSWORD=password))
        differ = demonstrate(environment, places)
        if not once:
            instructions(places)
            stay_up(children)
    return 1 if differ else 0
