use support::filter_host::{FilterHost, only};
use support::process::repository;
use support::tables::{in_thousands, publish};

/// In bytes. Paths of the machine that built it are in the module, so that not every byte can be told.
const MAX_MODULE_SIZE: u64 = 600_000;

#[test]
fn the_module_stays_within_its_budget_of_bytes() {
    if !only(FilterHost::Wasm, "Module") {
        return;
    }
    let name = "twilio_webhook_filter.wasm";
    let file = repository().join("target/wasm32-wasip1/release").join(name);
    let module = std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/test build", file.display()));
    let unfinished = b"finished_on_response_headers";
    assert!(
        !module
            .windows(unfinished.len())
            .any(|bytes| bytes == unfinished),
        "{} is not finished: scripts/test build",
        file.display()
    );
    let size = module.len() as u64;
    let row = vec![name.to_owned(), in_thousands(size)];
    publish("docs/performance.md", "module size", &[row]);
    assert!(size <= MAX_MODULE_SIZE, "{size} bytes of {MAX_MODULE_SIZE}");
}
