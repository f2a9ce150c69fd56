//! Rich text cut into its words. Any octets are some sequence of them.

/// A piece of rich text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `{`
    Open,
    /// `}`
    Close,
    /// `\par`, `\u8364`: its letters and its number.
    Word(&'a [u8], Option<i32>),
    /// `\~`: the character.
    Symbol(u8),
    /// `\'fc`: the octet.
    Hex(u8),
    /// One octet of text.
    Text(u8),
}

/// Reads tokens; line ends of the file are none.
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    fn control(&mut self) -> Token<'a> {
        let letters = self.rest.iter().take(LETTERS_MAX).take_while(|b| b.is_ascii_alphabetic()).count();
        if letters == 0 {
            let Some((symbol, rest)) = self.rest.split_first() else { return Token::Text(b'\\') };
            self.rest = rest;
            return if *symbol == b'\'' { self.hex() } else { Token::Symbol(*symbol) };
        }
        let (word, rest) = self.rest.split_at(letters);
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take(DIGITS_MAX).take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = rest.split_at(if digits == 0 { 0 } else { sign + digits });
        let number = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok());
        // One space ends the word and is none of the text.
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
        if word == b"bin" {
            // Raw octets follow, in which braces mean nothing.
            let count = number.and_then(|n: i32| usize::try_from(n).ok()).unwrap_or(0);
            self.rest = self.rest.get(count..).unwrap_or_default();
        }
        Token::Word(word, number)
    }

    fn hex(&mut self) -> Token<'a> {
        let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if let [high, low, rest @ ..] = self.rest
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            self.rest = rest;
            return Token::Hex(high << 4 | low);
        }
        Token::Symbol(b'\'')
    }
}

/// RTF 1.9.1, "control word": 32 letters. A longer one is two.
const LETTERS_MAX: usize = 32;
/// As many as a 32-bit number has.
const DIGITS_MAX: usize = 10;

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            return Some(match first {
                b'{' => Token::Open,
                b'}' => Token::Close,
                b'\\' => self.control(),
                b'\r' | b'\n' | 0 => continue,
                other => Token::Text(*other),
            });
        }
    }
}
