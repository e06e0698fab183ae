//! Memory that stays as long as the instance: nothing is ever freed, and buffers
//! double, so that what is given up is never more than what is in use.

use core::arch::wasm32;

extern "C" {
    static __heap_base: u8; // the linker's: where the module's own data ends
}

static mut TOP: u32 = 0; // of what is given out; 0 at the start

/// Gives out size bytes at a multiple of 16, zero. A trap when the host refuses memory.
#[inline(never)]
fn alloc(size: u32) -> u32 {
    unsafe {
        if TOP == 0 {
            TOP = (&__heap_base as *const u8 as u32 + 15) & !15;
        }
        let at = TOP;
        let end = (at as u64 + size as u64 + 15) & !15;
        let have = (wasm32::memory_size(0) as u64) << 16;
        if end > have {
            let pages = ((end - have + 0xffff) >> 16) as usize;
            if end > 0x7fff_ffff || wasm32::memory_grow(0, pages) == usize::MAX {
                wasm32::unreachable()
            }
        }
        TOP = end as u32;
        at
    }
}

/// A buffer that only grows.
pub struct Buffer {
    pub at: u32,
    pub len: u32, // in use, by whoever appends
    size: u32,
}

impl Buffer {
    pub const fn new() -> Buffer {
        Buffer { at: 0, len: 0, size: 0 }
    }

    /// Makes room for size bytes, keeping those in use.
    #[inline(never)]
    pub fn grow(&mut self, size: u32) {
        if size <= self.size {
            return;
        }
        let mut n = 4096;
        while n < size {
            n *= 2;
        }
        let at = alloc(n);
        unsafe { core::ptr::copy_nonoverlapping(self.at as *const u8, at as *mut u8, self.len as usize) };
        self.at = at;
        self.size = n;
    }

    pub fn push(&mut self, p: &[u8]) {
        self.grow(self.len + p.len() as u32);
        unsafe { core::ptr::copy_nonoverlapping(p.as_ptr(), (self.at + self.len) as *mut u8, p.len()) };
        self.len += p.len() as u32;
    }
}

/// A number for each table, such as the index of a column and 1; 0 where none
/// was noted.
pub struct Kept(Buffer);

impl Kept {
    pub const fn new() -> Kept {
        Kept(Buffer::new())
    }

    /// Notes a number for a table, by its id.
    pub fn set(&mut self, table: u32, v: u32) {
        let end = 4 * table + 4;
        self.0.grow(end);
        self.0.len = self.0.len.max(end);
        store(self.0.at + 4 * table, v);
    }

    /// Returns the number of a table, by its id.
    #[inline]
    pub fn get(&self, table: u32) -> u32 {
        if 4 * table < self.0.len {
            load(self.0.at + 4 * table)
        } else {
            0
        }
    }
}

#[inline]
pub fn load(at: u32) -> u32 {
    unsafe { core::ptr::read_unaligned(at as *const u32) }
}

#[inline]
pub fn store(at: u32, v: u32) {
    unsafe { core::ptr::write_unaligned(at as *mut u32, v) }
}

/// The bytes from an address on.
#[inline]
pub fn bytes(at: u32, len: u32) -> &'static [u8] {
    unsafe { core::slice::from_raw_parts(at as *const u8, len as usize) }
}
