"""Tests of imports: python3 -m unittest discover -s scripts"""

import tempfile
import types
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "imports"
imports = types.ModuleType("imports")
# The script has no suffix, so that `import` does not find it.
exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), imports.__dict__)

MANIFEST = '[dependencies]\nserde_json = "1"\n'


def violations(files, manifest=MANIFEST):
    """What is wrong with a crate of these files below src; lib.rs declares the folders and files at the top."""
    with tempfile.TemporaryDirectory() as root:
        src = Path(root) / "src"
        for name, text in files.items():
            path = src / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        tops = sorted({Path(name).parts[0].removesuffix(".rs") for name in files})
        (src / "lib.rs").write_text("".join(f"mod {top};\n" for top in tops))
        (Path(root) / "Cargo.toml").write_text(manifest)
        return imports.violations(root)


class Paths(unittest.TestCase):
    def test_a_use_with_braces_names_each_of_its_paths(self):
        tree = "crate::a::{b, c::{d as e, self}, f::*}"
        self.assertEqual(imports.leaves(tree), ["crate::a::b", "crate::a::c::d", "crate::a::c", "crate::a::f"])

    def test_comments_strings_and_characters_hold_no_paths(self):
        code = 'let a = "crate::x"; // crate::x\n/* crate::x */ let b = r#"crate::"x"#; let c: &\'static str; let d = \'"\';'
        self.assertNotIn("crate::", imports.without_comments_and_strings(code))


class Directions(unittest.TestCase):
    def test_imports_down_the_house_are_no_violation(self):
        files = {
            "pipeline/mod.rs": "use crate::config::Config;\nuse crate::time::Now;",
            "config/mod.rs": "use crate::time::Now;",
            "time.rs": "",
        }
        self.assertEqual(violations(files), [])

    def test_an_import_that_points_up_is_named_by_file_and_line(self):
        files = {"time.rs": "// Why.\nuse crate::config::Config;", "config/mod.rs": ""}
        (only,) = violations(files)
        self.assertIn("src/time.rs:2: imports crate::config::Config; time may import only: nothing", only)

    def test_a_path_inside_an_expression_is_an_import(self):
        files = {"time.rs": "fn now() { crate::config::load() }", "config/mod.rs": ""}
        self.assertEqual(len(violations(files)), 1)

    def test_a_part_of_a_folder_may_be_allowed_alone(self):
        files = {
            "store/mod.rs": "use crate::signature::key::Nonce;\nuse crate::signature::url::Url;",
            "signature/mod.rs": "mod key;\nmod url;",
            "signature/key.rs": "",
            "signature/url.rs": "",
        }
        (only,) = violations(files)
        self.assertIn("src/store/mod.rs:2", only)

    def test_tests_may_import_what_they_like(self):
        files = {
            "time.rs": "#[cfg(test)]\nmod tests {\n    use crate::config::Config;\n}\n#[cfg(test)]\nuse crate::config::X;",
            "config/mod.rs": "",
        }
        self.assertEqual(violations(files), [])

    def test_a_folder_that_the_table_does_not_know_is_a_violation(self):
        (only,) = violations({"attic.rs": ""})
        self.assertIn("does not know where `attic` stands", only)


class Circles(unittest.TestCase):
    def test_files_that_import_each_other_are_a_circle_reported_once(self):
        files = {
            "signature/mod.rs": "mod key;\nmod url;",
            "signature/key.rs": "use crate::signature::url::Url;",
            "signature/url.rs": "\nuse super::key::Key;",
        }
        (only,) = violations(files)
        self.assertIn("src/signature/key.rs:1: imports signature::url", only)
        self.assertIn("src/signature/url.rs:2: imports signature::key", only)

    def test_a_longer_circle_is_found(self):
        files = {
            "signature/mod.rs": "mod a;\nmod b;\nmod c;",
            "signature/a.rs": "use super::b::B;",
            "signature/b.rs": "use super::c::C;",
            "signature/c.rs": "use super::a::A;",
        }
        self.assertEqual(len(violations(files)), 1)

    def test_declaring_a_child_that_imports_its_parent_is_no_circle(self):
        files = {"signature/mod.rs": "mod key;\nstruct Shared;", "signature/key.rs": "use super::Shared;"}
        self.assertEqual(violations(files), [])

    def test_a_parent_that_uses_a_child_which_imports_it_is_a_circle(self):
        for used in ("use key::Key;", "fn make() { key::make() }"):
            files = {"signature/mod.rs": f"mod key;\n{used}\nstruct Shared;", "signature/key.rs": "use super::Shared;"}
            with self.subTest(used):
                self.assertEqual(len(violations(files)), 1)

    def test_super_inside_of_an_inline_module_is_the_file_itself(self):
        files = {
            "signature/mod.rs": "mod key;\nuse key::Key;",
            "signature/key.rs": "pub mod inner {\n    fn f() { super::g() }\n}\nfn g() {}",
        }
        self.assertEqual(violations(files), [])


class Words(unittest.TestCase):
    def test_unsafe_is_allowed_below_host_only(self):
        files = {"host/mod.rs": "unsafe fn f() {}", "time.rs": "// unsafe\n#![forbid(unsafe_code)]\nunsafe fn f() {}"}
        (only,) = violations(files)
        self.assertIn("src/time.rs:3", only)

    def test_redis_is_named_by_neither_comments_nor_tests_of_the_pipeline(self):
        files = {"pipeline/mod.rs": "//! Not Redis.\n", "pipeline/tests.rs": "\nlet REDIS = 1;", "store/redis.rs": ""}
        found = [line for line in violations(files) if "says Redis" in line]
        self.assertEqual(len(found), 2)


class Companion(unittest.TestCase):
    def test_what_is_shared_with_the_page_names_no_file_no_clock_and_no_crate_of_the_command_line(self):
        manifest = MANIFEST + 'clap = { version = "4", optional = true }\n'
        for impure in ("use std::fs;", "fn f() { std::time::SystemTime::now() }", "use clap::Args;"):
            with self.subTest(impure):
                (only,) = violations({"companion/mod.rs": f"// std::fs\n{impure}"}, manifest)
                self.assertIn("src/companion/mod.rs:2: names", only)
        self.assertEqual(violations({"companion/mod.rs": "use crate::time::Now;", "time.rs": ""}, manifest), [])

    def test_nothing_below_imports_it(self):
        files = {"pipeline/mod.rs": "use crate::companion::Explainer;", "companion/mod.rs": ""}
        self.assertEqual(len(violations(files)), 1)

    def test_the_files_of_a_binary_form_no_circle(self):
        files = {
            "bin/tool/main.rs": "mod a;\nmod b;\nuse a::run;",
            "bin/tool/a.rs": "use crate::b::B;",
            "bin/tool/b.rs": "use crate::a::A;",
        }
        found = [line for line in violations(files) if "a circle" in line]
        self.assertEqual(len(found), 1)


class CratesUnderCfg(unittest.TestCase):
    def test_a_crate_under_a_cfg_is_a_violation_and_the_hosts_own_is_none(self):
        files = {
            "time.rs": '#[cfg(feature = "x")]\nfn f() { serde_json::to_string() }\nfn g() { serde_json::to_string() }',
            "host/mod.rs": '#[cfg(target_os = "wasi")]\nuse proxy_wasm::main;',
        }
        (only,) = violations(files)
        self.assertIn("src/time.rs:1: names the crate serde_json under cfg", only)

    def test_a_dependency_of_one_target_is_a_violation_unless_it_is_the_hosts(self):
        manifest = MANIFEST + "[target.'cfg(unix)'.dependencies]\nproxy-wasm = \"1\"\nlibc = \"1\"\n"
        (only,) = violations({"time.rs": ""}, manifest)
        self.assertIn("libc", only)


if __name__ == "__main__":
    unittest.main()
