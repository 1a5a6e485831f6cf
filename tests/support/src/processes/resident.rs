/// The resident memory of a process, in bytes.
pub fn resident(process: u32) -> u64 {
    let file = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut lines = status.lines();
    let kilobytes = lines
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or_else(|| panic!("no resident memory in {file}"));
    kilobytes << 10
}
