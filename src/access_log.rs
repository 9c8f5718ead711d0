//! The access log: one line for each client's session, written when it ends.

mod escape;

use crate::conf::AppConf;
use crate::variables::Vars;

/// Writes the session `vars` to the logs of its application. To be called once, at its end, and
/// not for relays.
pub fn write(app: &AppConf, vars: &dyn Vars) {
    for target in &app.access_log {
        let format = &target.format;
        let put = escape::writer(format.escape);
        let mut line = format.line.eval_with(vars, put);
        line.push(b'\n');
        target.file.write(&line);
    }
}
