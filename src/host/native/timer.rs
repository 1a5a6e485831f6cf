//! A timer for all configurations, in a thread of its own, since the ABI has none.

use std::sync::Mutex;
use std::thread;

use crate::host::native::lock::lock;
use crate::stream::flush::PERIOD;

/// What is called after each [`PERIOD`], until it returns false.
type Task = Box<dyn Fn() -> bool + Send>;

static ALL: Mutex<Timer> = Mutex::new(Timer {
    tasks: Vec::new(),
    is_running: false,
});

struct Timer {
    tasks: Vec<Task>,
    /// Whether there is a thread, which there is while there are tasks.
    is_running: bool,
}

/// Has `task` called after each [`PERIOD`], until it returns false.
pub(super) fn add(task: Task) -> Result<(), String> {
    let mut all = lock(&ALL);
    if !all.is_running {
        let name = "twilio_webhook".to_owned();
        let timer = thread::Builder::new().name(name).spawn(run);
        timer.map_err(|error| format!("there is no timer ({error})"))?;
        all.is_running = true;
    }
    all.tasks.push(task);
    Ok(())
}

fn run() {
    loop {
        thread::sleep(PERIOD);
        let mut all = lock(&ALL);
        all.tasks.retain(|task| task());
        if all.tasks.is_empty() {
            all.is_running = false;
            return;
        }
    }
}
