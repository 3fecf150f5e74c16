//! Figures and how they are printed. Pure.

use std::time::Duration;

use serde::Serialize;

use super::machine::Machine;
use crate::exit::Outcome;
use crate::output;

/// One measured value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    pub(crate) figure: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the value should stay below, where there is such a limit.
    pub(crate) below: Option<f64>,
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

    pub(crate) fn add(&self, figure: impl Into<String>, value: f64, unit: &'static str, below: Option<f64>) -> Outcome {
        self.print(&Figure { figure: figure.into(), value, unit, below })
    }

    pub(crate) fn time(&self, figure: impl Into<String>, took: Duration, below: Option<f64>) -> Outcome {
        self.add(figure, took.as_secs_f64() * 1000.0, "ms", below)
    }

    fn print(&self, figure: &Figure) -> Outcome {
        output::line(&if self.json { json(figure, &self.machine) } else { text(figure) })
    }
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
    let limit = match figure.below {
        Some(limit) if figure.value <= limit => format!("  (wanted: at most {limit})"),
        Some(limit) => format!("  (MISSED: at most {limit} wanted)"),
        None => String::new(),
    };
    let digits = usize::from(figure.value < 100.0);
    format!("{:<58} {:>10.digits$} {}{limit}", figure.figure, figure.value, figure.unit)
}

/// The middle value; zero of none.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_limit_is_said() {
        let figure = |value| Figure { figure: "start".to_owned(), value, unit: "ms", below: Some(150.0) };
        assert!(text(&figure(151.0)).ends_with("(MISSED: at most 150 wanted)"));
        assert!(text(&figure(149.0)).ends_with("(wanted: at most 150)"));
    }

    #[test]
    fn every_json_line_names_the_machine() {
        let machine = Machine { cores: 2, fdatasync_milliseconds: 0.5, version: "x" };
        let figure = Figure { figure: "start".to_owned(), value: 9.5, unit: "ms", below: None };
        assert_eq!(
            json(&figure, &machine),
            r#"{"figure":"start","value":9.5,"unit":"ms","below":null,"cores":2,"fdatasyncMilliseconds":0.5,"version":"x"}"#
        );
    }

    #[test]
    fn the_median_is_the_middle() {
        let ms = Duration::from_millis;
        assert_eq!(median(vec![ms(9), ms(1), ms(2)]), ms(2));
        assert_eq!(median(Vec::new()), ms(0));
    }
}
