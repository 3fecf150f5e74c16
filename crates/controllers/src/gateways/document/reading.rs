//! A document by the one before it: of a thousand entries of which one was edited, one is read. Pure.
//!
//! This is only for documents in which the parts of one entry are told by their first column, and in which nothing is wrong;
//! every other is read as a whole. What comes out is the same either way.

use super::{MAX_BYTES, Placed, RawEntry, read};

/// Longer documents are read as a whole, whose limits count values: a shorter text cannot have so many.
const MAX_SPLIT: usize = 190_000;
const _: () = assert!(MAX_SPLIT < super::MAX_NODES && MAX_SPLIT < MAX_BYTES);

/// More entries than this that differ are not read one by one.
const MAX_EDITED: usize = 64;

/// A document that was read and in which nothing was wrong.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Reading {
    text: String,
    entries: Vec<RawEntry>,
}

/// An entry's part of the text, and the line on which it begins.
type Part<'a> = (&'a str, usize);

impl Reading {
    /// Remembers a document; `None` when the next one could not be read by it.
    pub(in super::super) fn of(text: &str, entries: Vec<RawEntry>) -> Option<Self> {
        let is_splittable = split(text)?.len() == entries.len() && entries.iter().all(is_placed_by_itself);
        is_splittable.then(|| Self { text: text.to_owned(), entries })
    }

    /// The entries of the next document; `None` when it has to be read as a whole.
    pub(in super::super) fn next(&self, text: &str) -> Option<Vec<RawEntry>> {
        let (before, now) = (split(&self.text)?, split(text)?);
        let same = |(a, b): &(&Part<'_>, &Part<'_>)| a.0 == b.0;
        let head = before.iter().zip(&now).take_while(same).count();
        let (before_rest, now_rest) = (before.get(head..)?, now.get(head..)?);
        let tail = before_rest.iter().rev().zip(now_rest.iter().rev()).take_while(same).count();
        let edited = now_rest.get(..now_rest.len() - tail)?;
        if edited.len() > MAX_EDITED {
            return None;
        }
        let mut entries = Vec::with_capacity(now.len());
        let kept = |at: usize, line: usize| {
            let ((_, was), entry) = (before.get(at)?, self.entries.get(at)?);
            Some(moved(entry.clone(), *was, line))
        };
        for (at, (_, line)) in now.iter().enumerate().take(head) {
            entries.push(kept(at, *line)?);
        }
        for (part, line) in edited {
            let Ok([(entry, problems)]) = <[_; 1]>::try_from(read(part).ok()?) else { return None };
            if !problems.is_empty() || !is_placed_by_itself(&entry) {
                return None;
            }
            entries.push(moved(entry, 1, *line));
        }
        for (at, (_, line)) in now.iter().enumerate().skip(now.len() - tail) {
            entries.push(kept((at + before.len()).checked_sub(now.len())?, *line)?);
        }
        Some(entries)
    }
}

/// Whether the places of all its values are its own: where a blank one stands is told by what follows.
fn is_placed_by_itself(entry: &RawEntry) -> bool {
    let RawEntry { name, image, version, names, config, .. } = entry;
    [name, image, version, config].into_iter().flatten().chain(names).all(|text| !text.value.trim().is_empty())
}

/// The entry where it stands on another line.
fn moved(mut entry: RawEntry, from: usize, to: usize) -> RawEntry {
    if from == to {
        return entry;
    }
    let texts = [&mut entry.name, &mut entry.image, &mut entry.version, &mut entry.config].into_iter().flatten();
    let places = texts.chain(&mut entry.names).flat_map(|Placed { position, defined, .. }| [position, defined]);
    for place in places.chain([&mut entry.position]).flatten() {
        place.line = (place.line + to).saturating_sub(from);
    }
    entry
}

/// The parts of a document whose entries each begin with a dash in the first column and go on indented. `None` when it has
/// no entry, anything else, or what reaches from one entry to another.
fn split(text: &str) -> Option<Vec<Part<'_>>> {
    // Anchors and aliases, tabs, and what some take for the end of a line.
    let reaches_far = |c: char| matches!(c, '&' | '*' | '\t' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    if text.len() > MAX_SPLIT || text.contains(reaches_far) {
        return None;
    }
    let mut starts = Vec::new();
    let mut at = 0;
    for (nth, line) in text.split_inclusive('\n').enumerate() {
        let begins = line.starts_with("- ") || line.trim_end_matches('\n') == "-";
        let is_between = matches!(line.chars().next(), Some('\n' | '#' | ' '));
        let says_nothing = line.trim_start_matches(' ').starts_with(['#', '\n']) || line.trim().is_empty();
        match (begins, starts.is_empty()) {
            (true, _) => starts.push((at, nth + 1)),
            // Before the first one there may be comments.
            (false, true) if says_nothing => {}
            (false, false) if is_between => {}
            _ => return None,
        }
        at += line.len();
    }
    if starts.is_empty() {
        return None;
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    starts.iter().zip(ends).map(|((at, line), end)| Some((text.get(*at..end)?, *line))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The document as a whole, when nothing is wrong with it.
    fn whole(text: &str) -> Option<Vec<RawEntry>> {
        let read = read(text).ok()?;
        read.iter().all(|(_, problems)| problems.is_empty()).then(|| read.into_iter().map(|(entry, _)| entry).collect())
    }

    fn reading(text: &str) -> Reading {
        Reading::of(text, whole(text).expect("it is right")).expect("it can be remembered")
    }

    const FIRST: &str =
        "# tenants\n- name: a\n- name: b\n  gateway:\n    serverDnsNames: [b.example]\n# last\n- name: c\n";

    #[test]
    fn edited_entry_is_read_and_the_others_are_where_they_stand_now() {
        for edited in [
            FIRST.replace("b.example", "b2.example"),
            FIRST.replace("# last", "\n\n# last"),
            FIRST.replace("# tenants\n", ""),
            FIRST.replace("- name: b\n", "- name: b\n- name: d\n  gateway: {}\n- name: e\n"),
            FIRST.replace("- name: a\n", ""),
            format!("{FIRST}- name: d\n  gateway:\n    config: |\n      - x\n\n      y\n"),
            FIRST.to_owned(),
        ] {
            assert_eq!(reading(FIRST).next(&edited), Some(whole(&edited).unwrap()), "{edited}");
        }
    }

    #[test]
    fn what_is_wrong_or_reaches_further_is_read_as_a_whole() {
        for other in [
            FIRST.replace("b.example", "*b"),
            FIRST.replace("- name: a", "- name: &a a"),
            FIRST.replace("- name: a", "- name: \"a"),
            FIRST.replace("[b.example]", "[b.example"),
            FIRST.replace("- name: a", "- nam: a"),
            FIRST.replace("- name: a", "- [a, b]"),
            FIRST.replace("- name: a", "-\tname: a"),
            FIRST.replace("# last", "..."),
            FIRST.replace("- name", "  - name"),
            "[]".to_owned(),
            String::new(),
        ] {
            assert_eq!(reading(FIRST).next(&other), None, "{other}");
        }
    }

    fn entry() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "- name: a",
            "- name: b\n  gateway:\n    serverDnsNames: [x.example]",
            "- name: c\n  gateway:\n    serverDnsNames:\n    - y.example\n    - z.example",
            "- name: d\n  gateway:\n    config: |\n      [a]\n\n      k = 1 # 2\n      - name: y",
            "- name: e\n  gateway:\n    config: |+\n      x\n\n# after",
            "- name: f\n  gateway:\n    config: >-\n      x\n       y\n  # inside",
            "- name: g\n  gateway:\n    config: \"u\n      v\"\n    image: x:1",
            "- {name: h, gateway: {\n  image: 'y:1'}}",
            "-\n  name: i",
            "- name: >-\n    j",
            "- name: k\n  gateway: null",
            "# note\n- !!str name: l",
        ])
    }

    fn line() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "- name: m",
            "-",
            "- ",
            "- - x",
            "  name: n",
            "  gateway:",
            "  gateway: {}",
            "    image: x:1",
            "    config: |",
            "      more",
            "    config: 'it",
            "  is'",
            "# note",
            "  # note",
            "",
            "  ",
            "? x",
            "---",
            "...",
            "- name: \"o",
            "p\"",
            "      ä",
            "- name: [",
            "]",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever the two documents are: what is read by the first one is what is read as a whole.
        #[test]
        fn reading_by_the_document_before_comes_to_the_same(
            entries in proptest::collection::vec(entry(), 1..6),
            edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..3_u8, line()), 1..4),
            ends in any::<bool>(),
        ) {
            let mut lines: Vec<&str> = entries.iter().flat_map(|entry| entry.split('\n')).collect();
            let text = |lines: &[&str]| lines.join("\n") + if ends { "\n" } else { "" };
            let before = text(&lines);
            for (at, how, line) in edits {
                let at = at.index(lines.len() + 1);
                match how {
                    0 => lines.insert(at, line),
                    1 if at < lines.len() => drop(lines.remove(at)),
                    _ if at < lines.len() => lines[at] = line,
                    _ => {}
                }
            }
            let now = text(&lines);
            let reading = whole(&before).and_then(|entries| Reading::of(&before, entries));
            if let Some(entries) = reading.and_then(|reading| reading.next(&now)) {
                prop_assert_eq!(Some(entries), whole(&now), "{:?} after {:?}", now, before);
            }
        }
    }
}
