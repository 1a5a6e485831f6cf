//! What wakes the main thread: one thread for all configurations, since the ABI has no timer.

use std::sync::{Arc, Mutex, Weak};
use std::thread;

use crate::host::native::config::Config;
use crate::host::native::lock::lock;
use crate::stream::flush::PERIOD;

/// The configurations that are looked at after each [`PERIOD`].
static ALL: Mutex<Timer> = Mutex::new(Timer {
    configs: Vec::new(),
    is_running: false,
});

struct Timer {
    configs: Vec<Weak<Config>>,
    /// Whether there is a thread, which there is while there are configurations.
    is_running: bool,
}

/// Has a configuration looked at, until it is closed.
pub(super) fn add(config: &Arc<Config>) -> Result<(), String> {
    let mut all = lock(&ALL);
    if !all.is_running {
        let name = "twilio_webhook".to_owned();
        let timer = thread::Builder::new().name(name).spawn(run);
        timer.map_err(|error| format!("there is no timer ({error})"))?;
        all.is_running = true;
    }
    all.configs.push(Arc::downgrade(config));
    Ok(())
}

fn run() {
    loop {
        thread::sleep(PERIOD);
        let mut all = lock(&ALL);
        all.configs
            .retain(|config| config.upgrade().is_some_and(|config| config.wake()));
        if all.configs.is_empty() {
            all.is_running = false;
            return;
        }
    }
}
