//! Answers of a trial.

use rustix::io::Errno;

use super::Supervisor;
use crate::caller::Caller;
use crate::kernel::seccomp::Answer;
use crate::trial::clock::Clock;

impl Supervisor {
    /// Learns which script begins. Whatever is wrong with its path, the kernel will say so.
    pub(super) fn executes(&mut self, caller: &Caller, path: u64) -> Answer {
        if let Some(writers) = &mut self.writers
            && let Ok(path) = caller.path(path, false)
            && let Err(error) = writers.begins(path.as_bytes())
        {
            return Answer::Fail(error);
        }
        Answer::Continue
    }

    /// Lists a folder in reverse.
    pub(super) fn list(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        number: i32,
        buffer: u64,
        size: u64,
    ) -> Answer {
        let mut answer = || -> Result<i64, Errno> {
            let (process, folder) = caller.borrow(number)?;
            valid()?;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let entries = self.listings.next(process, number, &folder, size)?;
            if !entries.is_empty() {
                caller.write(buffer, &entries)?;
            }
            Ok(i64::try_from(entries.len()).unwrap_or(0))
        };
        match answer() {
            Ok(length) => Answer::Value(length),
            // Not a folder, or no descriptor at all: the kernel says so.
            Err(Errno::NOTDIR | Errno::BADF) => Answer::Continue,
            Err(error) => Answer::Fail(error),
        }
    }

    pub(super) fn clock_time(&self, caller: &Caller, clock: i32, buffer: u64) -> Answer {
        match &self.clock {
            Some(ahead) if Clock::is_wall(clock) => ahead
                .now()
                .and_then(|(seconds, nanoseconds)| {
                    caller.write(
                        buffer,
                        &[seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat(),
                    )
                })
                .into(),
            _ => Answer::Continue,
        }
    }

    pub(super) fn time_of_day(&self, caller: &Caller, buffer: u64, zone: u64) -> Answer {
        let Some(clock) = &self.clock else {
            return Answer::Continue;
        };
        let told = || -> Result<(), Errno> {
            let (seconds, nanoseconds) = clock.now()?;
            let parts = [seconds.to_ne_bytes(), (nanoseconds / 1000).to_ne_bytes()];
            if buffer != 0 {
                caller.write(buffer, &parts.concat())?;
            }
            if zone != 0 {
                caller.write(zone, &[0; 8])?;
            }
            Ok(())
        };
        told().into()
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn time(&self, caller: &Caller, buffer: u64) -> Answer {
        let Some(clock) = &self.clock else {
            return Answer::Continue;
        };
        let told = clock.now().and_then(|(seconds, _)| {
            if buffer != 0 {
                caller.write(buffer, &seconds.to_ne_bytes())?;
            }
            Ok(seconds)
        });
        told.map_or_else(Answer::Fail, Answer::Value)
    }

    /// Prepares a program that has just begun. One that cannot be prepared sees the true time;
    /// that makes a trial weaker and nothing wrong.
    pub(super) fn begins(&self, caller: &Caller) -> Answer {
        if let Some(clock) = &self.clock
            && let Err(error) = clock.begin(caller.id())
        {
            tracing::debug!(%error, "a program sees the true time");
        }
        Answer::Continue
    }
}
