"""Reads an image from a registry as Istio's agent and Envoy Gateway do, which have the same rules:

- an index is resolved for linux/amd64, whatever machine asks;
- with a digest in the reference, that of the manifest which was read must be the same, so that of an index never fits;
- a manifest of Docker's: the last layer must be Docker's gzipped tar;
- else, as a container image: the last layer must be OCI's gzipped tar, with a file whose base name is plugin.wasm;
- else, as an artifact: exactly two layers, one of them the raw module, by its media type;
- what comes out must begin with WebAssembly's magic number.
"""

import hashlib
import io
import json
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import PurePosixPath

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
ACCEPT = ", ".join((INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))


class Rejected(Exception):
    """The agent would not load this; its text says why."""


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def get(url, accept="*/*"):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as response:
            return response.headers.get_content_type(), response.read()
    except urllib.error.HTTPError as error:
        raise Rejected(f"{url}: {error.code}") from None


def manifest_at(base, reference):
    """Its media type, its bytes and itself."""
    media_type, data = get(f"{base}/manifests/{reference}", ACCEPT)
    return media_type, data, json.loads(data)


def blob(base, layer):
    _, data = get(f"{base}/blobs/{layer['digest']}")
    if digest_of(data) != layer["digest"]:
        raise Rejected(f"a blob of another digest than {layer['digest']}")
    return data


def from_tar(base, layers, expected):
    if not layers:
        raise Rejected("no layer")
    last = layers[-1]
    if last["mediaType"] != expected:
        raise Rejected(f"the last layer is {last['mediaType']}, not {expected}")
    try:
        plain = zlib.decompress(blob(base, last), 31)
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for member in archive:
                if PurePosixPath(member.name).name == "plugin.wasm" and member.isfile():
                    return archive.extractfile(member).read()
    except (zlib.error, tarfile.TarError) as error:
        raise Rejected(f"no gzipped tar: {error}") from None
    raise Rejected("no plugin.wasm in the layer")


def from_artifact(base, layers):
    if len(layers) != 2:
        raise Rejected(f"{len(layers)} layers instead of 2")
    for layer in layers:
        if layer["mediaType"] == WASM_LAYER:
            return blob(base, layer)
    raise Rejected(f"no layer of type {WASM_LAYER}")


def read(registry, repository, reference):
    """The module of `repository` at `reference`, a tag or a digest; and the digest of its manifest."""
    base = f"http://{registry}/v2/{repository}"
    media_type, data, manifest = manifest_at(base, reference)
    if media_type in (INDEX, DOCKER_INDEX):
        for one in manifest["manifests"]:
            platform = one.get("platform", {})
            if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
                media_type, data, manifest = manifest_at(base, one["digest"])
                break
        else:
            raise Rejected("no linux/amd64 in the index")
    if reference.startswith("sha256:") and digest_of(data) != reference:
        raise Rejected(f"checksum {digest_of(data)}, which does not match {reference}")
    layers = manifest["layers"]
    if media_type == DOCKER_MANIFEST:
        module = from_tar(base, layers, DOCKER_LAYER)
    else:
        try:
            module = from_tar(base, layers, LAYER)
        except Rejected as compat:
            try:
                module = from_artifact(base, layers)
            except Rejected as artifact:
                raise Rejected(f"as a container image: {compat}; as an artifact: {artifact}") from None
    if len(module) < 8 or module[:4] != b"\0asm":
        raise Rejected("no WebAssembly module")
    return module, digest_of(data)
