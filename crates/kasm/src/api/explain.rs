//! What a server's own words mean, and what helps: they name neither.

/// Words of a message, all of which must be in it, and what helps.
const KNOWN: [(&[&str], &str); 13] = [
    (
        &["no resources are available", "image"],
        "no agent has an image of exactly this name and tag: load it on the agent's host (`kasmforge \
         load --host …`), compare with `docker images` there, and set the agent's pruning to Off, \
         else it is removed again",
    ),
    (
        &["image is not currently available"],
        "no agent has an image of exactly this name and tag: load it on the agent's host (`kasmforge \
         load --host …`), compare with `docker images` there, and set the agent's pruning to Off, \
         else it is removed again",
    ),
    (
        &["does not have the requested image"],
        "no agent has an image of exactly this name and tag: load it on the agent's host (`kasmforge \
         load --host …`), compare with `docker images` there, and set the agent's pruning to Off, \
         else it is removed again",
    ),
    (
        &["no resources are available"],
        "no agent has room: `kasmforge kasm check` shows the agents; look at the cores and memory \
         the workspace asks for, at the sessions that run, and at the limits of agent and license",
    ),
    (
        &["is restarting, wait until the container is running"],
        "the container's first process ends and is started again: look at `docker logs` of the \
         container; it must not end because a service of the desktop did",
    ),
    (
        &["unknown service: custom_startup"],
        "custom_startup.sh ended: often because a variable it needs was not given; look at its own \
         log in the container",
    ),
    (
        &["custom_startup.sh: not executable"],
        "give /dockerstartup/custom_startup.sh the mode 0755 in `[[files]]`",
    ),
    (
        &["no such file or directory"],
        "the container was to start something the image does not have: compare `entrypoint` in the \
         workspace's run-config with the image",
    ),
    (
        &["exec format error"],
        "the image is for another architecture than the agent",
    ),
    (
        &["x1-lock"],
        "the image has files of a running display in /tmp: it was made from a container that ran",
    ),
    (
        &["no default image found"],
        "the server was given no image it knows: `kasmforge kasm images` shows those it has",
    ),
    (
        &["invalid kasm_id"],
        "there is no such session: it was stopped or has expired; `kasmforge kasm session list` \
         shows those there are",
    ),
    (
        &["limit"],
        "a limit of the server, the group or the license is reached: `kasmforge kasm session list` \
         shows the sessions that count",
    ),
];

/// What helps against a server's message, where it is known.
pub(crate) fn explained(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let all = |words: &[&str]| words.iter().all(|word| message.contains(word));
    KNOWN
        .iter()
        .find(|(words, _)| all(words))
        .map(|(_, help)| *help)
}

/// Whether a message says that the key may not do this.
pub(crate) fn is_denial(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "unauthorized",
        "access denied",
        "not authorized",
        "permission denied",
    ]
    .iter()
    .any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::{explained, is_denial};

    #[test]
    fn messages_of_servers_are_known() {
        for (message, word) in [
            (
                "This image is not currently available. Agent may be still downloading the image?",
                "pruning",
            ),
            (
                "No resources are available to create the requested Kasm. Please try again later or contact an Administrator : Agent does not have the requested image",
                "pruning",
            ),
            (
                "No resources are available to create the requested Kasm. Please try again later or contact an Administrator : No Agent slots available",
                "room",
            ),
            (
                "Container 5f is restarting, wait until the container is running",
                "first process",
            ),
            ("stat /kasminit: no such file or directory", "entrypoint"),
            ("Warning: kasm:1 is taken because of /tmp/.X1-lock", "/tmp"),
            (
                "/dockerstartup/custom_startup.sh: not executable, exiting",
                "0755",
            ),
            ("Unknown Service: custom_startup", "variable"),
        ] {
            let help = explained(message).unwrap_or_else(|| panic!("{message}"));
            assert!(help.contains(word), "{message}: {help}");
        }
        assert_eq!(explained("Error Creating User"), None);
        assert!(is_denial("Unauthorized") && !is_denial("Invalid kasm_id"));
    }
}
