//! The calls of cdcd-abi-1, which the exports of `connector!` wrap.

use crate::batch::{Row, CAPACITY, FIRST_ROW, ROWS};
use crate::memory::{bytes, load, Buffer};
use crate::{message, Connector, Error, Table, Verdict};

const MAGIC: u32 = 0x3142_4443;
const REASON_BYTES_MAX: usize = 1024;

/// A connector in the midst of its host.
pub struct Instance<C: Connector> {
    connector: C,
    bufs: [Buffer; 3], // configuration, schema, batch
    verdicts: Buffer,
    reasons: Buffer,
    result: [u32; 8],
}

fn pack(at: u32, len: u32) -> i64 {
    ((at as u64) << 32 | len as u64) as i64
}

impl<C: Connector> Instance<C> {
    /// An instance that nothing has called yet.
    pub const fn new(connector: C) -> Instance<C> {
        const EMPTY: Buffer = Buffer::new();
        Instance { connector, bufs: [EMPTY; 3], verdicts: EMPTY, reasons: EMPTY, result: [0; 8] }
    }

    pub fn buf(&mut self, kind: u32, size: u32) -> u32 {
        match self.bufs.get_mut(kind as usize) {
            Some(b) => {
                b.grow(size);
                b.at
            }
            None => 0,
        }
    }

    pub fn init(&mut self, len: u32) -> i64 {
        message::clear();
        self.connector.init(bytes(self.bufs[0].at, len)).map_or_else(|e| e as i64, |_| 0)
    }

    pub fn schema(&mut self, _: u32) -> i64 {
        message::clear();
        self.connector.schema(&Table::read(self.bufs[1].at)).map_or_else(|e| e as i64, |_| 0)
    }

    pub fn transform(&mut self, _: u32) -> i64 {
        message::clear();
        let b = self.bufs[2].at;
        if load(b) != MAGIC || load(b + 4) & 0xffff != 1 {
            message::say(b"the bytes are no batch of cdcd-abi-1");
            return Error::BadBatch as i64;
        }
        let (first, rows) = (load(b + FIRST_ROW), load(b + ROWS));
        self.verdicts.grow(rows - first);
        self.reasons.len = 0;
        let (mut number, mut want) = (first, 0);
        while number < rows {
            let v = self.connector.row(Row::at(b, number));
            if v == Verdict::Full {
                want = 2 * load(b + CAPACITY);
                break;
            }
            if v == Verdict::DeadLetter {
                self.file_reason(number);
            }
            unsafe { *((self.verdicts.at + number - first) as *mut u8) = v as u8 }
            number += 1;
        }
        // Nothing in place of other rows: 3 and 4 stay 0.
        self.result = [number, self.verdicts.at, number - first, 0, 0, self.reasons.at, self.reasons.len, want];
        pack(&self.result as *const u32 as u32, 32)
    }

    pub fn error(&self) -> i64 {
        let text = message::text();
        pack(text.as_ptr() as u32, text.len() as u32)
    }

    /// Keeps what was said of a refused row: u32 row, u32 length, text.
    #[inline(never)]
    fn file_reason(&mut self, row: u32) {
        let text = message::text();
        let text = &text[..text.len().min(REASON_BYTES_MAX)];
        self.reasons.push(&row.to_le_bytes());
        self.reasons.push(&(text.len() as u32).to_le_bytes());
        self.reasons.push(text);
        message::clear();
    }
}
