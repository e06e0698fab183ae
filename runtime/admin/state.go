package admin

import (
	"net/http"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// exportTimeout bounds the copying of the state to a client.
const exportTimeout = 30 * time.Minute

// stateRoutes serves what the state knows, and copies of it. A copy holds all
// that connectors keep and rows that were refused: it is for those who may read
// the state's directory. Secrets of the configuration are not in it.
func stateRoutes(mux *http.ServeMux, o Options) {
	mux.HandleFunc("GET /v1/checkpoints", func(w http.ResponseWriter, _ *http.Request) {
		all, err := o.Checkpoints()
		if err != nil {
			problemOf(w, err)
			return
		}
		reply(w, http.StatusOK, map[string]any{"checkpoints": all})
	})
	mux.HandleFunc("GET /v1/state/export", func(w http.ResponseWriter, _ *http.Request) {
		// A connection that has no deadlines is no reason to refuse.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportTimeout))
		out := &began{ResponseWriter: w}
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set("Cache-Control", "no-store")
		err := o.ExportState(out)
		switch {
		case err == nil:
		case out.wrote: // the client sees that the end is missing
			o.Log.Warn("an export of the state broke off", "error", err, "code", fault.Of(err).Code)
		default:
			problemOf(w, err)
		}
	})
}

// began notes that an answer has begun.
type began struct {
	http.ResponseWriter
	wrote bool
}

func (b *began) Write(p []byte) (int, error) {
	b.wrote = true
	return b.ResponseWriter.Write(p)
}
