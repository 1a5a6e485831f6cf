//! Ctrl-C, which ends what runs on and lets it say what it has found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// Whether Ctrl-C was pressed.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes Ctrl-C from now on. A second one ends the process at once.
    pub fn listen() -> Result<Interrupt, Failure> {
        let pressed = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&pressed);
        let listening = ctrlc::set_handler(move || {
            if own.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        match listening {
            Ok(()) => Ok(Interrupt(pressed)),
            Err(error) => Failure::said(error),
        }
    }

    pub fn is_pressed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
