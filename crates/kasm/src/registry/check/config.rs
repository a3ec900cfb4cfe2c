//! `run_config` and `exec_config`: handed to docker-py, whose names they must have.

use super::super::json::{Node, Value};
use super::super::near::nearest;
use super::fields::{Kind, field};
use super::{At, Ledger, quoted};

/// What docker-py's `containers.run` takes, as its reference lists it.
const RUN: [&str; 88] = [
    "image",
    "command",
    "auto_remove",
    "blkio_weight",
    "blkio_weight_device",
    "cap_add",
    "cap_drop",
    "cgroup_parent",
    "cgroupns",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpuset_cpus",
    "cpuset_mems",
    "detach",
    "device_cgroup_rules",
    "device_read_bps",
    "device_read_iops",
    "device_requests",
    "device_write_bps",
    "device_write_iops",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "environment",
    "extra_hosts",
    "group_add",
    "healthcheck",
    "hostname",
    "init",
    "init_path",
    "ipc_mode",
    "isolation",
    "kernel_memory",
    "labels",
    "links",
    "log_config",
    "lxc_conf",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "mounts",
    "name",
    "nano_cpus",
    "network",
    "network_disabled",
    "network_mode",
    "networking_config",
    "oom_kill_disable",
    "oom_score_adj",
    "pid_mode",
    "pids_limit",
    "platform",
    "ports",
    "privileged",
    "publish_all_ports",
    "read_only",
    "remove",
    "restart_policy",
    "runtime",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stdout",
    "stderr",
    "stop_signal",
    "storage_opt",
    "stream",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_config_proxy",
    "user",
    "userns_mode",
    "uts_mode",
    "version",
    "volumes",
    "working_dir",
];

/// The events a server executes something at.
const EVENTS: [&str; 3] = ["first_launch", "go", "assign"];

/// What is executed, and how.
const EXEC: [&str; 5] = ["cmd", "user", "workdir", "privileged", "environment"];

/// Judges both.
pub(super) fn judge(node: &Node, at: &At, ledger: &mut Ledger) {
    if let Some((config, at)) = field(node, at, "run_config", Kind::Object) {
        known(config, &at, &RUN, "docker-py's `run`", ledger);
    }
    let Some((config, at)) = field(node, at, "exec_config", Kind::Object) else {
        return;
    };
    known(config, &at, &EVENTS, "the events of `exec_config`", ledger);
    for member in config.members() {
        let here = at.below(&member.key, member.value.span.clone());
        if !matches!(member.value.value, Value::Object(_)) {
            let message = format!("`{}` must be an object", here.path);
            let label = format!("this is {}", member.value.noun());
            ledger
                .error("wrong-type", &here, message, label)
                .help("write `{\"cmd\": \"…\"}`");
            continue;
        }
        known(
            &member.value,
            &here,
            &EXEC,
            "docker-py's `exec_run`",
            ledger,
        );
        // An event without a command is how some registries say "nothing".
        if member.value.get("cmd").is_none() && !member.value.members().is_empty() {
            let message = format!("`{}` has no `cmd`", here.path);
            ledger.error(
                "exec-without-command",
                &here,
                message,
                "nothing is executed",
            );
        }
    }
}

fn known(node: &Node, at: &At, names: &[&str], of: &str, ledger: &mut Ledger) {
    for member in node.members() {
        if names.contains(&member.key.as_str()) {
            continue;
        }
        let here = at.below(&member.key, member.key_span.clone());
        let message = format!("{} is not among {of}", quoted(&member.key));
        let label = "an agent fails at it, or ignores it";
        let finding = ledger.warning("config-unknown", &here, message, label);
        let word = member.key.replace('-', "_");
        if names.contains(&word.as_str()) {
            finding.help(format!("did you mean `{word}`?"));
        } else if let Some(near) = nearest(&word, names) {
            finding.help(format!("did you mean `{near}`?"));
        }
    }
}
