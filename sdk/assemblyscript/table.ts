// Tables' definitions: the encoding is in docs/design/connector-abi.md.

import { Buffer, Text } from "./text";

/** Types of columns: docs/design/batch-layout.md says what their slots hold. */
export enum Type {
  INT = 1, UINT, FLOAT32, FLOAT64, DECIMAL, BIT, YEAR, DATE, TIME, DATETIME, TIMESTAMP,
  ENUM, SET, STRING, BYTES, JSON, GEOMETRY, VECTOR, UUID, INET,
}

/** Reports whether a column's slots refer to the heap. */
export function inHeap(t: Type): bool {
  return t == Type.DECIMAL || t >= Type.ENUM;
}

/** One column. */
export class Column {
  index: u32 = 0;
  name: Text = new Text();
  type: Type = Type.INT;
  nullable: bool = false;
  scale: u8 = 0;
  length: u32 = 0;
  /** The type as the database has it. */
  native: Text = new Text();
}

let cursor: usize = 0; // of what is read of a table

function readText(): Text {
  const t = new Text(cursor + 4, load<u32>(cursor));
  cursor += 4 + t.length;
  return t;
}

/** A table's definition: views, good within schema. */
export class Table {
  /** What its rows name: dense, and of no meaning outside this run. */
  id: u32;
  db: Text;
  name: Text;
  columns: Column[] = [];

  constructor(at: usize) {
    this.id = load<u32>(at);
    cursor = at + 4;
    this.db = readText();
    this.name = readText();
    const columns = load<u32>(cursor);
    cursor += 4;
    for (let i: u32 = 0; i < columns; i++) {
      const c = new Column();
      c.index = i;
      c.name = readText();
      c.type = load<u8>(cursor);
      c.nullable = load<u8>(cursor, 1) != 0;
      c.scale = load<u8>(cursor, 2);
      c.length = load<u32>(cursor, 4);
      cursor += 8;
      c.native = readText();
      const labels = load<u32>(cursor);
      cursor += 4;
      for (let k: u32 = 0; k < labels; k++) cursor += 4 + load<u32>(cursor);
      this.columns.push(c);
    }
  }

  /** Finds a column by its name. */
  column(name: Text): Column | null {
    for (let i = 0; i < this.columns.length; i++) {
      if (this.columns[i].name.equals(name)) return this.columns[i];
    }
    return null;
  }
}

/** A number for each table, such as the index of a column and 1; 0 where none was noted. */
export class Kept {
  private buffer: Buffer = new Buffer();
  private end: u32 = 0;

  set(table: u32, v: u32): void {
    store<u32>(this.buffer.grow(4 * table + 4, this.end) + 4 * table, v);
    this.end = max(this.end, 4 * table + 4);
  }

  get(table: u32): u32 {
    return (table << 2) < this.end ? load<u32>(this.buffer.at + 4 * table) : 0;
  }
}
