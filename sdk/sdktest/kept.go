package sdktest

import (
	"maps"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest/clock"
	"github.com/cdcd-io/cdcd/sdk/guest/kv"
	"github.com/cdcd-io/cdcd/sdk/guest/metrics"
	"github.com/cdcd-io/cdcd/sdk/guest/secret"
)

// kept is the kv of a case in the host: what its batches left.
type kept map[string]string

// Get implements wasm.KV.
func (k kept) Get(key []byte) ([]byte, bool, error) {
	v, ok := k[string(key)]
	return []byte(v), ok, nil
}

// Scan implements wasm.KV.
func (k kept) Scan(prefix, after []byte, f func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(k)) {
		if strings.HasPrefix(key, string(prefix)) && key > string(after) && !f([]byte(key), []byte(k[key])) {
			return nil
		}
	}
	return nil
}

// Bytes implements wasm.KV.
func (k kept) Bytes() int64 {
	n := 0
	for key, v := range k {
		n += len(key) + len(v)
	}
	return int64(n)
}

func (c *Case) secrets() map[string]unit.Secret {
	m := map[string]unit.Secret{}
	for name, text := range c.Secrets {
		m[name] = unit.NewSecret(text)
	}
	return m
}

// surround gives the packages of sdk/guest what a native run of the case sees.
func (c *Case) surround(in *sdk.Batch) {
	kv.Reset()
	metrics.Reset()
	clock.Set(in.Time() * 1000)
	for name, text := range c.Secrets {
		secret.Set(name, text)
	}
}
