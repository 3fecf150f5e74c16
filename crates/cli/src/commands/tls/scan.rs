//! `paddock tls scan`: what a server really accepts, and whether that is exactly a profile.

use std::net::IpAddr;
use std::time::Duration;

use paddock_tls_probe::{Comparison, Dialer, Expectation, Limits, Observed, Order, Protocol, Trouble, Verdict, scan};
use paddock_tls_profile::{Backend, Request, Suite};
use serde_json::{Value, json};

use super::{columns, group_title, painted, profile, suite_title};
use crate::exit::{Failure, Outcome, chain};
use crate::output::{self, plain};
use crate::settings::{Effective, table};

/// Scans the server at `address`. Exit codes: 0 it is exactly as the profile says, or there is none; 1 it differs; 3 it could not be
/// determined.
pub(crate) async fn run(settings: &Effective, address: &str) -> Outcome {
    let (host, port) = split(address)?;
    let asked = settings.find(&table::TLS_PROFILE).map(|path| profile::read(&path)).transpose()?;
    let observed = look(settings, host, port).await?;
    let judged = asked.map(|asked| {
        let profile = asked.request.profile(asked.generation(settings));
        let options = asked.options(settings);
        let expectation = Expectation::of_server(&profile, &Backend::RUSTLS_AWS_LC, &options, &observed);
        (asked.request, expectation.compare(&observed))
    });
    if settings.get(&table::JSON) {
        output::line(&report(address, &observed, judged.as_ref()).to_string())?;
    } else {
        output::data(&text(address, &observed, judged.as_ref(), output::colours()))?;
    }
    let Some((request, comparison)) = judged else { return Ok(()) };
    match (comparison.verdict(), settings.get(&table::TLS_ALLOW_REDUCED)) {
        (Verdict::Exact, _) | (Verdict::Reduced, true) => Ok(()),
        (Verdict::Reduced, false) => Err(Failure::found(format!(
            "{address} serves less than {}: {}; --allow-reduced lets that pass",
            request.name(),
            left_out(&comparison)
        ))),
        (Verdict::Different, _) => {
            Err(Failure::found(format!("{address} does not serve {}: {}", request.name(), difference(&comparison))))
        }
    }
}

/// `HOST:PORT`, with an address of IPv6 in brackets.
fn split(address: &str) -> Result<(&str, u16), Failure> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let host = |host: &'_ str| -> bool { !host.is_empty() && !host.contains(['/', '@', ' ']) };
    match parts {
        Some((inner, port)) if inner.starts_with('[') && inner.ends_with(']') => {
            Ok((inner.trim_start_matches('[').trim_end_matches(']'), port))
        }
        Some((name, port)) if host(name) && !name.contains(':') => Ok((name, port)),
        _ => Err(Failure::usage(format!(
            "{address:?} is not a host and a port, such as `localhost:6443` or `[::1]:6443`"
        ))),
    }
}

/// Scans the first address of the host that can be reached.
async fn look(settings: &Effective, host: &str, port: u16) -> Result<Observed, Failure> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<_> = found.map_err(|error| Failure::undetermined(format!("{host}: {error}")))?.collect();
    let name = settings.find(&table::TLS_SERVER_NAME);
    let name = name.or_else(|| host.parse::<IpAddr>().is_err().then(|| host.to_owned()));
    let handshake = Duration::from_secs(settings.get(&table::TLS_TIMEOUT).into());
    let limits = Limits { handshake, ..Limits::default() };
    let mut trouble = None;
    for address in addresses {
        match scan(&Dialer::new(address, name.clone(), limits)).await {
            Ok(observed) => return Ok(observed),
            Err(error @ Trouble::Unreachable(..)) => trouble = Some(error),
            Err(error) => return Err(Failure::undetermined(chain(&error))),
        }
    }
    Err(trouble.map_or_else(
        || Failure::undetermined(format!("{host} has no address")),
        |error| Failure::undetermined(chain(&error)),
    ))
}

fn report(address: &str, observed: &Observed, judged: Option<&(Request, Comparison)>) -> Value {
    let mut report = observed.report();
    if let Value::Object(members) = &mut report {
        members.insert("address".to_owned(), json!(address));
        let profile = judged.map(|(request, comparison)| {
            let mut report = comparison.report();
            if let Value::Object(members) = &mut report {
                members.insert("name".to_owned(), json!(request.name()));
            }
            report
        });
        members.insert("profile".to_owned(), profile.unwrap_or(Value::Null));
    }
    report
}

/// The table for people.
fn text(address: &str, observed: &Observed, judged: Option<&(Request, Comparison)>, colours: bool) -> String {
    let comparison = judged.map(|(_, comparison)| comparison);
    let mark = |extra: bool| match comparison {
        None => "",
        Some(_) if extra => "too much",
        Some(_) => "as asked",
    };
    let mut rows = vec![["VERSION", "", "NAME", if comparison.is_some() { "PROFILE" } else { "" }].map(str::to_owned)];
    for spoken in &observed.spoken {
        let too_much = |comparison: &Comparison| comparison.extra_versions.contains(&spoken.protocol);
        let version = comparison.is_some_and(too_much);
        for suite in &spoken.suites {
            let extra = version || comparison.is_some_and(|comparison| comparison.extra_suites.contains(suite));
            rows.push([spoken.protocol.to_string(), "suite".into(), suite_title(*suite), mark(extra).to_owned()]);
        }
        for group in &spoken.groups {
            let extra = comparison.is_some_and(|comparison| comparison.extra_groups.contains(group));
            rows.push([spoken.protocol.to_string(), "group".into(), group_title(*group), mark(extra).to_owned()]);
        }
    }
    if let Some(comparison) = comparison {
        rows.extend(comparison.missing_versions.iter().map(|v| missing(&v.to_string(), "version", &v.to_string())));
        rows.extend(comparison.missing_suites.iter().map(|suite| missing(at(*suite), "suite", suite.openssl())));
        rows.extend(comparison.missing_groups.iter().map(|group| missing("", "group", group.name())));
    }
    let colour = |last: &str| match last {
        _ if !colours => "",
        "VERSION" | "PROFILE" => "1",
        "as asked" => "32",
        "too much" | "missing" => "31",
        _ => "",
    };
    let mut text = columns(&rows, colour);
    text.push('\n');
    let refused: Vec<String> = Protocol::ALL
        .iter()
        .filter(|protocol| !observed.protocols().any(|spoken| spoken == **protocol))
        .map(ToString::to_string)
        .collect();
    let orders = observed.spoken.iter().filter_map(|spoken| {
        let order = match spoken.order? {
            Order::Client => "the client's",
            Order::Server => "the server's",
        };
        Some(format!("{order} ({})", spoken.protocol))
    });
    let certificates = observed.certificates.iter().map(|one| format!("{} until {}", plain(&one.key), one.not_after));
    let mut fact = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            text.push_str(&format!("{name:12} {}\n", values.join(", ")));
        }
    };
    fact("refused", refused);
    fact("order", orders.collect());
    fact("certificate", certificates.collect());
    fact("ALPN", observed.alpn.clone().unwrap_or_default());
    if !observed.tolerant {
        fact("intolerant", vec!["refuses a hello with values that it does not know (RFC 8701)".to_owned()]);
    }
    fact("handshakes", vec![observed.handshakes.to_string()]);
    if let Some((request, comparison)) = judged {
        let verdict = comparison.verdict();
        let (colour, words) = match verdict {
            Verdict::Exact => ("32", format!("{address} serves exactly this profile")),
            Verdict::Reduced => ("33", left_out(comparison)),
            Verdict::Different => ("31", difference(comparison)),
        };
        let verdict = painted(verdict.name(), if colours { colour } else { "" });
        text.push_str(&format!("{:12} {}: {verdict}: {words}\n", "profile", request.name()));
    }
    text
}

fn missing(version: &str, what: &str, name: &str) -> [String; 4] {
    [version, what, name, "missing"].map(str::to_owned)
}

fn at(suite: Suite) -> &'static str {
    if suite.is_tls13() { "TLS 1.3" } else { "TLS 1.2" }
}

/// Most names that a sentence lists; the table and the report have all of them.
const TOLD: usize = 6;

fn difference(comparison: &Comparison) -> String {
    let parts = [("too much: ", comparison.extra()), ("missing: ", comparison.missing())];
    let told =
        parts.into_iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| what.to_owned() + &some(&names));
    told.collect::<Vec<_>>().join("; ")
}

fn left_out(comparison: &Comparison) -> String {
    let told: Vec<_> = comparison.left_out.iter().map(|one| format!("{} ({})", plain(&one.name), one.reason)).collect();
    format!("left out: {}", some(&told))
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(TOLD);
    let told = names.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { told } else { format!("{told} and {more} more") }
}

#[cfg(test)]
mod tests {
    use paddock_tls_probe::Spoken;
    use paddock_tls_profile::{Generation, Named, Options, Version};

    use super::*;

    fn observed() -> Observed {
        let tls12 = Spoken {
            protocol: Protocol::Tls(Version::Tls12),
            suites: vec![0xC02F, 0x0005],
            groups: vec![0x001D],
            order: Some(Order::Client),
        };
        Observed {
            spoken: vec![tls12],
            tolerant: true,
            handshakes: 25,
            alpn: Some(vec!["h2".to_owned()]),
            ..Observed::default()
        }
    }

    fn judged(named: Named) -> (Request, Comparison) {
        let profile = named.profile(Generation::C);
        let options = Options { key: Some(paddock_tls_profile::KeyKind::Rsa), ..Options::default() };
        let expectation = Expectation::new(&profile, &Backend::RUSTLS_AWS_LC, &options);
        (Request::Named(named), expectation.compare(&observed()))
    }

    #[test]
    fn a_table_says_what_is_too_much_and_what_is_missing() {
        let judged = judged(Named::Intermediate);
        insta::assert_snapshot!(text("localhost:1", &observed(), Some(&judged), false));
    }

    #[test]
    fn without_a_profile_nothing_is_judged() {
        insta::assert_snapshot!(text("localhost:1", &observed(), None, false));
    }

    #[test]
    fn the_report_has_what_was_seen_and_the_verdict() {
        let judged = judged(Named::Modern);
        let report = report("localhost:1", &observed(), Some(&judged));
        assert_eq!(report["versions"][0]["suites"][1]["name"], "RC4-SHA");
        assert_eq!(report["profile"]["verdict"], "Different");
        assert_eq!(report["profile"]["name"], "Modern");
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split("localhost:6443").unwrap(), ("localhost", 6443));
        assert_eq!(split("[::1]:6443").unwrap(), ("::1", 6443));
        for wrong in ["localhost", "::1:6443", "https://localhost:6443", ":1", "localhost:99999"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
