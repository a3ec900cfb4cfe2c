//! Trying again: how often, and after what pause.

use std::thread;
use std::time::Duration;

use crate::transport::{Answer, Unanswered};

/// How often something is tried before it counts as failed.
pub(crate) const TRIES: u32 = 5;

/// The pause before the second try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause taken on a server's word.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause after a try that failed, counted from 1.
pub(crate) fn pause(tries: u32) -> Duration {
    FIRST_PAUSE * 2_u32.pow(tries.saturating_sub(1).min(6))
}

/// The pause a busy server asks for, if an answer is one of a busy server or of one that stumbled.
pub(crate) fn asked_for(answer: &Answer, tries: u32) -> Option<Duration> {
    if !matches!(answer.status, 408 | 425 | 429 | 500 | 502..=504) {
        return None;
    }
    let seconds = answer
        .header("retry-after")
        .and_then(|value| value.parse().ok());
    let asked = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
    Some(asked.unwrap_or_else(|| pause(tries)))
}

/// Asks until there is an answer that stands, or it failed too often. Only for what may be asked
/// twice.
pub(crate) fn patiently(
    mut ask: impl FnMut() -> Result<Answer, Unanswered>,
) -> Result<Answer, Unanswered> {
    let mut tries = 1;
    loop {
        let result = ask();
        let wait = match &result {
            Ok(answer) => asked_for(answer, tries),
            Err(failed) => failed.is_passing().then(|| pause(tries)),
        };
        match wait {
            Some(wait) if tries < TRIES => {
                tracing::debug!(tries, "trying again");
                thread::sleep(wait);
                tries += 1;
            }
            _ => return result,
        }
    }
}
