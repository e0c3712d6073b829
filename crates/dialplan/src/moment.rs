//! The time of a call, and tests of it with FreeSWITCH's attributes.

use crate::text::shorten;

/// A point in time, with the distance of the local time to UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970 in UTC.
    pub unix_s: i64,
    /// Seconds that the local time is ahead of UTC.
    pub offset_s: i32,
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

/// Conditions on the time; all must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeTest {
    parts: Vec<(Part, Vec<(i64, i64)>)>,
    /// Hours ahead of UTC, in place of the local time.
    zone_h: Option<i64>,
    source: String,
}

/// What of the time is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    YearDay,
    Month,
    MonthDay,
    Week,
    MonthWeek,
    WeekDay,
    Hour,
    Minute,
    MinuteOfDay,
    /// Seconds since midnight.
    TimeOfDay,
    /// Seconds since year 0, in local time.
    DateTime,
}

impl Moment {
    /// The local date and time.
    pub(crate) fn civil(self) -> Civil {
        Civil::from_seconds(self.unix_s.saturating_add(i64::from(self.offset_s)))
    }
}

impl Civil {
    /// Seconds since 1970 become a date by counting days in years that begin in March, so that the leap day is
    /// the last one.
    fn from_seconds(seconds: i64) -> Civil {
        let (days, time) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
        let days = days.saturating_add(DAYS_TO_1970);
        let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Civil {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: time / 3_600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }

    /// Days since 1970.
    fn days(&self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let shifted = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let day_of_year = (153 * shifted + 2) / 5 + self.day - 1;
        era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - DAYS_TO_1970
    }

    fn seconds(&self) -> i64 {
        self.days() * DAY_S + self.second_of_day()
    }

    fn second_of_day(&self) -> i64 {
        self.hour * 3_600 + self.minute * 60 + self.second
    }

    /// 1 is Sunday.
    fn week_day(&self) -> i64 {
        (self.days() + 4).rem_euclid(7) + 1
    }

    /// From 1.
    fn year_day(&self) -> i64 {
        self.days() - Civil { month: 1, day: 1, ..*self }.days() + 1
    }

    fn part(&self, part: Part) -> i64 {
        match part {
            Part::Year => self.year,
            Part::YearDay => self.year_day(),
            Part::Month => self.month,
            Part::MonthDay => self.day,
            Part::Week => (self.year_day() - 1) / 7 + 1,
            Part::MonthWeek => (self.day - 1 + Civil { day: 1, ..*self }.week_day() - 1) / 7 + 1,
            Part::WeekDay => self.week_day(),
            Part::Hour => self.hour,
            Part::Minute => self.minute,
            Part::MinuteOfDay => self.hour * 60 + self.minute + 1,
            Part::TimeOfDay => self.second_of_day(),
            Part::DateTime => self.seconds(),
        }
    }
}

impl Part {
    /// Why no moment is between these two.
    fn refuses(self, from: i64, to: i64) -> Option<String> {
        let (min, max) = match self {
            Part::Year | Part::DateTime => {
                return (from > to).then(|| "it ends before it begins".to_owned());
            }
            Part::WeekDay | Part::TimeOfDay => return None,
            Part::YearDay => (1, 366),
            Part::Month => (1, 12),
            Part::MonthDay => (1, 31),
            Part::Week => (1, 53),
            Part::MonthWeek => (1, 6),
            Part::Hour => (0, 23),
            Part::Minute => (0, 59),
            Part::MinuteOfDay => (1, 1_440),
        };
        // One that ends before it begins goes over the turn.
        let holds = if from <= to { from <= max && to >= min } else { from <= max || to >= min };
        (!holds).then(|| format!("there is only {min} to {max}"))
    }
}

impl TimeTest {
    /// Reads attributes such as `wday` and `mon-fri`.
    ///
    /// # Errors
    /// The attribute that cannot be read, and why.
    pub(crate) fn parse(attributes: &[(String, String)]) -> Result<TimeTest, (String, String)> {
        let mut test = TimeTest { parts: Vec::new(), zone_h: None, source: String::new() };
        for (name, value) in attributes {
            let refuse = |detail: String| (name.clone(), detail);
            if !test.source.is_empty() {
                test.source.push(' ');
            }
            test.source.push_str(&format!("{name}={value}"));
            if name == "tz-offset" {
                let hours = value.trim().parse().ok().filter(|hours| (-12..=14).contains(hours));
                let detail = "write hours from -12 to 14".to_owned();
                test.zone_h = Some(hours.ok_or_else(|| refuse(detail))?);
                continue;
            }
            let Some((_, part)) = PARTS.iter().find(|(known, _)| known == name) else {
                return Err(refuse("there is no such attribute of the time".to_owned()));
            };
            test.parts.push((*part, read_ranges(*part, value).map_err(refuse)?));
        }
        Ok(test)
    }

    /// Whether all hold now.
    pub(crate) fn holds(&self, now: Moment) -> bool {
        let zone = self.zone_h.map(|hours| i32::try_from(hours * 3_600).unwrap_or_default());
        let civil = Moment { offset_s: zone.unwrap_or(now.offset_s), ..now }.civil();
        self.parts.iter().all(|(part, ranges)| {
            let value = civil.part(*part);
            ranges.iter().any(|(from, to)| {
                // A range that ends before it begins goes over the turn: sat-mon, 22:00-06:00.
                if from <= to {
                    (from..=to).contains(&&value)
                } else {
                    value >= *from || value <= *to
                }
            })
        })
    }

    /// As it is written, on one line.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

fn read_ranges(part: Part, value: &str) -> Result<Vec<(i64, i64)>, String> {
    let dash = if part == Part::DateTime { '~' } else { '-' };
    let example = match part {
        Part::WeekDay => "mon-fri or 2-6 (1 is Sunday)",
        Part::TimeOfDay => "08:30-17:00",
        Part::DateTime => "2030-12-24 00:00:00~2030-12-26 23:59:59",
        _ => "9-17 or 1,3,5",
    };
    let read = |text: &str| {
        read_point(part, text.trim()).ok_or_else(|| {
            format!("\"{}\" cannot be read; write for example {example}", shorten(text))
        })
    };
    let range = |range: &str| {
        let (from, to) = match range.split_once(dash) {
            Some((from, to)) => (read(from)?, read(to)?),
            None => read(range).map(|point| (point, point))?,
        };
        match part.refuses(from, to) {
            Some(why) => Err(format!("\"{}\" never holds: {why}", shorten(range.trim()))),
            None => Ok((from, to)),
        }
    };
    value.split(',').map(range).collect()
}

fn read_point(part: Part, text: &str) -> Option<i64> {
    let number =
        |text: &str| text.parse::<i64>().ok().filter(|number| (0..10_000).contains(number));
    match part {
        Part::WeekDay => {
            let position = |day: &str| {
                text.len() >= 3 && day.eq_ignore_ascii_case(text.get(..3).unwrap_or(""))
            };
            let by_name = DAYS.iter().position(|day| position(day));
            by_name
                .map(|day| day as i64 + 1)
                .or_else(|| number(text).filter(|day| (1..=7).contains(day)))
        }
        Part::TimeOfDay => read_time(text),
        Part::DateTime => {
            let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
            let mut fields = date.split('-').map(number);
            let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
            if fields.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
                return None;
            }
            let midnight = Civil { year, month, day, hour: 0, minute: 0, second: 0 };
            Some(midnight.seconds() + read_time(time.trim())?)
        }
        _ => number(text),
    }
}

/// Seconds since midnight of `hh:mm` or `hh:mm:ss`.
fn read_time(text: &str) -> Option<i64> {
    let mut seconds = 0;
    let mut fields = 0;
    for (field, max) in text.split(':').zip([23, 59, 59, -1]) {
        let field = field.parse::<i64>().ok().filter(|field| (0..=max).contains(field))?;
        seconds = seconds * 60 + field;
        fields += 1;
    }
    match fields {
        2 => Some(seconds * 60),
        3 => Some(seconds),
        _ => None,
    }
}

/// The attributes, by FreeSWITCH's names.
const PARTS: [(&str, Part); 12] = [
    ("year", Part::Year),
    ("yday", Part::YearDay),
    ("mon", Part::Month),
    ("mday", Part::MonthDay),
    ("week", Part::Week),
    ("mweek", Part::MonthWeek),
    ("wday", Part::WeekDay),
    ("hour", Part::Hour),
    ("minute", Part::Minute),
    ("minute-of-day", Part::MinuteOfDay),
    ("time-of-day", Part::TimeOfDay),
    ("date-time", Part::DateTime),
];

/// The names of the attributes of a time.
pub(crate) const ATTRIBUTES: [&str; 13] = [
    "year",
    "yday",
    "mon",
    "mday",
    "week",
    "mweek",
    "wday",
    "hour",
    "minute",
    "minute-of-day",
    "time-of-day",
    "date-time",
    "tz-offset",
];

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAY_S: i64 = 86_400;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from the first of March of year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use proptest::prelude::*;

    use super::*;

    /// Thursday, 2026-02-26 17:30:15.
    const NOW: Moment = Moment { unix_s: 1_772_127_015, offset_s: 0 };

    fn holds(name: &str, value: &str, now: Moment) -> bool {
        TimeTest::parse(&[(name.to_owned(), value.to_owned())]).unwrap().holds(now)
    }

    #[test]
    fn a_moment_has_a_local_date_and_time() {
        let civil = NOW.civil();
        assert_eq!((civil.year, civil.month, civil.day), (2026, 2, 26));
        assert_eq!((civil.hour, civil.minute, civil.second), (17, 30, 15));
        let ahead = Moment { offset_s: 9 * 3_600, ..NOW }.civil();
        assert_eq!((ahead.day, ahead.hour), (27, 2));
        let leap = Civil::from_seconds(951_782_400);
        assert_eq!((leap.year, leap.month, leap.day, leap.year_day()), (2000, 2, 29, 60));
    }

    #[test]
    fn each_attribute_is_tested() {
        for (name, yes, no) in [
            ("year", "2026", "2025"),
            ("yday", "57", "58"),
            ("mon", "1-3", "3-12"),
            ("mday", "1,26", "27-31"),
            ("week", "9", "10"),
            ("mweek", "4", "5"),
            ("wday", "mon-fri", "sat,sun"),
            ("wday", "5", "1-4"),
            ("wday", "thursday-mon", "fri-wed"),
            ("hour", "9-17", "18-8"),
            ("minute", "30", "31-29"),
            ("minute-of-day", "1051", "1050"),
            ("hour", "17-30", "18-24"),
            ("time-of-day", "08:30-17:30:15", "17:30:16-08:30"),
            ("date-time", "2026-02-26 17:30:15~2026-02-26 17:30:15", "2026-01-01~2026-02-26"),
        ] {
            assert!(holds(name, yes, NOW), "{name}={yes}");
            assert!(!holds(name, no, NOW), "{name}={no}");
        }
        let attributes =
            [("hour".to_owned(), "2".to_owned()), ("tz-offset".to_owned(), "9".to_owned())];
        assert!(TimeTest::parse(&attributes).unwrap().holds(NOW));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (name, value) in [
            ("wday", "8"),
            ("wday", "xyz"),
            ("hour", "nine"),
            ("hour", ""),
            ("time-of-day", "24:00-25:00"),
            ("time-of-day", "8"),
            ("date-time", "2026-13-01~2026-14-01"),
            ("tz-offset", "99"),
            ("hours", "1"),
            ("hour", "25"),
            ("hour", "9-17,24-30"),
            ("mon", "0"),
            ("mon", "13-0"),
            ("mday", "32"),
            ("minute-of-day", "0"),
            ("year", "2030-2026"),
            ("date-time", "2026-12-26~2026-12-24"),
        ] {
            let (named, _) = TimeTest::parse(&[(name.to_owned(), value.to_owned())]).unwrap_err();
            assert_eq!(named, name, "{value}");
        }
    }

    proptest! {
        #[test]
        fn seconds_become_a_date_and_back(seconds in -60_000_000_000i64..60_000_000_000) {
            prop_assert_eq!(Civil::from_seconds(seconds).seconds(), seconds);
        }
    }
}
