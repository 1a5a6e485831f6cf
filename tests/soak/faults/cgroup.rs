use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::envoy::Envoy;

/// The files of a group, as the two versions of cgroups call them.
struct Names {
    limit: &'static str,
    /// Of swap as well, where the kernel counts it.
    swap: &'static str,
    /// With a line `oom_kill` and how often.
    events: &'static str,
}

const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    events: "memory.oom_control",
};
const V2: Names = Names {
    limit: "memory.max",
    swap: "memory.swap.max",
    events: "memory.events",
};

/// A cgroup for memory that a test has made, and removes.
pub(super) struct MemoryGroup {
    directory: PathBuf,
    names: Names,
}

impl MemoryGroup {
    /// In the group of these tests, or in one above it.
    pub(super) fn new() -> Self {
        let mut tried = Vec::new();
        for (parent, names) in places() {
            let directory = parent.join(format!("twilio-webhook-faults-{}", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) if directory.join(names.limit).is_file() => {
                    return Self { directory, names };
                }
                Ok(()) => {
                    let _ = fs::remove_dir(&directory);
                    tried.push(format!("{}: no {}", parent.display(), names.limit));
                }
                Err(error) => tried.push(format!("{}: {error}", parent.display())),
            }
        }
        panic!(
            "this test makes a cgroup that limits memory: it must run as root, with the memory controller of cgroup v1 or \
             v2 mounted at /sys/fs/cgroup and writable (in a container: --privileged --cgroupns=host). Leave it out with \
             `--skip cgroup`. Tried: {tried:?}"
        );
    }

    /// Takes in an Envoy, which may have so many bytes more.
    pub(super) fn take(&self, envoy: &Envoy, bytes: u64) {
        self.write(self.names.limit, &bytes.to_string());
        // Without swap there is nothing to limit.
        let swap = if self.names.limit == V2.limit {
            0
        } else {
            bytes
        };
        if self.directory.join(self.names.swap).is_file() {
            let _ = fs::write(self.directory.join(self.names.swap), swap.to_string());
        }
        self.write("cgroup.procs", &envoy.pid().to_string());
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.directory.join(name);
        fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// How many processes the kernel has killed in it for want of memory.
    pub(super) fn kills(&self) -> u64 {
        let file = self.directory.join(self.names.events);
        let text = fs::read_to_string(&file).expect("the group's events");
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.parse().ok()).expect("a count")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A moment after its last process has ended.
        let start = Instant::now();
        while fs::remove_dir(&self.directory).is_err() && start.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(20));
        }
    }
}

/// The groups in which one may be made, this process's own first.
fn places() -> Vec<(PathBuf, Names)> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = |controller: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let is_it = controllers.split(',').any(|name| name == controller);
            is_it.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mut places = Vec::new();
    for (root, controller, names) in [
        ("/sys/fs/cgroup/memory", "memory", || V1),
        ("/sys/fs/cgroup", "", || V2),
    ] as [(&str, &str, fn() -> Names); 2]
    {
        let Some(own) = own(controller) else { continue };
        let root = Path::new(root);
        let up = root.join(own);
        let up = up.ancestors().take_while(|place| place.starts_with(root));
        places.extend(up.map(|place| (place.to_owned(), names())));
    }
    places
}
