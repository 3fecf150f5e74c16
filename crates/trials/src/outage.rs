//! API servers that are no help: gone, silent, babbling, forbidding. Each is a port on loopback; no packet goes anywhere else.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How an API server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Packets vanish: a connection is never made. A listener whose backlog is full drops every further SYN.
    Blackholed,
    /// Nobody listens.
    Refused,
    /// Connections are made and nothing is ever answered.
    Hanging,
    /// What is answered is not HTTP.
    Garbage,
    /// Every request is answered with 403.
    Forbidding,
}

impl Outage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Blackholed, Self::Refused, Self::Hanging, Self::Garbage, Self::Forbidding];

    /// Begins; it ends when the value is dropped.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn begin(self) -> io::Result<Failing> {
        match self {
            Self::Blackholed => blackhole(),
            Self::Refused => {
                let addr = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
                Ok(Failing { addr, held: Vec::new(), listener: None, answering: None })
            }
            Self::Hanging => answering(|_| None),
            Self::Garbage => answering(|_| Some(b"\x16\x03\x01 SSH-2.0-not http at all\r\n\r\n".to_vec())),
            Self::Forbidding => answering(|_| {
                let body = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                );
                Some([head.as_bytes(), body].concat())
            }),
        }
    }
}

/// An API server that fails.
#[derive(Debug)]
pub struct Failing {
    addr: SocketAddr,
    held: Vec<TcpStream>,
    listener: Option<std::os::fd::OwnedFd>,
    answering: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Failing {
    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A kubeconfig that leads there, over plain HTTP.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: \"http://{}\"}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nusers: [{{name: a, user: {{}}}}]\n",
            self.addr
        )
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.held.clear();
        self.listener = None;
        if let Some((over, thread)) = self.answering.take() {
            over.store(true, Ordering::SeqCst);
            // Wakes it up.
            let _ = TcpStream::connect(self.addr);
            let _ = thread.join();
        }
    }
}

fn blackhole() -> io::Result<Failing> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (listener, addr) = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(0)?;
        let addr = listener.local_addr()?;
        Ok::<_, io::Error>((listener.into_std()?, addr))
    })?;
    let mut held = Vec::new();
    // As many as the kernel takes into the queue of a backlog of nothing.
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
        held.push(stream);
        if held.len() > 64 {
            return Err(io::Error::other("the backlog does not fill up"));
        }
    }
    Ok(Failing { addr, held, listener: Some(listener.into()), answering: None })
}

fn answering(answer: fn(&[u8]) -> Option<Vec<u8>>) -> io::Result<Failing> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let addr = listener.local_addr()?;
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let thread = std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            if until.load(Ordering::SeqCst) {
                return;
            }
            let Ok(mut stream) = stream else { continue };
            if answer(b"").is_none() {
                open.push(stream);
                continue;
            }
            std::thread::spawn(move || {
                let mut request = [0; 16 * 1024];
                while let Ok(read) = stream.read(&mut request) {
                    let answered = answer(request.get(..read).unwrap_or_default());
                    if read == 0 || answered.is_none_or(|bytes| stream.write_all(&bytes).is_err()) {
                        return;
                    }
                }
            });
        }
    });
    Ok(Failing { addr, held: Vec::new(), listener: None, answering: Some((over, thread)) })
}
