//! Impersonation: a request made as someone else, as its headers ask. Every part of the other identity needs a right of its own.
//!
//! v1.36 tries constrained impersonation first (<https://kep.k8s.io/5284>): the right to be that identity
//! (`impersonate:MODE`) and the right to do this very thing as it (`impersonate-on:MODE:VERB`). Then the older, wider
//! `impersonate`. Of several refusals the first one is told.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};

use super::service_account::NODE_NAME;
use crate::api::Api;
use crate::authz::{Attributes, Decision};
use crate::kinds::names;
use crate::status::Status;
use crate::user::{AUTHENTICATED, MASTERS, UNAUTHENTICATED, User};

/// Group of the identities that constrained rules name.
const GROUP: &str = "authentication.k8s.io";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const NODE_PREFIX: &str = "system:node:";
/// From so many values on, one rule for all of them is looked for first.
const MANY: usize = 4;

impl Api {
    /// Whom the request is made as: the caller, or whom the headers name.
    ///
    /// # Errors
    /// 400 for headers that name no user, 403 when the caller lacks a right.
    pub(crate) fn acting(
        &self,
        caller: Arc<User>,
        headers: &HeaderMap,
        attributes: &Attributes<'_>,
    ) -> Result<Arc<User>, Status> {
        let Some(wanted) = wanted(headers)? else { return Ok(caller) };
        let last = self.last_modes.get(&caller.name);
        let order = last.into_iter().chain(Mode::ALL.into_iter().filter(|mode| Some(*mode) != last));
        let mut refusal = None;
        for mode in order.filter(|mode| mode.fits(&wanted, &caller)) {
            match (Check { api: self, caller: &caller, mode }).user(&wanted, attributes) {
                Ok(user) => {
                    self.last_modes.set(&caller.name, mode);
                    return Ok(user.into());
                }
                Err(status) => refusal = refusal.or(Some(status)),
            }
        }
        Err(refusal.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
    }
}

/// The identity that the headers spell, as they spell it; `None`: nobody is impersonated.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let one = |name: &str| headers.get(name).map_or(Ok(String::new()), text);
    let (name, uid) = (one("impersonate-user")?, one("impersonate-uid")?);
    let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect::<Result<_, _>>()?;
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix(EXTRA_PREFIX) {
            extra.entry(unescaped(key)).or_default().push(text(value)?);
        }
    }
    let wanted = User { name, uid, groups, extra };
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty() {
        return Ok(None);
    }
    Err(Status::bad_request(format!("requested {} without impersonating a user name", go_syntax(&wanted))))
}

fn text(value: &HeaderValue) -> Result<String, Status> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| Status::bad_request("an impersonation header is not valid UTF-8"))
}

/// A key without its percent-encoding; one that is not encoded well is taken as it is.
fn unescaped(key: &str) -> String {
    let well = key.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
    let decoded = well.then(|| percent_encoding::percent_decode_str(key).decode_utf8().ok()).flatten();
    decoded.map_or_else(|| key.to_owned(), std::borrow::Cow::into_owned)
}

/// The identity as Go's `%#v` prints it, because the message shows it so.
fn go_syntax(user: &User) -> String {
    let list = |values: &[String]| {
        let quoted: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups = if user.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&user.groups) };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<String> = user.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    let mut out = String::new();
    let _ =
        write!(out, "&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:{extra}}}", user.name, user.uid);
    out
}

/// How an identity may be taken on, in the order in which the ways are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A service account becomes the node that its own token is bound to.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    /// Anyone who is neither a node nor a service account.
    UserInfo,
    /// The verb `impersonate`, for everything that is done as the other.
    Legacy,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    /// The mode's name in verbs.
    fn constraint(self) -> Option<&'static str> {
        match self {
            Self::AssociatedNode => Some("associated-node"),
            Self::ArbitraryNode => Some("arbitrary-node"),
            Self::ServiceAccount => Some("serviceaccount"),
            Self::UserInfo => Some("user-info"),
            Self::Legacy => None,
        }
    }

    /// Whether this identity can be taken on in this way at all.
    fn fits(self, wanted: &User, caller: &User) -> bool {
        let name_only = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node(&wanted.name);
        match self {
            Self::AssociatedNode => {
                let own = caller.extra.get(NODE_NAME).map(Vec::as_slice);
                let own = own.and_then(|names| if let [name] = names { Some(name.as_str()) } else { None });
                name_only && node.is_some() && node == own && service_account(&caller.name).is_some()
            }
            Self::ArbitraryNode => name_only && node.is_some(),
            Self::ServiceAccount => name_only && service_account(&wanted.name).is_some(),
            Self::UserInfo => node.is_none() && service_account(&wanted.name).is_none(),
            Self::Legacy => true,
        }
    }
}

/// The name of the node whose user this is.
fn node(user: &str) -> Option<&str> {
    user.strip_prefix(NODE_PREFIX).filter(|name| names::dns_subdomain(name).is_empty())
}

/// Namespace and name of the service account whose user this is.
pub(super) fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (names::dns_label(namespace).is_empty() && names::dns_subdomain(name).is_empty()).then_some((namespace, name))
}

/// The rights that one mode asks for.
struct Check<'a> {
    api: &'a Api,
    caller: &'a User,
    mode: Mode,
}

impl Check<'_> {
    /// The identity with its groups completed, when the caller may take it on for this request.
    fn user(&self, wanted: &User, attributes: &Attributes<'_>) -> Result<User, Status> {
        if let Some(constraint) = self.mode.constraint() {
            let verb = format!("impersonate-on:{constraint}:{}", attributes.verb());
            self.allowed(&attributes.with_verb(&verb))?;
        }
        let mut user = wanted.clone();
        self.name(&mut user)?;
        if !wanted.uid.is_empty() {
            self.identity(GROUP, "uids", "", &wanted.uid)?;
        }
        self.groups(&wanted.groups)?;
        self.extra(&wanted.extra)?;
        let (known, unknown) = (user.is_in(AUTHENTICATED), user.is_in(UNAUTHENTICATED));
        if user.name == "system:anonymous" {
            if !unknown {
                user.groups.push(UNAUTHENTICATED.to_owned());
            }
        } else if !known && !unknown {
            user.groups.push(AUTHENTICATED.to_owned());
        }
        Ok(user)
    }

    fn allowed(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.api.authorize(self.caller, attributes) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(attributes.forbidden(self.caller, &reason)),
        }
    }

    /// Asks for one part of the identity.
    fn identity(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<(), Status> {
        self.part(group, resource, "", namespace, name, |attributes| self.allowed(&attributes))
    }

    fn part<T>(
        &self,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        then: impl FnOnce(Attributes<'_>) -> T,
    ) -> T {
        let verb = self.mode.constraint().map(|constraint| format!("impersonate:{constraint}"));
        let verb = verb.as_deref().unwrap_or("impersonate");
        then(Attributes::Resource { verb, group, version: "v1", resource, subresource, namespace, name })
    }

    /// The group of users, groups and accounts in rules: the older verb knows them as core resources.
    fn group(&self) -> &'static str {
        if self.mode == Mode::Legacy { "" } else { GROUP }
    }

    /// Asks for the name, and gives nodes and service accounts the groups that theirs always have.
    fn name(&self, user: &mut User) -> Result<(), Status> {
        if let Some(name) = node(&user.name).filter(|_| self.mode != Mode::Legacy) {
            // A rule for the associated node cannot name one: the account runs on many.
            let name = if self.mode == Mode::AssociatedNode { "*" } else { name };
            self.identity(GROUP, "nodes", "", name)?;
            user.groups = vec!["system:nodes".to_owned()];
            return Ok(());
        }
        let Some((namespace, name)) = service_account(&user.name) else {
            return self.identity(self.group(), "users", "", &user.name);
        };
        self.identity(self.group(), "serviceaccounts", namespace, name)?;
        if user.groups.is_empty() {
            let all = "system:serviceaccounts";
            user.groups = vec![all.to_owned(), format!("{all}:{namespace}")];
        }
        Ok(())
    }

    fn groups(&self, groups: &[String]) -> Result<(), Status> {
        let refuse = |name: &str, why: &str| {
            self.part(GROUP, "groups", "", "", name, |attributes| Err(attributes.forbidden(self.caller, why)))
        };
        if self.mode != Mode::Legacy {
            if groups.iter().any(String::is_empty) {
                return refuse("", "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|group| group == MASTERS) {
                return refuse(MASTERS, "impersonating the system:masters group is not allowed");
            }
            if groups.len() >= MANY && self.identity(GROUP, "groups", "", "*").is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.identity(self.group(), "groups", "", group))
    }

    fn extra(&self, extra: &BTreeMap<String, Vec<String>>) -> Result<(), Status> {
        if self.mode != Mode::Legacy {
            if let Err(why) = extra.iter().try_for_each(|(key, values)| constrained_extra(key, values)) {
                let refuse = |attributes: Attributes<'_>| Err(attributes.forbidden(self.caller, &why));
                return self.part(GROUP, "userextras", "", "", "", refuse);
            }
            let many = extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && self.part(GROUP, "userextras", "*", "", "*", |all| self.allowed(&all)).is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                self.part(GROUP, "userextras", key, "", value, |attributes| self.allowed(&attributes))?;
            }
        }
        Ok(())
    }
}

/// What an extra must be beyond the older mode's rules: a key such as `acme.io/scope` in lower case, and values.
fn constrained_extra(key: &str, values: &[String]) -> Result<(), String> {
    if key.is_empty() {
        return Err("impersonating the empty string key in extra is not allowed".to_owned());
    }
    if let Err(why) = domain_prefixed_path(key) {
        return Err(format!("impersonating an invalid key in extra is not allowed: {why}"));
    }
    if key.chars().any(char::is_uppercase) {
        return Err(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
    }
    if values.iter().any(String::is_empty) {
        return Err("impersonating the empty string value in extra is not allowed".to_owned());
    }
    Ok(())
}

/// `IsDomainPrefixedPath`, its errors as one text.
fn domain_prefixed_path(key: &str) -> Result<(), String> {
    let invalid = |value: &str, why: &str| format!("extra.key: Invalid value: {value:?}: {why}");
    let (domain, path) = match key.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => (domain, path),
        _ => return Err(invalid(key, r#"must be a domain-prefixed path (such as "acme.io/foo")"#)),
    };
    let mut errors: Vec<String> = names::dns_subdomain(domain).iter().map(|why| invalid(domain, why)).collect();
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        let why = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
        errors.push(invalid(path, why));
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// The mode that last succeeded for a user is tried first, and its refusal is the one that is told.
#[derive(Default)]
pub(crate) struct LastModes(Mutex<HashMap<u64, Mode>>);

impl LastModes {
    /// So many users are remembered; then all are forgotten. Only the order of modes hangs on it.
    const CAPACITY: usize = 10_000;

    fn key(user: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        hasher.finish()
    }

    fn get(&self, user: &str) -> Option<Mode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&Self::key(user)).copied()
    }

    fn set(&self, user: &str, mode: Mode) {
        let mut modes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if modes.len() >= Self::CAPACITY {
            modes.clear();
        }
        modes.insert(Self::key(user), mode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), HeaderValue::from_bytes(v).unwrap())).collect()
    }

    #[test]
    fn headers_spell_the_whole_identity() {
        let sent = headers(&[
            ("impersonate-user", b"carl"),
            ("impersonate-uid", b"u-1"),
            ("impersonate-group", b"g1"),
            ("impersonate-group", b"g2"),
            ("impersonate-extra-acme.io%2fscope", b"a"),
            ("impersonate-extra-acme.io%2fscope", b"b"),
        ]);
        let user = wanted(&sent).unwrap().unwrap();
        let extra = BTreeMap::from([("acme.io/scope".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
        let groups = vec!["g1".to_owned(), "g2".to_owned()];
        assert_eq!(user, User { name: "carl".to_owned(), uid: "u-1".to_owned(), groups, extra });
    }

    #[test]
    fn no_header_is_no_impersonation() {
        assert_eq!(wanted(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn an_identity_without_a_name_is_refused_and_shown() {
        let status = wanted(&headers(&[("impersonate-group", b"g")])).unwrap_err();
        assert_eq!(
            (status.code, status.message.as_str()),
            (
                400,
                r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)} without impersonating a user name"#
            )
        );
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        assert_eq!(wanted(&headers(&[("impersonate-user", b"\xff")])).unwrap_err().code, 400);
    }

    #[test]
    fn a_group_that_is_not_utf8_is_not_passed_over() {
        let sent = headers(&[("impersonate-user", b"a"), ("impersonate-group", b"\xff")]);
        assert_eq!(wanted(&sent).unwrap_err().code, 400);
    }

    #[test]
    fn a_key_that_is_not_encoded_well_is_taken_as_it_is() {
        assert_eq!(unescaped("a%2fb"), "a/b");
        assert_eq!(unescaped("a%2"), "a%2");
        assert_eq!(unescaped("a%zz%2f"), "a%zz%2f");
    }

    #[test]
    fn an_account_becomes_only_the_node_of_its_own_token() {
        let mut caller = User::service_account("ns", "agent");
        caller.extra.insert(NODE_NAME.to_owned(), vec!["n1".to_owned()]);
        let node = |name: &str| User { name: name.to_owned(), ..User::default() };
        assert!(Mode::AssociatedNode.fits(&node("system:node:n1"), &caller));
        assert!(!Mode::AssociatedNode.fits(&node("system:node:n2"), &caller));
    }

    #[test]
    fn constrained_extras_have_a_domain() {
        let values = ["x".to_owned()];
        assert_eq!(constrained_extra("acme.io/scope", &values), Ok(()));
        assert_eq!(
            constrained_extra("scopes", &values).unwrap_err(),
            r#"impersonating an invalid key in extra is not allowed: extra.key: Invalid value: "scopes": must be a domain-prefixed path (such as "acme.io/foo")"#
        );
    }

    #[test]
    fn last_modes_are_bounded() {
        let modes = LastModes::default();
        for i in 0..=LastModes::CAPACITY {
            modes.set(&i.to_string(), Mode::Legacy);
        }
        assert!(modes.0.lock().unwrap().len() <= LastModes::CAPACITY);
    }
}
