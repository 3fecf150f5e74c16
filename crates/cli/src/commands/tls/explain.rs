//! `paddock tls explain`: what a server of Paddock's serves of a profile, and why not the rest.

use std::path::Path;

use paddock_tls_profile::{
    Backend, ClientModel, Group, Outcome as Serves, Profile, Resolution, Suite, Version, resolve,
};
use serde_json::{Value, json};

use super::{columns, painted, profile};
use crate::exit::{Failure, Outcome};
use crate::output::{self, plain};
use crate::settings::{Effective, table};

/// Explains the profile in `file`. Exit codes: 0 it can be served, 1 it cannot, 2 it is no profile.
pub(crate) fn run(settings: &Effective, file: &str) -> Outcome {
    let asked = profile::read(Path::new(file))?;
    let generation = asked.generation(settings);
    let mut options = asked.options(settings);
    options.fips |= settings.get(&table::TLS_FIPS);
    let request = asked.request;
    let profile = request.profile(generation);
    let backend = Backend::RUSTLS_AWS_LC;
    let resolution = resolve(&profile, &backend, &options);
    if settings.get(&table::JSON) {
        let Value::Object(mut report) = resolution.report() else { return Ok(()) };
        report.insert("profile".to_owned(), json!(request.name()));
        report.insert("generation".to_owned(), json!(generation.name()));
        report.insert("hash".to_owned(), json!(profile.hash()));
        report.insert("backend".to_owned(), json!(backend.name));
        output::line(&Value::Object(report).to_string())?;
    } else {
        let head = format!("{}, tables of generation {}, hash {}", request.name(), generation.name(), profile.hash());
        output::data(&text(&head, &profile, &resolution, output::colours()))?;
    }
    match resolution.outcome {
        Serves::Exact | Serves::Reduced => Ok(()),
        Serves::Unservable(why) => Err(Failure::found(format!("this profile cannot be served: {why}"))),
    }
}

/// The explanation for people.
fn text(head: &str, profile: &Profile, resolution: &Resolution, colours: bool) -> String {
    let effective = resolution.effective.as_ref();
    let colour = |last: &str| match last {
        _ if !colours => "",
        "" => "32",
        "WHY NOT" => "1",
        _ => "33",
    };
    let versions: Vec<String> =
        effective.map(|effective| effective.versions()).unwrap_or_default().iter().map(Version::to_string).collect();
    let versions = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
    let minimum = profile.min_version.map_or("not said: TLS 1.2".to_owned(), |version| version.to_string());
    let outcome = painted(
        resolution.outcome.name(),
        match (colours, resolution.outcome) {
            (false, _) => "",
            (true, Serves::Exact) => "32",
            (true, Serves::Reduced) => "33",
            (true, Serves::Unservable(_)) => "31",
        },
    );
    let mut text = format!("profile   {head}\noutcome   {outcome}\nminimum   {minimum}\nversions  {versions}\n\n");
    let mut rows = vec![["", "NAME", "SERVED", "WHY NOT"].map(str::to_owned)];
    let served_suites = effective.map(|effective| effective.suites.as_slice()).unwrap_or_default();
    let served_groups = effective.map(|effective| effective.groups.as_slice()).unwrap_or_default();
    let nothing = effective.is_none();
    let suite = |name: &str| Suite::from_name(name).is_some_and(|suite| served_suites.contains(&suite));
    let group = |name: &str| Group::from_name(name).is_some_and(|group| served_groups.contains(&group));
    let below = |name: &str| {
        let old = Suite::from_name(name).is_some_and(|suite| !suite.is_tls13());
        (old && profile.min_version == Some(Version::Tls13)).then(|| "older than the minimum version".to_owned())
    };
    for name in profile.ciphers.iter().flatten() {
        rows.push(row("suite", name, suite(name), why(resolution, name).or(below(name)), nothing));
    }
    for name in profile.groups.iter().flatten() {
        rows.push(row("group", name, group(name), why(resolution, name), nothing));
    }
    // What nobody listed and is on nevertheless.
    let listed = |suite: &Suite| profile.ciphers.iter().flatten().any(|name| Suite::from_name(name) == Some(*suite));
    for suite in served_suites.iter().filter(|suite| !listed(suite)) {
        rows.push(["suite", suite.openssl(), "yes, unlisted", ""].map(str::to_owned));
    }
    if profile.groups.as_ref().is_none_or(Vec::is_empty) {
        for group in served_groups {
            rows.push(["group", group.name(), "yes, by default", ""].map(str::to_owned));
        }
    }
    text.push_str(&columns(&rows, colour));
    let shut_out = ClientModel::ALL
        .iter()
        .filter(|client| effective.is_some_and(|effective| !client.speaks(effective)))
        .map(|client| format!("{} cannot connect", client.name));
    let notes: Vec<String> = resolution.notes.iter().map(ToString::to_string).chain(shut_out).collect();
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            text.push_str(&format!("note: {note}\n"));
        }
    }
    text
}

fn row(kind: &str, name: &str, served: bool, why: Option<String>, nothing: bool) -> [String; 4] {
    let why = match (served, why) {
        (true, _) => String::new(),
        (false, Some(why)) => why,
        (false, None) if nothing => "nothing of this profile is served".to_owned(),
        (false, None) => "not served".to_owned(),
    };
    let served = if served { "yes" } else { "no" };
    [kind.to_owned(), plain(name), served.to_owned(), why]
}

/// Why a name that the profile lists was left out.
fn why(resolution: &Resolution, name: &str) -> Option<String> {
    // Names are kept as they were written, or as the tables spell them.
    let known = Suite::from_name(name).map(Suite::openssl).or_else(|| Group::from_name(name).map(Group::name));
    let dropped =
        resolution.dropped.iter().find(|dropped| dropped.name == name || Some(dropped.name.as_str()) == known);
    dropped.map(|dropped| dropped.reason.to_string())
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::{Generation, Named, Options};

    use super::*;

    fn explained(profile: &Profile, options: &Options) -> String {
        text("test", profile, &resolve(profile, &Backend::RUSTLS_AWS_LC, options), false)
    }

    #[test]
    fn modern_is_served_as_it_is() {
        insta::assert_snapshot!(explained(&Named::Modern.profile(Generation::C), &Options::default()));
    }

    #[test]
    fn tls_f10_everything_that_is_left_out_has_a_reason() {
        let json = br#"{"ciphers":["ECDHE-RSA-AES128-GCM-SHA256","TLS_RSA_WITH_AES_128_CBC_SHA","it's","ECDHE-ECDSA-AES128-GCM-SHA256"],
            "groups":["P-256","secp521r1"],"minTLSVersion":"VersionTLS10"}"#;
        let profile = Profile::parse(json).unwrap().profile;
        let options = Options { key: Some(paddock_tls_profile::KeyKind::Rsa), ..Options::default() };
        insta::assert_snapshot!(explained(&profile, &options));
    }

    #[test]
    fn a_profile_that_cannot_be_served_says_so_at_every_name() {
        let profile =
            Profile::parse(br#"{"ciphers":["TLS_AES_128_GCM_SHA256"],"groups":["secp521r1"]}"#).unwrap().profile;
        insta::assert_snapshot!(explained(&profile, &Options::default()));
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let profile = Profile::parse(br#"{"ciphers":["\u001b[31mred","TLS_AES_128_GCM_SHA256"]}"#).unwrap().profile;
        assert!(!explained(&profile, &Options::default()).contains('\x1b'));
    }
}
