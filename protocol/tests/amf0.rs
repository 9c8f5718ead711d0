//! AMF0 there and back, and what a hostile sender gets.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::amf0::{
    decode_all, decode_readable, encode, Amf0Error, Decoder, Value, MAX_DEPTH, MAX_VALUES,
};

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

fn text() -> impl Strategy<Value = Vec<u8>> + Clone {
    vec(any::<u8>(), 0..8)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>().prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        text().prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        any::<u16>().prop_map(Value::Reference),
        (any::<f64>(), any::<i16>()).prop_map(|(ms, tz)| Value::Date { ms, tz }),
        text().prop_map(Value::LongString),
        Just(Value::Unsupported),
        text().prop_map(Value::Xml),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let members = vec((text(), inner.clone()), 0..5);
        prop_oneof![
            members.clone().prop_map(Value::Object),
            members.clone().prop_map(Value::EcmaArray),
            vec(inner, 0..5).prop_map(Value::StrictArray),
            (text(), members).prop_map(|(class, members)| Value::TypedObject { class, members }),
        ]
    })
}

proptest! {
    #[test]
    fn round_trip(values in vec(value(), 0..5)) {
        let bytes: Vec<u8> = values.iter().flat_map(encoded).collect();
        // as bytes, since NaN is not itself
        let again: Vec<u8> = decode_all(&bytes).unwrap().iter().flat_map(encoded).collect();
        prop_assert_eq!(bytes, again);
    }

    #[test]
    fn every_beginning_is_truncated(value in value()) {
        let bytes = encoded(&value);
        for end in 1..bytes.len() {
            let truncated = matches!(decode_all(&bytes[..end]), Err(Amf0Error::Truncated { .. }));
            prop_assert!(truncated);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in vec(prop_oneof![0u8..20, any::<u8>()], 0..100)) {
        let all = decode_all(&bytes);
        let readable = decode_readable(&bytes);
        if let Ok(all) = all {
            // as text, since NaN is not itself
            prop_assert_eq!(format!("{all:?}"), format!("{readable:?}"));
        }
    }

    /// Whatever stands behind whole values, they are read.
    #[test]
    fn whole_values_are_readable(values in vec(value(), 0..5), behind in vec(any::<u8>(), 0..20)) {
        let mut bytes: Vec<u8> = values.iter().flat_map(encoded).collect();
        bytes.extend(behind);
        let readable = decode_readable(&bytes);
        prop_assert!(readable.len() >= values.len());
        let readable = &readable[..values.len()];
        prop_assert_eq!(format!("{values:?}"), format!("{readable:?}"));
    }
}

/// One of each, byte by byte.
#[test]
fn markers() {
    let named = || vec![(b"a".to_vec(), Value::Null)];
    let cases: [(Value, &[u8]); 13] = [
        (Value::Number(1.0), &[0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0]),
        (Value::Boolean(true), &[1, 1]),
        (Value::from("ab"), &[2, 0, 2, b'a', b'b']),
        (Value::Object(named()), &[3, 0, 1, b'a', 5, 0, 0, 9]),
        (Value::Null, &[5]),
        (Value::Undefined, &[6]),
        (Value::Reference(258), &[7, 1, 2]),
        (Value::EcmaArray(named()), &[8, 0, 0, 0, 1, 0, 1, b'a', 5, 0, 0, 9]),
        (Value::StrictArray(vec![Value::Null]), &[10, 0, 0, 0, 1, 5]),
        (Value::Date { ms: 1.0, tz: -1 }, &[11, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 255, 255]),
        (Value::LongString(b"a".to_vec()), &[12, 0, 0, 0, 1, b'a']),
        (Value::Unsupported, &[13]),
        (Value::Xml(b"a".to_vec()), &[15, 0, 0, 0, 1, b'a']),
    ];
    for (value, bytes) in cases {
        assert_eq!(encoded(&value), bytes);
        assert_eq!(decode_all(bytes), Ok(vec![value]));
    }
    let typed = Value::TypedObject { class: b"C".to_vec(), members: named() };
    assert_eq!(encoded(&typed), [16, 0, 1, b'C', 0, 1, b'a', 5, 0, 0, 9]);
}

#[test]
fn reserved_markers_are_refused() {
    for marker in [4, 9, 14, 18, 255] {
        assert_eq!(decode_all(&[5, marker]), Err(Amf0Error::Marker { at: 1, marker }));
    }
}

/// What stands before the place where an object or array breaks off.
#[test]
fn beginnings_are_readable() {
    let readable = |bytes: &[u8], value: &Value| assert_eq!(&decode_readable(bytes)[0], value);
    let whole = Value::object([("a", Value::from("x")), ("b", Value::Null)]);
    let bytes = encoded(&whole);
    readable(&bytes[..bytes.len() - 3], &whole);
    readable(&bytes[..bytes.len() - 1], &whole);
    let first = Value::object([("a", Value::from("x"))]);
    readable(&bytes[..bytes.len() - 4], &first);
    let unknown = [&bytes[..8], &[0, 1, b'b', 99, 5, 5]].concat();
    assert_eq!(decode_readable(&unknown).len(), 1);
    readable(&unknown, &first);
    // nothing is taken for more of the outer one
    let nested = [&[3, 0, 1, b'n'], &bytes[..8], &[0, 1, b'b', 99, 5, 0, 1, b'c', 5]].concat();
    readable(&nested, &Value::object([("n", first)]));
    let two = Value::StrictArray(vec![Value::Null, Value::Undefined]);
    readable(&[10, 0, 0, 0, 9, 5, 6], &two);
    assert_eq!(decode_readable(&[5, 0, 0, 0]), [Value::Null]);
}

/// Simple values of AMF 3 mean what those of AMF 0 mean; others end the reading.
#[test]
fn simple_amf3() {
    let cases: [(&[u8], Value); 8] = [
        (&[0], Value::Undefined),
        (&[1], Value::Null),
        (&[2], Value::Boolean(false)),
        (&[3], Value::Boolean(true)),
        (&[4, 0x82, 0x2C], Value::Number(300.0)),
        (&[4, 0xFF, 0xFF, 0xFF, 0xFE], Value::Number(-2.0)),
        (&[5, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Value::Number(1.0)),
        (&[6, 5, b'a', b'b'], Value::from("ab")),
    ];
    for (bytes, value) in cases {
        let bytes = [&[17], bytes, &[5]].concat();
        assert_eq!(decode_all(&bytes), Ok(vec![value, Value::Null]));
    }
    for marker in [6, 7, 8, 9, 10, 12, 255] {
        let bytes = [5, 17, marker, 0, 5];
        assert_eq!(decode_all(&bytes), Err(Amf0Error::Amf3 { at: 2, marker }));
        assert_eq!(decode_readable(&bytes), [Value::Null]);
    }
}

#[test]
fn empty_key_is_a_key() {
    let bytes = [3, 0, 0, 5, 0, 0, 9];
    assert_eq!(decode_all(&bytes), Ok(vec![Value::object([("", Value::Null)])]));
}

#[test]
fn long_text_becomes_a_long_string() {
    let text = vec![b'x'; 65_536];
    let bytes = encoded(&Value::String(text.clone()));
    assert_eq!(bytes[..5], [12, 0, 1, 0, 0]);
    let value = decode_all(&bytes).unwrap().remove(0);
    assert_eq!(value.as_str_bytes(), Some(&text[..]));
    // a key has no long form
    let bytes = encoded(&Value::object([(text, Value::Null)]));
    let value = decode_all(&bytes).unwrap().remove(0);
    assert_eq!(value.members().unwrap()[0].0.len(), 65_535);
}

/// `depth` objects, ECMA arrays or strict arrays within each other.
fn nested(open: &[u8], close: &[u8], depth: usize) -> Vec<u8> {
    [open.repeat(depth), vec![5], close.repeat(depth)].concat()
}

#[test]
fn depth_is_bounded() {
    let kinds: [(&[u8], &[u8]); 4] = [
        (&[3, 0, 1, b'a'], &[0, 0, 9]),
        (&[8, 0, 0, 0, 0, 0, 1, b'a'], &[0, 0, 9]),
        (&[10, 0, 0, 0, 1], &[]),
        (&[16, 0, 1, b'C', 0, 1, b'a'], &[0, 0, 9]),
    ];
    for (open, close) in kinds {
        decode_all(&nested(open, close, MAX_DEPTH)).unwrap();
        for depth in [MAX_DEPTH + 1, 70_000] {
            let at = (MAX_DEPTH + 1) * open.len();
            let result = decode_all(&nested(open, close, depth));
            assert_eq!(result, Err(Amf0Error::Depth { at }));
        }
    }
}

#[test]
fn number_of_values_is_bounded() {
    assert_eq!(decode_all(&vec![5; MAX_VALUES]).unwrap().len(), MAX_VALUES);
    assert_eq!(decode_all(&vec![5; MAX_VALUES + 1]), Err(Amf0Error::Values));
    // one array of a million
    let mut array = vec![10, 0, 0x0F, 0x42, 0x40];
    array.extend(vec![5; 1_000_000]);
    assert_eq!(decode_all(&array), Err(Amf0Error::Values));
    // nested values count too
    let members: Vec<_> = (0..MAX_VALUES).map(|_| ("k", Value::Null)).collect();
    assert_eq!(decode_all(&encoded(&Value::object(members))), Err(Amf0Error::Values));
}

#[test]
fn declared_counts_and_lengths_are_not_believed() {
    // an ECMA array says 2^32 - 1 and holds one
    let ecma = [8, 255, 255, 255, 255, 0, 1, b'a', 5, 0, 0, 9];
    assert_eq!(decode_all(&ecma).unwrap()[0].get(b"a"), Some(&Value::Null));
    // a strict array says 2^32 - 1 and holds two
    assert_eq!(decode_all(&[10, 255, 255, 255, 255, 5, 5]), Err(Amf0Error::Truncated { at: 7 }));
    // texts longer than the message
    assert_eq!(decode_all(&[2, 255, 255, b'a']), Err(Amf0Error::Truncated { at: 3 }));
    assert_eq!(decode_all(&[12, 255, 255, 255, 255, b'a']), Err(Amf0Error::Truncated { at: 5 }));
    assert_eq!(decode_all(&[15, 255, 255, 255, 255]), Err(Amf0Error::Truncated { at: 5 }));
    // an object without an end
    assert_eq!(decode_all(&[3, 0, 1, b'a', 5]), Err(Amf0Error::Truncated { at: 5 }));
}

#[test]
fn references_are_values_and_make_no_cycles() {
    let bytes = [3, 0, 1, b'a', 7, 0, 0, 0, 0, 9];
    assert_eq!(decode_all(&bytes), Ok(vec![Value::object([("a", Value::Reference(0))])]));
}

#[test]
fn accessors() {
    let object = Value::object([
        ("text", Value::from("t")),
        ("number", Value::from(2.0)),
        ("truth", Value::from(true)),
        ("text", Value::Null),
    ]);
    assert_eq!(object.get(b"text").unwrap().as_str_bytes(), Some(&b"t"[..]));
    assert_eq!(object.get(b"number").unwrap().as_number(), Some(2.0));
    assert_eq!(object.get(b"truth").unwrap().as_bool(), Some(true));
    assert_eq!(object.get(b"none"), None);
    assert_eq!(Value::Null.get(b"text"), None);
    assert_eq!((object.as_str_bytes(), object.as_number(), object.as_bool()), (None, None, None));
}

#[test]
fn decoder_tells_what_remains() {
    let mut decoder = Decoder::new(&[5, 1, 1, 6]);
    assert_eq!(decoder.next_value(), Ok(Some(Value::Null)));
    assert_eq!(decoder.remaining(), [1, 1, 6]);
    assert_eq!(decoder.next_value(), Ok(Some(Value::Boolean(true))));
    assert_eq!(decoder.next_value(), Ok(Some(Value::Undefined)));
    assert_eq!(decoder.next_value(), Ok(None));
}
