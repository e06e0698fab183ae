package oracle

import (
	"strconv"
	"strings"
)

// place is a message's Cdc-Pos: "tx#row.part/parts#n".
type place struct {
	tx              string
	row, part       uint64
	parts, n        uint64
	txFile, txOrder uint64 // where the transaction is in the log
}

// parsePlace reads a Cdc-Pos. It is written apart from the product's own, so
// that they can't be wrong together.
func parsePlace(text string) (p place, ok bool) {
	fields := strings.Split(text, "#")
	if len(fields) != 3 {
		return p, false
	}
	p.tx = fields[0]
	row, part, ok1 := strings.Cut(fields[1], ".")
	part, parts, ok2 := strings.Cut(part, "/")
	numbers := []*uint64{&p.row, &p.part, &p.parts, &p.n}
	for i, s := range []string{row, part, parts, fields[2]} {
		var err error
		if *numbers[i], err = strconv.ParseUint(s, 10, 64); err != nil {
			return p, false
		}
	}
	p.txFile, p.txOrder, ok = txOrder(p.tx)
	return p, ok && ok1 && ok2
}

// txOrder gives a transaction's place in the log of one server: the number of
// the file and the position of "binlog.000007:4711", or the number at the end
// of MySQL's "uuid:17" and MariaDB's "0-1-17".
func txOrder(tx string) (file, order uint64, ok bool) {
	end := strings.LastIndexAny(tx, ":-")
	if end < 0 {
		return 0, 0, false
	}
	order, err := strconv.ParseUint(tx[end+1:], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if dot := strings.LastIndexByte(tx[:end], '.'); dot >= 0 {
		file, err = strconv.ParseUint(tx[dot+1:end], 10, 64)
	}
	return file, order, err == nil
}

// txState is the transaction that the stream is in.
type txState struct {
	last     place // of the message before; tx is empty before the first
	ended    bool
	rows     uint64
	subjects map[string]bool // true once the last message on it has been
	writer   bool            // the writer's own row has been
	fill     bool            // only fills shared tables: has no writer's row
	counted  string          // the rows that the writer says there are
}

// checkPlace judges where a data message stands in its transaction.
func (c *Checker) checkPlace(m *Message) {
	p, ok := parsePlace(m.header(headerPos))
	if !ok {
		c.changed(byTransaction, m, "%s is %q", headerPos, m.header(headerPos))
		return
	}
	t := &c.tx
	if p.tx != t.last.tx {
		c.beginTx(m, p)
	} else {
		c.continueTx(m, p)
	}
	if t.subjects[m.Subject] {
		c.changed(byTransaction, m, "a message after the last one on its subject")
	}
	t.subjects[m.Subject] = m.header(headerSubjectLast) != ""
	t.last = p
	if m.header(headerTxLast) != "" {
		c.endTx(m)
	}
}

func (c *Checker) beginTx(m *Message, p place) {
	t := &c.tx
	if t.last.tx != "" && !t.ended {
		c.lost(byTransaction, 1, m, "transaction %s has no end", t.last.tx)
	}
	if p.txFile < t.last.txFile || p.txFile == t.last.txFile && p.txOrder < t.last.txOrder {
		c.reordered(byTransaction, m, "transaction %s comes after %s", p.tx, t.last.tx)
	}
	if p.n != 0 {
		c.lost(byTransaction, p.n, m, "the transaction begins with its message %d", p.n)
	}
	c.report.Transactions++
	*t = txState{subjects: map[string]bool{}, fill: true, rows: 1}
}

func (c *Checker) continueTx(m *Message, p place) {
	t := &c.tx
	if p.row != t.last.row {
		t.rows++
	}
	before := c.counts[byTransaction]
	c.step(byTransaction, m, "message of the transaction", t.last.n, p.n)
	if c.counts[byTransaction] != before {
		return // the same thing must not count twice
	}
	samePlace := p.row == t.last.row && p.part == t.last.part+1
	nextRow := p.row == t.last.row+1 && p.part == 0 && t.last.part+1 == t.last.parts
	switch {
	case t.ended:
		c.doubled(byTransaction, m, "a message behind the end of its transaction")
	case !samePlace && !nextRow:
		c.lost(byTransaction, 1, m, "row %d.%d/%d follows row %d.%d/%d", p.row, p.part, p.parts, t.last.row, t.last.part, t.last.parts)
	}
}

// endTx judges the end of a transaction: on its last message, or a tx_end.
func (c *Checker) endTx(m *Message) {
	t := &c.tx
	if t.ended {
		c.doubled(byTransaction, m, "the transaction ends twice")
	}
	t.ended = true
	if rows := m.header(headerTxRows); rows != strconv.FormatUint(t.rows, 10) {
		c.changed(byTransaction, m, "%s is %q, there were %d rows", headerTxRows, rows, t.rows)
	}
	if m.header(headerTxLast) == "" {
		c.changed(byTransaction, m, "the end of a transaction without %s", headerTxLast)
	}
	if m.header(headerKind) != "" {
		return // tx_end: while its rows went out nobody knew which is the last on its subject
	}
	for subject, closed := range t.subjects {
		if !closed {
			c.changed(byTransaction, m, "the transaction ended, but no message was the last on %s", subject)
		}
	}
}

// checkWriter compares the transaction with what its writer says of it. It is
// called for each row, after checkPlace has judged the message.
func (c *Checker) checkWriter(m *Message, t *table, op string, after []string) {
	tx := &c.tx
	tx.fill = tx.fill && t.shared && op == "c"
	if t.name == writerTable && op == "u" {
		tx.writer, tx.counted = true, after[t.column("n_rows")]
		if tx.counted != strconv.FormatUint(tx.rows, 10) {
			c.lost(byWriter, 1, m, "its writer counted %s rows, the stream has %d", tx.counted, tx.rows)
		}
	}
	if tx.ended && !tx.writer && !tx.fill {
		c.lost(byWriter, 1, m, "the transaction ends before its writer's last row")
	}
}
