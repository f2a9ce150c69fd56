//! T.30 over T.38: a terminal that speaks IFP packets.

use std::ffi::c_int;

use crate::event::Watcher;
use crate::session::{Session, T30Control, on_packet};
use crate::settings::{Settings, SettingsError};
use crate::sys;

/// An IFP packet to send (T.38 §7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ifp {
    /// The packet.
    pub octets: Vec<u8>,
    /// How often to send it over a transport without redundancy of its own, from 1 to 4.
    pub copies: u8,
}

/// What was negotiated for T.38.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct T38Options {
    /// T38FaxVersion, 0 to 3; it changes the coding of packets.
    pub version: u8,
    /// Octets of a packet that the far end takes.
    pub max_datagram: usize,
}

/// A T.30 terminal over T.38 (Annex D of T.38 carries it in UDPTL, which is the caller's work).
#[derive(Debug)]
pub struct T38Terminal {
    terminal: sys::Object,
    core: sys::Object,
    session: Session,
}

// SAFETY: spandsp keeps no thread-local and no shared mutable state; the terminal and its context move together, and the
// watcher is `Send`.
unsafe impl Send for T38Terminal {}

impl T38Terminal {
    /// Makes a terminal; it begins with CNG or CED at its first tick.
    ///
    /// # Errors
    /// When the settings do not fit into T.30.
    pub fn new(settings: &Settings, options: T38Options, watcher: Box<dyn Watcher>) -> Result<Self, SettingsError> {
        let checked = settings.checked()?;
        let mut session = Session::new(settings, watcher);
        // SAFETY: NULL asks spandsp to allocate; the handler has the wanted type and its user data outlives the terminal.
        let terminal =
            unsafe { sys::t38_terminal_init(std::ptr::null_mut(), settings.calling, on_packet, session.user()) };
        if terminal.is_null() {
            return Err(SettingsError::Init);
        }
        // SAFETY: `terminal` is live; both getters return parts of it.
        let (t30, core) =
            unsafe { (sys::t38_terminal_get_t30_state(terminal), sys::t38_terminal_get_t38_core_state(terminal)) };
        // SAFETY: `core` is live; both are plain setters.
        unsafe {
            sys::t38_set_t38_version(core, c_int::from(options.version.min(3)));
            sys::t38_set_max_datagram_size(core, c_int::try_from(options.max_datagram).unwrap_or(c_int::MAX));
        }
        session.attach(t30, settings, &checked);
        Ok(Self { terminal, core, session })
    }

    /// Lets `samples` of 1/8000 s pass and appends the packets to send to `out`. After an abort nothing is sent.
    pub fn tick(&mut self, samples: u16, out: &mut Vec<Ifp>) {
        if self.session.aborted() {
            return;
        }
        // SAFETY: the terminal is live and not in use by anybody else.
        unsafe { sys::t38_terminal_send_timeout(self.terminal, c_int::from(samples)) };
        // What was made before the abort of this very tick is dropped, too: it could be the MCF.
        let aborted = self.session.aborted();
        let packets = std::mem::take(&mut self.session.context_mut().packets);
        if !aborted {
            out.extend(packets);
        }
    }

    /// Takes a packet of the far end with its UDPTL sequence number.
    pub fn rx_ifp(&mut self, seq: u16, packet: &[u8]) {
        // T.38 packets are far below this; spandsp takes an int.
        let Ok(length) = c_int::try_from(packet.len()) else { return };
        if self.session.aborted() || packet.is_empty() {
            return;
        }
        // SAFETY: `packet` has `length` octets; spandsp copies what it keeps. The terminal is not in use by anybody else.
        unsafe { sys::t38_core_rx_ifp_packet(self.core, packet.as_ptr(), length, seq) };
    }

    /// T.30 itself, whatever carries it.
    #[must_use]
    pub fn t30(&self) -> &Session {
        &self.session
    }

    /// T.30 itself, to be told something.
    pub fn t30_control(&mut self) -> T30Control<'_> {
        T30Control(&mut self.session)
    }
}

impl Drop for T38Terminal {
    fn drop(&mut self) {
        // SAFETY: made by `t38_terminal_init`, freed once, before the session that its callbacks point to.
        unsafe { sys::t38_terminal_free(self.terminal) };
    }
}
