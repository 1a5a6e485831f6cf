"""The tests themselves, inside the namespaces that main.py made."""

import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import time
import unittest
from pathlib import Path
from urllib.parse import quote

import images

ROOT = images.ROOT
TOOLS = images.TOOLS
sys.path.insert(0, str(ROOT / "scripts"))

import webhooks  # noqa: E402

UPSTREAM = ROOT / "examples/ordering-upstream/target/release/ordering-upstream"
MODULE = ROOT / "target/wasm32-wasip1/release/twilio_webhook_filter.wasm"
SECRETS = {
    "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
    "TWILIO_ACCOUNT_SID": webhooks.DEMO["TWILIO_ACCOUNT_SID"],
    "WEBHOOK_URL": webhooks.DEMO["WEBHOOK_URL"],
    # As the files' heads say.
    "REDIS_PASSWORD": secrets.token_hex(20),
    "WEBDIS_PASSWORD": secrets.token_hex(20),
    "KITCHEN_PASSWORD": secrets.token_hex(20),
    "GRAFANA_PASSWORD": secrets.token_hex(20),
}


def wait_until(ready, what, seconds=60, every=0.1):
    deadline = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)


def get(port, path):
    """The status and the body of a GET on loopback; None if nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Engine:
    """A Docker engine with its files in this folder, until it is closed."""

    def __init__(self, folder):
        self.folder = folder
        socket = f"unix://{self.folder}/socket"
        self.docker = [str(TOOLS / "docker"), "--host", socket]
        self.environment = dict(os.environ, **SECRETS, DOCKER_HOST=socket)
        # The one that is tested, before any that this machine has.
        self.environment["PATH"] = f"{TOOLS}:{os.environ['PATH']}"
        self.log = open(self.folder / "log", "wb")
        command = [str(TOOLS / "dockerd"), "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        command += ["--pidfile", f"{self.folder}/pid", "--host", socket]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        try:
            wait_until(self.is_up, "dockerd")
        except AssertionError:
            print((self.folder / "log").read_text(errors="replace")[-3000:], file=sys.stderr)
            self.close()
            raise

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"dockerd ended with status {self.process.returncode}")
        told = subprocess.run([*self.docker, "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return told.returncode == 0

    def run(self, *arguments, check=True):
        done = subprocess.run([*self.docker, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stdout}")
        return done.stdout

    def lines(self, *arguments):
        return self.run(*arguments).split()

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


FOLDER = ENGINE = None


def setUpModule():
    global ENGINE
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for file in (UPSTREAM, MODULE):
        if not file.exists():
            raise AssertionError(f"{file.relative_to(ROOT)} is missing; run scripts/test build.")
    ENGINE = Engine(FOLDER)
    images.load_all(ENGINE.docker, UPSTREAM)


def tearDownModule():
    if ENGINE:
        ENGINE.close()


class Composed(unittest.TestCase):
    """What both files have in common."""

    def compose(self, *arguments):
        command = [str(TOOLS / "docker-compose"), "--project-name", "test", "--file", str(self.file), *arguments]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, env=ENGINE.environment, **output)
        if done.returncode != 0:
            raise AssertionError(f"docker-compose {' '.join(arguments)}: {done.stdout}")
        return done.stdout

    def logs(self):
        return "".join(
            f"--- {name}\n{ENGINE.run('logs', '--tail', '15', name, check=False)}"
            for name in ENGINE.lines("ps", "--all", "--format", "{{.Names}}")
        )

    def up(self, file):
        self.file = ROOT / file
        self.addCleanup(self.down)
        self.compose("up", "--detach", "--no-build")

    def down(self):
        self.compose("down", "--volumes", "--timeout", "5")
        self.assertEqual(ENGINE.lines("ps", "--all", "--quiet"), [])
        self.assertEqual(ENGINE.lines("volume", "ls", "--quiet"), [])
        self.assertEqual(sorted(ENGINE.lines("network", "ls", "--format", "{{.Name}}")), ["bridge", "host", "none"])
        # Each container has had a process that held it.
        wait_until(lambda: "containerd-shim" not in self.processes(), "the containers' processes are gone", 10)

    def processes(self):
        commands = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                commands.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                pass
        return "\n".join(commands)

    def message(self, token=None, **changes):
        environment = {**os.environ, **SECRETS}
        if token:
            environment["TWILIO_AUTH_TOKEN"] = token
        return webhooks.made(environment=environment, **changes)

    def answer(self, webhook, port):
        try:
            answer = webhook.send(f"http://127.0.0.1:{port}")
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error}"
        try:
            return f"{answer.status} {json.loads(answer.body)['error']}"
        except (ValueError, LookupError, TypeError):
            return str(answer.status)

    def passes(self, port):
        """Whether a new message passes."""
        return self.answer(self.message(), port) == "200"

    def wait_until_passes(self, port):
        try:
            # Envoy and the store need a moment. Not so often that the limit of 60 a minute is used up.
            wait_until(lambda: self.passes(port), f"a signed message passes at port {port}", every=1)
        except AssertionError:
            print(self.answer(self.message(), port), self.logs(), file=sys.stderr)
            raise


class OneEnvoy(Composed):
    """envoy/docker-compose.yml"""

    def test_webhooks_are_checked_counted_and_shown(self):
        self.up("envoy/docker-compose.yml")
        self.wait_until_passes(10000)
        message = self.message()
        self.assertEqual(self.answer(message, 10000), "200")
        self.assertEqual(self.answer(message, 10000), "409 duplicate")
        self.assertEqual(self.answer(self.message(token="another"), 10000), "403 invalid_signature")
        # Published are the webhooks, Prometheus and Grafana; Envoy's admin port is not.
        self.assertIsNone(get(9901, "/ready"))
        wait_until(lambda: self.query('sum(twilio_webhook_requests{verdict="accepted"})'), "Prometheus has counted")
        self.assertGreaterEqual(float(self.query('sum(twilio_webhook_requests{verdict="duplicate"})')), 1)
        _, rules = get(9090, "/api/v1/rules")
        groups = json.loads(rules)["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        names = [rule["name"] for rule in rules if rule["type"] == "alerting"]
        alerts = re.findall(r"alert: (\S+)", (ROOT / "envoy/observability/alerts.yml").read_text(encoding="utf-8"))
        self.assertEqual(sorted(names), sorted(alerts))
        self.grafana()
        # Each container may end without another losing its network.
        for service in ("envoy", "prometheus"):
            self.compose("restart", "--timeout", "5", service)
            self.wait_until_passes(10000)
            wait_until(lambda: self.query("up") == "1", "Prometheus scrapes")

    def query(self, expression):
        """The value of its first result."""
        found = get(9090, f"/api/v1/query?query={quote(expression)}")
        if not found or found[0] != 200:
            return None
        result = json.loads(found[1])["data"]["result"]
        return result[0]["value"][1] if result else None

    def grafana(self):
        """Grafana is a stand-in: this shows that what is provisioned is where Grafana looks, well formed, and reaches
        Prometheus from its container. It does not show that Grafana draws it."""
        import yaml

        self.assertEqual(get(3000, "/api/health")[0], 200)
        container = self.compose("ps", "--quiet", "grafana").strip()

        def seen(path):
            return ENGINE.run("exec", container, "cat", path)

        source = yaml.safe_load(seen("/etc/grafana/provisioning/datasources/twilio.yml"))["datasources"][0]
        self.assertEqual((source["type"], source["isDefault"]), ("prometheus", True))
        told = ENGINE.run("exec", container, "wget", "-q", "-O", "-", f"{source['url']}/api/v1/query?query=up")
        self.assertEqual(json.loads(told)["data"]["result"][0]["value"][1], "1")
        provider = yaml.safe_load(seen("/etc/grafana/provisioning/dashboards/twilio.yml"))["providers"][0]
        folder = provider["options"]["path"]
        dashboards = ENGINE.run("exec", container, "ls", folder).split()
        self.assertEqual(len(dashboards), 1)
        dashboard = json.loads(seen(f"{folder}/{dashboards[0]}"))
        # The default source of its type is taken, so a dashboard may name no other.
        self.assertEqual(dashboard["templating"]["list"][0]["type"], "datasource")
        self.assertEqual(dashboard["templating"]["list"][0]["query"], source["type"])
        self.assertGreater(len(dashboard["panels"]), 10)


class SeveralEnvoys(Composed):
    """envoy/redis/docker-compose.yml"""

    ENVOYS = (10001, 10002)

    def test_envoys_agree_and_a_restart_of_redis_or_webdis_forgets_nothing(self):
        self.up("envoy/redis/docker-compose.yml")
        for port in self.ENVOYS:
            self.wait_until_passes(port)
        accepted = []
        for first, second in (self.ENVOYS, self.ENVOYS[::-1]):
            message = self.message()
            accepted.append(message)
            self.assertEqual(self.answer(message, first), "200")
            self.assertEqual(self.answer(message, second), "409 duplicate")
            self.assertEqual(self.answer(self.message(token="another"), first), "403 invalid_signature")
        # Nothing of the store is published.
        for port in (6379, 7379, 9901):
            self.assertIsNone(get(port, "/"), port)
        for service in ("redis", "webdis"):
            self.compose("restart", "--timeout", "10", service)
            for port in self.ENVOYS:
                self.wait_until_passes(port)
                for message in accepted:
                    self.assertEqual(self.answer(message, port), "409 duplicate", f"after a restart of {service}")


class Demonstration(unittest.TestCase):
    """scripts/run --docker"""

    def test_its_table_is_as_expected(self):
        done = subprocess.run(
            [str(ROOT / "scripts/run"), "--docker", "--once"],
            # Its own account.
            env={name: value for name, value in ENGINE.environment.items() if name not in SECRETS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("Everything as expected.", done.stdout)
        self.assertNotIn("skipped", done.stdout)
        self.assertEqual(ENGINE.lines("ps", "--all", "--quiet"), [])


def run(folder):
    global FOLDER
    FOLDER = folder
    # For reading YAML, from the packages that Compose itself came with.
    sys.path.append(str((TOOLS / "docker-compose").resolve().parent / "usr/lib/python3/dist-packages"))
    unittest.main(module="compose", argv=["docker", *sys.argv[1:]], verbosity=2)
