"""Tests of symbols: python3 -m unittest discover -s scripts"""

import re
import sys
import types
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts/symbols"
symbols = types.ModuleType("symbols")
# The script has no suffix, so that `import` does not find it.
exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), symbols.__dict__)


class Made:
    """A file that was never linked."""

    machine = "x86_64"

    def __init__(self, needs=(), weak=(), exports=(), libraries=("libc.so.6",)):
        self.all = [symbols.Symbol(name, False, False, version) for name, version in needs]
        self.all += [symbols.Symbol(name, False, True, "") for name in weak]
        self.all += [symbols.Symbol(name, True, False, "") for name in exports]
        self.needed = libraries

    def symbols(self):
        return iter(self.all)

    def libraries(self):
        return self.needed


LOG = symbols.CALLBACK + "log"
HOOK = symbols.HOOK + "program_init"
ENVOY = Made(exports=[LOG])


def mistakes(module, machine="x86_64"):
    return symbols.mistakes(module, machine, "2.28", ENVOY)


class Mistakes(unittest.TestCase):
    def test_a_module_that_needs_what_is_there_is_right(self):
        good = Made([(LOG, ""), ("malloc", "GLIBC_2.2.5"), ("statx", "GLIBC_2.28")], ["gettid"], [HOOK])
        self.assertEqual(mistakes(good), [])

    def test_each_need_that_may_not_be_there_is_named(self):
        for module, words in [
            (Made([("dlsym", "GLIBC_2.34")]), "dlsym of GLIBC_2.34, newer than 2.28"),
            (Made([("dlsym", "GLIBC_3")]), "newer than 2.28"),
            (Made([("_Unwind_Resume", "GCC_3.0")]), "GCC_3.0, which is no version of glibc"),
            (Made([("pthread_x", "")]), "pthread_x, which is neither"),
            (Made([(symbols.CALLBACK + "new", "")]), "callback_new, which this Envoy does not have"),
            (Made(exports=["malloc"]), "exports malloc"),
            (Made(libraries=["libgcc_s.so.1"]), "libgcc_s.so.1, which is not part of glibc"),
        ]:
            with self.subTest(words):
                found = mistakes(module)
                self.assertEqual(len(found), 1, found)
                self.assertIn(words, found[0])

    def test_another_architecture_is_named(self):
        self.assertEqual(mistakes(Made(), "aarch64"), ["it is for x86_64, not aarch64"])


@unittest.skipUnless(sys.platform == "linux", "its own executable is the file that is read")
class Reading(unittest.TestCase):
    def test_a_real_file_is_read_whole(self):
        own = symbols.Elf(sys.executable)
        self.assertTrue(any(symbols.LIBRARIES.fullmatch(library) for library in own.libraries()), own.libraries())
        self.assertGreater(symbols.number(symbols.newest(own)), (2, 2))
        self.assertTrue(all(symbol.name for symbol in own.symbols()))

    def test_what_is_no_such_file_is_said(self):
        self.assertRaisesRegex(ValueError, "no ELF file", symbols.Elf, SCRIPT)


class Page(unittest.TestCase):
    def test_the_page_about_hosts_names_the_version_of_glibc(self):
        script = (ROOT / "scripts/build-native").read_text(encoding="utf-8")
        glibc = re.search(r"^glibc=(.+)$", script, re.MULTILINE)[1]
        self.assertIn(f"glibc {glibc} or newer", (ROOT / "docs/hosts.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main()
