//! The filter's hint on a request that was just sent, from Envoy's log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use twilio_webhook_filter::companion::captured::log_line;

use crate::failure::Failure;

/// How long Envoy may take to write a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a log gets from now on.
pub struct LogTail {
    path: PathBuf,
    from: u64,
}

impl LogTail {
    /// Notes where a log ends.
    pub fn open(path: &Path) -> Result<LogTail, Failure> {
        let length = path.metadata().map(|file| file.len());
        Ok(LogTail {
            path: path.to_owned(),
            from: length.map_err(|error| Failure::of_file(path, &error))?,
        })
    }

    /// Returns the filter's hint on a request, once its line is there.
    pub fn hint(&self, request_id: &str) -> Option<String> {
        let started = Instant::now();
        loop {
            let mut text = Vec::new();
            let mut file = File::open(&self.path).ok()?;
            file.seek(SeekFrom::Start(self.from)).ok()?;
            file.read_to_end(&mut text).ok()?;
            let lines = text.split(|byte| *byte == b'\n').filter_map(log_line);
            let mut own = lines.filter(|line| line.request_id == request_id);
            if let Some(line) = own.next() {
                return line.hint;
            }
            if started.elapsed() > PATIENCE {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
