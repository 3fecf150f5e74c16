//! What needs the node that runs a pod: its log, and exec, attach and port-forward.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Call;
use super::admit::Admit;
use crate::api::{Answer, Body};
use crate::authz::Attributes;
use crate::field::FieldError;
use crate::kinds::subresources;
use crate::node::{LogOptions, LogStream, Node, Target};
use crate::request::Verb;
use crate::status::Status;
use crate::streaming::channels::{self, Protocol, Wanted};
use crate::streaming::{Session, forward, handshake, tunnel};

impl Call<'_> {
    /// A connection to a workload: admitted as its options before anything is looked up.
    pub(super) async fn connect(&mut self, name: &str, verb: Verb) -> Result<Answer, Status> {
        let mut options = self.connect_options(name);
        if verb == Verb::Get && self.resource.plural.as_ref() == "pods" {
            // A WebSocket begins with a GET, and who may look at pods may not run commands in them.
            self.api.require(self.user, &self.creates(name))?;
        }
        let write = Admit::connect(&self.path.name);
        self.mutate(&write, &mut options, &Value::Null).await?;
        self.validate(&write, &mut options, &Value::Null).await?;
        let (_, pod) = self.current()?;
        if !matches!(name, "exec" | "attach" | "portforward") {
            return Err(Status::bad_request(format!("{name} is not served: this server proxies nothing")));
        }
        let container = match name {
            "portforward" => String::new(),
            _ => subresources::container(&pod, options["container"].as_str().unwrap_or_default())?.to_owned(),
        };
        let Some(node) = self.node(&pod)? else {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", self.path.name)));
        };
        let target = Target { pod: Arc::new(pod), container };
        let session = match name {
            "portforward" => self.forward(node, target)?,
            _ => self.streams(name == "exec", node, target, &options)?,
        };
        Ok(Answer { code: 101, body: Body::Upgrade(session), ..Answer::empty(101) })
    }

    fn streams(&self, exec: bool, node: Arc<dyn Node>, target: Target, options: &Value) -> Result<Session, Status> {
        let flag = |name: &str| options[name] == true;
        let tty = flag("tty");
        // A terminal has one output.
        let wanted = Wanted { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") && !tty, tty };
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        let command: Vec<String> = self.query.all("command").map(str::to_owned).collect();
        if exec && command.is_empty() {
            return Err(Status::bad_request("you must specify at least one command for the container"));
        }
        let agreement = handshake::agree(self.headers, channels::SERVED)?;
        let protocol = Protocol::named(agreement.protocol);
        let closing = self.api.closing.clone();
        let permit = self.session()?;
        Ok(Session {
            accept: agreement.accept,
            protocol: agreement.protocol,
            run: Box::new(move |socket| {
                Box::pin(async move {
                    let act = async |streams| match exec {
                        true => node.exec(&target, command, streams).await,
                        false => node.attach(&target, streams).await,
                    };
                    channels::run(socket, protocol, wanted, act, closing).await;
                    drop(permit);
                })
            }),
        })
    }

    fn forward(&self, node: Arc<dyn Node>, target: Target) -> Result<Session, Status> {
        let agreement = handshake::agree(self.headers, forward::SERVED)?;
        let closing = self.api.closing.clone();
        let tunnelled = agreement.protocol == Some(tunnel::PROTOCOL);
        let ports = if tunnelled { Vec::new() } else { forward::ports(self.query.all("ports"))? };
        let permit = self.session()?;
        Ok(Session {
            accept: agreement.accept,
            protocol: agreement.protocol,
            run: Box::new(move |socket| {
                Box::pin(async move {
                    match tunnelled {
                        true => tunnel::run(socket, node, target, closing).await,
                        false => forward::run(socket, node, target, ports, closing).await,
                    }
                    drop(permit);
                })
            }),
        })
    }

    /// The right to hold one of the server's sessions.
    fn session(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        let full = |_| Status::new(429, "TooManyRequests", "too many sessions with containers are open: close some");
        self.api.sessions.clone().try_acquire_owned().map_err(full)
    }

    fn creates<'b>(&'b self, subresource: &'b str) -> Attributes<'b> {
        Attributes::Resource {
            verb: "create",
            group: &self.path.group,
            version: &self.path.version,
            resource: &self.path.resource,
            subresource,
            namespace: &self.path.namespace,
            name: &self.path.name,
        }
    }

    /// The node that runs the pod; `None` while none has taken it.
    fn node(&self, pod: &Value) -> Result<Option<Arc<dyn Node>>, Status> {
        let name = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        if self.api.store.get("/nodes", "", name).is_none() {
            return Err(Status::not_found("", "nodes", name));
        }
        let away = || {
            Status::new(
                503,
                "ServiceUnavailable",
                format!("node {name:?} is not connected to this server: try again when it is"),
            )
        };
        self.api.nodes.get(name).map(Some).ok_or_else(away)
    }

    /// A pod that no node has taken has an empty log.
    pub(super) async fn log(&self) -> Result<Answer, Status> {
        let (_, pod) = self.current()?;
        let (container, options) = self.log_options(&pod)?;
        let Some(node) = self.node(&pod)? else { return Ok(Answer::empty(204)) };
        let target = Target { pod: Arc::new(pod), container };
        let log = node.logs(&target, options).await?;
        let closing = self.api.closing.clone();
        Ok(Answer::stream("text/plain", futures::StreamExt::take_until(log, closing.cancelled_owned())))
    }

    /// `PodLogOptions` from the query.
    fn log_options(&self, pod: &Value) -> Result<(String, LogOptions), Status> {
        let mut errors = Vec::new();
        let mut number = |field: &str, least: i64| -> Result<Option<u64>, Status> {
            let value = self.query.integer(field)?;
            if value.is_some_and(|value| value < least) {
                let detail = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
                errors.push(FieldError::invalid(field, &value.into(), detail));
            }
            Ok(value.and_then(|value| u64::try_from(value).ok()))
        };
        let tail_lines = number("tailLines", 0)?;
        let since_seconds = number("sinceSeconds", 1)?;
        let limit_bytes = number("limitBytes", 1)?;
        let since_time = match self.query.get("sinceTime") {
            "" => None,
            text => match text.parse::<Timestamp>() {
                Ok(time) => Some(time),
                Err(error) => return Err(Status::bad_request(format!("sinceTime: {error}"))),
            },
        };
        if since_time.is_some() && since_seconds.is_some() {
            let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(FieldError::forbidden("", detail));
        }
        let stream = match self.query.get("stream") {
            "" | "All" => LogStream::All,
            "Stdout" => LogStream::Stdout,
            "Stderr" => LogStream::Stderr,
            other => {
                errors.push(FieldError::not_supported("stream", &other.into(), &["All", "Stderr", "Stdout"]));
                LogStream::All
            }
        };
        if stream != LogStream::All && tail_lines.is_some() {
            let detail = "`tailLines` and specific `stream` are mutually exclusive for now";
            errors.push(FieldError::forbidden("", detail));
        }
        if !errors.is_empty() {
            return Err(Status::invalid("", "PodLogOptions", &self.path.name, &errors));
        }
        let container = subresources::container(pod, self.query.get("container"))?.to_owned();
        let ago = |seconds: u64| {
            let past = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            self.now.checked_sub(past).unwrap_or(Timestamp::MIN)
        };
        let options = LogOptions {
            follow: self.query.flag("follow"),
            previous: self.query.flag("previous"),
            timestamps: self.query.flag("timestamps"),
            tail_lines,
            limit_bytes,
            since: since_time.or(since_seconds.map(ago)),
            stream,
        };
        Ok((container, options))
    }

    /// `PodExecOptions` and its like, as the query says.
    fn connect_options(&self, name: &str) -> Value {
        let kind = self.resource.subresource(name).and_then(|s| s.kind).map_or("", |(_, _, kind)| kind);
        let mut options = json!({"kind": kind, "apiVersion": "v1"});
        for field in ["stdin", "stdout", "stderr", "tty"] {
            if self.query.flag(field) {
                options[field] = true.into();
            }
        }
        for field in ["container", "path"] {
            if !self.query.get(field).is_empty() {
                options[field] = self.query.get(field).into();
            }
        }
        let command: Vec<&str> = self.query.all("command").collect();
        if !command.is_empty() {
            options["command"] = command.into();
        }
        let ports: Vec<i64> = self.query.all("ports").filter_map(|port| port.parse().ok()).collect();
        if !ports.is_empty() {
            options["ports"] = ports.into();
        }
        options
    }
}
