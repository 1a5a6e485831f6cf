"""The servers that are measured, and how each is configured.

Every Envoy has the configuration of envoy/envoy.yaml but for ports, the upstream's address and the filter in front of
the router, so that a difference between two is a difference between their filters. Those with the native filter have that
of envoy/native/envoy.yaml, and those with Redis that of envoy/redis/envoy.yaml, which are the same but for what native
metrics do not need, and for the store.
"""

import copy
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Callable, List

from . import load, redis
from .prepare import BENCH, EMPTY_FILTER, EMPTY_NATIVE, ENVOY, EXPRESS, FILTER, NATIVE, ROOT, THEN
from .processes import accepts, free_port

ACCOUNT = {
    "sid": "ACfedcba9876543210fedcba9876543210",
    "token": "5ce117c0de5ce117c0de5ce117c0de00",
    "url": "https://orders.example.com/api/v1/whatsapp/webhook",
}

# A limit that no run reaches, by the same rule as the default one, so that it costs what that costs.
NO_LIMIT = {"requests": 1_000_000, "seconds": 60}
# One request and then none for as long as a run lasts: each request that is measured is one too many.
SPENT = {"requests": 1, "seconds": 86_400}

# Waits for the whole body and does nothing with it.
LUA = "function envoy_on_request(handle)\n  handle:body()\nend\n"
LUA_CHECK = ROOT / "benches/lua/signature_check.lua"

WASM_CONFIG, NATIVE_CONFIG, REDIS_CONFIG = "envoy/envoy.yaml", "envoy/native/envoy.yaml", "envoy/redis/envoy.yaml"


@dataclass(frozen=True)
class Running:
    """A server that is up."""

    port: int
    pids: List[int]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Server:
    """Something that takes webhooks: one process or more."""

    name: str
    start: Callable[..., Running]
    # What it takes comes to the upstream; Express is its own.
    has_upstream: bool = True


def environment(**more):
    names = {
        "TWILIO_AUTH_TOKEN": ACCOUNT["token"],
        "TWILIO_ACCOUNT_SID": ACCOUNT["sid"],
        "WEBHOOK_URL": ACCOUNT["url"],
    }
    return {"PATH": os.environ.get("PATH", ""), **names, **more}


# --- Envoy ---------------------------------------------------------------------------------------


def manager_of(config):
    """The HTTP connection manager of the one listener."""
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def filter_of(manager):
    return next(entry for entry in manager["http_filters"] if entry["name"] == "twilio_webhook_filter")


def configuration(shipped, admin, listener, upstream, filters):
    """envoy.yaml with other ports, and with the filters that `filters` makes of the one that it has."""
    config = copy.deepcopy(shipped)
    resources = config["static_resources"]

    def set_port(holder, port):
        holder["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}

    set_port(config["admin"], admin)
    set_port(resources["listeners"][0], listener)
    set_port(resources["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"], upstream)
    manager = manager_of(config)
    router = manager["http_filters"][-1]
    manager["http_filters"] = [*filters(filter_of(manager)), router]
    return config


def no_filter(_):
    return []


def lua_filter(source):
    kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
    return lambda _: [{"name": "lua", "typed_config": {"@type": kind, "default_source_code": {"inline_string": source}}}]


def empty_filter(word):
    def make(entry):
        entry = copy.deepcopy(entry)
        config = entry["typed_config"]["config"]
        config["name"] = config["root_id"] = config["vm_config"]["vm_id"] = entry["name"] = "empty_filter"
        config["vm_config"]["code"]["local"]["filename"] = EMPTY_FILTER
        config["vm_config"].pop("environment_variables")
        config["configuration"]["value"] = word
        return [entry]

    return make


def set_plugin(text, limit, store=None):
    """The filter's own defaults, and another limit by the same key. What envoy.yaml sets besides is for the
    demonstration: a line in the log for each accepted request, above all."""
    plugin = json.loads(text["value"])
    rule = {"requests": limit["requests"], "window": f"{limit['seconds']}s"}
    plugin["rate_limits"] = [{"key": "client_ip", "count": "all", **rule}]
    plugin.pop("log", None)
    if store:
        plugin["store"] = dict(store)
    if "store" in plugin:
        plugin["store"]["timeout"] = redis.TIMEOUT
    text["value"] = json.dumps(plugin)


def this_filter(limit, module=FILTER):
    def make(entry):
        entry = copy.deepcopy(entry)
        config = entry["typed_config"]["config"]
        config["vm_config"]["code"]["local"]["filename"] = module
        set_plugin(config["configuration"], limit)
        return [entry]

    return make


def native_filter(limit, store=None):
    def make(entry):
        entry = copy.deepcopy(entry)
        config = entry["typed_config"]
        config["dynamic_module_config"]["module"]["local"]["filename"] = NATIVE
        set_plugin(config["filter_config"], limit, store)
        return [entry]

    return make


def empty_native(entry):
    entry = copy.deepcopy(entry)
    config = entry["typed_config"]
    config["dynamic_module_config"]["module"]["local"]["filename"] = EMPTY_NATIVE
    config["filter_name"] = entry["name"] = "empty_native"
    return [entry]


def ext_authz(port):
    """Envoy asks another service, and hands it the body, as it has to for a signature."""

    def make(_):
        service = {
            "server_uri": {"uri": f"http://127.0.0.1:{port}", "cluster": "check", "timeout": "5s"},
            "authorization_request": {},
        }
        allowed = ["x-twilio-signature", "x-twilio-request-timestamp", "content-type", "x-forwarded-for"]
        typed = {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "http_service": service,
            "allowed_headers": {"patterns": [{"exact": name} for name in allowed]},
            "with_request_body": {"max_request_bytes": 65536, "allow_partial_message": False},
        }
        return [{"name": "ext_authz", "typed_config": typed}]

    return make


def is_ready(admin):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def start_envoy(
    processes, name, upstream, filters, edit=lambda config: None, shipped=WASM_CONFIG, variables=None
):
    admin, listener = free_port(), free_port()
    config = configuration(load.yaml(shipped), admin, listener, upstream, filters)
    edit(config)
    file = BENCH / f"{name}.json"
    file.write_text(json.dumps(config, indent=1), encoding="utf-8")
    # Without hot restart, since several Envoys run side by side.
    arguments = ["--config-path", file, "--concurrency", "1", "--disable-hot-restart"]
    pid = processes.start(name, [ENVOY, *arguments], environment(**(variables or {})))
    processes.wait_until(lambda: is_ready(admin), name)
    return Running(listener, [pid])


def envoy(name, filters, shipped=WASM_CONFIG):
    return Server(name, lambda processes, upstream: start_envoy(processes, name, upstream, filters, shipped=shipped))


def start_with_redis(processes, name, upstream, filters, edit, shipped):
    """Envoy with the filter, and the Webdis and Redis that it asks: what all three take counts."""
    port, password, pids = redis.start(processes, name, environment())

    def point(config):
        edit(config)
        redis.point_to(config, port)

    proxy = start_envoy(
        processes, name, upstream, filters, point, shipped=shipped, variables={"WEBDIS_PASSWORD": password}
    )
    return Running(proxy.port, proxy.pids + pids)


def with_redis(name, module):
    def start(processes, upstream):
        filters = this_filter(NO_LIMIT, module)
        return start_with_redis(processes, name, upstream, filters, lambda config: None, REDIS_CONFIG)

    return Server(name, start)


def native_with_redis(name):
    """The store and its cluster are those of envoy/redis/envoy.yaml."""

    def start(processes, upstream):
        shipped = load.yaml(REDIS_CONFIG)
        store = json.loads(filter_of(manager_of(shipped))["typed_config"]["config"]["configuration"]["value"])["store"]

        def add_cluster(config):
            config["static_resources"]["clusters"].append(redis.cluster_of(shipped))

        filters = native_filter(NO_LIMIT, store)
        return start_with_redis(processes, name, upstream, filters, add_cluster, NATIVE_CONFIG)

    return Server(name, start)


# --- Express -------------------------------------------------------------------------------------


def start_express(processes, name, limit):
    port = free_port()
    settings = {
        "NODE_ENV": "production",
        "RATE_LIMIT": str(limit["requests"]),
        "RATE_LIMIT_WINDOW_MS": str(limit["seconds"] * 1000),
    }
    command = ["node", "benches/express/server.cjs", EXPRESS, str(port)]
    pid = processes.start(name, command, environment(**settings))
    processes.wait_until(lambda: accepts(port), name)
    return Running(port, [pid])


def express(name, limit):
    return Server(name, lambda processes, upstream: start_express(processes, name, limit), has_upstream=False)


def start_ext_authz(processes, upstream):
    check = start_express(processes, "ext-authz-check", NO_LIMIT)

    def add_cluster(config):
        clusters = config["static_resources"]["clusters"]
        cluster = copy.deepcopy(clusters[0])
        cluster["name"] = cluster["load_assignment"]["cluster_name"] = "check"
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = check.port
        clusters.append(cluster)

    proxy = start_envoy(processes, "ext-authz", upstream, ext_authz(check.port), add_cluster)
    return Running(proxy.port, proxy.pids + check.pids)


# --- all of them ---------------------------------------------------------------------------------

SERVERS = {
    server.name: server
    for server in (
        envoy("envoy", no_filter),
        envoy("envoy-again", no_filter),
        envoy("lua", lua_filter(LUA)),
        envoy("lua-check", lua_filter(LUA_CHECK.read_text(encoding="utf-8"))),
        envoy("wasm", empty_filter("pass")),
        envoy("wasm-hold", empty_filter("hold")),
        envoy("hold", empty_native, NATIVE_CONFIG),
        envoy("native", native_filter(NO_LIMIT), NATIVE_CONFIG),
        envoy("native-limited", native_filter(SPENT), NATIVE_CONFIG),
        native_with_redis("native-redis"),
        envoy("filter", this_filter(NO_LIMIT)),
        envoy("filter-limited", this_filter(SPENT)),
        with_redis("filter-redis", FILTER),
        envoy("then", this_filter(NO_LIMIT, THEN)),
        with_redis("then-redis", THEN),
        express("express", NO_LIMIT),
        express("express-limited", SPENT),
        Server("ext-authz", start_ext_authz),
    )
}
