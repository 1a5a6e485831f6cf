"""Builds and fetches what is measured, and what measures."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from processes import ROOT, Failure, run

BENCH = ROOT / "target/bench"
BUILT = BENCH / "build"
TOOLS = ROOT / "target/tools"
ENVOY = TOOLS / "envoy"
EXPRESS = TOOLS / "bench-express"
LOAD = BUILT / "release/load"
# Relative, as in envoy.yaml: servers are started in the repository's root.
EMPTY_FILTER = "target/bench/build/wasm32-wasip1/release/empty_filter.wasm"
EMPTY_NATIVE = "target/bench/build/release/libempty_native.so"
FILTER = "target/bench/twilio_webhook_filter.wasm"
NATIVE = "target/bench/libtwilio_webhook_filter.so"
THEN = "target/bench/then.wasm"


def prepare(module=None, native=None, then=None):
    """Each a filter that is built already: for WebAssembly, native, and an earlier version for WebAssembly."""
    BENCH.mkdir(parents=True, exist_ok=True)
    run("scripts/setup", "--redis", target=ROOT / "target")
    install_express()
    print("bench: building the filter, the empty filters and the load", flush=True)
    cargo = ("cargo", "build", "--quiet", "--locked", "--release")
    if module:
        copy_module(module, FILTER)
    else:
        run(*cargo, "--lib", "--target", "wasm32-wasip1", target=ROOT / "target")
        module = "target/wasm32-wasip1/release/twilio_webhook_filter.wasm"
        run("scripts/finish", module, target=ROOT / "target")
        copy_module(ROOT / module, FILTER)
    if not native:
        run(*cargo, "--lib", "--features", "native", target=ROOT / "target")
        native = ROOT / "target/release/libtwilio_webhook_filter.so"
    copy_module(native, NATIVE)
    if then:
        copy_module(then, THEN)
    empty = "benches/empty-filter/Cargo.toml"
    run(*cargo, "--manifest-path", empty, "--target", "wasm32-wasip1", target=BUILT)
    run(*cargo, "--manifest-path", "benches/empty-native/Cargo.toml", target=BUILT)
    run(*cargo, "--manifest-path", "benches/load/Cargo.toml", target=BUILT)


def copy_module(file, name):
    """What is built anew during a run is not what this run measures."""
    try:
        shutil.copyfile(file, ROOT / name)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}.") from None


def install_express():
    """As scripts/setup does it with the other packages: into the cache, whole or not at all, and a link."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Failure(f"{tool} is missing: install Node.js 18 or newer with npm.")
    sources = ROOT / "benches/express"
    # What is pinned is part of the name: with other packages it is another directory.
    lock = hashlib.sha256((sources / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "twilio-webhook-filter"
    home = cache / f"bench-express-{lock}"
    if not home.is_dir():
        print("bench: fetching Express, express-rate-limit and Twilio's library", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        fetched = pathlib.Path(tempfile.mkdtemp(prefix=".bench-express.", dir=cache))
        try:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(sources / name, fetched)
            command = ["npm", "ci", "--prefix", fetched, "--ignore-scripts", "--no-audit", "--no-fund"]
            command += ["--loglevel", "error"]
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
                raise Failure("npm could not get Express, express-rate-limit and Twilio's library.")
            try:
                fetched.rename(home)
            except OSError:
                # Somebody else was faster.
                if not home.is_dir():
                    raise
        finally:
            shutil.rmtree(fetched, ignore_errors=True)
    link = EXPRESS.with_name(f".{EXPRESS.name}.{os.getpid()}")
    link.symlink_to(home)
    link.rename(EXPRESS)
