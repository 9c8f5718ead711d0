//! The program as a whole: players of the floor receive everything, in order, unchanged and in time.

use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rtmp-bench");

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two seconds of media with a key frame each half second; false if there is no ffmpeg.
fn make_media(file: &Path) -> bool {
    let Ok(status) = Command::new("ffmpeg")
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
        .args(["-f", "lavfi", "-i", "sine=sample_rate=44100", "-t", "2", "-g", "15", "-bf", "0"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"])
        .arg(file)
        .status()
    else {
        return false;
    };
    assert!(status.success());
    true
}

#[test]
fn players_of_the_floor_miss_nothing() {
    let dir = std::env::temp_dir().join(format!("rtmp-bench-floor-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let media = dir.join("media.flv");
    if !make_media(&media) {
        eprintln!("skipped: no ffmpeg here");
        return;
    }
    let media = media.to_str().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let floor = ["floor", "--listen", &address, "--window", "50", "--streams", "2"];
    let floor = Command::new(PROGRAM)
        .args(floor)
        .args(["--media", media, "--serve-for", "30"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let floor = Ended(floor);
    while std::net::TcpStream::connect(&address).is_err() {
        std::thread::yield_now();
    }
    let output = Command::new(PROGRAM)
        .args(["run", "--streams", "2", "--play", &format!("floor://{address}/{{}}*3")])
        .args(["--media", media, "--verify-every", "1", "--json", "-", "--require-clean"])
        .args(["--warm-up", "0.1", "--window", "0.6", "--drain", "0.3", "--settle", "0"])
        .args(["--server-pid", &floor.0.id().to_string()])
        .output()
        .unwrap();
    drop(floor);
    std::fs::remove_dir_all(&dir).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["kind"].as_str(), report["clean"].as_bool()), (Some("run"), Some(true)));
    assert_eq!((report["players"].as_u64(), report["playing"].as_u64()), (Some(6), Some(6)));
    assert_eq!(report["tally"]["corrupt"].as_u64(), Some(0));
    // 73 messages a second, 2 streams, 3 players each
    assert!(report["tally"]["received"].as_u64().unwrap() > 200, "{report}");
    assert!(report["tally"]["crc_checked"].as_u64().unwrap() > 200, "{report}");
    assert!(report["groups"][0]["latency"]["max"].as_f64().unwrap() > 45.0, "{report}");
    assert!(report["server"]["cpu_s"].as_f64().unwrap() > 0.0, "{report}");
}
