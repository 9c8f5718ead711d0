//! Any bytes as audio and as video: a class of that kind, told by no more than the headers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp_protocol::codec::{classify_audio, classify_video, Class};

fuzz_target!(|bytes: &[u8]| {
    let audio = classify_audio(bytes);
    assert!(!audio.video);
    assert!(!matches!(
        audio.class,
        Class::KeyFrame | Class::InterFrame | Class::Disposable | Class::Command
    ));
    let video = classify_video(bytes);
    assert!(video.video && video.class != Class::Audio);
    for (info, enhanced) in [
        (audio, bytes.first().is_some_and(|first| first >> 4 == 9)),
        (video, bytes.first().is_some_and(|first| first & 0x80 != 0)),
    ] {
        assert_eq!(info.legacy, !enhanced);
        assert!(!(info.legacy && (info.track != 0 || info.many_tracks)));
    }
    // what follows a header that is whole changes nothing
    let longer = [bytes, &[0xFF; 8]].concat();
    if video.class != Class::Empty {
        assert_eq!(classify_video(&longer), video);
    }
    if audio.class != Class::Empty && bytes.len() > 1 {
        assert_eq!(classify_audio(&longer), audio);
    }
});
