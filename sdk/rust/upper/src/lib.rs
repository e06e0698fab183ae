//! upper makes the ASCII letters of one text column upper case: the worked
//! connector of sdk/rust. It is the same in every language of the SDK, and all of
//! them pass the cases in sdk/guest/upper/testdata.
#![no_std]

use cdcd::{config, say, say_number, Connector, Error, Image, Kept, Row, Table, Text, Type, Verdict};

struct Upper {
    column: Text,       // whose letters become upper case
    drop: Option<Text>, // rows with this value are left out
    bytes_max: u32,     // rows with a longer value are refused; 0: none are
    kept: Kept,         // index of the column and 1, by table
}

impl Connector for Upper {
    fn init(&mut self, config: Text) -> Result<(), Error> {
        for (key, value) in config::members(config) {
            match (key, value, value.whole()) {
                (b"column", config::Value::Text(t), _) => self.column = t,
                (b"drop", config::Value::Text(t), _) => self.drop = Some(t),
                (b"bytes_max", _, Some(n)) => self.bytes_max = n,
                _ => {
                    say(key);
                    say(b" is not understood; write {column: name, drop: text, bytes_max: number}");
                    return Err(Error::BadConfig);
                }
            }
        }
        if self.column.is_empty() {
            say(b"column is missing; name the one to make upper case, as in {column: name}");
            return Err(Error::BadConfig);
        }
        Ok(())
    }

    fn schema(&mut self, table: &Table) -> Result<(), Error> {
        let index = match table.column(self.column) {
            Some(c) if c.kind != Type::STRING => {
                for part in [table.db, b".", table.name, b".", c.name] {
                    say(part);
                }
                say(b" is not a string; name a column that is one");
                return Err(Error::BadSchema);
            }
            Some(c) => c.index + 1,
            None => 0,
        };
        self.kept.set(table.id, index);
        Ok(())
    }

    fn row(&mut self, row: Row) -> Verdict {
        let c = match self.kept.get(row.table()) {
            0 => return Verdict::Pass,
            n => n - 1,
        };
        let after = self.image(row.after(), c);
        if after != Verdict::Pass && after != Verdict::Edited {
            return after;
        }
        match self.image(row.before(), c) {
            Verdict::Pass => after,
            before => before,
        }
    }
}

impl Upper {
    /// The verdict about one image.
    #[inline]
    fn image(&self, image: Option<Image>, c: u32) -> Verdict {
        let m = match image {
            Some(m) if m.has(c) => m,
            _ => return Verdict::Pass,
        };
        if let Some(n) = m.large(c) {
            return self.refuse(n, b" bytes, too many to read", None);
        }
        let v = m.bytes(c);
        if self.drop == Some(v) {
            return Verdict::Drop;
        }
        if self.bytes_max > 0 && v.len() as u32 > self.bytes_max {
            return self.refuse(v.len() as u32, b" bytes, more than ", Some(self.bytes_max));
        }
        if !v.iter().any(u8::is_ascii_lowercase) {
            return Verdict::Pass;
        }
        match m.set_room(c, v.len() as u32) {
            Some(room) => {
                for (to, b) in room.iter_mut().zip(v) {
                    *to = b.to_ascii_uppercase();
                }
                Verdict::Edited
            }
            None => Verdict::Full,
        }
    }

    #[inline(never)]
    fn refuse(&self, bytes: u32, why: &[u8], most: Option<u32>) -> Verdict {
        say(self.column);
        say(b" has ");
        say_number(bytes as u64);
        say(why);
        if let Some(n) = most {
            say_number(n as u64);
        }
        Verdict::DeadLetter
    }
}

cdcd::connector!(Upper, Upper { column: b"", drop: None, bytes_max: 0, kept: Kept::new() });
