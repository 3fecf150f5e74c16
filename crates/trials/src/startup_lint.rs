//! Whether manifests hand start-up data over in a way that survives an outage of the API server. Pure.

/// What is wrong in these manifests (YAML): a mount with `subPath` is never refreshed, and environment variables from ConfigMaps or
/// Secrets keep a container from being made again while the API server is away. One line for each.
pub fn startup_lint(manifests: &str) -> Vec<String> {
    const FORBIDDEN: [(&str, &str); 5] = [
        ("subPath", "mount the whole directory: a subPath is never refreshed"),
        ("subPathExpr", "mount the whole directory: a subPath is never refreshed"),
        ("configMapKeyRef", "mount it: env from a ConfigMap does not survive an outage of the API server"),
        ("secretKeyRef", "mount it: env from a Secret does not survive an outage of the API server"),
        ("envFrom", "mount it: env from an object does not survive an outage of the API server"),
    ];
    let key = |line: &str| {
        line.trim_start_matches([' ', '-', '"', '{']).split([':', '"']).next().unwrap_or_default().to_owned()
    };
    let judge = |(number, line): (usize, &str)| {
        let name = key(line);
        let (_, why) = FORBIDDEN.iter().find(|(forbidden, _)| *forbidden == name)?;
        Some(format!("line {}: {name}: {why}", number + 1))
    };
    manifests.lines().enumerate().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_paths_and_env_references_are_found() {
        let text = "volumeMounts:\n- name: startup\n  subPath: profile.json\nenv:\n- valueFrom:\n    configMapKeyRef: {}\n  envFrom:\n";
        let lines: Vec<_> =
            startup_lint(text).iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["line 3 subPath", "line 6 configMapKeyRef", "line 7 envFrom"]);
    }

    #[test]
    fn mounted_directories_and_literals_pass() {
        assert!(
            startup_lint("volumeMounts:\n- mountPath: /etc/paddock/startup\nenv:\n- name: A\n  value: subPath\n")
                .is_empty()
        );
    }
}
