//! The message that a refusal or an error sends.

use crate::memory::bytes;

const SIZE: usize = 4096;

static mut TEXT: [u8; SIZE] = [0; SIZE];
static mut LEN: usize = 0;

/// Adds to the message that `Verdict::DeadLetter` or an `Error` then sends. A
/// good one is a sentence that names the place and the way out.
#[inline(never)]
pub fn say(text: &[u8]) {
    unsafe {
        for b in text {
            if LEN < SIZE {
                TEXT[LEN] = *b;
                LEN += 1;
            }
        }
    }
}

/// Adds a number to the message.
#[inline(never)]
pub fn say_number(mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while at == digits.len() || n > 0 {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    say(&digits[at..])
}

pub fn clear() {
    unsafe { LEN = 0 }
}

pub fn text() -> &'static [u8] {
    unsafe { bytes(&TEXT as *const u8 as u32, LEN as u32) }
}
