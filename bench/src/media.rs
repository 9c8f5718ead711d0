//! What is published: an FLV file, stamped, in a loop; made by ffmpeg if it is one of our profiles.

use crate::flv;
use crate::net::MILLISECOND;
use crate::stamp::{self, Stamper};
use anyhow::{bail, ensure, Context, Result};
use rtmp_protocol::chunk::{self, Header, MAX_MESSAGE};
use rtmp_protocol::command::without_set_data_frame;
use rtmp_protocol::flv::FlvReader;
use rtmp_protocol::message::{CSID_AUDIO, CSID_STATUS, CSID_VIDEO};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A constant bit rate as cameras and encoders send it: 30 frames/s, a key frame each 2 s, stereo AAC.
struct Profile {
    name: &'static str,
    size: &'static str,
    video_kbit: u32,
    audio_kbit: u32,
}

const PROFILES: [Profile; 3] = [
    Profile { name: "500k", size: "640x360", video_kbit: 430, audio_kbit: 64 },
    Profile { name: "1m", size: "1280x720", video_kbit: 900, audio_kbit: 96 },
    Profile { name: "4m", size: "1920x1080", video_kbit: 3850, audio_kbit: 128 },
];
const SECONDS: u32 = 20;
/// Raised when what ffmpeg is asked for changes, so that old files are not taken for new ones.
const RECIPE: u32 = 1;

/// Parts of a GOP at which streams may start.
const PHASES: u64 = 10_000;
/// From one stream to the next: no factor of `PHASES`, so that no two of so many streams are in step.
const PHASE_STEP: u64 = 7549;

const MAX_FILE: u64 = 256 << 20;
/// AVCC: the low two bits of byte 4 are the size of a NAL unit's length field, less one.
const AVCC_LENGTH_SIZE: usize = flv::AVC_HEADER + 4;

/// Fields of a type-0 chunk header with a chunk stream id of one byte (RTMP 1.0 section 5.3.1).
const TIMESTAMP: Range<usize> = 1..4;
const STREAM_ID: Range<usize> = 8..12;
const CHUNK_HEADER: usize = 12;
/// In front of metadata, `@setDataFrame` as an AMF0 string: publishers say so to a server.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// A coded message as it goes to a server: chunked, with a stamp to fill.
#[derive(Debug)]
pub struct Frame {
    kind: u8,
    time_ms: u32,
    payload_len: usize,
    wire: Vec<u8>,
    stamper: Stamper,
}

#[derive(Debug)]
pub struct Media {
    pub name: String,
    /// Metadata and sequence headers: type and payload.
    headers: Vec<(u8, Vec<u8>)>,
    frames: Vec<Frame>,
    /// When the last whole GOP begins and ends, in ms.
    last_gop: Range<u32>,
    /// Length of one round, in ms.
    duration_ms: u32,
    /// Between the first two key frames, in ms.
    pub gop_ms: u32,
    pub chunk_size: usize,
}

impl Media {
    /// Takes a profile's name or the path of an FLV file (AVC and AAC). Made files are kept in `cache`.
    pub fn open(name: &str, cache: &Path, chunk_size: usize) -> Result<Self> {
        let profile = PROFILES.iter().find(|profile| profile.name == name);
        let path = match profile {
            Some(profile) => made(profile, cache)?,
            None => PathBuf::from(name),
        };
        let size = fs::metadata(&path).with_context(|| format!("{}", path.display()))?.len();
        ensure!(size <= MAX_FILE, "{} is larger than {MAX_FILE} bytes", path.display());
        let mut media = Self::parse(&fs::read(&path)?, chunk_size)
            .with_context(|| format!("{} cannot be used", path.display()))?;
        media.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if profile.is_some() {
            media.keep_last_gop();
        }
        Ok(media)
    }

    /// Loops over the last whole GOP alone. GOPs differ by a tenth and more in size, and a run whose
    /// window happens to hold small ones would pay more for each byte: now all windows hold the same.
    fn keep_last_gop(&mut self) {
        let Range { start, end } = self.last_gop;
        self.frames.retain(|frame| self.last_gop.contains(&frame.time_ms));
        for frame in &mut self.frames {
            frame.time_ms -= start;
        }
        self.duration_ms = end - start;
        self.gop_ms = end - start;
        self.last_gop = 0..end - start;
    }

    pub fn parse(file: &[u8], chunk_size: usize) -> Result<Self> {
        ensure!(chunk_size >= stamp::HEAD + 64, "the stamp has to fit into the first chunk");
        let mut headers = Vec::new();
        let mut frames = Vec::new();
        let mut key_times = Vec::new();
        let mut reader = FlvReader::new(MAX_MESSAGE);
        let mut rest = file;
        while let Some(tag) = reader.read(&mut rest)? {
            if flv::is_coded(tag.kind, tag.payload) {
                let (payload, stamper) =
                    stamp::embed(tag.kind, tag.payload).with_context(|| {
                        format!("the message at {} ms takes no stamp", tag.timestamp)
                    })?;
                let mut wire = Vec::new();
                chunk::write(&mut wire, &header(tag.kind, 0), &payload, chunk_size);
                frames.push(Frame {
                    kind: tag.kind,
                    time_ms: tag.timestamp,
                    payload_len: payload.len(),
                    wire,
                    stamper,
                });
                if flv::is_key_frame(tag.kind, tag.payload) {
                    key_times.push(tag.timestamp);
                }
            } else if tag.kind == flv::DATA {
                headers.push((tag.kind, [SET_DATA_FRAME, tag.payload].concat()));
            } else if flv::is_sequence_header(tag.kind, tag.payload) {
                let length_size = tag.payload.get(AVCC_LENGTH_SIZE).map(|byte| byte & 3);
                ensure!(
                    tag.kind != flv::VIDEO || length_size == Some(3),
                    "NAL unit lengths are not of 4 bytes"
                );
                headers.push((tag.kind, tag.payload.to_vec()));
            }
        }
        let (&[first_key, second_key, ..], &[.., last_whole, last_key]) =
            (&key_times[..], &key_times[..])
        else {
            bail!("two key frames are needed");
        };
        // whole seconds, so that the last round's end and the next one's start meet
        let end = frames.iter().map(|frame| frame.time_ms).max().unwrap_or(0);
        let duration_ms = (end + 40) / 1000 * 1000;
        ensure!(duration_ms > 0, "shorter than a second");
        frames.retain(|frame| frame.time_ms < duration_ms);
        Ok(Self {
            name: String::new(),
            headers,
            frames,
            last_gop: last_whole..last_key,
            duration_ms,
            gop_ms: second_key - first_key,
            chunk_size,
        })
    }

    /// Appends metadata and sequence headers.
    pub fn put_headers(&self, out: &mut Vec<u8>, stream_id: u32) {
        for (kind, payload) in &self.headers {
            chunk::write(out, &header(*kind, stream_id), payload, self.chunk_size);
        }
    }

    /// Appends coded message `sequence` of the endless loop, stamped with `now`.
    pub fn put_frame(
        &self,
        out: &mut Vec<u8>,
        stream_id: u32,
        stream: u32,
        sequence: u64,
        now: u64,
    ) {
        let frame = self.frame(sequence);
        let start = out.len();
        out.extend_from_slice(&frame.wire);
        let message = &mut out[start..];
        let [_, timestamp @ ..] = (self.time_ms(sequence) as u32).to_be_bytes();
        message[TIMESTAMP].copy_from_slice(&timestamp);
        message[STREAM_ID].copy_from_slice(&stream_id.to_le_bytes());
        let at = CHUNK_HEADER + frame.stamper.at();
        message[at..at + stamp::LEN].copy_from_slice(&frame.stamper.stamp(stream, sequence, now));
    }

    /// When coded message `sequence` is due, in ms after the first.
    pub fn time_ms(&self, sequence: u64) -> u64 {
        let round = sequence / self.frames.len() as u64;
        round * u64::from(self.duration_ms) + u64::from(self.frame(sequence).time_ms)
    }

    /// How much later than stream 0 a stream starts, in ns: key frames come spread over a GOP, and the
    /// frames of different streams at different moments, as those of real ones do.
    pub fn phase(&self, stream: u32) -> u64 {
        let gop = u64::from(self.gop_ms) * MILLISECOND;
        gop / PHASES * (u64::from(stream) * PHASE_STEP % PHASES)
    }

    fn frame(&self, sequence: u64) -> &Frame {
        &self.frames[(sequence % self.frames.len() as u64) as usize]
    }

    /// The bit rate of the payload with its chunk headers, in Mbit/s.
    pub fn mbit_per_s(&self) -> f64 {
        let bytes: usize = self.frames.iter().map(|frame| frame.wire.len()).sum();
        bytes as f64 * 8.0 / 1000.0 / f64::from(self.duration_ms)
    }

    /// The whole loop, stamped, as an FLV file.
    pub fn to_flv(&self) -> Vec<u8> {
        let mut file = rtmp_protocol::flv::header(true, true).to_vec();
        let mut put = |kind, time_ms, payload: &[u8]| {
            rtmp_protocol::flv::encode(kind, time_ms, payload, |piece| {
                file.extend_from_slice(piece)
            });
        };
        for (kind, payload) in &self.headers {
            put(*kind, 0, without_set_data_frame(payload));
        }
        for sequence in 0..self.frames.len() as u64 {
            let mut wire = Vec::new();
            self.put_frame(&mut wire, 0, 0, sequence, 0);
            let Frame { kind, payload_len, .. } = *self.frame(sequence);
            let payload: Vec<u8> =
                chunk::payload_ranges(&header(kind, 0), payload_len, self.chunk_size)
                    .flat_map(|range| wire[range].to_vec())
                    .collect();
            put(kind, self.time_ms(sequence) as u32, &payload);
        }
        file
    }
}

fn header(kind: u8, stream_id: u32) -> Header {
    let csid = match kind {
        flv::AUDIO => CSID_AUDIO,
        flv::VIDEO => CSID_VIDEO,
        _ => CSID_STATUS,
    };
    Header { csid, timestamp: 0, kind, stream_id }
}

/// The profile's file, made unless it is there.
fn made(profile: &Profile, cache: &Path) -> Result<PathBuf> {
    let path = cache.join(format!("{}-{RECIPE}.flv", profile.name));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(cache).with_context(|| format!("{}", cache.display()))?;
    let Profile { name, size, video_kbit, audio_kbit } = profile;
    eprintln!("making {SECONDS} s of media, profile {name}, with ffmpeg");
    // made beside it and renamed, so that a file cut short is never used
    let partial = cache.join(format!("{name}-{RECIPE}.{}.part", std::process::id()));
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=30")])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"])
        .args(["-t", &SECONDS.to_string(), "-vf", "noise=alls=20:allf=t", "-pix_fmt", "yuv420p"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-bf", "0"])
        .args(["-g", "60", "-keyint_min", "60", "-sc_threshold", "0"])
        .args(["-b:v", &format!("{video_kbit}k"), "-maxrate", &format!("{video_kbit}k")])
        .args(["-bufsize", &format!("{video_kbit}k"), "-x264-params", "nal-hrd=cbr"])
        .args(["-c:a", "aac", "-ac", "2", "-b:a", &format!("{audio_kbit}k"), "-f", "flv"])
        .arg(&partial)
        .stdin(Stdio::null())
        .status()
        .context("ffmpeg cannot be run (is it installed?)")?;
    ensure!(status.success(), "ffmpeg failed: {status}");
    fs::rename(&partial, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two GOPs of two frames with audio between, over two seconds.
    fn file() -> Vec<u8> {
        let mut file = rtmp_protocol::flv::header(true, true).to_vec();
        let mut put = |kind, time, payload: &[u8]| {
            rtmp_protocol::flv::encode(kind, time, payload, |piece| file.extend_from_slice(piece));
        };
        put(flv::DATA, 0, b"\x02\x00\x0aonMetaData\x05");
        put(flv::VIDEO, 0, &[0x17, 0, 0, 0, 0, 1, 77, 0, 31, 255]);
        put(flv::AUDIO, 0, &[0xaf, 0, 0x12, 0x10]);
        for time in [0, 500, 1000, 1500, 1990] {
            let key = time % 1000 == 0;
            let first = if key { 0x17 } else { 0x27 };
            let slice = [0, 0, 1, 0, if key { 0x65 } else { 0x41 }];
            let video = [&[first, 1, 0, 0, 0][..], &slice, &vec![time as u8; 255]].concat();
            put(flv::VIDEO, time, &video);
            put(flv::AUDIO, time + 3, &[0xaf, 1, 1, 2, 3]);
        }
        file
    }

    #[test]
    fn loops_without_a_seam() {
        let media = Media::parse(&file(), 4096).unwrap();
        assert_eq!((media.duration_ms, media.gop_ms, media.headers.len()), (2000, 1000, 3));
        let times: Vec<u64> = (0..12).map(|sequence| media.time_ms(sequence)).collect();
        assert_eq!(times, [0, 3, 500, 503, 1000, 1003, 1500, 1503, 1990, 1993, 2000, 2003]);
    }

    #[test]
    fn each_gop_is_the_same() {
        let mut media = Media::parse(&file(), 4096).unwrap();
        media.keep_last_gop();
        let times: Vec<u64> = (0..8).map(|sequence| media.time_ms(sequence)).collect();
        assert_eq!(times, [0, 3, 500, 503, 1000, 1003, 1500, 1503]);
        assert_eq!((media.frames.len(), media.duration_ms), (4, 1000));
    }

    #[test]
    fn the_stamped_file_parses_again() {
        let media = Media::parse(&file(), 256).unwrap();
        let stamped = media.to_flv();
        let (mut reader, mut rest) = (FlvReader::new(MAX_MESSAGE), &stamped[..]);
        for _ in &media.headers {
            assert!(reader.read(&mut rest).unwrap().is_some());
        }
        for sequence in 0..media.frames.len() {
            let tag = reader.read(&mut rest).unwrap().unwrap();
            let head = &tag.payload[..tag.payload.len().min(stamp::HEAD)];
            let at = stamp::find(tag.kind, head).unwrap();
            let found = stamp::read(head, at).unwrap();
            assert_eq!(found.sequence, sequence as u64);
            let mut check = stamp::Check::new(head, at);
            check.update(&tag.payload[head.len()..]);
            assert_eq!(check.finish(head), found.crc);
        }
        assert!(reader.read(&mut rest).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used() {
        assert!(Media::parse(b"nothing", 4096).is_err());
        assert!(Media::parse(&file()[..13], 4096).is_err());
        assert!(Media::parse(&file(), 128).is_err());
    }

    /// A decoder that stops at the first error reads a stamped file to its end.
    #[test]
    fn ffmpeg_decodes_stamped_media() {
        if Command::new("ffmpeg").arg("-version").output().is_err() {
            eprintln!("skipped: no ffmpeg here");
            return;
        }
        let dir = std::env::temp_dir().join(format!("rtmp-bench-test-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (plain, stamped) = (dir.join("plain.flv"), dir.join("stamped.flv"));
        let made = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "error",
                "-y",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=160x90:rate=30",
            ])
            .args([
                "-f",
                "lavfi",
                "-i",
                "sine=sample_rate=44100",
                "-t",
                "2",
                "-g",
                "30",
                "-bf",
                "2",
            ])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
            .args(["-b:v", "200k", "-maxrate", "200k", "-bufsize", "200k"])
            .args(["-x264-params", "nal-hrd=cbr:aud=1", "-c:a", "aac"])
            .arg(&plain)
            .status()
            .unwrap();
        assert!(made.success());
        let media = Media::parse(&fs::read(&plain).unwrap(), 4096).unwrap();
        fs::write(&stamped, media.to_flv()).unwrap();
        let decoded = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode", "-i"])
            .arg(&stamped)
            .args(["-f", "null", "-"])
            .output()
            .unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(decoded.status.success());
        assert_eq!(String::from_utf8_lossy(&decoded.stderr), "");
    }
}
