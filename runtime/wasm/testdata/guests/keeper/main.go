// Command keeper is a connector that counts rows in its kv and in a metric, and
// has a secret, for the tests of what surrounds the host.
package main

import (
	"encoding/binary"
	"errors"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/guest/kv"
	"github.com/cdcd-io/cdcd/sdk/guest/metrics"
	"github.com/cdcd-io/cdcd/sdk/guest/secret"
)

type keeper struct{ kept metrics.Gauge }

func (k *keeper) Init([]byte) error {
	if text, ok := secret.Get("word"); !ok || text != "open sesame" {
		return errors.New("the secret is not the one")
	}
	var err error
	k.kept, err = metrics.NewGauge("kept")
	return err
}

func (k *keeper) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }

func (k *keeper) Row(sdk.Row, *guest.Output) (sdk.Verdict, error) {
	old, _, err := kv.Get([]byte("rows"))
	if err != nil {
		return 0, err
	}
	count := uint64(1)
	if len(old) == 8 {
		count += binary.LittleEndian.Uint64(old)
	}
	k.kept.Set(float64(count))
	return sdk.VerdictPass, kv.Put([]byte("rows"), binary.LittleEndian.AppendUint64(nil, count))
}

var _ = guest.Register(&keeper{})

func main() {}
