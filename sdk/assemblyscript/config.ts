// Reads a connector's configuration: a flat JSON object.

import { Text } from "./text";

function isSpace(c: u8): bool {
  return c == 32 || c == 9 || c == 10 || c == 13;
}

/** The members of an object. next() moves to the first and on to each other one;
 * false: there is none, or what is there is no JSON. Texts are unescaped where they
 * lie, so that an object is read once. */
export class Members {
  key: Text = new Text();
  isText: bool = false;
  /** A text unescaped, everything else as it is written. */
  value: Text = new Text();
  private p: usize;
  private end: usize;

  constructor(at: usize, length: u32) {
    this.p = at;
    this.end = at + length;
  }

  next(): bool {
    this.skip();
    if (this.peek() == 0x7b || this.peek() == 0x2c) this.p++; // { ,
    this.skip();
    this.key = new Text();
    this.value = new Text();
    if (this.peek() != 0x22 || !this.text(this.key)) return false;
    this.skip();
    if (this.peek() != 0x3a) return false; // :
    this.p++;
    this.skip();
    this.isText = this.peek() == 0x22;
    if (this.isText) return this.text(this.value);
    this.other();
    return true;
  }

  /** The value as a whole number from 0 to 4294967295, otherwise -1. */
  whole(): i64 {
    let v: i64 = this.isText || this.value.length == 0 ? -1 : 0;
    for (let i: u32 = 0; i < this.value.length && v >= 0; i++) {
      const d = load<u8>(this.value.at + i) - 48;
      v = d > 9 ? -1 : v * 10 + d;
      if (v > 0xffffffff) v = -1;
    }
    return v;
  }

  private peek(): u8 {
    return this.p < this.end ? load<u8>(this.p) : 0;
  }

  private skip(): void {
    while (isSpace(this.peek())) this.p++;
  }

  private other(): void {
    this.value.at = this.p;
    let depth = 0;
    for (; this.p < this.end; this.p++) {
      const c = load<u8>(this.p);
      if (c == 0x22) {
        for (this.p++; this.p < this.end && load<u8>(this.p) != 0x22; this.p++) {
          if (load<u8>(this.p) == 0x5c) this.p++;
        }
      } else if (c == 0x7b || c == 0x5b) {
        depth++;
      } else if (c == 0x7d || c == 0x5d || c == 0x2c) {
        if (depth == 0) break;
        if (c != 0x2c) depth--;
      }
    }
    this.value.length = <u32>(this.p - this.value.at);
    while (this.value.length > 0 && isSpace(load<u8>(this.value.at + this.value.length - 1))) this.value.length--;
  }

  private text(out: Text): bool {
    this.p++;
    out.at = this.p;
    let to = this.p;
    while (this.p < this.end) {
      let c = load<u8>(this.p++);
      if (c == 0x22) {
        out.length = <u32>(to - out.at);
        return true;
      }
      if (c != 0x5c) {
        store<u8>(to++, c);
        continue;
      }
      c = this.peek();
      this.p++;
      if (c == 0x75) to = this.codePoint(to); // u
      else store<u8>(to++, c == 0x6e ? 10 : c == 0x74 ? 9 : c == 0x72 ? 13 : c == 0x62 ? 8 : c == 0x66 ? 12 : c);
    }
    return false;
  }

  private hex(): u32 {
    let v: u32 = 0;
    for (let i = 0; i < 4; i++, this.p++) {
      const c = this.peek();
      v = (v << 4) | (c <= 0x39 ? c - 0x30 : (c | 32) - 0x61 + 10);
    }
    return v;
  }

  private codePoint(to: usize): usize {
    let v = this.hex();
    if (v >> 10 == 0x36 && this.p + 6 <= this.end && load<u16>(this.p) == 0x755c) { // a pair of surrogates
      this.p += 2;
      v = 0x10000 + ((v & 0x3ff) << 10) + (this.hex() & 0x3ff);
    }
    if (v < 0x80) {
      store<u8>(to++, v);
      return to;
    }
    if (v < 0x800) {
      store<u8>(to++, 0xc0 | (v >> 6));
    } else {
      if (v < 0x10000) {
        store<u8>(to++, 0xe0 | (v >> 12));
      } else {
        store<u8>(to++, 0xf0 | (v >> 18));
        store<u8>(to++, 0x80 | ((v >> 12) & 63));
      }
      store<u8>(to++, 0x80 | ((v >> 6) & 63));
    }
    store<u8>(to++, 0x80 | (v & 63));
    return to;
  }
}
