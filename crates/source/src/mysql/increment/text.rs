//! How a text spells a moment: the pattern of `dateFormat`, in Java's letters (flow-service.md 16.2).
//!
//! Patterns that name everything from the year down, each part in a fixed number of digits, sort like the moments that
//! they spell: texts are then compared as they stand, and an index on them serves. All others are read by the server's
//! STR_TO_DATE, row by row.

use chrono::{DateTime, Datelike, Timelike};

use super::wall::{DAY_US, SECOND_US};

/// The form of a text when the flow does not say.
pub(super) const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";
/// The most characters of a pattern.
const PATTERN_CHARS_MAX: usize = 64;
/// The most digits of a fraction that Java knows.
const FRACTION_DIGITS_MAX: usize = 9;
/// The most digits of a fraction that a server reads.
const PARSED_FRACTION_DIGITS_MAX: usize = 6;
/// What a pattern may hold.
pub const PATTERN_HINT: &str = "a dateFormat may hold yyyy or yy, MM or M, MMM or MMMM (English names), dd or d, HH or H, hh or h with a, \
    mm or m, ss or s, S to SSSSSS, and anything else in single quotes; year, month and day are needed";

/// A part of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    HalfDayHour,
    HalfDay,
    Minute,
    Second,
    Fraction,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// A part of a moment, and how many letters stand for it.
    Field(Field, usize),
}

/// The spelling of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    is_sorted: bool,
}

/// What is wrong with a pattern: one sentence, lower case, no full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Reads a pattern. `YYYY` and `DD` are taken for `yyyy` and `dd`, as the published samples mean them; `hh` without `a`
    /// for `HH`; and a `T` needs no quotes.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.chars().count() > PATTERN_CHARS_MAX {
            return Err(PatternError(format!("the dateFormat is longer than {PATTERN_CHARS_MAX} characters")));
        }
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if c == '\'' {
                quoted(&mut rest, &mut parts)?;
            } else if c.is_ascii_alphabetic() && c != 'T' {
                let mut letters = 1;
                while rest.next_if_eq(&c).is_some() {
                    letters += 1;
                }
                parts.push(Part::Field(field(c, letters)?, letters));
            } else {
                parts.push(Part::Literal(c));
            }
        }
        let mut pattern = Self { parts, is_sorted: false };
        pattern.settle_hours();
        pattern.check()?;
        pattern.is_sorted = pattern.sorts();
        pattern.check_parsed()?;
        Ok(pattern)
    }

    /// Whether texts sort like the moments that they spell.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.is_sorted
    }

    fn fields(&self) -> impl Iterator<Item = (Field, usize)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field, letters) => Some((*field, *letters)),
            Part::Literal(_) => None,
        })
    }

    fn letters_of(&self, wanted: Field) -> Option<usize> {
        self.fields().find(|(field, _)| *field == wanted).map(|(_, letters)| letters)
    }

    /// Without a half of the day, `hh` can only mean the hours of the whole one.
    fn settle_hours(&mut self) {
        if self.letters_of(Field::HalfDay).is_some() {
            return;
        }
        for part in &mut self.parts {
            if let Part::Field(field @ Field::HalfDayHour, _) = part {
                *field = Field::Hour;
            }
        }
    }

    fn check(&self) -> Result<(), PatternError> {
        let mut seen: Vec<Field> = self.fields().map(|(field, _)| field).collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(PatternError("the dateFormat names a part of the moment twice".to_owned()));
        }
        let has = |field| seen.contains(&field);
        if !(has(Field::Year) && has(Field::Month) && has(Field::Day)) {
            return Err(PatternError("the dateFormat does not name year, month and day".to_owned()));
        }
        let has_hours = has(Field::Hour) || has(Field::HalfDayHour);
        if has(Field::HalfDay) && (has(Field::Hour) || !has(Field::HalfDayHour)) {
            return Err(PatternError("in the dateFormat the letter a needs hh or h".to_owned()));
        }
        let is_gapped = has(Field::Fraction) && !has(Field::Second)
            || has(Field::Second) && !has(Field::Minute)
            || has(Field::Minute) && !has_hours;
        if is_gapped {
            return Err(PatternError("the dateFormat leaves out a part between two that it names".to_owned()));
        }
        Ok(())
    }

    fn sorts(&self) -> bool {
        const IN_ORDER: [Field; 7] =
            [Field::Year, Field::Month, Field::Day, Field::Hour, Field::Minute, Field::Second, Field::Fraction];
        self.fields().zip(IN_ORDER).all(|((field, letters), expected)| {
            let fixed = match field {
                Field::Year => letters == 4,
                Field::Fraction => true,
                _ => letters == 2,
            };
            field == expected && fixed
        })
    }

    /// What the server's parser can not do.
    fn check_parsed(&self) -> Result<(), PatternError> {
        if self.is_sorted {
            return Ok(());
        }
        if self.parts.contains(&Part::Literal('%')) {
            return Err(PatternError(
                "a dateFormat with % must name year to second in this order, in fixed digits".to_owned(),
            ));
        }
        match self.letters_of(Field::Fraction) {
            Some(digits) if digits > PARSED_FRACTION_DIGITS_MAX => Err(PatternError(format!(
                "the dateFormat has more than {PARSED_FRACTION_DIGITS_MAX} digits of a second"
            ))),
            _ => Ok(()),
        }
    }

    /// The smallest step between two moments that it spells, in microseconds.
    #[must_use]
    pub fn unit_us(&self) -> i64 {
        let has = |field| self.letters_of(field).is_some();
        match self.letters_of(Field::Fraction) {
            Some(digits) => {
                let digits = u32::try_from(digits.min(PARSED_FRACTION_DIGITS_MAX)).unwrap_or_default();
                SECOND_US / 10_i64.pow(digits)
            }
            None if has(Field::Second) => SECOND_US,
            None if has(Field::Minute) => 60 * SECOND_US,
            None if has(Field::Hour) || has(Field::HalfDayHour) => 3_600 * SECOND_US,
            None => DAY_US,
        }
    }

    /// Spells a wall clock; empty if it lies outside the years 1 to 9999. Only sorted patterns spell.
    #[must_use]
    pub fn spell(&self, wall_us: i64) -> String {
        let Some(clock) = DateTime::from_timestamp_micros(wall_us).filter(|clock| (1..=9999).contains(&clock.year()))
        else {
            return String::new();
        };
        let part = |part: &Part| match part {
            Part::Literal(c) => c.to_string(),
            Part::Field(Field::Year, _) => format!("{:04}", clock.year()),
            Part::Field(Field::Month, _) => format!("{:02}", clock.month()),
            Part::Field(Field::Day, _) => format!("{:02}", clock.day()),
            Part::Field(Field::Hour | Field::HalfDayHour | Field::HalfDay, _) => format!("{:02}", clock.hour()),
            Part::Field(Field::Minute, _) => format!("{:02}", clock.minute()),
            Part::Field(Field::Second, _) => format!("{:02}", clock.second()),
            Part::Field(Field::Fraction, digits) => {
                format!("{:06}000", clock.timestamp_subsec_micros()).chars().take(*digits).collect()
            }
        };
        self.parts.iter().map(part).collect()
    }

    /// How many characters each text of a sorted pattern has.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.parts.iter().map(|part| if let Part::Field(_, letters) = part { *letters } else { 1 }).sum()
    }

    /// The shape of a text of a sorted pattern, as a regular expression of either server.
    #[must_use]
    pub fn shape(&self) -> String {
        let mut shape = String::from("^");
        for part in &self.parts {
            match part {
                Part::Field(_, letters) => shape.push_str(&format!("[0-9]{{{letters}}}")),
                Part::Literal(c) if c.is_ascii_punctuation() => shape.extend(['\\', *c]),
                Part::Literal(c) => shape.push(*c),
            }
        }
        shape.push('$');
        shape
    }

    /// The format of STR_TO_DATE.
    #[must_use]
    pub fn server_format(&self) -> String {
        let mut format = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(c) => format.push(*c),
                Part::Field(field, letters) => format.push_str(match (field, letters) {
                    (Field::Year, 2) => "%y",
                    (Field::Year, _) => "%Y",
                    (Field::Month, 1 | 2) => "%m",
                    (Field::Month, 3) => "%b",
                    (Field::Month, _) => "%M",
                    (Field::Day, _) => "%d",
                    (Field::Hour, _) => "%H",
                    (Field::HalfDayHour, _) => "%h",
                    (Field::HalfDay, _) => "%p",
                    (Field::Minute, _) => "%i",
                    (Field::Second, _) => "%s",
                    (Field::Fraction, _) => "%f",
                }),
            }
        }
        format
    }
}

/// Takes what stands in single quotes; two of them in a row are one.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, parts: &mut Vec<Part>) -> Result<(), PatternError> {
    if rest.next_if_eq(&'\'').is_some() {
        parts.push(Part::Literal('\''));
        return Ok(());
    }
    loop {
        match rest.next() {
            Some('\'') if rest.next_if_eq(&'\'').is_none() => return Ok(()),
            Some(c) => parts.push(Part::Literal(c)),
            None => return Err(PatternError("the dateFormat has a single quote that is not closed".to_owned())),
        }
    }
}

/// The part of a moment that so many letters stand for.
fn field(letter: char, letters: usize) -> Result<Field, PatternError> {
    let (field, fits) = match letter {
        'y' | 'u' | 'Y' => (Field::Year, matches!(letters, 1 | 2 | 4)),
        'M' | 'L' => (Field::Month, letters <= 4),
        'd' | 'D' => (Field::Day, letters <= 2),
        'H' => (Field::Hour, letters <= 2),
        'h' => (Field::HalfDayHour, letters <= 2),
        'a' => (Field::HalfDay, letters <= 2),
        'm' => (Field::Minute, letters <= 2),
        's' => (Field::Second, letters <= 2),
        'S' => (Field::Fraction, letters <= FRACTION_DIGITS_MAX),
        _ => return Err(PatternError(format!("the dateFormat holds the letter {letter}, which is not supported"))),
    };
    match fits {
        true => Ok(field),
        false => Err(PatternError(format!(
            "the dateFormat holds the letter {letter} {letters} times, which is not supported"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2024-01-02 03:04:05.678901
    const WALL_US: i64 = 1_704_164_645_678_901;

    fn read(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn patterns_that_name_all_from_the_year_down_are_spelt() {
        for (pattern, spelt, unit_us) in [
            (DEFAULT_PATTERN, "2024-01-02 03:04:05", SECOND_US),
            ("YYYY-MM-DD", "2024-01-02", DAY_US),
            ("yyyyMMddHHmm", "202401020304", 60 * SECOND_US),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", "2024-01-02T03:04:05.678Z", 1_000),
            ("uuuu-MM-ddTHH:mm:ss.SSSSSSSSS", "2024-01-02T03:04:05.678901000", 1),
            ("yyyy/MM/dd hh''", "2024/01/02 03'", 3_600 * SECOND_US),
            ("'at 'yyyy''MMdd", "at 2024'0102", DAY_US),
        ] {
            let read = read(pattern);
            assert!(read.is_sorted(), "{pattern}");
            assert_eq!((read.spell(WALL_US).as_str(), read.unit_us()), (spelt, unit_us), "{pattern}");
            assert_eq!(read.chars(), spelt.chars().count(), "{pattern}");
        }
    }

    #[test]
    fn all_others_are_read_by_the_server() {
        for (pattern, format) in [
            ("dd.MM.yyyy HH:mm", "%d.%m.%Y %H:%i"),
            ("M/d/yy h:mm a", "%m/%d/%y %h:%i %p"),
            ("yyyy-M-d", "%Y-%m-%d"),
            ("d MMM yyyy HH:mm:ss.SSS", "%d %b %Y %H:%i:%s.%f"),
            ("MMMM d, yyyy", "%M %d, %Y"),
        ] {
            let read = read(pattern);
            assert!(!read.is_sorted(), "{pattern}");
            assert_eq!(read.server_format(), format, "{pattern}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        for pattern in [
            "",
            "HH:mm:ss",
            "yyyy-MM",
            "yyyy-MM-dd mm",
            "yyyy-MM-dd HH:ss",
            "yyyy-MM-dd HH:mm:ssXXX",
            "yyyy-MM-dd z",
            "yyyy-DDD",
            "yyyyy-MM-dd",
            "yyyy-MM-dd 'T",
            "yyyy-MM-dd yyyy",
            "dd%MM%yyyy",
            "dd.MM.yyyy ss.SSSSSSS",
            "yyyy-MM-dd HH a",
            "yyyy-MM-dd a",
            &"y".repeat(65),
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_shape_takes_literals_as_they_stand() {
        assert_eq!(read("yyyy.MM-dd'T'HH").shape(), r"^[0-9]{4}\.[0-9]{2}\-[0-9]{2}T[0-9]{2}$");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[yYuMLdDHhamsSTz'%:. -]{0,24}|\\PC{0,12}", wall_us in any::<i64>()) {
            if let Ok(pattern) = Pattern::parse(&text) {
                let _ = (pattern.spell(wall_us), pattern.shape(), pattern.server_format());
                prop_assert!(pattern.unit_us() >= 1);
            }
        }

        #[test]
        fn sorted_patterns_sort_like_moments(
            pattern in proptest::sample::select(vec![DEFAULT_PATTERN, "yyyyMMdd", "yyyy-MM-dd'T'HH:mm:ss.SSS", "yyyy/MM/dd HH"]),
            one in 0_i64..253_402_300_799_000_000, other in 0_i64..253_402_300_799_000_000,
        ) {
            let pattern = read(pattern);
            let unit = pattern.unit_us();
            prop_assert_eq!(
                pattern.spell(one).cmp(&pattern.spell(other)),
                one.div_euclid(unit).cmp(&other.div_euclid(unit))
            );
        }
    }
}
