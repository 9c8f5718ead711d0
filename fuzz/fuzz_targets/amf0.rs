//! Any bytes as AMF0: what can be decoded is the same after encoding and decoding again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp_protocol::amf0::{decode_all, encode, Value, MAX_VALUES};

fn encode_all(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| encode(value, &mut out));
    out
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(values) = decode_all(bytes) else { return };
    assert!(values.len() <= MAX_VALUES);
    for value in &values {
        let _ = (value.as_str_bytes(), value.as_number(), value.as_bool(), value.get(b"a"));
    }
    let once = encode_all(&values);
    // compared as bytes, since NaN is not itself
    let again = encode_all(&decode_all(&once).expect("what was encoded can be decoded"));
    assert_eq!(once, again);
});
