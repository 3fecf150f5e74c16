//! The reference page of the configuration, written from the table.

use std::fmt::Write as _;

use super::{Default, Row, table};

/// The text of `docs/reference/configuration.md`.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Written by `paddock docs --write`; edit crates/cli/src/settings/table/ instead. -->\n\n\
         A flag wins over its environment variable, that over the default. A variable that is set to nothing counts as\n\
         not set. At start, the settings that hold are logged once, each with where it came from.\n",
    );
    for command in table::COMMANDS {
        let rows: Vec<_> = table::rows_of(command).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(page, "\n## `paddock {command}`\n");
        page.push_str("| setting | type | environment | default | meaning |\n|---|---|---|---|---|\n");
        for row in rows {
            let environment = row.env.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", then ");
            let _ = writeln!(
                page,
                "| {} | {} | {environment} | {} | {} |",
                flag(row),
                row.type_name,
                default(row),
                row.help
            );
        }
    }
    page
}

fn flag(row: &Row) -> String {
    match (row.flag, row.is_switch) {
        ("", _) => "(environment only)".to_owned(),
        (flag, true) => format!("`--{flag}`"),
        (flag, false) => format!("`--{flag} {}`", row.value_name),
    }
}

fn default(row: &Row) -> String {
    match row.default {
        Default::Is("false") if row.is_switch => "off".to_owned(),
        Default::Is(text) => format!("`{text}`"),
        Default::Absent(meaning) => meaning.to_owned(),
    }
}
