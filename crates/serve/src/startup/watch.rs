//! Notices that a directory changed: inotify, and for what inotify does not see a look every now and then. Touches the directory's
//! watch, nothing in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::directory::DATA;

/// After a change that is no swap of `..data`, the time that others may follow in.
const SETTLE: Duration = Duration::from_millis(50);

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// `..data` was swapped: everything is there.
    Swap,
    /// Some file changed: others may follow.
    Other,
    /// The directory itself went away: watch anew.
    Gone,
}

/// Watches one directory.
#[derive(Debug)]
pub(crate) struct Watcher {
    dir: PathBuf,
    poll: Duration,
    notes: Option<notes::Notes>,
}

impl Watcher {
    /// Watches `dir`, which need not exist yet; looks anew every `poll` at the latest.
    pub(crate) fn new(dir: &Path, poll: Duration) -> Self {
        Self { dir: dir.to_owned(), poll, notes: None }
    }

    /// Begins to watch, so that nothing after this call is missed.
    pub(crate) fn arm(&mut self) {
        if self.notes.is_none() {
            self.notes = notes::Notes::watch(&self.dir)
                .inspect_err(
                    |error| tracing::debug!(dir = %self.dir.display(), %error, "cannot watch; looking now and then"),
                )
                .ok();
        }
    }

    /// Resolves when it is time to look: at once after a swap, shortly after anything else, and every now and then.
    pub(crate) async fn changed(&mut self) {
        self.arm();
        let latest = Instant::now() + self.poll;
        let Some(notes) = &mut self.notes else { return sleep_until(latest).await };
        let seen = tokio::select! {
            seen = notes.next() => seen,
            () = sleep_until(latest) => return,
        };
        let gone = match seen {
            Seen::Swap => false,
            Seen::Gone => true,
            Seen::Other => {
                let settled = sleep(SETTLE);
                tokio::pin!(settled);
                loop {
                    tokio::select! {
                        () = settled.as_mut() => break false,
                        seen = notes.next() => match seen {
                            Seen::Swap => break false,
                            Seen::Gone => break true,
                            Seen::Other => {}
                        },
                    }
                }
            }
        };
        if gone {
            self.notes = None;
            // Whoever removes a directory in a loop does not keep this process busy.
            sleep(SETTLE).await;
            self.arm();
        }
    }
}

#[cfg(target_os = "linux")]
mod notes {
    use std::io;
    use std::path::Path;

    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use tokio::io::AsyncReadExt;
    use tokio::net::unix::pipe::Receiver;

    use super::{DATA, Seen};

    /// Bytes of a note before its name: watch, mask, cookie and length of the name, four bytes each (inotify(7)).
    const HEAD: usize = 16;

    /// What the kernel tells about a directory. The descriptor is read like a pipe's end: as a stream of bytes that may not be there
    /// yet, which is all that tokio needs to know.
    #[derive(Debug)]
    pub(super) struct Notes {
        stream: Receiver,
        buffer: Vec<u8>,
    }

    impl Notes {
        pub(super) fn watch(dir: &Path) -> io::Result<Self> {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let what = WatchFlags::CREATE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::DELETE
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            inotify::add_watch(&fd, dir, what)?;
            Ok(Self { stream: Receiver::from_owned_fd_unchecked(fd)?, buffer: vec![0; 4096] })
        }

        /// The most telling of the notes that are there; waits for one.
        pub(super) async fn next(&mut self) -> Seen {
            match self.stream.read(&mut self.buffer).await {
                Ok(read) if read > 0 => self.buffer.get(..read).map_or(Seen::Other, most_telling),
                Ok(_) => Seen::Gone,
                Err(error) => {
                    tracing::debug!(%error, "cannot read what changed; watching anew");
                    Seen::Gone
                }
            }
        }
    }

    fn most_telling(mut notes: &[u8]) -> Seen {
        let mut told = Seen::Other;
        while let Some((head, rest)) = notes.split_first_chunk::<HEAD>() {
            let word =
                |at: usize| head.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_ne_bytes(*word));
            let (mask, length) = (ReadFlags::from_bits_retain(word(4)), word(12) as usize);
            let (name, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            // The name is filled up with zeros.
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            if mask.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
                return Seen::Gone;
            }
            if mask.contains(ReadFlags::MOVED_TO) && name == DATA.as_bytes() {
                told = Seen::Swap;
            }
            notes = rest;
        }
        told
    }
}

/// Without inotify there is only the look every now and then.
#[cfg(not(target_os = "linux"))]
mod notes {
    use std::io;
    use std::path::Path;

    use super::Seen;

    #[derive(Debug)]
    pub(super) struct Notes(std::convert::Infallible);

    impl Notes {
        pub(super) fn watch(_: &Path) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn next(&mut self) -> Seen {
            match self.0 {}
        }
    }
}
