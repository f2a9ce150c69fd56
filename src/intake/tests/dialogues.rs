//! The dialogues of `tests/smtp/*.txt`, each on a connection of its own with a gateway and its policy.
//!
//! `== title` begins one; `C:` is a line of the client (CRLF is added), `C=` octets with `\r` and `\n`, `S:` a reply, its lines joined by
//! ` | `, where `*` stands for anything and `?` for one character. `E:` begins a mail to one number with these parameters of MAIL,
//! `R:` is a recipient, in a mail that is begun when none is. `X` the connection is closed.

use super::*;

struct Dialogue {
    title: String,
    lines: Vec<(String, String)>,
}

#[tokio::test]
async fn every_dialogue_with_the_gateway_goes_as_it_is_written() {
    let change = |settings: &mut IntakeSettings| {
        settings.dial.allow = ["+1", "+33", "+39", "+41", "+44", "+49"].map(str::to_owned).to_vec();
        settings.smtp.senders = vec!["*@example.com".into()];
        settings.timeouts.tarpit = Duration::ZERO;
    };
    let gateway =
        Gateway::start_with(change, DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp");
    let (mut count, mut problems) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        for dialogue in parse(&std::fs::read_to_string(&path).unwrap()) {
            count += 1;
            let problem = hold(&gateway, &dialogue).await.err();
            problems.extend(problem.map(|problem| format!("{}: {}\n {problem}", path.display(), dialogue.title)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count >= 40, "only {count} dialogues were found");
}

fn parse(text: &str) -> Vec<Dialogue> {
    let mut dialogues: Vec<Dialogue> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix("== ") {
            Some(title) => dialogues.push(Dialogue { title: title.to_owned(), lines: Vec::new() }),
            None => {
                let (mark, rest) = line.split_at(line.len().min(2));
                let rest = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
                dialogues.last_mut().expect("a title comes first").lines.push((mark.to_owned(), rest));
            }
        }
    }
    dialogues
}

async fn hold(gateway: &Gateway, dialogue: &Dialogue) -> Result<(), String> {
    let mut client = gateway.client().await;
    let mut begun =
        dialogue.lines.iter().any(|(mark, _)| mark == "C:") && !dialogue.lines.iter().any(|(mark, _)| mark == "E:");
    for (mark, rest) in &dialogue.lines {
        match mark.as_str() {
            "C:" => client.write(format!("{rest}\r\n").as_bytes()).await,
            "C=" => client.write(rest.replace("\\r", "\r").replace("\\n", "\n").as_bytes()).await,
            "E:" => {
                begin(&mut client, rest).await?;
                expect(&client.say("RCPT TO:<0441234567@fax.test>").await, "250 2.1.5 fax to +41441234567")?;
                begun = true;
            }
            "R:" => {
                if !std::mem::replace(&mut begun, true) {
                    begin(&mut client, "").await?;
                }
                client.write(format!("RCPT TO:{rest}\r\n").as_bytes()).await;
            }
            "S:" => expect(&client.reply().await, rest)?,
            "X" => expect(&client.reply().await, "closed")?,
            other => return Err(format!("{other:?} means nothing")),
        }
    }
    // Nothing is said that was not expected.
    if dialogue.lines.last().is_some_and(|(mark, _)| mark == "S:") {
        expect(&client.say("NOOP").await, "250 2.0.0 here")?;
    }
    Ok(())
}

async fn begin(client: &mut Client, params: &str) -> Result<(), String> {
    client.say("EHLO client.test").await;
    let space = if params.is_empty() { "" } else { " " };
    let reply = client.say(&format!("MAIL FROM:<anna@example.com>{space}{params}")).await;
    expect(&reply, "250 2.1.0 sender accepted")
}

fn expect(got: &str, pattern: &str) -> Result<(), String> {
    let (got_all, pattern_all): (Vec<char>, Vec<char>) = (got.chars().collect(), pattern.chars().collect());
    if fits(&got_all, &pattern_all) { Ok(()) } else { Err(format!("got {got}\n not {pattern}")) }
}

fn fits(text: &[char], pattern: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=text.len()).any(|at| fits(&text[at..], rest)),
        (Some(('?', rest)), Some((_, text))) => fits(text, rest),
        (Some((wanted, rest)), Some((came, text))) => wanted == came && fits(text, rest),
        _ => false,
    }
}
