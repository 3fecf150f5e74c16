//! Certificates of a component's own making: made anew in time. Time is asked for, not taken.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Certificate, TlsSource};

/// How often the age of a certificate is looked at: a laptop sleeps, so a single long timer would not do.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Presents a new certificate whenever the time of the old one has come, until `stop`. `make` gives a certificate that begins now, and
/// when the next is due. What cannot be made is tried again an hour later; the old one is presented meanwhile.
pub async fn keep_renewed(
    source: TlsSource,
    mut due: Timestamp,
    now: impl Fn() -> Timestamp,
    make: impl Fn(Timestamp) -> io::Result<(Certificate, Timestamp)>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK_EVERY) => {}
        }
        let now = now();
        if now < due {
            continue;
        }
        let renewed = make(now).and_then(|(certificate, next)| {
            source.set_certificate(certificate).map_err(io::Error::other)?;
            Ok(next)
        });
        match renewed {
            Ok(next) => {
                tracing::info!(%next, "the serving certificate was renewed");
                due = next;
            }
            Err(error) => tracing::error!(%error, "cannot renew the serving certificate; the old one is kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    use rcgen::{CertificateParams, KeyPair};

    use super::super::Tls;
    use super::*;

    fn certificate() -> Certificate {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        Certificate::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes(), None).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_made_anew_when_it_is_due_and_kept_when_that_fails() {
        let source = TlsSource::new(Tls::baseline(certificate()).unwrap());
        let (clock, broken) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(true)));
        let (time, fails, stop) = (clock.clone(), broken.clone(), CancellationToken::new());
        let make = move |now: Timestamp| match fails.load(Ordering::SeqCst) {
            true => Err(io::Error::other("no entropy")),
            false => Ok((certificate(), now + jiff::SignedDuration::from_hours(100))),
        };
        let now = move || at(time.load(Ordering::SeqCst));
        tokio::spawn(keep_renewed(source.clone(), at(1000), now, make, stop.clone()));
        let hours = async |count: u32| sleep(LOOK_EVERY * count).await;

        hours(2).await;
        assert_eq!(source.generation(), 1, "nothing is due");
        clock.store(1000, Ordering::SeqCst);
        hours(2).await;
        assert_eq!(source.generation(), 1, "the old one is kept");
        broken.store(false, Ordering::SeqCst);
        hours(2).await;
        assert_eq!(source.generation(), 2, "it is made when it can be, and once");
    }
}
