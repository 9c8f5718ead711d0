//! Values of directives: what a word of the configuration means, and the error when it means
//! nothing.

use std::fmt;
use std::ops::RangeInclusive;

use crate::nginx::parser::{self, Cf};
use crate::variables::BadVariable;

/// Milliseconds.
pub type Msec = u64;

/// Why a directive is refused. nginx's own log line adds the file and the line.
#[derive(Debug)]
pub enum ConfError {
    /// The directive may stand once in a block.
    Duplicate,
    /// A word means nothing here; `must_be` says what would.
    Invalid {
        /// The word as it was written.
        value: String,
        /// Completes "it must be …".
        must_be: String,
    },
    /// Anything else, said in full.
    Other(String),
    /// nginx has already said what is wrong.
    Logged,
}

impl ConfError {
    /// `value` is not what it must be.
    pub fn invalid(value: &[u8], must_be: impl Into<String>) -> Self {
        ConfError::Invalid { value: text(value), must_be: must_be.into() }
    }

    /// A reason that names the directive by itself.
    pub fn other(reason: impl Into<String>) -> Self {
        ConfError::Other(reason.into())
    }

    /// The log line for the directive `name`; `None` if there is already one.
    pub fn line(&self, name: &str) -> Option<String> {
        match self {
            ConfError::Duplicate => Some(format!("\"{name}\" directive is duplicate")),
            ConfError::Invalid { value, must_be } => Some(format!(
                "invalid value \"{value}\" in \"{name}\" directive, it must be {must_be}"
            )),
            ConfError::Other(reason) => Some(reason.clone()),
            ConfError::Logged => None,
        }
    }

    /// Says, with the place in the file, why the directive `name` is refused.
    pub fn refuse<T>(&self, cf: &Cf, name: &str) -> Result<T, ()> {
        if let Some(line) = self.line(name) {
            cf.emergency(&line);
        }
        Err(())
    }
}

impl From<parser::Error> for ConfError {
    fn from(error: parser::Error) -> Self {
        match error {
            parser::Error::Because(reason) => ConfError::Other(reason),
            parser::Error::Logged => ConfError::Logged,
        }
    }
}

impl From<BadVariable> for ConfError {
    fn from(error: BadVariable) -> Self {
        ConfError::Other(error.to_string())
    }
}

/// The words after a directive's name.
pub struct Args<'a> {
    /// The directive.
    pub name: &'static str,
    values: Vec<&'a [u8]>,
}

impl<'a> Args<'a> {
    /// The words of a directive as they stand in the configuration, or in its declared default.
    pub fn new(name: &'static str, values: Vec<&'a [u8]>) -> Self {
        Args { name, values }
    }

    /// The first word; the arity of a directive that reads it says that there is one.
    pub fn first(&self) -> &'a [u8] {
        self.values.first().copied().unwrap_or_default()
    }

    /// All words.
    pub fn values(&self) -> &[&'a [u8]] {
        &self.values
    }

    /// The words after the first.
    pub fn rest(&self) -> &[&'a [u8]] {
        self.values.get(1..).unwrap_or_default()
    }
}

/// The two sides of the first `=` in a word; no second one without it.
pub fn parameter(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut sides = word.splitn(2, |byte| *byte == b'=');
    (sides.next().unwrap_or_default(), sides.next())
}

/// `on` or `off`.
pub fn flag(value: &[u8]) -> Result<bool, ConfError> {
    choice(value, &[("on", true), ("off", false)])
}

/// One of the named values, whatever the case of its letters.
pub fn choice<T: Copy>(value: &[u8], names: &[(&str, T)]) -> Result<T, ConfError> {
    let found = names.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        ConfError::invalid(value, one_of(&names))
    })
}

/// A time in nginx's syntax: `300ms`, `3s`, `1m 30s`; a bare number is seconds.
pub fn time(value: &[u8]) -> Result<Msec, ConfError> {
    parser::parse_time(value)
        .ok_or_else(|| ConfError::invalid(value, "a time such as \"300ms\" or \"3s\""))
}

/// A time no longer than `max`.
pub fn time_up_to(value: &[u8], max: Msec) -> Result<Msec, ConfError> {
    match parser::parse_time(value) {
        Some(time) if time <= max => Ok(time),
        _ => Err(ConfError::invalid(value, format!("a time of at most {}", Ms(max)))),
    }
}

/// A time, or `off`, which is also what a time of zero means.
pub fn time_or_off(value: &[u8]) -> Result<Option<Msec>, ConfError> {
    if value == b"off" {
        return Ok(None);
    }
    match parser::parse_time(value) {
        Some(time) => Ok(Some(time).filter(|time| *time > 0)),
        None => Err(ConfError::invalid(value, "\"off\" or a time such as \"300ms\" or \"3s\"")),
    }
}

/// A size in nginx's syntax: `4096`, `64k`, `16m`.
pub fn size(value: &[u8], range: &RangeInclusive<usize>) -> Result<usize, ConfError> {
    match parser::parse_size(value) {
        Some(size) if range.contains(&size) => Ok(size),
        _ => Err(ConfError::invalid(
            value,
            format!("a size from {} to {}", Bytes(*range.start()), Bytes(*range.end())),
        )),
    }
}

/// A number in digits.
pub fn number(value: &[u8], range: &RangeInclusive<u32>) -> Result<u32, ConfError> {
    let number = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
    match number.and_then(|text| text.parse().ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => Err(ConfError::invalid(
            value,
            format!("a number from {} to {}", range.start(), range.end()),
        )),
    }
}

/// Sets what may be said once in a block.
pub fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ConfError> {
    match slot {
        Some(_) => Err(ConfError::Duplicate),
        None => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// A word of the configuration, for a message.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// `"a", "b" or "c"`.
fn one_of(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [name] => name.clone(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

/// A size as one would write it in a configuration.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % (1 << 20) == 0 => write!(f, "{}m", n >> 20),
            n if n > 0 && n % (1 << 10) == 0 => write!(f, "{}k", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

/// A time as one would write it in a configuration.
struct Ms(Msec);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % 60_000 == 0 => write!(f, "{}m", n / 60_000),
            n if n > 0 && n % 1000 == 0 => write!(f, "{}s", n / 1000),
            n => write!(f, "{n}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<T: fmt::Debug>(result: Result<T, ConfError>) -> String {
        result.unwrap_err().line("name").unwrap_or_default()
    }

    #[test]
    fn a_choice_has_no_case_and_its_error_names_all() {
        let names = [("on", 1), ("off", 2), ("auto", 3)];
        assert_eq!(choice(b"AuTo", &names).unwrap(), 3);
        assert_eq!(
            line(choice(b"of", &names)),
            "invalid value \"of\" in \"name\" directive, it must be \"on\", \"off\" or \"auto\""
        );
    }

    #[test]
    fn a_flag_is_on_or_off() {
        assert!(flag(b"on").unwrap());
        assert!(!flag(b"OFF").unwrap());
        assert!(flag(b"").is_err());
        assert!(flag(b"1").is_err());
    }

    #[test]
    fn a_number_is_in_digits_and_within_its_range() {
        assert_eq!(number(b"7", &(1..=7)).unwrap(), 7);
        assert_eq!(number(b"007", &(1..=7)).unwrap(), 7);
        for word in ["", "0", "8", "+7", "-1", " 7", "7 ", "0x7", "99999999999", "\u{663}"] {
            let expected = "it must be a number from 1 to 7";
            assert!(line(number(word.as_bytes(), &(1..=7))).ends_with(expected), "{word:?}");
        }
        assert!(number(b"\xff", &(1..=7)).is_err());
    }

    #[test]
    fn a_parameter_ends_at_its_first_sign() {
        assert_eq!(parameter(b"args=a=1&b=2"), (&b"args"[..], Some(&b"a=1&b=2"[..])));
        assert_eq!(parameter(b"bind"), (&b"bind"[..], None));
        assert_eq!(parameter(b"name="), (&b"name"[..], Some(&b""[..])));
        assert_eq!(parameter(b""), (&b""[..], None));
    }

    #[test]
    fn what_may_be_said_once_is_refused_the_second_time() {
        let mut slot = None;
        once(&mut slot, 1).unwrap();
        assert_eq!(line(once(&mut slot, 2)), "\"name\" directive is duplicate");
        assert_eq!(slot, Some(1));
    }

    #[test]
    fn what_nginx_has_said_is_not_said_again() {
        assert_eq!(ConfError::from(parser::Error::Logged).line("name"), None);
        let because = ConfError::from(parser::Error::Because("no".into()));
        assert_eq!(because.line("name").as_deref(), Some("no"));
    }

    #[test]
    fn words_that_are_missing_are_empty() {
        let args = Args::new("name", vec![]);
        assert_eq!((args.first(), args.rest(), args.values()), (&b""[..], &[][..], &[][..]));
        let args = Args::new("name", vec![b"a", b"b", b"c"]);
        assert_eq!((args.first(), args.rest()), (&b"a"[..], &[&b"b"[..], b"c"][..]));
    }

    #[test]
    fn sizes_and_times_are_written_in_their_largest_whole_unit() {
        let size = |n| Bytes(n).to_string();
        assert_eq!(
            [0, 1, 1023, 1024, 1536, 1 << 20, 3 << 20].map(size),
            ["0", "1", "1023", "1k", "1536", "1m", "3m"]
        );
        let time = |n| Ms(n).to_string();
        assert_eq!(
            [0, 999, 1000, 1500, 60_000, 90_000].map(time),
            ["0ms", "999ms", "1s", "1500ms", "1m", "90s"]
        );
    }
}
