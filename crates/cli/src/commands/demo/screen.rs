//! Shows the story: a spinner and lines on a terminal, plain lines otherwise, JSON when asked.

use std::io::{IsTerminal, stderr, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::story::{self, Event, Standing};
use crate::exit::{Failure, Outcome};
use crate::logging::colour_wanted;
use crate::output;

/// Where events are shown.
pub(crate) enum Screen {
    Json,
    Text { spinner: Option<ProgressBar>, summary: Vec<Standing> },
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let spinner = (stdout().is_terminal() && stderr().is_terminal() && colour_wanted()).then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.green} {msg} {elapsed:.dim}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self::Text { spinner, summary: Vec::new() }
    }

    pub(crate) fn show(&mut self, event: &Event) -> Outcome {
        match self {
            Self::Json => {
                let text = serde_json::to_string(event).map_err(Failure::undetermined)?;
                output::line(&text)
            }
            Self::Text { spinner, summary } => {
                if let Event::Tenant(row) = event {
                    summary.push(row.clone());
                    return Ok(());
                }
                if !summary.is_empty() {
                    let table = story::table(&std::mem::take(summary));
                    print(spinner.as_ref(), &table)?;
                }
                match story::line(event) {
                    Some(text) => print(spinner.as_ref(), &text),
                    None => Ok(()),
                }
            }
        }
    }

    /// What the demo is waiting for, on a terminal only.
    pub(crate) fn waiting_for(&self, what: &str) {
        if let Self::Text { spinner: Some(spinner), .. } = self {
            spinner.set_message(what.to_owned());
        }
    }

    /// Text for people that is no event.
    pub(crate) fn say(&self, text: &str) -> Outcome {
        match self {
            Self::Json => Ok(()),
            Self::Text { spinner, .. } => print(spinner.as_ref(), text),
        }
    }

    pub(crate) fn close(&self) {
        if let Self::Text { spinner: Some(spinner), .. } = self {
            spinner.finish_and_clear();
        }
    }
}

fn print(spinner: Option<&ProgressBar>, text: &str) -> Outcome {
    match spinner {
        Some(spinner) => spinner.suspend(|| output::line(text)),
        None => output::line(text),
    }
}
