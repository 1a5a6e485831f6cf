"""Redis and Webdis behind an Envoy, as envoy/redis configures them, on the core that the servers have."""

import json
import secrets
import shutil

from demonstration import Address
from replicas import DIRECTORY, TOOLS, WEBDIS_USER, ping, replaced, status_of, text_of, write_private

from .failure import Failure
from .prepare import BENCH
from .processes import free_port

# Instead of a tenth of a second: a pause of the machine is not to end a run, as any 503 does.
TIMEOUT = "5s"


def redis_conf(text, port, directory, password):
    """redis.conf for a run. A file that is written anew by a second process on the same core would be in the numbers of
    whoever is measured just then."""
    text = replaced(text, "\nport 6379\n", f"\nport {port}\n")
    text = replaced(text, "\ndir .\n", f'\ndir "{directory}"\n')
    text = replaced(text, "on >$REDIS_PASSWORD", f"on >{password}")
    return f"{text}\nauto-aof-rewrite-percentage 0\n"


def webdis_json(text, port, redis_port, redis_password, password):
    text = replaced(text, "$REDIS_PASSWORD", redis_password)
    settings = json.loads(replaced(text, "$WEBDIS_CREDENTIALS", f"{WEBDIS_USER}:{password}"))
    settings["http_port"], settings["redis_port"] = port, redis_port
    return json.dumps(settings, indent=1)


def cluster_of(config):
    clusters = config["static_resources"]["clusters"]
    return next(cluster for cluster in clusters if cluster["name"] == "redis_over_http")


def point_to(config, webdis_port):
    """Envoy's cluster leads to this Webdis."""
    cluster = cluster_of(config)
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["port_value"] = webdis_port


def start(processes, name, environment):
    """Webdis' port, its password, and the processes of both. `name`: of whoever asks them."""
    directory = BENCH / f"{name}-store"
    # What an earlier run remembered would be counted in this one.
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # With the user's name below 54 characters: Webdis 0.1.9 takes no longer credentials.
    redis_password, password = secrets.token_hex(20), secrets.token_hex(20)
    redis = Address("Redis", "127.0.0.1", free_port(), f"{DIRECTORY}/redis.conf")
    webdis = Address("Webdis", "127.0.0.1", free_port(), f"{DIRECTORY}/webdis.json")

    file = directory / "redis.conf"
    write_private(file, redis_conf(text_of("redis.conf"), redis.port, directory, redis_password))
    pids = [processes.start(f"{name}-store-redis", [str(TOOLS / "redis-server"), str(file)], environment)]
    processes.wait_until(lambda: ping(redis, redis_password), "redis")

    file = directory / "webdis.json"
    write_private(file, webdis_json(text_of("webdis.json"), webdis.port, redis.port, redis_password, password))
    pids.append(processes.start(f"{name}-store-webdis", [str(TOOLS / "webdis"), str(file)], environment))
    processes.wait_until(lambda: status_of(webdis, {}) is not None, "webdis")
    if status_of(webdis, {}) != 403:
        raise Failure(f"Webdis does what somebody without a password asks for; see target/bench/{name}-store-webdis.log.")
    return webdis.port, password, pids
