//! What `resourceVersion`, `resourceVersionMatch`, `limit`, `continue` and `sendInitialEvents` ask for: which revision to
//! read, where a watch starts, or which `Status` refuses. Pure; the rules are kube-apiserver's.

use serde_json::json;

use super::{Compacted, ContinueToken, Listing, Position};
use crate::field::{FieldError, Kind};
use crate::status::{Details, Status};

/// The parameters of a list or a watch, as they came; absent texts are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListOptions<'a> {
    /// `resourceVersion`.
    pub resource_version: &'a str,
    /// `resourceVersionMatch`.
    pub resource_version_match: &'a str,
    /// `continue`.
    pub continue_token: &'a str,
    /// `limit`; 0 and below mean none.
    pub limit: i64,
    /// `sendInitialEvents`.
    pub send_initial_events: Option<bool>,
    /// `allowWatchBookmarks`.
    pub allow_watch_bookmarks: bool,
}

/// What a list reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlan {
    /// An exact revision; the present when `None`.
    pub at: Option<u64>,
    /// Start after this place.
    pub after: Option<Position>,
    /// Most objects of the page.
    pub limit: Option<usize>,
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The present objects as ADDED events, then what follows the revision of that list.
    Initial {
        /// A bookmark with `k8s.io/initial-events-end` comes between.
        bookmark: bool,
    },
    /// What follows this revision.
    After(u64),
    /// What follows the present revision.
    Now,
}

/// Decides a list. `namespace` as in [`ListRequest`](super::ListRequest), `current` is the store's revision.
pub fn plan_list(options: &ListOptions<'_>, namespace: Option<&str>, current: u64) -> Result<ListPlan, Status> {
    refuse(&list_errors(options))?;
    let limit = usize::try_from(options.limit).ok().filter(|limit| *limit > 0);
    if !options.continue_token.is_empty() {
        let token = ContinueToken::decode(options.continue_token, namespace)
            .map_err(|why| Status::bad_request(format!("invalid continue token: {why}")))?;
        if !matches!(options.resource_version, "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        token.revision.map_or(Ok(()), |revision| not_in_the_future(revision, current))?;
        return Ok(ListPlan { at: token.revision, after: Some(token.after), limit });
    }
    let revision = match options.resource_version {
        "" => 0,
        text => parse_revision(text)
            .map_err(|why| Status::bad_request(format!("invalid resource version: {}", why.message())))?,
    };
    not_in_the_future(revision, current)?;
    let exact = match options.resource_version_match {
        "Exact" => true,
        // From before `resourceVersionMatch`: a page is of exactly the revision asked for.
        "" => limit.is_some() && revision > 0,
        _ => false,
    };
    Ok(ListPlan { at: exact.then_some(revision), after: None, limit })
}

/// Decides a watch.
pub fn plan_watch(options: &ListOptions<'_>, current: u64) -> Result<Start, Status> {
    let ListOptions { resource_version, mut resource_version_match, mut send_initial_events, .. } = *options;
    // From before `sendInitialEvents`: without a revision a watch begins with what there is.
    let unversioned = matches!(resource_version, "" | "0");
    if send_initial_events.is_none() && resource_version_match.is_empty() && unversioned {
        (send_initial_events, resource_version_match) = (Some(true), "NotOlderThan");
    }
    refuse(&watch_errors(&ListOptions { resource_version_match, send_initial_events, ..*options }))?;
    let revision = match resource_version {
        "" => 0,
        text => parse_revision(text).map_err(|why| Status::new(500, "", why.message()))?,
    };
    if send_initial_events == Some(true) {
        not_in_the_future(revision, current)?;
        return Ok(Start::Initial { bookmark: options.allow_watch_bookmarks });
    }
    Ok(if revision == 0 { Start::Now } else { Start::After(revision) })
}

/// Decides a get: its `resourceVersion` is the least that is acceptable.
pub fn check_get(resource_version: &str, current: u64) -> Result<(), Status> {
    if resource_version.is_empty() {
        return Ok(());
    }
    let revision = parse_revision(resource_version).map_err(|why| Status::new(500, "", why.message()))?;
    not_in_the_future(revision, current)
}

/// The token for the page after `listing`, when there is one. `namespace` as in the request.
pub fn next_token(listing: &Listing, namespace: Option<&str>) -> Option<String> {
    let after = listing.next.clone()?;
    Some(ContinueToken { revision: Some(listing.revision), after }.encode(namespace))
}

/// The 410 of a list whose revision is gone. A page carries a token that goes on without consistency.
pub fn list_expired(plan: &ListPlan, namespace: Option<&str>) -> Status {
    match &plan.after {
        None => Status::expired("The resourceVersion for the provided list is too old."),
        Some(after) => {
            let token = ContinueToken { revision: None, after: after.clone() }.encode(namespace);
            let mut status = Status::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
                 list without the continue parameter, or use the continue token in this response to retrieve the \
                 remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
                 that were created, modified, or deleted between the time the first chunk was returned and now may show \
                 up in the list.",
            );
            status.list_continue = Some(token.into());
            status
        }
    }
}

/// The 410 of a watch, at its start or in its stream.
pub fn watch_expired(compacted: &Compacted) -> Status {
    Status::expired(compacted.to_string())
}

/// `metainternalversion/validation.ValidateListOptions` for a list.
fn list_errors(options: &ListOptions<'_>) -> Vec<FieldError> {
    let field = "resourceVersionMatch";
    let mut errors = Vec::new();
    let wanted = options.resource_version_match;
    if !wanted.is_empty() {
        if options.resource_version.is_empty() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden(field, detail));
        }
        errors.extend(match_with_continue(options));
        if !matches!(wanted, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(field, &json!(wanted), &["Exact", "NotOlderThan", ""]));
        }
        if wanted == "Exact" && options.resource_version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(field, detail));
        }
    }
    if options.send_initial_events.is_some() {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    errors
}

/// The same for a watch.
fn watch_errors(options: &ListOptions<'_>) -> Vec<FieldError> {
    let field = "resourceVersionMatch";
    let mut errors = Vec::new();
    let wanted = options.resource_version_match;
    if options.send_initial_events.is_some() && wanted != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(field, detail));
    }
    if !wanted.is_empty() {
        if options.send_initial_events.is_none() {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(field, detail));
        }
        if wanted != "NotOlderThan" {
            errors.push(FieldError::not_supported(field, &json!(wanted), &["NotOlderThan"]));
        }
        errors.extend(match_with_continue(options));
    }
    errors
}

fn match_with_continue(options: &ListOptions<'_>) -> Option<FieldError> {
    let detail = "resourceVersionMatch is forbidden when continue is provided";
    (!options.continue_token.is_empty()).then(|| FieldError::forbidden("resourceVersionMatch", detail))
}

fn refuse(errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors)) }
}

/// Why a text is no revision.
struct NotARevision<'a>(&'a str, &'static str);

impl NotARevision<'_> {
    fn message(&self) -> String {
        let Self(text, why) = self;
        let detail = format!("strconv.ParseUint: parsing {text:?}: {why}");
        let error = FieldError::with(Kind::Invalid, "resourceVersion", Some(format!("{text:?}")), &detail);
        format!("{}: {}", error.field, error.message)
    }
}

/// Go's `strconv.ParseUint(text, 10, 64)`.
fn parse_revision(text: &str) -> Result<u64, NotARevision<'_>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotARevision(text, "invalid syntax"));
    }
    text.parse().map_err(|_| NotARevision(text, "value out of range"))
}

/// What is not there when the caller has waited for it is refused.
fn not_in_the_future(revision: u64, current: u64) -> Result<(), Status> {
    if revision <= current {
        return Ok(());
    }
    let cause = ("ResourceVersionTooLarge".to_owned(), "Too large resource version".to_owned(), String::new());
    let details = Details { causes: vec![cause], retry_after: Some(1), ..Details::default() };
    let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
    Err(Status::new(504, "Timeout", message).with(details))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100;

    fn list(options: ListOptions<'_>) -> Result<ListPlan, Status> {
        plan_list(&options, Some("ns"), NOW)
    }

    fn at(options: ListOptions<'_>) -> Option<u64> {
        list(options).unwrap().at
    }

    fn token() -> String {
        ContinueToken { revision: Some(40), after: Position { namespace: "ns".into(), name: "a".into() } }
            .encode(Some("ns"))
    }

    #[test]
    fn only_exact_and_an_old_page_read_the_past() {
        let rv = ListOptions { resource_version: "40", ..ListOptions::default() };
        assert_eq!(at(rv), None);
        assert_eq!(at(ListOptions { resource_version_match: "NotOlderThan", limit: 3, ..rv }), None);
        assert_eq!(at(ListOptions { resource_version_match: "Exact", ..rv }), Some(40));
        assert_eq!(at(ListOptions { limit: 3, ..rv }), Some(40));
        assert_eq!(at(ListOptions { resource_version: "0", limit: 3, ..rv }), None);
    }

    #[test]
    fn a_negative_limit_is_none() {
        assert_eq!(list(ListOptions { limit: -1, ..ListOptions::default() }).unwrap().limit, None);
    }

    #[test]
    fn a_token_names_revision_and_place() {
        let token = token();
        let plan = list(ListOptions { continue_token: &token, limit: 2, ..ListOptions::default() }).unwrap();
        let after = Some(Position { namespace: "ns".into(), name: "a".into() });
        assert_eq!(plan, ListPlan { at: Some(40), after, limit: Some(2) });
    }

    #[test]
    fn a_token_and_a_revision_exclude_each_other() {
        let token = token();
        let options = ListOptions { continue_token: &token, resource_version: "5", ..ListOptions::default() };
        let message = "specifying resource version is not allowed when using continue";
        assert_eq!(list(options), Err(Status::bad_request(message)));
    }

    #[test]
    fn a_revision_of_the_future_is_a_timeout() {
        let status = list(ListOptions { resource_version: "101", ..ListOptions::default() }).unwrap_err();
        assert_eq!(status.message, "Timeout: Too large resource version: 101, current: 100");
        assert_eq!((status.code, status.details.unwrap().retry_after), (504, Some(1)));
    }

    #[test]
    fn a_number_too_long_for_a_revision_says_so() {
        let status = check_get("99999999999999999999", NOW).unwrap_err();
        assert_eq!(
            status.message,
            "resourceVersion: Invalid value: \"99999999999999999999\": strconv.ParseUint: parsing \
             \"99999999999999999999\": value out of range"
        );
    }

    #[test]
    fn a_revision_that_is_no_number_is_400_for_a_list_and_500_for_a_watch() {
        let options = ListOptions { resource_version: "+1", ..ListOptions::default() };
        let why = "resourceVersion: Invalid value: \"+1\": strconv.ParseUint: parsing \"+1\": invalid syntax";
        assert_eq!(list(options), Err(Status::bad_request(format!("invalid resource version: {why}"))));
        assert_eq!(plan_watch(&options, NOW), Err(Status::new(500, "", why)));
    }

    #[test]
    fn all_errors_of_the_options_come_at_once() {
        let options = ListOptions {
            resource_version_match: "Newest",
            continue_token: "x",
            send_initial_events: Some(false),
            ..ListOptions::default()
        };
        let fields: Vec<String> =
            list(options).unwrap_err().details.unwrap().causes.into_iter().map(|(_, _, field)| field).collect();
        assert_eq!(
            fields,
            ["resourceVersionMatch", "resourceVersionMatch", "resourceVersionMatch", "sendInitialEvents"]
        );
    }

    #[test]
    fn a_watch_without_a_revision_begins_with_what_there_is() {
        let options = ListOptions { allow_watch_bookmarks: true, ..ListOptions::default() };
        assert_eq!(plan_watch(&options, NOW), Ok(Start::Initial { bookmark: true }));
        assert_eq!(
            plan_watch(&ListOptions { resource_version: "0", ..ListOptions::default() }, NOW),
            Ok(Start::Initial { bookmark: false })
        );
    }

    #[test]
    fn a_watch_that_declines_initial_events_begins_now() {
        let options = ListOptions {
            send_initial_events: Some(false),
            resource_version_match: "NotOlderThan",
            ..ListOptions::default()
        };
        assert_eq!(plan_watch(&options, NOW), Ok(Start::Now));
    }

    #[test]
    fn a_watch_may_start_in_the_future() {
        let options = ListOptions { resource_version: "500", ..ListOptions::default() };
        assert_eq!(plan_watch(&options, NOW), Ok(Start::After(500)));
    }

    #[test]
    fn initial_events_need_not_older_than() {
        let options = ListOptions { send_initial_events: Some(true), ..ListOptions::default() };
        assert_eq!(
            plan_watch(&options, NOW).unwrap_err().message,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
             resourceVersionMatch to NotOlderThan"
        );
    }

    #[test]
    fn a_page_that_expired_offers_to_go_on_without_consistency() {
        let token = token();
        let plan = list(ListOptions { continue_token: &token, ..ListOptions::default() }).unwrap();
        let json = list_expired(&plan, Some("ns")).to_json();
        let next = ContinueToken::decode(json["metadata"]["continue"].as_str().unwrap(), Some("ns")).unwrap();
        assert_eq!((next.revision, Some(next.after)), (None, plan.after));
    }
}
