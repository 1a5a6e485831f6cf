"""What scripts/package writes: scripts/test images.

Set IMAGES_NATIVE=1 to build the native modules twice, too.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import types
import unittest
from pathlib import Path

import agent
from registry import ROOT, Registry

PACKAGE = ROOT / "target/package"
RELEASE = PACKAGE / "release"
WASM = "twilio_webhook_filter.wasm"
# The script has no suffix, so that `import` does not find it.
package = types.ModuleType("package")
package.__file__ = str(ROOT / "scripts/package")
exec(compile(Path(package.__file__).read_text(encoding="utf-8"), package.__file__, "exec"), package.__dict__)

VERSION = package.version_of_the_filter()


def in_folder(folder, *command, **environment):
    # Another caller's target directory would be shared by both folders.
    inherited = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env={**inherited, **environment})


def files_below(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def setUpModule():
    in_folder(ROOT, "scripts/package")


def layout_blob(descriptor, layout=RELEASE / "oci"):
    data = (layout / "blobs/sha256" / descriptor["digest"].partition(":")[2]).read_bytes()
    assert agent.digest_of(data) == descriptor["digest"], descriptor
    assert len(data) == descriptor["size"], descriptor
    return data


def tagged():
    """The descriptor of each tag."""
    index = json.loads((RELEASE / "oci/index.json").read_bytes())
    return {one["annotations"]["org.opencontainers.image.ref.name"]: one for one in index["manifests"]}


class Files(unittest.TestCase):
    def test_checksums_are_of_every_file_of_a_release_and_right(self):
        files = {name: data for name, data in files_below(RELEASE).items() if not name.startswith("oci/")}
        listed = {}
        for line in files.pop("SHA256SUMS").decode().splitlines():
            digest, _, name = line.partition("  ")
            listed[name] = digest
        self.assertEqual(listed, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})

    def test_the_archive_of_images_holds_the_layout(self):
        with tempfile.TemporaryDirectory(prefix="unpacked-") as folder:
            subprocess.run(["tar", "-xf", str(RELEASE / "oci.tar"), "-C", folder], check=True)
            self.assertEqual(files_below(Path(folder)), {f"oci/{name}": data for name, data in files_below(RELEASE / "oci").items()})

    def test_the_module_names_no_folder_of_this_machine(self):
        for file in [RELEASE / WASM, *RELEASE.glob("*.so")]:
            data = file.read_bytes()
            for folder in (str(ROOT), str(Path.home())):  # wherever cargo keeps its sources
                self.assertNotIn(folder.encode(), data, file.name)

    def test_the_module_is_finished(self):
        copy = PACKAGE / "again.wasm"
        shutil.copyfile(RELEASE / WASM, copy)
        in_folder(ROOT, "scripts/finish", str(copy))
        again = copy.read_bytes()
        copy.unlink()
        self.assertEqual(again, (RELEASE / WASM).read_bytes())


class Reproducible(unittest.TestCase):
    def test_a_clean_build_in_another_folder_is_the_same_to_the_byte(self):
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        )
        with tempfile.TemporaryDirectory(prefix="elsewhere-") as elsewhere:
            elsewhere = Path(elsewhere) / "a folder with another name"
            for name in names.stdout.decode().split("\0"):
                if name and (ROOT / name).is_file():
                    (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, elsewhere / name)
            options = [] if os.environ.get("IMAGES_NATIVE") else ["--no-native"]
            in_folder(elsewhere, "scripts/package", *options)
            there = files_below(elsewhere / "target/package/release")
        here = files_below(RELEASE)
        # These list or hold all that is there: without the native modules, some of it.
        lists = {"SHA256SUMS", "DIGESTS", "oci/index.json", "oci.tar"}
        for name in set(there) - (lists if options else set()):
            self.assertEqual(there[name], here.get(name), name)
        lines = set(here["DIGESTS"].splitlines())
        for line in there["DIGESTS"].splitlines():
            self.assertIn(line, lines)
        for name in (WASM, f"{WASM}.cdx.json", "DIGESTS", "oci/index.json", "oci.tar"):
            self.assertIn(name, there)
        if not options:
            self.assertEqual(set(there), set(here))

    def test_another_time_changes_images_but_no_module(self):
        plain = package.tar_with("plugin.wasm", b"\0asm", 0)
        self.assertNotEqual(plain, package.tar_with("plugin.wasm", b"\0asm", 1))
        self.assertEqual(package.gzipped(plain), package.gzipped(plain))


class Bills(unittest.TestCase):
    """The software bills of materials."""

    def bill(self, module=WASM):
        return json.loads((RELEASE / f"{module}.cdx.json").read_bytes())

    def test_the_subject_is_the_module(self):
        for module in [WASM, *(file.name for file in RELEASE.glob("*.so"))]:
            subject = self.bill(module)["metadata"]["component"]
            content = hashlib.sha256((RELEASE / module).read_bytes()).hexdigest()
            self.assertEqual(subject["hashes"], [{"alg": "SHA-256", "content": content}], module)
            self.assertEqual(subject["version"], VERSION)

    def test_the_crates_are_those_that_were_compiled_for_the_target(self):
        """Independent of cargo tree: cargo compiled for this target what it links, and macros for the machine."""
        built = PACKAGE / "build/wasm32-wasip1/release/deps"
        compiled = {re.sub(r"^lib|-[0-9a-f]{16}$", "", file.stem) for file in built.glob("lib*.rlib")}
        # The filter's own library form, of the last build.
        compiled -= {"twilio_webhook_filter"}
        listed = {one["name"].replace("-", "_") for one in self.bill()["components"]} - {"std"}
        self.assertEqual(listed, compiled)

    def test_each_crate_has_version_license_and_checksum(self):
        for module in [WASM, *(file.name for file in RELEASE.glob("*.so"))]:
            bill = self.bill(module)
            references = {one["bom-ref"] for one in bill["components"]}
            references.add(bill["metadata"]["component"]["bom-ref"])
            self.assertEqual(len(references), len(bill["components"]) + 1)
            self.assertEqual(references, {one["ref"] for one in bill["dependencies"]})
            for one in bill["components"]:
                self.assertTrue(one["version"] and one["licenses"], one)
                if one["name"] != "std":
                    self.assertEqual(len(one["hashes"][0]["content"]), 64, one)


class Pushed(unittest.TestCase):
    """The images, in a real registry."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="registry-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.registry = Registry(Path(cls.folder.name))
        cls.addClassCleanup(cls.registry.close)
        for tag in tagged():
            cls.registry.push(RELEASE / "oci", tag)

    def manifest(self, reference):
        return agent.manifest_at(f"http://{self.registry.address}/v2/filter", reference)

    def test_what_is_pulled_has_the_digest_of_what_was_pushed(self):
        for tag, descriptor in tagged().items():
            media_type, data, _ = self.manifest(tag)
            self.assertEqual((media_type, agent.digest_of(data)), (descriptor["mediaType"], descriptor["digest"]), tag)
            # All of it, with every platform.
            copy = Path(self.folder.name) / f"pulled-{tag}"
            self.registry.pull(tag, copy)
            for name, data in files_below(copy / "blobs").items():
                self.assertEqual(data, (RELEASE / "oci/blobs" / name).read_bytes(), f"{tag}: {name}")

    def test_an_agent_finds_the_module_in_both_forms(self):
        module = (RELEASE / WASM).read_bytes()
        for tag in (VERSION, f"{VERSION}-artifact"):
            found, digest = agent.read(self.registry.address, "filter", tag)
            self.assertEqual(found, module, tag)
            # As it would be pinned.
            self.assertEqual(agent.read(self.registry.address, "filter", digest)[0], module)

    def test_digests_name_what_an_agent_can_pin(self):
        lines = [line.split() for line in (RELEASE / "DIGESTS").read_text(encoding="utf-8").splitlines()]
        digests = {(tag, platform): digest for tag, platform, digest in lines}
        amd64 = digests[VERSION, "linux/amd64"]
        self.assertEqual(agent.read(self.registry.address, "filter", VERSION)[1], amd64)
        agent.read(self.registry.address, "filter", digests[f"{VERSION}-artifact", "-"])
        # An agent compares with the digest of what the index leads to.
        with self.assertRaisesRegex(agent.Rejected, "does not match"):
            agent.read(self.registry.address, "filter", digests[VERSION, "-"])

    def test_both_platforms_share_the_layer(self):
        _, _, index = self.manifest(VERSION)
        platforms = [one["platform"]["architecture"] for one in index["manifests"]]
        self.assertEqual(platforms, ["amd64", "arm64"])
        layers = [self.manifest(one["digest"])[2]["layers"] for one in index["manifests"]]
        self.assertEqual(layers[0], layers[1])

    def test_a_native_image_has_the_module_of_its_platform(self):
        if not (ROOT / "scripts/build-native").exists():
            self.skipTest("there is no scripts/build-native")
        _, _, index = self.manifest(f"{VERSION}-native")
        for one, architecture in zip(index["manifests"], ("x86_64", "aarch64")):
            layers = self.manifest(one["digest"])[2]["layers"]
            base = f"http://{self.registry.address}/v2/filter"
            with self.subTest(architecture):
                plain = agent.zlib.decompress(agent.blob(base, layers[0]), 31)
                with agent.tarfile.open(fileobj=agent.io.BytesIO(plain)) as archive:
                    self.assertEqual(archive.getnames(), ["libtwilio_webhook_filter.so"])
                    module = archive.extractfile(archive.getnames()[0]).read()
                self.assertEqual(module, (RELEASE / f"libtwilio_webhook_filter-{architecture}-gnu.so").read_bytes())
                # ELF's e_machine.
                self.assertEqual(module[18], {"x86_64": 62, "aarch64": 183}[architecture])

    def test_an_image_has_its_bill_of_materials_for_a_referrer(self):
        for tag in (VERSION, f"{VERSION}-artifact"):
            subject = tagged()[tag]["digest"]
            _, _, manifest = self.manifest(f"{tag}-sbom")
            self.assertEqual(manifest["subject"]["digest"], subject)
            self.assertEqual(manifest["artifactType"], "application/vnd.cyclonedx+json")
            self.assertEqual(layout_blob(manifest["layers"][0]), (RELEASE / f"{WASM}.cdx.json").read_bytes())


class Wrong(unittest.TestCase):
    """The agents' rules, held against images that they do not load: else the tests above would prove nothing."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="registry-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.registry = Registry(Path(cls.folder.name))
        cls.addClassCleanup(cls.registry.close)

    def rejected(self, why, make):
        """`make` writes into a layout and returns the descriptor of what is pushed."""
        path = Path(self.folder.name) / self.id().rpartition(".")[2]
        layout = package.Layout(path)
        layout.tag("wrong", make(layout))
        layout.close()
        self.registry.push(path, "wrong", repository="wrong")
        with self.assertRaisesRegex(agent.Rejected, why):
            agent.read(self.registry.address, "wrong", "wrong")

    def single(self, *layers):
        def make(layout):
            diff_ids = [package.digest_of(data) for _, data in layers]
            config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
            added = [layout.add(media_type, data) for media_type, data in layers]
            return layout.manifest(layout.add(package.CONFIG, package.compact(config)), added)

        return make

    def layer(self, name, module=b"\0asm\1\0\0\0"):
        return package.LAYER, package.gzipped(package.tar_with(name, module, 0))

    def test_the_right_form_is_read(self):
        path = Path(self.folder.name) / "right"
        layout = package.Layout(path)
        layout.tag("right", self.single(self.layer("anywhere/plugin.wasm"))(layout))
        layout.close()
        self.registry.push(path, "right", repository="right")
        self.assertEqual(agent.read(self.registry.address, "right", "right")[0], b"\0asm\1\0\0\0")

    def test_another_name_is_rejected(self):
        self.rejected("no plugin.wasm", self.single(self.layer("twilio_webhook_filter.wasm")))

    def test_a_module_that_is_none_is_rejected(self):
        self.rejected("no WebAssembly module", self.single(self.layer("plugin.wasm", b"\x7fELF0000")))

    def test_a_module_in_another_layer_than_the_last_is_rejected(self):
        self.rejected("no plugin.wasm", self.single(self.layer("plugin.wasm"), self.layer("LICENSE"), self.layer("x")))

    def test_a_layer_of_another_compression_is_rejected(self):
        media_type = "application/vnd.oci.image.layer.v1.tar+zstd"
        self.rejected("zstd, not", self.single((media_type, self.layer("plugin.wasm")[1])))

    def test_an_artifact_of_one_layer_is_rejected(self):
        self.rejected("1 layers instead of 2", self.single((package.WASM_LAYER, b"\0asm\1\0\0\0")))

    def test_an_artifact_of_three_layers_is_rejected(self):
        config = (package.WASM_CONFIG, b"{}")
        module = (package.WASM_LAYER, b"\0asm\1\0\0\0")
        self.rejected("3 layers instead of 2", self.single(config, module, config))

    def test_the_media_type_of_the_wasm_tools_is_rejected(self):
        module = ("application/wasm", b"\0asm\1\0\0\0")
        self.rejected("no layer of type", self.single((package.WASM_CONFIG, b"{}"), module))

    def test_an_index_without_linux_amd64_is_rejected(self):
        def make(layout):
            platform = {"architecture": "wasm", "os": "wasi"}
            return layout.index([{**self.single(self.layer("plugin.wasm"))(layout), "platform": platform}])

        self.rejected("no linux/amd64", make)


if __name__ == "__main__":
    unittest.main()
