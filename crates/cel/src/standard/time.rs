//! Parts of times and spans: `getFullYear`, `getHours`, … in UTC or another zone.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::error::EvalError;
use crate::function::{Function, Implementation, Overload};
use crate::types::Type;
use crate::value::{Arguments, Value};

pub(super) fn functions() -> Vec<Function> {
    let time = |name, ids: [&'static str; 2], call: Implementation| {
        Function::new(
            name,
            vec![
                Overload::member(ids[0], vec![Type::Timestamp], Type::Int, call),
                Overload::member(ids[1], vec![Type::Timestamp, Type::String], Type::Int, call),
            ],
        )
    };
    let span = |mut function: Function, id, call: Implementation| {
        function.overloads.push(Overload::member(id, vec![Type::Duration], Type::Int, call));
        function
    };
    vec![
        time("getFullYear", ["timestamp_to_year", "timestamp_to_year_with_tz"], |_, args| {
            part(args, |time| i64::from(time.year()))
        }),
        time("getMonth", ["timestamp_to_month", "timestamp_to_month_with_tz"], |_, args| {
            part(args, |time| i64::from(time.month()) - 1)
        }),
        time("getDayOfYear", ["timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz"], |_, args| {
            part(args, |time| i64::from(time.day_of_year()) - 1)
        }),
        time("getDayOfMonth", ["timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz"], |_, args| {
            part(args, |time| i64::from(time.day()) - 1)
        }),
        time(
            "getDate",
            ["timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz"],
            |_, args| part(args, |time| i64::from(time.day())),
        ),
        time("getDayOfWeek", ["timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz"], |_, args| {
            part(args, |time| i64::from(time.weekday().to_sunday_zero_offset()))
        }),
        span(
            time("getHours", ["timestamp_to_hours", "timestamp_to_hours_with_tz"], |_, args| {
                part(args, |time| i64::from(time.hour()))
            }),
            "duration_to_hours",
            |_, args| whole(args, 3_600_000_000_000),
        ),
        span(
            time("getMinutes", ["timestamp_to_minutes", "timestamp_to_minutes_with_tz"], |_, args| {
                part(args, |time| i64::from(time.minute()))
            }),
            "duration_to_minutes",
            |_, args| whole(args, 60_000_000_000),
        ),
        span(
            time("getSeconds", ["timestamp_to_seconds", "timestamp_to_seconds_tz"], |_, args| {
                part(args, |time| i64::from(time.second()))
            }),
            "duration_to_seconds",
            |_, args| whole(args, 1_000_000_000),
        ),
        span(
            time("getMilliseconds", ["timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz"], |_, args| {
                part(args, |time| i64::from(time.millisecond()))
            }),
            "duration_to_milliseconds",
            |_, args| whole(args, 1_000_000),
        ),
    ]
}

/// A part of a time in the zone that the second argument names.
fn part<'a>(args: &[Value<'a>], part: fn(DateTime) -> i64) -> Result<Value<'a>, EvalError> {
    let Value::Timestamp(time) = args.value(0)? else { return Err(EvalError::no_such_overload()) };
    let zone = match args.get(1) {
        Some(Value::String(name)) => zone(name)?,
        _ => TimeZone::UTC,
    };
    Ok(Value::Int(part(time.civil_in(&zone))))
}

/// A zone by its name, or `[+-]HH:MM`.
fn zone(name: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::new(format!("unknown time zone {name}"));
    let Some((hours, minutes)) = name.split_once(':') else {
        return match name {
            "" | "UTC" => Ok(TimeZone::UTC),
            _ => TimeZone::get(name).map_err(|_| unknown()),
        };
    };
    let (sign, hours) = match hours.strip_prefix('-') {
        Some(hours) => (-1, hours),
        None => (1, hours.strip_prefix('+').unwrap_or(hours)),
    };
    let number = |text: &str| text.parse::<u8>().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()));
    let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(unknown)?;
    let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
    Offset::from_seconds(seconds).map(TimeZone::fixed).map_err(|_| unknown())
}

/// A span in whole units.
fn whole<'a>(args: &[Value<'a>], unit: i64) -> Result<Value<'a>, EvalError> {
    let Value::Duration(span) = args.value(0)? else { return Err(EvalError::no_such_overload()) };
    Ok(Value::Int(span.nanos / unit))
}
