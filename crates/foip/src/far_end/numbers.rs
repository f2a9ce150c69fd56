//! What each number of the sandbox does: the one table.
//!
//! +999 is no country's code, so that these numbers are never dialled on a real line. Refusals carry the Q.850 cause that
//! a telephone network would give (RFC 3326), since callers classify by it.

use std::time::Duration;

use crate::media::Faults;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// A final answer, after the ring delay.
    Refuse {
        /// Whether 180 comes before.
        rings: bool,
        code: u16,
        q850: u16,
    },
    /// 180, 200, and a fax is received.
    Receive(Receive),
}

/// How a fax is received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receive {
    /// In real time; the ring delay when absent.
    pub(super) answer_after: Option<Duration>,
    pub(super) t38: bool,
    pub(super) ecm: bool,
    pub(super) max_rate_bps: u32,
    pub(super) faults: Faults,
    pub(super) first_call: FirstCall,
}

/// What happens to the first call of a fax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstCall {
    Works,
    /// The far end hangs up in its first page.
    Fails,
}

/// The behaviour of a dialled number.
pub(super) fn behaviour(number: &str) -> Behaviour {
    let Some(code) = number.strip_prefix("+999") else { return receive(|_| {}) };
    match code.as_bytes() {
        // +999 1 SSSS: the last digits speak SIP.
        b"10200" => receive(|_| {}),
        b"10486" => refuse(486, 17),
        // Rings, and nobody comes: cause 19, no answer from user (user alerted).
        b"10480" => Behaviour::Refuse { rings: true, code: 480, q850: 19 },
        b"10404" => refuse(404, 1),
        b"10403" => refuse(403, 21),
        b"10488" => receive(|it| it.t38 = false),
        // Cause 38, network out of order, and not 34: no channel would be a busy trunk, this one is down.
        b"10503" => refuse(503, 38),
        // No 180, and after the ring delay 408 from somewhere behind the trunk: cause 102, recovery on timer expiry.
        b"10408" => refuse(408, 102),

        // +999 2: breaks.
        [b'2', b'0', b'0', b'0', page @ b'1'..=b'9'] => receive(|it| it.faults.hang_up_in_page = digit(*page)),
        [b'2', b'0', b'1', b'0', page @ b'1'..=b'9'] => receive(|it| it.faults.reject_page = digit(*page)),
        b"20200" => receive(|it| it.faults.lose_last_confirmation = true),

        // +999 3: odd machines.
        b"30001" => receive(|it| (it.t38, it.faults.voice) = (false, true)),
        b"30002" => receive(|it| it.ecm = false),
        b"30003" => receive(|it| it.max_rate_bps = 2400),
        b"30004" => receive(|it| it.first_call = FirstCall::Fails),

        // +999 4 SSSS: answers after SSSS seconds, ringing all the while.
        [b'4', seconds @ ..] if seconds.len() == 4 && seconds.iter().all(u8::is_ascii_digit) => {
            let seconds = seconds.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            receive(|it| it.answer_after = Some(Duration::from_secs(seconds)))
        }

        _ => receive(|_| {}),
    }
}

fn refuse(code: u16, q850: u16) -> Behaviour {
    Behaviour::Refuse { rings: false, code, q850 }
}

/// An ordinary machine, but for what `change` does to it.
fn receive(change: impl FnOnce(&mut Receive)) -> Behaviour {
    let mut receive = Receive {
        answer_after: None,
        t38: true,
        ecm: true,
        max_rate_bps: 14_400,
        faults: Faults::default(),
        first_call: FirstCall::Works,
    };
    change(&mut receive);
    Behaviour::Receive(receive)
}

fn digit(ascii: u8) -> Option<u32> {
    Some(u32::from(ascii - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_behaviour_and_all_others_receive() {
        let ordinary = receive(|_| {});
        for number in ["+99910200", "+41441234567", "0441234567", "", "+9992000", "+99920000", "+9994001", "+999400011"]
        {
            assert_eq!(behaviour(number), ordinary, "{number}");
        }
        assert_eq!(behaviour("+99910486"), refuse(486, 17));
        assert_eq!(behaviour("+99920003"), receive(|it| it.faults.hang_up_in_page = Some(3)));
        assert_eq!(behaviour("+99920102"), receive(|it| it.faults.reject_page = Some(2)));
        assert_eq!(behaviour("+99920200"), receive(|it| it.faults.lose_last_confirmation = true));
        assert_eq!(behaviour("+99940090"), receive(|it| it.answer_after = Some(Duration::from_secs(90))));
    }
}
