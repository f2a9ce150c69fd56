//! What the evidence of a call means: sent, not sent and why, or nobody can know.
//!
//! In comes a [`CallReport`], out goes a [`Verdict`]. The tables follow the SIP status (RFC 3261 §21), the Q.850 cause
//! of the Reason header (RFC 3326) and spandsp's T.30 completion code. What no table knows is `internal`, and counted.

use foip::{CallReport, SipStatus};

use crate::domain::Cause;
use crate::store::{AttemptEnd, Transport};

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The far end confirmed the last page.
    Sent,
    /// Everything was transmitted and the last confirmation did not come: the fax may be complete over there.
    Ambiguous,
    /// It was not sent, for this cause.
    Not(Cause),
}

impl Verdict {
    /// The cause to record; none when the fax was sent.
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Sent => None,
            Self::Ambiguous => Some(Cause::ConfirmationLost),
            Self::Not(cause) => Some(*cause),
        }
    }
}

/// Judges a call for a document of `page_count` pages.
pub(crate) fn judge(report: &CallReport, page_count: u32) -> Verdict {
    // T.30 phase E does not matter: the far end often hangs up while our DCN is still leaving. The MCF counts.
    if report.last_page_confirmed >= page_count {
        return Verdict::Sent;
    }
    if report.page_rejected {
        return Verdict::Not(Cause::PageRejected);
    }
    if report.all_pages_sent {
        return Verdict::Ambiguous;
    }
    if report.refused.is_some() {
        return Verdict::Not(Cause::Internal);
    }
    match &report.sip {
        None => Verdict::Not(Cause::LineDown),
        Some(status) if !(200..300).contains(&status.code) => Verdict::Not(sip_cause(status)),
        Some(_) => Verdict::Not(answered_cause(report)),
    }
}

/// Whether the trunk said nothing at all, so that nobody was called.
pub(crate) fn trunk_is_silent(report: &CallReport) -> bool {
    report.refused.is_none() && report.sip.as_ref().is_none_or(|sip| sip.local && sip.code == 408 && !sip.rang)
}

/// What a call was to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// T.38, or audio when that was refused.
    T38,
    /// Audio at once, since T.38 had failed before.
    Audio,
}

/// What a call teaches about its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// Audio at once, for some time.
    AvoidT38,
    /// Audio does no better: T.38 again.
    TryT38,
}

/// Whether the machines came to terms over what was tried: refused, no training, or not one page.
pub(crate) fn lesson(report: &CallReport, verdict: &Verdict, tried: Tried, first_page: u32) -> Option<Lesson> {
    let no_terms = match verdict {
        Verdict::Not(Cause::T38Refused) => true,
        Verdict::Not(Cause::TrainingFailed | Cause::RemoteHangup) => {
            report.fax_seen && report.refused.is_none() && report.last_page_confirmed < first_page
        }
        _ => false,
    };
    match tried {
        Tried::T38 if report.t38_refused => Some(Lesson::AvoidT38),
        Tried::T38 if no_terms && report.transport != Some(foip::Transport::G711) => Some(Lesson::AvoidT38),
        Tried::Audio if no_terms => Some(Lesson::TryT38),
        Tried::T38 | Tried::Audio => None,
    }
}

/// The cause behind a SIP final answer that is not a success. Q.850, when given, is the more exact of the two.
fn sip_cause(status: &SipStatus) -> Cause {
    // Our own timers: nothing at all came back, or nobody took the call.
    if status.local && status.code == 408 {
        return if status.rang { Cause::NoAnswer } else { Cause::LineDown };
    }
    if let Some(cause) = status.q850.and_then(q850_cause) {
        return cause;
    }
    match status.code {
        486 | 600 => Cause::Busy,
        480 => Cause::NoAnswer,
        // RFC 3261 §21.4.9: without ringing nobody was even asked.
        408 if status.rang => Cause::NoAnswer,
        408 => Cause::LineDown,
        404 | 410 | 484 | 604 => Cause::NumberUnassigned,
        403 | 603 | 607 => Cause::CallRefused,
        401 | 407 => Cause::TrunkAuth,
        415 | 488 | 606 => Cause::T38Refused,
        503 if status.q850.is_none() => Cause::LineDown,
        500..=599 => Cause::LineDown,
        _ => Cause::Internal,
    }
}

/// Q.850 §2.2.7 cause values that tell more than the SIP status.
fn q850_cause(value: u16) -> Option<Cause> {
    Some(match value {
        1 | 22 | 28 => Cause::NumberUnassigned,
        17 => Cause::Busy,
        18 | 19 => Cause::NoAnswer,
        21 => Cause::CallRefused,
        34 | 42 | 44 => Cause::NoFreeChannel,
        27 | 38 | 41 => Cause::LineDown,
        _ => return None,
    })
}

/// The cause when the call was answered and the fax did not get through.
fn answered_cause(report: &CallReport) -> Cause {
    if !report.fax_seen {
        return if report.voice_heard { Cause::VoiceAnswered } else { Cause::NoFaxTone };
    }
    let code = report.t30.as_ref().map_or(T30_CALL_DROPPED, |t30| t30.code);
    if report.last_page_confirmed == 0 && report.t38_refused && (5..=20).contains(&code) {
        return Cause::T38Refused;
    }
    t30_cause(code, report)
}

/// `T30_ERR_CALLDROPPED`.
const T30_CALL_DROPPED: i32 = 49;

/// spandsp's completion codes, t30.h `T30_ERR_…`, as the sender sees them.
fn t30_cause(code: i32, report: &CallReport) -> Cause {
    match code {
        // CED too long, T0, T1, T3: a fax signal was seen, and then no DIS.
        1..=4 => Cause::NoFaxTone,
        // Carrier, training, capabilities, DCS, DIS: the machines do not come to terms.
        5 | 6 | 8..=12 | 14 | 18..=20 => Cause::TrainingFailed,
        // A DCN instead of DIS before anything was sent: the machine is there and does not want.
        17 => Cause::CallRefused,
        // A DCN after a page, or T5 over in ECM: T.30 has no better word for no paper or memory.
        15 | 22 => Cause::NoPaperOrMemory,
        0 | 7 | 13 | 16 | 21 | 23..=40 | 48 | T30_CALL_DROPPED => Cause::RemoteHangup,
        // Files and memory are our own trouble.
        41..=47 => Cause::Internal,
        50..=61 => Cause::TrainingFailed,
        _ if report.remote_hung_up => Cause::RemoteHangup,
        _ => Cause::Internal,
    }
}

/// The record of how the attempt ended.
pub(crate) fn attempt_end(report: &CallReport, verdict: &Verdict) -> AttemptEnd {
    AttemptEnd {
        transport: report.transport.map(transport),
        rate_bps: report.rate_bps,
        ecm: report.ecm,
        remote_id: report.remote_id.clone(),
        sip_code: report.sip.as_ref().filter(|sip| !sip.local).map(|sip| sip.code),
        q850: report.sip.as_ref().and_then(|sip| sip.q850),
        t30_code: report.t30.as_ref().map(|t30| t30.code),
        detail: evidence(report),
        cause: verdict.cause(),
    }
}

/// foip's word for it in the store's.
pub(crate) fn transport(of: foip::Transport) -> Transport {
    match of {
        foip::Transport::T38 => Transport::T38,
        foip::Transport::G711 => Transport::G711,
    }
}

/// One line for people: the most telling thing that was seen.
fn evidence(report: &CallReport) -> String {
    if let Some(refused) = &report.refused {
        return format!("stopped by the gateway: {refused}");
    }
    match (&report.sip, &report.t30) {
        (None, _) => "no answer from the trunk".to_owned(),
        (Some(sip), _) if sip.local && sip.rang => "nobody answered".to_owned(),
        (Some(sip), _) if sip.local => format!("no answer from the trunk ({})", sip.phrase),
        (Some(sip), _) if !(200..300).contains(&sip.code) => {
            let q850 = sip.q850.map(|value| format!(", Q.850 cause {value}")).unwrap_or_default();
            format!("{} {}{q850}", sip.code, sip.phrase)
        }
        (Some(_), Some(t30)) if t30.code == 0 => "all pages confirmed".to_owned(),
        (Some(_), Some(t30)) if report.remote_hung_up => format!("the far end hung up: {}", t30.text),
        (Some(_), Some(t30)) => t30.text.clone(),
        (Some(_), None) => "the call ended before the fax began".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foip::T30Status;

    fn sip(code: u16) -> SipStatus {
        SipStatus { code, phrase: "x".into(), q850: None, retry_after_s: None, rang: false, local: false }
    }

    fn refused(status: SipStatus) -> CallReport {
        CallReport { sip: Some(status), ..CallReport::default() }
    }

    fn answered(t30_code: i32) -> CallReport {
        CallReport {
            sip: Some(sip(200)),
            t30: Some(T30Status { code: t30_code, text: "words".into() }),
            fax_seen: true,
            ..CallReport::default()
        }
    }

    fn check(report: &CallReport, expected: Verdict) {
        assert_eq!(judge(report, 3), expected, "{report:?}");
    }

    #[test]
    fn sip_answers_have_their_causes() {
        for (code, cause) in [
            (486, Cause::Busy),
            (600, Cause::Busy),
            (480, Cause::NoAnswer),
            (408, Cause::LineDown),
            (404, Cause::NumberUnassigned),
            (484, Cause::NumberUnassigned),
            (403, Cause::CallRefused),
            (603, Cause::CallRefused),
            (407, Cause::TrunkAuth),
            (488, Cause::T38Refused),
            (503, Cause::LineDown),
            (302, Cause::Internal),
        ] {
            check(&refused(sip(code)), Verdict::Not(cause));
        }
    }

    #[test]
    fn a_q850_cause_is_more_exact_than_the_status() {
        let busy_by_q850 = SipStatus { q850: Some(17), ..sip(480) };
        check(&refused(busy_by_q850), Verdict::Not(Cause::Busy));
        check(&refused(SipStatus { q850: Some(34), ..sip(503) }), Verdict::Not(Cause::NoFreeChannel));
        check(&refused(SipStatus { q850: Some(127), ..sip(486) }), Verdict::Not(Cause::Busy));
    }

    #[test]
    fn silence_of_the_trunk_is_not_the_recipients_fault() {
        check(&CallReport::default(), Verdict::Not(Cause::LineDown));
        check(&refused(SipStatus { local: true, ..sip(408) }), Verdict::Not(Cause::LineDown));
        check(&refused(SipStatus { local: true, rang: true, ..sip(408) }), Verdict::Not(Cause::NoAnswer));
        check(&refused(SipStatus { rang: true, ..sip(408) }), Verdict::Not(Cause::NoAnswer));
    }

    #[test]
    fn the_last_pages_confirmation_counts_and_not_the_end_of_t30() {
        let report = CallReport { last_page_confirmed: 3, all_pages_sent: true, remote_hung_up: true, ..answered(49) };
        check(&report, Verdict::Sent);
    }

    #[test]
    fn a_lost_last_confirmation_is_ambiguous_and_a_rejected_last_page_is_not() {
        let lost = CallReport { last_page_confirmed: 2, all_pages_sent: true, ..answered(21) };
        check(&lost, Verdict::Ambiguous);
        check(&CallReport { page_rejected: true, ..lost }, Verdict::Not(Cause::PageRejected));
    }

    #[test]
    fn who_answered_without_a_fax_is_told_apart() {
        let silent = CallReport { fax_seen: false, ..answered(2) };
        check(&silent, Verdict::Not(Cause::NoFaxTone));
        check(&CallReport { voice_heard: true, ..silent }, Verdict::Not(Cause::VoiceAnswered));
    }

    #[test]
    fn every_t30_code_has_a_cause_and_only_our_own_trouble_is_internal() {
        for code in 0..=61 {
            let Verdict::Not(cause) = judge(&answered(code), 3) else { panic!("{code}") };
            assert_eq!(cause == Cause::Internal, (41..=47).contains(&code), "{code}: {cause}");
        }
        check(&answered(999), Verdict::Not(Cause::Internal));
    }

    #[test]
    fn the_evidence_is_one_line_without_our_own_numbers_in_it() {
        let report = refused(SipStatus { q850: Some(17), phrase: "Busy Here".into(), ..sip(486) });
        let end = attempt_end(&report, &judge(&report, 1));
        assert_eq!(end.detail, "486 Busy Here, Q.850 cause 17");
        assert_eq!((end.sip_code, end.q850, end.cause), (Some(486), Some(17), Some(Cause::Busy)));
    }

    #[test]
    fn a_call_teaches_about_t38_only_when_the_machines_did_not_come_to_terms() {
        let over = |transport| CallReport { transport: Some(transport), ..answered(12) };
        let t38 = over(foip::Transport::T38);
        let audio = over(foip::Transport::G711);
        let refused = CallReport { t38_refused: true, ..audio.clone() };
        let page = CallReport { last_page_confirmed: 2, ..t38.clone() };
        let ours = CallReport { refused: Some("cancelled".into()), ..t38.clone() };
        for (report, tried, first_page, expected) in [
            (&t38, Tried::T38, 1, Some(Lesson::AvoidT38)),
            (&audio, Tried::T38, 1, None),
            (&refused, Tried::T38, 1, Some(Lesson::AvoidT38)),
            (&audio, Tried::Audio, 1, Some(Lesson::TryT38)),
            (&page, Tried::T38, 2, None),
            (&page, Tried::T38, 3, Some(Lesson::AvoidT38)),
            (&ours, Tried::T38, 1, None),
        ] {
            assert_eq!(lesson(report, &judge(report, 9), tried, first_page), expected, "{report:?} {tried:?}");
        }
        let sent = CallReport { t38_refused: true, last_page_confirmed: 9, ..audio };
        assert_eq!(lesson(&sent, &Verdict::Sent, Tried::T38, 1), Some(Lesson::AvoidT38), "the next call is quicker");
        let busy = CallReport { sip: Some(sip(486)), ..CallReport::default() };
        assert_eq!(lesson(&busy, &judge(&busy, 9), Tried::Audio, 1), None);
    }
}
