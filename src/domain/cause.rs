//! The error catalogue: why something was refused, waits or failed.
//!
//! One enum feeds SMTP replies, notices, commands, console and API, so that one thing has one name and one
//! explanation everywhere. `docs/reference/causes.md` is generated from it.

use crate::domain::page::words;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It may work later; the gateway tries again by its retry rules.
    Retry,
    /// Trying again the same way cannot work.
    Final,
    /// Pages may have arrived; the gateway never sends again by itself.
    Ambiguous,
}

words!(Class { Retry = "retry", Final = "final", Ambiguous = "ambiguous" });

/// What people are told about a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whether trying again can help.
    pub class: Class,
    /// RFC 3463 status for a final report or an SMTP reply, as in `5.1.3`.
    pub status: &'static str,
    /// A few words for subjects and lists: "number not assigned".
    pub title: &'static str,
    /// What happened, one sentence.
    pub cause: &'static str,
    /// What the person can do, one sentence.
    pub fix: &'static str,
    /// What the gateway does next, one sentence.
    pub next: &'static str,
}

macro_rules! catalogue {
    ($($variant:ident, $slug:literal, $class:ident, $status:literal, $title:literal,
       $cause:literal, $fix:literal, $next:literal;)+) => {
        /// One entry of the catalogue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Cause {
            $(#[doc = $cause] #[serde(rename = $slug)] $variant,)+
        }

        words!(Cause { $($variant = $slug),+ });

        impl Cause {
            /// What people are told.
            pub fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => &Entry {
                        class: Class::$class, status: $status, title: $title,
                        cause: $cause, fix: $fix, next: $next,
                    },)+
                }
            }
        }
    };
}

catalogue! {
    Busy, "busy", Retry, "4.4.1", "line busy",
        "The number was busy.",
        "Nothing now; if it stays busy, ask the recipient whether another number is free.",
        "The gateway calls again by its retry rules.";
    NoAnswer, "no-answer", Retry, "4.4.1", "no answer",
        "Nobody and no machine answered the call.",
        "Ask the recipient whether the fax machine is switched on.",
        "The gateway calls again by its retry rules.";
    NumberUnassigned, "number-unassigned", Final, "5.1.1", "number not assigned",
        "The telephone network says that this number does not exist.",
        "Check the number with the recipient and send again.",
        "Nothing more; this is final.";
    NumberInvalid, "number-invalid", Final, "5.1.3", "not a fax number",
        "The address does not hold a number that can be dialled.",
        "Use the full number, as in +41441234567.",
        "Nothing was accepted for this recipient.";
    NumberNotAllowed, "number-not-allowed", Final, "5.7.1", "number not allowed",
        "The dialling rules of this gateway do not allow this number.",
        "Ask the administrator to allow the number's prefix in dial.allow.",
        "Nothing was dialled.";
    CallRefused, "call-refused", Final, "5.7.1", "call refused",
        "The network or the called party refused the call.",
        "Ask the recipient whether calls from your number are blocked.",
        "Nothing more; this is final.";
    VoiceAnswered, "voice-answered", Final, "5.1.2", "a person answered",
        "Somebody answered the call, but it was not a fax machine.",
        "Check the number: it seems to be a telephone.",
        "Nothing more, so that nobody is called again and again.";
    NoFaxTone, "no-fax-tone", Retry, "5.1.2", "no fax machine answered",
        "The call was answered, but no fax tone was heard.",
        "Ask the recipient whether a fax machine is on this line.",
        "The gateway calls again a few times with long pauses.";
    T38Refused, "t38-refused", Retry, "4.4.2", "T.38 refused",
        "The far end refused T.38 and the fax could not be sent as audio either.",
        "Set fallback = \"g711\" for the trunk or ask the carrier for T.38.",
        "The gateway calls again by its retry rules.";
    TrainingFailed, "training-failed", Retry, "4.4.2", "machines could not agree on a speed",
        "The two machines could not agree on a speed that the line carries.",
        "Nothing now; if it happens with one recipient only, tell the administrator.",
        "The gateway calls again with more careful settings.";
    PageRejected, "page-rejected", Retry, "4.4.2", "page rejected",
        "The receiving machine said that a page arrived badly.",
        "Nothing now; the rejected page is sent again.",
        "The gateway calls again and goes on with the rejected page.";
    RemoteHangup, "remote-hangup", Retry, "4.4.2", "connection lost",
        "The connection ended in the middle of the fax.",
        "Nothing now; the pages that are missing are sent in another call.",
        "The gateway calls again and goes on with the first page that was not confirmed.";
    ConfirmationLost, "confirmation-lost", Ambiguous, "4.4.2", "last confirmation lost",
        "All pages were transmitted, but the connection ended before the other machine confirmed the last one.",
        "Ask the recipient whether the last page arrived; send it again only if it did not.",
        "Nothing: it is not sent again, so that nobody gets it twice.";
    NoPaperOrMemory, "no-paper-or-memory", Final, "4.2.2", "out of paper or memory",
        "The receiving machine has no paper or no memory left.",
        "Ask the recipient to refill the machine, then send again.",
        "Nothing more; this is final.";
    LineDown, "line-down", Retry, "4.4.4", "line down",
        "The gateway's line to the telephone network takes no calls.",
        "Nothing now; tell the administrator if it lasts.",
        "The gateway tries again as soon as a line works.";
    TrunkAuth, "trunk-auth", Retry, "4.4.4", "line login refused",
        "The carrier refused the gateway's user name or password.",
        "Ask the administrator to check user and password of the trunk.",
        "The gateway tries again by its retry rules.";
    NoFreeChannel, "no-free-channel", Retry, "4.4.5", "no free channel",
        "The telephone network has no free channel.",
        "Nothing now; it is tried again by itself.",
        "The gateway calls again by its retry rules.";
    SenderNotAllowed, "sender-not-allowed", Final, "5.7.1", "sender not allowed",
        "You are not allowed to send faxes through this gateway.",
        "Ask the administrator to add your network to smtp.relay.",
        "Nothing was accepted.";
    SenderLimit, "sender-limit", Retry, "4.7.1", "sending limit reached",
        "You have sent as many faxes or pages as you may within an hour or a day.",
        "Wait, your mail program sends it once more by itself; or ask the administrator to raise your limit.",
        "Nothing was accepted; there is room again when the hour or the day is over.";
    MailNotAuthentic, "mail-not-authentic", Final, "5.7.26", "sender not proved",
        "The mail does not prove that it comes from the domain of its sender.",
        "Ask the administrator of the sending domain to sign mail with DKIM, or log in.",
        "Nothing was accepted.";
    MailReplayed, "mail-replayed", Final, "5.7.7", "signed mail used before",
        "A signed mail that was faxed before came once more.",
        "Send a new mail, which gets a signature of its own.",
        "Nothing was accepted, so that nobody can send another's mail again.";
    LoginRequired, "login-required", Final, "5.7.0", "login required",
        "The gateway wants a login before it takes faxes from here.",
        "Set a user name and password in your mail program.",
        "Nothing was accepted.";
    DocumentUnsupported, "document-unsupported", Final, "5.6.1", "attachment of an unsupported kind",
        "An attachment is of a kind that cannot be turned into fax pages.",
        "Send it as PDF, TIFF, PNG, JPEG, GIF or plain text.",
        "Nothing was dialled, so that no shorter fax goes out.";
    DocumentEncrypted, "document-encrypted", Final, "5.6.1", "attachment locked by a password",
        "An attachment is locked by a password.",
        "Save it without a password and send again.",
        "Nothing was dialled, so that no shorter fax goes out.";
    DocumentDamaged, "document-damaged", Final, "5.6.5", "attachment damaged",
        "An attachment is damaged or would need more time or memory than is allowed.",
        "Open it, save it again as PDF and send again.",
        "Nothing was dialled, so that no shorter fax goes out.";
    DocumentEmpty, "document-empty", Final, "5.6.0", "nothing to send",
        "The mail has neither text nor an attachment with at least one page.",
        "Add a text or an attachment and send again.",
        "Nothing was dialled.";
    TooManyPages, "too-many-pages", Final, "5.3.4", "too many pages",
        "The fax has more pages than this gateway allows.",
        "Send it in parts, or ask the administrator to raise render.max_pages.",
        "Nothing was dialled.";
    TooLarge, "too-large", Final, "5.3.4", "mail too large",
        "The mail is larger than this gateway allows.",
        "Send fewer or smaller attachments.",
        "Nothing was accepted.";
    DirectiveUnknown, "directive-unknown", Final, "5.6.0", "unknown fax directive",
        "A word in the [fax: …] bracket or an X-Fax header is not known.",
        "Use one of the words that the message lists.",
        "Nothing was accepted.";
    AutomaticMail, "automatic-mail", Final, "5.7.1", "automatic mail",
        "A program has sent this mail, and nobody is called for automatic mail.",
        "Send it by hand; or ask the administrator to set automatic = true for your programs.",
        "Nothing was accepted.";
    OrderNotPossible, "order-not-possible", Final, "5.0.0", "order not possible",
        "What was ordered for this fax cannot be done with it any more.",
        "Read the newest report on the fax; send the document as a new fax if it is still needed.",
        "Nothing was changed.";
    DuplicateSubmission, "duplicate-submission", Final, "2.0.0", "sent before",
        "The same mail was accepted before.",
        "Nothing; the first one is being worked on.",
        "Nothing: it is not sent twice.";
    Expired, "expired", Final, "4.4.7", "gave up",
        "The fax could not be sent before its time was over.",
        "Send it again if it is still of use.",
        "Nothing more; this is final.";
    Cancelled, "cancelled", Final, "5.0.0", "cancelled",
        "Somebody cancelled the fax.",
        "Send it again if that was a mistake.",
        "Nothing more; this is final.";
    StoreUnavailable, "store-unavailable", Retry, "4.3.0", "store not available",
        "The gateway cannot store mails safely at the moment.",
        "Nothing; your mail program tries again by itself.",
        "Nothing was accepted; the gateway takes mail again as soon as it can store it.";
    Draining, "draining", Retry, "4.3.2", "in maintenance",
        "This node of the gateway is being taken out of service.",
        "Nothing; your mail program tries again or uses another node.",
        "Nothing was accepted.";
    RelayDenied, "relay-denied", Final, "5.7.1", "not a fax address",
        "The address is in a domain that this gateway does not serve.",
        "Use the gateway's domain, as in +41441234567@fax.example.com.",
        "Nothing was accepted for this recipient.";
    TooManyRecipients, "too-many-recipients", Retry, "4.5.3", "too many recipients",
        "The mail has more recipients than one transaction may have.",
        "Your mail program sends the rest in another transaction by itself.",
        "The recipients accepted so far are served.";
    ProtocolError, "protocol-error", Final, "5.5.0", "SMTP protocol error",
        "The mail program said something that SMTP does not allow.",
        "Tell the people who make or run the sending program.",
        "Nothing was accepted.";
    Internal, "internal", Retry, "4.3.0", "internal error",
        "Something happened that the gateway has no name for.",
        "Tell the administrator; the log has the details.",
        "The gateway tries again by its retry rules.";
}

impl Entry {
    /// What a person can do when the gateway has ended its tries. The rest of the entry speaks of a fax that is still
    /// tried.
    pub fn final_fix(&self) -> String {
        const AGAIN: &str = "Send it again later if it is still of use.";
        if self.class != Class::Retry {
            return self.fix.to_owned();
        }
        match self.fix.strip_prefix("Nothing now; ") {
            // "Nothing now; if it stays busy, ask …": the condition holds by now.
            Some(rest) if rest.starts_with("if ") => format!("{AGAIN} I{}", &rest[1..]),
            Some(_) => format!("{AGAIN} If it fails again, tell your administrator."),
            None if self.fix.starts_with("Nothing") => AGAIN.to_owned(),
            None => format!("{} {AGAIN}", self.fix),
        }
    }

    /// What the gateway does next when it has ended its tries.
    pub fn final_next(&self) -> &'static str {
        match self.class {
            Class::Retry => "Nothing more: all calls that the retry rules allow were made.",
            Class::Final | Class::Ambiguous => self.next,
        }
    }
}

impl Cause {
    /// The word in brackets at the end of every reply and in every list.
    pub fn slug(self) -> &'static str {
        self.as_str()
    }

    /// Whether trying again can help.
    pub fn class(self) -> Class {
        self.entry().class
    }

    /// The status for a report that is final: a persistent transient cause stays 4.x.y (RFC 3463 §2: the class
    /// of a final report tells what kind of failure it was).
    pub fn status(self) -> &'static str {
        self.entry().status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_cause_a_fix_and_what_comes_next_in_whole_sentences() {
        for cause in Cause::ALL {
            let entry = cause.entry();
            for sentence in [entry.cause, entry.fix, entry.next] {
                assert!(sentence.ends_with('.') && sentence.len() > 10, "{cause}: {sentence:?}");
            }
            assert!(!entry.title.ends_with('.'), "{cause}");
        }
    }

    #[test]
    fn slugs_are_unique_and_read_back() {
        for cause in Cause::ALL {
            assert_eq!(cause.slug().parse::<Cause>(), Ok(*cause));
            assert!(cause.slug().bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
        }
    }

    #[test]
    fn statuses_are_rfc_3463_triples() {
        for cause in Cause::ALL {
            let parts: Vec<&str> = cause.status().split('.').collect();
            assert_eq!(parts.len(), 3, "{cause}");
            assert!(["2", "4", "5"].contains(&parts[0]), "{cause}");
        }
    }

    /// The generated part of `docs/reference/causes.md`: a table to look up a slug, then each class with its entries.
    fn causes_page() -> String {
        use crate::domain::reference::{head, row};
        let mut page = head(&["slug", "class", "status", "in short"]);
        for cause in Cause::ALL {
            let entry = cause.entry();
            let link = format!("[`{cause}`](#{cause})");
            page.push_str(&row(&[&link, entry.class.as_str(), entry.status, entry.title]));
        }
        for class in Class::ALL {
            page.push_str(&format!("\n## Class {class}\n"));
            for cause in Cause::ALL.iter().filter(|cause| cause.class() == *class) {
                let Entry { status, cause: what, fix, next, .. } = cause.entry();
                page.push_str(&format!(
                    "\n### {cause}\n{what} Status {status}.\n\n- What to do: {fix}\n- What is next: {next}\n"
                ));
            }
        }
        page
    }

    #[test]
    fn docs_list_every_cause() {
        let stored = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/causes.md"));
        crate::domain::reference::check("causes.md", stored, &causes_page());
    }
}
