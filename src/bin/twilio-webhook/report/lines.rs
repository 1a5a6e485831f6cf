//! Lines of files or of standard input, read by a thread of their own so that Ctrl-C is heard while nothing comes.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::failure::Failure;
use crate::input::read_some;

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// The longest line that is kept; the rest of a longer one is left out.
const MAX_LINE: usize = 1 << 20;
/// How many chunks may wait.
const WAITING: usize = 4;
/// How often a file that is followed is looked at.
const POLL: Duration = Duration::from_millis(200);

/// What comes next.
pub enum Chunk {
    /// Whole lines.
    Lines(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// No more.
    End,
    /// It cannot be read.
    Failed(Failure),
}

/// Where lines come from.
pub struct Source {
    chunks: Receiver<Result<Vec<u8>, Failure>>,
    /// The size of all files, in bytes.
    pub length: Option<u64>,
}

impl Source {
    /// Opens files, or standard input if there is none.
    pub fn open(paths: &[PathBuf], follow: bool) -> Result<Source, Failure> {
        let (sender, chunks) = sync_channel(WAITING);
        let is_stdin = paths.is_empty() || paths.iter().any(|path| path == Path::new("-"));
        if follow && paths.len() > 1 {
            return Failure::expected("one file with --follow");
        }
        let mut files = Vec::new();
        let mut length = 0;
        for path in paths.iter().filter(|path| *path != Path::new("-")) {
            let file = File::open(path).map_err(|error| Failure::of_file(path, &error))?;
            length += file.metadata().map_or(0, |file| file.len());
            files.push((path.clone(), file));
        }
        std::thread::spawn(move || {
            for (path, file) in files {
                let done = match follow {
                    true => self::follow(&path, file, &sender),
                    false => lines(file, &sender).map_err(|error| Failure::of_file(&path, &error)),
                };
                if let Err(failure) = done {
                    let _ = sender.send(Err(failure));
                    return;
                }
            }
            if is_stdin && let Err(error) = lines(io::stdin(), &sender) {
                let _ = sender.send(Err(error.into()));
            }
        });
        Ok(Source {
            chunks,
            length: (!is_stdin && !follow).then_some(length),
        })
    }

    /// Returns what comes next within a time.
    pub fn next(&self, within: Duration) -> Chunk {
        match self.chunks.recv_timeout(within) {
            Ok(Ok(lines)) => Chunk::Lines(lines),
            Ok(Err(failure)) => Chunk::Failed(failure),
            Err(RecvTimeoutError::Timeout) => Chunk::Nothing,
            Err(RecvTimeoutError::Disconnected) => Chunk::End,
        }
    }
}

type Sender = SyncSender<Result<Vec<u8>, Failure>>;

/// The beginning of a line whose end has not come yet.
#[derive(Default)]
struct Rest(Vec<u8>);

impl Rest {
    /// Returns the whole lines of what was kept and what has come, and keeps the rest.
    fn with(&mut self, come: &[u8]) -> Vec<u8> {
        let end = come.iter().rposition(|byte| *byte == b'\n');
        let (whole, rest) = match end {
            Some(end) => come.split_at_checked(end).unwrap_or_default(),
            None => (&b""[..], come),
        };
        let mut lines = Vec::new();
        if end.is_some() {
            lines.append(&mut self.0);
            lines.extend_from_slice(whole);
        }
        let rest = match end {
            Some(_) => rest.get(1..).unwrap_or_default(),
            None => rest,
        };
        let room = MAX_LINE.saturating_sub(self.0.len()).min(rest.len());
        self.0
            .extend_from_slice(rest.get(..room).unwrap_or_default());
        lines
    }
}

/// Sends all lines of a reader. That nobody receives them any more is no error.
fn lines(mut reader: impl Read, sender: &Sender) -> io::Result<()> {
    let mut rest = Rest::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = read_some(&mut reader, &mut buffer)?;
        if length == 0 {
            break;
        }
        let lines = rest.with(buffer.get(..length).unwrap_or_default());
        if !lines.is_empty() && sender.send(Ok(lines)).is_err() {
            return Ok(());
        }
    }
    if !rest.0.is_empty() {
        let _ = sender.send(Ok(rest.0));
    }
    Ok(())
}

/// Sends the lines of a file and whatever is appended to it, also when it is truncated or replaced.
fn follow(path: &Path, mut file: File, sender: &Sender) -> Result<(), Failure> {
    let mut rest = Rest::default();
    let mut buffer = vec![0; CHUNK];
    let mut at: u64 = 0;
    loop {
        let length =
            read_some(&file, &mut buffer).map_err(|error| Failure::of_file(path, &error))?;
        if length > 0 {
            at += length as u64;
            let lines = rest.with(buffer.get(..length).unwrap_or_default());
            if !lines.is_empty() && sender.send(Ok(lines)).is_err() {
                return Ok(());
            }
            continue;
        }
        std::thread::sleep(POLL);
        let Ok(now) = path.metadata() else {
            // Between two files.
            continue;
        };
        if is_another(&file, &now)
            && let Ok(new) = File::open(path)
        {
            (file, at) = (new, 0);
        } else if now.len() < at {
            let seeked = file.seek(SeekFrom::Start(0));
            at = seeked.map_err(|error| Failure::of_file(path, &error))?;
        }
    }
}

#[cfg(unix)]
fn is_another(file: &File, now: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata()
        .is_ok_and(|own| own.ino() != now.ino() || own.dev() != now.dev())
}

#[cfg(not(unix))]
fn is_another(_: &File, _: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_they_are_cut() {
        let mut rest = Rest::default();
        assert_eq!(rest.with(b"one"), b"");
        assert_eq!(rest.with(b" line\ntwo\nth"), b"one line\ntwo");
        assert_eq!(rest.with(b"ree\n"), b"three");
        assert_eq!(rest.with(&vec![b'x'; MAX_LINE * 2]), b"");
        assert_eq!(rest.0.len(), MAX_LINE);
    }
}
