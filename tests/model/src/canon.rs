//! Recognises states that behave alike: instants count relative to now, sequence numbers, names of requests, versions and
//! intent UIDs by their order only. Without this a node at rest would reach a new state with every tick, for ever.

use std::hash::{DefaultHasher, Hasher};

use palisade_core::hashing::{INSTANT, REQUEST, SEQUENCE, WRITE};

/// Instants further back than this are all the same: longer than every bound of the configurations.
const LONG_AGO: i64 = 40_000;
/// And further ahead.
const FAR_AHEAD: i64 = 1_000_000;

/// Versions and UIDs in the model are 13 digits with one of these in front.
pub const VERSION: u64 = 9_000_000_000_000;
pub const UID: u64 = 8_000_000_000_000;

const DIGITS: usize = 13;
const KINDS: usize = 5;

enum Token {
    Plain(u64),
    Ranked(u8, u64),
}

/// Collects what is hashed and puts it into canonical form at the end.
pub struct Canon {
    now: u64,
    tokens: Vec<Token>,
}

impl Canon {
    pub fn new(now: u64) -> Self {
        Self { now, tokens: Vec::with_capacity(512) }
    }

    /// Instants that follow are on a clock that shows this now.
    pub fn clock(&mut self, now: u64) {
        self.now = now;
    }

    /// An instant on the current clock.
    fn instant(&mut self, at: u64) {
        let relative = (at as i64).saturating_sub(self.now as i64).clamp(-LONG_AGO, FAR_AHEAD);
        self.tokens.push(Token::Plain(relative as u64));
    }
}

impl Hasher for Canon {
    fn write(&mut self, bytes: &[u8]) {
        if bytes.len() == DIGITS
            && matches!(bytes[0], b'8' | b'9')
            && let Some(number) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<u64>().ok())
        {
            let kind = if bytes[0] == b'9' { 2 } else { 3 };
            self.tokens.push(Token::Ranked(kind, number));
            return;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        self.tokens.push(Token::Plain(hasher.finish()));
    }

    fn write_u8(&mut self, value: u8) {
        self.tokens.push(Token::Plain(u64::from(value)));
    }

    fn write_u32(&mut self, value: u32) {
        self.tokens.push(Token::Plain(u64::from(value)));
    }

    fn write_u64(&mut self, value: u64) {
        self.tokens.push(Token::Plain(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.tokens.push(Token::Plain(value as u64));
    }

    fn write_isize(&mut self, value: isize) {
        self.tokens.push(Token::Plain(value as u64));
    }

    fn write_i64(&mut self, value: i64) {
        self.tokens.push(Token::Plain(value as u64));
    }

    fn write_i128(&mut self, value: i128) {
        let number = value as u64;
        match value & !i128::from(u64::MAX) {
            INSTANT => self.instant(number),
            SEQUENCE => self.tokens.push(Token::Ranked(0, number)),
            REQUEST => self.tokens.push(Token::Ranked(1, number)),
            WRITE => self.tokens.push(Token::Ranked(4, number)),
            _ => self.tokens.push(Token::Plain(number)),
        }
    }

    fn finish(&self) -> u64 {
        let mut values: [Vec<u64>; KINDS] = Default::default();
        for token in &self.tokens {
            if let Token::Ranked(kind, value) = token {
                values[usize::from(*kind)].push(*value);
            }
        }
        for kind in &mut values {
            kind.sort_unstable();
            kind.dedup();
        }
        let mut hasher = DefaultHasher::new();
        for token in &self.tokens {
            match token {
                Token::Plain(value) => hasher.write_u64(*value),
                Token::Ranked(kind, value) => {
                    let rank = values[usize::from(*kind)].partition_point(|other| other < value);
                    hasher.write_u64(rank as u64);
                }
            }
        }
        hasher.finish()
    }
}
