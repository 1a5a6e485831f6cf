"""Small images under the names of the official ones, made of what this machine has.

Each is one layer: BusyBox as shell, the program, the libraries that it asks for. What the Compose files use of an
official image is there: the program in PATH, /bin/sh with sed, the user, the owner of the volumes' folders. What
differs:

- Webdis is Debian's 0.1.9, which does not read variables from its environment: a script fills them in.
- Grafana is in no package of Debian's. Its stand-in serves /api/health; the tests read what is provisioned as it sees it.
- The ordering service was built by cargo here, not by its Dockerfile.
"""

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "target/tools"
SHELL_TOOLS = "sh sed sleep grep cat echo wget httpd ls mkdir test kill"

WEBDIS = """#!/bin/sh
sed -e "s/[$]REDIS_PASSWORD/$REDIS_PASSWORD/" -e "s/[$]WEBDIS_CREDENTIALS/$WEBDIS_CREDENTIALS/" "$1" >/tmp/filled-in.json
exec /usr/local/bin/webdis-0.1.9 /tmp/filled-in.json
"""
PASSWD = """root:x:0:0::/:/bin/sh
redis:x:999:999::/data:/bin/sh
nobody:x:65534:65534::/:/bin/sh
"""
GRAFANA = """#!/bin/sh
mkdir -p /tmp/www/api && echo '{"database": "stand-in"}' >/tmp/www/api/health
exec httpd -f -p 3000 -h /tmp/www
"""


def libraries(program, folder=None):
    """What the program asks for, by the path at which it is looked for; with the loader."""
    environment = dict(os.environ, LD_LIBRARY_PATH=str(folder) if folder else "")
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    told = subprocess.run(["ldd", str(program)], env=environment, **output)
    if "not found" in told.stdout:
        raise RuntimeError(f"ldd {program}: {told.stdout}")
    found = {}
    for name, path in re.findall(r"(?m)^\s*(\S+) => (/\S+)", told.stdout):
        found[f"usr/lib/{name}"] = Path(path)
    for path in re.findall(r"(?m)^\s*(/\S*ld-linux\S*) \(", told.stdout):
        found[path.lstrip("/")] = Path(path)
    return found


class Image:
    """The content of an image, and its settings."""

    def __init__(self, *changes):
        self.files = io.BytesIO()
        self.archive = tarfile.open(fileobj=self.files, mode="w")
        self.changes = ["ENV PATH=/usr/local/bin:/bin", *changes]
        self.there = set()
        self.program("bin/busybox", (TOOLS / "busybox").resolve().parent / "bin/busybox")
        for tool in SHELL_TOOLS.split():
            self.link(f"bin/{tool}", "busybox")
        self.folder("tmp", mode=0o1777)
        self.text("etc/passwd", PASSWD)
        self.text("etc/group", "root:x:0:\nredis:x:999:\nnobody:x:65534:\n")

    def entry(self, name, kind, data=b"", mode=0o755, owner=0, target=""):
        if name in self.there:
            return
        self.there.add(name)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.linkname, info.size = kind, mode, owner, owner, target, len(data)
        self.archive.addfile(info, io.BytesIO(data))

    def link(self, name, target):
        self.entry(name, tarfile.SYMTYPE, target=target)

    def folder(self, name, mode=0o755, owner=0):
        self.entry(name, tarfile.DIRTYPE, mode=mode, owner=owner)

    def text(self, name, text, mode=0o644):
        self.entry(name, tarfile.REGTYPE, text.encode(), mode)

    def program(self, name, file, folder=None):
        self.entry(name, tarfile.REGTYPE, Path(file).read_bytes())
        for path, library in libraries(file, folder).items():
            self.entry(path, tarfile.REGTYPE, library.read_bytes())

    def load(self, docker, name):
        self.archive.close()
        changes = [argument for change in self.changes for argument in ("--change", change)]
        command = [*docker, "import", *changes, "-", name]
        subprocess.run(command, input=self.files.getvalue(), check=True, stdout=subprocess.DEVNULL)


def load_all(docker, upstream):
    redis = (TOOLS / "redis-server").resolve().parent

    envoy = Image("CMD envoy -c /etc/envoy/envoy.yaml")
    envoy.program("usr/local/bin/envoy", (TOOLS / "envoy").resolve())
    envoy.load(docker, "envoyproxy/envoy:v1.40.0")

    store = Image()
    for tool in ("redis-server", "redis-cli"):
        store.program(f"usr/local/bin/{tool}", redis / "bin" / tool, redis / "lib")
    store.folder("data", owner=999)
    store.load(docker, "redis:7.0.15")

    webdis = Image()
    webdis.program("usr/local/bin/webdis-0.1.9", redis / "bin/webdis", redis / "lib")
    webdis.text("usr/local/bin/webdis", WEBDIS, 0o755)
    webdis.load(docker, "nicolas/webdis:0.1.22")

    prometheus = Image("USER nobody")
    prometheus.program("usr/local/bin/prometheus", (TOOLS / "prometheus").resolve())
    prometheus.folder("prometheus", owner=65534)
    prometheus.load(docker, "prom/prometheus:v2.42.0")

    grafana = Image("CMD /usr/local/bin/grafana")
    grafana.text("usr/local/bin/grafana", GRAFANA, 0o755)
    grafana.load(docker, "grafana/grafana:11.6.0")

    service = Image("USER 1000:1000", "CMD ordering-upstream")
    service.program("usr/local/bin/ordering-upstream", upstream)
    service.folder("data", owner=1000)
    service.load(docker, "ordering-upstream:0.1.0")
