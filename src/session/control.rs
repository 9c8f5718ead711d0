//! Protocol control: acknowledgements and user control messages.

use rtmp_protocol::control::Control;

use super::state::Session;

impl Session {
    /// Has the protocol's rules take something in, and sends what they ask for. Lengths of buffers
    /// change nothing, since a live player gets what there is.
    pub(super) fn control(&self, take: impl FnOnce(&mut Control, &mut Vec<u8>)) {
        let mut control = self.control.get();
        let mut out = Vec::new();
        take(&mut control, &mut out);
        self.control.set(control);
        if !out.is_empty() {
            self.send(&out);
        }
    }
}
