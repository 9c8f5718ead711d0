//! How a source's messages become packets.

use rtmp_protocol::codec::{Class, Info};

use crate::headers::{Framed, Noted};
use crate::media::{Kind, Media, Packet};
use crate::packets::cache::Moment;
use crate::settings::Settings;
use crate::state::State;

/// What a message was, for those who follow the stream.
pub(crate) enum Note {
    Nothing,
    Header(Noted),
    /// The first frame of audio or of video.
    Track,
}

impl State {
    /// Takes a message of a source: into the log if it is on air, else only what players will need
    /// when it gets there. `None` = not for the players.
    pub(crate) fn append(
        &mut self,
        source: u64,
        media: Media<'_>,
        info: Option<&Info>,
        settings: &Settings,
        now: u64,
    ) -> Option<Note> {
        let on_air = self.sources.is_on_air(source);
        let seq = on_air.then(|| self.packets.next());
        if on_air {
            self.sources.tracks.begin(now);
        }
        let probed = on_air && self.sources.tracks.is_probed(now);
        let source = self.sources.get_mut(source)?;
        if let Some(info) = info.filter(|info| is_frame(info.class)) {
            let framed = source.headers.frame(media.kind, info, seq);
            return on_air.then(|| self.append_frame(media, info, framed, settings, now)).flatten();
        }
        // at first players wait for the frames that are announced; later, headers do
        let (class, track) = (info.map(|info| info.class), info.map(|info| info.track));
        let held = probed && is_header(class) && !source.headers.has_track(media.kind, track);
        let noted = source.headers.note(&media, info, seq.filter(|_| !held));
        if !on_air {
            return None;
        }
        if matches!(noted, Noted::Changed | Noted::TooLarge) {
            // what is cached can't be decoded with the new header
            self.packets.drop_cache();
        }
        if !held {
            self.push(media, info, noted != Noted::TooLarge, settings, now)?;
        }
        Some(match class == Some(Class::SequenceHeader) || noted == Noted::TooLarge {
            true => Note::Header(noted),
            false => Note::Nothing,
        })
    }

    /// Appends a frame of the source on air, and in front of it what it needs and is not there.
    fn append_frame(
        &mut self,
        media: Media<'_>,
        info: &Info,
        framed: Framed,
        settings: &Settings,
        now: u64,
    ) -> Option<Note> {
        let main = self.sources.tracks.main();
        if framed.changed && main.is_none_or(|main| info.video && main == info.track) {
            // where players would start, it is for another decoder
            self.packets.drop_cache();
        }
        for (kind, payload) in framed.due {
            let header = Media { kind, payload: &payload, ..media };
            self.push(header, header.info().as_ref(), true, settings, now);
        }
        let first = self.push(media, Some(info), true, settings, now)?;
        Some(if first { Note::Track } else { Note::Nothing })
    }

    /// Appends a message of the source on air to the log. `kept`: a sticky one is among its headers.
    /// `None` = it is for nobody; else whether it is the first frame of audio or of video.
    fn push(
        &mut self,
        media: Media<'_>,
        info: Option<&Info>,
        kept: bool,
        settings: &Settings,
        now: u64,
    ) -> Option<bool> {
        let class = info.map(|info| info.class);
        let frame = class.is_some_and(is_frame);
        let (sources, packets) = (&mut self.sources, &mut self.packets);
        if let Some(info) = info.filter(|_| frame && media.kind == Kind::Video) {
            // before its first key frame, video is for nobody
            if sources.tracks.video_came(info.track)
                && class != Some(Class::KeyFrame)
                && settings.wait_key
            {
                sources.await_key();
            }
        }
        let key = match (media.kind, class) {
            (Kind::Video, Some(Class::KeyFrame)) => {
                sources.tracks.main() == info.map(|info| info.track)
            }
            (Kind::Audio, Some(Class::Audio)) => !sources.expects_video(settings, now),
            _ => false,
        };
        if sources.skips(&media, class, key) {
            return None;
        }
        let sticky = kept && (is_header(class) || media.is_metadata());
        packets.wake(now);
        let tracks = &mut sources.tracks;
        let timestamp = tracks.judge(&media, info, frame, now);
        let first = frame && tracks.frame_came(media.kind, now);
        let silent = settings.cache_time > 0 && tracks.is_main_silent(settings.cache_time);
        let moment = Moment { time: tracks.time(), silent };
        let media = Media { timestamp, ..media };
        let packet = Packet {
            kind: media.kind,
            key,
            sticky,
            timestamp,
            time: moment.time,
            len: media.payload.len() as u32,
            arrived: packets.awake(),
        };
        packets.append(packet, &media, settings, now);
        packets.cache_last(moment, settings);
        Some(first)
    }

    /// Appends what the source that goes on air sent before and players need.
    pub(crate) fn repeat_headers(&mut self, settings: &Settings, now: u64) {
        for (kind, payload) in self.sources.renew_headers(self.packets.next()) {
            let media = Media { kind, timestamp: 0, payload: &payload };
            self.push(media, media.info().as_ref(), true, settings, now);
        }
    }
}

/// Whether a message of this class is one that a decoder makes pictures or sound of.
fn is_frame(class: Class) -> bool {
    matches!(class, Class::KeyFrame | Class::InterFrame | Class::Disposable | Class::Audio)
}

/// Whether it is for the frames behind it.
fn is_header(class: Option<Class>) -> bool {
    matches!(class, Some(Class::SequenceHeader | Class::Metadata))
}
