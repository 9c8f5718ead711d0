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
