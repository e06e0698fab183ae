// What a connector written in AssemblyScript imports. It speaks cdcd-abi-1 with
// the host (docs/design/connector-abi.md, docs/design/batch-layout.md), so that a
// connector is one class with three methods, its registration, and the exports:
//
//     import { Connector, register, ... } from "../cdcd";
//     export { cdcd_abi_1, cdcd_buf, cdcd_init, cdcd_schema, cdcd_transform, cdcd_error } from "../cdcd";
//
//     class Upper extends Connector { ... }
//     register(new Upper());
//
// It is compiled with the runtime "stub", which never frees: make objects in
// init and schema, not in row. Rows, images and texts are therefore numbers and
// a few objects that are used again. What a connector keeps in its fields lasts
// as long as its instance and no longer; a new instance may take over at any batch.

import { Members } from "./config";
import { Table } from "./table";
import { Row, attach, batch } from "./batch";
import { Buffer, Text, hush, said, say } from "./text";

export { Members } from "./config";
export { Column, Kept, Table, Type, inHeap } from "./table";
export { Image, Op, Row } from "./batch";
export { Text, say, sayNumber } from "./text";

/** What becomes of a row. */
export enum Verdict {
  PASS = 0,        // it goes on as it came
  DROP = 1,        // it is left out
  EDITED = 2,      // it was changed through the setters of its images
  DEAD_LETTER = 4, // refused, for what was said before with say
  FULL = 255,      // a setter found no room: the row comes again, untouched, with more
}

/** Why a connector can't go on at all: it stops the pipeline, with what was said. */
export enum Code {
  OK = 0,
  BAD_CONFIG = -1,
  BAD_SCHEMA = -2,
  BAD_BATCH = -3,
  INTERNAL = -4,
}

/** What an author writes. */
export abstract class Connector {
  /** Called once with the JSON under `with:`, `{}` when there is none. */
  abstract init(config: Members): Code;
  /** Called for every table before its first row. The rows that the connector
   * gives have the same columns. */
  abstract schema(table: Table): Code;
  /** Decides about one row. */
  abstract row(row: Row): Verdict;
}

// The exports of cdcd-abi-1.

const bufs: Buffer[] = [new Buffer(), new Buffer(), new Buffer()];
const verdicts = new Buffer();
const reasons = new Buffer();
let reasonsLength: u32 = 0;
const result: usize = memory.data(32, 8);
const row = new Row();
let connector: Connector | null = null;

/** Makes c the connector of this module. */
export function register(c: Connector): void {
  connector = c;
}

function pack(at: usize, length: u32): i64 {
  return <i64>((<u64>at << 32) | length);
}

export function cdcd_abi_1(): void {}

export function cdcd_buf(kind: u32, size: u32): usize {
  return kind < 3 ? bufs[kind].grow(size) : 0;
}

export function cdcd_init(length: u32): i64 {
  hush();
  return connector!.init(new Members(bufs[0].at, length));
}

export function cdcd_schema(length: u32): i64 {
  hush();
  return connector!.schema(new Table(bufs[1].at));
}

export function cdcd_error(): i64 {
  return said();
}

/** Keeps what was said of a refused row: u32 row, u32 length, text. */
function fileReason(number: u32): void {
  const n = min<u32>(<u32>said(), 1024);
  const p = reasons.grow(reasonsLength + 8 + n, reasonsLength) + reasonsLength;
  store<u32>(p, number);
  store<u32>(p, n, 4);
  memory.copy(p + 8, <usize>(said() >> 32), n);
  reasonsLength += 8 + n;
  hush();
}

export function cdcd_transform(length: u32): i64 {
  hush();
  reasonsLength = 0;
  attach(bufs[2].at);
  if (load<u32>(batch) != 0x31424443 || load<u16>(batch, 4) != 1) {
    say(Text.of("the bytes are no batch of cdcd-abi-1"));
    return Code.BAD_BATCH;
  }
  const c = connector!;
  const rows = load<u32>(batch, 20), first = load<u32>(batch, 40), dir = batch + load<u32>(batch, 24);
  const answer = verdicts.grow(rows - first);
  let number = first;
  let want: u32 = 0;
  for (; number < rows; number++) {
    row.take(batch + load<u32>(dir + 4 * number), number);
    const v = c.row(row);
    if (v == Verdict.FULL) {
      want = 2 * load<u32>(batch, 16);
      break;
    }
    if (v == Verdict.DEAD_LETTER) fileReason(number);
    store<u8>(answer + number - first, v);
  }
  store<u32>(result, number);
  store<u32>(result, <u32>answer, 4);
  store<u32>(result, number - first, 8);
  store<u32>(result, <u32>reasons.at, 20); // 12 and 16 stay 0: no rows in place of others
  store<u32>(result, reasonsLength, 24);
  store<u32>(result, want, 28);
  return pack(result, 32);
}
