//! A node without containers: logs, commands and ports answer as a test expects it. Touches nothing.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use paddock_apiserver::node::{Connection, Exit, LogOptions, Node, Streams, Target, Writer};
use paddock_apiserver::status::Status;
use tokio::io::AsyncWriteExt;

/// A node whose containers do as they are told and no more.
pub(crate) struct Puppet;

impl Node for Puppet {
    fn logs<'a>(
        &'a self,
        target: &'a Target,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, io::Result<Bytes>>, Status>> {
        let first = format!("{}/{} of {}\n", target.name(), target.container, target.namespace());
        let told = Ok(Bytes::from(format!("{first}{options:?}\n")));
        let rest = if options.follow { stream::pending().boxed() } else { stream::empty().boxed() };
        async move { Ok(stream::iter([told]).chain(rest).boxed()) }.boxed()
    }

    fn exec<'a>(
        &'a self,
        _: &'a Target,
        command: Vec<String>,
        mut streams: Streams,
    ) -> BoxFuture<'a, Result<Exit, Status>> {
        async move {
            let mut code = 0;
            match command[0].as_str() {
                "cat" => {
                    let (Some(mut from), Some(mut to)) = (streams.stdin, streams.stdout) else {
                        return Err(unconnected());
                    };
                    let copied = tokio::io::copy(&mut from, &mut to).await;
                    copied.map_err(|error| Status::internal(error.to_string()))?;
                }
                "fail" => {
                    say(streams.stderr, "no").await?;
                    code = 7;
                }
                "size" => {
                    let size = streams.resize.recv().await.ok_or_else(unconnected)?;
                    say(streams.stdout, &format!("{}x{}", size.width, size.height)).await?;
                }
                _ => return Err(Status::bad_request("no such command")),
            }
            Ok(Exit { code })
        }
        .boxed()
    }

    fn attach<'a>(&'a self, target: &'a Target, streams: Streams) -> BoxFuture<'a, Result<Exit, Status>> {
        async move {
            say(streams.stdout, &target.container).await?;
            Ok(Exit { code: 0 })
        }
        .boxed()
    }

    /// Says the number of the port and then what it hears.
    fn dial<'a>(&'a self, _: &'a Target, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        async move {
            if port == 1 {
                return Err(io::Error::other("nobody listens"));
            }
            let (theirs, ours) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(ours);
                let _ = writer.write_all(format!("{port}:").as_bytes()).await;
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
            Ok(Box::new(theirs) as Box<dyn Connection>)
        }
        .boxed()
    }
}

async fn say(output: Option<Writer>, text: &str) -> Result<(), Status> {
    let written = output.ok_or_else(unconnected)?.write_all(text.as_bytes()).await;
    written.map_err(|error| Status::internal(error.to_string()))
}

fn unconnected() -> Status {
    Status::bad_request("this needs a stream that the client did not ask for")
}
