//! Names of hosts, looked up once.
//!
//! The HTTP client looks a host up before every request, even where it then uses a connection it
//! has. Hundreds of lookups for one mirror are slow, and name servers drop some of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Remembers the addresses of hosts. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    system: Arc<dyn Resolver>,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// Whether the host is to be looked up again before they are used.
    doubtful: bool,
}

impl Default for Names {
    fn default() -> Self {
        Self::over(DefaultResolver::default())
    }
}

impl Names {
    fn over(system: impl Resolver) -> Self {
        Self {
            system: Arc::new(system),
            known: Arc::default(),
        }
    }

    /// Has all hosts looked up again: a connection failed, and one may have moved.
    pub(crate) fn doubt(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for known in known.values_mut() {
            known.doubtful = true;
        }
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let key = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        // Held during the lookup: all workers want the same name at the same time.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&key).filter(|known| !known.doubtful) {
            return Ok(self.list(&known.addresses));
        }
        match self.system.resolve(uri, config, timeout) {
            Ok(found) => {
                let fresh = Known {
                    addresses: found.iter().copied().collect(),
                    doubtful: false,
                };
                known.insert(key, fresh);
                Ok(found)
            }
            // The name server is away; the mirror need not be.
            Err(error) => match known.get(&key) {
                Some(known) => Ok(self.list(&known.addresses)),
                None => Err(error),
            },
        }
    }
}

impl Names {
    fn list(&self, addresses: &[SocketAddr]) -> ResolvedSocketAddrs {
        let mut list = self.system.empty();
        for address in addresses {
            // As many as the resolver gave, so they fit.
            list.push(*address);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A name server that answers once.
    #[derive(Debug, Default)]
    struct Once(Arc<AtomicUsize>);

    impl Resolver for Once {
        fn resolve(
            &self,
            _: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            if self.0.fetch_add(1, Ordering::Relaxed) > 0 {
                return Err(ureq::Error::HostNotFound);
            }
            let mut list = self.empty();
            list.push(([127, 0, 0, 1], 80).into());
            Ok(list)
        }
    }

    #[test]
    fn hosts_are_looked_up_once_and_not_forgotten_when_the_name_server_is() {
        let asked = Arc::new(AtomicUsize::new(0));
        let names = Names::over(Once(Arc::clone(&asked)));
        let resolve = |uri: &'static str| {
            let timeout = NextTimeout {
                after: ureq::unversioned::transport::time::Duration::NotHappening,
                reason: ureq::Timeout::Resolve,
                per_read: None,
                per_write: None,
            };
            let found = names.resolve(&Uri::from_static(uri), &Config::default(), timeout);
            found.map(|list| list.to_vec()).ok()
        };
        let first = resolve("http://mirror.test/a");
        assert_eq!(first, Some(vec![([127, 0, 0, 1], 80).into()]));
        assert_eq!(resolve("http://mirror.test/b"), first);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        names.doubt();
        assert_eq!(resolve("http://mirror.test/b"), first);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert_eq!(resolve("http://other.test/"), None);
    }
}
