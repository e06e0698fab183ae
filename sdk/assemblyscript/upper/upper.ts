// upper makes the ASCII letters of one text column upper case: the worked
// connector of sdk/assemblyscript. It is the same in every language of the SDK,
// and all of them pass the cases in sdk/guest/upper/testdata.

import { Code, Connector, Image, Kept, Members, Row, Table, Text, Type, Verdict, register, say, sayNumber } from "../cdcd";
export { cdcd_abi_1, cdcd_buf, cdcd_error, cdcd_init, cdcd_schema, cdcd_transform } from "../cdcd";

// Texts of messages that may be needed for each row: made once.
const HAS = Text.of(" has ");
const TOO_MANY = Text.of(" bytes, too many to read");
const MORE_THAN = Text.of(" bytes, more than ");

function lower(b: u8): bool {
  return b >= 97 && b <= 122;
}

class Upper extends Connector {
  column: Text = new Text();    // whose letters become upper case
  drop: Text | null = null;     // rows with this value are left out
  bytesMax: u32 = 0;            // rows with a longer value are refused; 0: none are
  kept: Kept = new Kept();      // index of the column and 1, by table
  value: Text = new Text();     // of the image in hand

  init(config: Members): Code {
    while (config.next()) {
      if (config.key.is("column") && config.isText) {
        this.column = config.value;
      } else if (config.key.is("drop") && config.isText) {
        this.drop = config.value;
      } else if (config.key.is("bytes_max") && config.whole() >= 0) {
        this.bytesMax = <u32>config.whole();
      } else {
        say(config.key);
        say(Text.of(" is not understood; write {column: name, drop: text, bytes_max: number}"));
        return Code.BAD_CONFIG;
      }
    }
    if (this.column.length == 0) {
      say(Text.of("column is missing; name the one to make upper case, as in {column: name}"));
      return Code.BAD_CONFIG;
    }
    return Code.OK;
  }

  schema(table: Table): Code {
    const c = table.column(this.column);
    if (c && c.type != Type.STRING) {
      const dot = Text.of(".");
      say(table.db);
      say(dot);
      say(table.name);
      say(dot);
      say(c.name);
      say(Text.of(" is not a string; name a column that is one"));
      return Code.BAD_SCHEMA;
    }
    this.kept.set(table.id, c ? c.index + 1 : 0);
    return Code.OK;
  }

  row(r: Row): Verdict {
    const c = this.kept.get(r.table());
    if (c == 0) return Verdict.PASS;
    const after = this.image(r.after, c - 1);
    if (after != Verdict.PASS && after != Verdict.EDITED) return after;
    const before = this.image(r.before, c - 1);
    return before == Verdict.PASS ? after : before;
  }

  /** The verdict about one image. */
  private image(m: Image, c: u32): Verdict {
    if (!m.valid() || !m.has(c)) return Verdict.PASS;
    const length = m.length(c);
    if (m.isLarge(c)) return this.refuse(length, TOO_MANY);
    const from = m.bytes(c);
    const drop = this.drop;
    if (drop && drop.length == length && memory.compare(drop.at, from, length) == 0) return Verdict.DROP;
    if (this.bytesMax > 0 && length > this.bytesMax) {
      const v = this.refuse(length, MORE_THAN);
      sayNumber(this.bytesMax);
      return v;
    }
    let at: u32 = 0;
    while (at < length && !lower(load<u8>(from + at))) at++;
    if (at == length) return Verdict.PASS;
    const to = m.setRoom(c, length);
    if (to == 0) return Verdict.FULL;
    for (let i: u32 = 0; i < length; i++) {
      const b = load<u8>(from + i);
      store<u8>(to + i, lower(b) ? b - 32 : b);
    }
    return Verdict.EDITED;
  }

  private refuse(bytes: u32, why: Text): Verdict {
    say(this.column);
    say(HAS);
    sayNumber(bytes);
    say(why);
    return Verdict.DEAD_LETTER;
  }
}

register(new Upper());
