//! How a value is written into a line of the log, so that no client can forge one.

use crate::conf::log::Escape;

/// The function that writes a value under `escape`.
pub fn writer(escape: Escape) -> fn(&mut Vec<u8>, &[u8]) {
    match escape {
        Escape::Default => write_default,
        Escape::Json => write_json,
        Escape::None => |out, value| out.extend_from_slice(value),
    }
}

/// A byte as two hexadecimal digits.
fn hex(byte: u8) -> [u8; 2] {
    let digit = |value: u8| match value {
        0..10 => b'0' + value,
        _ => b'A' + (value - 10),
    };
    [digit(byte >> 4), digit(byte & 15)]
}

fn write_default(out: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        out.push(b'-');
    }
    for &byte in value {
        match byte {
            b'"' | b'\\' | ..b' ' | 127.. => {
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&hex(byte));
            }
            _ => out.push(byte),
        }
    }
}

fn write_json(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            ..b' ' => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex(byte));
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(escape: Escape, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        writer(escape)(&mut out, value);
        out
    }

    #[test]
    fn what_could_end_a_value_is_written_in_digits() {
        let value = b"a\"b\\c\nd\x7f\xff e";
        assert_eq!(written(Escape::Default, value), br"a\x22b\x5Cc\x0Ad\x7F\xFF e");
        assert_eq!(written(Escape::Default, b""), b"-");
    }

    #[test]
    fn json_has_its_own_signs() {
        let value = b"a\"b\\c\n\r\t\x08\x0c\x01 e";
        assert_eq!(written(Escape::Json, value), br#"a\"b\\c\n\r\t\b\f\u0001 e"#);
        assert_eq!(written(Escape::Json, b""), b"");
    }

    proptest! {
        #[test]
        fn no_client_ends_a_value_or_a_line(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let default = written(Escape::Default, &value);
            prop_assert!(default.iter().all(|byte| (b' '..127).contains(byte) && *byte != b'"'));
            let json = written(Escape::Json, &value);
            prop_assert!(json.iter().all(|byte| *byte >= b' '));
            let quotes = json.iter().enumerate().filter(|(_, byte)| **byte == b'"');
            for (at, _) in quotes {
                let before = json.get(..at).unwrap_or_default();
                let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
                prop_assert_eq!(backslashes % 2, 1);
            }
            prop_assert_eq!(written(Escape::None, &value), value);
        }
    }
}
