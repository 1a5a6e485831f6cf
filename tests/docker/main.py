#!/usr/bin/env python3
"""Runs the Compose files and scripts/run --docker in a Docker engine of its own: scripts/test docker.

The engine, its containers and networks are in namespaces of their own, which end with this process: the machine's own
engine, images, ports and firewall are not touched, and nothing is fetched, since there is no way out of them. Making
such namespaces takes Linux and root; without, the tests are skipped, or fail where REQUIRE_DOCKER is set.

No image comes from a registry. Those that the files name are made here, under the same names: images.py says of what.
"""

import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
# Set inside the namespaces: the folder for the engine's files.
INSIDE = "TWILIO_DOCKER_TESTS"


def why_not():
    """Why this may not start an engine, or None."""
    if sys.platform != "linux":
        return f"a Docker engine is started on Linux only, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "only root may start a Docker engine"
    tried = subprocess.run([*UNSHARE, "true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if tried.returncode != 0:
        return f"no namespaces for a Docker engine: {tried.stdout.strip()}"
    return None


def main():
    if os.environ.get(INSIDE):
        import compose

        compose.run(pathlib.Path(os.environ[INSIDE]))
        return
    reason = why_not()
    if reason and os.environ.get("REQUIRE_DOCKER"):
        sys.exit(f"docker: {reason}")
    if reason:
        print(f"docker: SKIPPED, {reason}")
        print("0 passed, 0 failed, 1 skipped")
        return
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target"))
    subprocess.run([str(ROOT / "scripts/setup"), "--redis", "--docker"], check=True, env=environment)
    prometheus = ROOT / "target/tools/prometheus"
    if not prometheus.exists():
        sys.exit("docker: target/tools/prometheus is missing; run scripts/setup --tests.")
    # Which makes and signs the requests. There is no network inside.
    build = ["cargo", "build", "--locked", "--quiet", "--features", "cli", "--bin", "twilio-webhook"]
    subprocess.run(build, check=True, cwd=ROOT, env=environment)
    # Removed here and not inside, where something of it is mounted until the namespaces end.
    with tempfile.TemporaryDirectory(prefix="twilio-docker-") as folder:
        environment[INSIDE] = folder
        done = subprocess.run([*UNSHARE, sys.executable, str(HERE / "main.py"), *sys.argv[1:]], env=environment)
    sys.exit(done.returncode)


if __name__ == "__main__":
    # Ended together with whoever started this, also by SIGKILL.
    ctypes.CDLL(None).prctl(1, 15)
    main()
