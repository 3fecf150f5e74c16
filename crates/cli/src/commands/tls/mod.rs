//! `paddock tls`: what servers really accept, and what becomes of a profile.
//!
//! | module | what it is for |
//! |---|---|
//! | [`profile`] | a profile from a file, in any of the shapes that people have one in |
//! | [`scan`] | asks a server, and compares what it accepts with a profile |
//! | [`explain`] | what a server of Paddock's serves of a profile, and why not the rest |

pub(crate) mod explain;
mod profile;
pub(crate) mod scan;

use paddock_tls_profile::Suite;

/// A suite by the name that profiles use for it.
fn suite_title(code: u16) -> String {
    let name = Suite::from_code(code).map(Suite::openssl).or_else(|| paddock_tls_probe::catalogue::suite_name(code));
    name.map_or_else(|| format!("0x{code:04X}"), str::to_owned)
}

/// A group by its name.
fn group_title(code: u16) -> String {
    paddock_tls_probe::catalogue::group_name(code).map_or_else(|| format!("0x{code:04X}"), str::to_owned)
}

/// Lines of columns; each is as wide as its longest cell. The last column decides the colour of its line.
fn columns<const N: usize>(rows: &[[String; N]], colour: impl Fn(&str) -> &'static str) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&painted(line.trim_end(), colour(row.last().map_or("", String::as_str))));
        text.push('\n');
    }
    text
}

/// The text in a colour, by the number of its escape sequence; as it is without one.
fn painted(text: &str, colour: &str) -> String {
    if colour.is_empty() { text.to_owned() } else { format!("\x1b[{colour}m{text}\x1b[0m") }
}
