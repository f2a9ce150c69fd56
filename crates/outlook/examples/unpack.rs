//! Unpacks a TNEF stream or a `.msg` file into a folder and lists what it found, a line each, fields parted by tabs.
//!
//! `cargo run -p outlook --example unpack -- FILE FOLDER`. `tests/oracle` compares the result with other programs'.

use std::fs;
use std::path::Path;

use outlook::{Content, Message};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder] = arguments.as_slice() else { return Err("usage: unpack FILE FOLDER".into()) };
    let octets = fs::read(file)?;
    let message = if outlook::is_tnef(&octets) { outlook::open_tnef(&octets)? } else { outlook::open_msg(&octets)? };
    fs::create_dir_all(folder)?;
    unpack(&message, Path::new(folder), "")?;
    Ok(())
}

fn unpack(message: &Message, folder: &Path, place: &str) -> std::io::Result<()> {
    println!("{place}subject\t{}", message.subject);
    println!("{place}from\t{:?}\tto\t{}\tcc\t{}\tsent\t{:?}", message.from, message.to, message.cc, message.sent_s);
    for (form, text) in [("plain", &message.plain), ("html", &message.html)] {
        if let Some(text) = text {
            println!("{place}{form}\t{}", text.len());
            fs::write(folder.join(format!("{place}{form}")), text)?;
        }
    }
    for (number, attachment) in message.attachments.iter().enumerate() {
        let place = format!("{place}{number}.");
        let name = attachment.name.as_deref().unwrap_or_default();
        let inline = if attachment.inline { "inline" } else { "attached" };
        let id = attachment.content_id.as_deref().unwrap_or_default();
        match &attachment.content {
            Content::File(octets) => {
                println!("{place}file\t{name}\t{}\t{inline}\t{:?}\t{id}", octets.len(), attachment.media);
                fs::write(folder.join(format!("{place}file")), octets)?;
            }
            Content::Message(nested) => {
                println!("{place}message\t{name}");
                unpack(nested, folder, &place)?;
            }
            Content::Missing(why) => println!("{place}missing\t{name}\t{why}"),
        }
    }
    message.problems.iter().for_each(|p| println!("{place}problem\t{:?}\t{}", p.loss, p.what));
    Ok(())
}
