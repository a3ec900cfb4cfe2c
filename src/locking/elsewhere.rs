//! Packages that are not where the definition looks, but next to it.

use kasmforge_archive::{Client, VerifiedRelease};

/// A suite that was read, and the components that the definition takes of it.
pub(crate) struct Listed {
    pub(super) name: String,
    pub(super) release: VerifiedRelease,
    pub(super) components: Vec<String>,
}

/// Where a package is that no component of the definition has, as a hint; nothing where it is
/// nowhere, or where nobody can be asked.
pub(super) fn hint(
    client: &Client<'_>,
    listed: &[Listed],
    architecture: &str,
    package: &str,
) -> Option<String> {
    let line = format!("Package: {package}\n");
    let has = |text: &str| text.starts_with(&line) || text.contains(&format!("\n{line}"));
    for suite in listed {
        let all = suite.release.release.components.iter();
        // Suites of security archives write `updates/main`.
        let others = all
            .map(|name| name.rsplit('/').next().unwrap_or(name))
            .filter(|name| !suite.components.iter().any(|taken| taken == name));
        for component in others {
            let index = client.packages_index(&suite.release, component, architecture);
            let text = index
                .ok()
                .and_then(|index| std::fs::read_to_string(index.path).ok());
            if text.is_some_and(|text| has(&text)) {
                return Some(format!(
                    "`{package}` is in the component `{component}` of {}: add it to `components`",
                    suite.name
                ));
            }
        }
    }
    None
}
