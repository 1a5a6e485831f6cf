//! Counts the instructions of one function, in a process of its own under valgrind.

use std::path::Path;
use std::process::Command;

/// The test that does what is counted, alone, in the same program: it is told the case by
/// the environment variable [`CASE`].
pub const COUNTED_TEST: &str = "the_case_that_runs_under_valgrind";

/// Names the case.
pub const CASE: &str = "CASE";

/// The C library's functions for any processor: others take other numbers of instructions.
/// (Before 2.33 it spells AVX2 the other way.)
const PLAIN_C_LIBRARY: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS";

/// The instructions of the functions with `function` in their names, in a case.
pub fn instructions(function: &str, case: &str) -> u64 {
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let out: &Path = out.path();
    let own = std::env::current_exe().expect("this test's own program");
    // Only this is inherited: what else is in the environment would move the stack.
    let output = Command::new("valgrind")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GLIBC_TUNABLES", PLAIN_C_LIBRARY)
        .env(CASE, case)
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(own)
        .args(["--exact", COUNTED_TEST, "--test-threads=1"])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => panic!("valgrind does not run ({error}); on Debian: apt install valgrind"),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{case}: {said}");
    let counts = std::fs::read_to_string(out).expect("what callgrind counted");
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.and_then(|total| total.parse().ok()).expect("a total");
    assert!(
        total > 0,
        "{case}: valgrind did not find {function}: {said}"
    );
    total
}
