//! Commands, connect in old and enhanced form, data messages.

use rtmp_protocol::amf0::{decode_all, encode, Value};
use rtmp_protocol::command::*;

fn bytes(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| encode(value, &mut out));
    out
}

fn parse(values: &[Value]) -> Command {
    Command::parse(&bytes(values), false).unwrap()
}

#[test]
fn parts_of_a_command() {
    let publish =
        ["publish".into(), 5.0.into(), Value::Null, "name?k=v".into(), "live".into(), 3.0.into()];
    let command = parse(&publish);
    assert_eq!((&command.name[..], command.transaction), (&b"publish"[..], 5.0));
    assert_eq!(command.object, Value::Null);
    assert_eq!(command.str_arg(0), Some(&b"name?k=v"[..]));
    assert_eq!(command.str_arg(2), None);
    assert_eq!(command.number_arg(2), Some(3.0));
    assert_eq!(command.str_arg(9), None);
}

#[test]
fn missing_parts_have_defaults() {
    let command = parse(&["ping".into()]);
    assert_eq!((command.transaction, command.object, command.args.len()), (0.0, Value::Null, 0));
    // a transaction that is no number asks for no answer
    assert_eq!(parse(&["a".into(), "b".into()]).transaction, 0.0);
}

#[test]
fn what_is_no_command() {
    assert_eq!(Command::parse(&[], false), Err(CommandError::Name));
    assert_eq!(Command::parse(&[5], false), Err(CommandError::Name));
    assert_eq!(Command::parse(&[2, 0], false), Err(CommandError::Name));
}

/// What encoders leave behind the object, or leave out at its end.
#[test]
fn tails_lose_nothing() {
    let object = Value::object([("app", Value::from("live")), ("tcUrl", "rtmp://h/live".into())]);
    let whole = bytes(&["connect".into(), 1.0.into(), object]);
    let tails: [&[u8]; 6] =
        [&[0, 0, 0], &[17, 10, 11, 1, 1], &[0xFF; 40], &[3, 0, 1, b'a'], &[2, 0, 9], &[17, 9]];
    for tail in tails {
        let command = Command::parse(&[&whole, tail].concat(), false).unwrap();
        assert_eq!((command.transaction, &command.name[..]), (1.0, &b"connect"[..]));
        assert_eq!(Connect::from(&command).tc_url, b"rtmp://h/live");
    }
    for cut in 1..=3 {
        let command = Command::parse(&whole[..whole.len() - cut], false).unwrap();
        assert_eq!(Connect::from(&command).tc_url, b"rtmp://h/live");
    }
    // an AMF 3 null where the command object is, and a name behind it
    let mut publish = bytes(&["publish".into(), 5.0.into()]);
    publish.extend([17, 1, 2, 0, 3, b'c', b'a', b'm', 17, 6, 9, b'l', b'i', b'v', b'e', 17, 10, 1]);
    let command = Command::parse(&publish, false).unwrap();
    assert_eq!(command.str_arg(0), Some(&b"cam"[..]));
    assert_eq!(command.str_arg(1), Some(&b"live"[..]));
}

#[test]
fn amf3_envelope_has_a_format_byte() {
    let payload = bytes(&["play".into(), 0.0.into()]);
    let envelope = [&[0], &payload[..]].concat();
    assert_eq!(Command::parse(&envelope, true), Command::parse(&payload, false));
    // or not: the name begins with its marker
    assert_eq!(Command::parse(&payload, true), Command::parse(&payload, false));
    assert_eq!(Command::parse(&[3, 6], true), Err(CommandError::Format(3)));
    assert_eq!(Command::parse(&[], true), Err(CommandError::NoFormat));
    assert_eq!(amf0_of(&[0, 7], true), Ok(&[7][..]));
}

/// FFmpeg's connect with `-rtmp_enhanced_codecs`, in its order.
#[test]
fn enhanced_connect() {
    let list = ["av01", "hvc1", "*"].map(Value::from).to_vec();
    let object = Value::object([
        ("app", Value::from("live")),
        ("fourCcList", Value::StrictArray(list)),
        ("type", "nonprivate".into()),
        ("flashVer", "FMLE/3.0".into()),
        ("tcUrl", "rtmp://h/live".into()),
        ("capsEx", 15.0.into()),
        ("ngxRtmpHops", 2.0.into()),
    ]);
    let connect = Connect::from(&parse(&["connect".into(), 1.0.into(), object]));
    assert_eq!(connect.app, b"live");
    assert_eq!(connect.tc_url, b"rtmp://h/live");
    assert_eq!(connect.flash_ver, b"FMLE/3.0");
    assert_eq!(connect.four_cc_list, [b"av01".to_vec(), b"hvc1".to_vec(), b"*".to_vec()]);
    assert!(connect.enhanced);
    assert_eq!((connect.caps_ex, connect.hops), (15, 2));
}

#[test]
fn any_enhanced_field_makes_it_enhanced() {
    for key in ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"] {
        let object = Value::object([(key, Value::Null)]);
        let connect = Connect::from(&parse(&["connect".into(), 1.0.into(), object]));
        assert!(connect.enhanced, "{key}");
    }
}

/// Whatever a hostile client puts in place of texts and numbers.
#[test]
fn connect_of_wrong_types() {
    for number in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let object = Value::object([
            ("app", Value::from(7.0)),
            ("fourCcList", "no list".into()),
            ("capsEx", number.into()),
            ("ngxRtmpHops", number.into()),
        ]);
        let connect = Connect::from(&parse(&["connect".into(), 1.0.into(), object]));
        assert!(connect.app.is_empty() && connect.four_cc_list.is_empty());
        let expected = if number > 0.0 { u32::MAX } else { 0 };
        assert_eq!((connect.caps_ex, connect.hops), (expected, expected));
    }
    let connect = Connect::from(&parse(&["connect".into()]));
    assert_eq!(connect, Connect::default());
}

#[test]
fn request_is_understood_by_ourselves() {
    let connect = Connect {
        app: b"live".to_vec(),
        tc_url: b"rtmp://h/live".to_vec(),
        flash_ver: b"LNX 9,0,124,2".to_vec(),
        enhanced: true,
        hops: 3,
        via: b"a,b,c".to_vec(),
        ..Connect::default()
    };
    let command = parse(&connect.request(true));
    assert_eq!((&command.name[..], command.transaction), (&b"connect"[..], 1.0));
    assert_eq!(command.object.get(b"type"), Some(&"nonprivate".into()));
    assert_eq!(command.object.get(b"swfUrl"), None);
    let understood = Connect::from(&command);
    let four_cc_list = vec![b"*".to_vec()];
    assert_eq!(understood, Connect { four_cc_list, caps_ex: CAPS_FORWARD, ..connect.clone() });

    let plain = Connect { enhanced: false, hops: 0, via: Vec::new(), ..connect };
    let understood = Connect::from(&parse(&plain.request(false)));
    assert_eq!(understood, plain);
}

#[test]
fn connect_result_is_enhanced_only_when_asked() {
    let plain = Connect { object_encoding: 3.0, ..Connect::default() };
    let command = parse(&connect_result(1.0, &plain));
    assert_eq!((&command.name[..], command.transaction), (&b"_result"[..], 1.0));
    let properties: Vec<_> =
        command.object.members().unwrap().iter().map(|(k, _)| &k[..]).collect();
    assert_eq!(properties, [&b"fmsVer"[..], b"capabilities"]);
    assert_eq!(command.status_code(), Some(&b"NetConnection.Connect.Success"[..]));
    assert_eq!(command.args[0].get(b"objectEncoding"), Some(&3.0.into()));

    let enhanced = Connect { enhanced: true, ..plain };
    let command = parse(&connect_result(1.0, &enhanced));
    for map in [&b"videoFourCcInfoMap"[..], b"audioFourCcInfoMap"] {
        assert_eq!(command.object.get(map).unwrap().get(b"*"), Some(&4.0.into()));
    }
    assert_eq!(command.object.get(b"capsEx"), Some(&14.0.into()));
}

#[test]
fn answers() {
    let command = parse(&on_status("error", "NetStream.Publish.BadName", "Already publishing"));
    assert_eq!(command.name, b"onStatus");
    assert_eq!(command.status_code(), Some(&b"NetStream.Publish.BadName"[..]));
    assert_eq!(command.args[0].get(b"level"), Some(&"error".into()));
    assert_eq!(parse(&result(4.0, 1.0.into())).number_arg(0), Some(1.0));
    let command = parse(&error(4.0, "NetConnection.Call.Failed", "no such method"));
    assert_eq!((&command.name[..], command.transaction), (&b"_error"[..], 4.0));
}

#[test]
fn metadata_with_and_without_set_data_frame() {
    let object = Value::EcmaArray(vec![(b"width".to_vec(), 320.0.into())]);
    let plain = bytes(&["onMetaData".into(), object.clone()]);
    let framed = [bytes(&["@setDataFrame".into()]), plain.clone()].concat();
    assert_eq!(without_set_data_frame(&framed), plain);
    assert_eq!(without_set_data_frame(&plain), plain);
    for payload in [&plain, &framed] {
        assert_eq!(metadata(payload), Some(object.clone()));
    }
    assert_eq!(data_name(&plain).unwrap().0, b"onMetaData");
    assert_eq!(metadata(&bytes(&["onCuePoint".into(), object.clone()])), None);
    // without its end, and broken in every other place
    for end in framed.len() - 3..framed.len() {
        assert_eq!(metadata(&framed[..end]), Some(object.clone()));
    }
    for end in 0..framed.len() - 3 {
        let rest = metadata(&framed[..end]);
        assert!(rest.is_none() || rest == Some(Value::EcmaArray(vec![])));
    }
    assert_eq!(decode_all(data_name(&plain).unwrap().1).unwrap().len(), 1);
}
