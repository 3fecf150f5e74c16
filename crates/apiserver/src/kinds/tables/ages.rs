//! Ages and durations as Tables print them (`k8s.io/apimachinery/pkg/util/duration`).

use jiff::Timestamp;

/// Time since an RFC 3339 time, as Tables print it; `<unknown>` when there is none.
pub(in super::super) fn age(since: &str, now: Timestamp) -> String {
    match since.parse::<Timestamp>() {
        Ok(since) => duration(now.duration_since(since).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Seconds from one RFC 3339 time to another.
pub(in super::super) fn seconds_between(start: &str, end: &str) -> Option<i64> {
    let (start, end) = (start.parse::<Timestamp>().ok()?, end.parse::<Timestamp>().ok()?);
    Some(end.duration_since(start).as_secs())
}

/// `duration.HumanDuration`: two units at most, the coarser the longer it is.
pub(crate) fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |coarse: i64, unit: &str, fine: i64, fine_unit: &str| match fine {
        0 => format!("{coarse}{unit}"),
        _ => format!("{coarse}{unit}{fine}{fine_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser() {
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_160, "3h6m"),
            (8 * 3600, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (8 * 86_400, "8d"),
            (729 * 86_400, "729d"),
            (730 * 86_400, "2y"),
            (800 * 86_400, "2y70d"),
            (3000 * 86_400, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn an_age_of_no_time_is_unknown() {
        assert_eq!(age("", Timestamp::UNIX_EPOCH), "<unknown>");
    }
}
