use support::process::repository;
use support::tables::{in_thousands, number, table};

/// Paths of the machine that built it are in the module, so that not every byte can be told.
const TOLERANCE: u64 = 1024;

#[test]
fn the_module_is_as_large_as_the_documentation_says() {
    let file = repository().join("target/wasm32-wasip1/release/twilio_webhook_filter.wasm");
    let size = std::fs::metadata(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/test build", file.display()))
        .len();
    let documented = table("docs/performance.md", "Size of the module");
    let is_right = number(&documented[0][1]).abs_diff(size) <= TOLERANCE;
    let row = format!("| {} | {} |", documented[0][0], in_thousands(size));
    assert!(is_right, "docs/performance.md should have\n{row}");
}
