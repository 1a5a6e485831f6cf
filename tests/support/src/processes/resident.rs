use crate::envoy::Envoy;

/// The resident memory of an Envoy that this process has started.
pub fn resident(envoy: &Envoy) -> u64 {
    let info: serde_json::Value = serde_json::from_str(&envoy.admin("/server_info")).expect("JSON");
    let config = info["command_line_options"]["config_path"].as_str();
    let config = config.expect("the path of the configuration");
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc");
    let statuses = processes.filter_map(|entry| {
        let directory = entry.ok()?.path();
        let line = std::fs::read(directory.join("cmdline")).ok()?;
        let mut arguments = line.split(|byte| *byte == 0);
        let ours = arguments.any(|argument| argument == config.as_bytes());
        let status = std::fs::read_to_string(directory.join("status")).ok()?;
        (ours && field(&status, "PPid:")? == own).then_some(status)
    });
    let statuses: Vec<_> = statuses.collect();
    let [status] = statuses.as_slice() else {
        panic!("{} processes with {config}", statuses.len());
    };
    let kilobytes: u64 = field(status, "VmRSS:")
        .and_then(|text| text.trim_end_matches(" kB").parse().ok())
        .expect("resident memory");
    kilobytes << 10
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map(str::trim)
}
