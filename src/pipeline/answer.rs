//! What the upstream's answer does to the nonce of an accepted request.

/// How the upstream answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took the request, or turned it down for good: a repeat is a duplicate.
    Taken,
    /// It failed, or never saw the request: the sender's retry is to pass.
    Failed,
    /// The sender left before there was an answer.
    SenderLeft,
}

impl Answer {
    /// By the answer's status.
    ///
    /// A 5xx is a failure whoever gave it: the upstream, or Envoy for an upstream
    /// that was reset, timed out or rejected the connection. A 401 is one because
    /// Twilio sends a request twice where the URL has HTTP authentication, first
    /// without it. 408, 425 and 429 say that the same request is welcome later: it has
    /// come too slowly, too early, or among too many. Any other answer counts as taken, if it came from the upstream
    /// (`from_upstream`): what Envoy itself answers (no route, another filter's
    /// rejection), the upstream has not seen.
    pub fn of_status(status: Option<u16>, from_upstream: impl FnOnce() -> bool) -> Answer {
        match status {
            None | Some(401 | 408 | 425 | 429 | 500..) => Answer::Failed,
            Some(200..=299) => Answer::Taken,
            Some(_) if from_upstream() => Answer::Taken,
            Some(_) => Answer::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn failures_release_and_answers_keep() {
        for (status, from_upstream, answer) in [
            (200, true, Answer::Taken),
            (204, false, Answer::Taken),
            (101, true, Answer::Taken),
            (302, true, Answer::Taken),
            (400, true, Answer::Taken),
            (401, true, Answer::Failed),
            (404, true, Answer::Taken),
            (407, true, Answer::Taken),
            (408, true, Answer::Failed),
            (409, true, Answer::Taken),
            (424, true, Answer::Taken),
            (425, true, Answer::Failed),
            (426, true, Answer::Taken),
            (428, true, Answer::Taken),
            (429, true, Answer::Failed),
            (429, false, Answer::Failed),
            (431, true, Answer::Taken),
            (404, false, Answer::Failed),
            (500, true, Answer::Failed),
            (503, false, Answer::Failed),
            (599, true, Answer::Failed),
        ] {
            let judged = Answer::of_status(Some(status), || from_upstream);
            assert_eq!(judged, answer, "{status}");
        }
        assert_eq!(Answer::of_status(None, || true), Answer::Failed);
    }
}
