//! Reads a connector's configuration: a flat JSON object.

use crate::Text;

/// What a member holds. Objects, lists, numbers and words are as they are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Text(Text),
    Other(Text),
}

impl Value {
    /// A whole number from 0 to 4294967295.
    pub fn whole(self) -> Option<u32> {
        let digits = match self {
            Value::Other(p) if !p.is_empty() => p,
            _ => return None,
        };
        let mut v = 0u32;
        for b in digits {
            if !b.is_ascii_digit() {
                return None;
            }
            v = v.checked_mul(10)?.checked_add((b - b'0') as u32)?;
        }
        Some(v)
    }
}

/// The members of an object: key and value. It ends where there is none, or where
/// what follows is no JSON; the host has checked that the configuration is an
/// object. Texts are unescaped where they lie, so that an object is read once.
pub struct Members {
    p: &'static [u8],
}

/// Begins to read an object.
pub fn members(object: Text) -> Members {
    Members { p: object }
}

impl Iterator for Members {
    type Item = (Text, Value);

    fn next(&mut self) -> Option<(Text, Value)> {
        self.skip();
        if matches!(self.p.first(), Some(b'{' | b',')) {
            self.step(1);
            self.skip();
        }
        let key = self.string()?;
        self.skip();
        if self.p.first() != Some(&b':') {
            return None;
        }
        self.step(1);
        self.skip();
        if self.p.first()? == &b'"' {
            return Some((key, Value::Text(self.string()?)));
        }
        Some((key, Value::Other(self.other())))
    }
}

impl Members {
    fn step(&mut self, n: usize) {
        self.p = self.p.get(n..).unwrap_or(&[]);
    }

    fn skip(&mut self) {
        while matches!(self.p.first(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step(1);
        }
    }

    /// Reads what is no string, to where the member ends.
    fn other(&mut self) -> Text {
        let from = self.p;
        let (mut depth, mut at, mut end) = (0, 0, 0);
        while let Some(b) = from.get(at) {
            match b {
                b'"' => {
                    at += 1;
                    while from.get(at).map_or(false, |b| *b != b'"') {
                        at += if from[at] == b'\\' { 2 } else { 1 };
                    }
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => break,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            at += 1;
            if !matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
                end = at;
            }
        }
        self.step(at);
        from.get(..end).unwrap_or(&[])
    }

    /// Reads a string and unescapes it where it lies: it only becomes shorter.
    fn string(&mut self) -> Option<Text> {
        if self.p.first()? != &b'"' {
            return None;
        }
        self.step(1);
        let begin = self.p.as_ptr() as *mut u8;
        let mut len = 0;
        let mut put = |b: u8| {
            unsafe { *begin.add(len) = b };
            len += 1;
        };
        loop {
            let b = *self.p.first()?;
            self.step(1);
            match b {
                b'"' => break,
                b'\\' => {
                    let c = *self.p.first()?;
                    self.step(1);
                    match c {
                        b'n' => put(b'\n'),
                        b't' => put(b'\t'),
                        b'r' => put(b'\r'),
                        b'b' => put(8),
                        b'f' => put(12),
                        b'u' => utf8(self.code_point()?, &mut put),
                        _ => put(c),
                    }
                }
                _ => put(b),
            }
        }
        Some(unsafe { core::slice::from_raw_parts(begin, len) })
    }

    /// Reads what is behind `\u`, and a second half of a pair of surrogates.
    fn code_point(&mut self) -> Option<u32> {
        let v = self.hex()?;
        if v >> 10 == 0x36 && self.p.starts_with(b"\\u") {
            self.step(2);
            return Some(0x10000 + ((v & 0x3ff) << 10) + (self.hex()? & 0x3ff));
        }
        Some(v)
    }

    fn hex(&mut self) -> Option<u32> {
        let mut v = 0;
        for b in self.p.get(..4)? {
            v = v << 4 | (*b as char).to_digit(16)?;
        }
        self.step(4);
        Some(v)
    }
}

fn utf8(v: u32, put: &mut impl FnMut(u8)) {
    let tail = |shift: u32| 0x80 | (v >> shift & 63) as u8;
    match v {
        0..=0x7f => put(v as u8),
        0x80..=0x7ff => put(0xc0 | (v >> 6) as u8),
        0x800..=0xffff => put(0xe0 | (v >> 12) as u8),
        _ => put(0xf0 | (v >> 18) as u8),
    }
    if v > 0xffff {
        put(tail(12));
    }
    if v > 0x7ff {
        put(tail(6));
    }
    if v > 0x7f {
        put(tail(0));
    }
}
