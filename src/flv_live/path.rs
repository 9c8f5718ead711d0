//! Which stream the path of a request is for.

use percent_encoding::percent_decode;

use crate::stream_request::join;

/// The path of the stream that `path` is for, without one `.flv`. With `app`, a path that does not
/// begin with it names a stream by its last segment.
pub fn of_stream(path: &[u8], app: Option<&[u8]>) -> Vec<u8> {
    let path = path.strip_suffix(b".flv").unwrap_or(path);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    match app {
        Some(app) if !path.strip_prefix(app).is_some_and(|rest| rest.starts_with(b"/")) => {
            join(app, path.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
        }
        _ => path.to_vec(),
    }
}

/// What the client has written, decoded, if nginx has made `path` of it by no more than merging
/// slashes and following dots.
pub fn exact(path: Vec<u8>, unparsed: &[u8]) -> Vec<u8> {
    let written = unparsed.split(|byte| *byte == b'?').next().unwrap_or_default();
    let written: Vec<u8> = percent_decode(written).collect();
    match normal(&written) == path {
        true => written,
        false => path,
    }
}

/// A path as nginx reads it: empty segments and `.` do not count, and `..` goes back.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut is_dir = false;
    for segment in path.split(|byte| *byte == b'/') {
        is_dir = matches!(segment, b"" | b"." | b"..");
        match segment {
            b".." => drop(segments.pop()),
            _ if is_dir => (),
            segment => segments.push(segment),
        }
    }
    let mut normal = [b"/", segments.join(&b'/').as_slice()].concat();
    if is_dir && normal.len() > 1 {
        normal.push(b'/');
    }
    normal
}
