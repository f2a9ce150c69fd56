//! The functions of spandsp 3.0 that we use, declared by hand.
//!
//! `spandsp-sys` builds and links the library; its generated bindings are not used, so that what crosses the border is
//! seen at a glance. Signatures follow `t38_terminal.h`, `t38_core.h`, `fax.h`, `t30.h` and `t30_api.h`.

use std::ffi::{c_char, c_int, c_void};

// Links the library.
use spandsp_sys as _;

/// An opaque object of spandsp's.
pub(crate) type Object = *mut c_void;

pub(crate) type TxPacketHandler = extern "C" fn(Object, *mut c_void, *const u8, c_int, c_int) -> c_int;
pub(crate) type PhaseHandler = extern "C" fn(*mut c_void, c_int) -> c_int;
pub(crate) type PhaseEHandler = extern "C" fn(*mut c_void, c_int);
pub(crate) type FrameHandler = extern "C" fn(*mut c_void, bool, *const u8, c_int);
pub(crate) type TiffHandler = Option<extern "C" fn(*const c_char, *const c_char, *mut c_void)>;

/// `t30_stats_t`; all lengths in pixels, resolutions in pixels per metre.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stats {
    pub(crate) bit_rate: c_int,
    pub(crate) error_correcting_mode: c_int,
    pub(crate) pages_tx: c_int,
    pub(crate) pages_rx: c_int,
    pub(crate) pages_in_file: c_int,
    pub(crate) image_type: c_int,
    pub(crate) image_x_resolution: c_int,
    pub(crate) image_y_resolution: c_int,
    pub(crate) image_width: c_int,
    pub(crate) image_length: c_int,
    pub(crate) kind: c_int,
    pub(crate) x_resolution: c_int,
    pub(crate) y_resolution: c_int,
    pub(crate) width: c_int,
    pub(crate) length: c_int,
    pub(crate) image_size: c_int,
    pub(crate) compression: c_int,
    pub(crate) bad_rows: c_int,
    pub(crate) longest_bad_row_run: c_int,
    pub(crate) error_correcting_mode_retries: c_int,
    pub(crate) current_status: c_int,
    pub(crate) rtp_events: c_int,
    pub(crate) rtn_events: c_int,
}

// SAFETY: the declarations match the C headers of the linked library; callers keep each function's own rules.
unsafe extern "C" {
    pub(crate) fn t38_terminal_init(s: Object, calling: bool, tx: TxPacketHandler, user: *mut c_void) -> Object;
    pub(crate) fn t38_terminal_free(s: Object) -> c_int;
    pub(crate) fn t38_terminal_send_timeout(s: Object, samples: c_int) -> c_int;
    pub(crate) fn t38_terminal_get_t30_state(s: Object) -> Object;
    pub(crate) fn t38_terminal_get_t38_core_state(s: Object) -> Object;
    pub(crate) fn t38_core_rx_ifp_packet(core: Object, buf: *const u8, len: c_int, seq: u16) -> c_int;
    pub(crate) fn t38_set_t38_version(core: Object, version: c_int);
    pub(crate) fn t38_set_max_datagram_size(core: Object, size: c_int);

    pub(crate) fn fax_init(s: Object, calling: bool) -> Object;
    pub(crate) fn fax_free(s: Object) -> c_int;
    pub(crate) fn fax_rx(s: Object, samples: *mut i16, len: c_int) -> c_int;
    pub(crate) fn fax_rx_fillin(s: Object, len: c_int) -> c_int;
    pub(crate) fn fax_tx(s: Object, samples: *mut i16, len: c_int) -> c_int;
    pub(crate) fn fax_get_t30_state(s: Object) -> Object;
    pub(crate) fn fax_set_transmit_on_idle(s: Object, on: c_int);

    pub(crate) fn t30_set_tx_ident(t30: Object, id: *const c_char) -> c_int;
    pub(crate) fn t30_get_rx_ident(t30: Object) -> *const c_char;
    pub(crate) fn t30_set_tx_sub_address(t30: Object, sub: *const c_char) -> c_int;
    pub(crate) fn t30_get_rx_sub_address(t30: Object) -> *const c_char;
    pub(crate) fn t30_set_tx_file(t30: Object, file: *const c_char, start: c_int, stop: c_int);
    pub(crate) fn t30_set_rx_file(t30: Object, file: *const c_char, stop: c_int);
    pub(crate) fn t30_set_ecm_capability(t30: Object, enabled: bool) -> c_int;
    pub(crate) fn t30_set_retransmit_capable(t30: Object, enabled: bool);
    pub(crate) fn t30_set_supported_modems(t30: Object, modems: c_int) -> c_int;
    pub(crate) fn t30_set_supported_compressions(t30: Object, compressions: c_int) -> c_int;
    pub(crate) fn t30_set_supported_output_compressions(t30: Object, compressions: c_int) -> c_int;
    pub(crate) fn t30_set_supported_bilevel_resolutions(t30: Object, resolutions: c_int) -> c_int;
    pub(crate) fn t30_set_supported_colour_resolutions(t30: Object, resolutions: c_int) -> c_int;
    pub(crate) fn t30_set_supported_image_sizes(t30: Object, sizes: c_int) -> c_int;
    pub(crate) fn t30_set_supported_t30_features(t30: Object, features: c_int) -> c_int;
    pub(crate) fn t30_set_phase_b_handler(t30: Object, handler: PhaseHandler, user: *mut c_void);
    pub(crate) fn t30_set_phase_d_handler(t30: Object, handler: PhaseHandler, user: *mut c_void);
    pub(crate) fn t30_set_phase_e_handler(t30: Object, handler: PhaseEHandler, user: *mut c_void);
    pub(crate) fn t30_set_real_time_frame_handler(t30: Object, handler: FrameHandler, user: *mut c_void);
    pub(crate) fn t30_set_receiver_not_ready(t30: Object, count: c_int) -> c_int;
    pub(crate) fn t30_set_status(t30: Object, status: c_int);
    pub(crate) fn t30_get_transfer_statistics(t30: Object, stats: *mut Stats);
    pub(crate) fn t30_completion_code_to_str(code: c_int) -> *const c_char;
    pub(crate) fn t30_terminate(t30: Object);

    // libtiff writes its warnings to standard error unless told otherwise.
    pub(crate) fn TIFFSetWarningHandler(handler: TiffHandler) -> TiffHandler;
    pub(crate) fn TIFFSetErrorHandler(handler: TiffHandler) -> TiffHandler;
}

/// Length of spandsp's `tx_file` and `rx_file` with their final NUL.
pub(crate) const FILE_NAME_SIZE: usize = 256;
/// Length of an identification or a subaddress without final NUL (T.30 §5.3.6.2.4).
pub(crate) const IDENT_LENGTH_MAX: usize = 20;

pub(crate) const SUPPORT_V27TER: c_int = 0x01;
pub(crate) const SUPPORT_V29: c_int = 0x02;
pub(crate) const SUPPORT_V17: c_int = 0x04;

/// MH. No JBIG (T.85): it saves little on light pages and not every receiver's gateway passes it.
pub(crate) const COMPRESSION_T4_1D: c_int = 0x02;
/// MR.
pub(crate) const COMPRESSION_T4_2D: c_int = 0x04;
/// MMR; for the received file too.
pub(crate) const COMPRESSION_T6: c_int = 0x08;
/// 204x98, 204x196, 204x391 and their inch twins 200x100, 200x200, 200x400: everything 1728 pixels wide.
pub(crate) const RESOLUTIONS: c_int = 0x01 | 0x02 | 0x04 | 0x20 | 0x40 | 0x80;
/// 215 mm wide; A4, B4, Letter, Legal and unlimited length.
pub(crate) const IMAGE_SIZES: c_int = 0x01 | 0x01_0000 | 0x02_0000 | 0x04_0000 | 0x08_0000 | 0x10_0000;
/// Sub-addressing and identification frames.
pub(crate) const FEATURE_SUB_ADDRESSING: c_int = 0x10;

pub(crate) const STATUS_OK: c_int = 0;
pub(crate) const STATUS_CALL_DROPPED: c_int = 49;
