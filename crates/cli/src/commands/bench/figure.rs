//! Figures and how they are printed. Pure.

use std::time::Duration;

use serde::Serialize;

use super::load::Load;
use super::machine::Machine;
use crate::exit::Outcome;
use crate::output;

/// What a value should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// It is told, not judged.
    Nothing,
    AtMost(f64),
    AtLeast(f64),
}

/// One measured value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    pub(crate) figure: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the value should stay below, where there is such a limit.
    pub(crate) below: Option<f64>,
    /// What it should reach.
    pub(crate) above: Option<f64>,
    /// The same of the server that this one is measured against.
    pub(crate) against: Option<f64>,
}

impl Figure {
    fn new(figure: String, value: f64, unit: &'static str, against: Option<f64>, wanted: Wanted) -> Self {
        let (below, above) = match wanted {
            Wanted::Nothing => (None, None),
            Wanted::AtMost(limit) => (Some(limit), None),
            Wanted::AtLeast(limit) => (None, Some(limit)),
        };
        Self { figure, value, unit, below, above, against }
    }
}

/// Prints figures as they come, each with the machine that they were taken on.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    machine: Machine,
}

impl Report {
    pub(crate) fn new(json: bool, machine: Machine) -> Self {
        Self { json, machine }
    }

    pub(crate) fn head(&self) -> String {
        if self.json {
            return String::new();
        }
        let Machine { cores, fdatasync_milliseconds, .. } = &self.machine;
        format!("{cores} cores, fdatasync {fdatasync_milliseconds:.2} ms\n")
    }

    pub(crate) fn add(&self, figure: impl Into<String>, value: f64, unit: &'static str, wanted: Wanted) -> Outcome {
        self.print(&Figure::new(figure.into(), value, unit, None, wanted))
    }

    /// A value of ours and one of theirs.
    pub(crate) fn compare(
        &self,
        figure: impl Into<String>,
        ours: f64,
        theirs: Option<f64>,
        unit: &'static str,
        wanted: Wanted,
    ) -> Outcome {
        self.print(&Figure::new(figure.into(), ours, unit, theirs, wanted))
    }

    pub(crate) fn time(&self, figure: impl Into<String>, took: Duration, wanted: Wanted) -> Outcome {
        self.times(figure, took, None, wanted)
    }

    /// A time of ours and one of theirs.
    pub(crate) fn times(
        &self,
        figure: impl Into<String>,
        ours: Duration,
        theirs: Option<Duration>,
        wanted: Wanted,
    ) -> Outcome {
        self.print(&Figure::new(figure.into(), milliseconds(ours), "ms", theirs.map(milliseconds), wanted))
    }

    /// A load of ours and one of theirs; `wanted` is the least rate and the longest p99 in milliseconds.
    pub(crate) fn load(&self, figure: &str, ours: &Load, theirs: Option<&Load>, wanted: Option<(f64, f64)>) -> Outcome {
        let rate = wanted.map_or(Wanted::Nothing, |(rate, _)| Wanted::AtLeast(rate));
        let p99 = wanted.filter(|(_, p99)| p99.is_finite()).map_or(Wanted::Nothing, |(_, p99)| Wanted::AtMost(p99));
        self.print(&Figure::new(figure.to_owned(), ours.rate, "per second", theirs.map(|t| t.rate), rate))?;
        self.times(format!("{figure}, p50"), ours.p50, theirs.map(|t| t.p50), Wanted::Nothing)?;
        self.times(format!("{figure}, p99"), ours.p99, theirs.map(|t| t.p99), p99)
    }

    fn print(&self, figure: &Figure) -> Outcome {
        output::line(&if self.json { json(figure, &self.machine) } else { text(figure) })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn json(figure: &Figure, machine: &Machine) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        figure: &'a Figure,
        #[serde(flatten)]
        machine: &'a Machine,
    }
    serde_json::to_string(&Line { figure, machine }).unwrap_or_default()
}

fn text(figure: &Figure) -> String {
    let limit = match (figure.below, figure.above) {
        (Some(limit), _) if figure.value <= limit => format!("  (wanted: at most {limit})"),
        (Some(limit), _) => format!("  (MISSED: at most {limit} wanted)"),
        (None, Some(limit)) if figure.value >= limit => format!("  (wanted: at least {limit})"),
        (None, Some(limit)) => format!("  (MISSED: at least {limit} wanted)"),
        (None, None) => String::new(),
    };
    let number = |value: f64| if value < 100.0 { format!("{value:>10.2}") } else { format!("{value:>10.0}") };
    let against = match figure.against {
        Some(theirs) if theirs > 0.0 => {
            format!("  against {} (ratio {:.2})", number(theirs).trim(), figure.value / theirs)
        }
        _ => String::new(),
    };
    format!("{:<66} {} {}{against}{limit}", figure.figure, number(figure.value), figure.unit)
}

/// The middle value; zero of none.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, against: Option<f64>, wanted: Wanted) -> Figure {
        Figure::new("start".to_owned(), value, "ms", against, wanted)
    }

    #[test]
    fn a_missed_limit_is_said() {
        let said = |value, wanted| text(&figure(value, None, wanted));
        assert!(said(151.0, Wanted::AtMost(150.0)).ends_with("(MISSED: at most 150 wanted)"));
        assert!(said(149.0, Wanted::AtMost(150.0)).ends_with("(wanted: at most 150)"));
        assert!(said(149.0, Wanted::AtLeast(150.0)).ends_with("(MISSED: at least 150 wanted)"));
        assert!(said(151.0, Wanted::AtLeast(150.0)).ends_with("(wanted: at least 150)"));
    }

    #[test]
    fn another_server_stands_beside_ours_with_the_ratio() {
        let line = text(&figure(10.0, Some(40.0), Wanted::Nothing));
        assert!(line.ends_with("10.00 ms  against 40.00 (ratio 0.25)"), "{line}");
    }

    #[test]
    fn every_json_line_names_the_machine() {
        let machine = Machine { cores: 2, fdatasync_milliseconds: 0.5, version: "x" };
        assert_eq!(
            json(&figure(9.5, None, Wanted::Nothing), &machine),
            r#"{"figure":"start","value":9.5,"unit":"ms","below":null,"above":null,"against":null,"cores":2,"fdatasyncMilliseconds":0.5,"version":"x"}"#
        );
    }

    #[test]
    fn the_median_is_the_middle() {
        let ms = Duration::from_millis;
        assert_eq!(median(vec![ms(9), ms(1), ms(2)]), ms(2));
        assert_eq!(median(Vec::new()), ms(0));
    }
}
