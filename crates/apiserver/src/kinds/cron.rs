//! Cron schedules, checked as the scheduler that kube-apiserver uses parses them.

/// Name, least and greatest value, names of values from the least on.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Why a schedule is none.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if let Some(name) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&name);
        return match name.strip_prefix("every ") {
            _ if known => Ok(()),
            Some(duration) if duration.starts_with(|c: char| c.is_ascii_digit()) => Ok(()),
            _ => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let list = fields.join(" ");
        return Err(format!("expected exactly 5 fields, found {}: [{list}]", fields.len()));
    }
    fields
        .into_iter()
        .zip(FIELDS)
        .flat_map(|(field, rule)| field.split(',').map(move |part| (part, rule)))
        .try_for_each(|(part, rule)| range(part, rule))
}

fn range(part: &str, (least, greatest, values): (u32, u32, &[&str])) -> Result<(), String> {
    let (span, step) = match part.split('/').collect::<Vec<_>>()[..] {
        [span] => (span, None),
        [span, step] => (span, Some(step)),
        _ => return Err(format!("too many slashes: {part}")),
    };
    let number = |text: &str| match values.iter().position(|name| text.eq_ignore_ascii_case(name)) {
        Some(index) => Ok(least + u32::try_from(index).unwrap_or(0)),
        None => integer(text),
    };
    let (start, mut end) = match span.split('-').collect::<Vec<_>>()[..] {
        ["*" | "?"] => (least, greatest),
        [one] => number(one).map(|n| (n, n))?,
        [first, last] => (number(first)?, number(last)?),
        _ => return Err(format!("too many hyphens: {part}")),
    };
    if let Some(step) = step {
        if integer(step)? == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        if !span.contains('-') {
            end = greatest;
        }
    }
    if start < least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {part}"));
    }
    if end > greatest {
        return Err(format!("end of range ({end}) above maximum ({greatest}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    Ok(())
}

fn integer(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(n) if n < 0 => Err(format!("negative number ({n}) not allowed: {text}")),
        Ok(n) => u32::try_from(n).map_err(|_| format!("failed to parse int from {text}: value out of range")),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules_that_are_right() {
        for schedule in ["* * * * *", "0 0 1 jan *", "*/5 1-3,7 * * mon-fri", "@hourly", "@every 1h"] {
            assert_eq!(check(schedule), Ok(()), "{schedule}");
        }
    }

    #[test]
    fn errors_name_the_part() {
        let cases = [
            ("nope", "expected exactly 5 fields, found 1: [nope]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
        ];
        for (schedule, text) in cases {
            assert_eq!(check(schedule), Err(text.to_owned()));
        }
    }
}
