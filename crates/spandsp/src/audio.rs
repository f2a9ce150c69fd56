//! T.30 over audio: a terminal that speaks linear samples, 8000 a second.

use std::ffi::c_int;

use crate::event::Watcher;
use crate::session::{Session, T30Control};
use crate::settings::{Settings, SettingsError};
use crate::sys;

/// A T.30 terminal with its modems (V.21, V.27ter, V.29, V.17).
#[derive(Debug)]
pub struct AudioFax {
    fax: sys::Object,
    session: Session,
}

// SAFETY: as for `T38Terminal`.
unsafe impl Send for AudioFax {}

impl AudioFax {
    /// Makes a terminal; it begins with CNG or CED at its first samples.
    ///
    /// # Errors
    /// When the settings do not fit into T.30.
    pub fn new(settings: &Settings, watcher: Box<dyn Watcher>) -> Result<Self, SettingsError> {
        let checked = settings.checked()?;
        let mut session = Session::new(settings, watcher);
        // SAFETY: NULL asks spandsp to allocate.
        let fax = unsafe { sys::fax_init(std::ptr::null_mut(), settings.calling) };
        if fax.is_null() {
            return Err(SettingsError::Init);
        }
        // SAFETY: `fax` is live.
        let t30 = unsafe {
            sys::fax_set_transmit_on_idle(fax, 1);
            sys::fax_get_t30_state(fax)
        };
        session.attach(t30, settings, &checked);
        Ok(Self { fax, session })
    }

    /// Fills `samples` with what goes to the line; silence after an abort.
    pub fn audio_tx(&mut self, samples: &mut [i16]) {
        samples.fill(0);
        let Ok(length) = c_int::try_from(samples.len()) else { return };
        if self.session.aborted() {
            return;
        }
        // SAFETY: spandsp writes at most `length` samples; the terminal is not in use by anybody else.
        unsafe { sys::fax_tx(self.fax, samples.as_mut_ptr(), length) };
        if self.session.aborted() {
            samples.fill(0);
        }
    }

    /// Takes samples of the line; spandsp removes their direct current in place. T.30's clock runs by these.
    pub fn audio_rx(&mut self, samples: &mut [i16]) {
        let Ok(length) = c_int::try_from(samples.len()) else { return };
        if self.session.aborted() {
            return;
        }
        // SAFETY: `samples` has `length` samples; the terminal is not in use by anybody else.
        unsafe { sys::fax_rx(self.fax, samples.as_mut_ptr(), length) };
    }

    /// Bridges `length` lost samples: the receiving modem keeps its timing.
    pub fn fill_in(&mut self, length: u16) {
        if self.session.aborted() {
            return;
        }
        // SAFETY: the terminal is live and not in use by anybody else.
        unsafe { sys::fax_rx_fillin(self.fax, c_int::from(length)) };
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

impl Drop for AudioFax {
    fn drop(&mut self) {
        // SAFETY: made by `fax_init`, freed once, before the session that its callbacks point to.
        unsafe { sys::fax_free(self.fax) };
    }
}
