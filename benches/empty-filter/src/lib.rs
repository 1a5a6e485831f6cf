//! A filter that checks nothing, to measure what a filter in WebAssembly costs before it does anything.
//!
//! Its configuration is one word: with `hold` it keeps headers and body back until the last byte is there, as the
//! filter has to, and then lets them go unread; without it, everything passes at once.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { hold: false }));
}}

struct Root {
    hold: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.hold = self.get_plugin_configuration().as_deref() == Some(b"hold".as_slice());
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { hold: self.hold }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    hold: bool,
}

impl Stream {
    fn until(&self, last: bool) -> Action {
        if self.hold && !last {
            Action::Pause
        } else {
            Action::Continue
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.until(end_of_stream)
    }

    fn on_http_request_body(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.until(end_of_stream)
    }
}
