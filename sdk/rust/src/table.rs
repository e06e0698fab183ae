//! Tables' definitions: the encoding is in docs/design/connector-abi.md.

use crate::memory::{bytes, load};
use crate::Text;

/// Types of columns: docs/design/batch-layout.md says what their slots hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Type(pub u8);

impl Type {
    pub const INT: Type = Type(1);
    pub const UINT: Type = Type(2);
    pub const FLOAT32: Type = Type(3);
    pub const FLOAT64: Type = Type(4);
    pub const DECIMAL: Type = Type(5);
    pub const BIT: Type = Type(6);
    pub const YEAR: Type = Type(7);
    pub const DATE: Type = Type(8);
    pub const TIME: Type = Type(9);
    pub const DATETIME: Type = Type(10);
    pub const TIMESTAMP: Type = Type(11);
    pub const ENUM: Type = Type(12);
    pub const SET: Type = Type(13);
    pub const STRING: Type = Type(14);
    pub const BYTES: Type = Type(15);
    pub const JSON: Type = Type(16);
    pub const GEOMETRY: Type = Type(17);
    pub const VECTOR: Type = Type(18);
    pub const UUID: Type = Type(19);
    pub const INET: Type = Type(20);

    /// Reports whether a column's slots refer to the heap.
    pub fn in_heap(self) -> bool {
        self == Type::DECIMAL || self.0 >= Type::ENUM.0
    }
}

/// A table's definition: views, good within `Connector::schema`.
pub struct Table {
    /// What its rows name: dense, and of no meaning outside this run.
    pub id: u32,
    pub db: Text,
    pub name: Text,
    columns: u32,
    first: u32,
}

/// One column of it.
#[derive(Clone, Copy)]
pub struct Column {
    pub index: u32,
    pub name: Text,
    pub kind: Type,
    pub nullable: bool,
    pub scale: u8,
    pub length: u32,
    /// The type as the database has it.
    pub native: Text,
}

fn text(at: &mut u32) -> Text {
    let t = bytes(*at + 4, load(*at));
    *at += 4 + t.len() as u32;
    t
}

impl Table {
    pub(crate) fn read(mut at: u32) -> Table {
        let id = load(at);
        at += 4;
        let (db, name) = (text(&mut at), text(&mut at));
        Table { id, db, name, columns: load(at), first: at + 4 }
    }

    /// The columns, in order.
    pub fn columns(&self) -> Columns {
        Columns { at: self.first, next: 0, end: self.columns }
    }

    /// Finds a column by its name.
    pub fn column(&self, name: &[u8]) -> Option<Column> {
        self.columns().find(|c| c.name == name)
    }
}

/// What `Table::columns` returns.
pub struct Columns {
    at: u32,
    next: u32,
    end: u32,
}

impl Iterator for Columns {
    type Item = Column;

    fn next(&mut self) -> Option<Column> {
        if self.next == self.end {
            return None;
        }
        let name = text(&mut self.at);
        let flags = load(self.at).to_le_bytes();
        let length = load(self.at + 4);
        self.at += 8;
        let native = text(&mut self.at);
        let labels = load(self.at);
        self.at += 4;
        for _ in 0..labels {
            text(&mut self.at);
        }
        self.next += 1;
        Some(Column {
            index: self.next - 1,
            name,
            kind: Type(flags[0]),
            nullable: flags[1] != 0,
            scale: flags[2],
            length,
            native,
        })
    }
}
