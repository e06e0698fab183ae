// Text, messages and memory.

/** Bytes in memory: UTF-8 where they are text. A view: a configuration's stays, a
 * table's is good within schema, a row's within row. */
export class Text {
  constructor(public at: usize = 0, public length: u32 = 0) {}

  equals(o: Text): bool {
    return this.length == o.length && memory.compare(this.at, o.at, this.length) == 0;
  }

  is(s: string): bool {
    return this.equals(Text.of(s));
  }

  /** The UTF-8 of a string, which stays. */
  static of(s: string): Text {
    const p = String.UTF8.encode(s);
    return new Text(changetype<usize>(p), p.byteLength);
  }
}

const MESSAGE_SIZE: u32 = 4096;
const message: usize = memory.data(4096);
let messageLength: u32 = 0;

/** Adds to the message that a refusal or an error sends. A good one is a
 * sentence that names the place and the way out. */
export function say(t: Text): void {
  sayBytes(t.at, t.length);
}

export function sayNumber(n: u64): void {
  let digits: u32 = 1;
  for (let v = n; v >= 10; v /= 10) digits++;
  if (messageLength + digits > MESSAGE_SIZE) return;
  messageLength += digits;
  for (let i: u32 = 1; i <= digits; i++, n /= 10) store<u8>(message + messageLength - i, 48 + <u8>(n % 10));
}

function sayBytes(at: usize, length: u32): void {
  const n = min(length, MESSAGE_SIZE - messageLength);
  memory.copy(message + messageLength, at, n);
  messageLength += n;
}

/** A buffer that only grows; what is given up is never more than what is in use. */
export class Buffer {
  at: usize = 0;
  size: u32 = 0;

  grow(size: u32, keep: u32 = 0): usize {
    if (size > this.size) {
      let n: u32 = 4096;
      while (n < size) n *= 2;
      const at = heap.alloc(n); // 16-aligned
      memory.copy(at, this.at, keep);
      this.at = at;
      this.size = n;
    }
    return this.at;
  }
}

/** Forgets what was said. */
export function hush(): void {
  messageLength = 0;
}

/** The address and the length of what was said. */
export function said(): i64 {
  return <i64>((<u64>message << 32) | messageLength);
}
