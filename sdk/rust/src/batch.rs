//! Rows and their images: the layout is in docs/design/batch-layout.md.

use crate::memory::{bytes, load, store};
use crate::Text;

pub const SIZE: u32 = 12; // offsets in the header
pub const CAPACITY: u32 = 16;
pub const ROWS: u32 = 20;
pub const ROW_DIR: u32 = 24;
pub const FIRST_ROW: u32 = 40;

const ROW_HEADER_SIZE: u32 = 32;
const DEST_SIZE: u32 = 24;

/// What happened to a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Op(pub u8);

impl Op {
    pub const INSERT: Op = Op(1);
    pub const UPDATE: Op = Op(2);
    pub const DELETE: Op = Op(3);
    /// A snapshot read the row.
    pub const READ: Op = Op(4);
    pub const TRUNCATE: Op = Op(5);
}

/// A row of the batch in hand: a view.
#[derive(Clone, Copy)]
pub struct Row {
    batch: u32,
    at: u32,
    columns: u32,
    /// Its number in the batch.
    pub number: u32,
}

fn byte(at: u32) -> u8 {
    unsafe { *(at as *const u8) }
}

fn words(columns: u32) -> u32 {
    (columns + 63) / 64 * 8
}

fn bit(mask: u32, c: u32) -> bool {
    byte(mask + c / 8) >> (c % 8) & 1 != 0
}

fn set_bit(mask: u32, c: u32, on: bool) {
    let p = (mask + c / 8) as *mut u8;
    unsafe { *p = *p & !(1 << (c % 8)) | (on as u8) << (c % 8) }
}

impl Row {
    #[inline]
    pub(crate) fn at(batch: u32, number: u32) -> Row {
        let at = batch + load(batch + load(batch + ROW_DIR) + 4 * number);
        Row { batch, at, columns: load(at + 24), number }
    }

    pub fn op(&self) -> Op {
        Op(byte(self.at))
    }

    /// The id of its table.
    pub fn table(&self) -> u32 {
        load(self.at + 4)
    }

    pub fn columns(&self) -> u32 {
        self.columns
    }

    fn flags(&self) -> u8 {
        byte(self.at + 1)
    }

    fn changed_at(&self) -> u32 {
        self.at + ROW_HEADER_SIZE + if self.flags() & 4 != 0 { DEST_SIZE } else { 0 }
    }

    /// Reports whether an update changed the column: of rows with both images.
    pub fn changed(&self, c: u32) -> bool {
        bit(self.changed_at(), c)
    }

    fn image(&self, at: u32) -> Image {
        Image { batch: self.batch, at, columns: self.columns }
    }

    /// The image after the change: none in a delete.
    #[inline]
    pub fn after(&self) -> Option<Image> {
        let at = self.changed_at() + words(self.columns);
        if self.flags() & 2 != 0 { Some(self.image(at)) } else { None }
    }

    /// The image before the change: none in an insert.
    #[inline]
    pub fn before(&self) -> Option<Image> {
        let mut at = self.changed_at() + words(self.columns);
        if self.flags() & 2 != 0 {
            at += 2 * words(self.columns) + 8 * self.columns;
        }
        if self.flags() & 1 != 0 { Some(self.image(at)) } else { None }
    }
}

/// A row before or after its change: a view. Columns are counted from 0, and
/// one that the row does not have is another's memory.
#[derive(Clone, Copy)]
pub struct Image {
    batch: u32,
    at: u32,
    columns: u32,
}

impl Image {
    #[inline]
    pub fn is_null(&self, c: u32) -> bool {
        bit(self.at, c)
    }

    /// Absent: the log does not tell the value. Not the same as NULL.
    #[inline]
    pub fn is_absent(&self, c: u32) -> bool {
        bit(self.at + words(self.columns), c)
    }

    /// Reports whether the column has a value: neither NULL nor absent.
    #[inline]
    pub fn has(&self, c: u32) -> bool {
        !self.is_null(c) && !self.is_absent(c)
    }

    #[inline]
    fn slot_at(&self, c: u32) -> u32 {
        self.at + 2 * words(self.columns) + 8 * c
    }

    /// The raw slot: the value of an inline type.
    #[inline]
    pub fn slot(&self, c: u32) -> u64 {
        unsafe { *(self.slot_at(c) as *const u64) }
    }

    pub fn int(&self, c: u32) -> i64 {
        self.slot(c) as i64
    }

    pub fn float(&self, c: u32) -> f64 {
        f64::from_bits(self.slot(c))
    }

    /// The length of a value of a heap type that is over 64 KiB and lives beside
    /// the batch, where it can't be read.
    #[inline]
    pub fn large(&self, c: u32) -> Option<u32> {
        let n = load(self.slot_at(c) + 4);
        if n >> 31 != 0 { Some(n & 0x7fff_ffff) } else { None }
    }

    /// The value of a heap type that is not large: a view. It is never written
    /// to; a new value is appended.
    #[inline]
    pub fn bytes(&self, c: u32) -> Text {
        let s = self.slot_at(c);
        bytes(self.batch + load(s), load(s + 4))
    }

    /// Gives the column an inline value.
    #[inline]
    pub fn set_slot(&self, c: u32, v: u64) {
        set_bit(self.at, c, false);
        set_bit(self.at + words(self.columns), c, false);
        unsafe { *(self.slot_at(c) as *mut u64) = v }
    }

    /// Makes the column SQL NULL.
    pub fn set_null(&self, c: u32) {
        self.set_slot(c, 0);
        set_bit(self.at, c, true);
    }

    /// Gives the column a heap value of len bytes, which the caller then fills.
    /// None: there is no room; return `Verdict::Full`.
    #[inline]
    pub fn set_room(&self, c: u32, len: u32) -> Option<&'static mut [u8]> {
        let size = load(self.batch + SIZE);
        if len > load(self.batch + CAPACITY) - size {
            return None;
        }
        self.set_slot(c, (len as u64) << 32 | size as u64);
        store(self.batch + SIZE, size + len);
        Some(unsafe { core::slice::from_raw_parts_mut((self.batch + size) as *mut u8, len as usize) })
    }

    /// Gives the column a copy of v. None: there is no room; return `Verdict::Full`.
    pub fn set_bytes(&self, c: u32, v: &[u8]) -> Option<()> {
        self.set_room(c, v.len() as u32)?.copy_from_slice(v);
        Some(())
    }
}
