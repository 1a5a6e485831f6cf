"""Redis and Webdis behind an Envoy, as envoy/redis configures them, on the core that the servers have."""

from demonstration import Address
from replicas import DIRECTORY, start_store

from .processes import free_port

# Instead of a tenth of a second: a pause of the machine is not to end a run, as any 503 does.
TIMEOUT = "5s"


# A file that is written anew by a second process on the same core would be in the numbers of whoever is measured then.
SETTINGS = "\nauto-aof-rewrite-percentage 0\n"


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
    redis = Address("Redis", "127.0.0.1", free_port(), f"{DIRECTORY}/redis.conf")
    webdis = Address("Webdis", "127.0.0.1", free_port(), f"{DIRECTORY}/webdis.json")
    password, pids = start_store(processes, redis, webdis, environment, SETTINGS, f"{name}-")
    return webdis.port, password, pids
