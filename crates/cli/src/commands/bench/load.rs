//! Load on a server: connections, or streams of one, that each send the next request when the last one is answered, all on one
//! thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, spawn_blocking};

use super::server::failed;
use super::wire::{Dial, Way};
use crate::exit::Failure;

/// Digits that a request is numbered by.
const DIGITS: usize = 8;

/// A request of which only a number changes.
#[derive(Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    digits: Option<usize>,
}

impl Template {
    /// The first [`NUMBER`] in the request is where the number goes; without it, all are the same.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let digits = memchr::memmem::find(&bytes, NUMBER.as_bytes());
        Self { bytes, digits }
    }

    pub(crate) fn filled(&mut self, number: u64) -> &[u8] {
        if let Some(place) = self.digits.and_then(|at| self.bytes.get_mut(at..at + DIGITS)) {
            place.copy_from_slice(&digits(number));
        }
        &self.bytes
    }
}

/// What stands for the number in a template.
pub(crate) const NUMBER: &str = "########";

fn digits(mut number: u64) -> [u8; DIGITS] {
    let mut out = [b'0'; DIGITS];
    for place in out.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    out
}

/// What a load came to.
pub(crate) struct Load {
    /// Answers per second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// The number of the next request; `None` ends the load. Asked by every connection.
pub(crate) type Next = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// How the requests of a load travel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// A connection for each worker.
    Http1,
    /// One connection, and a stream of it for each request.
    H2,
}

/// Runs requests made from the templates, one template for each worker.
pub(crate) async fn run(
    dial: &Dial,
    protocol: Protocol,
    templates: Vec<Template>,
    next: Next,
) -> Result<Load, Failure> {
    let dial = dial.clone();
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(all(&dial, protocol, templates, &next))
    };
    spawn_blocking(thread).await.map_err(failed)?
}

async fn all(dial: &Dial, protocol: Protocol, templates: Vec<Template>, next: &Next) -> Result<Load, Failure> {
    let shared = match protocol {
        Protocol::Http1 => None,
        Protocol::H2 => Some(dial.connect_h2().await?),
    };
    let mut open = Vec::new();
    for template in templates {
        let way = match &shared {
            None => Way::Http1(Box::new(dial.connect().await?)),
            Some(sender) => Way::H2(sender.clone()),
        };
        open.push((way, template));
    }
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for (mut way, mut template) in open {
        let next = next.clone();
        workers.spawn(async move {
            let mut times = Vec::with_capacity(4096);
            while let Some(number) = next() {
                let sent = Instant::now();
                way.exchange(template.filled(number)).await?;
                times.push(sent.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(ended) = workers.join_next().await {
        times.extend(ended.map_err(failed)??);
    }
    let took = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
    let rate = times.len() as f64 / took;
    times.sort_unstable();
    Ok(Load { rate, p50: percentile(&times, 50), p99: percentile(&times, 99) })
}

/// Of sorted times; zero of none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_goes_where_the_template_says() {
        let mut template = Template::new(format!("c-{NUMBER} {NUMBER}").into_bytes());
        assert_eq!(template.filled(4711), format!("c-00004711 {NUMBER}").as_bytes());
    }

    #[test]
    fn of_a_hundred_times_the_99th_percentile_is_the_last_but_none() {
        let times: Vec<_> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 99), Duration::from_millis(99));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
