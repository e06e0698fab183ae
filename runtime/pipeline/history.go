package pipeline

import (
	"context"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// learn takes over the records of definitions that the sink has and the local
// state has not: all of them where the state is new, those behind the
// checkpoint where it is older than the sink. Without them the source would
// read on with definitions of an earlier time.
func (a *attempt) learn(ctx context.Context, token string) error {
	h, ok := a.p.spec.Sink.(sink.Historian)
	if !ok || a.rerun.fresh {
		return nil
	}
	store := a.p.spec.State.Schemas()
	var known map[string]bool // loaded when the first one comes
	learned := 0
	err := h.History(ctx, token, func(body []byte) error {
		r, err := format.ParseHistory(body)
		if err != nil {
			return fault.New(fault.Fatal, CodeHistoryUnreadable, a.p.spec.Name,
				"run with the version of cdcd that wrote the stream, or a later one", "a history message of the stream: %w", err)
		}
		if known == nil {
			if known, err = recorded(store); err != nil {
				return err
			}
		}
		if r.Run != a.rerun.Number {
			return nil // of another run: nobody has followed the tables since
		}
		key := string(r.Behind) + "\x00" + string(r.Record)
		if known[key] {
			return nil
		}
		known[key] = true
		learned++
		return store.Put(r.Behind, r.Record)
	})
	if learned > 0 {
		a.p.log.Info("definitions of tables were taken over from the stream", "records", learned)
	}
	return err
}

func recorded(store cdc.SchemaStore) (map[string]bool, error) {
	known := map[string]bool{}
	err := store.Each(func(behind sdk.Position, record []byte) error {
		known[string(behind)+"\x00"+string(record)] = true
		return nil
	})
	return known, err
}
