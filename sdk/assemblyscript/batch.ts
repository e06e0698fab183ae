// Rows and their images: the layout is in docs/design/batch-layout.md.

import { Text } from "./text";

export enum Op {
  INSERT = 1,
  UPDATE = 2,
  DELETE = 3,
  READ = 4, // a snapshot read the row
  TRUNCATE = 5,
}

/** Where the batch in hand lies. */
export let batch: usize = 0;

export function attach(at: usize): void {
  batch = at;
}

function words(columns: u32): u32 {
  return ((columns + 63) / 64) * 8;
}

function bit(mask: usize, c: u32): bool {
  return ((load<u8>(mask + c / 8) >> <u8>(c % 8)) & 1) != 0;
}

function setBit(mask: usize, c: u32, on: u32): void {
  const p = mask + c / 8;
  store<u8>(p, <u8>((load<u8>(p) & ~(1 << <u8>(c % 8))) | (on << (c % 8))));
}

/** One image of the row in hand. Columns are counted from 0, and one that the row
 * does not have is another's memory. */
export class Image {
  at: usize = 0;
  columns: u32 = 0;

  /** Reports whether the row has the image at all. */
  valid(): bool {
    return this.at != 0;
  }

  isNull(c: u32): bool {
    return bit(this.at, c);
  }

  /** Absent: the log does not tell the value. Not the same as NULL. */
  isAbsent(c: u32): bool {
    return bit(this.at + words(this.columns), c);
  }

  /** Reports whether the column has a value: neither NULL nor absent. */
  has(c: u32): bool {
    return !this.isNull(c) && !this.isAbsent(c);
  }

  private slotAt(c: u32): usize {
    return this.at + 2 * words(this.columns) + 8 * c;
  }

  /** The raw slot: the value of an inline type. */
  slot(c: u32): u64 {
    return load<u64>(this.slotAt(c));
  }

  float(c: u32): f64 {
    return load<f64>(this.slotAt(c));
  }

  /** Reports whether a value of a heap type is over 64 KiB and lives beside the
   * batch, where it can't be read. */
  isLarge(c: u32): bool {
    return load<u32>(this.slotAt(c), 4) >> 31 != 0;
  }

  /** The length of a value of a heap type. */
  length(c: u32): u32 {
    return load<u32>(this.slotAt(c), 4) & 0x7fffffff;
  }

  /** The address of a value of a heap type that is not large. It is never
   * written to; a new value is appended. */
  bytes(c: u32): usize {
    return batch + load<u32>(this.slotAt(c));
  }

  /** Gives the column an inline value. */
  setSlot(c: u32, v: u64): void {
    setBit(this.at, c, 0);
    setBit(this.at + words(this.columns), c, 0);
    store<u64>(this.slotAt(c), v);
  }

  /** Makes the column SQL NULL. */
  setNull(c: u32): void {
    this.setSlot(c, 0);
    setBit(this.at, c, 1);
  }

  /** Gives the column a heap value of so many bytes, which the caller then writes
   * to the address returned. 0: there is no room; return Verdict.FULL. */
  setRoom(c: u32, length: u32): usize {
    const size = load<u32>(batch, 12);
    if (length > load<u32>(batch, 16) - size) return 0;
    this.setSlot(c, (<u64>length << 32) | size);
    store<u32>(batch, size + length, 12);
    return batch + size;
  }

  /** Gives the column a copy of a text. false: there is no room; return Verdict.FULL. */
  setBytes(c: u32, v: Text): bool {
    const p = this.setRoom(c, v.length);
    if (p != 0) memory.copy(p, v.at, v.length);
    return p != 0;
  }
}

/** The row in hand. */
export class Row {
  at: usize = 0;
  columns: u32 = 0;
  /** Its number in the batch. */
  number: u32 = 0;
  /** The image after the change: not valid in a delete. */
  after: Image = new Image();
  /** The image before the change: not valid in an insert. */
  before: Image = new Image();

  take(at: usize, number: u32): void {
    const columns = load<u32>(at, 24), flags = load<u8>(at, 1);
    this.at = at;
    this.number = number;
    this.columns = this.after.columns = this.before.columns = columns;
    const first = this.changedAt() + words(columns);
    this.after.at = flags & 2 ? first : 0;
    this.before.at = flags & 1 ? (flags & 2 ? first + 2 * words(columns) + 8 * columns : first) : 0;
  }

  op(): Op {
    return load<u8>(this.at);
  }

  /** The id of its table. */
  table(): u32 {
    return load<u32>(this.at, 4);
  }

  private changedAt(): usize {
    return this.at + 32 + (load<u8>(this.at, 1) & 4 ? 24 : 0);
  }

  /** Reports whether an update changed the column: of rows with both images. */
  changed(c: u32): bool {
    return bit(this.changedAt(), c);
  }
}
