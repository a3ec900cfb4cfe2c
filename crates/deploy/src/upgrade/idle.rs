//! Waiting until nobody uses a desktop.

use std::thread::sleep;
use std::time::Duration;

use super::UpgradeEvent;
use crate::Error;
use crate::container::is_running;
use crate::desktop::Health;
use crate::engine::Engine;

/// The pause between two looks at who is connected.
const LOOK: Duration = Duration::from_secs(2);
/// So many looks in a row must find nobody: a browser that reconnects is away for a moment only.
const LOOKS: u32 = 3;

impl Engine {
    /// Waits until nobody is connected to a desktop. One that does not run has nobody.
    pub(super) fn wait_until_idle(
        &self,
        id: &str,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<(), Error> {
        let Some(port) = health.desktop_port else {
            return Ok(());
        };
        let (mut quiet, mut told) = (0, 0);
        while quiet < LOOKS {
            let clients = self.clients(id, port)?;
            if clients == 0 {
                quiet += 1;
            } else {
                quiet = 0;
            }
            if clients > 0 && clients != told {
                progress(UpgradeEvent::Busy { clients });
            }
            told = clients;
            if quiet < LOOKS {
                sleep(LOOK);
            }
        }
        Ok(())
    }

    /// How many connections people have to a port of a container, as its own table of sockets
    /// tells; 0 if it does not run.
    ///
    /// # Errors
    /// If there is no such container, it cannot be asked, or the engine goes away.
    pub fn clients(&self, container: &str, port: u16) -> Result<usize, Error> {
        let missing = || Error::NoContainer {
            container: container.to_owned(),
        };
        let found = self.container(container)?.ok_or_else(missing)?;
        if !is_running(&found) {
            return Ok(0);
        }
        let shared = found
            .host_config
            .as_ref()
            .and_then(|host| host.network_mode.as_deref())
            == Some("host");
        let words = ["cat", "/proc/net/tcp", "/proc/net/tcp6"].map(str::to_owned);
        // Without IPv6 the second one is missing; what the first one says counts.
        let table = self.run(container, &words)?;
        Ok(connected(&table.output, port, shared))
    }
}

/// How many established connections to this port a table of sockets has (proc(5),
/// `/proc/net/tcp`; state `01`). Those of the container with itself are its own health checks;
/// `with_itself` counts them too.
fn connected(table: &str, port: u16, with_itself: bool) -> usize {
    let port = format!(":{port:04X}");
    let loopback = |address: &str| {
        let address = address.split(':').next().unwrap_or_default();
        // Words are written as the machine has them: 127.0.0.1 is 0100007F on a little-endian one,
        // as all are that images are built for.
        let v4 = |word: &str| word.ends_with("7F");
        match address.len() {
            8 => v4(address),
            32 => {
                let mapped = address.starts_with("0000000000000000FFFF0000");
                (mapped && v4(&address[24..])) || address == "00000000000000000000000001000000"
            }
            _ => false,
        }
    };
    table
        .lines()
        .filter(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let (Some(local), Some(remote), Some(state)) =
                (columns.next(), columns.next(), columns.next())
            else {
                return false;
            };
            local.ends_with(&port) && state == "01" && (with_itself || !loopback(remote))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_counted_and_health_checks_are_not() {
        let table = "  sl  local_address rem_address   st\n\
            \x20  0: 00000000:1AF5 00000000:0000 0A\n\
            \x20  1: 020011AC:1AF5 010011AC:D431 01\n\
            \x20  2: 0100007F:1AF5 0100007F:A001 01\n\
            \x20  3: 020011AC:D431 010011AC:1AF5 01\n\
            \x20  4: 020011AC:1AF5 010011AC:D432 06\n\
            \x20  5: 0000000000000000FFFF0000020011AC:1AF5 0000000000000000FFFF0000010011AC:D433 01\n\
            \x20  6: 00000000000000000000000001000000:1AF5 00000000000000000000000001000000:9999 01\n";
        assert_eq!(connected(table, 6901, false), 2);
        assert_eq!(connected(table, 6901, true), 4);
        assert_eq!(connected(table, 80, false), 0);
    }
}
