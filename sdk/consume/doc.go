// Package consume is for services that read cdcd's streams: rows as typed
// changes, whole transactions, in order, each once.
//
//	from, err := marks.Load(ctx) // where this service stood
//	r, err := consume.Open(ctx, nc, consume.Config{Stream: "SHOP", From: from})
//	err = r.Run(ctx, func(ctx context.Context, tx *consume.Tx) error {
//		for _, m := range tx.Messages {
//			order, err := consume.Decode[Order](m)
//			...
//		}
//		return marks.Save(ctx, tx.Mark)
//	})
//
// A Reader holds no state at the broker. A Mark says how far a service has
// come; a service that keeps it in the same database transaction as what it
// did with the rows does everything exactly once, whatever is killed. Marks
// keeps one in a JetStream bucket instead: then the last transaction before a
// crash may be handed out again.
//
// The order is the stream's, never another: a Reader fetches from a sequence,
// so nothing comes late because an acknowledgement was missing. It checks what
// it reads: the dense counter when it reads all subjects, rising order when it
// reads one (Config.Narrow), and at the end of a transaction that came in parts
// what its tx_end counts on each subject.
//
// The body of a row that is too large for a message lies in an object store: the
// Reader fetches it and compares its digest before the row is handed out.
//
// Neighbours: sdk is all that it knows of cdcd; nats.go is the connection. The
// headers and the format are those of docs/reference/messages.md.
package consume
