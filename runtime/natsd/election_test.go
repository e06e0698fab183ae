package natsd_test

import (
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// A cluster that elects nobody yet, since two of three are gone, is waited for: it
// drops the questions that it is asked meanwhile.
func TestStartDuringAnElection(t *testing.T) {
	servers := testserver.NATSCluster(t, 3)
	servers[1].Kill()
	servers[2].Kill()
	started := make(chan error, 1)
	go func() {
		n, err := natsd.Start(t.Context(), natsd.Config{URL: servers[0].URL()})
		if err == nil {
			err = n.Close(t.Context())
		}
		started <- err
	}()
	time.Sleep(11 * time.Second) // it asks, and is not answered
	servers[1].Restart(t)
	if err := <-started; err != nil {
		t.Error(err)
	}
}
