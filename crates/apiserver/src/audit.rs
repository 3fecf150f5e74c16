//! The audit log: who asked for what, and how it was answered. One `audit.k8s.io/v1` Event of level `Metadata` a line, as
//! kube-apiserver's log backend writes it (<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>). Touches its file alone.
//!
//! An answer goes out when its line was handed to the kernel, as kube-apiserver's `--audit-log-mode=blocking`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, Method, header};
use serde::Serialize;
use serde_json::Value;

use crate::api::{Answer, Body};
use crate::clock::{Clock, rfc3339_micros};
use crate::request::{Query, ResourcePath, Verb, segments};
use crate::user::User;

/// A file of this many bytes is put aside, kube-apiserver's `--audit-log-maxsize`.
const LARGEST: u64 = 100 * 1024 * 1024;
/// How many files put aside are kept, `FILE.1` the newest: kube-apiserver's `--audit-log-maxbackup`.
const KEPT: u32 = 10;

/// The log, or none. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit(Option<Arc<Sink>>);

/// A file that grows by whole lines.
#[derive(Debug)]
struct Sink {
    path: PathBuf,
    largest: u64,
    open: Mutex<Open>,
    failed: AtomicU64,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl Audit {
    /// Appends to the file, and makes it, for its owner alone, where there is none.
    pub(crate) fn to(path: &Path) -> std::io::Result<Self> {
        Self::with(path, LARGEST)
    }

    fn with(path: &Path, largest: u64) -> std::io::Result<Self> {
        let open = Mutex::new(open(path)?);
        Ok(Self(Some(Arc::new(Sink { path: path.to_owned(), largest, open, failed: AtomicU64::new(0) }))))
    }

    /// Lines that could not be written.
    pub(crate) fn failed(&self) -> u64 {
        self.0.as_ref().map_or(0, |sink| sink.failed.load(Relaxed))
    }

    /// A request came in. `None` when nothing is recorded.
    pub(crate) fn received(&self, clock: &Clock, request: Received<'_>) -> Option<Record> {
        let sink = self.0.clone()?;
        let (path, query) = request.uri.split_once('?').unwrap_or((request.uri, ""));
        let resource = segments(path).as_deref().and_then(ResourcePath::parse);
        let verb = resource.as_ref().and_then(|path| path.verb(request.method, &Query::parse(Some(query))));
        let agent = request.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id: request.id.to_owned(),
            stage: "ResponseComplete",
            request_uri: request.uri.to_owned(),
            verb: verb.map_or_else(|| request.method.as_str().to_ascii_lowercase(), |verb| verb.as_str().to_owned()),
            user: Who::default(),
            impersonated_user: None,
            source_ips: request.from.into_iter().collect(),
            user_agent: agent.unwrap_or_default().to_owned(),
            object_ref: resource.map(ObjectRef::from),
            response_status: None,
            request_received_timestamp: rfc3339_micros(clock.now()),
            stage_timestamp: String::new(),
        };
        Some(Record { sink, clock: clock.clone(), creates: verb == Some(Verb::Create), event })
    }
}

/// What is known of a request before anyone has judged it.
pub(crate) struct Received<'a> {
    pub(crate) id: &'a str,
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) uri: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// `None` for this process.
    pub(crate) from: Option<IpAddr>,
}

/// A request that is being answered. Its line is written when this is dropped: the answer is made, its stream has ended, or
/// the client went away before there was one.
pub(crate) struct Record {
    sink: Arc<Sink>,
    clock: Clock,
    creates: bool,
    event: Event,
}

impl Record {
    /// Whose credentials the request showed.
    pub(crate) fn caller(&mut self, user: &User) {
        self.event.user = Who::from(user);
    }

    /// How the request is answered, and as whom it acted. A stream or session keeps the record until it ends.
    pub(crate) fn answered(mut self, acting: Option<&User>, mut answer: Answer) -> Answer {
        self.event.impersonated_user = acting.map(Who::from).filter(|acting| *acting != self.event.user);
        let told = match &answer.body {
            Body::Whole(bytes) if self.creates || answer.code >= 400 => serde_json::from_slice(bytes).ok(),
            _ => None,
        };
        self.event.response_status = Some(ResponseStatus::new(answer.code, told.as_ref()));
        if let (Some(object), Some(created)) = (&mut self.event.object_ref, &told)
            && object.name.is_empty()
            && let Some(name) = created.pointer("/metadata/name").and_then(Value::as_str)
        {
            name.clone_into(&mut object.name);
        }
        answer.body = match answer.body {
            Body::Stream(stream) => {
                self.write("ResponseStarted");
                // The closure owns the record for as long as there is a stream.
                Body::Stream(stream.inspect(move |_| _ = &self).boxed())
            }
            Body::Upgrade(mut session) => {
                self.event.response_status = Some(ResponseStatus::new(101, None));
                self.write("ResponseStarted");
                let run = session.run;
                session.run = Box::new(move |socket| run(socket).map(move |()| drop(self)).boxed());
                Body::Upgrade(session)
            }
            other => other,
        };
        answer
    }

    fn write(&mut self, stage: &'static str) {
        self.event.stage = stage;
        self.event.stage_timestamp = rfc3339_micros(self.clock.now());
        match serde_json::to_vec(&self.event) {
            Ok(mut line) => {
                line.push(b'\n');
                self.sink.append(&line);
            }
            Err(error) => self.sink.failure(&error.into()),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write("ResponseComplete");
    }
}

impl Sink {
    fn append(&self, line: &[u8]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.size > 0 && open.size + line.len() as u64 > self.largest {
            match self.put_aside() {
                Ok(new) => *open = new,
                // A log that is too large is better than a gap.
                Err(error) => self.failure(&error),
            }
        }
        match open.file.write_all(line) {
            Ok(()) => open.size += line.len() as u64,
            Err(error) => self.failure(&error),
        }
    }

    /// Renames the file out of the way of a new one; the oldest is overwritten.
    fn put_aside(&self) -> std::io::Result<Open> {
        for age in (1..KEPT).rev() {
            match std::fs::rename(aside(&self.path, age), aside(&self.path, age + 1)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, aside(&self.path, 1))?;
        open(&self.path)
    }

    /// Counts it, and tells of the first of each thousand.
    fn failure(&self, error: &std::io::Error) {
        if self.failed.fetch_add(1, Relaxed).is_multiple_of(1000) {
            tracing::error!(%error, file = %self.path.display(), "the audit log cannot be written");
        }
    }
}

fn aside(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

fn open(path: &Path) -> std::io::Result<Open> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok(Open { file, size })
}

/// `audit.k8s.io/v1` Event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: &'static str,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: Who,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<Who>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
    stage_timestamp: String,
}

/// `authentication.k8s.io/v1` UserInfo.
#[derive(Default, PartialEq, Eq, Serialize)]
struct Who {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

impl From<&User> for Who {
    fn from(user: &User) -> Self {
        let User { name, uid, groups, extra } = user.clone();
        Self { username: name, uid, groups, extra }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl From<ResourcePath> for ObjectRef {
    fn from(path: ResourcePath) -> Self {
        Self {
            resource: path.resource,
            namespace: path.namespace,
            name: path.name,
            api_group: path.group,
            api_version: path.version,
            subresource: path.subresource,
        }
    }
}

/// What `metav1.Status` says of the outcome.
#[derive(Serialize)]
struct ResponseStatus {
    metadata: serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    code: u16,
}

impl ResponseStatus {
    fn new(code: u16, told: Option<&Value>) -> Self {
        let failure = told.filter(|_| code >= 400);
        let text = |key: &str| failure.and_then(|told| told[key].as_str()).unwrap_or_default().to_owned();
        let (status, message, reason) = (text("status"), text("message"), text("reason"));
        Self { metadata: serde_json::Map::new(), status, message, reason, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn request<'a>(headers: &'a HeaderMap, uri: &'a str) -> Received<'a> {
        Received { id: "1", method: &Method::POST, uri, headers, from: None }
    }

    #[test]
    fn a_full_file_is_put_aside_and_no_line_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let audit = Audit::with(&path, 1000).unwrap();
        for _ in 0..5 {
            drop(audit.received(&Clock::system(), request(&HeaderMap::new(), "/api/v1/namespaces/a/configmaps")));
        }
        let files = [path.clone(), aside(&path, 1), aside(&path, 2)];
        let kept: Vec<usize> = files.iter().filter(|file| file.exists()).map(|file| lines(file).len()).collect();
        assert_eq!((kept.len() > 1, kept.iter().sum::<usize>()), (true, 5));
    }

    #[test]
    fn no_more_files_are_kept_than_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let audit = Audit::with(&path, 1).unwrap();
        for _ in 0..20 {
            drop(audit.received(&Clock::system(), request(&HeaderMap::new(), "/version")));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1 + KEPT as usize);
    }

    #[test]
    fn a_file_that_is_there_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        for _ in 0..2 {
            let audit = Audit::to(&path).unwrap();
            drop(audit.received(&Clock::system(), request(&HeaderMap::new(), "/version")));
        }
        assert_eq!(lines(&path).len(), 2);
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted() {
        let audit = Audit::to(Path::new("/dev/full")).unwrap();
        drop(audit.received(&Clock::system(), request(&HeaderMap::new(), "/version")));
        assert_eq!(audit.failed(), 1);
    }
}
