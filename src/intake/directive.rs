//! Directives: what a sender writes in `[fax: …]` in the subject or in `X-Fax-…` fields.
//!
//! A directive is carried out or refused with the list of valid ones; it is never printed and never ignored. The bracket is
//! taken out of the subject. The same thing said twice in two ways is refused, as one of them would be ignored.

mod time;

use crate::config::nearest;
use crate::domain::{BodyPlace, Cause, Quality, ReportStyle};
use crate::intake::address::quoted;
use crate::intake::refusal::Refusal;
pub(crate) use time::At;

/// For the refusal: every word.
const WORDS: &str = "standard, fine, superfine, cover NAME, no cover, body page|cover|drop, only ATTACHMENT, at TIME, ref TEXT, \
                     priority low|normal|high, notify on|off|text, hold, preview";
/// The first words alone, for what is nearly one.
const FIRST_WORDS: [&str; 14] = [
    "standard",
    "fine",
    "superfine",
    "cover",
    "no",
    "body",
    "only",
    "at",
    "ref",
    "priority",
    "notify",
    "hold",
    "preview",
    "to",
];
/// For the refusal: every field.
const FIELDS: &str =
    "X-Fax-Quality, X-Fax-Cover, X-Fax-At, X-Fax-Ref, X-Fax-Notify, X-Fax-Priority and X-Fax-Idempotency-Key";
/// Longest pattern of an attachment's name.
const ONLY_MAX: usize = 200;
/// What fits a cover's line.
const REFERENCE_MAX: usize = 60;
/// A key longer than this is no key.
const KEY_MAX: usize = 200;
/// More words than exist.
const WORDS_MAX: usize = 20;

/// What the sender asked for; nothing where the configuration holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Directives {
    pub(crate) quality: Option<Quality>,
    pub(crate) cover: Option<Cover>,
    pub(crate) body: Option<BodyPlace>,
    pub(crate) reference: Option<String>,
    pub(crate) priority: Option<Priority>,
    pub(crate) notify: Option<ReportStyle>,
    pub(crate) idempotency_key: Option<String>,
    /// No call before this.
    pub(crate) at: Option<At>,
    /// The attachments that are sent, by name; `*` stands for any characters.
    pub(crate) only: Option<String>,
    /// Nothing is called until somebody releases it.
    pub(crate) hold: Option<()>,
    /// The pages are shown and not sent.
    pub(crate) preview: Option<()>,
    /// Whose fax is shown, in a mail to `preview@`.
    pub(crate) to: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    Named(String),
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Low,
    Normal,
    High,
}

impl Priority {
    /// As the store orders them: lower is sooner.
    pub(crate) fn rank(self) -> i16 {
        match self {
            Self::High => 2,
            Self::Normal => 5,
            Self::Low => 8,
        }
    }
}

/// Reads subject and fields. Answers the subject without its brackets, and what they say. `covers` are the names that exist.
///
/// # Errors
/// `directive-unknown` for anything that is not understood or not built yet.
pub(crate) fn read(
    subject: &str,
    fields: &[(String, String)],
    covers: &[String],
) -> Result<(String, Directives), Refusal> {
    let mut found = Directives::default();
    let (subject, brackets) = take_brackets(subject)?;
    let words: Vec<&str> =
        brackets.iter().flat_map(|b| b.split(',')).map(str::trim).filter(|w| !w.is_empty()).collect();
    if words.len() > WORDS_MAX {
        return Err(refuse(format!("{} directives are more than there are; use {WORDS}", words.len())));
    }
    for word in words {
        apply(&mut found, word, covers)?;
    }
    for (name, value) in fields {
        field(&mut found, name, value.trim(), covers)?;
    }
    Ok((subject, found))
}

/// Every `[fax: …]` in any case, out of the subject.
fn take_brackets(subject: &str) -> Result<(String, Vec<String>), Refusal> {
    const OPEN: &str = "[fax:";
    let mut rest = subject.to_owned();
    let mut brackets = Vec::new();
    // ASCII case only: offsets must be those of the text itself.
    while let Some(start) = rest.to_ascii_lowercase().find(OPEN) {
        let tail = &rest[start + OPEN.len()..];
        let Some(end) = tail.find(']') else {
            return Err(refuse("the [fax: bracket in the subject has no end; close it with ]".to_owned()));
        };
        brackets.push(tail[..end].to_owned());
        rest = format!("{} {}", &rest[..start], &tail[end + 1..]);
        if brackets.len() > WORDS_MAX {
            return Err(refuse("too many [fax: …] brackets in the subject; use one".to_owned()));
        }
    }
    if brackets.is_empty() {
        return Ok((rest, brackets));
    }
    Ok((rest.split_whitespace().collect::<Vec<_>>().join(" "), brackets))
}

fn apply(found: &mut Directives, text: &str, covers: &[String]) -> Result<(), Refusal> {
    let (word, argument) = text.split_once(char::is_whitespace).map_or((text, ""), |(w, a)| (w, a.trim()));
    let lower = word.to_ascii_lowercase();
    match (lower.as_str(), argument) {
        ("standard" | "fine" | "superfine", "") => set(&mut found.quality, parsed(word, text)?, text),
        ("no", argument) if argument.eq_ignore_ascii_case("cover") => set(&mut found.cover, Cover::None, text),
        ("cover", name) if !name.is_empty() => set(&mut found.cover, cover(name, covers)?, text),
        ("body", place) if !place.is_empty() => set(&mut found.body, parsed(place, text)?, text),
        ("ref", reference) if !reference.is_empty() => set(&mut found.reference, self::reference(reference)?, text),
        ("priority", value) if !value.is_empty() => set(&mut found.priority, priority(value, text)?, text),
        ("notify", value) if !value.is_empty() => set(&mut found.notify, notify(value, text)?, text),
        ("at", time) if !time.is_empty() => set(&mut found.at, at(time, text)?, text),
        ("only", name) if !name.is_empty() => set(&mut found.only, only(name)?, text),
        ("hold", "") => set(&mut found.hold, (), text),
        ("preview", "") => set(&mut found.preview, (), text),
        ("to", number) if !number.is_empty() => set(&mut found.to, number.to_owned(), text),
        _ => Err(unknown(text)),
    }
}

fn field(found: &mut Directives, name: &str, value: &str, covers: &[String]) -> Result<(), Refusal> {
    let shown = format!("{name}: {value}");
    match name.to_ascii_lowercase().as_str() {
        "x-fax-quality" => set(&mut found.quality, parsed(value, &shown)?, &shown),
        "x-fax-cover" if matches!(value.to_ascii_lowercase().as_str(), "none" | "no" | "no cover") => {
            set(&mut found.cover, Cover::None, &shown)
        }
        "x-fax-cover" => set(&mut found.cover, cover(value, covers)?, &shown),
        "x-fax-at" => set(&mut found.at, at(value, &shown)?, &shown),
        "x-fax-ref" if !value.is_empty() => set(&mut found.reference, reference(value)?, &shown),
        "x-fax-priority" => set(&mut found.priority, priority(value, &shown)?, &shown),
        "x-fax-notify" => set(&mut found.notify, notify(value, &shown)?, &shown),
        "x-fax-idempotency-key" if (1..=KEY_MAX).contains(&value.len()) => {
            set(&mut found.idempotency_key, value.to_owned(), &shown)
        }
        "x-fax-idempotency-key" => {
            Err(refuse(format!("X-Fax-Idempotency-Key does not have 1 to {KEY_MAX} octets; shorten it")))
        }
        _ => Err(refuse(format!("{} is not a field of this gateway; use {FIELDS}", quoted(&shown)))),
    }
}

fn set<T: PartialEq>(slot: &mut Option<T>, value: T, text: &str) -> Result<(), Refusal> {
    match slot {
        Some(earlier) if *earlier != value => {
            Err(refuse(format!("{} contradicts an earlier directive; give one of them", quoted(text))))
        }
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn parsed<T: std::str::FromStr>(value: &str, text: &str) -> Result<T, Refusal> {
    value.parse().map_err(|_| unknown(text))
}

fn cover(name: &str, covers: &[String]) -> Result<Cover, Refusal> {
    match covers.iter().find(|cover| cover.eq_ignore_ascii_case(name)) {
        Some(cover) => Ok(Cover::Named(cover.clone())),
        None if covers.is_empty() => Err(refuse(format!("there is no cover {}; use no cover", quoted(name)))),
        None => Err(refuse(format!(
            "there is no cover {}; use cover {} or no cover",
            quoted(name),
            covers.join(", cover ")
        ))),
    }
}

fn reference(text: &str) -> Result<String, Refusal> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if text.chars().count() > REFERENCE_MAX {
        return Err(refuse(format!("the reference has more than {REFERENCE_MAX} characters; shorten it")));
    }
    Ok(text)
}

pub(super) fn at(value: &str, text: &str) -> Result<At, Refusal> {
    value.parse().map_err(|_| {
        let forms = "at 18:00, at tomorrow 8:30, at 2026-12-24 18:00 or at 2026-12-24T18:00+01:00";
        refuse(format!("{} has no time that is understood; write it as in {forms}", quoted(text)))
    })
}

fn only(name: &str) -> Result<String, Refusal> {
    let name = name.trim_matches('"');
    if name.is_empty() || name.chars().count() > ONLY_MAX {
        return Err(refuse(format!("only needs the name of an attachment, of {ONLY_MAX} characters at most")));
    }
    Ok(name.to_owned())
}

fn priority(value: &str, text: &str) -> Result<Priority, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "low" => Ok(Priority::Low),
        "normal" => Ok(Priority::Normal),
        "high" => Ok(Priority::High),
        _ => Err(unknown(text)),
    }
}

fn notify(value: &str, text: &str) -> Result<ReportStyle, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(ReportStyle::Image),
        "off" => Ok(ReportStyle::Off),
        "text" => Ok(ReportStyle::Text),
        _ => Err(unknown(text)),
    }
}

fn unknown(text: &str) -> Refusal {
    let first = text.split_whitespace().next().unwrap_or_default();
    match nearest(first, FIRST_WORDS.into_iter()).filter(|near| !near.eq_ignore_ascii_case(first)) {
        Some(near) => refuse(format!("{} is not a fax directive; did you mean {near}? Use {WORDS}", quoted(text))),
        None => refuse(format!("{} is not a fax directive; use {WORDS}", quoted(text))),
    }
}

fn refuse(text: String) -> Refusal {
    Refusal::new(554, Cause::DirectiveUnknown, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(subject: &str, fields: &[(&str, &str)]) -> Result<(String, Directives), String> {
        let fields: Vec<(String, String)> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        read(subject, &fields, &["plain".to_owned(), "acme".to_owned()]).map_err(|refusal| {
            assert_eq!((refusal.code, refusal.status, refusal.cause), (554, "5.6.0", Cause::DirectiveUnknown));
            refusal.text
        })
    }

    #[test]
    fn the_bracket_is_read_and_removed_from_the_subject() {
        let subject =
            "Offer 4711 [FAX: superfine, no cover, ref 4711 b , priority high,body drop, notify text] for you";
        let (subject, found) = read_all(subject, &[]).unwrap();
        let expected = Directives {
            quality: Some(Quality::Superfine),
            cover: Some(Cover::None),
            body: Some(BodyPlace::Drop),
            reference: Some("4711 b".into()),
            priority: Some(Priority::High),
            notify: Some(ReportStyle::Text),
            ..Directives::default()
        };
        assert_eq!((subject.as_str(), found), ("Offer 4711 for you", expected));
    }

    #[test]
    fn fields_say_the_same_as_words() {
        let fields = [
            ("x-fax-quality", "Fine"),
            ("x-fax-cover", "ACME"),
            ("x-fax-ref", "r"),
            ("x-fax-priority", "low"),
            ("x-fax-notify", "off"),
            ("x-fax-idempotency-key", "k1"),
        ];
        let (subject, found) = read_all("Hello  [draft]", &fields).unwrap();
        assert_eq!(subject, "Hello  [draft]", "a subject without a fax bracket stays as it is");
        assert_eq!(found.cover, Some(Cover::Named("acme".into())));
        assert_eq!((found.quality, found.notify), (Some(Quality::Fine), Some(ReportStyle::Off)));
        assert_eq!(found.idempotency_key.as_deref(), Some("k1"));
        assert_eq!(read_all("[fax: fine]", &[("x-fax-quality", "fine")]).unwrap().0, "");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_list_of_what_is() {
        for word in [
            "suprefine",
            "fine please",
            "cover",
            "body",
            "body sideways",
            "ref",
            "notify maybe",
            "priority urgent",
            "no",
            "no body",
        ] {
            let text = read_all(&format!("x [fax: {word}]"), &[]).unwrap_err();
            assert!(text.contains(word) && text.contains("superfine"), "{word}: {text}");
        }
        for word in ["at", "at noon", "at 25:00", "only", "preview me", "hold on", "to"] {
            let text = read_all(&format!("[fax: {word}]"), &[]).unwrap_err();
            assert!(text.contains("superfine") || text.contains("at 18:00"), "{word}: {text}");
        }
        assert!(read_all("[fax: suprefine]", &[]).unwrap_err().contains("did you mean superfine?"));
        assert!(read_all("[fax: cover gold]", &[]).unwrap_err().contains("use cover plain, cover acme or no cover"));
        assert!(read_all("[fax: fine", &[]).unwrap_err().contains("no end"));
        assert!(read_all("[fax: fine, standard]", &[]).unwrap_err().contains("contradicts"));
        assert!(read_all("[fax: fine]", &[("x-fax-quality", "standard")]).unwrap_err().contains("contradicts"));
        for (name, value) in
            [("x-fax-at", "soon"), ("x-fax-colour", "red"), ("x-fax-quality", "best"), ("x-fax-ref", "")]
        {
            assert!(read_all("x", &[(name, value)]).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_sent_when_and_whether_is_read() {
        let (subject, found) = read_all("Offer [fax: only \"offer*.pdf\", at tomorrow 8:30, hold]", &[]).unwrap();
        assert_eq!((subject.as_str(), found.only.as_deref()), ("Offer", Some("offer*.pdf")));
        assert!(found.hold.is_some() && found.at.is_some() && found.preview.is_none());
        let (_, found) = read_all("[fax: preview, to +41 44 123 45 67]", &[("x-fax-at", "18:00")]).unwrap();
        assert!(found.preview.is_some() && found.at.is_some());
        assert_eq!(found.to.as_deref(), Some("+41 44 123 45 67"));
        assert!(read_all("[fax: at 18:00]", &[("x-fax-at", "19:00")]).unwrap_err().contains("contradicts"));
    }

    #[test]
    fn letters_that_change_length_in_lower_case_do_no_harm() {
        assert_eq!(
            read_all("\u{130}\u{130}\u{130} [fax: fine] \u{130}", &[]).unwrap().0,
            "\u{130}\u{130}\u{130} \u{130}"
        );
    }
}
