package consume

// Tx is a transaction of the database, or a part of one that is larger than
// Config.TxBytesMax. Its rows are in commit order.
type Tx struct {
	ID       string
	Messages []*Message
	// First and Last say that the transaction begins and ends here. Both are set
	// for a transaction that came whole, which is all but the largest.
	First, Last bool
	// Snapshot is what is told of a copy of tables, with Config.Snapshots: such a Tx
	// has no rows, and no ID. Nil for a transaction.
	Snapshot *Snapshot
	// Mark is how far a service has come when it has dealt with this.
	Mark Mark
}

// messageCost is what a message takes besides its body.
const messageCost = 512

// assembler makes transactions of messages. It is fed a stream's messages in
// order, and knows nothing of where they come from.
type assembler struct {
	bytesMax int
	narrow   bool // sees one subject only
	open     *Tx
	bytes    int
	// begun is the transaction of which a part was handed out, and no last one.
	begun string
}

// input is a message as the assembler wants it.
type input struct {
	message     *Message // nil for one that was filtered, or says nothing of rows
	tx          string   // the transaction, of control messages too; "" for none
	txLast      bool     // the transaction's last message
	subjectLast bool     // the transaction's last message on its subject
	before      Mark     // behind the message before
	mark        Mark     // behind this message
}

// add takes one message, and returns what it completes: at most two, since a
// message of a new transaction also ends the one before.
func (a *assembler) add(in input) (done []*Tx) {
	if in.tx == "" {
		return nil
	}
	if a.open == nil && a.begun != "" && a.begun != in.tx { // its end was never said: this says it
		a.open = &Tx{ID: a.begun, Mark: in.before}
	}
	if a.open != nil && a.open.ID != in.tx {
		done = a.finish(done, true)
	}
	if a.open == nil {
		a.open = &Tx{ID: in.tx, First: a.begun != in.tx}
	}
	a.open.Mark = in.mark
	if in.message != nil {
		a.open.Messages = append(a.open.Messages, in.message)
		a.bytes += len(in.message.Body) + messageCost
	}
	switch {
	case in.txLast, a.narrow && in.subjectLast:
		done = a.finish(done, true)
	case a.bytes >= a.bytesMax:
		done = a.finish(done, false)
	}
	return done
}

// between takes what is told between two transactions; one that is open has ended,
// and its end was never said.
func (a *assembler) between(in input, s *Snapshot) (done []*Tx) {
	if a.open == nil && a.begun != "" {
		a.open = &Tx{ID: a.begun, Mark: in.before}
	}
	if a.open != nil {
		done = a.finish(done, true)
	}
	return append(done, &Tx{First: true, Last: true, Snapshot: s, Mark: in.mark})
}

// finish closes the open transaction, and hands it out if there is something
// to tell: rows, or the end of one of which parts were handed out.
func (a *assembler) finish(done []*Tx, last bool) []*Tx {
	tx := a.open
	a.open, a.bytes = nil, 0
	if len(tx.Messages) > 0 || a.begun == tx.ID {
		done = append(done, tx)
	}
	tx.Last, a.begun, tx.Mark.Open = last, "", ""
	if !last {
		a.begun, tx.Mark.Open = tx.ID, tx.ID
	}
	return done
}
